//! Whole stores taken from one place to another.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hubbub_config::{Engine, StoreConfig};

use super::dump::{DumpError, Summary, Writer};
use super::folder::{self, UNFINISHED};
use super::{Batch, Store, StoreError, keys};

/// Records in one batch of an import, and bytes behind which it is committed.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Writes every record of a store as one moment saw them. What an engine keeps for itself is left out: the version is in
/// the first line, and commits are counted by each folder.
pub fn export<W: Write>(store: &dyn Store, out: W) -> Result<(W, Summary), DumpError> {
    let mut writer = Writer::new(out)?;
    let mut failure: Option<io::Error> = None;
    let walked = store.walk(&mut |key, value| match is_of_the_folder(key) {
        true => Ok(()),
        false => writer.put(key, value).map_err(|error| {
            let said = StoreError::Failed(error.to_string());
            failure = Some(error);
            said
        }),
    });
    match (walked, failure) {
        (_, Some(error)) => Err(error.into()),
        (Err(error), None) => Err(error.into()),
        (Ok(()), None) => Ok(writer.finish()?),
    }
}

/// Records that tell about a folder and not about what is in it.
pub fn is_of_the_folder(key: &[u8]) -> bool {
    key == keys::version() || key == keys::commits()
}

/// A new data folder that nobody can start from until it is complete.
///
/// [`Import::begin`], then [`Import::put`] for each record, then [`Import::finish`]. If it is dropped before, or the
/// process ends, nothing of it counts as data.
pub struct Import {
    settings: StoreConfig,
    store: Option<Arc<dyn Store>>,
    batch: Batch,
    bytes: usize,
    made_folder: bool,
}

impl Import {
    /// The folder has to be empty or not there. What an earlier import left behind that did not finish goes.
    pub fn begin(settings: &StoreConfig) -> Result<Import, StoreError> {
        let path = &settings.path;
        if settings.engine == Engine::Memory {
            return Err(unusable(path, "the engine memory keeps nothing; set store.engine to another one"));
        }
        let made_folder = !path.exists();
        fs::create_dir_all(path).map_err(|error| unusable(path, error))?;
        let workshop = StoreConfig { path: path.join(UNFINISHED), ..settings.clone() };
        refuse_unless_empty(path, &workshop)?;
        let mut import =
            Import { settings: settings.clone(), store: None, batch: Batch::new(), bytes: 0, made_folder };
        import.store = Some(super::open(&workshop)?);
        Ok(import)
    }

    /// Takes one record in.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if is_of_the_folder(key) {
            return Ok(());
        }
        self.bytes += key.len() + value.len();
        self.batch.put(key, value);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    /// Everything is in: makes it the data of the folder.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.commit()?;
        self.store = None;
        let path = self.settings.path.clone();
        move_up(&path).map_err(|error| unusable(&path, error))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        match &self.store {
            Some(store) if !batch.is_empty() => store.commit(batch),
            _ => Ok(()),
        }
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.store = None;
        // Whatever cannot be removed is refused by its name when somebody wants to start from the folder.
        let _ = fs::remove_dir_all(self.settings.path.join(UNFINISHED));
        if self.made_folder {
            // Succeeds only if nothing is in it.
            let _ = fs::remove_dir(&self.settings.path);
        }
    }
}

/// The workshop may be there, from an import that was interrupted; but not if another one is under way in it.
fn refuse_unless_empty(path: &Path, workshop: &StoreConfig) -> Result<(), StoreError> {
    let entries = fs::read_dir(path).map_err(|error| unusable(path, error))?;
    // The root of a file system of its own has the latter.
    let is_strange =
        |entry: &fs::DirEntry| entry.file_name() != UNFINISHED && entry.file_name() != "lost+found";
    if let Some(strange) = entries.flatten().find(is_strange) {
        let name = strange.file_name();
        return Err(unusable(path, format!("it is not empty ({}); choose another one", name.display())));
    }
    if workshop.path.exists() {
        if let Err(locked @ StoreError::Locked(_)) = super::open(workshop) {
            return Err(locked);
        }
        fs::remove_dir_all(&workshop.path).map_err(|error| unusable(path, error))?;
    }
    Ok(())
}

/// Moves what was put together into the folder around it. The marker is last, and until the workshop is gone nobody
/// opens the folder: whenever this is interrupted, it is either not there or whole.
fn move_up(path: &Path) -> io::Result<()> {
    let workshop = path.join(UNFINISHED);
    let mut names: Vec<PathBuf> =
        fs::read_dir(&workshop)?.map(|entry| Ok(entry?.file_name().into())).collect::<io::Result<_>>()?;
    names.sort_by_key(|name| name == Path::new(folder::MARKER));
    for name in names {
        fs::rename(workshop.join(&name), path.join(&name))?;
    }
    File::open(path)?.sync_all()?;
    fs::remove_dir(&workshop)?;
    File::open(path)?.sync_all()?;
    path.canonicalize()?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Folder { path: path.to_path_buf(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{dump, open, open_existing};

    fn settings(engine: Engine, path: &Path) -> StoreConfig {
        StoreConfig { engine, path: path.to_path_buf(), ..StoreConfig::default() }
    }

    fn filled(settings: &StoreConfig) -> Vec<u8> {
        let store = open(settings).unwrap();
        let mut batch = Batch::new();
        (0..10_000u64).for_each(|n| batch.put(keys::message("a~b", n), n.to_be_bytes()));
        store.commit(batch).unwrap();
        let (bytes, summary) = export(&*store, Vec::new()).unwrap();
        assert_eq!(summary.records, 10_000);
        bytes
    }

    /// As `hubbub store import` does it.
    fn import(bytes: &[u8], settings: &StoreConfig) -> Result<(), String> {
        let mut import = Import::begin(settings).map_err(|error| error.to_string())?;
        dump::read(bytes, &mut |key, value| import.put(key, value)).map_err(|error| error.to_string())?;
        import.finish().map_err(|error| error.to_string())
    }

    #[test]
    fn everything_goes_from_any_engine_to_any_other() {
        for (from, to) in
            [(Engine::Sled, Engine::Fjall), (Engine::Fjall, Engine::Sled), (Engine::Memory, Engine::Fjall)]
        {
            let home = tempfile::tempdir().unwrap();
            let bytes = filled(&settings(from, &home.path().join("old")));
            let new = settings(to, &home.path().join("deep/new"));
            import(&bytes, &new).unwrap();
            let store = open_existing(&StoreConfig { engine: from, ..new.clone() }).unwrap();
            assert_eq!(export(&*store, Vec::new()).unwrap().0, bytes, "{from:?} to {to:?}");
            drop(store);
            assert!(!new.path.join(UNFINISHED).exists());
            open(&new).unwrap();
        }
    }

    #[test]
    fn a_damaged_file_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let mut bytes = filled(&settings(Engine::Memory, home.path()));
        let new = settings(Engine::Fjall, &home.path().join("new"));
        let cut = &bytes[..bytes.len() - 1];
        assert!(import(cut, &new).unwrap_err().contains("cut off"));
        assert!(!new.path.exists());
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::create_dir(&new.path).unwrap();
        assert!(import(&bytes, &new).unwrap_err().contains("damaged"));
        assert_eq!(fs::read_dir(&new.path).unwrap().count(), 0, "the folder was there before");
    }

    #[test]
    fn a_folder_with_anything_in_it_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let old = settings(Engine::Fjall, &home.path().join("data"));
        let bytes = filled(&old);
        assert!(import(&bytes, &old).unwrap_err().contains("not empty"));
        assert_eq!(export(&*open(&old).unwrap(), Vec::new()).unwrap().0, bytes);
    }

    #[test]
    fn an_import_that_was_interrupted_is_not_started_from_and_can_be_repeated() {
        let home = tempfile::tempdir().unwrap();
        let bytes = filled(&settings(Engine::Memory, home.path()));
        let new = settings(Engine::Fjall, &home.path().join("new"));
        let mut interrupted = Import::begin(&new).unwrap();
        interrupted.put(b"k", b"v").unwrap();
        let refusal = open(&new).err().unwrap().to_string();
        assert!(refusal.contains("import into it did not finish"), "{refusal}");
        assert!(import(&bytes, &new).unwrap_err().contains("in use"), "one import at a time");
        // As after a crash: the folder stays.
        interrupted.store = None;
        std::mem::forget(interrupted);
        import(&bytes, &new).unwrap();
        assert_eq!(export(&*open(&new).unwrap(), Vec::new()).unwrap().0, bytes);
    }

    #[test]
    fn a_folder_without_data_is_not_opened_and_not_made() {
        let home = tempfile::tempdir().unwrap();
        let nowhere = settings(Engine::Fjall, &home.path().join("nowhere"));
        assert!(open_existing(&nowhere).err().unwrap().to_string().contains("no data"));
        assert!(!nowhere.path.exists());
    }
}
