//! A disk that holds anything: whoever reads it neither panics nor invents, and what is stored from then on comes back.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{BufMut, Bytes, BytesMut};
use hubbub_bridge::bridge::Bridge;
use hubbub_bridge::chat::{self, Chat, ChatRules, Sender};
use hubbub_bridge::inbox::{self, Inboxes};
use hubbub_bridge::notify::Pending;
use hubbub_bridge::push::{Push, PushRules};
use hubbub_bridge::queue::{self, QueueLimits, Queues};
use hubbub_bridge::rpc::Request;
use hubbub_bridge::store::{Batch, MemoryStore, Store, keys};
use hubbub_bridge::transaction::{Frames, Transaction};
use hubbub_bridge::users;
use hubbub_broker::clock::Clock;
use hubbub_broker::codec::{QoS, SubscribeOptions};
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::{self, Device, Place, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::retained::{Retained, RetainedLimits};
use hubbub_broker::topic::TopicLimits;
use hubbub_config::Config;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One record of the disk, whole or damaged.
#[derive(Debug, Arbitrary)]
struct Record<'a> {
    key: Key<'a>,
    value: Value<'a>,
}

/// See the table in `bridge/src/store/keys.rs`.
#[derive(Debug, Arbitrary)]
enum Key<'a> {
    Retained(&'a str),
    Subscription(&'a str),
    Conversation,
    Cursor,
    Expiry(Number),
    InboxHead,
    Inbox(Number),
    Inbound(u16),
    Dedupe,
    Message(Number),
    Pending(Number),
    Queued(Number),
    Released(u16),
    Session,
    Taken,
    User(&'a str),
    QueueHead,
    Epoch,
    /// No key that was ever written.
    Foreign(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Number(Number),
    /// A frame whose lengths are right.
    Frame {
        head: &'a [u8],
        message: &'a [u8],
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Number {
    Small(u8),
    Last(u8),
    Any(u64),
}

const CID: &str = "alice~bob";

const CMID: &str = "1";

const AT: Place = Place { edge: 0, slot: 0, generation: 0, reader: 0 };

/// Entries of a page.
const PAGE: usize = 64;

const TOPICS: TopicLimits = TopicLimits { levels: 8, bytes: 100 };

/// Records of a case, read by everything that reads records.
pub fn records(data: &[u8]) {
    let store = MemoryStore::default();
    let mut batch = Batch::new();
    let mut input = Unstructured::new(data);
    while !input.is_empty()
        && let Ok(Record { key, value }) = Record::arbitrary(&mut input)
    {
        let value = value.bytes();
        decode(&value);
        batch.put(key.bytes(), value);
    }
    store.commit(batch).expect("memory takes everything");
    let store = Arc::new(store);
    read(&*store);
    chat_goes_on(&*store);
    queue_goes_on(&*store);
    start(store);
}

fn of_phone(from: u64) -> queue::Page<'static> {
    queue::Page { at: AT, client: "phone", from, max: PAGE }
}

/// What one value can be taken for.
fn decode(value: &[u8]) {
    if let Some(pending) = Pending::decode(value) {
        assert_eq!(Pending::decode(&pending.encode()), Some(pending));
    }
    let mut rest = Bytes::copy_from_slice(value);
    if let Ok(message) = Message::decode(&mut rest) {
        let mut again = BytesMut::new();
        message.encode(&mut again);
        assert!(again.len() <= message.encoded_len());
        assert_eq!(Message::decode(&mut again.freeze()), Ok(message));
    }
}

/// Everything that only reads.
fn read(store: &dyn Store) {
    users::list(store).expect("memory does not fail");
    let mut frames = Frames::default();
    let mut queues = Queues::new(TOPICS, QueueLimits::messages(u64::MAX), Arc::default());
    for from in [0, 1, u64::MAX] {
        queues.page(store, &mut frames, of_phone(from)).expect("memory does not fail");
        inbox::page(store, &mut frames, AT, "bob", from, PAGE).expect("memory does not fail");
    }
    told(frames);
    assert!(inbox::unread(store, "bob", PAGE).expect("memory does not fail") <= PAGE as u64);
    history(store);
}

/// The answer to a request is JSON, whatever lies in the conversation.
fn history(store: &dyn Store) {
    #[derive(Deserialize)]
    struct History<'a> {
        ok: bool,
        #[serde(borrow)]
        messages: Vec<&'a RawValue>,
    }
    let asked = Message {
        topic: "rpc/history/1".into(),
        payload: Bytes::from(format!(r#"{{"cid":"{CID}"}}"#)),
        ..Message::default()
    };
    let request = Request::read(&"bob".into(), &asked).expect("it says where to answer");
    let answer = request.answer(store).expect("memory does not fail");
    let history: History<'_> = serde_json::from_slice(&answer.payload).expect("an answer is JSON");
    assert!(history.ok && history.messages.len() <= PAGE);
}

/// A message from Alice is numbered, stored and in Bob's inbox.
fn chat_goes_on(store: &dyn Store) {
    let counters = Arc::new(Counters::default());
    let rules = ChatRules { dedupe_window: Duration::from_secs(60), body_max: 1000 };
    let mut push = Push::new(PushRules { enabled: true, ..PushRules::default() }, counters.clone());
    let device = Device { user: "alice".into(), client: "tablet".into() };
    let message = Message {
        topic: "dm/bob".into(),
        payload: Bytes::from(format!(r#"{{"body":"hello","cmid":"{CMID}"}}"#)),
        ..Message::default()
    };
    let mut tx = Transaction::new(store, 1000);
    chat::forget_answer(&mut tx, "alice", CMID, 60_000).expect("memory does not fail");
    let sender = Sender { device: &device, kind: "web" };
    let before = tx.number(&keys::inbox_head("bob")).expect("memory does not fail");
    let reply = Chat::new(rules)
        .accept(&mut tx, &mut Inboxes::new(1000), &mut push, &counters, &sender, &message)
        .expect("memory does not fail");
    assert_eq!(reply.code, 0);
    tx.commit().expect("memory does not fail");
    let repeat = reply.user.iter().any(|(name, _)| name == "dup");
    if !repeat && before < u64::MAX {
        let mut frames = Frames::default();
        inbox::page(store, &mut frames, AT, "bob", before + 1, 1).expect("memory does not fail");
        let arrived = told(frames).into_iter().find_map(|(_, message)| message).expect("it is in the inbox");
        let json: serde_json::Value = serde_json::from_slice(&arrived.payload).expect("an envelope is JSON");
        assert_eq!((&json["n"], &json["body"]), (&(before + 1).into(), &"hello".into()));
    }
}

/// A message for a persistent session is queued, and gone with the session.
fn queue_goes_on(store: &dyn Store) {
    let mut queues = Queues::new(TOPICS, QueueLimits::messages(u64::MAX), Arc::default());
    queues.restore(store, 1000).expect("memory does not fail");
    let device = Device { user: "bob".into(), client: "phone".into() };
    let mut tx = Transaction::new(store, 1000);
    queues.open(&mut tx, store, &device, 100, false).expect("memory does not fail");
    let filter = ("news/#".into(), SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() });
    queues.subscribe(&mut tx, &device.client, &[filter], None);
    queues.attach(&device.client, AT);
    let message = Message {
        topic: "news/today".into(),
        qos: QoS::AtLeastOnce,
        payload: "hello".into(),
        ..Message::default()
    };
    queues.enqueue(&mut tx, &message).expect("memory does not fail");
    let told = told(tx.commit().expect("memory does not fail"));
    let pushed = told
        .iter()
        .any(|(head, arrived)| matches!(head, ToEdge::Entry { .. }) && arrived.as_ref() == Some(&message));
    assert!(pushed, "{told:?}");
    let mut tx = Transaction::new(store, 2000);
    queues.end(&mut tx, store, &device.client, &[], AT.edge).expect("memory does not fail");
    tx.commit().expect("memory does not fail");
    let mut frames = Frames::default();
    queues.page(store, &mut frames, of_phone(0)).expect("memory does not fail");
    assert!(told_messages(frames).is_empty(), "nothing is left of a session that is over");
}

/// The whole bridge opens.
fn start(store: Arc<MemoryStore>) {
    let retained = Arc::new(Retained::new(RetainedLimits { messages: 100, bytes: 10_000 }));
    let opened = Bridge::open(&Config::default(), store, Clock::start(), Arc::default(), retained.clone());
    assert!(opened.is_ok(), "it does not open: {:?}", opened.err());
    assert!(retained.size().messages <= 100);
}

/// What frames say; every one can be read.
fn told(frames: Frames) -> Vec<(ToEdge, Option<Message>)> {
    let mut told = Vec::new();
    for (_, mut batch) in frames.into_batches() {
        while let Some(frame) = lane::take(&mut batch).expect("our own frames can be read") {
            told.push(frame);
        }
    }
    told
}

fn told_messages(frames: Frames) -> Vec<Message> {
    told(frames).into_iter().filter_map(|(_, message)| message).collect()
}

impl Key<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Key::Retained(topic) => keys::retained(topic),
            Key::Subscription(filter) => keys::subscription("phone", filter),
            Key::Conversation => keys::conversation(CID),
            Key::Cursor => keys::cursor("bob", "phone"),
            Key::Expiry(time) => keys::expiry(time.get(), "alice", CMID),
            Key::InboxHead => keys::inbox_head("bob"),
            Key::Inbox(n) => keys::inbox("bob", n.get()),
            Key::Inbound(packet) => keys::inbound("phone", *packet),
            Key::Dedupe => keys::dedupe("alice", CMID),
            Key::Message(seq) => keys::message(CID, seq.get()),
            Key::Pending(n) => keys::pending("bob", n.get()),
            Key::Queued(position) => keys::queued("phone", position.get()),
            Key::Released(packet) => keys::released("phone", *packet),
            Key::Session => keys::session("phone"),
            Key::Taken => keys::taken("bob"),
            Key::User(name) => keys::user(name),
            Key::QueueHead => keys::queue_head("phone"),
            Key::Epoch => keys::epoch(),
            Key::Foreign(key) => key.to_vec(),
        }
    }
}

impl Value<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::Number(number) => number.get().to_be_bytes().to_vec(),
            Value::Frame { head, message } => {
                let mut frame = Vec::new();
                frame.put_u32((4 + head.len() + message.len()) as u32);
                frame.put_u32(head.len() as u32);
                frame.put_slice(head);
                frame.put_slice(message);
                frame
            }
        }
    }
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Number::Small(number) => number.into(),
            Number::Last(back) => u64::MAX - u64::from(back),
            Number::Any(number) => number,
        }
    }
}
