//! Persistent sessions: their subscriptions, and the queue of messages that each is owed.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::codec::{QoS, SubscribeOptions};
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::{self, Device, Place, Source, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::session::RestoredSession;
use hubbub_broker::spine::Lane;
use hubbub_broker::topic::{TopicFilter, TopicLimits};
use hubbub_broker::trie::Trie;

use crate::inbox::PAGE_BYTES;
use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::{Frames, Transaction};

/// Stands for "has not ended": a session whose connection died with the server begins to expire at the restart.
const CONNECTED: Millis = Millis::MAX;

/// A persistent session on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionRecord {
    user: String,
    expiry: u32,
    /// When the last connection ended; [`CONNECTED`] while there is one.
    ended_at: Millis,
}

/// A subscription on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct SubscriptionRecord {
    options: SubscribeOptions,
    id: Option<u32>,
}

/// What stands in front of the message in an entry of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct QueuedHead {
    qos: QoS,
    retain: bool,
    ids: Vec<u32>,
}

/// All persistent sessions.
pub struct Queues {
    sessions: HashMap<ByteString, Session, RandomState>,
    /// By client and, for a shared subscription, its whole text: group and filter make the share.
    subscribers: Trie<(ByteString, Option<ByteString>), SubscriptionRecord>,
    limits: TopicLimits,
    /// Messages that a queue may hold.
    max: u64,
    counters: Arc<Counters>,
    /// Goes round the members of each share.
    turns: HashMap<ByteString, usize, RandomState>,
}

#[derive(Debug)]
struct Session {
    user: ByteString,
    /// Where it is connected and reads its queue.
    at: Option<Place>,
    /// Entries in the queue.
    waiting: u64,
}

/// Everything that matched for one session.
#[derive(Debug, Default)]
struct Match {
    qos: QoS,
    retain_as_published: bool,
    ids: Vec<u32>,
}

impl Queues {
    /// No sessions yet.
    pub fn new(limits: TopicLimits, max: u64, counters: Arc<Counters>) -> Queues {
        Queues {
            sessions: HashMap::default(),
            subscribers: Trie::default(),
            limits,
            max,
            counters,
            turns: HashMap::default(),
        }
    }

    /// Reads all sessions from disk, for this and for the edges.
    pub fn restore(&mut self, store: &dyn Store, now: Millis) -> Result<Vec<RestoredSession>, StoreError> {
        let records = store.scan(keys::all_sessions(), Order::Forward, usize::MAX)?;
        let mut restored = Vec::new();
        for (key, value) in records {
            let client = keys::Fields::of(&key).and_then(|mut fields| fields.text());
            let (Some(client), Ok(record)) = (client, postcard::from_bytes::<SessionRecord>(&value)) else {
                tracing::error!(?key, "session unreadable, left out");
                continue;
            };
            let ended_at = if record.ended_at == CONNECTED { now } else { record.ended_at };
            restored.push(self.restore_one(store, client.into(), &SessionRecord { ended_at, ..record })?);
        }
        Ok(restored)
    }

    fn restore_one(
        &mut self,
        store: &dyn Store,
        client: ByteString,
        record: &SessionRecord,
    ) -> Result<RestoredSession, StoreError> {
        let mut subscriptions = Vec::new();
        for (key, value) in store.scan(keys::subscriptions_of(&client), Order::Forward, usize::MAX)? {
            let filter =
                keys::Fields::of(&key).and_then(|mut fields| fields.text().and_then(|_| fields.text()));
            if let (Some(filter), Ok(record)) = (filter, postcard::from_bytes::<SubscriptionRecord>(&value)) {
                self.index(&client, &filter.as_str().into(), Some(record));
                subscriptions.push((filter.into(), record.options, record.id));
            }
        }
        let packet = |(key, _): (Vec<u8>, Vec<u8>)| {
            keys::Fields::of(&key).and_then(|mut fields| fields.text().and_then(|_| fields.packet()))
        };
        let all = |range| Ok::<_, StoreError>(store.scan(range, Order::Forward, usize::MAX)?.into_iter());
        let unreleased = all(keys::inbound_of(&client, 0..=u16::MAX))?.filter_map(packet).collect();
        let released = all(keys::released_of(&client, 0..=u16::MAX))?.filter_map(packet).collect();
        let waiting = all(keys::queued_of(&client, 0..=u64::MAX))?.count() as u64;
        let user = ByteString::from(record.user.as_str());
        self.sessions.insert(client.clone(), Session { user: user.clone(), at: None, waiting });
        Ok(RestoredSession {
            device: Device { user, client },
            expiry: record.expiry,
            ended_at: record.ended_at,
            subscriptions,
            unreleased,
            released,
        })
    }

    /// A device connected. An earlier session of the client is forgotten if this one begins anew.
    pub fn open(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        device: &Device,
        expiry: u32,
        fresh: bool,
    ) -> Result<(), StoreError> {
        if fresh {
            self.forget(tx, store, &device.client)?;
        }
        if expiry > 0 {
            let record = SessionRecord { user: device.user.to_string(), expiry, ended_at: CONNECTED };
            tx.put_record(keys::session(&device.client), &record);
            let session = Session { user: device.user.clone(), at: None, waiting: 0 };
            self.sessions.entry(device.client.clone()).or_insert(session);
        } else if self.sessions.contains_key(&device.client) {
            // The session ends with this connection: what it is owed is delivered, but nothing more is queued.
            self.unindex_all(tx, store, &device.client)?;
        }
        Ok(())
    }

    /// A device's connection ended.
    pub fn close(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        device: &Device,
        expiry: u32,
    ) -> Result<(), StoreError> {
        if expiry == 0 {
            return self.forget(tx, store, &device.client);
        }
        if let Some(session) = self.sessions.get_mut(&device.client) {
            session.at = None;
            let record = SessionRecord { user: device.user.to_string(), expiry, ended_at: tx.now };
            tx.put_record(keys::session(&device.client), &record);
        }
        Ok(())
    }

    /// The session is over: everything stored for it goes.
    pub fn forget(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        client: &ByteString,
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get(client) else { return Ok(()) };
        tx.delete(keys::cursor(&session.user, client));
        self.unindex_all(tx, store, client)?;
        self.sessions.remove(client);
        for range in [
            keys::subscriptions_of(client),
            keys::queued_of(client, 0..=u64::MAX),
            keys::inbound_of(client, 0..=u16::MAX),
            keys::released_of(client, 0..=u16::MAX),
        ] {
            for (key, _) in store.scan(range.clone(), Order::Forward, usize::MAX)? {
                tx.delete(key);
            }
            tx.delete_within(&range);
        }
        tx.delete(keys::queue_head(client));
        tx.delete(keys::session(client));
        Ok(())
    }

    fn unindex_all(
        &mut self,
        tx: &Transaction<'_>,
        store: &dyn Store,
        client: &ByteString,
    ) -> Result<(), StoreError> {
        let range = keys::subscriptions_of(client);
        let on_disk = store.scan(range.clone(), Order::Forward, usize::MAX)?.into_iter().map(|(key, _)| key);
        let known: Vec<Vec<u8>> = on_disk.chain(tx.keys_within(&range).cloned()).collect();
        for key in known {
            let filter =
                keys::Fields::of(&key).and_then(|mut fields| fields.text().and_then(|_| fields.text()));
            if let Some(filter) = filter {
                self.index(client, &filter.into(), None);
            }
        }
        Ok(())
    }

    /// Keeps the subscriptions of a session.
    pub fn subscribe(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        filters: &[(ByteString, SubscribeOptions)],
        id: Option<u32>,
    ) {
        for (filter, options) in filters {
            let record = SubscriptionRecord { options: *options, id };
            self.index(client, filter, Some(record));
            tx.put_record(keys::subscription(client, filter), &record);
        }
    }

    /// Forgets subscriptions of a session. What is queued already stays owed.
    pub fn unsubscribe(&mut self, tx: &mut Transaction<'_>, client: &ByteString, filters: &[ByteString]) {
        for filter in filters {
            self.index(client, filter, None);
            tx.delete(keys::subscription(client, filter));
        }
    }

    fn index(&mut self, client: &ByteString, text: &ByteString, record: Option<SubscriptionRecord>) {
        let Ok(TopicFilter { share, filter }) = TopicFilter::parse(text, &self.limits) else { return };
        let key = (client.clone(), share.map(|_| text.clone()));
        // At QoS 0 nothing is queued, but the identifier of the subscription belongs to a copy that another one causes.
        let counts = |record: &SubscriptionRecord| key.1.is_none() || record.options.qos != QoS::AtMostOnce;
        match record.filter(counts) {
            Some(record) => drop(self.subscribers.insert(&filter, key, record)),
            None => drop(self.subscribers.remove(&filter, &key)),
        }
    }

    /// Queues a message for every persistent session that wants it, and pushes it to those that are connected.
    pub fn enqueue(&mut self, tx: &mut Transaction<'_>, message: &Message) -> Result<(), StoreError> {
        if message.qos == QoS::AtMostOnce {
            return Ok(());
        }
        for (client, found) in self.matches(message) {
            if found.qos == QoS::AtMostOnce {
                continue;
            }
            let head = QueuedHead {
                qos: found.qos.min(message.qos),
                retain: found.retain_as_published && message.retain,
                ids: found.ids,
            };
            self.enqueue_for(tx, &client, head, message)?;
        }
        Ok(())
    }

    fn matches(&mut self, message: &Message) -> HashMap<ByteString, Match, RandomState> {
        let mut found: HashMap<ByteString, Match, RandomState> = HashMap::default();
        let mut groups: HashMap<&ByteString, Vec<(&ByteString, &SubscriptionRecord)>, RandomState> =
            HashMap::default();
        self.subscribers.for_each_match(&message.topic, |(client, share), record| match share {
            Some(group) => groups.entry(group).or_default().push((client, record)),
            None if record.options.no_local && *client == message.publisher => {}
            None => found.entry(client.clone()).or_default().add(record),
        });
        for (share, mut members) in groups {
            let turn = self.turns.entry(share.clone()).or_default();
            *turn = turn.wrapping_add(1);
            // Members that are here come before those that are away.
            let here =
                |client: &ByteString| self.sessions.get(client).is_some_and(|session| session.at.is_some());
            if members.iter().any(|(client, _)| here(client)) {
                members.retain(|(client, _)| here(client));
            }
            let (client, record) = members[*turn % members.len()];
            found.entry(client.clone()).or_default().add(record);
        }
        found
    }

    fn enqueue_for(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        head: QueuedHead,
        message: &Message,
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get_mut(client) else { return Ok(()) };
        if session.waiting >= self.max {
            self.counters.queue_overflows_total.add(1);
            tracing::warn!(%client, max = self.max, "queue full, message dropped");
            return Ok(());
        }
        session.waiting += 1;
        self.counters.queued_messages_total.add(1);
        let key = keys::queue_head(client);
        let position = tx.next_number(&key)?;
        tx.put_number(key, position);
        let mut entry = BytesMut::new();
        lane::put(&mut entry, &head, Some(message));
        tx.put(keys::queued(client, position), entry.to_vec());
        if let Some(at) = session.at {
            tx.tell(at.edge, &entry_head(at, position, false, &head), Some(message));
        }
        Ok(())
    }

    /// The session's connection reads its queue from now on.
    pub fn attach(&mut self, client: &ByteString, at: Place) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.at = Some(at);
        }
    }

    /// The client acknowledged an entry.
    pub fn taken(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        position: u64,
    ) -> Result<(), StoreError> {
        let key = keys::queued(client, position);
        if tx.get(&key)?.is_some() {
            tx.delete(key);
            if let Some(session) = self.sessions.get_mut(client) {
                session.waiting = session.waiting.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// PUBREC: the entry is the client's, its packet identifier stays taken until PUBCOMP.
    pub fn received(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        position: u64,
        packet_id: u16,
    ) -> Result<(), StoreError> {
        self.taken(tx, client, position)?;
        tx.put(keys::released(client, packet_id), Vec::new());
        Ok(())
    }
}

impl Match {
    fn add(&mut self, record: &SubscriptionRecord) {
        self.qos = self.qos.max(record.options.qos);
        self.retain_as_published |= record.options.retain_as_published;
        self.ids.extend(record.id);
    }
}

/// Reads a page of a queue from disk for its session.
pub fn page(
    store: &dyn Store,
    frames: &mut Frames,
    at: Place,
    client: &str,
    from: u64,
    max: usize,
) -> Result<(), StoreError> {
    let found = store.scan(keys::queued_of(client, from..=u64::MAX), Order::Forward, max + 1)?;
    let mut more = found.len() > max;
    let (mut next, before) = (from, frames.bytes());
    for (key, value) in found.into_iter().take(max) {
        if frames.bytes() - before > PAGE_BYTES {
            more = true;
            break;
        }
        let position =
            keys::Fields::of(&key).and_then(|mut fields| fields.text().and_then(|_| fields.number()));
        let Some(position) = position else { continue };
        next = position.saturating_add(1);
        match lane::take::<QueuedHead>(&mut Bytes::from(value)) {
            Ok(Some((head, Some(message)))) => {
                frames.put(Lane::Edge(at.edge), &entry_head(at, position, true, &head), Some(&message));
            }
            _ => tracing::error!(client, position, "queue entry unreadable, left out"),
        }
    }
    if !more {
        // What was acknowledged is gone from disk; the next one to come follows on the head.
        next = next.max(Transaction::new(store, 0).next_number(&keys::queue_head(client))?);
    }
    frames.put(Lane::Edge(at.edge), &ToEdge::Page { at, source: Source::Queue, next, more }, None);
    Ok(())
}

fn entry_head(at: Place, position: u64, fetched: bool, head: &QueuedHead) -> ToEdge {
    let QueuedHead { qos, retain, ids } = head.clone();
    ToEdge::Entry { at, source: Source::Queue, position, fetched, qos, retain, ids }
}
