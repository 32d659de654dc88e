//! The flush takes long: nobody is acknowledged meanwhile, and whatever waits goes out together after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::BytesMut;
use hubbub_bridge::bridge::BridgeError;
use hubbub_bridge::store::{MemoryStore, Poisoning};
use hubbub_broker::clock::{Clock, Deadline};
use hubbub_broker::codec::QoS;
use hubbub_broker::lane::{self, Errand, ToEdge};
use hubbub_broker::spine::{End, Lane, Spine, SpineSettings};

use crate::faulty::{Fault, Faulty, Keeper};
use crate::script::publish;
use crate::stage::{acknowledged, batch, open, read, turn};

/// Publishes that come while the first one is being flushed.
const CROWD: u64 = 200;

#[test]
fn everything_that_waits_shares_one_commit() {
    let (store, keeper) = Faulty::gated(Arc::default());
    keeper.lets_pass(100);
    let mut bridge = open(Arc::new(store)).unwrap();
    while keeper.begun.try_recv().is_ok() {}
    let crowd = (1..=CROWD).map(|token| batch(&[chat(token)])).collect();
    let said = turn(&mut bridge, crowd).unwrap();
    assert_eq!(acknowledged(&said), (1..=CROWD).collect::<Vec<_>>());
    assert_eq!(keeper.begun.try_iter().count(), 1);
}

#[test]
fn a_slow_flush_holds_back_every_acknowledgement_and_then_releases_all() {
    let mut house = House::starts();
    house.says(1..=1);
    house.keeper.begins();
    house.says(2..=CROWD);
    assert_eq!(house.hears_now(), Vec::<u64>::new(), "nothing is acknowledged while the disk is busy");
    house.keeper.lets_pass(1000);
    let mut answered = BTreeSet::new();
    while answered.len() < CROWD as usize {
        answered.extend(house.hears());
    }
    assert_eq!(answered, (1..=CROWD).collect());
    let commits = house.keeper.begun.try_iter().count();
    assert!(commits <= 20, "{CROWD} publishes that waited took {commits} commits");
}

#[test]
fn a_flush_that_fails_at_last_acknowledges_nobody_and_ends_the_bridge() {
    for fault in [Fault::Refused, Fault::NotFlushed] {
        let mut house = House::starts();
        house.says(1..=1);
        house.keeper.begins();
        house.says(2..=CROWD);
        house.keeper.may_end.send(Err(fault)).unwrap();
        let ended = house.ended.recv_timeout(Duration::from_secs(10)).expect("the bridge ends");
        assert!(matches!(ended, Err(BridgeError::Store(_))), "{ended:?}");
        assert_eq!(house.edge.rx.next_before(soon()).unwrap().map(|batch| read(batch.frames).len()), None);
    }
}

/// A bridge on the real spine, and an edge that speaks with it.
struct House {
    edge: End,
    keeper: Keeper,
    /// How the bridge ended, once it has.
    ended: Receiver<Result<(), BridgeError>>,
}

impl House {
    fn starts() -> House {
        let (store, keeper) = Faulty::gated(Arc::new(MemoryStore::default()));
        // What opening writes.
        keeper.lets_pass(1);
        let bridge = open(Arc::new(Poisoning::new(store))).unwrap();
        keeper.begins();
        let settings = SpineSettings {
            edges: 2,
            segment_bytes: 1024 * 1024,
            segments: 4,
            heartbeat: Duration::from_secs(1),
            stall: Duration::from_secs(10),
        };
        let mut spine = Spine::start(&settings, Clock::start()).unwrap();
        let edge = spine.edges.swap_remove(0);
        let end = spine.bridge;
        let stop = AtomicBool::new(false);
        let (ends, ended) = channel();
        std::thread::spawn(move || ends.send(bridge.run(end, &stop)));
        House { edge, keeper, ended }
    }

    fn says(&mut self, tokens: std::ops::RangeInclusive<u64>) {
        let mut batches: Vec<_> = tokens.map(|token| BytesMut::from(batch(&[chat(token)]).frames)).collect();
        self.edge.tx.send(batches.iter_mut().map(|frames| (Lane::Bridge, frames))).unwrap();
    }

    /// Tokens that were acknowledged before the router had carried everything that was sent until now.
    fn hears_now(&mut self) -> Vec<u64> {
        let mut marker = BytesMut::new();
        lane::put(&mut marker, &ToEdge::Heartbeat, None);
        self.edge.tx.send([(Lane::All, &mut marker)]).unwrap();
        let mut heard = Vec::new();
        loop {
            let deadline = Deadline::after(Duration::from_secs(10));
            let said = read(self.edge.rx.next_before(deadline).unwrap().expect("the marker").frames);
            heard.extend(acknowledged(&said));
            if said.iter().any(|(head, _)| matches!(head, ToEdge::Heartbeat)) {
                return heard;
            }
        }
    }

    fn hears(&mut self) -> Vec<u64> {
        self.hears_before(Deadline::after(Duration::from_secs(10)))
    }

    fn hears_before(&mut self, deadline: Deadline) -> Vec<u64> {
        let batch = self.edge.rx.next_before(deadline).unwrap();
        batch.map(|batch| acknowledged(&read(batch.frames))).unwrap_or_default()
    }
}

impl Keeper {
    /// Waits until a commit has begun.
    fn begins(&self) {
        self.begun.recv_timeout(Duration::from_secs(10)).expect("a commit begins");
    }

    fn lets_pass(&self, commits: usize) {
        (0..commits).for_each(|_| self.may_end.send(Ok(())).unwrap());
    }
}

fn chat(token: u64) -> crate::script::Operation {
    publish(token, Errand::Chat, "dm/bob", &format!("message {token}"), QoS::AtLeastOnce)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(20))
}
