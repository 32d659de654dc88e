//! When a notification is due, and what follows a call.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Which notifications wait, as a pure machine.
///
/// [`load`](Outbox::load) what the store holds, then [`add`](Outbox::add) each new entry once it is committed and report
/// with [`taken`](Outbox::taken) what devices took. When [`poll_timeout`](Outbox::poll_timeout) says so, call
/// [`handle_timeout`](Outbox::handle_timeout), take [`next_due`](Outbox::next_due) while the sender has room, and answer
/// each with exactly one of [`finished`](Outbox::finished), [`failed`](Outbox::failed) or, if it could not be handed
/// over, [`not_sent`](Outbox::not_sent).
///
/// Times are milliseconds since the Unix epoch.
#[derive(Debug)]
pub struct Outbox {
    retry: Retry,
    people: HashMap<Arc<str>, BTreeMap<u64, Entry>>,
    timers: BTreeSet<(u64, Arc<str>, u64)>,
    ready: VecDeque<(Arc<str>, u64)>,
}

/// How often to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Pause after the first failed call in milliseconds; doubles with each further one.
    pub first_ms: u64,
    /// Longest pause in milliseconds.
    pub max_ms: u64,
    /// Calls for one entry before it is given up.
    pub attempts: u32,
}

/// What becomes of an entry whose call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it, with these values in the store.
    Retry {
        /// When the next call is due.
        at: u64,
        /// Calls made so far.
        attempts: u32,
    },
    /// Too many calls failed: delete it from the store and say so.
    GaveUp,
    /// A device took the message during the call: nothing is left to do.
    Taken,
}

#[derive(Debug)]
struct Entry {
    attempts: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting { due: u64 },
    Ready,
    InFlight,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(retry: Retry) -> Outbox {
        Outbox { retry, people: HashMap::new(), timers: BTreeSet::new(), ready: VecDeque::new() }
    }

    /// Takes in what the store holds at the start: user, inbox position, when due, calls made so far.
    pub fn load(&mut self, entries: impl IntoIterator<Item = (String, u64, u64, u32)>) {
        for (uid, n, due, attempts) in entries {
            self.wait(&uid.into(), n, due, attempts);
        }
    }

    /// A new entry was committed; an entry that is known already stays as it is.
    pub fn add(&mut self, uid: &str, n: u64, due: u64) {
        if !self.people.get(uid).is_some_and(|entries| entries.contains_key(&n)) {
            self.wait(&uid.into(), n, due, 0);
        }
    }

    /// A device took everything up to `upto`, itself included. Returns the positions that are to be deleted from the
    /// store, those with a call under way among them.
    pub fn taken(&mut self, uid: &str, upto: u64) -> Vec<u64> {
        let Some((uid, entries)) = self.people.get_key_value(uid) else { return Vec::new() };
        let (uid, positions) = (uid.clone(), entries.range(..=upto).map(|(n, _)| *n).collect::<Vec<u64>>());
        for n in &positions {
            self.forget(&uid, *n);
        }
        positions
    }

    /// Makes ready what is due.
    pub fn handle_timeout(&mut self, now: u64) {
        while self.timers.first().is_some_and(|(due, ..)| *due <= now) {
            let Some((_, uid, n)) = self.timers.pop_first() else { return };
            self.make_ready(uid, n);
        }
    }

    /// When to call [`handle_timeout`](Outbox::handle_timeout).
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// The next entry to call for, oldest due time first; from now on it is in flight.
    pub fn next_due(&mut self) -> Option<(String, u64)> {
        while let Some((uid, n)) = self.ready.pop_front() {
            let Some(entry) = self.entry(&uid, n) else { continue };
            if entry.stage == Stage::Ready {
                entry.stage = Stage::InFlight;
                return Some((uid.as_ref().into(), n));
            }
        }
        None
    }

    /// The call succeeded, or can never succeed: the entry is forgotten.
    pub fn finished(&mut self, uid: &str, n: u64) {
        self.forget(&uid.into(), n);
    }

    /// The call failed in a way that may pass.
    pub fn failed(&mut self, uid: &str, n: u64, now: u64) -> Verdict {
        let Some(entry) = self.entry(uid, n).filter(|entry| entry.stage == Stage::InFlight) else {
            return Verdict::Taken;
        };
        let attempts = entry.attempts.saturating_add(1);
        if attempts >= self.retry.attempts {
            self.forget(&uid.into(), n);
            return Verdict::GaveUp;
        }
        let at = now.saturating_add(self.retry.pause(attempts));
        self.wait(&uid.into(), n, at, attempts);
        Verdict::Retry { at, attempts }
    }

    /// The sender had no room: the entry is the next one again, and no call is counted.
    pub fn not_sent(&mut self, uid: &str, n: u64) {
        if let Some(entry) = self.entry(uid, n).filter(|entry| entry.stage == Stage::InFlight) {
            entry.stage = Stage::Ready;
            self.ready.push_front((uid.into(), n));
        }
    }

    /// Entries that wait, are ready, or are in flight.
    pub fn len(&self) -> usize {
        self.people.values().map(BTreeMap::len).sum()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn entry(&mut self, uid: &str, n: u64) -> Option<&mut Entry> {
        self.people.get_mut(uid)?.get_mut(&n)
    }

    fn wait(&mut self, uid: &Arc<str>, n: u64, due: u64, attempts: u32) {
        self.timers.insert((due, uid.clone(), n));
        let entry = Entry { attempts, stage: Stage::Waiting { due } };
        self.people.entry(uid.clone()).or_default().insert(n, entry);
    }

    fn make_ready(&mut self, uid: Arc<str>, n: u64) {
        if let Some(entry) = self.entry(&uid, n) {
            entry.stage = Stage::Ready;
            self.ready.push_back((uid, n));
        }
    }

    fn forget(&mut self, uid: &Arc<str>, n: u64) {
        let Some(entries) = self.people.get_mut(uid) else { return };
        if let Some(Entry { stage: Stage::Waiting { due }, .. }) = entries.remove(&n) {
            self.timers.remove(&(due, uid.clone(), n));
        }
        if entries.is_empty() {
            self.people.remove(uid);
        }
    }
}

impl Retry {
    /// The pause after so many failed calls.
    fn pause(self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(63);
        self.first_ms.saturating_mul(1 << doublings).min(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { first_ms: 2_000, max_ms: 10_000, attempts: 5 };

    fn with(entries: &[(&str, u64, u64)]) -> Outbox {
        let mut outbox = Outbox::new(RETRY);
        entries.iter().for_each(|(uid, n, due)| outbox.add(uid, *n, *due));
        outbox
    }

    fn due(outbox: &mut Outbox, now: u64) -> Vec<(String, u64)> {
        outbox.handle_timeout(now);
        std::iter::from_fn(|| outbox.next_due()).collect()
    }

    #[test]
    fn nothing_is_due_before_its_time_and_everything_in_order_after() {
        let mut outbox = with(&[("bob", 2, 200), ("alice", 1, 300), ("bob", 1, 100)]);
        assert_eq!(outbox.poll_timeout(), Some(100));
        assert_eq!(due(&mut outbox, 99), []);
        assert_eq!(due(&mut outbox, 200), [("bob".into(), 1), ("bob".into(), 2)]);
        assert_eq!(outbox.poll_timeout(), Some(300));
        assert_eq!(due(&mut outbox, 200), [], "in flight is not due again");
    }

    #[test]
    fn what_a_device_took_is_never_called_for() {
        let mut outbox = with(&[("bob", 1, 100), ("bob", 2, 100), ("bob", 3, 100), ("alice", 1, 100)]);
        assert_eq!(outbox.taken("bob", 2), [1, 2]);
        assert!(outbox.taken("bob", 2).is_empty());
        assert!(outbox.taken("nobody", 9).is_empty());
        assert_eq!(due(&mut outbox, 100), [("alice".into(), 1), ("bob".into(), 3)]);
    }

    #[test]
    fn taken_between_due_and_call_is_not_called_for() {
        let mut outbox = with(&[("bob", 1, 100), ("bob", 2, 100)]);
        outbox.handle_timeout(100);
        assert_eq!(outbox.taken("bob", 1), [1]);
        assert_eq!(due(&mut outbox, 100), [("bob".into(), 2)]);
    }

    #[test]
    fn taken_during_the_call_is_not_tried_again() {
        let mut outbox = with(&[("bob", 1, 100)]);
        due(&mut outbox, 100);
        assert_eq!(outbox.taken("bob", 1), [1]);
        assert_eq!(outbox.failed("bob", 1, 200), Verdict::Taken);
        assert!(outbox.is_empty());
        assert_eq!(outbox.poll_timeout(), None);
    }

    #[test]
    fn failures_wait_twice_as_long_each_time_and_end() {
        let mut outbox = with(&[("bob", 1, 0)]);
        let mut now = 0;
        for (attempts, pause) in [(1, 2_000), (2, 4_000), (3, 8_000), (4, 10_000)] {
            assert_eq!(due(&mut outbox, now).len(), 1, "attempt {attempts}");
            let verdict = outbox.failed("bob", 1, now);
            assert_eq!(verdict, Verdict::Retry { at: now + pause, attempts });
            assert_eq!(due(&mut outbox, now + pause - 1), []);
            now += pause;
        }
        assert_eq!(due(&mut outbox, now).len(), 1);
        assert_eq!(outbox.failed("bob", 1, now), Verdict::GaveUp);
        assert!(outbox.is_empty());
        assert_eq!(outbox.poll_timeout(), None);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut outbox = Outbox::new(RETRY);
        outbox.load([("bob".into(), 1, 500, 3), ("bob".into(), 2, 400, 4)]);
        assert_eq!(due(&mut outbox, 1_000), [("bob".into(), 2), ("bob".into(), 1)]);
        assert_eq!(outbox.failed("bob", 2, 1_000), Verdict::GaveUp);
        assert_eq!(outbox.failed("bob", 1, 1_000), Verdict::Retry { at: 11_000, attempts: 4 });
    }

    #[test]
    fn success_ends_it() {
        let mut outbox = with(&[("bob", 1, 100)]);
        due(&mut outbox, 100);
        outbox.finished("bob", 1);
        assert!(outbox.is_empty());
        assert_eq!(due(&mut outbox, u64::MAX), []);
    }

    #[test]
    fn without_room_the_entry_is_next_again_and_no_call_is_counted() {
        let mut outbox = with(&[("bob", 1, 100), ("bob", 2, 101)]);
        outbox.handle_timeout(200);
        assert_eq!(outbox.next_due(), Some(("bob".into(), 1)));
        outbox.not_sent("bob", 1);
        assert_eq!(due(&mut outbox, 200), [("bob".into(), 1), ("bob".into(), 2)]);
        assert!(matches!(outbox.failed("bob", 1, 200), Verdict::Retry { attempts: 1, .. }));
    }

    #[test]
    fn an_entry_reported_twice_is_called_for_once() {
        let mut outbox = with(&[("bob", 1, 100), ("bob", 1, 200)]);
        assert_eq!(due(&mut outbox, 300), [("bob".into(), 1)]);
        outbox.add("bob", 1, 100);
        assert_eq!(due(&mut outbox, 300), []);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let retry = Retry { first_ms: u64::MAX, max_ms: u64::MAX, attempts: u32::MAX };
        assert_eq!(retry.pause(1_000), u64::MAX);
        assert_eq!(Retry { first_ms: 0, ..retry }.pause(1_000), 0);
    }
}
