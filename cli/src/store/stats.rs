//! `hubbub store stats`.

use crate::store::source::Source;
use hubbub_bridge::inspect::{Census, Largest, Tally, Totals};
use hubbub_config::Config;
use serde_json::json;
use std::fmt::Display;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that the system counts in `st_blocks`.
const BLOCK: u64 = 512;

/// Counts and prints.
pub fn run(source: &Source, config: &Config, json: bool) -> anyhow::Result<()> {
    let mut census = Census::default();
    source.for_each(&mut |key, value| {
        census.record(key, value);
        Ok(())
    })?;
    let (totals, disk) = (census.end(), bytes_on_disk(&config.store.path));
    let mut out = std::io::stdout().lock();
    if json {
        let mut object = serde_json::to_value(&totals)?;
        object["bytes_on_disk"] = json!(disk);
        writeln!(out, "{object}")?;
    } else {
        print(&mut out, &totals, disk)?;
    }
    Ok(out.flush()?)
}

fn print(out: &mut impl Write, totals: &Totals, disk: u64) -> std::io::Result<()> {
    line(out, &["records", "key bytes", "value bytes"], "")?;
    for (name, tally) in &totals.kinds {
        tally_line(out, tally, name)?;
    }
    tally_line(out, &totals.all, &"everything")?;
    writeln!(out, "{disk:>36}  bytes on disk")?;
    let largest: [(&str, &Largest); 3] =
        [("conversations", &totals.conversations), ("inboxes", &totals.inboxes), ("queues", &totals.queues)];
    for (what, owners) in largest.into_iter().filter(|(_, owners)| !owners.is_empty()) {
        writeln!(out, "\nlargest {what}")?;
        for (name, tally) in owners {
            tally_line(out, tally, &name.escape_debug())?;
        }
    }
    Ok(())
}

fn tally_line(out: &mut impl Write, tally: &Tally, name: &dyn Display) -> std::io::Result<()> {
    let Tally { records, key_bytes, value_bytes } = tally;
    line(out, &[records, key_bytes, value_bytes], name)
}

fn line<T: Display>(out: &mut impl Write, columns: &[T; 3], name: impl Display) -> std::io::Result<()> {
    let [records, keys, values] = columns;
    writeln!(out, "{records:>10}  {keys:>10}  {values:>12}  {name}")
}

/// What the folder takes, files that are mostly holes counted by what they hold. What goes away meanwhile counts nothing.
fn bytes_on_disk(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_on_disk(&entry.path()),
        Ok(meta) => meta.blocks() * BLOCK,
        Err(_) => 0,
    };
    entries.map(size).sum()
}
