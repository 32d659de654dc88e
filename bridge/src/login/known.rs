//! Passwords that were found right, under a key of this run, so that a storm of reconnects does not hash each one again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ahash::RandomState;
use bytestring::ByteString;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// One entry for each account at most: only what is right gets in.
pub(super) struct Known {
    seen: Mutex<HashMap<ByteString, Vec<u8>, RandomState>>,
    /// Counts the changes of accounts: a check that began before one is not remembered after it.
    changes: AtomicU64,
    key: [u8; 16],
}

impl Known {
    pub fn new() -> Known {
        let key = ulid::Ulid::new().random().to_be_bytes();
        Known { seen: Mutex::default(), changes: AtomicU64::new(0), key }
    }

    pub fn proof(&self, name: &str, password: &[u8]) -> Vec<u8> {
        // An HMAC takes keys of every length, so there is always one. The name has no NUL in it.
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).ok();
        let mac = mac.map(|mac| mac.chain_update(name).chain_update([0]).chain_update(password).finalize());
        mac.map(|mac| mac.into_bytes().to_vec()).unwrap_or_default()
    }

    /// The number of changes so far, for [`Known::remember`].
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub fn remember(&self, name: &str, proof: Vec<u8>, changes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes() == changes {
            seen.insert(name.into(), proof);
        }
    }

    pub fn has(&self, name: &str, proof: &[u8]) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // No proof at all proves nothing.
        !proof.is_empty() && seen.get(name).is_some_and(|known| known == proof)
    }

    /// An account changed: nothing is known any more.
    pub fn forget(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
