//! Where the bridge keeps what must survive: one sorted map of bytes with atomic, synced batches.
//!
//! Everyone else sees the trait [`Store`] and the key layout in [`keys`]; the engines are private to this folder.

mod batch;
mod durable;
pub mod keys;
mod memory;
mod poison;
mod sled;
#[cfg(test)]
pub(crate) mod suite;
mod version;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use hubbub_config::{Engine, StoreConfig};

pub use batch::{Batch, Write};
pub use memory::MemoryStore;
pub use poison::Poisoning;
pub use sled::SledStore;
pub use version::FORMAT_VERSION;

/// One key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A sorted map of bytes whose batches are all or nothing.
pub trait Store: Send + Sync {
    /// The value of one key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs of `range`, whose end is exclusive; an inverted range is empty. One call sees either
    /// all or nothing of any batch.
    fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Applies the whole batch or nothing of it. When this returns `Ok`, the batch is on the disk and not only in
    /// the caches of the system; this is what an acknowledgement rests on.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Bytes that the store takes on the disk (in memory, for an engine without a disk).
    fn size_on_disk(&self) -> Result<u64, StoreError>;

    /// True after a failed commit: nothing more can be stored until the process starts anew.
    fn is_poisoned(&self) -> bool {
        false
    }
}

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// Why the store cannot serve. All of these are our side's fault, never a peer's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the folder open.
    #[error("the data folder {} is in use by another process; stop that one first, or choose another store.path", .0.display())]
    Locked(PathBuf),
    /// The folder cannot be made, read or written.
    #[error("the data folder {} cannot be used: {reason}", .path.display())]
    Folder {
        /// The folder from the settings.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The folder holds data of an unknown layout.
    #[error("the data folder {} {found}, this program reads format {FORMAT_VERSION}; nothing was changed", .path.display())]
    Format {
        /// The folder from the settings.
        path: PathBuf,
        /// What was found there, as a clause.
        found: String,
    },
    /// Reading or writing failed after the start.
    #[error("the store failed: {0}")]
    Failed(String),
    /// An earlier commit failed; nothing may be acknowledged any more.
    #[error("an earlier write to the store failed, so nothing more is stored until a restart")]
    Poisoned,
}

/// Opens the store of the settings, making its folder at the first start.
///
/// Fails when another process holds the folder, when it cannot be written, or when its data has another format.
pub fn open(settings: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    match settings.engine {
        Engine::Memory => {
            let engine = MemoryStore::default();
            version::check(&engine, &settings.path)?;
            Ok(Arc::new(Poisoning::new(engine)))
        }
        Engine::Sled => {
            let engine = SledStore::open(&settings.path, settings.cache_bytes)?;
            version::check_folder(&engine, &settings.path)?;
            Ok(Arc::new(Poisoning::new(engine)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(engine: Engine, path: &std::path::Path) -> StoreConfig {
        StoreConfig { engine, path: path.to_path_buf(), ..StoreConfig::default() }
    }

    fn put(key: &[u8], value: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, value);
        batch
    }

    #[test]
    fn a_first_start_makes_the_folder_and_a_second_finds_its_data() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(Engine::Sled, &home.path().join("deep/data"));
        open(&settings).unwrap().commit(put(b"k", b"v")).unwrap();
        assert_eq!(open(&settings).unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
    }

    #[test]
    fn a_folder_in_use_is_refused_with_its_name() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(Engine::Sled, home.path());
        let _holder = open(&settings).unwrap();
        let refusal = open(&settings).err().unwrap();
        assert!(matches!(refusal, StoreError::Locked(_)), "{refusal}");
        assert!(refusal.to_string().contains(home.path().to_str().unwrap()), "{refusal}");
    }

    #[test]
    fn a_folder_whose_data_is_gone_is_not_taken_for_a_new_one() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(Engine::Sled, home.path());
        open(&settings).unwrap().commit(put(b"k", b"v")).unwrap();
        std::fs::write(home.path().join("db"), b"").unwrap();
        let refusal = open(&settings).err().unwrap().to_string();
        assert!(refusal.contains("data is gone") && refusal.contains("hubbub-format"), "{refusal}");
        std::fs::remove_file(home.path().join("hubbub-format")).unwrap();
        assert_eq!(open(&settings).unwrap().get(b"k").unwrap(), None);
    }

    #[test]
    fn a_path_that_is_a_file_is_refused_with_a_sentence() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("data");
        std::fs::write(&file, "not a folder").unwrap();
        let refusal = open(&settings(Engine::Sled, &file)).err().unwrap().to_string();
        assert!(refusal.contains("cannot be used") && refusal.contains(file.to_str().unwrap()), "{refusal}");
    }

    #[test]
    fn the_memory_engine_needs_no_folder() {
        let home = tempfile::tempdir().unwrap();
        let nowhere = home.path().join("never-made");
        open(&settings(Engine::Memory, &nowhere)).unwrap().commit(put(b"k", b"v")).unwrap();
        assert!(!nowhere.exists());
    }
}
