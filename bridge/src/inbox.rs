//! The one ordered stream of each user: entries with a dense cursor `n`, and the devices that read it.

use std::collections::HashMap;

use ahash::RandomState;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::codec::QoS;
use hubbub_broker::lane::{Device, Place, Source, ToEdge};

use crate::chat;
use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::{Frames, Transaction};

/// One entry of an inbox: which message, and who sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxEntry {
    /// Conversation.
    pub cid: String,
    /// Position in the conversation.
    pub seq: u64,
    /// Sender.
    pub from: String,
    /// The sender's client id: this device does not get it back.
    pub client: String,
}

/// Devices that read an inbox now.
#[derive(Debug)]
pub struct Inboxes {
    readers: HashMap<ByteString, Vec<Reader>, RandomState>,
    /// Entries that an inbox holds.
    max: u64,
}

/// A device that reads an inbox.
#[derive(Debug)]
pub struct Reader {
    at: Place,
    client: ByteString,
    /// At QoS 1 or 2.
    owed: bool,
    /// Up to where this connection has taken everything, if its device keeps no cursor.
    upto: u64,
}

impl Inboxes {
    /// Nobody reads yet. An inbox holds so many entries: a further one pushes out the oldest.
    pub fn new(max: u64) -> Inboxes {
        Inboxes { readers: HashMap::default(), max }
    }

    /// Puts an entry into a user's inbox and pushes it to the devices that read it; gives back its `n`.
    pub fn append(
        &mut self,
        tx: &mut Transaction<'_>,
        user: &str,
        entry: &InboxEntry,
    ) -> Result<u64, StoreError> {
        let head = keys::inbox_head(user);
        let n = tx.next_number(&head)?;
        tx.put_number(head, n);
        tx.put_record(keys::inbox(user, n), entry);
        if n > self.max {
            tx.delete(keys::inbox(user, n - self.max));
        }
        let readers = self.readers.get(user).map(Vec::as_slice).unwrap_or_default();
        if readers.is_empty() {
            return Ok(n);
        }
        let stored = tx.get(&keys::message(&entry.cid, entry.seq))?.unwrap_or_default();
        let message = chat::delivery(user, n, entry, &stored);
        for reader in readers {
            tx.tell(reader.at.edge, &entry_head(reader.at, n, false), Some(&message));
        }
        Ok(n)
    }

    /// A device reads from now on. Gives back where it begins.
    ///
    /// A device that keeps its session goes on behind its own cursor. A new one begins behind what any device of the
    /// user has taken: so what nobody took reaches the first device that comes. At QoS 0 nothing can be owed, so it
    /// begins with what comes next. One that replaces a subscription at QoS 1 or 2 goes on where that was (MQTT 5 §3.8.4).
    pub fn attach(
        &mut self,
        tx: &mut Transaction<'_>,
        at: Place,
        device: &Device,
        qos: QoS,
        persistent: bool,
    ) -> Result<u64, StoreError> {
        let replaced = self.detach(device);
        let from = self.begin(tx, device, qos, persistent, replaced)?;
        let reader = Reader {
            at,
            client: device.client.clone(),
            owed: qos != QoS::AtMostOnce,
            upto: from.saturating_sub(1),
        };
        self.readers.entry(device.user.clone()).or_default().push(reader);
        Ok(from)
    }

    fn begin(
        &self,
        tx: &mut Transaction<'_>,
        device: &Device,
        qos: QoS,
        persistent: bool,
        replaced: Option<Reader>,
    ) -> Result<u64, StoreError> {
        let replaced = replaced.filter(|reader| reader.owed);
        if qos == QoS::AtMostOnce && replaced.is_none() {
            return tx.next_number(&keys::inbox_head(&device.user));
        }
        if let (false, Some(reader)) = (persistent, replaced) {
            return Ok(reader.upto + 1);
        }
        let cursor = keys::cursor(&device.user, &device.client);
        if !persistent {
            return tx.next_number(&keys::taken(&device.user));
        }
        if tx.get(&cursor)?.is_none() {
            let taken = tx.number(&keys::taken(&device.user))?;
            tx.put_number(cursor.clone(), taken);
        }
        tx.next_number(&cursor)
    }

    /// A device reads no longer. Gives back what it was.
    pub fn detach(&mut self, device: &Device) -> Option<Reader> {
        let readers = self.readers.get_mut(&device.user)?;
        let at = readers.iter().position(|reader| reader.client == device.client);
        let reader = at.map(|at| readers.swap_remove(at));
        if readers.is_empty() {
            self.readers.remove(&device.user);
        }
        reader
    }

    /// A device took everything up to `n`; cursors only go forward. Gives back whether it is news for the user.
    pub fn taken(
        &mut self,
        tx: &mut Transaction<'_>,
        device: &Device,
        n: u64,
        persistent: bool,
    ) -> Result<bool, StoreError> {
        // Nobody can have taken what was never sent.
        let n = n.min(tx.number(&keys::inbox_head(&device.user))?);
        let forward = |tx: &mut Transaction<'_>, key: Vec<u8>| -> Result<bool, StoreError> {
            let news = tx.number(&key)? < n;
            if news {
                tx.put_number(key, n);
            }
            Ok(news)
        };
        if persistent {
            forward(tx, keys::cursor(&device.user, &device.client))?;
        }
        let readers = self.readers.get_mut(&device.user).map(Vec::as_mut_slice).unwrap_or_default();
        if let Some(reader) = readers.iter_mut().find(|reader| reader.client == device.client) {
            reader.upto = reader.upto.max(n);
        }
        forward(tx, keys::taken(&device.user))
    }
}

/// A page ends early behind this, so that large messages do not pile up in memory.
pub const PAGE_BYTES: usize = 512 * 1024;

/// Reads a page of an inbox from disk for one device.
pub fn page(
    store: &dyn Store,
    frames: &mut Frames,
    at: Place,
    user: &str,
    from: u64,
    max: usize,
) -> Result<(), StoreError> {
    let found = store.scan(keys::inbox_of(user, from..=u64::MAX), Order::Forward, max + 1)?;
    let mut more = found.len() > max;
    let (mut next, before) = (from, frames.bytes());
    for (key, value) in found.into_iter().take(max) {
        if frames.bytes() - before > PAGE_BYTES {
            more = true;
            break;
        }
        let Some(n) = position(&key) else { continue };
        next = n.saturating_add(1);
        let Ok(entry) = postcard::from_bytes::<InboxEntry>(&value) else {
            tracing::error!(user, n, "inbox entry unreadable");
            continue;
        };
        // A message that was trimmed leaves a gap that the client sees in `n`.
        if let Some(stored) = store.get(&keys::message(&entry.cid, entry.seq))? {
            let message = chat::delivery(user, n, &entry, &stored);
            frames.put(hubbub_broker::spine::Lane::Edge(at.edge), &entry_head(at, n, true), Some(&message));
        }
    }
    frames.put(
        hubbub_broker::spine::Lane::Edge(at.edge),
        &ToEdge::Page { at, source: Source::Inbox, next, more },
        None,
    );
    Ok(())
}

/// How many entries behind `taken` are of others: what a badge shows. Counted up to `most`.
pub fn unread(store: &dyn Store, user: &str, most: usize) -> Result<u64, StoreError> {
    let from = Transaction::new(store, 0).next_number(&keys::taken(user))?;
    let found = store.scan(keys::inbox_of(user, from..=u64::MAX), Order::Forward, most)?;
    let of_others =
        |value: &[u8]| postcard::from_bytes::<InboxEntry>(value).is_ok_and(|entry| entry.from != user);
    Ok(found.iter().filter(|(_, value)| of_others(value)).count() as u64)
}

/// The last entry that every device of a user has taken: those with a cursor of their own, or else any.
pub fn taken_by_all(store: &dyn Store, user: &str) -> Result<u64, StoreError> {
    let taken = Transaction::new(store, 0).number(&keys::taken(user))?;
    let cursors = store.scan(keys::cursors_of(user), Order::Forward, usize::MAX)?;
    let cursors = cursors.into_iter().filter_map(|(_, value)| value.try_into().ok()).map(u64::from_be_bytes);
    Ok(cursors.fold(taken, u64::min))
}

/// The number at the end of a key of an owner.
pub fn position(key: &[u8]) -> Option<u64> {
    let mut fields = keys::Fields::of(key)?;
    fields.text()?;
    fields.number()
}

fn entry_head(at: Place, n: u64, fetched: bool) -> ToEdge {
    ToEdge::Entry {
        at,
        source: Source::Inbox,
        position: n,
        fetched,
        qos: QoS::AtLeastOnce,
        retain: false,
        ids: vec![],
    }
}
