//! The version of the key layout, written into the store itself.

use std::path::Path;

use super::{Batch, Order, Store, StoreError, keys};

/// The layout that [`keys`] describes. Raise it together with a migration.
pub const FORMAT_VERSION: u32 = 1;

/// Stamps an empty store, accepts a known version, refuses everything else without touching it.
pub(super) fn check(store: &dyn Store, path: &Path) -> Result<(), StoreError> {
    match store.get(&keys::version())? {
        None if is_empty(store)? => stamp(store),
        None => Err(refusal(path, "holds data without a format version".into())),
        Some(version) if version == FORMAT_VERSION.to_be_bytes() => Ok(()),
        Some(version) => Err(refusal(path, found(&version))),
    }
}

pub(super) fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.scan(keys::everything(), Order::Forward, 1)?.is_empty())
}

fn stamp(store: &dyn Store) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(keys::version(), FORMAT_VERSION.to_be_bytes());
    store.commit(batch)
}

fn found(version: &[u8]) -> String {
    match <[u8; 4]>::try_from(version) {
        Ok(bytes) => format!("has format {}", u32::from_be_bytes(bytes)),
        Err(_) => "has a format version that cannot be read".into(),
    }
}

fn refusal(path: &Path, found: String) -> StoreError {
    StoreError::Format { path: path.to_path_buf(), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn store_with(key: Vec<u8>, value: &[u8]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        batch.put(key, value);
        store.commit(batch).unwrap();
        store
    }

    fn refused(store: &MemoryStore) -> String {
        check(store, Path::new("/srv/data")).unwrap_err().to_string()
    }

    #[test]
    fn a_new_store_gets_the_version_and_is_known_again() {
        let store = MemoryStore::default();
        check(&store, Path::new("data")).unwrap();
        assert_eq!(store.get(&keys::version()).unwrap(), Some(vec![0, 0, 0, 1]));
        check(&store, Path::new("data")).unwrap();
    }

    #[test]
    fn data_without_a_version_is_refused_and_left_alone() {
        let store = store_with(b"a".to_vec(), b"b");
        assert_eq!(
            refused(&store),
            "the data folder /srv/data holds data without a format version, this program reads format 1; \
             nothing was changed"
        );
        assert_eq!(store.get(&keys::version()).unwrap(), None);
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        assert!(refused(&store_with(keys::version(), &7u32.to_be_bytes())).contains("has format 7"));
        assert!(refused(&store_with(keys::version(), b"x")).contains("cannot be read"));
    }
}
