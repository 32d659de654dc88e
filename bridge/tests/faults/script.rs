//! Every operation that an edge can ask for, one after the other: alice talks, bob has a persistent session and reads.

use hubbub_broker::codec::{QoS, SubscribeOptions};
use hubbub_broker::lane::{Device, Ending, Errand, Place, Source, ToBridge};
use hubbub_broker::message::Message;
use hubbub_broker::policy::Door;
use hubbub_broker::share::{Search, Share};

/// One operation, with its message.
pub type Operation = (ToBridge, Option<Message>);

/// What nobody asks of us: a frame of each kind, and of each errand, quality of service and source.
pub fn script() -> Vec<Operation> {
    let (alice, bob) = (device("alice"), device("bob"));
    let open = |device: &Device| ToBridge::Open {
        at: place(device),
        device: device.clone(),
        kind: "phone".into(),
        expiry: 3600,
        fresh: true,
    };
    let attach = |source| ToBridge::Attach {
        at: place(&bob),
        device: bob.clone(),
        source,
        qos: QoS::ExactlyOnce,
        persistent: true,
    };
    let taken =
        |source, position| ToBridge::Taken { device: bob.clone(), source, position, persistent: true };
    let fetch = |source| ToBridge::Fetch { at: place(&bob), device: bob.clone(), source, from: 1, max: 64 };
    let detach = |source| ToBridge::Detach { at: place(&bob), device: bob.clone(), source };
    let close = |device: &Device, expiry| ToBridge::Close {
        at: place(device),
        device: device.clone(),
        how: Ending::Clean,
        expiry,
    };
    vec![
        (open(&alice), None),
        (open(&bob), None),
        (attach(Source::Queue), None),
        (attach(Source::Inbox), None),
        (subscribe(1, &["room/+", "$share/group/hall/#"]), None),
        publish(1, Errand::Queue, "room/1", "at least once", QoS::AtLeastOnce),
        publish(2, Errand::Queue, "room/1", "exactly once", QoS::ExactlyOnce),
        publish(3, Errand::Chat, "dm/bob", r#"{"body":"hi","cmid":"a1"}"#, QoS::AtLeastOnce),
        publish(4, Errand::Chat, "dm/bob", "and once", QoS::ExactlyOnce),
        publish(5, Errand::Chat, "dm/alice", "a note to myself", QoS::AtLeastOnce),
        retain(6, "room/2", "remember this"),
        publish(7, Errand::Presence, "p/alice/set", r#"{"state":"away"}"#, QoS::AtLeastOnce),
        publish(8, Errand::Rpc, "rpc/history/1", r#"{"peer":"bob"}"#, QoS::AtLeastOnce),
        (forgotten(9, 2), None),
        (taken(Source::Inbox, 1), None),
        (taken(Source::Queue, 1), None),
        (received(2, 3), None),
        (fetch(Source::Queue), None),
        (fetch(Source::Inbox), None),
        (ToBridge::Completed { device: bob.clone(), packet_id: 3 }, None),
        // A repeat, after the first answer was lost on its way.
        publish(10, Errand::Chat, "dm/bob", r#"{"body":"hi","cmid":"a1"}"#, QoS::AtLeastOnce),
        shared(publish(11, Errand::Queue, "hall/1", "for one of the group", QoS::AtLeastOnce), None),
        shared(publish(13, Errand::Queue, "hall/1", "on loan", QoS::AtLeastOnce), Some(0)),
        (ToBridge::Settled { loan: 1 }, None),
        will(14, &alice),
        (ToBridge::WillDue { device: alice.clone(), due: 99 }, None),
        (ToBridge::WillOver { device: alice.clone() }, None),
        retain(12, "room/2", ""),
        (unsubscribe(2), None),
        (ToBridge::Heartbeat, None),
        (detach(Source::Inbox), None),
        (detach(Source::Queue), None),
        (close(&alice, 3600), None),
        (close(&bob, 0), None),
        (ToBridge::Forget { at: place(&alice), device: alice, begun: Vec::new() }, None),
    ]
}

/// Where the session of a device is.
pub fn place(device: &Device) -> Place {
    Place { edge: 0, slot: u32::from(device.user == "bob"), generation: 1, reader: 0 }
}

pub fn device(user: &str) -> Device {
    Device { user: user.into(), client: format!("{user}-phone").into() }
}

/// A publish of alice; at QoS 2 its token is its packet identifier too.
pub fn publish(token: u64, errand: Errand, topic: &str, payload: &str, qos: QoS) -> Operation {
    let from = device("alice");
    let message = Message {
        topic: topic.into(),
        publisher: from.client.clone(),
        qos,
        payload: payload.to_owned().into(),
        ..Message::default()
    };
    let remember = (qos == QoS::ExactlyOnce).then_some(token as u16);
    let token = Some(token);
    (
        ToBridge::Publish {
            at: place(&from),
            token,
            errand,
            from,
            store_retained: None,
            remember,
            shares: Vec::new(),
        },
        Some(message),
    )
}

/// For the share group of bob: for his session, or on loan to somebody on this edge.
fn shared((mut head, message): Operation, edge: Option<u8>) -> Operation {
    if let ToBridge::Publish { shares, .. } = &mut head {
        let share = Share { group: "group".into(), filter: "hall/#".into() };
        *shares = vec![(Search::new(share), edge)];
    }
    (head, message)
}

fn will(token: u64, device: &Device) -> Operation {
    let (at, kind, door) = (place(device), "phone".into(), Door::Mqtt);
    let head = ToBridge::Will { at, token, device: device.clone(), kind, door, delay: 0, expiry: None };
    (head, Some(Message { topic: "gone".into(), payload: "a will".into(), ..Message::default() }))
}

fn retain(token: u64, topic: &str, payload: &str) -> Operation {
    let (mut head, message) = publish(token, Errand::Queue, topic, payload, QoS::AtLeastOnce);
    if let ToBridge::Publish { store_retained, .. } = &mut head {
        *store_retained = Some(token);
    }
    (head, message.map(|message| Message { retain: true, ..message }))
}

fn subscribe(token: u64, filters: &[&str]) -> ToBridge {
    let device = device("bob");
    let options = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
    let filters = filters.iter().map(|filter| ((*filter).into(), options)).collect();
    ToBridge::Subscribe { at: place(&device), token, device, filters, id: None }
}

fn unsubscribe(token: u64) -> ToBridge {
    let device = device("bob");
    ToBridge::Unsubscribe { at: place(&device), token, device, filters: vec!["room/+".into()] }
}

fn received(position: u64, packet_id: u16) -> ToBridge {
    let device = device("bob");
    ToBridge::Received { at: place(&device), device, position, packet_id }
}

pub fn forgotten(token: u64, packet_id: u16) -> ToBridge {
    let device = device("alice");
    ToBridge::Forgotten { at: place(&device), token, device, packet_id }
}
