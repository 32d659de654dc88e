//! After one failed commit, no other may succeed.
//!
//! A failed sync leaves open what is on the disk, and the next sync may well say "fine" without having written it.
//! The only honest answer is to stop storing and to start anew from what the disk really has.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Batch, Order, Pair, Store, StoreError, Visit};

/// A store that lets nothing in after its first failure. Reading goes on.
pub struct Poisoning<S> {
    engine: S,
    poisoned: AtomicBool,
    /// Commits go one at a time: a success beside a failure could not be trusted.
    turn: Mutex<()>,
}

impl<S: Store> Poisoning<S> {
    /// Wraps an engine that has not failed yet.
    pub fn new(engine: S) -> Poisoning<S> {
        Poisoning { engine, poisoned: AtomicBool::new(false), turn: Mutex::new(()) }
    }
}

impl<S: Store> Store for Poisoning<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.get(key)
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.engine.scan(range, order, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let failure = PoisonOnDrop(&self.poisoned);
        self.engine.commit(batch)?;
        failure.did_not_happen();
        Ok(())
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.engine.walk(visit)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.engine.size_on_disk()
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }
}

/// Marks the store however the commit ends, by error or by panic, unless told otherwise.
struct PoisonOnDrop<'a>(&'a AtomicBool);

impl PoisonOnDrop<'_> {
    fn did_not_happen(self) {
        std::mem::forget(self);
    }
}

impl Drop for PoisonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, suite};

    /// What the next commit does.
    #[derive(Clone, Copy)]
    enum Fault {
        None,
        Error,
        Panic,
    }

    struct Faulty(MemoryStore, Mutex<Fault>);

    impl Faulty {
        fn poisoning(fault: Fault) -> Poisoning<Faulty> {
            Poisoning::new(Faulty(MemoryStore::default(), Mutex::new(fault)))
        }
    }

    impl Store for Faulty {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(key)
        }

        fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
            self.0.scan(range, order, limit)
        }

        fn commit(&self, batch: Batch) -> Result<(), StoreError> {
            let fault = *self.1.lock().unwrap();
            match fault {
                Fault::None => self.0.commit(batch),
                Fault::Error => Err(StoreError::Failed("disk full".into())),
                Fault::Panic => panic!("the engine gave up"),
            }
        }

        fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
            self.0.walk(visit)
        }

        fn size_on_disk(&self) -> Result<u64, StoreError> {
            self.0.size_on_disk()
        }
    }

    fn heal(store: &Poisoning<Faulty>) {
        *store.engine.1.lock().unwrap() = Fault::None;
    }

    fn one(key: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, "value");
        batch
    }

    #[test]
    fn the_wrapper_keeps_the_promises_of_a_store() {
        suite::check(|| Poisoning::new(MemoryStore::default()));
    }

    #[test]
    fn poisoned_stays_poisoned_even_when_the_disk_recovers() {
        let store = Faulty::poisoning(Fault::None);
        store.commit(one("before")).unwrap();
        *store.engine.1.lock().unwrap() = Fault::Error;
        assert!(!store.is_poisoned());
        assert!(matches!(store.commit(one("lost")), Err(StoreError::Failed(_))));
        heal(&store);
        assert!(store.is_poisoned());
        assert!(matches!(store.commit(one("after")), Err(StoreError::Poisoned)));
        assert_eq!(store.get(b"after").unwrap(), None);
        assert!(store.get(b"before").unwrap().is_some(), "reading goes on");
    }

    #[test]
    fn a_panic_in_the_engine_poisons_too() {
        let store = Faulty::poisoning(Fault::Panic);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.commit(one("lost")))).unwrap_err();
        heal(&store);
        assert!(matches!(store.commit(one("after")), Err(StoreError::Poisoned)));
    }
}
