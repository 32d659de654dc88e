//! How full the queue of a session may be, and what goes when it is.

use bytestring::ByteString;

use hubbub_broker::message::Message;
use hubbub_config::QueueDrop;

use super::{Queues, position_of};
use crate::store::{StoreError, keys};
use crate::transaction::Transaction;

/// What the queue of one session may hold.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Messages.
    pub messages: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Which one goes when there is no room.
    pub drop: QueueDrop,
}

impl QueueLimits {
    /// So many messages of any size; what comes then goes.
    pub fn messages(messages: u64) -> QueueLimits {
        QueueLimits { messages, bytes: u64::MAX, drop: QueueDrop::Newest }
    }
}

/// How full a queue is.
#[derive(Debug, Default)]
pub(super) struct Fill {
    /// Entries.
    pub waiting: u64,
    bytes: u64,
    /// Messages that went since the last entry.
    dropped: u64,
    /// No entry stands in front of this one. Whoever reads a queue begins here, not at its start: what was deleted there
    /// costs a reader until the engine has merged it away.
    pub oldest: u64,
}

impl Fill {
    pub fn add(&mut self, bytes: usize) {
        self.waiting += 1;
        self.bytes += bytes as u64;
    }

    pub fn remove(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// There is an entry at this position, which is not counted yet.
    pub fn comes(&mut self, position: u64) {
        // Behind all others, unless the disk was damaged.
        self.oldest = if self.waiting == 0 { position } else { self.oldest.min(position) };
    }

    /// The entry at this position is gone. What goes out of turn is noticed by the next page, or when the queue is empty.
    pub fn went(&mut self, position: u64) {
        if position == self.oldest {
            self.oldest = position.saturating_add(1);
        }
    }

    /// The message that tells of those that went, if any did.
    pub fn marked(&mut self, message: &Message) -> Option<Message> {
        let dropped = std::mem::take(&mut self.dropped);
        let properties = || message.properties.with_user("dropped", &dropped.to_string());
        (dropped > 0).then(|| Message { properties: properties(), ..message.clone() })
    }

    pub fn fits(&self, bytes: usize, max: &QueueLimits) -> bool {
        self.waiting < max.messages && self.bytes.saturating_add(bytes as u64) <= max.bytes
    }
}

impl Queues {
    /// Whether one more entry of so many bytes fits, after older ones have gone if that is the rule.
    pub(super) fn make_room(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        bytes: usize,
    ) -> Result<bool, StoreError> {
        loop {
            let Some(session) = self.sessions.get_mut(client) else { return Ok(false) };
            if session.fill.fits(bytes, &self.max) {
                return Ok(true);
            }
            session.fill.dropped += 1;
            self.counters.queue_overflows_total.add(1);
            tracing::warn!(%client, waiting = session.fill.waiting, bytes = session.fill.bytes, "queue full, message dropped");
            let range = keys::queued_of(client, session.fill.oldest..=u64::MAX);
            let oldest = match self.max.drop {
                QueueDrop::Oldest => tx.first_within(&range)?,
                QueueDrop::Newest => None,
            };
            let Some(position) = oldest.and_then(|key| position_of(&key)) else { return Ok(false) };
            session.fill.oldest = position + 1;
            self.taken(tx, client, position)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Session;
    use super::*;
    use crate::queue::QueuedHead;
    use crate::store::{MemoryStore, Order, Store};
    use bytes::Bytes;
    use hubbub_broker::codec::{QoS, SubscribeOptions};
    use hubbub_broker::lane::{self, Device};
    use hubbub_broker::topic::TopicLimits;
    use std::sync::Arc;

    /// What waits for bob after ten messages of 100 bytes: payloads, and what they say of those that went.
    fn after_ten(messages: u64, bytes: u64, drop: QueueDrop) -> Vec<(String, Option<String>)> {
        let store = MemoryStore::default();
        let limits = TopicLimits { levels: 8, bytes: 100 };
        let mut queues = Queues::new(limits, QueueLimits { messages, bytes, drop }, Arc::default());
        let device = Device { user: "bob".into(), client: "phone".into() };
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        let mut tx = Transaction::new(&store, 0);
        queues.open(&mut tx, &store, &device, 60, false).unwrap();
        queues.subscribe(&mut tx, &device.client, &[("a".into(), options)], None);
        tx.commit().unwrap();
        for n in 0..10 {
            let mut tx = Transaction::new(&store, 0);
            let message = Message {
                topic: "a".into(),
                qos: QoS::AtLeastOnce,
                payload: format!("{n}{:99}", "").into(),
                ..Message::default()
            };
            queues.enqueue(&mut tx, &message).unwrap();
            tx.commit().unwrap();
        }
        // Room again: the next one tells.
        let mut tx = Transaction::new(&store, 0);
        let first = tx.first_within(&keys::queued_of("phone", 0..=u64::MAX)).unwrap().unwrap();
        queues.taken(&mut tx, &device.client, position_of(&first).unwrap()).unwrap();
        let last = Message {
            topic: "a".into(),
            qos: QoS::AtLeastOnce,
            payload: "last".into(),
            ..Message::default()
        };
        queues.enqueue(&mut tx, &last).unwrap();
        tx.commit().unwrap();
        let Session { fill, .. } = &queues.sessions[&device.client];
        let found = store.scan(keys::all_queued(), Order::Forward, 99).unwrap();
        assert_eq!(fill.waiting, found.len() as u64);
        assert_eq!(fill.bytes, found.iter().map(|(_, value)| value.len() as u64).sum::<u64>());
        let read = |value: Vec<u8>| match lane::take::<QueuedHead>(&mut Bytes::from(value)) {
            Ok(Some((_, Some(message)))) => message,
            other => panic!("{other:?}"),
        };
        let messages = found.into_iter().map(|(_, value)| read(value));
        let text = |message: &Message| String::from_utf8_lossy(&message.payload).trim().to_owned();
        messages.map(|m| (text(&m), m.properties.user("dropped").map(|n| n.to_string()))).collect()
    }

    fn said(entries: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        entries.iter().map(|(text, dropped)| ((*text).into(), dropped.map(Into::into))).collect()
    }

    #[test]
    fn the_newest_go_and_the_next_one_says_how_many() {
        let left = after_ten(3, u64::MAX, QueueDrop::Newest);
        assert_eq!(left, said(&[("1", None), ("2", None), ("last", Some("7"))]));
    }

    #[test]
    fn the_oldest_go_and_each_one_that_pushed_one_out_says_so() {
        let left = after_ten(3, u64::MAX, QueueDrop::Oldest);
        assert_eq!(left, said(&[("8", Some("1")), ("9", Some("1")), ("last", None)]));
    }

    #[test]
    fn bytes_count_as_well() {
        assert_eq!(after_ten(100, 420, QueueDrop::Newest).len(), 3);
        assert_eq!(after_ten(100, 420, QueueDrop::Oldest).len(), 3);
        assert_eq!(after_ten(100, 150, QueueDrop::Oldest), said(&[("last", None)]), "one at a time");
    }
}
