//! The engine sled 0.34, one tree.

use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use hubbub_broker::clock::Deadline;

use super::durable::Durable;
use super::moment::{Moment, PAGE};
use super::{Batch, Order, Pair, Store, StoreError, Visit, Write};

/// How long to wait for a folder whose last owner is still on its way out.
const LOCK_PATIENCE: Duration = Duration::from_millis(1000);
/// Pause between two tries for a locked folder.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// How often sled's own thread cleans half-dead segments. Commits sync by themselves and do not rely on it, but nothing
/// else in sled cleans.
const CLEAN_EVERY_MS: u64 = 500;

/// A folder opened with sled.
pub struct SledStore {
    db: ::sled::Db,
    durable: Durable,
    /// A scan is many steps in sled; this keeps a batch from landing between two of them.
    whole_batches: RwLock<()>,
    walking: Mutex<()>,
    moment: Mutex<Option<Moment>>,
}

impl SledStore {
    /// Opens or makes the folder. `cache_bytes` is the memory for sled's page cache.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<SledStore, StoreError> {
        std::fs::create_dir_all(path).map_err(|error| unusable(path, error))?;
        let db = open_patiently(path, cache_bytes)?;
        let durable = Durable::open(path).map_err(|error| unusable(path, error))?;
        Ok(SledStore {
            db,
            durable,
            whole_batches: RwLock::new(()),
            walking: Mutex::default(),
            moment: Mutex::default(),
        })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let _no_commit = self.whole_batches.read().unwrap_or_else(PoisonError::into_inner);
        let pairs = self.db.range(range);
        match order {
            Order::Forward => pairs.take(limit).map(owned).collect(),
            Order::Backward => pairs.rev().take(limit).map(owned).collect(),
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.apply(batch)?;
        self.db.flush().map_err(failed)?;
        self.durable.sync().map_err(|error| StoreError::Failed(format!("sync to disk: {error}")))
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let _one_at_a_time = self.walking.lock().unwrap_or_else(PoisonError::into_inner);
        *self.moment() = Some(Moment::default());
        let walked = self.walk_on(visit);
        *self.moment() = None;
        walked
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(failed)
    }
}

impl SledStore {
    fn moment(&self) -> MutexGuard<'_, Option<Moment>> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walk_on(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        loop {
            let page = self.page_of_moment()?;
            if page.is_empty() {
                return Ok(());
            }
            page.iter().try_for_each(|(key, value)| visit(key, value))?;
        }
    }

    /// The next pairs of the walk; none at its end. Commits wait for no more than one page.
    fn page_of_moment(&self) -> Result<Vec<Pair>, StoreError> {
        let _no_commit = self.whole_batches.read().unwrap_or_else(PoisonError::into_inner);
        let mut moment = self.moment();
        let Some(moment) = moment.as_mut() else { return Ok(Vec::new()) };
        while let Some(from) = moment.goes_on_at()? {
            let found = self.db.range(from..).take(PAGE).map(owned).collect::<Result<_, _>>()?;
            let page = moment.page(found);
            if !page.is_empty() {
                return Ok(page);
            }
        }
        Ok(Vec::new())
    }

    /// Keeps what a walk under way has yet to show and the batch is about to replace.
    fn keep_for_walk(&self, batch: &[Write]) -> Result<(), StoreError> {
        let mut moment = self.moment();
        let Some(moment) = moment.as_mut() else { return Ok(()) };
        for write in batch {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            if moment.wants(key) {
                let value = self.db.get(key).map_err(failed)?.map(|value| value.to_vec());
                moment.keep(key, value);
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let batch = batch.into_writes();
        let _no_scan = self.whole_batches.write().unwrap_or_else(PoisonError::into_inner);
        self.keep_for_walk(&batch)?;
        let mut writes = ::sled::Batch::default();
        for write in batch {
            match write {
                Write::Put(key, value) => writes.insert(key, value),
                Write::Delete(key) => writes.remove(key),
            }
        }
        self.db.apply_batch(writes).map_err(failed)
    }
}

fn open_patiently(path: &Path, cache_bytes: u64) -> Result<::sled::Db, StoreError> {
    let give_up = Deadline::after(LOCK_PATIENCE);
    loop {
        match open_once(path, cache_bytes)? {
            Ok(db) => return Ok(db),
            Err(error) if !is_lock(&error) => return Err(unreadable(path, error)),
            Err(_) if give_up.is_over() => return Err(StoreError::Locked(path.to_path_buf())),
            Err(_) => std::thread::sleep(LOCK_RETRY),
        }
    }
}

/// The outer error is for damage that makes sled panic instead of reporting it.
fn open_once(path: &Path, cache_bytes: u64) -> Result<::sled::Result<::sled::Db>, StoreError> {
    let opening = || settings(path, cache_bytes).open();
    std::panic::catch_unwind(opening)
        .map_err(|_| unusable(path, "its data is damaged beyond what sled can read"))
}

fn settings(path: &Path, cache_bytes: u64) -> ::sled::Config {
    ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(Some(CLEAN_EVERY_MS))
}

/// sled reports a lock held by another as a plain I/O error with this text.
fn is_lock(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(io) if io.to_string().starts_with("could not acquire lock"))
}

fn owned(pair: ::sled::Result<(::sled::IVec, ::sled::IVec)>) -> Result<Pair, StoreError> {
    pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed)
}

fn failed(error: ::sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn unreadable(path: &Path, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Corruption { .. } => unusable(path, format!("its data is damaged ({error})")),
        other => unusable(path, other),
    }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Folder { path: path.to_path_buf(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    const CACHE: u64 = 1024 * 1024;

    #[test]
    fn the_sled_engine_keeps_the_promises_of_a_store() {
        let home = tempfile::tempdir().unwrap();
        let folders = std::cell::Cell::new(0);
        suite::check(|| {
            folders.set(folders.get() + 1);
            SledStore::open(&home.path().join(folders.get().to_string()), CACHE).unwrap()
        });
    }

    #[test]
    fn what_was_committed_is_there_after_a_reopen() {
        let home = tempfile::tempdir().unwrap();
        suite::check_reopen(|| SledStore::open(home.path(), CACHE).unwrap());
    }
}
