//! What the steps of a message cost: decode, route, encode, the session's part.
//!
//! `cargo bench -p hubbub-broker --bench steps` measures time; `tests/bench/instructions` counts instructions, which do not
//! depend on what else the machine does.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use hubbub_broker::codec::encode::client;
use hubbub_broker::codec::{
    Ack, Connect, ConnectProperties, Decoder, Limits, Packet, Properties, Publish, QoS, Version,
};
use hubbub_broker::lane::Device;
use hubbub_broker::message::Message;
use hubbub_broker::outbuffer::OutBuffer;
use hubbub_broker::routes::{Route, Routes, Want};
use hubbub_broker::session::{Command, Delivery, Fanout, Outcome, Session, SessionLimits, Wire};
use hubbub_broker::topic::TopicLimits;
use hubbub_broker::trie::Trie;

const PAYLOAD: [u8; 64] = [b'.'; 64];

/// `HUBBUB_STEP=decode:1000` carries out one step so many times and measures nothing: for a tool that counts from outside.
fn main() {
    let Ok(wish) = std::env::var("HUBBUB_STEP") else { return divan::main() };
    let (name, count) = wish.split_once(':').unwrap();
    let (_, make) = STEPS.iter().find(|(known, _)| *known == name).unwrap();
    let mut step = make();
    (0..count.parse::<u32>().unwrap()).for_each(|_| step());
}

/// A step that can be carried out again and again.
type Step = Box<dyn FnMut()>;

/// The name of a step, and what prepares it.
type Named = (&'static str, fn() -> Step);

const STEPS: [Named; 6] = [
    ("decode", decode),
    ("route", || route(80_000)),
    ("encode", encode),
    ("copy", copy),
    ("publish", publish),
    ("deliver", deliver),
];

#[divan::bench(args = STEPS.map(|(name, _)| name))]
fn step(bencher: Bencher, name: &str) {
    let (_, make) = STEPS.iter().find(|(known, _)| *known == name).unwrap();
    let step = make();
    bencher.bench_local(step);
}

/// Finding who wants a topic does not depend on how many topics there are.
#[divan::bench(args = [8_000, 80_000, 800_000])]
fn route_among(bencher: Bencher, topics: usize) {
    let step = route(topics);
    bencher.bench_local(step);
}

/// One PUBLISH at QoS 1 from its bytes.
fn decode() -> Step {
    let mut decoder = Decoder::new(Limits { packet_bytes: 1 << 20, user_properties: 64 });
    let mut hello = BytesMut::new();
    client::connect(&mut hello, &connect());
    decoder.decode(&mut hello.freeze()).unwrap().unwrap();
    let mut bytes = BytesMut::new();
    client::publish(&mut bytes, Version::V311, &packet(1));
    let bytes = bytes.freeze();
    Box::new(move || drop(black_box(decoder.decode(&mut bytes.clone()).unwrap())))
}

/// The routing table, and the subscribers of an edge, with a topic for each user and some wildcards.
fn route(topics: usize) -> Step {
    let (routes, mut subscribers) = (Routes::default(), Trie::default());
    for number in 0..topics {
        let topic = format!("bench/0badcafe/{number}").into();
        routes.add(&topic, Want::Edge(0));
        subscribers.insert(&topic, number as u32, ());
    }
    for filter in ["sport/#", "sport/+/news"] {
        routes.add(&filter.into(), Want::Edge(1));
        subscribers.insert(&filter.into(), 0, ());
    }
    let (mut found, mut number) = (Route::default(), 0);
    let names: Vec<String> = (0..topics).map(|number| format!("bench/0badcafe/{number}")).collect();
    Box::new(move || {
        // Far from the one before, so that a large table is not only read where it is in the cache.
        number = (number + 7919) % names.len();
        routes.look_up(&names[number], &mut found);
        subscribers.for_each_match(&names[number], |subscriber, ()| {
            black_box(subscriber);
        });
    })
}

/// A message to its first receiver: the head is encoded.
fn encode() -> Step {
    let mut room = Room::new();
    Box::new(move || room.hear(&mut Fanout::new(&message(), 0)))
}

/// The same to one more receiver of the same shape: 100 of them share a head.
fn copy() -> Step {
    let mut room = Room::new();
    Box::new(move || {
        let message = message();
        let mut fan = Fanout::new(&message, 0);
        (0..100).for_each(|_| room.hear(&mut fan));
    })
}

/// A session takes a PUBLISH at QoS 1 and answers it.
fn publish() -> Step {
    let mut room = Room::new();
    Box::new(move || {
        room.act(|session, wire| session.handle_packet(Packet::Publish(packet(1)), 0, wire));
        let asked = room.commands.pop();
        let Some(Command::Publish { token: Some(token), .. }) = asked else { panic!("{asked:?}") };
        room.act(|session, wire| session.done(token, Outcome::ok(), 0, wire));
        room.drop_output();
    })
}

/// A session hands out a message at QoS 1 and takes the acknowledgement.
fn deliver() -> Step {
    let mut room = Room::new();
    Box::new(move || {
        let message = message();
        let to = Delivery { qos: QoS::AtLeastOnce, retain: false, ids: &[], search: None };
        room.act(|session, wire| {
            black_box(session.deliver(&mut Fanout::new(&message, 0), to, wire));
        });
        let sent = room.out.take();
        // Fixed header, topic, packet identifier.
        let at = 4 + usize::from(sent[3]);
        let packet_id = u16::from_be_bytes([sent[at], sent[at + 1]]);
        room.act(|session, wire| {
            session.handle_packet(Packet::PubAck(Ack { packet_id, reason: 0 }), 0, wire)
        });
    })
}

/// A session, and what it says.
struct Room {
    session: Session,
    out: OutBuffer,
    commands: Vec<Command>,
}

impl Room {
    fn new() -> Room {
        let limits = SessionLimits {
            inflight: 128,
            unanswered: 1024,
            waiting_messages: 1000,
            waiting_bytes: 1 << 20,
            subscriptions: 10,
            topic_alias_maximum: 16,
            out_bytes: 1 << 20,
            topics: TopicLimits { levels: 32, bytes: 1024 },
        };
        let device = Device { user: "bob".into(), client: "phone".into() };
        let session = Session::new(device, &connect(), 0, limits, 0);
        Room { session, out: OutBuffer::default(), commands: Vec::new() }
    }

    fn act(&mut self, act: impl FnOnce(&mut Session, &mut Wire<'_>)) {
        act(&mut self.session, &mut Wire { out: &mut self.out, commands: &mut self.commands });
    }

    fn hear(&mut self, fan: &mut Fanout<'_>) {
        let to = Delivery { qos: QoS::AtMostOnce, retain: false, ids: &[], search: None };
        self.act(|session, wire| {
            black_box(session.deliver(fan, to, wire));
        });
        self.drop_output();
    }

    fn drop_output(&mut self) {
        let waiting = self.out.len();
        self.out.advance(waiting);
        black_box(self.out.take_sent());
    }
}

fn connect() -> Connect {
    Connect {
        version: Version::V311,
        clean_start: true,
        keep_alive: 0,
        client_id: "phone".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn packet(packet_id: u16) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "bench/0badcafe/42".into(),
        packet_id,
        alias: None,
        expiry: None,
        properties: Properties::default(),
        payload: Bytes::from_static(&PAYLOAD),
    }
}

fn message() -> Message {
    Message {
        topic: "bench/0badcafe/42".into(),
        qos: QoS::AtLeastOnce,
        payload: Bytes::from_static(&PAYLOAD),
        ..Message::default()
    }
}
