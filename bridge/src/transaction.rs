//! What one batch of the committer changes, and what is said once it is on disk.

use std::collections::BTreeMap;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use hubbub_broker::clock::Millis;
use hubbub_broker::lane::{self, Place, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::spine::Lane;

use crate::store::{Batch, Order, Pair, Store, StoreError};

/// Bytes of an ordinary record, so that writing one does not move it again and again.
const RECORD: usize = 64;

/// Keys that are read at once to find the first one.
const PAGE: usize = 16;

/// Changes that are not on disk yet, readable by the operations that follow in the same batch, and the frames that
/// leave after the commit. Nothing is said before it is stored.
pub struct Transaction<'a> {
    store: &'a dyn Store,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    frames: Frames,
    /// The time of the whole batch.
    pub now: Millis,
}

/// Frames for the edges, one batch for each lane, in the order in which they were put.
#[derive(Debug, Default)]
pub struct Frames(Vec<(Lane, BytesMut)>);

/// The answer to a publish, a subscription, or the like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Reason code (MQTT 5 §2.4).
    pub code: u8,
    /// Reason string.
    pub reason: ByteString,
    /// User properties.
    pub user: Vec<(ByteString, ByteString)>,
}

impl Reply {
    /// A refusal.
    pub fn refused(code: u8, reason: impl Into<ByteString>) -> Reply {
        Reply { code, reason: reason.into(), user: Vec::new() }
    }
}

impl<'a> Transaction<'a> {
    /// Nothing changed yet.
    pub fn new(store: &'a dyn Store, now: Millis) -> Transaction<'a> {
        Transaction { store, writes: BTreeMap::new(), frames: Frames::default(), now }
    }

    /// The value of a key, with the changes of this batch.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.store.get(key),
        }
    }

    /// A number of eight bytes; 0 if there is none.
    pub fn number(&self, key: &[u8]) -> Result<u64, StoreError> {
        let value = self.get(key)?;
        Ok(value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// The number behind it. A damaged disk may hold the last one there is; nothing comes behind that.
    pub fn next_number(&self, key: &[u8]) -> Result<u64, StoreError> {
        Ok(self.number(key)?.saturating_add(1))
    }

    /// A record in postcard; nothing if there is none or it cannot be read.
    pub fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        Ok(self.get(key)?.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    /// Sets a number.
    pub fn put_number(&mut self, key: Vec<u8>, number: u64) {
        self.put(key, number.to_be_bytes().to_vec());
    }

    /// Sets a record.
    pub fn put_record(&mut self, key: Vec<u8>, record: &impl Serialize) {
        // Writing our own types to memory cannot fail.
        self.put(key, postcard::to_extend(record, Vec::with_capacity(RECORD)).unwrap_or_default());
    }

    /// Takes a key away.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Takes away what this batch itself set in a range; what is on disk is the caller's to find.
    pub fn delete_within(&mut self, range: &std::ops::Range<Vec<u8>>) {
        self.writes.range_mut(range.clone()).for_each(|(_, value)| *value = None);
    }

    /// Keys that this batch sets in a range.
    pub fn keys_within<'b>(
        &'b self,
        range: &'b std::ops::Range<Vec<u8>>,
    ) -> impl Iterator<Item = &'b Vec<u8>> {
        self.writes.range(range.clone()).filter(|(_, value)| value.is_some()).map(|(key, _)| key)
    }

    /// Keys and values of a range, with the changes of this batch, in the order of the keys.
    pub fn scan(&self, range: std::ops::Range<Vec<u8>>) -> Result<Vec<Pair>, StoreError> {
        let stored = self.store.scan(range.clone(), Order::Forward, usize::MAX)?;
        let mut found: BTreeMap<_, _> = stored.into_iter().collect();
        for (key, value) in self.writes.range(range) {
            match value {
                Some(value) => drop(found.insert(key.clone(), value.clone())),
                None => drop(found.remove(key)),
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The first key of a range, with the changes of this batch.
    pub fn first_within(&self, range: &std::ops::Range<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let written = self.keys_within(range).next().cloned();
        let mut rest = range.clone();
        loop {
            let page = self.store.scan(rest.clone(), Order::Forward, PAGE)?;
            let is_there = |key: &&Vec<u8>| !matches!(self.writes.get(*key), Some(None));
            let found = page.iter().map(|(key, _)| key).find(is_there).cloned();
            if found.is_some() || page.len() < PAGE {
                return Ok(found.into_iter().chain(written).min());
            }
            rest.start = page.last().map_or(rest.end.clone(), |(last, _)| [last.as_slice(), &[0]].concat());
        }
    }

    /// Says something to an edge after the commit.
    pub fn tell(&mut self, edge: u8, head: &ToEdge, message: Option<&Message>) {
        self.frames.put(Lane::Edge(edge), head, message);
    }

    /// Sends a message to all who are connected after the commit.
    pub fn broadcast(&mut self, message: &Message) {
        self.frames.put(Lane::All, &ToEdge::Broadcast, Some(message));
    }

    /// Answers whoever waits, after the commit.
    pub fn reply(&mut self, at: Place, token: Option<u64>, reply: Reply) {
        if let Some(token) = token {
            let Reply { code, reason, user } = reply;
            self.tell(at.edge, &ToEdge::Done { at, token, code, reason, user }, None);
        }
    }

    /// Whether this batch sets a key or takes it away.
    pub fn changes(&self, key: &[u8]) -> bool {
        self.writes.contains_key(key)
    }

    /// Bytes of all that is said after the commit.
    pub fn bytes_to_say(&self) -> usize {
        self.frames.bytes()
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Makes the changes durable; only then are the frames there to be sent.
    pub fn commit(self) -> Result<Frames, StoreError> {
        if !self.writes.is_empty() {
            let mut batch = Batch::new();
            for (key, value) in self.writes {
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
            self.store.commit(batch)?;
        }
        Ok(self.frames)
    }
}

impl Frames {
    /// Appends a frame to the batch of its lane.
    pub fn put(&mut self, lane: Lane, head: &ToEdge, message: Option<&Message>) {
        let at = self.0.iter().position(|(known, _)| *known == lane).unwrap_or_else(|| {
            self.0.push((lane, BytesMut::new()));
            self.0.len() - 1
        });
        lane::put(&mut self.0[at].1, head, message);
    }

    /// Bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, frames)| frames.len()).sum()
    }

    /// Puts the frames of another batch behind these.
    pub fn append(&mut self, other: Frames) {
        for (lane, frames) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == lane) {
                Some((_, known)) => known.unsplit(frames),
                None => self.0.push((lane, frames)),
            }
        }
    }

    /// The batches, for the spine to take.
    pub fn batches(&mut self) -> impl Iterator<Item = (Lane, &mut BytesMut)> {
        self.0.iter_mut().map(|(lane, frames)| (*lane, frames))
    }

    /// The batches, to be looked at.
    pub fn into_batches(self) -> impl Iterator<Item = (Lane, bytes::Bytes)> {
        self.0.into_iter().map(|(lane, frames)| (lane, frames.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_batch_reads_its_own_changes_and_others_see_them_after_the_commit() {
        let store = MemoryStore::default();
        let mut tx = Transaction::new(&store, 0);
        tx.put_number(b"n".to_vec(), 7);
        tx.put(b"gone".to_vec(), vec![1]);
        tx.delete(b"gone".to_vec());
        assert_eq!(tx.scan(vec![]..vec![0xFF]).unwrap(), [(b"n".to_vec(), 7u64.to_be_bytes().to_vec())]);
        assert_eq!((tx.number(b"n").unwrap(), tx.get(b"gone").unwrap()), (7, None));
        assert_eq!(store.get(b"n").unwrap(), None);
        tx.commit().unwrap();
        let mut tx = Transaction::new(&store, 0);
        assert_eq!(tx.number(b"n").unwrap(), 7);
        tx.delete(b"n".to_vec());
        assert_eq!(tx.scan(vec![]..vec![0xFF]).unwrap(), []);
        assert_eq!(store.get(b"gone").unwrap(), None);
    }

    #[test]
    fn the_first_key_is_found_behind_what_the_batch_itself_takes_away() {
        let store = MemoryStore::default();
        let all = b"".to_vec()..vec![0xff];
        let mut tx = Transaction::new(&store, 0);
        (1..40).for_each(|n| tx.put(vec![n], vec![]));
        tx.commit().unwrap();
        let mut tx = Transaction::new(&store, 0);
        (1..39).for_each(|n| tx.delete(vec![n]));
        assert_eq!(tx.first_within(&all).unwrap(), Some(vec![39]));
        tx.put(vec![0], vec![]);
        assert_eq!(tx.first_within(&all).unwrap(), Some(vec![0]), "not on disk yet");
        tx.delete(vec![0]);
        tx.delete(vec![39]);
        assert_eq!(tx.first_within(&all).unwrap(), None);
    }
}
