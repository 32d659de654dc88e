//! Accounts that changed lately, so that a login which was checked before a change does not come in after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;

/// Changes that are remembered; a login takes seconds, and an operator does not change more accounts in that time.
const REMEMBERED: usize = 1024;

/// The last changes, in order.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    count: u64,
    users: VecDeque<ByteString>,
}

impl Changes {
    /// How many there were so far.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// One more, of this user.
    pub fn note(&self, user: &str) {
        let mut lately = self.lock();
        lately.count += 1;
        lately.users.push_back(user.into());
        if lately.users.len() > REMEMBERED {
            lately.users.pop_front();
        }
    }

    /// Whether there may have been one of this user since that count. If too many are to be looked at, there was.
    pub fn happened(&self, user: &str, since: u64) -> bool {
        let lately = self.lock();
        let new = usize::try_from(lately.count.saturating_sub(since)).unwrap_or(usize::MAX);
        new > lately.users.len() || lately.users.iter().rev().take(new).any(|changed| *changed == *user)
    }

    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_those_who_began_before_it() {
        let changes = Changes::default();
        changes.note("bob");
        let began = changes.count();
        changes.note("alice");
        assert!(changes.happened("bob", 0) && !changes.happened("bob", began));
        assert!(changes.happened("alice", began) && !changes.happened("alice", changes.count()));
    }

    #[test]
    fn what_is_forgotten_counts_as_a_change() {
        let changes = Changes::default();
        (0..=REMEMBERED).for_each(|_| changes.note("alice"));
        assert!(changes.happened("bob", 0) && !changes.happened("bob", 1));
    }
}
