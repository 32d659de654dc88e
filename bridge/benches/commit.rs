//! What a direct message costs the committer, in a batch of one and of many: `cargo bench -p hubbub-bridge --bench commit`.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::ItemsCount;
use hubbub_bridge::bridge::{Bridge, Opened};
use hubbub_bridge::store::{FjallStore, MemoryStore, Store};
use hubbub_broker::clock::Clock;
use hubbub_broker::codec::QoS;
use hubbub_broker::lane::{self, Device, Errand, Place, ToBridge};
use hubbub_broker::message::Message;
use hubbub_broker::retained::{Retained, RetainedLimits};
use hubbub_broker::spine::Batch;
use hubbub_config::Config;

const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const BATCHES: [usize; 3] = [1, 64, 512];

fn main() {
    divan::main();
}

/// Without a disk: what our own code costs.
#[divan::bench(args = BATCHES)]
fn memory(bencher: Bencher, messages: usize) {
    commit(bencher, messages, Arc::new(MemoryStore::default()));
}

/// With one sync to disk for each batch.
#[divan::bench(args = BATCHES)]
fn fjall(bencher: Bencher, messages: usize) {
    let home = tempfile::tempdir().unwrap();
    commit(bencher, messages, Arc::new(FjallStore::open(home.path(), CACHE_BYTES).unwrap()));
}

fn commit(bencher: Bencher, messages: usize, store: Arc<dyn Store>) {
    let mut bridge = open(store);
    let batch = batch(messages);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let batch = Batch { sender: 1, lost: 0, frames: batch.clone().freeze() };
        bridge.turn(Some(batch), || Ok(None)).unwrap()
    });
}

fn open(store: Arc<dyn Store>) -> Bridge {
    let settings = [("login.dev".to_owned(), "true".to_owned())];
    let config = Config::load(None, std::iter::empty(), &settings).unwrap();
    let retained = Retained::new(RetainedLimits { messages: 100, bytes: 100_000 });
    let opened = Bridge::open(&config, store, Clock::start(), Arc::default(), Arc::new(retained));
    let Opened { bridge, .. } = opened.unwrap();
    bridge
}

/// Direct messages among 100 users, as an edge hands them over.
fn batch(messages: usize) -> BytesMut {
    let mut frames = BytesMut::new();
    for number in 0..messages {
        let user = format!("u{}", number % 100);
        let from = Device { user: user.clone().into(), client: user.into() };
        let head = ToBridge::Publish {
            at: Place { edge: 0, slot: 0, generation: 0, reader: 0 },
            token: Some(number as u64),
            errand: Errand::Chat,
            from,
            store_retained: None,
            remember: None,
            shares: Vec::new(),
        };
        let message = Message {
            topic: format!("dm/u{}", (number + 1) % 100).into(),
            qos: QoS::AtLeastOnce,
            payload: "x".repeat(64).into(),
            ..Message::default()
        };
        lane::put(&mut frames, &head, Some(&message));
    }
    frames
}
