//! Fills a new data folder as a server would, to measure how long one of its size takes to start:
//!
//! `cargo run --release -p hubbub-bridge --example fill -- DIR [fjall|sled] [messages] [sessions]`
//!
//! Half of the messages are direct ones, the others wait in the queues of sessions that are away. Every tenth session has
//! a retained message and QoS 2 packet identifiers as well.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use hubbub_bridge::chat::{Chat, ChatRules, Sender};
use hubbub_bridge::inbox::Inboxes;
use hubbub_bridge::push::{Push, PushRules};
use hubbub_bridge::queue::{QueueLimits, Queues};
use hubbub_bridge::store::{self, Store, StoreError, keys};
use hubbub_bridge::transaction::Transaction;
use hubbub_broker::clock::{Clock, Millis};
use hubbub_broker::codec::{QoS, SubscribeOptions};
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::Device;
use hubbub_broker::message::Message;
use hubbub_broker::topic::TopicLimits;
use hubbub_config::{Engine, StoreConfig};

/// Messages in one batch.
const BATCH: u64 = 1000;
const BODY: usize = 250;
/// Seconds that a session lives without a connection.
const EXPIRY: u32 = 30 * 24 * 3600;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| words.get(at).map_or(default, |word| word.parse().unwrap());
    let path = words.first().expect("the first word is the folder").into();
    let engine = if words.get(1).is_some_and(|word| word == "sled") { Engine::Sled } else { Engine::Fjall };
    let (messages, sessions) = (number(2, 1_000_000), number(3, 10_000));
    let store = store::open(&StoreConfig { engine, path, ..StoreConfig::default() }).unwrap();
    let mut filler = Filler::new(&*store, sessions);
    filler.open_sessions();
    filler.say(messages / 2);
    filler.queue(messages - messages / 2);
    println!("{messages} messages and {sessions} sessions, {} MiB", store.size_on_disk().unwrap() >> 20);
}

/// The parts of the bridge that write, without its lane.
struct Filler<'a> {
    store: &'a dyn Store,
    sessions: u64,
    queues: Queues,
    inboxes: Inboxes,
    chat: Chat,
    push: Push,
    counters: Arc<Counters>,
    now: Millis,
}

impl Filler<'_> {
    fn new(store: &dyn Store, sessions: u64) -> Filler<'_> {
        let counters = Arc::<Counters>::default();
        let rules = ChatRules { dedupe_window: Duration::from_secs(86_400), body_max: 64 * 1024 };
        Filler {
            store,
            sessions,
            queues: Queues::new(
                TopicLimits { levels: 32, bytes: 1024 },
                QueueLimits::messages(u64::MAX),
                counters.clone(),
            ),
            inboxes: Inboxes::new(u64::MAX),
            chat: Chat::new(rules),
            push: Push::new(PushRules::default(), counters.clone()),
            counters,
            now: Clock::start().now(),
        }
    }

    /// Two subscriptions each, one of them of the inbox, and a cursor.
    fn open_sessions(&mut self) {
        self.in_batches(self.sessions, |filler, tx, n| {
            let device = device(n);
            filler.queues.open(tx, filler.store, &device, EXPIRY, false)?;
            let options = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
            let filters = [format!("u/{}/inbox", device.user), format!("news/{n}/#")];
            let filters = filters.map(|filter| (ByteString::from(filter), options));
            filler.queues.subscribe(tx, &device.client, &filters, None);
            tx.put_number(keys::cursor(&device.user, &device.client), 0);
            if n.is_multiple_of(10) {
                (1..=20).for_each(|packet| tx.put(keys::inbound(&device.client, packet), Vec::new()));
                tx.put(keys::retained(&retained(n).topic), encoded(&retained(n)));
            }
            Ok(())
        });
    }

    fn say(&mut self, messages: u64) {
        self.in_batches(messages, |filler, tx, n| {
            let from = device(n % filler.sessions);
            let to = device((n * 7 + 1) % filler.sessions);
            let message =
                Message { topic: format!("dm/{}", to.user).into(), payload: body(n), ..Message::default() };
            let sender = Sender { device: &from, kind: "phone" };
            let Filler { chat, inboxes, push, counters, .. } = filler;
            chat.accept(tx, inboxes, push, counters, &sender, &message).map(drop)
        });
    }

    fn queue(&mut self, messages: u64) {
        self.in_batches(messages, |filler, tx, n| {
            let topic = format!("news/{}/today", n % filler.sessions).into();
            let message = Message { topic, qos: QoS::AtLeastOnce, payload: body(n), ..Message::default() };
            filler.queues.enqueue(tx, &message)
        });
    }

    fn in_batches(
        &mut self,
        count: u64,
        mut write: impl FnMut(&mut Self, &mut Transaction<'_>, u64) -> Result<(), StoreError>,
    ) {
        let mut n = 0;
        while n < count {
            let mut tx = Transaction::new(self.store, self.now);
            for _ in 0..BATCH.min(count - n) {
                write(self, &mut tx, n).unwrap();
                n += 1;
            }
            tx.commit().unwrap();
        }
    }
}

fn device(n: u64) -> Device {
    Device { user: format!("user{n}").into(), client: format!("user{n}-phone").into() }
}

fn retained(n: u64) -> Message {
    Message { topic: format!("status/{n}").into(), retain: true, payload: body(n), ..Message::default() }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    message.encode(&mut bytes);
    bytes.to_vec()
}

/// Text that does not compress to nothing.
fn body(n: u64) -> Bytes {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    });
    letters.take(BODY).collect()
}
