//! The default engine: fjall 3, a log-structured merge tree. A commit is one append to its journal and one fdatasync;
//! what is deleted gives its space back when the tables are merged.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::{Batch, Order, Pair, Store, StoreError, Visit, Write};

/// Everything is in one keyspace, so that one batch is atomic over all kinds of records.
const KEYSPACE: &str = "hubbub";
/// Least bytes collected in memory before they become a table on disk: tables that are too small have to be merged too
/// often.
const MEMTABLE_LEAST: u64 = 2 * 1024 * 1024;
/// Bytes of journals that may be kept for data that is not in a table yet: the least that fjall allows.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// Threads that write tables and merge them. In fjall 3.1 (`worker_pool.rs`) the first merges nothing: while all others do, it hands
/// the request back and forth, a whole core of it; so there is one more than usually merges. A single one comes to wait for
/// itself, when its queue of requests is full and it has one more.
const WORKERS: usize = 3;
/// Bytes of the unit in which Unix counts what a file has been allotted.
const BLOCK: u64 = 512;

/// A folder opened with fjall.
pub struct FjallStore {
    db: Database,
    records: Keyspace,
    path: PathBuf,
}

impl FjallStore {
    /// Opens or makes the folder. `cache_bytes` is the memory for blocks read from disk. Keys are at most 65,535 bytes
    /// long.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<FjallStore, StoreError> {
        let builder = Database::builder(path)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(WORKERS);
        let opening = || {
            let db = builder.open()?;
            let records = db.keyspace(KEYSPACE, || options(cache_bytes))?;
            Ok(FjallStore { db, records, path: path.to_path_buf() })
        };
        // Some damage is found by an assertion.
        match std::panic::catch_unwind(AssertUnwindSafe(opening)) {
            Ok(opened) => opened.map_err(|error| unreadable(path, &error)),
            Err(_) => Err(damaged(path, &"beyond what fjall can read")),
        }
    }
}

/// What is written waits in memory, beside the cache, until there is a quarter of the cache's size of it.
fn options(cache_bytes: u64) -> KeyspaceCreateOptions {
    let memtable = (cache_bytes / 4).max(MEMTABLE_LEAST);
    KeyspaceCreateOptions::default().max_memtable_size(memtable).manual_journal_persist(true)
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.db.snapshot().range(&self.records, range);
        match order {
            Order::Forward => found.take(limit).map(owned).collect(),
            Order::Backward => found.rev().take(limit).map(owned).collect(),
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        for write in batch.into_writes() {
            match write {
                Write::Put(key, value) => writes.insert(&self.records, key, value),
                Write::Delete(key) => writes.remove(&self.records, key),
            }
        }
        writes.commit().map_err(failed)
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for pair in self.db.snapshot().iter(&self.records) {
            let (key, value) = pair.into_inner().map_err(failed)?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        folder_bytes(&self.path).map_err(|error| StoreError::Failed(error.to_string()))
    }
}

/// What is allotted: journals are longer than what was written into them.
fn folder_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path())?,
            Ok(meta) => meta.blocks() * BLOCK,
            // Merged away between listing and looking.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

fn owned(pair: ::fjall::Guard) -> Result<Pair, StoreError> {
    pair.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed)
}

/// fjall shows an error of the system in the form for programmers; an operator needs "No space left on device".
fn failed(error: ::fjall::Error) -> StoreError {
    StoreError::Failed(match error {
        ::fjall::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    })
}

fn unreadable(path: &Path, error: &::fjall::Error) -> StoreError {
    match error {
        ::fjall::Error::Locked => StoreError::Locked(path.to_path_buf()),
        ::fjall::Error::Io(error) => {
            StoreError::Folder { path: path.to_path_buf(), reason: error.to_string() }
        }
        other => damaged(path, other),
    }
}

fn damaged(path: &Path, how: &dyn std::fmt::Display) -> StoreError {
    let reason = format!("its data is damaged ({how}); restore it from a copy");
    StoreError::Folder { path: path.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    const CACHE: u64 = 1024 * 1024;

    #[test]
    fn the_fjall_engine_keeps_the_promises_of_a_store() {
        let home = tempfile::tempdir().unwrap();
        let folders = std::cell::Cell::new(0);
        suite::check(|| {
            folders.set(folders.get() + 1);
            FjallStore::open(&home.path().join(folders.get().to_string()), CACHE).unwrap()
        });
    }

    #[test]
    fn what_was_committed_is_there_after_a_reopen() {
        let home = tempfile::tempdir().unwrap();
        suite::check_reopen(|| FjallStore::open(home.path(), CACHE).unwrap());
    }
}
