//! A store whose commits fail, or wait, when they are told to.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use hubbub_bridge::store::{Batch, MemoryStore, Order, Pair, Store, StoreError, Visit};

/// What goes wrong with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is written.
    Refused,
    /// All of it is written, but the disk does not confirm it.
    NotFlushed,
}

/// Commits to a disk that outlives it.
pub struct Faulty {
    /// What a restart finds.
    disk: Arc<MemoryStore>,
    /// Commits from now on that are well, and what the next one suffers from.
    fault: Option<(u64, Fault)>,
    commits: AtomicU64,
    gate: Option<Mutex<Gate>>,
}

/// Each commit says that it has begun and waits until it may end.
struct Gate {
    begins: Sender<usize>,
    end: Receiver<Result<(), Fault>>,
}

/// The other side of a gate.
pub struct Keeper {
    /// The number of writes of each commit that has begun.
    pub begun: Receiver<usize>,
    /// How the next one ends.
    pub may_end: Sender<Result<(), Fault>>,
}

impl Faulty {
    /// Well for so many commits, then this. `None` is well for ever.
    pub fn new(disk: Arc<MemoryStore>, fault: Option<(u64, Fault)>) -> Faulty {
        Faulty { disk, fault, commits: AtomicU64::new(0), gate: None }
    }

    /// Every commit waits for its keeper.
    pub fn gated(disk: Arc<MemoryStore>) -> (Faulty, Keeper) {
        let ((begins, begun), (may_end, end)) = (channel(), channel());
        let gate = Some(Mutex::new(Gate { begins, end }));
        (Faulty { gate, ..Faulty::new(disk, None) }, Keeper { begun, may_end })
    }

    fn fault_of(&self, commit: u64, writes: usize) -> Option<Fault> {
        if let Some(gate) = &self.gate {
            let Gate { begins, end } = &*gate.lock().unwrap();
            // A keeper that is gone lets everything pass.
            let _ = begins.send(writes);
            return end.recv().unwrap_or(Ok(())).err();
        }
        self.fault.filter(|(well, _)| *well == commit).map(|(_, fault)| fault)
    }
}

impl Store for Faulty {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.get(key)
    }

    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.disk.scan(range, order, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let commit = self.commits.fetch_add(1, Ordering::Relaxed);
        match self.fault_of(commit, batch.len()) {
            None => self.disk.commit(batch),
            Some(Fault::Refused) => Err(StoreError::Failed("no space left on device".into())),
            Some(Fault::NotFlushed) => {
                self.disk.commit(batch)?;
                Err(StoreError::Failed("sync to disk: input/output error".into()))
            }
        }
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.disk.walk(visit)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.disk.size_on_disk()
    }
}
