//! What takes the space?

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::keys::{KINDS, Key};

/// How many of the largest owners are named.
const LARGEST: usize = 5;
/// What is no key of ours, and `meta/…`.
const OTHER: &str = "others";

/// Counts records. Call [`Census::record`] for each in the order of the keys, then [`Census::end`].
#[derive(Default)]
pub struct Census {
    totals: Totals,
    /// The owner whose records are coming by.
    current: Option<(char, String, Tally)>,
}

/// Numbers of records and their bytes, without what the engine adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What a store holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Everything.
    pub all: Tally,
    /// By kind, as [`KINDS`] name them.
    pub kinds: BTreeMap<&'static str, Tally>,
    /// Conversations with the most bytes.
    pub conversations: Largest,
    /// Inboxes with the most bytes.
    pub inboxes: Largest,
    /// Queues with the most bytes.
    pub queues: Largest,
}

/// The owners with the most bytes, the largest first.
pub type Largest = Vec<(String, Tally)>;

impl Census {
    /// Takes a record in.
    pub fn record(&mut self, key: &[u8], value: &[u8]) {
        let kind = KINDS.iter().find(|kind| key.starts_with(&[kind.letter as u8, b'/']));
        self.totals.all.add(key, value);
        self.totals.kinds.entry(kind.map_or(OTHER, |kind| kind.name)).or_default().add(key, value);
        match kind.map(|kind| kind.letter) {
            Some(letter @ ('i' | 'm' | 'q')) => self.of_an_owner(letter, key, value),
            _ => self.next_owner(),
        }
    }

    /// Everything was shown.
    pub fn end(mut self) -> Totals {
        self.next_owner();
        self.totals
    }

    fn of_an_owner(&mut self, letter: char, key: &[u8], value: &[u8]) {
        let Some(read) = Key::read(key) else { return };
        match &mut self.current {
            Some((same, owner, tally)) if *same == letter && owner == read.text(0) => tally.add(key, value),
            _ => {
                self.next_owner();
                let mut tally = Tally::default();
                tally.add(key, value);
                self.current = Some((letter, read.text(0).to_owned(), tally));
            }
        }
    }

    fn next_owner(&mut self) {
        let Some((letter, owner, tally)) = self.current.take() else { return };
        let largest = match letter {
            'm' => &mut self.totals.conversations,
            'i' => &mut self.totals.inboxes,
            _ => &mut self.totals.queues,
        };
        let place = largest.partition_point(|(_, other)| other.bytes() >= tally.bytes());
        largest.insert(place, (owner, tally));
        largest.truncate(LARGEST);
    }
}

impl Tally {
    /// Bytes of keys and values.
    pub fn bytes(&self) -> u64 {
        self.key_bytes + self.value_bytes
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.key_bytes += key.len() as u64;
        self.value_bytes += value.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore, Store, keys};

    #[test]
    fn records_are_counted_by_kind_and_the_largest_owners_are_named() {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        for n in 1..=9u64 {
            (1..=n).for_each(|seq| batch.put(keys::message(&format!("room{n}"), seq), [0; 10]));
        }
        batch.put(keys::inbox("bob", 1), "xy");
        batch.put(keys::queued("phone", 1), "x");
        batch.put(keys::epoch(), "");
        store.commit(batch).unwrap();
        let mut census = Census::default();
        store
            .walk(&mut |key, value| {
                census.record(key, value);
                Ok(())
            })
            .unwrap();
        let totals = census.end();
        assert_eq!(totals.all.records, 48);
        let messages = totals.kinds["a message of a conversation"];
        assert_eq!((messages.records, messages.value_bytes, messages.key_bytes), (45, 450, 45 * 17));
        assert_eq!(totals.kinds[OTHER].records, 1);
        let names: Vec<&str> = totals.conversations.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["room9", "room8", "room7", "room6", "room5"]);
        assert_eq!(totals.conversations[0].1.records, 9);
        assert_eq!((totals.inboxes.len(), totals.queues.len()), (1, 1));
    }
}
