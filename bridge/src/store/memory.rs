//! The engine that forgets everything when the process ends: for tests and for trying things out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Batch, Order, Pair, Store, StoreError, Visit, Write};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A sorted map under a lock.
#[derive(Debug, Default)]
pub struct MemoryStore {
    map: Mutex<Map>,
}

impl MemoryStore {
    fn map(&self) -> MutexGuard<'_, Map> {
        // No step of a commit can panic half way, so a poisoned lock still guards a whole map.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map().get(key).cloned())
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let map = self.map();
        let pairs = map.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Forward => pairs.take(limit).collect(),
            Order::Backward => pairs.rev().take(limit).collect(),
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut map = self.map();
        for write in batch.into_writes() {
            match write {
                Write::Put(key, value) => map.insert(key, value),
                Write::Delete(key) => map.remove(&key),
            };
        }
        Ok(())
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        // A copy, so that commits go on meanwhile: this engine is not for much data.
        let moment = self.map().clone();
        moment.iter().try_for_each(|(key, value)| visit(key, value))
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.map().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    #[test]
    fn the_memory_engine_keeps_the_promises_of_a_store() {
        suite::check(MemoryStore::default);
    }
}
