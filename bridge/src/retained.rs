//! Retained messages on disk: written in the order in which the edges retained them, deleted when they expire.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use hubbub_broker::clock::Millis;
use hubbub_broker::message::Message;
use hubbub_broker::retained::{Retained, RetainedFull};

use crate::store::{Batch, Order, Store, StoreError, keys};
use crate::transaction::Transaction;

/// Topics whose stamps are remembered. Frames overtake each other by a turn or two, not by so many topics.
const MOST_STAMPS: usize = 100_000;

/// Expired messages that are taken away in one turn, so that a flood of them never delays acknowledgements for long.
const SWEEP: usize = 1024;

/// The table that all share, and what of it is on disk.
pub struct RetainedKeeper {
    table: Arc<Retained>,
    /// The newest stamp on disk, for topics that were retained lately.
    stamps: HashMap<ByteString, u64, RandomState>,
}

impl RetainedKeeper {
    /// Fills the table from disk. What has expired meanwhile goes from there.
    pub fn load(store: &dyn Store, table: Arc<Retained>, now: Millis) -> Result<RetainedKeeper, StoreError> {
        let mut over = Batch::new();
        for (key, value) in store.scan(keys::all_retained(), Order::Forward, usize::MAX)? {
            match Message::decode(&mut Bytes::from(value)) {
                Ok(message) if message.is_expired(now) => over.delete(key),
                Ok(message) if table.set(&message).is_ok() => {}
                Ok(message) => {
                    tracing::warn!(topic = %message.topic, "retained message does not fit, left on disk")
                }
                Err(error) => tracing::error!(?key, %error, "retained message left out"),
            }
        }
        if !over.is_empty() {
            store.commit(over)?;
        }
        Ok(RetainedKeeper { table, stamps: HashMap::default() })
    }

    /// Retains a message of the bridge's own making, in the table and on disk.
    pub fn set(&mut self, tx: &mut Transaction<'_>, message: &Message) -> Result<(), RetainedFull> {
        let stamp = self.table.set(message)?;
        self.store(tx, message, stamp);
        Ok(())
    }

    /// Stores what an edge has put into the table. Edges retain at once, and their frames arrive here in another order
    /// than that: an older one does not replace a newer one on disk.
    pub fn store(&mut self, tx: &mut Transaction<'_>, message: &Message, stamp: u64) {
        if !self.is_newest(&message.topic, stamp) {
            return;
        }
        if message.payload.is_empty() {
            return tx.delete(keys::retained(&message.topic));
        }
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        tx.put(keys::retained(&message.topic), bytes.to_vec());
    }

    /// Takes away messages that have expired, so that only living ones count against the limits; a few in each turn.
    pub fn sweep(&mut self, tx: &mut Transaction<'_>) {
        for (topic, stamp) in self.table.sweep(tx.now, SWEEP) {
            if self.is_newest(&topic, stamp) {
                tx.delete(keys::retained(&topic));
            }
        }
    }

    fn is_newest(&mut self, topic: &str, stamp: u64) -> bool {
        if self.stamps.len() > MOST_STAMPS {
            self.stamps.clear();
        }
        let last = self.stamps.entry(topic.into()).or_default();
        let newest = *last < stamp;
        *last = stamp.max(*last);
        newest
    }
}

#[cfg(test)]
mod tests {
    use hubbub_broker::retained::RetainedLimits;

    use super::*;
    use crate::store::MemoryStore;

    fn table() -> Arc<Retained> {
        Arc::new(Retained::new(RetainedLimits { messages: 1, bytes: 10_000 }))
    }

    fn message(topic: &str, expires: Option<Millis>) -> Message {
        Message { topic: topic.into(), payload: "x".into(), retain: true, expires, ..Message::default() }
    }

    /// What is retained on disk.
    fn on_disk(store: &dyn Store) -> Vec<String> {
        let all = store.scan(keys::all_retained(), Order::Forward, usize::MAX).unwrap();
        let topic = |value| Message::decode(&mut Bytes::from(value)).unwrap().topic.to_string();
        all.into_iter().map(|(_, value)| topic(value)).collect()
    }

    /// One turn of the bridge.
    fn turn(store: &dyn Store, now: Millis, act: impl FnOnce(&mut Transaction<'_>)) {
        let mut tx = Transaction::new(store, now);
        act(&mut tx);
        tx.commit().unwrap();
    }

    #[test]
    fn a_message_that_expired_gives_up_its_place_in_the_table_and_on_disk() {
        let store = MemoryStore::default();
        let mut keeper = RetainedKeeper::load(&store, table(), 0).unwrap();
        turn(&store, 0, |tx| keeper.set(tx, &message("a", Some(100))).unwrap());
        turn(&store, 99, |tx| keeper.sweep(tx));
        assert_eq!(on_disk(&store), ["a"]);
        turn(&store, 99, |tx| assert!(keeper.set(tx, &message("b", None)).is_err()));
        turn(&store, 100, |tx| keeper.sweep(tx));
        assert!(on_disk(&store).is_empty());
        turn(&store, 100, |tx| keeper.set(tx, &message("b", None)).unwrap());
        assert_eq!(on_disk(&store), ["b"]);
    }

    #[test]
    fn a_frame_that_comes_after_its_message_expired_puts_nothing_on_disk_and_a_newer_one_does() {
        let (store, table) = (MemoryStore::default(), table());
        let mut keeper = RetainedKeeper::load(&store, table.clone(), 0).unwrap();
        let (late, newer) = (message("a", Some(1)), message("a", None));
        let stamp = table.set(&late).unwrap();
        turn(&store, 1, |tx| keeper.sweep(tx));
        let newer_stamp = table.set(&newer).unwrap();
        turn(&store, 1, |tx| keeper.store(tx, &late, stamp));
        assert!(on_disk(&store).is_empty());
        turn(&store, 1, |tx| keeper.store(tx, &newer, newer_stamp));
        assert_eq!(on_disk(&store), ["a"]);
    }

    #[test]
    fn what_expired_while_the_server_was_down_takes_no_place_at_the_start() {
        let store = MemoryStore::default();
        let mut keeper = RetainedKeeper::load(&store, table(), 0).unwrap();
        turn(&store, 0, |tx| {
            keeper.store(tx, &message("a", Some(100)), 1);
            keeper.store(tx, &message("b", None), 2);
        });
        let after = table();
        RetainedKeeper::load(&store, after.clone(), 100).unwrap();
        assert_eq!(after.matching("#", 100).iter().map(|m| &*m.topic).collect::<Vec<_>>(), ["b"]);
        assert_eq!(on_disk(&store), ["b"]);
    }
}
