//! `hubbub store check`.

use crate::exit::{Exit, Failure};
use crate::store::copy;
use crate::store::source::Source;
use anyhow::Context;
use hubbub_bridge::inspect::Check;
use hubbub_bridge::store::{Batch, StoreError, dump, keys};
use std::io::Write;
use std::path::Path;

/// Deletes in one batch.
const BATCH: usize = 1000;

/// Reads everything and prints what is not whole.
pub fn look(source: &Source) -> anyhow::Result<()> {
    let mut report = Report::new();
    source.for_each(&mut |key, value| {
        report.check.record(key, value);
        report.print()
    })?;
    report.end()
}

/// The same, and moves what cannot be read into a file.
pub fn quarantine(source: &Source, file: &Path) -> anyhow::Result<()> {
    let store = source.stopped("--quarantine")?;
    let place = || format!("cannot write {}", file.display());
    if file.exists() {
        return Err(Failure::usage(format!("{} is there already", file.display())).into());
    }
    let (mut report, mut unreadable) = (Report::new(), Vec::new());
    source.for_each(&mut |key, value| {
        if !report.check.record(key, value) {
            unreadable.push(key.to_vec());
        }
        report.print()
    })?;
    if !unreadable.is_empty() {
        let mut out = dump::Writer::new(copy::new_file(file).with_context(place)?).with_context(place)?;
        for key in &unreadable {
            let value = store.get(key)?.unwrap_or_default();
            out.put(key, &value).with_context(place)?;
        }
        let (out, _) = out.finish().with_context(place)?;
        // Only what is safe there may be taken away here.
        out.sync_all().with_context(place)?;
        for keys in unreadable.chunks(BATCH) {
            let mut batch = Batch::new();
            keys.iter().for_each(|key| batch.delete(key.as_slice()));
            store.commit(batch)?;
        }
        let mut lines = std::io::stdout().lock();
        for key in &unreadable {
            writeln!(
                lines,
                "{}: moved to {}; {} is missing now",
                keys::show(key),
                file.display(),
                what(key)
            )?;
        }
    }
    report.end()
}

fn what(key: &[u8]) -> &'static str {
    let kind = keys::KINDS.iter().find(|kind| key.starts_with(&[kind.letter as u8, b'/']));
    kind.map_or("something unknown", |kind| kind.name)
}

struct Report {
    check: Check,
    found: u64,
}

impl Report {
    fn new() -> Report {
        Report { check: Check::default(), found: 0 }
    }

    fn print(&mut self) -> Result<(), StoreError> {
        while let Some(finding) = self.check.next_finding() {
            self.found += 1;
            // Closed: then nobody reads the rest either, but the status still tells.
            let _ = writeln!(std::io::stdout(), "{}: {}", finding.key, finding.what);
        }
        Ok(())
    }

    /// One line for each kind, and the verdict.
    fn end(mut self) -> anyhow::Result<()> {
        self.check.end();
        self.print()?;
        let mut out = std::io::stdout().lock();
        if self.found > 0 {
            let message = format!("{} of the store's records or numbers are not whole", self.found);
            return Err(Failure::new(Exit::Failed, message).into());
        }
        for kind in keys::KINDS {
            if let Some(count) = self.check.counts().get(&kind.letter) {
                writeln!(out, "{count:>10}  {}", kind.name)?;
            }
        }
        writeln!(out, "the store is whole")?;
        Ok(out.flush()?)
    }
}
