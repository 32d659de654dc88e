//! Persistent sessions: their subscriptions, and the queue of messages that each is owed.

mod limits;
mod on_the_way;
mod share;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::codec::{QoS, SubscribeOptions};
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::{self, Device, FleetingCopy, Place, Source, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::session::RestoredSession;
use hubbub_broker::share::{Search, Share};
use hubbub_broker::spine::Lane;
use hubbub_broker::topic::{TopicFilter, TopicLimits};
use hubbub_broker::trie::Trie;
use hubbub_config::Config;

use crate::inbox::PAGE_BYTES;
use crate::store::{Order, Store, StoreError, for_each, keys};
use crate::transaction::{Frames, Transaction};

use limits::Fill;
pub use limits::QueueLimits;
use on_the_way::{OnTheWay, Size};
pub use share::settle;

/// Stands for "has not ended": a session whose connection died with the server begins to expire at the restart.
pub(crate) const CONNECTED: Millis = Millis::MAX;

/// A persistent session on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub user: String,
    pub expiry: u32,
    /// When the last connection ended; [`CONNECTED`] while there is one.
    pub ended_at: Millis,
}

/// A subscription on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRecord {
    options: SubscribeOptions,
    id: Option<u32>,
}

/// What stands in front of the message in an entry of a queue; behind it the [`Share`], if it came by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueuedHead {
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
    /// What a queue may hold.
    max: QueueLimits,
    counters: Arc<Counters>,
    /// Goes round the members of each share.
    turns: HashMap<ByteString, usize, RandomState>,
    /// The number of the last message on loan in this run; a new run calls in what an earlier one lent.
    last_loan: u64,
}

#[derive(Debug)]
struct Session {
    user: ByteString,
    /// Where it is connected and reads its queue.
    at: Option<Place>,
    fill: Fill,
    /// Entries up to here may have been sent by an earlier run.
    begun: u64,
    on_the_way: OnTheWay,
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
    pub fn new(limits: TopicLimits, max: QueueLimits, counters: Arc<Counters>) -> Queues {
        Queues {
            sessions: HashMap::default(),
            subscribers: Trie::default(),
            limits,
            max,
            counters,
            turns: HashMap::default(),
            last_loan: 0,
        }
    }

    /// No sessions yet, with the limits of the configuration.
    pub fn of(config: &Config, counters: Arc<Counters>) -> Queues {
        let topics = TopicLimits { levels: config.limits.topic_levels, bytes: config.limits.topic_bytes };
        let session = &config.session;
        let max = QueueLimits {
            messages: session.durable_queue_messages,
            bytes: session.durable_queue_bytes,
            drop: session.durable_queue_drop,
        };
        Queues::new(topics, max, counters)
    }

    /// Reads all sessions from disk, for this and for the edges: one pass over each kind of record.
    pub fn restore(&mut self, store: &dyn Store, now: Millis) -> Result<Vec<RestoredSession>, StoreError> {
        let mut restored = Restored::default();
        let mut tx = Transaction::new(store, now);
        for_each(store, keys::all_sessions(), &mut |key, value| {
            let (Some(client), Ok(record)) = (client_of(key), postcard::from_bytes::<SessionRecord>(value))
            else {
                tracing::error!(key = keys::show(key), "session unreadable, left out");
                return Ok(());
            };
            if record.ended_at == CONNECTED {
                // Its time is counted from now on, also if there is another restart before the client returns.
                let record = SessionRecord { user: record.user.clone(), ended_at: now, ..record };
                tx.put_record(keys::session(&client), &record);
            }
            restored.add(self.restore_one(client, record, now));
            Ok(())
        })?;
        self.restore_subscriptions(store, &mut restored)?;
        for (range, inbound) in [(keys::all_inbound(), true), (keys::all_released(), false)] {
            for_each(store, range, &mut |key, _| {
                if let (Some(session), Some(packet)) = (restored.of(key), packet_of(key)) {
                    if inbound { session.unreleased.push(packet) } else { session.released.push(packet) }
                }
                Ok(())
            })?;
        }
        for_each(store, keys::all_queued(), &mut |key, value| {
            if let Some(session) = client_of(key).and_then(|client| self.sessions.get_mut(&client)) {
                session.fill.comes(position_of(key).unwrap_or_default());
                session.fill.add(value.len());
                self.count(Size::of(value.to_vec()), true);
            }
            Ok(())
        })?;
        for_each(store, keys::all_queue_heads(), &mut |key, value| {
            if let Some(session) = client_of(key).and_then(|client| self.sessions.get_mut(&client)) {
                session.begun = value.try_into().map_or(0, u64::from_be_bytes);
            }
            Ok(())
        })?;
        self.call_in_loans(&mut tx, store)?;
        // Nobody is connected who could be told.
        tx.commit().map(drop)?;
        Ok(restored.sessions)
    }

    fn restore_one(&mut self, client: ByteString, record: SessionRecord, now: Millis) -> RestoredSession {
        let user = ByteString::from(record.user);
        self.sessions.insert(client.clone(), Session::of(user.clone()));
        RestoredSession {
            device: Device { user, client },
            expiry: record.expiry,
            ended_at: if record.ended_at == CONNECTED { now } else { record.ended_at },
            subscriptions: Vec::new(),
            unreleased: Vec::new(),
            released: Vec::new(),
            will: None,
        }
    }

    fn restore_subscriptions(
        &mut self,
        store: &dyn Store,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        for_each(store, keys::all_subscriptions(), &mut |key, value| {
            // A session that was to end with its connection gets nothing more.
            let Some(session) = restored.of(key).filter(|session| session.expiry > 0) else { return Ok(()) };
            let filter =
                keys::Fields::of(key).and_then(|mut fields| fields.text().and_then(|_| fields.text()));
            let (Some(filter), Ok(record)) = (filter, postcard::from_bytes::<SubscriptionRecord>(value))
            else {
                tracing::error!(key = keys::show(key), "subscription unreadable, left out");
                return Ok(());
            };
            let filter = ByteString::from(filter);
            self.index(&session.device.client, &filter, Some(record));
            session.subscriptions.push((filter, record.options, record.id));
            Ok(())
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
            let session = || Session::of(device.user.clone());
            self.sessions.entry(device.client.clone()).or_insert_with(session);
        } else if self.sessions.contains_key(&device.client) {
            // The session ends with this connection, and until then is owed what it was owed before.
            let record = SessionRecord { user: device.user.to_string(), expiry, ended_at: CONNECTED };
            tx.put_record(keys::session(&device.client), &record);
        }
        Ok(())
    }

    /// A device's connection ended. If the session ends with it, [`Queues::end`] follows.
    pub fn close(&mut self, tx: &mut Transaction<'_>, device: &Device, expiry: u32) {
        if let Some(session) = self.sessions.get_mut(&device.client) {
            session.at = None;
            session.on_the_way.forget();
            if expiry > 0 {
                let record = SessionRecord { user: device.user.to_string(), expiry, ended_at: tx.now };
                tx.put_record(keys::session(&device.client), &record);
            }
        }
    }

    /// A session is over. What it was to be given in the name of a share group goes to another member, but not what was
    /// `begun` at QoS 2: what was sent and not acknowledged.
    pub fn end(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        client: &ByteString,
        begun: &[u64],
        edge: u8,
    ) -> Result<(), StoreError> {
        let owed = self.owed_to_groups(tx, client, begun)?;
        self.forget(tx, store, client)?;
        for (message, share) in owed {
            // Not on loan meanwhile: what was to be freed would be written once more.
            self.share_out(tx, &message, Search { unheard_of: true, ..Search::new(share) }, edge)?;
        }
        Ok(())
    }

    /// Everything stored for a session goes.
    fn forget(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        client: &ByteString,
    ) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get(client) else { return Ok(()) };
        tx.delete(keys::cursor(&session.user, client));
        self.unindex_all(tx, store, client)?;
        self.sessions.remove(client);
        self.forget_queue(tx, store, client)?;
        for range in [
            keys::subscriptions_of(client),
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

    fn forget_queue(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        client: &ByteString,
    ) -> Result<(), StoreError> {
        // From the very first: a damaged session may have left what nobody knows of.
        let range = keys::queued_of(client, 0..=u64::MAX);
        let here: Vec<Vec<u8>> = tx.keys_within(&range).cloned().collect();
        for key in here {
            if let Some(entry) = tx.get(&key)? {
                self.count(Size::of(entry), false);
            }
            tx.delete(key);
        }
        for (key, entry) in store.scan(range, Order::Forward, usize::MAX)? {
            if !tx.changes(&key) {
                self.count(Size::of(entry), false);
                tx.delete(key);
            }
        }
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
        // At QoS 0 nothing is queued for a share group, and its edge delivers.
        let counts = |record: &SubscriptionRecord| key.1.is_none() || record.options.qos != QoS::AtMostOnce;
        match record.filter(counts) {
            Some(record) => drop(self.subscribers.insert(&filter, key, record)),
            None => drop(self.subscribers.remove(&filter, &key)),
        }
    }

    /// Queues a message for every persistent session that wants it, and pushes it to those that are connected; where only
    /// QoS 0 is wanted, it is pushed and not queued. Share groups get theirs by [`Queues::share_out`].
    pub fn enqueue(&mut self, tx: &mut Transaction<'_>, message: &Message) -> Result<(), StoreError> {
        if message.qos == QoS::AtMostOnce {
            return Ok(());
        }
        let mut fleeting: BTreeMap<u8, Vec<FleetingCopy>> = BTreeMap::new();
        for (client, found) in self.matches(message) {
            let retain = found.retain_as_published && message.retain;
            if found.qos == QoS::AtMostOnce {
                if let Some(at) = self.sessions.get(&client).and_then(|session| session.at) {
                    let copy = FleetingCopy { at, retain, ids: found.ids };
                    fleeting.entry(at.edge).or_default().push(copy);
                }
                continue;
            }
            let head = QueuedHead { qos: found.qos.min(message.qos), retain, ids: found.ids };
            self.enqueue_for(tx, &client, head, message, None)?;
        }
        for (edge, to) in fleeting {
            tx.tell(edge, &ToEdge::Fleeting { to }, Some(message));
        }
        Ok(())
    }

    fn matches(&self, message: &Message) -> HashMap<ByteString, Match, RandomState> {
        let mut found: HashMap<ByteString, Match, RandomState> = HashMap::default();
        self.subscribers.for_each_match(&message.topic, |(client, share), record| {
            let own = record.options.no_local && *client == message.publisher;
            if share.is_none() && !own {
                found.entry(client.clone()).or_default().add(record);
            }
        });
        found
    }

    fn enqueue_for(
        &mut self,
        tx: &mut Transaction<'_>,
        client: &ByteString,
        head: QueuedHead,
        message: &Message,
        share: Option<&Share>,
    ) -> Result<(), StoreError> {
        if !self.make_room(tx, client, message.encoded_len())? {
            return Ok(());
        }
        let Some(session) = self.sessions.get_mut(client) else { return Ok(()) };
        let marked = session.fill.marked(message);
        let message = marked.as_ref().unwrap_or(message);
        self.counters.queued_messages_total.add(1);
        let key = keys::queue_head(client);
        let position = tx.next_number(&key)?;
        tx.put_number(key, position);
        let mut entry = BytesMut::new();
        match share {
            Some(share) => lane::put(&mut entry, &(&head, share), Some(message)),
            None => lane::put(&mut entry, &head, Some(message)),
        }
        session.fill.comes(position);
        session.fill.add(entry.len());
        let size = Size { entry: entry.len(), payload: Some(message.payload.len() as u64) };
        tx.put(keys::queued(client, position), entry.to_vec());
        if let Some(at) = session.at {
            session.on_the_way.note(position, size);
            tx.tell(at.edge, &entry_head(at, position, false, &head), Some(message));
        }
        self.count(size, true);
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
        let known = self.sessions.get_mut(client).and_then(|session| session.on_the_way.take(position));
        let size = match known {
            Some(size) => Some(size),
            None => tx.get(&key)?.map(Size::of),
        };
        if let Some(size) = size {
            if let Some(session) = self.sessions.get_mut(client) {
                session.fill.remove(size.entry);
                session.fill.went(position);
            }
            self.count(size, false);
            tx.delete(key);
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

impl Queues {
    /// Keeps the numbers of what waits in all queues.
    fn count(&self, size: Size, more: bool) {
        // What cannot be read was not counted either.
        let Some(payload) = size.payload else { return };
        let Counters { queue_messages, queue_payload_bytes, .. } = &*self.counters;
        if more {
            queue_messages.add(1);
            queue_payload_bytes.add(payload);
        } else {
            queue_messages.sub(1);
            queue_payload_bytes.sub(payload);
        }
    }

    /// Reads a page of a queue from disk for its session.
    pub fn page(&mut self, store: &dyn Store, frames: &mut Frames, page: Page<'_>) -> Result<(), StoreError> {
        let Page { at, client, from, max } = page;
        let mut session = self.sessions.get_mut(client);
        let oldest = session.as_ref().map_or(0, |session| session.fill.oldest);
        let (from, from_the_start) = (from.max(oldest), from <= oldest);
        let found = store.scan(keys::queued_of(client, from..=u64::MAX), Order::Forward, max + 1)?;
        if from_the_start && let (Some(session), Some((first, _))) = (&mut session, found.first()) {
            session.fill.oldest = position_of(first).unwrap_or(oldest);
        }
        let mut more = found.len() > max;
        let (mut next, before) = (from, frames.bytes());
        for (key, value) in found.into_iter().take(max) {
            if frames.bytes() - before > PAGE_BYTES {
                more = true;
                break;
            }
            let Some(position) = position_of(&key) else { continue };
            next = position.saturating_add(1);
            let entry = value.len();
            match lane::take::<QueuedHead>(&mut Bytes::from(value)) {
                Ok(Some((head, Some(message)))) => {
                    let size = Size { entry, payload: Some(message.payload.len() as u64) };
                    session.iter_mut().for_each(|session| session.on_the_way.note(position, size));
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
}

/// The part of a queue that a session asks for.
pub struct Page<'a> {
    /// Who asks.
    pub at: Place,
    /// Whose queue.
    pub client: &'a str,
    /// The first position.
    pub from: u64,
    /// Entries at most.
    pub max: usize,
}

impl Session {
    /// Nothing waits, and nobody is here.
    fn of(user: ByteString) -> Session {
        Session { user, at: None, fill: Fill::default(), begun: 0, on_the_way: OnTheWay::default() }
    }
}

impl Match {
    fn add(&mut self, record: &SubscriptionRecord) {
        self.qos = self.qos.max(record.options.qos);
        self.retain_as_published |= record.options.retain_as_published;
        self.ids.extend(record.id);
    }
}

/// Sessions as they are found on disk, each with its place in the list.
#[derive(Default)]
struct Restored {
    sessions: Vec<RestoredSession>,
    places: HashMap<ByteString, usize, RandomState>,
}

impl Restored {
    fn add(&mut self, session: RestoredSession) {
        self.places.insert(session.device.client.clone(), self.sessions.len());
        self.sessions.push(session);
    }

    /// The session to which a record belongs.
    fn of(&mut self, key: &[u8]) -> Option<&mut RestoredSession> {
        let place = *self.places.get(&client_of(key)?)?;
        self.sessions.get_mut(place)
    }
}

fn client_of(key: &[u8]) -> Option<ByteString> {
    keys::Fields::of(key)?.text().map(ByteString::from)
}

fn packet_of(key: &[u8]) -> Option<u16> {
    let mut fields = keys::Fields::of(key)?;
    fields.text()?;
    fields.packet()
}

fn position_of(key: &[u8]) -> Option<u64> {
    let mut fields = keys::Fields::of(key)?;
    fields.text()?;
    fields.number()
}

fn entry_head(at: Place, position: u64, fetched: bool, head: &QueuedHead) -> ToEdge {
    let QueuedHead { qos, retain, ids } = head.clone();
    ToEdge::Entry { at, source: Source::Queue, position, fetched, qos, retain, ids }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};

    const MAX: u64 = 3;
    const LIMITS: TopicLimits = TopicLimits { levels: 9, bytes: 99 };

    fn queues() -> Queues {
        Queues::new(LIMITS, QueueLimits::messages(MAX), Arc::default())
    }

    /// One batch of the committer.
    fn batch(store: &dyn Store, act: impl FnOnce(&mut Transaction<'_>)) {
        let mut tx = Transaction::new(store, 100);
        act(&mut tx);
        tx.commit().unwrap();
    }

    fn message(payload: &'static str) -> Message {
        Message { topic: "a".into(), qos: QoS::AtLeastOnce, payload: payload.into(), ..Message::default() }
    }

    #[test]
    fn what_waits_is_counted_until_it_is_taken_or_nobody_s_any_more() {
        let store = MemoryStore::default();
        let counters = Arc::<Counters>::default();
        let waits = |counters: &Counters| (counters.queue_messages.get(), counters.queue_payload_bytes.get());
        let mut queues = Queues::new(LIMITS, QueueLimits::messages(100), counters.clone());
        let device = Device { user: "bob".into(), client: "phone".into() };
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        batch(&store, |tx| {
            queues.open(tx, &store, &device, 60, false).unwrap();
            queues.subscribe(tx, &device.client, &[("a".into(), options)], None);
            for payload in ["1", "22", "333"] {
                queues.enqueue(tx, &message(payload)).unwrap();
            }
        });
        assert_eq!(waits(&counters), (3, 6));
        // Twice makes no difference.
        for _ in 0..2 {
            batch(&store, |tx| queues.taken(tx, &device.client, 2).unwrap());
        }
        assert_eq!(waits(&counters), (2, 4));

        let again = Arc::<Counters>::default();
        Queues::new(LIMITS, QueueLimits::messages(100), again.clone()).restore(&store, 0).unwrap();
        assert_eq!(waits(&again), (2, 4), "after a restart");

        batch(&store, |tx| {
            queues.enqueue(tx, &message("4444")).unwrap();
            queues.taken(tx, &device.client, 1).unwrap();
            queues.forget(tx, &store, &device.client).unwrap();
        });
        assert_eq!(waits(&counters), (0, 0));
        let left = store.scan(keys::queued_of(&device.client, 0..=u64::MAX), Order::Forward, 9).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn what_is_on_its_way_counts_once_whether_it_was_read_or_pushed_and_whoever_takes_it() {
        let (store, counters) = (MemoryStore::default(), Arc::<Counters>::default());
        let max = QueueLimits { drop: hubbub_config::QueueDrop::Oldest, ..QueueLimits::messages(3) };
        let mut queues = Queues::new(LIMITS, max, counters.clone());
        let device = Device { user: "bob".into(), client: "phone".into() };
        let at = Place { edge: 0, slot: 0, generation: 0, reader: 1 };
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        batch(&store, |tx| {
            queues.open(tx, &store, &device, 60, false).unwrap();
            queues.subscribe(tx, &device.client, &[("a".into(), options)], None);
            (0..2).for_each(|_| queues.enqueue(tx, &message("read")).unwrap());
        });
        queues.attach(&device.client, at);
        let page = Page { at, client: &device.client, from: 1, max: 9 };
        queues.page(&store, &mut Frames::default(), page).unwrap();
        batch(&store, |tx| (0..2).for_each(|_| queues.enqueue(tx, &message("pushed")).unwrap()));
        let waits = || (counters.queue_messages.get(), counters.queue_payload_bytes.get());
        assert_eq!(waits(), (3, 16), "the oldest had to go");
        for position in [1, 2, 2, 4] {
            batch(&store, |tx| queues.taken(tx, &device.client, position).unwrap());
        }
        assert_eq!((waits(), queues.sessions[&device.client].fill.waiting), ((1, 6), 1));
    }

    #[test]
    fn a_session_at_qos_0_is_handed_what_comes_while_it_is_here_and_nothing_is_stored() {
        let (store, mut queues) = (MemoryStore::default(), queues());
        let device = Device { user: "bob".into(), client: "phone".into() };
        let at = Place { edge: 1, slot: 2, generation: 3, reader: 4 };
        batch(&store, |tx| {
            queues.open(tx, &store, &device, 60, false).unwrap();
            let options = SubscribeOptions { retain_as_published: true, ..SubscribeOptions::default() };
            queues.subscribe(tx, &device.client, &[("a".into(), options)], Some(7));
        });
        let handed_out = |queues: &mut Queues| {
            let mut tx = Transaction::new(&store, 100);
            queues.enqueue(&mut tx, &Message { retain: true, ..message("hi") }).unwrap();
            assert!(tx.is_empty(), "something to be stored");
            let frames = tx.commit().unwrap().into_batches();
            frames.map(|(lane, mut frames)| (lane, lane::take::<ToEdge>(&mut frames).unwrap())).next()
        };
        assert_eq!(handed_out(&mut queues), None, "not here");
        queues.attach(&device.client, at);
        let (lane, frame) = handed_out(&mut queues).unwrap();
        let (head, handed) = frame.unwrap();
        let copy = FleetingCopy { at, retain: true, ids: vec![7] };
        assert_eq!((lane, head), (Lane::Edge(1), ToEdge::Fleeting { to: vec![copy] }));
        assert_eq!(handed.unwrap().payload, "hi");
        batch(&store, |tx| queues.close(tx, &device, 60));
        assert_eq!(handed_out(&mut queues), None, "gone");
    }

    #[test]
    fn a_group_that_is_not_heard_of_yet_is_asked_for_once_more_and_its_message_kept_meanwhile() {
        let (store, mut queues) = (MemoryStore::default(), queues());
        let share = Share { group: "g".into(), filter: "a".into() };
        let asked_again = |queues: &mut Queues, search: Search| {
            let mut tx = Transaction::new(&store, 100);
            queues.share_out(&mut tx, &message("hi"), search, 0).unwrap();
            let (_, mut frames) = tx.commit().unwrap().into_batches().next()?;
            match lane::take::<ToEdge>(&mut frames).unwrap() {
                Some((ToEdge::Publish { mut shares, .. }, _)) => shares.pop(),
                other => panic!("{other:?}"),
            }
        };
        let loans = || store.scan(keys::all_loans(), Order::Forward, 9).unwrap().len();
        let once = asked_again(&mut queues, Search::new(share.clone())).unwrap();
        assert_eq!((once.unheard_of, once.tried_bridge, loans()), (true, false, 1));
        let twice = asked_again(&mut queues, once.clone()).unwrap();
        assert_eq!((twice.tried_bridge, twice.loan, loans()), (true, once.loan, 1), "there is none");
        let device = Device { user: "bob".into(), client: "phone".into() };
        batch(&store, |tx| {
            queues.open(tx, &store, &device, 60, false).unwrap();
            let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
            queues.subscribe(tx, &device.client, &[(share.text(), options)], None);
        });
        assert_eq!((asked_again(&mut queues, once), loans(), queued(&store, "phone")), (None, 0, 1));
        batch(&store, |tx| queues.end(tx, &store, &device.client, &[], 0).unwrap());
        assert_eq!((loans(), queued(&store, "phone")), (0, 0), "what a session leaves is not written again");
    }

    fn news(topic: &str) -> Message {
        Message { topic: topic.into(), qos: QoS::AtLeastOnce, ..Message::default() }
    }

    fn queued(store: &MemoryStore, client: &str) -> usize {
        store.scan(keys::queued_of(client, 0..=u64::MAX), Order::Forward, 99).unwrap().len()
    }

    /// Sessions whose ids are prefixes of one another, each with a subscription of its own; `ab` has two packet
    /// identifiers and two queued messages.
    fn left_behind() -> MemoryStore {
        let (store, mut queues) = (MemoryStore::default(), queues());
        batch(&store, |tx| {
            for client in ["a", "ab", "b"] {
                let device = Device { user: "bob".into(), client: client.into() };
                queues.open(tx, &store, &device, 60, false).unwrap();
                let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
                queues.subscribe(tx, &device.client, &[(format!("for/{client}").into(), options)], Some(7));
            }
            (0..2).for_each(|_| queues.enqueue(tx, &news("for/ab")).unwrap());
            tx.put(keys::inbound("ab", 5), Vec::new());
            tx.put(keys::released("ab", 6), Vec::new());
        });
        store
    }

    #[test]
    fn a_restart_brings_every_session_back_with_what_is_its_own() {
        let store = left_behind();
        let mut restored = queues().restore(&store, 1000).unwrap();
        restored.sort_by(|a, b| a.device.client.cmp(&b.device.client));
        let clients: Vec<&str> = restored.iter().map(|session| &*session.device.client).collect();
        assert_eq!(clients, ["a", "ab", "b"]);
        for session in &restored {
            assert_eq!((&*session.device.user, session.expiry, session.ended_at), ("bob", 60, 1000));
            let filter = format!("for/{}", session.device.client);
            assert_eq!(session.subscriptions.len(), 1);
            assert_eq!(
                (&*session.subscriptions[0].0, session.subscriptions[0].2),
                (filter.as_str(), Some(7))
            );
        }
        let packets = |at: usize| (restored[at].unreleased.clone(), restored[at].released.clone());
        assert_eq!(
            (packets(0), packets(1), packets(2)),
            ((vec![], vec![]), (vec![5], vec![6]), (vec![], vec![]))
        );
    }

    #[test]
    fn the_time_of_a_session_is_counted_from_the_first_restart() {
        let store = left_behind();
        for now in [1000, 2000] {
            let restored = queues().restore(&store, now).unwrap();
            assert!(restored.iter().all(|session| session.ended_at == 1000), "at {now}");
        }
    }

    #[test]
    fn a_session_that_was_to_end_with_its_connection_gets_nothing_more_after_a_restart() {
        let store = left_behind();
        let ab = Device { user: "bob".into(), client: "ab".into() };
        let mut before = queues();
        before.restore(&store, 1000).unwrap();
        batch(&store, |tx| before.open(tx, &store, &ab, 0, false).unwrap());
        let mut queues = queues();
        queues.restore(&store, 2000).unwrap();
        batch(&store, |tx| queues.enqueue(tx, &news("for/ab")).unwrap());
        assert_eq!(queued(&store, "ab"), 2);
        batch(&store, |tx| queues.end(tx, &store, &ab.client, &[], 0).unwrap());
        assert_eq!(queued(&store, "ab"), 0);
    }

    #[test]
    fn a_queue_is_read_from_where_it_begins() {
        let (store, mut queues) = (left_behind(), queues());
        queues.restore(&store, 1000).unwrap();
        let oldest = |queues: &Queues| queues.sessions["ab"].fill.oldest;
        assert_eq!(oldest(&queues), 1);
        batch(&store, |tx| queues.enqueue(tx, &news("for/ab")).unwrap());
        for (taken, begins) in [(2, 1), (1, 2)] {
            batch(&store, |tx| queues.taken(tx, &"ab".into(), taken).unwrap());
            assert_eq!(oldest(&queues), begins, "never behind what waits");
        }
        let at = Place { edge: 0, slot: 0, generation: 0, reader: 1 };
        let mut frames = Frames::default();
        queues.page(&store, &mut frames, Page { at, client: "ab", from: 0, max: 9 }).unwrap();
        let heads = frames.into_batches().flat_map(|(_, mut frames)| {
            std::iter::from_fn(move || lane::take::<ToEdge>(&mut frames).unwrap())
        });
        let positions = heads.filter_map(|(head, _)| match head {
            ToEdge::Entry { position, .. } => Some(position),
            _ => None,
        });
        assert_eq!(positions.collect::<Vec<_>>(), [3]);
        assert_eq!(oldest(&queues), 3, "the second went before the first");
        batch(&store, |tx| queues.taken(tx, &"ab".into(), 3).unwrap());
        batch(&store, |tx| (0..2).for_each(|_| queues.enqueue(tx, &news("for/ab")).unwrap()));
        assert_eq!(oldest(&queues), 4);
    }

    #[test]
    fn what_waits_counts_against_the_limit_after_a_restart_and_only_for_its_own_session() {
        let (store, mut queues) = (left_behind(), queues());
        queues.restore(&store, 1000).unwrap();
        batch(&store, |tx| {
            for topic in ["for/a", "for/ab"] {
                (0..MAX).for_each(|_| queues.enqueue(tx, &news(topic)).unwrap());
            }
        });
        assert_eq!((queued(&store, "a"), queued(&store, "ab"), queued(&store, "b")), (3, 3, 0));
    }

    #[test]
    fn records_that_cannot_be_read_or_have_no_session_keep_nobody_from_starting() {
        let store = left_behind();
        let mut damage = Batch::new();
        damage.put(keys::session("a"), [0xFF; 3]);
        damage.put(keys::subscription("b", "for/b"), []);
        damage.put(keys::subscription("nobody", "x"), [0; 9]);
        damage.put(keys::inbound("nobody", 1), []);
        damage.put(keys::queued("nobody", 1), []);
        store.commit(damage).unwrap();
        let restored = queues().restore(&store, 1000).unwrap();
        let mut found: Vec<_> = restored.iter().map(|s| (&*s.device.client, s.subscriptions.len())).collect();
        found.sort();
        assert_eq!(found, [("ab", 1), ("b", 0)]);
    }
}
