//! An answer was lost between bridge and edge: the client sends again what is stored already.

use std::sync::Arc;

use hubbub_bridge::store::{MemoryStore, Order, Store, keys};
use hubbub_broker::codec::QoS;
use hubbub_broker::lane::Errand;

use crate::script::{forgotten, publish, script};
use crate::stage::{acknowledged, batch, open, turn};

#[test]
fn a_publish_of_qos_2_that_comes_again_is_stored_once() {
    let store = Arc::new(MemoryStore::default());
    let mut bridge = open(store.clone()).unwrap();
    // Bob has a session that wants room/1.
    turn(&mut bridge, vec![batch(&script()[..5])]).unwrap();
    let again = || batch(&[publish(2, Errand::Queue, "room/1", "exactly once", QoS::ExactlyOnce)]);
    let queued = || store.scan(keys::all_queued(), Order::Forward, 9).unwrap().len();
    for _ in 0..3 {
        let said = turn(&mut bridge, vec![again()]).unwrap();
        assert_eq!((acknowledged(&said), queued()), (vec![2], 1));
    }
    // PUBREL: the packet identifier is free for another message.
    turn(&mut bridge, vec![batch(&[(forgotten(9, 2), None)])]).unwrap();
    turn(&mut bridge, vec![again()]).unwrap();
    assert_eq!(queued(), 2);
}
