//! Where the bridge keeps what must survive: one sorted map of bytes with atomic, synced batches.
//!
//! Everyone else sees the trait [`Store`] and the key layout in [`keys`]; the engines are private to this folder.

mod batch;
mod counted;
pub mod dump;
mod durable;
mod fjall;
mod folder;
pub mod keys;
mod memory;
mod moment;
mod poison;
mod sled;
#[cfg(test)]
pub(crate) mod suite;
mod transfer;
mod version;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use hubbub_config::{Engine, StoreConfig};

pub use batch::{Batch, Write};
pub use counted::Counted;
pub use fjall::FjallStore;
pub use folder::engine_of;
pub use memory::MemoryStore;
pub use poison::Poisoning;
pub use sled::SledStore;
pub use transfer::{Import, export, is_of_the_folder};
pub use version::FORMAT_VERSION;

/// Directives for the log that keep an engine quiet unless something is wrong.
pub const LOG: &str = "fjall=warn,lsm_tree=warn,sled=warn";

/// Pairs of a page in [`for_each`].
const PAGE: usize = 1024;

/// One key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Is shown each key with its value; an error ends the walk.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'a;

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

    /// Shows every pair in the order of the keys, as one moment saw them all. Commits go on meanwhile, however long the
    /// visit takes. Fails if more was written meanwhile than the engine can keep apart.
    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError>;

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
/// Fails when another process holds the folder, when it cannot be written, when its data has another format or was
/// written by another engine, or when data is missing.
pub fn open(settings: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    let StoreConfig { engine, path, cache_bytes, .. } = settings;
    match engine {
        Engine::Memory => {
            let store = MemoryStore::default();
            version::check(&store, path)?;
            Ok(Arc::new(Poisoning::new(store)))
        }
        Engine::Fjall => {
            folder::prepare(path, *engine)?;
            keep(FjallStore::open(&path.join(folder::FJALL), *cache_bytes)?, settings)
        }
        Engine::Sled => {
            folder::prepare(path, *engine)?;
            keep(SledStore::open(path, *cache_bytes)?, settings)
        }
    }
}

/// Opens a folder that has data, with the engine that wrote it whatever the settings say. Makes none.
pub fn open_existing(settings: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    let path = &settings.path;
    let Some(engine) = engine_of(path)? else {
        let reason = "there is no data of Hubbub in it".to_owned();
        return Err(StoreError::Folder { path: path.clone(), reason });
    };
    open(&StoreConfig { engine, ..settings.clone() })
}

/// Shows every pair of a range in order, a page at a time: commits may land between two pages.
pub fn for_each(
    store: &dyn Store,
    mut range: Range<Vec<u8>>,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    loop {
        let page = store.scan(range.clone(), Order::Forward, PAGE)?;
        page.iter().try_for_each(|(key, value)| visit(key, value))?;
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        // The smallest key behind it.
        range.start = [last.as_slice(), &[0]].concat();
    }
}

fn keep(store: impl Store + 'static, settings: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    let StoreConfig { engine, path, .. } = settings;
    folder::check(&store, path, *engine)?;
    Ok(Arc::new(Poisoning::new(Counted::new(store, path)?)))
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

    const ON_DISK: [Engine; 2] = [Engine::Fjall, Engine::Sled];

    #[test]
    fn a_first_start_makes_the_folder_and_a_second_finds_its_data() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, &home.path().join("deep/data"));
            open(&settings).unwrap().commit(put(b"k", b"v")).unwrap();
            assert_eq!(open(&settings).unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
        }
    }

    #[test]
    fn a_folder_in_use_is_refused_with_its_name() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, home.path());
            let _holder = open(&settings).unwrap();
            let refusal = open(&settings).err().unwrap();
            assert!(matches!(refusal, StoreError::Locked(_)), "{refusal}");
            assert!(refusal.to_string().contains(home.path().to_str().unwrap()), "{refusal}");
        }
    }

    #[test]
    fn a_folder_whose_data_is_gone_is_not_taken_for_a_new_one() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, home.path());
            open(&settings).unwrap().commit(put(b"k", b"v")).unwrap();
            match engine {
                Engine::Sled => std::fs::write(home.path().join("db"), b"").unwrap(),
                _ => std::fs::remove_dir_all(home.path().join("fjall")).unwrap(),
            }
            let refusal = open(&settings).err().unwrap().to_string();
            assert!(refusal.contains("data is gone") && refusal.contains("hubbub-format"), "{refusal}");
            std::fs::remove_file(home.path().join("hubbub-format")).unwrap();
            std::fs::remove_file(home.path().join("hubbub-commits")).unwrap();
            assert_eq!(open(&settings).unwrap().get(b"k").unwrap(), None);
        }
    }

    #[test]
    fn a_folder_stays_with_the_engine_that_made_it() {
        for (first, second) in [(Engine::Fjall, Engine::Sled), (Engine::Sled, Engine::Fjall)] {
            let home = tempfile::tempdir().unwrap();
            open(&settings(first, home.path())).unwrap();
            let refusal = open(&settings(second, home.path())).err().unwrap().to_string();
            let advice = format!("store.engine = \"{}\"", first.name());
            assert!(refusal.contains(&advice) && refusal.contains("hubbub store export"), "{refusal}");
        }
    }

    #[test]
    fn a_marker_that_is_right_is_not_written_again() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, home.path());
            open(&settings).unwrap();
            // As on a full disk: a marker that is made anew would be lost.
            std::fs::create_dir(home.path().join("hubbub-format.new")).unwrap();
            open(&settings).unwrap();
            let marker = std::fs::read_to_string(home.path().join("hubbub-format")).unwrap();
            assert!(marker.contains(engine.name()), "{marker}");
        }
    }

    #[test]
    fn a_path_that_is_a_file_is_refused_with_a_sentence() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("data");
            std::fs::write(&file, "not a folder").unwrap();
            let refusal = open(&settings(engine, &file)).err().unwrap().to_string();
            assert!(
                refusal.contains("cannot be used") && refusal.contains(file.to_str().unwrap()),
                "{refusal}"
            );
        }
    }

    /// The file to which the engine appends.
    fn log_of(engine: Engine, home: &std::path::Path) -> std::path::PathBuf {
        match engine {
            Engine::Sled => home.join("db"),
            _ => home.join("fjall/0.jnl"),
        }
    }

    #[test]
    fn a_log_that_was_cut_off_is_noticed() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, home.path());
            let store = open(&settings).unwrap();
            (0..100u8).for_each(|n| store.commit(put(&[n], &[n; 1000])).unwrap());
            drop(store);
            let log = log_of(engine, home.path());
            let bytes = std::fs::read(&log).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            std::fs::write(&log, &bytes[..written * 2 / 3]).unwrap();
            let refusal = open(&settings).err().unwrap().to_string();
            let noticed = refusal.contains("are missing from its data") || refusal.contains("is damaged");
            assert!(noticed, "{engine:?}: {refusal}");
        }
    }

    #[test]
    fn a_log_that_was_scribbled_on_is_refused() {
        for engine in ON_DISK {
            let home = tempfile::tempdir().unwrap();
            let settings = settings(engine, home.path());
            let store = open(&settings).unwrap();
            (0..100u8).for_each(|n| store.commit(put(&[n], &[n; 1000])).unwrap());
            drop(store);
            let log = log_of(engine, home.path());
            let mut bytes = std::fs::read(&log).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[written / 2..written / 2 + 500].iter_mut().for_each(|byte| *byte ^= 0x55);
            std::fs::write(&log, &bytes).unwrap();
            let refusal = open(&settings).err().unwrap().to_string();
            assert!(refusal.contains(home.path().to_str().unwrap()), "{engine:?}: {refusal}");
        }
    }

    #[test]
    fn the_memory_engine_needs_no_folder() {
        let home = tempfile::tempdir().unwrap();
        let nowhere = home.path().join("never-made");
        open(&settings(Engine::Memory, &nowhere)).unwrap().commit(put(b"k", b"v")).unwrap();
        assert!(!nowhere.exists());
    }
}
