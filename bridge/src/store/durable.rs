//! Makes sled's flush mean "on the disk".
//!
//! On Linux sled 0.34 flushes with `sync_file_range`, which neither empties the disk's own cache nor writes the file's
//! length (<https://github.com/spacejam/sled/issues/1452>), and it never syncs the files beside the log in which it puts
//! nodes above 128 KiB. After a power cut, an acknowledged message could be gone. So after each flush we sync both here.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Our own handles on the files of an open sled folder.
pub(super) struct Durable {
    log: File,
    blobs: PathBuf,
    synced: Mutex<HashSet<OsString>>,
}

impl Durable {
    /// `path` must already have been opened by sled. Makes the folder itself durable as well.
    pub(super) fn open(path: &Path) -> io::Result<Durable> {
        let durable = Durable {
            log: File::options().read(true).write(true).open(path.join("db"))?,
            blobs: path.join("blobs"),
            synced: Mutex::default(),
        };
        sync_folder(path)?;
        path.canonicalize()?.parent().map_or(Ok(()), sync_folder)?;
        Ok(durable)
    }

    /// Returns when everything that sled has flushed is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.sync_new_blobs()?;
        self.log.sync_data()
    }

    /// A blob is written once and never changed, so each needs one sync only.
    fn sync_new_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let present = std::fs::read_dir(&self.blobs)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<HashSet<OsString>>>()?;
        let mut news = present.difference(&synced).peekable();
        if news.peek().is_some() {
            news.try_for_each(|name| self.sync_blob(name))?;
            sync_folder(&self.blobs)?;
        }
        *synced = present;
        Ok(())
    }

    fn sync_blob(&self, name: &OsString) -> io::Result<()> {
        match File::open(self.blobs.join(name)) {
            Ok(blob) => blob.sync_data(),
            // Replaced by a newer one between listing and opening.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems have no way to sync a folder, and need none.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Durable) {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("db"), b"log").unwrap();
        std::fs::create_dir(home.path().join("blobs")).unwrap();
        let durable = Durable::open(home.path()).unwrap();
        (home, durable)
    }

    #[test]
    fn a_blob_that_cannot_be_synced_fails_the_commit() {
        let (home, durable) = folder();
        durable.sync().unwrap();
        std::os::unix::fs::symlink("loop", home.path().join("blobs/loop")).unwrap();
        durable.sync().unwrap_err();
    }

    #[test]
    fn blobs_that_went_away_are_forgotten() {
        let (home, durable) = folder();
        std::fs::write(home.path().join("blobs/7"), b"large").unwrap();
        durable.sync().unwrap();
        assert_eq!(durable.synced.lock().unwrap().len(), 1);
        std::fs::remove_file(home.path().join("blobs/7")).unwrap();
        durable.sync().unwrap();
        assert!(durable.synced.lock().unwrap().is_empty());
    }
}
