//! `hubbub store export`, `import` and `backup`.

use crate::exit::Failure;
use crate::store::engine_of_copy;
use crate::store::progress::Progress;
use crate::store::source::Source;
use anyhow::Context;
use hubbub_bridge::store::{Import, StoreError, dump};
use hubbub_config::{Config, StoreConfig};
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const STANDARD: &str = "-";
/// Bytes that are read or written at once.
const BUFFER: usize = 256 * 1024;

/// Writes every record into a file. The file has its name only once it is complete.
pub fn export(config: &Config, file: &Path) -> anyhow::Result<()> {
    if file == Path::new(STANDARD) {
        let out = std::io::stdout().lock();
        if out.is_terminal() {
            return Err(Failure::usage("an export is not for a terminal: name a file, or use a pipe").into());
        }
        Source::find(config)?.export(BufWriter::with_capacity(BUFFER, out))?;
        return Ok(());
    }
    let source = Source::find(config)?;
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let summary = write_part(&source, &part).inspect_err(|_| {
        // It is of no use to anybody.
        let _ = std::fs::remove_file(&part);
    })?;
    std::fs::rename(&part, file).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("exported {} records, {} bytes of keys and values", summary.records, summary.bytes);
    Ok(())
}

fn write_part(source: &Source, part: &Path) -> anyhow::Result<dump::Summary> {
    let place = || format!("cannot write {}", part.display());
    // Left behind by one that was interrupted.
    let _ = std::fs::remove_file(part);
    let out = BufWriter::with_capacity(BUFFER, new_file(part).with_context(place)?);
    let (out, summary) = source.export(out)?;
    out.into_inner()
        .map_err(|error| error.into_error())
        .with_context(place)?
        .sync_all()
        .with_context(place)?;
    Ok(summary)
}

/// Makes a data folder of an export.
pub fn import(config: &Config, file: &Path) -> anyhow::Result<()> {
    let input: Box<dyn Read> = match file == Path::new(STANDARD) {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?),
    };
    let mut import = Import::begin(&config.store)?;
    let mut progress = Progress::new("records");
    let read = dump::read(BufReader::with_capacity(BUFFER, input), &mut |key, value| {
        progress.add(1);
        import.put(key, value)
    });
    let summary = read.with_context(|| format!("nothing was imported from {}", file.display()))?;
    import.finish()?;
    report("imported", summary.records, &config.store)
}

/// Copies a data folder, record by record.
pub fn backup(config: &Config, folder: PathBuf) -> anyhow::Result<()> {
    let source = Source::find(config)?;
    let engine = engine_of_copy(config)?;
    let copy = StoreConfig { path: folder, engine, ..config.store.clone() };
    let (mut import, mut records) = (Import::begin(&copy)?, 0u64);
    source.for_each(&mut |key, value| -> Result<(), StoreError> {
        records += 1;
        import.put(key, value)
    })?;
    import.finish()?;
    report("copied", records, &copy)
}

/// A new file that nobody else can read: there are messages and password hashes in it.
pub fn new_file(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn report(done: &str, records: u64, into: &StoreConfig) -> anyhow::Result<()> {
    let (folder, engine) = (into.path.display(), into.engine.name());
    let mut out = std::io::stdout().lock();
    writeln!(out, "{done} {records} records into {folder} (engine {engine})")?;
    Ok(out.flush()?)
}
