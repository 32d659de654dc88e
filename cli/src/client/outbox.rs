//! Messages on their way out, kept until the server has taken them.

use super::message::Draft;
use std::collections::{BTreeMap, VecDeque};

/// Names one message for as long as the process lives.
pub type Key = u64;
/// Names one message within one connection: the how-many-eth publish it is.
pub type Ticket = u64;

/// How many messages may be on the wire without an answer: enough to fill a long line, small enough to send again.
pub const WINDOW: usize = 64;

/// Unanswered messages in the order in which they were given. Pure: the connection asks it what to send.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<(Key, Draft)>,
    sent: BTreeMap<Ticket, (Key, Draft)>,
    next_key: Key,
    next_ticket: Ticket,
}

impl Outbox {
    /// Takes a message.
    pub fn push(&mut self, draft: Draft) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        self.waiting.push_back((key, draft));
        key
    }

    /// The next message to put on the wire, if the window allows; it counts as sent from now on.
    pub fn next_to_send(&mut self) -> Option<&Draft> {
        if self.sent.len() >= WINDOW {
            return None;
        }
        let entry = self.waiting.pop_front()?;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        Some(&self.sent.entry(ticket).or_insert(entry).1)
    }

    /// The server answered: the message is no longer ours to keep.
    pub fn settle(&mut self, ticket: Ticket) -> Option<Key> {
        self.sent.remove(&ticket).map(|(key, _)| key)
    }

    /// The connection is gone: what was not answered is sent again, first and in the old order.
    pub fn connection_lost(&mut self) {
        for (_, entry) in std::mem::take(&mut self.sent).into_iter().rev() {
            self.waiting.push_front(entry);
        }
        self.next_ticket = 0;
    }

    /// Messages without an answer.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// Is there room for another message, or shall its source wait?
    pub fn has_room(&self) -> bool {
        self.len() < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{PublishProperties, Qos};
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft {
            topic: "t".into(),
            payload: text.to_owned().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: PublishProperties::default(),
        }
    }

    fn send_all(outbox: &mut Outbox) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(draft) = outbox.next_to_send() {
            texts.push(String::from_utf8_lossy(&draft.payload).into_owned());
        }
        texts
    }

    #[test]
    fn unanswered_messages_are_sent_again_in_order_after_a_lost_connection() {
        let mut outbox = Outbox::default();
        let keys: Vec<Key> = ["a", "b", "c"].map(|text| outbox.push(draft(text))).into();
        assert_eq!(send_all(&mut outbox), ["a", "b", "c"]);
        assert_eq!(outbox.settle(1), Some(keys[1]));

        outbox.connection_lost();
        outbox.push(draft("d"));
        assert_eq!(send_all(&mut outbox), ["a", "c", "d"]);
        assert_eq!(outbox.settle(0), Some(keys[0]), "tickets count from 0 on every connection");
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn no_more_than_a_window_is_on_the_wire() {
        let mut outbox = Outbox::default();
        for _ in 0..WINDOW + 5 {
            outbox.push(draft("x"));
        }
        assert!(!outbox.has_room());
        assert_eq!(send_all(&mut outbox).len(), WINDOW);
        outbox.settle(7);
        assert_eq!(send_all(&mut outbox).len(), 1);
    }

    #[test]
    fn an_answer_counts_once() {
        let mut outbox = Outbox::default();
        let key = outbox.push(draft("x"));
        send_all(&mut outbox);
        assert_eq!(outbox.settle(0), Some(key));
        assert_eq!(outbox.settle(0), None);
    }
}
