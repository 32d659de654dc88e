//! Notices when the end of the data is missing.
//!
//! A log that was cut off looks like one whose last write was torn by a crash: an engine drops the rest and opens. But
//! what was acknowledged must not vanish silently. So every batch carries the number of its commit, and after the
//! commit that number is written into a file beside the data, without a sync: it may be behind after a power cut, but
//! is never ahead of what the engine said is on the disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Batch, Order, Pair, Store, StoreError, Visit, keys};

/// Beside the data: the number of the last commit in decimal.
pub(super) const FILE: &str = "hubbub-commits";

/// Digits of the largest number.
const WIDTH: usize = 20;

/// An engine whose commits are counted. Commits must not run at the same time.
pub struct Counted<S> {
    engine: S,
    commits: AtomicU64,
    file: File,
}

impl<S: Store> Counted<S> {
    /// Counts on from the last commit of the folder. Fails if the folder has fewer commits than were acknowledged.
    pub fn new(engine: S, path: &Path) -> Result<Counted<S>, StoreError> {
        let folder = |reason: String| StoreError::Folder { path: path.to_path_buf(), reason };
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path.join(FILE));
        let file = open.map_err(|error| folder(format!("{FILE}: {error}")))?;
        let stored = engine.get(&keys::commits())?.and_then(|bytes| bytes.try_into().ok());
        let commits = stored.map_or(0, u64::from_be_bytes);
        let acknowledged = read(&file).map_err(|error| folder(format!("{FILE}: {error}")))?;
        if acknowledged > commits {
            let missing = acknowledged - commits;
            return Err(folder(format!(
                "the last {missing} of {acknowledged} batches that were acknowledged are missing from its data; restore \
                 it from a copy, or remove the file {FILE} to go on with what is left"
            )));
        }
        Ok(Counted { engine, commits: AtomicU64::new(commits), file })
    }
}

/// Something else than a number counts as none: it cannot prove a loss.
fn read(file: &File) -> io::Result<u64> {
    let mut digits = [0; WIDTH];
    match file.read_exact_at(&mut digits, 0) {
        Ok(()) => Ok(std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}

impl<S: Store> Store for Counted<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.get(key)
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.engine.scan(range, order, limit)
    }

    fn commit(&self, mut batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        batch.put(keys::commits(), number.to_be_bytes());
        self.engine.commit(batch)?;
        let written = self.file.write_all_at(format!("{number:0WIDTH$}\n").as_bytes(), 0);
        written.map_err(|error| StoreError::Failed(format!("{FILE}: {error}")))
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.engine.walk(visit)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.engine.size_on_disk()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn put(key: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, "value");
        batch
    }

    #[test]
    fn a_store_that_lost_its_last_commits_is_refused_until_somebody_says_so() {
        let home = tempfile::tempdir().unwrap();
        let store = Counted::new(MemoryStore::default(), home.path()).unwrap();
        (0..3).for_each(|n| store.commit(put(&n.to_string())).unwrap());
        let older = MemoryStore::default();
        let mut batch = put("0");
        batch.put(keys::commits(), 1u64.to_be_bytes());
        older.commit(batch).unwrap();
        let refusal = Counted::new(older, home.path()).err().unwrap().to_string();
        assert!(refusal.contains("last 2 of 3") && refusal.contains(FILE), "{refusal}");
        std::fs::remove_file(home.path().join(FILE)).unwrap();
        Counted::new(MemoryStore::default(), home.path()).unwrap();
    }

    #[test]
    fn a_store_that_is_ahead_of_the_file_is_whole() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FILE), "00000000000000000002\n").unwrap();
        let engine = MemoryStore::default();
        let mut batch = Batch::new();
        batch.put(keys::commits(), 5u64.to_be_bytes());
        engine.commit(batch).unwrap();
        let store = Counted::new(engine, home.path()).unwrap();
        store.commit(put("k")).unwrap();
        let text = std::fs::read_to_string(home.path().join(FILE)).unwrap();
        assert_eq!(text, "00000000000000000006\n");
    }

    #[test]
    fn a_file_that_is_no_number_does_not_stand_in_the_way() {
        for odd in ["", "12", "not a number at all...", "\u{0}"] {
            let home = tempfile::tempdir().unwrap();
            std::fs::write(home.path().join(FILE), odd).unwrap();
            Counted::new(MemoryStore::default(), home.path()).unwrap();
        }
    }
}
