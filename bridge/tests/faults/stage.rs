//! A bridge driven turn by turn, and what it said.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hubbub_bridge::bridge::{Bridge, BridgeError, Opened};
use hubbub_bridge::store::{Store, keys};
use hubbub_broker::clock::Clock;
use hubbub_broker::lane::{self, Errand, Source, ToBridge, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::retained::{Retained, RetainedLimits};
use hubbub_broker::spine::Batch;
use hubbub_config::Config;

use crate::script::Operation;

/// What the bridge said to an edge.
pub type Said = (ToEdge, Option<Message>);

/// Opens a bridge on a store. Somebody is to be called for people who are away, but not so soon that it happens here.
pub fn open(store: Arc<dyn Store>) -> Result<Bridge, BridgeError> {
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = [
        set("login.dev", "true"),
        set("notify.webhook", "http://127.0.0.1:9/"),
        set("notify.secret", "a secret that nobody hears"),
    ];
    let config = Config::load(None, std::iter::empty(), &settings).unwrap();
    let retained = Retained::new(RetainedLimits { messages: 100, bytes: 100_000 });
    let opened = Bridge::open(&config, store, Clock::start(), Arc::default(), Arc::new(retained));
    opened.map(|Opened { bridge, .. }| bridge)
}

/// The frames of some operations, as an edge sends them.
pub fn batch(operations: &[Operation]) -> Batch {
    let mut frames = BytesMut::new();
    operations.iter().for_each(|(head, message)| lane::put(&mut frames, head, message.as_ref()));
    Batch { sender: 1, lost: 0, frames: frames.freeze() }
}

/// One turn with everything that waits in these batches.
pub fn turn(bridge: &mut Bridge, batches: Vec<Batch>) -> Result<Vec<Said>, BridgeError> {
    let mut waiting = VecDeque::from(batches);
    let first = waiting.pop_front();
    let frames = bridge.turn(first, || Ok(waiting.pop_front()))?;
    assert!(waiting.is_empty(), "everything that waits is taken into the turn");
    Ok(frames.into_batches().flat_map(|(_, frames)| read(frames)).collect())
}

/// The frames of a batch from the bridge.
pub fn read(mut frames: Bytes) -> Vec<Said> {
    std::iter::from_fn(|| lane::take::<ToEdge>(&mut frames).unwrap()).collect()
}

/// Tokens that were answered with success.
pub fn acknowledged(said: &[Said]) -> Vec<u64> {
    let done = said.iter().filter_map(|(head, _)| match head {
        ToEdge::Done { token, code: 0..0x80, .. } => Some(*token),
        _ => None,
    });
    done.collect()
}

/// Whatever was said is on disk.
///
/// # Panics
/// With the frame that promised too much.
pub fn is_kept(said: &[Said], asked: &[Operation], disk: &dyn Store) {
    let has = |key: Vec<u8>| disk.get(&key).unwrap().is_some();
    for (head, _) in said {
        let kept = match head {
            ToEdge::Done { at, token, code: 0..0x80, .. } => {
                let operation = asked.iter().find(|(head, _)| asks(head, at.slot, *token));
                let (head, message) = operation.unwrap_or_else(|| panic!("nobody waits for {head:?}"));
                is_stored(head, message.as_ref(), disk)
            }
            ToEdge::Entry { source: Source::Inbox, position, .. } => has(keys::inbox("bob", *position)),
            ToEdge::Entry { source: Source::Queue, position, .. } => {
                has(keys::queued("bob-phone", *position))
            }
            ToEdge::Released { packet_id, .. } => has(keys::released("bob-phone", *packet_id)),
            _ => true,
        };
        assert!(kept, "said and not on disk: {head:?}");
    }
}

fn asks(head: &ToBridge, slot: u32, answered: u64) -> bool {
    match head {
        ToBridge::Publish { at, token: Some(token), .. }
        | ToBridge::Subscribe { at, token, .. }
        | ToBridge::Unsubscribe { at, token, .. }
        | ToBridge::Will { at, token, .. }
        | ToBridge::Forgotten { at, token, .. } => (at.slot, *token) == (slot, answered),
        _ => false,
    }
}

fn is_stored(head: &ToBridge, message: Option<&Message>, disk: &dyn Store) -> bool {
    let has = |key: Vec<u8>| disk.get(&key).unwrap().is_some();
    let holds = |range, part: &[u8]| {
        let found = disk.scan(range, hubbub_bridge::store::Order::Forward, usize::MAX).unwrap();
        found.iter().any(|(_, value)| value.windows(part.len().max(1)).any(|window| window == part))
    };
    match (head, message) {
        (ToBridge::Publish { errand, remember, store_retained, from, .. }, Some(message)) => {
            let body = serde_json::from_slice::<serde_json::Value>(&message.payload);
            let body = body.ok().and_then(|json| json["body"].as_str().map(|body| body.as_bytes().to_vec()));
            let body = body.unwrap_or_else(|| message.payload.to_vec());
            let stored = match errand {
                Errand::Chat => holds(keys::all_messages(), &body),
                Errand::Queue | Errand::Share => {
                    let owed = [keys::all_queued(), keys::all_loans()];
                    message.payload.is_empty() || owed.into_iter().any(|range| holds(range, &message.payload))
                }
                Errand::Rpc | Errand::Presence => true,
            };
            let retained = match store_retained {
                Some(_) if message.payload.is_empty() => !has(keys::retained(&message.topic)),
                Some(_) => has(keys::retained(&message.topic)),
                None => true,
            };
            stored && retained && remember.is_none_or(|id| has(keys::inbound(&from.client, id)))
        }
        (ToBridge::Will { device, .. }, Some(_)) => has(keys::will(&device.client)),
        (ToBridge::Subscribe { device, filters, .. }, _) => {
            filters.iter().all(|(filter, _)| has(keys::subscription(&device.client, filter)))
        }
        (ToBridge::Unsubscribe { device, filters, .. }, _) => {
            filters.iter().all(|filter| !has(keys::subscription(&device.client, filter)))
        }
        (ToBridge::Forgotten { device, packet_id, .. }, _) => !has(keys::inbound(&device.client, *packet_id)),
        _ => true,
    }
}
