//! The session machine, driven step by step.

mod authentication;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::*;
use crate::codec::encode::client;
use crate::codec::{Ack, ConnectProperties, Disconnect, Properties, Publish};
use crate::share::Share;

const LIMITS: SessionLimits = SessionLimits {
    inflight: 4,
    unanswered: 8,
    waiting_messages: 3,
    waiting_bytes: 1000,
    subscriptions: 2,
    topic_alias_maximum: 2,
    out_bytes: 1_000_000,
    topics: TopicLimits { levels: 8, bytes: 100 },
};

/// A session with what it said so far.
struct Desk {
    session: Session,
    out: OutBuffer,
    commands: Vec<Command>,
    now: Millis,
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 10,
        client_id: "phone".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn device() -> Device {
    Device { user: "bob".into(), client: "phone".into() }
}

fn desk(version: Version, expiry: u32) -> Desk {
    let session = Session::new(device(), &connect(version), expiry, LIMITS, 0);
    Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 }
}

/// A session without a history.
pub(super) fn member(version: Version) -> Session {
    desk(version, 0).session
}

impl Desk {
    fn act(&mut self, act: impl FnOnce(&mut Session, &mut Wire<'_>)) {
        act(&mut self.session, &mut Wire { out: &mut self.out, commands: &mut self.commands });
    }

    fn packet(&mut self, packet: Packet) {
        let now = self.now;
        self.act(|session, wire| session.handle_packet(packet, now, wire));
    }

    fn publish(&mut self, packet_id: u16, qos: QoS) {
        self.packet(Packet::Publish(publish(packet_id, qos)));
    }

    fn done(&mut self, token: u64, outcome: Outcome) {
        self.act(|session, wire| session.done(token, outcome, 0, wire));
    }

    fn deliver(&mut self, text: &'static str, qos: QoS) -> Delivered {
        let message = message(text);
        let mut delivered = Delivered::Dropped;
        self.act(|session, wire| {
            let to = Delivery { qos, retain: false, ids: &[], search: None };
            delivered = session.deliver(&mut Fanout::new(&message, 0), to, wire);
        });
        delivered
    }

    fn entry(&mut self, source: Source, position: u64, qos: QoS, fetched: bool) {
        let entry =
            Entry { position, message: Arc::new(message("m")), qos, retain: false, ids: SmallVec::new() };
        let from = (source, self.session.reader_number(source));
        self.act(|session, wire| session.entry(from, entry, fetched, 0, wire));
    }

    fn page(&mut self, source: Source, next: u64, more: bool) {
        let from = (source, self.session.reader_number(source));
        self.act(|session, wire| session.page(from, next, more, 0, wire));
    }

    fn ack(&mut self, kind: fn(Ack) -> Packet, packet_id: u16) {
        self.packet(kind(Ack { packet_id, reason: 0 }));
    }

    fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// What the client got, as first bytes and packet identifiers: `(0x40, 7)` is PUBACK 7.
    fn heard(&mut self) -> Vec<(u8, u16)> {
        let mut bytes = self.out.take();
        let mut heard = Vec::new();
        while let [first, len, rest @ ..] = &bytes[..] {
            let len = usize::from(*len);
            let at = if first & 0xf0 == 0x30 { 2 + usize::from(rest[1]) } else { 0 };
            let id = rest.get(at..at + 2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
            heard.push((*first, if first & 0xf6 == 0x30 { 0 } else { id }));
            bytes = bytes.slice(2 + len..);
        }
        heard
    }

    fn tokens(&mut self) -> Vec<u64> {
        let token = |command| match command {
            Command::Publish { token, .. } => token,
            _ => None,
        };
        self.commands().into_iter().filter_map(token).collect()
    }
}

fn publish(packet_id: u16, qos: QoS) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: "a/b".into(),
        packet_id,
        alias: None,
        expiry: None,
        properties: Properties::default(),
        payload: Bytes::from_static(b"x"),
    }
}

fn message(text: &'static str) -> Message {
    Message {
        topic: "t".into(),
        payload: Bytes::from_static(text.as_bytes()),
        qos: QoS::ExactlyOnce,
        ..Message::default()
    }
}

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

#[test]
fn acknowledgements_leave_in_the_order_of_the_publishes() {
    let mut desk = desk(Version::V311, 0);
    desk.publish(1, AtLeastOnce);
    desk.publish(2, ExactlyOnce);
    desk.publish(3, AtLeastOnce);
    let tokens = desk.tokens();
    desk.done(tokens[2], Outcome::ok());
    desk.done(tokens[1], Outcome::ok());
    assert_eq!(desk.heard(), [], "the first one is not on disk yet");
    desk.done(tokens[0], Outcome::ok());
    assert_eq!(desk.heard(), [(0x40, 1), (0x50, 2), (0x40, 3)]);
}

#[test]
fn a_qos_2_publish_is_forwarded_once_until_it_is_released() {
    let mut desk = desk(Version::V5, 0);
    desk.publish(7, ExactlyOnce);
    let token = desk.tokens()[0];
    desk.publish(7, ExactlyOnce);
    assert!(desk.tokens().is_empty(), "a repeat waits for the same commit");
    desk.done(token, Outcome::ok());
    assert_eq!(desk.heard(), [(0x50, 7), (0x50, 7)]);
    desk.publish(7, ExactlyOnce);
    assert_eq!((desk.tokens().len(), desk.heard()), (0, vec![(0x50, 7)]));
    desk.ack(Packet::PubRel, 7);
    assert_eq!(desk.heard(), [(0x70, 7)]);
    desk.publish(7, ExactlyOnce);
    assert_eq!(desk.tokens().len(), 1, "after PUBREL the identifier is free");
}

#[test]
fn a_repeat_after_a_reconnect_is_answered_and_not_forwarded() {
    let mut desk = desk(Version::V311, 100);
    desk.publish(7, ExactlyOnce);
    let token = desk.tokens()[0];
    desk.session.suspend();
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    desk.publish(7, ExactlyOnce);
    assert!(desk.tokens().is_empty());
    desk.done(token, Outcome::ok());
    assert_eq!(desk.heard(), [(0x50, 7)], "the new connection gets one answer, the old one is gone");
}

#[test]
fn pubcomp_waits_until_the_disk_has_forgotten_the_identifier() {
    let mut desk = desk(Version::V5, 100);
    desk.publish(7, ExactlyOnce);
    let token = desk.tokens()[0];
    desk.done(token, Outcome { stored: true, ..Outcome::ok() });
    desk.ack(Packet::PubRel, 7);
    assert_eq!(desk.heard(), [(0x50, 7)]);
    let commands = desk.commands();
    let [Command::Forgotten { packet_id: 7, token }] = commands[..] else { panic!("{commands:?}") };
    desk.done(token, Outcome { stored: true, ..Outcome::ok() });
    assert_eq!(desk.heard(), [(0x70, 7)]);
    desk.publish(8, ExactlyOnce);
    let token = desk.tokens()[0];
    desk.done(token, Outcome::ok());
    desk.ack(Packet::PubRel, 8);
    assert_eq!(desk.heard(), [(0x50, 8), (0x70, 8)], "what was only routed has nothing to wait for");
}

#[test]
fn a_refusal_has_a_code_in_5_and_ends_a_3_x_connection() {
    let mut five = desk(Version::V5, 0);
    five.publish(1, AtLeastOnce);
    let token = five.tokens()[0];
    five.done(token, Outcome::refused(0x87, "no"));
    assert_eq!(five.out.take()[..5], [0x40, 9, 0, 1, 0x87]);
    let mut three = desk(Version::V311, 0);
    three.publish(1, AtLeastOnce);
    let token = three.tokens()[0];
    three.done(token, Outcome::refused(0x87, "no"));
    assert_eq!((three.heard(), three.commands()), (vec![], vec![Command::Close(Goodbye::Denied)]));
    // What may work later (MQTT 3.1.1 §4.8).
    three.publish(2, AtLeastOnce);
    let token = three.tokens()[0];
    three.done(token, Outcome::refused(0x97, "full"));
    assert_eq!((three.heard(), three.commands()), (vec![], vec![Command::Close(Goodbye::Busy)]));
}

#[test]
fn more_unanswered_publishes_than_promised_end_the_connection() {
    let mut desk = desk(Version::V5, 0);
    for id in 1..=8 {
        assert!(desk.session.wants_packets());
        desk.publish(id, AtLeastOnce);
    }
    assert!(!desk.session.wants_packets());
    desk.commands();
    desk.publish(9, AtLeastOnce);
    assert_eq!(desk.commands(), [Command::Close(Goodbye::ReceiveMaximum)]);
}

#[test]
fn the_window_is_never_exceeded_and_fills_again() {
    let mut connect = connect(Version::V5);
    connect.properties.receive_maximum = 2;
    let session = Session::new(device(), &connect, 0, LIMITS, 0);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    let delivered: Vec<_> = (0..6).map(|_| desk.deliver("m", AtLeastOnce)).collect();
    use Delivered::{Dropped, Sent, Waits};
    assert_eq!(delivered, [Sent, Sent, Waits, Waits, Waits, Dropped]);
    assert_eq!(desk.heard(), [(0x32, 0x8000), (0x32, 0x8001)]);
    desk.ack(Packet::PubAck, 0x8000);
    assert_eq!(desk.heard(), [(0x32, 0x8002)]);
    assert_eq!(desk.deliver("m", AtMostOnce), Sent, "QoS 0 knows no window");
}

#[test]
fn packet_identifiers_in_flight_are_not_used_again() {
    let mut desk = desk(Version::V5, 0);
    desk.deliver("stuck", AtLeastOnce);
    desk.heard();
    for _ in 0..0x7fff {
        desk.deliver("m", AtLeastOnce);
        let (_, id) = desk.heard()[0];
        assert_ne!(id, 0x8000);
        desk.ack(Packet::PubAck, id);
    }
    assert_eq!(desk.deliver("m", AtLeastOnce), Delivered::Waits, "the next identifier is still in flight");
    desk.ack(Packet::PubAck, 0x8000);
    assert_eq!(desk.heard(), [(0x32, 0x8000)]);
}

#[test]
fn an_identifier_that_an_earlier_run_left_is_not_used_before_its_pubcomp() {
    let mut session = Session::restored(device(), 100, LIMITS);
    session.restore_released([6]);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    assert_eq!(desk.heard(), [(0x62, 6)]);
    desk.session.attach(Source::Queue, ExactlyOnce);
    for position in [0x7fff + 4, 0x7fff + 5] {
        desk.entry(Source::Queue, position, ExactlyOnce, true);
    }
    assert_eq!(desk.heard(), [(0x3c, 5)], "the one behind it would have the identifier 6");
    desk.ack(Packet::PubComp, 6);
    assert_eq!(desk.heard(), [(0x3c, 6)]);
}

#[test]
fn what_a_session_leaves_to_others_is_what_they_may_have() {
    let search = Search::new(Share { group: "g".into(), filter: "t".into() });
    let mut desk = desk(Version::V5, 0);
    let mut deliver = |text, qos, search: Option<&Search>| {
        let message = message(text);
        let to = Delivery { qos, retain: false, ids: &[], search };
        desk.act(|session, wire| {
            session.deliver(&mut Fanout::new(&message, 0), to, wire);
        });
    };
    deliver("nobody else's", AtLeastOnce, None);
    deliver("begun", ExactlyOnce, Some(&search));
    deliver("acknowledged", AtLeastOnce, Some(&Search { loan: Some(7), ..search.clone() }));
    deliver("in flight", AtLeastOnce, Some(&search));
    deliver("begun later", ExactlyOnce, Some(&search));
    deliver("waiting for this one alone", ExactlyOnce, None);
    deliver("waiting", ExactlyOnce, Some(&search));
    let ids: Vec<u16> = desk.heard().into_iter().map(|(_, id)| id).collect();
    // Then the window has room for the first one that waits.
    desk.ack(Packet::PubAck, ids[2]);
    assert_eq!(desk.commands(), [Command::Settled(7)]);
    desk.session.suspend();
    let left = desk.session.end().abandoned;
    let texts: Vec<_> =
        left.iter().map(|(message, _)| std::str::from_utf8(&message.payload).unwrap()).collect();
    assert_eq!((texts, &left[0].1), (vec!["in flight", "waiting"], &search));
}

#[test]
fn what_was_in_flight_is_sent_again_in_order() {
    let mut desk = desk(Version::V311, 100);
    desk.deliver("one", ExactlyOnce);
    desk.deliver("two", AtLeastOnce);
    desk.deliver("three", ExactlyOnce);
    desk.ack(Packet::PubRec, 0x8000);
    assert_eq!(desk.heard(), [(0x34, 0x8000), (0x32, 0x8001), (0x34, 0x8002), (0x62, 0x8000)]);
    desk.session.suspend();
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    assert_eq!(desk.heard(), [(0x62, 0x8000), (0x3a, 0x8001), (0x3c, 0x8002)]);
}

#[test]
fn no_window_holds_back_a_release() {
    let mut desk = desk(Version::V5, 100);
    desk.deliver("one", AtLeastOnce);
    desk.deliver("two", ExactlyOnce);
    desk.ack(Packet::PubRec, 0x8001);
    desk.heard();
    desk.session.suspend();
    let mut connect = connect(Version::V5);
    connect.properties.receive_maximum = 1;
    desk.act(|session, wire| drop(session.resume(&connect, 100, |_| true, 0, wire)));
    assert_eq!(desk.heard(), [(0x62, 0x8001), (0x3a, 0x8000)]);
    desk.ack(Packet::PubComp, 0x8001);
    assert_eq!(desk.heard(), [], "once for each connection");
}

#[test]
fn what_is_too_large_for_a_later_connection_is_released_at_qos_2() {
    let mut desk = desk(Version::V5, 100);
    let text = "more than the forty bytes that a later connection takes";
    desk.deliver(text, AtLeastOnce);
    desk.deliver(text, ExactlyOnce);
    desk.heard();
    desk.session.suspend();
    let mut small = connect(Version::V5);
    small.properties.maximum_packet_size = Some(40);
    desk.act(|session, wire| drop(session.resume(&small, 100, |_| true, 0, wire)));
    assert_eq!((desk.heard(), desk.session.in_flight()), (vec![(0x62, 0x8001)], 1));
    desk.ack(Packet::PubComp, 0x8001);
    assert_eq!(desk.session.in_flight(), 0);
}

#[test]
fn what_an_earlier_run_may_have_begun_at_qos_2_is_released_if_it_is_not_sent_again() {
    let restored = RestoredSession {
        device: device(),
        expiry: 100,
        ended_at: 0,
        subscriptions: Vec::new(),
        unreleased: Vec::new(),
        released: Vec::new(),
        will: None,
    };
    let session = restored.into_session(LIMITS);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 9 };
    desk.act(|session, wire| drop(session.resume(&connect(Version::V5), 100, |_| true, 9, wire)));
    let reader = desk.session.attach(Source::Queue, ExactlyOnce);
    let expired = Arc::new(Message { expires: Some(5), ..message("m") });
    for (position, qos) in [(1, ExactlyOnce), (2, AtLeastOnce)] {
        let entry = Entry { position, message: expired.clone(), qos, retain: false, ids: SmallVec::new() };
        desk.act(|session, wire| session.entry((Source::Queue, reader), entry, true, 9, wire));
    }
    let (received, taken) = (
        Command::Received { position: 1, packet_id: 2 },
        Command::Taken { source: Source::Queue, position: 2 },
    );
    assert_eq!(desk.commands(), [received, taken]);
    desk.act(|session, wire| session.released(2, wire));
    assert_eq!(desk.heard(), [(0x62, 2)]);
    desk.ack(Packet::PubComp, 2);
    assert_eq!((desk.commands(), desk.session.in_flight()), (vec![Command::Completed(2)], 0));
}

#[test]
fn few_large_messages_are_in_flight_at_once() {
    let mut desk = desk(Version::V311, 100);
    let window = SessionLimits { inflight: 100, ..LIMITS };
    desk.session = Session::new(device(), &connect(Version::V311), 100, window, 0);
    let large = Arc::new(Message { payload: Bytes::from(vec![0; 100]), ..message("") });
    let (limit, each) = (LIMITS.waiting_bytes, large.payload.len());
    let reader = desk.session.attach(Source::Queue, AtLeastOnce);
    for position in 1..=40 {
        let entry =
            Entry { position, message: large.clone(), qos: AtLeastOnce, retain: false, ids: SmallVec::new() };
        desk.act(|session, wire| session.entry((Source::Queue, reader), entry, true, 0, wire));
    }
    desk.out.take();
    assert_eq!(desk.session.in_flight(), limit / each);
    desk.ack(Packet::PubAck, 2);
    assert_eq!(desk.session.in_flight(), limit / each, "one goes, the next one comes");
}

#[test]
fn a_queue_is_read_in_order_and_its_identifiers_follow_from_the_position() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Queue, ExactlyOnce);
    for position in [5, 6] {
        desk.entry(Source::Queue, position, ExactlyOnce, true);
    }
    desk.page(Source::Queue, 7, false);
    desk.entry(Source::Queue, 7, AtLeastOnce, false);
    assert_eq!(desk.heard(), [(0x34, 6), (0x34, 7), (0x32, 8)]);
    desk.ack(Packet::PubAck, 8);
    desk.ack(Packet::PubRec, 6);
    assert_eq!(desk.heard(), [], "PUBREL waits until the bridge remembers");
    let taken = Command::Taken { source: Source::Queue, position: 7 };
    assert_eq!(desk.commands(), [taken, Command::Received { position: 5, packet_id: 6 }]);
    desk.act(|session, wire| session.released(6, wire));
    assert_eq!(desk.heard(), [(0x62, 6)]);
    desk.ack(Packet::PubComp, 6);
    assert_eq!(desk.commands(), [Command::Completed(6)]);
}

#[test]
fn a_gap_in_what_is_pushed_is_read_from_the_store() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Inbox, AtLeastOnce);
    desk.page(Source::Inbox, 1, false);
    desk.entry(Source::Inbox, 1, AtLeastOnce, false);
    desk.entry(Source::Inbox, 3, AtLeastOnce, false);
    assert_eq!(desk.commands(), [Command::Fetch { source: Source::Inbox, from: 2 }]);
    desk.entry(Source::Inbox, 4, AtLeastOnce, false);
    for position in [2, 3, 4] {
        desk.entry(Source::Inbox, position, AtLeastOnce, true);
    }
    desk.page(Source::Inbox, 5, false);
    assert_eq!(desk.heard().len(), 4, "each once");
    desk.commands();
    desk.page(Source::Inbox, 5, false);
    desk.entry(Source::Inbox, 4, AtLeastOnce, false);
    assert_eq!(desk.heard(), [], "an old one is not sent again");
}

#[test]
fn an_inbox_cursor_moves_up_to_where_nothing_is_missing() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Inbox, ExactlyOnce);
    for position in 1..=3 {
        desk.entry(Source::Inbox, position, AtLeastOnce, true);
    }
    desk.page(Source::Inbox, 4, false);
    let ids: Vec<u16> = desk.heard().into_iter().map(|(_, id)| id).collect();
    desk.ack(Packet::PubAck, ids[1]);
    assert_eq!(desk.commands(), []);
    desk.ack(Packet::PubAck, ids[0]);
    assert_eq!(desk.commands(), [Command::Taken { source: Source::Inbox, position: 2 }]);
    desk.ack(Packet::PubAck, ids[2]);
    assert_eq!(desk.commands(), [Command::Taken { source: Source::Inbox, position: 3 }]);
}

#[test]
fn without_a_reader_an_inbox_cursor_does_not_pass_what_is_in_flight() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Inbox, AtLeastOnce);
    for position in 1..=2 {
        desk.entry(Source::Inbox, position, AtLeastOnce, true);
    }
    desk.page(Source::Inbox, 3, false);
    let ids: Vec<u16> = desk.heard().into_iter().map(|(_, id)| id).collect();
    desk.session.detach(Source::Inbox);
    desk.ack(Packet::PubAck, ids[1]);
    assert_eq!(desk.commands(), []);
    desk.ack(Packet::PubAck, ids[0]);
    assert_eq!(desk.commands(), [Command::Taken { source: Source::Inbox, position: 1 }]);
}

#[test]
fn the_sending_device_does_not_get_its_own_message_back() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Inbox, AtLeastOnce);
    let own = Message { publisher: "phone".into(), ..message("mine") };
    let entry =
        Entry { position: 1, message: Arc::new(own), qos: AtLeastOnce, retain: false, ids: SmallVec::new() };
    let from = (Source::Inbox, desk.session.reader_number(Source::Inbox));
    desk.act(|session, wire| session.entry(from, entry, true, 0, wire));
    assert_eq!(desk.heard(), []);
    assert_eq!(desk.commands(), [Command::Taken { source: Source::Inbox, position: 1 }]);
}

#[test]
fn however_much_is_stored_little_is_held() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Queue, AtLeastOnce);
    for position in 1..=BUFFERED as u64 {
        desk.entry(Source::Queue, position, AtLeastOnce, true);
    }
    desk.page(Source::Queue, BUFFERED as u64 + 1, true);
    assert_eq!(desk.commands(), [], "the buffer is full enough");
    let (mut taken, mut fetched) = (0, Vec::new());
    while let Some((_, id)) = desk.heard().first().copied() {
        desk.ack(Packet::PubAck, id);
        taken += 1;
        fetched
            .extend(desk.commands().into_iter().filter(|command| matches!(command, Command::Fetch { .. })));
    }
    assert!(taken > BUFFERED / 2, "{taken}");
    assert_eq!(fetched, [Command::Fetch { source: Source::Queue, from: BUFFERED as u64 + 1 }]);
}

#[test]
fn silence_for_one_and_a_half_keep_alive_times_ends_the_connection() {
    let mut desk = desk(Version::V311, 0);
    desk.now = 4_000;
    desk.packet(Packet::PingReq);
    assert_eq!(desk.session.poll_timeout(), Some(19_000));
    desk.act(|session, wire| session.handle_timeout(18_999, wire));
    assert_eq!(desk.commands(), []);
    desk.act(|session, wire| session.handle_timeout(19_000, wire));
    assert_eq!(desk.commands(), [Command::Close(Goodbye::KeepAlive)]);
}

#[test]
fn topic_aliases_are_learned_and_bounded() {
    let mut desk = desk(Version::V5, 0);
    let aliased = |alias, topic: &'static str| {
        Packet::Publish(Publish { alias: Some(alias), topic: topic.into(), ..publish(0, AtMostOnce) })
    };
    desk.packet(aliased(1, "a"));
    desk.packet(aliased(1, ""));
    let topics: Vec<_> = desk
        .commands()
        .into_iter()
        .map(|command| match command {
            Command::Publish { message, .. } => message.topic.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["a", "a"]);
    for (alias, code) in [(2, 0x82), (3, 0x94)] {
        desk.packet(aliased(alias, ""));
        let commands = desk.commands();
        assert!(
            matches!(commands[0], Command::Close(Goodbye::Malformed(got, _)) if got == code),
            "{commands:?}"
        );
    }
}

#[test]
fn a_client_that_takes_aliases_gets_each_topic_once() {
    let mut connect = connect(Version::V5);
    connect.properties.topic_alias_maximum = 5;
    let session = Session::new(device(), &connect, 0, LIMITS, 0);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    desk.deliver("m", AtMostOnce);
    desk.deliver("m", AtMostOnce);
    assert_eq!(&desk.out.take()[..], b"\x30\x08\0\x01t\x03\x23\0\x01m\x30\x07\0\0\x03\x23\0\x01m");
}

#[test]
fn a_message_that_only_an_alias_makes_too_large_goes_without_one() {
    let mut connect = connect(Version::V5);
    connect.properties.topic_alias_maximum = 5;
    connect.properties.maximum_packet_size = Some(8);
    let session = Session::new(device(), &connect, 0, LIMITS, 0);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    desk.deliver("mm", AtMostOnce);
    assert_eq!(&desk.out.take()[..], b"\x30\x06\0\x01t\0mm");
    desk.deliver("mmm", AtMostOnce);
    assert_eq!(&desk.out.take()[..], b"", "too large with or without");
}

#[test]
fn goodbye_with_and_without_will() {
    for (reason, goodbye) in [(0, Goodbye::ByClient), (4, Goodbye::ByClientWithWill)] {
        let mut desk = desk(Version::V5, 0);
        desk.packet(Packet::Disconnect(Disconnect { reason, session_expiry: None }));
        assert_eq!(desk.commands(), [Command::Close(goodbye)]);
    }
    let mut desk = desk(Version::V5, 0);
    desk.packet(Packet::Disconnect(Disconnect { reason: 0, session_expiry: Some(5) }));
    assert!(matches!(desk.commands()[0], Command::Close(Goodbye::Malformed(0x82, _))));
}

#[test]
fn a_page_for_an_earlier_reader_is_not_taken_for_the_first_page_of_this_one() {
    let mut desk = desk(Version::V311, 100);
    let earlier = desk.session.attach(Source::Inbox, AtLeastOnce);
    desk.session.suspend();
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    desk.session.attach(Source::Inbox, AtLeastOnce);
    let stale = Entry {
        position: 9,
        message: Arc::new(message("m")),
        qos: AtLeastOnce,
        retain: false,
        ids: SmallVec::new(),
    };
    desk.act(|session, wire| session.entry((Source::Inbox, earlier), stale, true, 0, wire));
    desk.act(|session, wire| session.page((Source::Inbox, earlier), 10, false, 0, wire));
    assert_eq!(desk.heard(), []);
    desk.entry(Source::Inbox, 1, AtLeastOnce, true);
    assert_eq!(desk.heard().len(), 1, "the cursor did not jump");
}

#[test]
fn a_full_out_buffer_holds_back_what_is_owed_until_it_is_drained() {
    let limits = SessionLimits { out_bytes: 3, ..LIMITS };
    let session = Session::new(device(), &connect(Version::V311), 100, limits, 0);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    desk.session.attach(Source::Queue, AtLeastOnce);
    for position in 1..=3 {
        desk.entry(Source::Queue, position, AtLeastOnce, true);
    }
    for id in [2, 3, 4] {
        assert_eq!(desk.heard(), [(0x32, id)], "one fills it");
        desk.act(|session, wire| session.drained(0, wire));
    }
    assert!(!desk.session.is_held_back());
    desk.session.suspend();
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    for id in [2, 3, 4] {
        assert_eq!(desk.heard(), [(0x3a, id)], "and so it is when they are sent again");
        desk.act(|session, wire| session.drained(0, wire));
    }
}

#[test]
fn what_waits_is_not_sent_while_nobody_is_connected() {
    let limits = SessionLimits { out_bytes: 3, ..LIMITS };
    let session = Session::new(device(), &connect(Version::V311), 100, limits, 0);
    let mut desk = Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 };
    desk.deliver("one", AtLeastOnce);
    assert_eq!(desk.deliver("two", AtLeastOnce), Delivered::Waits, "the out buffer is full");
    assert_eq!(desk.heard(), [(0x32, 0x8000)]);
    desk.session.suspend();
    desk.done(1, Outcome::ok());
    assert_eq!(desk.heard(), [], "an answer of the bridge comes when the client has gone");
    desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
    assert_eq!(desk.heard(), [(0x3a, 0x8000)]);
    desk.act(|session, wire| session.drained(0, wire));
    assert_eq!(desk.heard(), [(0x32, 0x8001)], "sent for the first time, so without DUP");
}

#[test]
fn ten_thousand_reconnects_are_a_loop() {
    let mut desk = desk(Version::V311, 100);
    desk.session.attach(Source::Queue, AtLeastOnce);
    for round in 1..=10_000u64 {
        desk.entry(Source::Queue, round, AtLeastOnce, true);
        desk.page(Source::Queue, round + 1, false);
        desk.session.suspend();
        desk.act(|session, wire| drop(session.resume(&connect(Version::V311), 100, |_| true, 0, wire)));
        desk.session.attach(Source::Queue, AtLeastOnce);
        desk.entry(Source::Queue, round, AtLeastOnce, true);
        desk.page(Source::Queue, round + 1, false);
        let heard = desk.heard();
        let id = (round % 0x7fff + 1) as u16;
        assert_eq!(heard, [(0x32, id), (0x3a, id)], "round {round}: once, and once again with DUP");
        desk.ack(Packet::PubAck, id);
        assert_eq!(desk.commands(), [Command::Taken { source: Source::Queue, position: round }]);
    }
}

#[test]
fn packets_of_the_client_survive_the_codec() {
    let mut bytes = BytesMut::new();
    client::publish(&mut bytes, Version::V5, &publish(3, AtLeastOnce));
    let mut decoder =
        crate::codec::Decoder::new(crate::codec::Limits { packet_bytes: 100, user_properties: 1 });
    decoder.set_version(Version::V5);
    let packet = decoder.decode(&mut bytes.freeze()).unwrap().unwrap();
    let mut desk = desk(Version::V5, 0);
    desk.packet(packet);
    assert!(matches!(&desk.commands()[0], Command::Publish { message, .. } if &*message.topic == "a/b"));
}

#[test]
fn a_goodbye_loses_its_reason_and_then_the_other_server_before_it_is_too_large() {
    for (max, expected) in [
        (None, &b"\xe0\x31\x9c\x2f\x1f\x00\x27server shutting down, use the other one\x1c\x00\x02b:"[..]),
        (Some(50), b"\xe0\x07\x9c\x05\x1c\x00\x02b:"),
        (Some(8), b"\xe0\x01\x9c"),
    ] {
        let properties = ConnectProperties { maximum_packet_size: max, ..ConnectProperties::default() };
        let connect = Connect { properties, ..connect(Version::V5) };
        let session = Session::new(device(), &connect, 0, LIMITS, 0);
        let mut out = OutBuffer::default();
        session.say_goodbye(Goodbye::UseAnotherServer, Some("b:"), &mut out);
        assert_eq!(out.take(), expected, "{max:?}");
    }
}
