//! What is too old goes: entries of inboxes and messages of conversations, a little in every turn, so that acknowledgements
//! never wait for it. What went leaves a gap in `n` or `seq` that a client sees.

use std::collections::HashMap;
use std::ops::Range;

use ahash::RandomState;
use serde::Deserialize;

use hubbub_broker::clock::Millis;
use hubbub_broker::topic::conversation_members;
use hubbub_config::Keep;

use crate::inbox::{self, InboxEntry};
use crate::store::{Order, Pair, Store, StoreError, keys};
use crate::transaction::Transaction;

/// Inboxes or conversations that are looked at in one turn.
const OWNERS: usize = 16;
/// Records of one of them that go in one turn: a millisecond or two of work, and with the pause more in a second than a
/// busy server stores.
const RECORDS: usize = 512;
/// Milliseconds between two turns of one round: in between, others have the disk.
const PAUSE: Millis = 10;
/// Owners of which it is known where their records begin.
const MARKS: usize = 65_536;

/// Goes round all inboxes, then all conversations, then rests.
pub struct Trimmer {
    rules: Rules,
    stage: Stage,
    /// Behind the owner that was looked at last.
    from: Vec<u8>,
    /// By the key of an owner the position in front of which there is nothing left. What was deleted costs whoever reads from
    /// there until the engine has merged it away, and a queue is deleted at its front.
    begins: HashMap<Vec<u8>, u64, RandomState>,
    due: Millis,
}

/// What became of the records of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trimmed {
    /// How many went, [`RECORDS`] at most.
    gone: usize,
    /// In front of this position there is nothing left.
    begins: u64,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    inbox_age: Millis,
    /// Age of a message that goes; nothing keeps all.
    messages: Option<Millis>,
    /// Whether messages that every side took stay.
    delivered: bool,
    round: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Inboxes,
    Conversations,
}

impl Trimmer {
    /// With these settings. The first round begins at once.
    pub fn new(keep: &Keep) -> Trimmer {
        let millis = |time: std::time::Duration| time.as_millis() as Millis;
        let rules = Rules {
            inbox_age: millis(keep.inbox_age),
            messages: keep.messages.map(millis),
            delivered: keep.delivered,
            round: millis(keep.round),
        };
        let from = keys::all_inbox_heads().start;
        Trimmer { rules, stage: Stage::Inboxes, from, begins: HashMap::default(), due: 0 }
    }

    /// When [`Trimmer::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Millis {
        self.due
    }

    /// The next part of the round, if it is due.
    pub fn handle_timeout(&mut self, tx: &mut Transaction<'_>, store: &dyn Store) -> Result<(), StoreError> {
        if tx.now < self.due {
            return Ok(());
        }
        self.due = tx.now + PAUSE;
        match self.stage {
            Stage::Inboxes => {
                let all = keys::all_inbox_heads();
                if self.step(tx, store, all.end, Rules::trim_inbox)? {
                    (self.stage, self.from) = (Stage::Conversations, keys::all_conversations().start);
                }
            }
            Stage::Conversations if self.rules.messages.is_none() && self.rules.delivered => {
                self.rest(tx.now)
            }
            Stage::Conversations => {
                let all = keys::all_conversations();
                if self.step(tx, store, all.end, Rules::trim_conversation)? {
                    self.rest(tx.now);
                }
            }
        }
        Ok(())
    }

    fn rest(&mut self, now: Millis) {
        (self.stage, self.from) = (Stage::Inboxes, keys::all_inbox_heads().start);
        self.due = now + self.rules.round;
    }

    /// Looks at the next owners; `true` behind the last one.
    fn step(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        end: Vec<u8>,
        trim: Trim,
    ) -> Result<bool, StoreError> {
        let owners = store.scan(self.from.clone()..end, Order::Forward, OWNERS)?;
        for (key, _) in &owners {
            let Some(owner) = keys::Fields::of(key).and_then(|mut fields| fields.text()) else { continue };
            let begins = self.begins.get(key).copied().unwrap_or(0);
            let Trimmed { gone, begins } = trim(&self.rules, tx, store, &owner, begins)?;
            self.remember(key, begins);
            if gone > 0 {
                // Enough for one turn. If the page was full there may be more of this one.
                self.from = if gone == RECORDS { key.clone() } else { behind(key) };
                return Ok(false);
            }
        }
        if let Some((last, _)) = owners.last() {
            self.from = behind(last);
        }
        Ok(owners.len() < OWNERS)
    }

    /// A round goes through all owners in turn: where there is no room for one, there will soon be none for any.
    fn remember(&mut self, owner: &[u8], begins: u64) {
        if let Some(known) = self.begins.get_mut(owner) {
            *known = begins;
        } else if self.begins.len() < MARKS {
            self.begins.insert(owner.to_vec(), begins);
        }
    }
}

/// The smallest key behind this one.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Takes away what is too old of one owner, whose records begin at that position or behind it.
type Trim = fn(&Rules, &mut Transaction<'_>, &dyn Store, &str, u64) -> Result<Trimmed, StoreError>;

impl Rules {
    fn trim_inbox(
        &self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        user: &str,
        begins: u64,
    ) -> Result<Trimmed, StoreError> {
        let taken = if self.delivered { 0 } else { inbox::taken_by_all(store, user)? };
        let stays = |(key, value): &Pair| {
            let is_taken = inbox::position(key).is_some_and(|n| n <= taken);
            match postcard::from_bytes::<InboxEntry>(value) {
                Ok(entry) if !is_taken => Ok(!self.is_too_old(store, &entry, self.inbox_age, tx.now)?),
                read => Ok(read.is_err()),
            }
        };
        let (gone, trimmed) = first_that_go(store, keys::inbox_of(user, begins..=u64::MAX), begins, stays)?;
        for (key, value) in gone {
            if let (false, Ok(entry)) = (self.delivered, postcard::from_bytes::<InboxEntry>(&value)) {
                tx.put_number(keys::left(&entry.cid, user), entry.seq);
            }
            tx.delete(key);
        }
        Ok(trimmed)
    }

    /// The messages of a conversation stand in the order of their times.
    fn trim_conversation(
        &self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        cid: &str,
        begins: u64,
    ) -> Result<Trimmed, StoreError> {
        let left_by_all = if self.delivered { 0 } else { left_by_all(store, cid)? };
        let stays = |(key, value): &Pair| {
            let is_left = inbox::position(key).is_some_and(|seq| seq <= left_by_all);
            Ok(!is_left && !self.messages.is_some_and(|age| is_older(value, age, tx.now)))
        };
        let (gone, trimmed) = first_that_go(store, keys::messages_of(cid, begins..=u64::MAX), begins, stays)?;
        gone.into_iter().for_each(|(key, _)| tx.delete(key));
        Ok(trimmed)
    }

    /// An entry whose message is gone is of no use to anybody.
    fn is_too_old(
        &self,
        store: &dyn Store,
        entry: &InboxEntry,
        age: Millis,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let message = store.get(&keys::message(&entry.cid, entry.seq))?;
        Ok(message.is_none_or(|message| is_older(&message, age, now)))
    }
}

/// The last message of a conversation that has left the inboxes of all its members.
fn left_by_all(store: &dyn Store, cid: &str) -> Result<u64, StoreError> {
    let tx = Transaction::new(store, 0);
    let left = conversation_members(cid).map(|member| tx.number(&keys::left(cid, member)));
    Ok(left.collect::<Result<Vec<u64>, StoreError>>()?.into_iter().min().unwrap_or(0))
}

/// The first records of a range up to those that stay, [`RECORDS`] at most. They stand in the order of their times, so only a
/// few have to be looked at however many go, and one where none does.
fn first_that_go(
    store: &dyn Store,
    range: Range<Vec<u8>>,
    begins: u64,
    stays: impl Fn(&Pair) -> Result<bool, StoreError>,
) -> Result<(Vec<Pair>, Trimmed), StoreError> {
    let at = |pair: Option<&Pair>| pair.and_then(|(key, _)| inbox::position(key)).unwrap_or(begins);
    let first = store.scan(range.clone(), Order::Forward, 1)?;
    let none = Trimmed { gone: 0, begins: at(first.first()) };
    if first.first().map_or(Ok(true), &stays)? {
        return Ok((Vec::new(), none));
    }
    let mut page = store.scan(range, Order::Forward, RECORDS)?;
    let (mut from, mut to) = (0, page.len());
    while from < to {
        let middle = from.midpoint(to);
        match stays(&page[middle])? {
            true => to = middle,
            false => from = middle + 1,
        }
    }
    page.truncate(from);
    let trimmed = Trimmed { gone: from, begins: at(page.last()).saturating_add(1) };
    Ok((page, trimmed))
}

/// What cannot be read has no age, and stays.
fn is_older(message: &[u8], age: Millis, now: Millis) -> bool {
    #[derive(Deserialize)]
    struct Stamp {
        ts: Millis,
    }
    serde_json::from_slice::<Stamp>(message).is_ok_and(|stamp| stamp.ts + age <= now)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::{Batch, MemoryStore, Visit};

    const DAY: Millis = 86_400_000;

    /// Messages of alice to bob, one a day from day 0 on, in both inboxes.
    fn store_with(days: u64) -> MemoryStore {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        for n in 1..=days {
            let entry =
                InboxEntry { cid: "alice~bob".into(), seq: n, from: "alice".into(), client: "phone".into() };
            let ts = (n - 1) * DAY;
            batch.put(keys::message("alice~bob", n), format!("{{\"seq\":{n},\"ts\":{ts}}}"));
            for user in ["alice", "bob"] {
                batch.put(keys::inbox(user, n), postcard::to_stdvec(&entry).unwrap());
                batch.put(keys::inbox_head(user), n.to_be_bytes());
            }
        }
        batch.put(keys::conversation("alice~bob"), days.to_be_bytes());
        store.commit(batch).unwrap();
        store
    }

    fn rounds(store: &MemoryStore, keep: &Keep, now: Millis) {
        let mut trimmer = Trimmer::new(keep);
        let mut now = now;
        // Two rounds: what leaves an inbox in the first may leave its conversation in the second.
        for _ in 0..2 {
            loop {
                let mut tx = Transaction::new(store, now);
                trimmer.handle_timeout(&mut tx, store).unwrap();
                tx.commit().unwrap();
                now = trimmer.poll_timeout();
                if trimmer.stage == Stage::Inboxes && trimmer.from == keys::all_inbox_heads().start {
                    break;
                }
            }
        }
    }

    fn numbers(store: &MemoryStore, range: std::ops::Range<Vec<u8>>) -> Vec<u64> {
        let found = store.scan(range, Order::Forward, usize::MAX).unwrap();
        found.iter().filter_map(|(key, _)| inbox::position(key)).collect()
    }

    fn inbox_of(store: &MemoryStore, user: &str) -> Vec<u64> {
        numbers(store, keys::inbox_of(user, 0..=u64::MAX))
    }

    fn messages(store: &MemoryStore) -> Vec<u64> {
        numbers(store, keys::messages_of("alice~bob", 0..=u64::MAX))
    }

    fn days(count: u64) -> std::time::Duration {
        std::time::Duration::from_millis(count * DAY)
    }

    #[test]
    fn entries_leave_the_inbox_with_their_age_and_messages_stay() {
        let store = store_with(100);
        rounds(&store, &Keep { inbox_age: days(10), ..Keep::default() }, 99 * DAY);
        assert_eq!(inbox_of(&store, "alice"), (91..=100).collect::<Vec<u64>>());
        assert_eq!(inbox_of(&store, "bob"), (91..=100).collect::<Vec<u64>>());
        assert_eq!(messages(&store).len(), 100);
    }

    #[test]
    fn messages_leave_the_conversation_with_their_age_and_take_their_entries_along() {
        let store = store_with(100);
        rounds(&store, &Keep { messages: Some(days(10)), ..Keep::default() }, 99 * DAY);
        assert_eq!(messages(&store), (91..=100).collect::<Vec<u64>>());
        assert_eq!(inbox_of(&store, "bob"), (91..=100).collect::<Vec<u64>>());
    }

    #[test]
    fn what_is_kept_until_delivered_goes_when_every_device_of_every_side_took_it() {
        let store = store_with(100);
        let keep = Keep { delivered: false, inbox_age: days(1000), ..Keep::default() };
        let mut batch = Batch::new();
        batch.put(keys::taken("alice"), 100u64.to_be_bytes());
        batch.put(keys::taken("bob"), 90u64.to_be_bytes());
        batch.put(keys::cursor("bob", "phone"), 90u64.to_be_bytes());
        batch.put(keys::cursor("bob", "tablet"), 40u64.to_be_bytes());
        store.commit(batch).unwrap();
        rounds(&store, &keep, 99 * DAY);
        assert_eq!(inbox_of(&store, "alice"), Vec::<u64>::new());
        assert_eq!(inbox_of(&store, "bob"), (41..=100).collect::<Vec<u64>>(), "the tablet is behind");
        assert_eq!(messages(&store), (41..=100).collect::<Vec<u64>>());
    }

    /// Remembers from where it was read.
    struct Watched(MemoryStore, Mutex<Vec<Vec<u8>>>);

    impl Store for Watched {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(key)
        }

        fn scan(&self, range: Range<Vec<u8>>, order: Order, limit: usize) -> Result<Vec<Pair>, StoreError> {
            self.1.lock().unwrap().push(range.start.clone());
            self.0.scan(range, order, limit)
        }

        fn commit(&self, batch: Batch) -> Result<(), StoreError> {
            self.0.commit(batch)
        }

        fn walk(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
            self.0.walk(visit)
        }

        fn size_on_disk(&self) -> Result<u64, StoreError> {
            self.0.size_on_disk()
        }
    }

    #[test]
    fn where_everything_went_nothing_is_read_again() {
        let keep = Keep { messages: Some(days(10)), inbox_age: days(10), ..Keep::default() };
        let store = Watched(store_with(100), Mutex::default());
        let mut trimmer = Trimmer::new(&keep);
        let mut now = 99 * DAY;
        let mut round = || {
            loop {
                let mut tx = Transaction::new(&store, now);
                trimmer.handle_timeout(&mut tx, &store).unwrap();
                tx.commit().unwrap();
                now = trimmer.poll_timeout();
                if trimmer.from == keys::all_inbox_heads().start {
                    break;
                }
            }
            store.1.lock().unwrap().split_off(0)
        };
        let gone = |key: &Vec<u8>| {
            let inbox = |user| keys::inbox_of(user, 0..=90).contains(key);
            inbox("alice") || inbox("bob") || keys::messages_of("alice~bob", 0..=90).contains(key)
        };
        assert!(round().iter().any(gone));
        assert_eq!(messages(&store.0), (91..=100).collect::<Vec<u64>>());
        assert_eq!(round().iter().filter(|from| gone(from)).count(), 0);
    }

    #[test]
    fn by_default_messages_stay_for_ever() {
        let store = store_with(10);
        rounds(&store, &Keep::default(), 100_000 * DAY);
        assert_eq!(messages(&store).len(), 10);
    }
}
