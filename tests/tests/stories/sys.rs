//! What the hub tells of itself on `$SYS/broker/…`, and to whom.

use std::collections::HashMap;
use std::time::Instant;

use hubbub_tests::tool::eventually;
use hubbub_tests::{Hub, PATIENCE, Person, Publish, Settings, Version};

const NOT_AUTHORIZED: u8 = 0x87;

/// Everything open by rule, one admin, and values that are new ten times a second.
fn hub() -> Hub {
    let settings = Settings::dev().rules("topic readwrite #\n").set("acl.admins", "alice, root");
    let settings = settings.set("server.sys_interval", "100ms").set("presence.enabled", "false");
    settings.set("server.edges", "2").start()
}

/// A dashboard: what somebody was told last, by the name behind `$SYS/broker/`.
struct Board {
    reader: Person,
    shown: HashMap<String, String>,
}

impl Board {
    fn of(mut reader: Person, filters: &[&str]) -> Board {
        filters.iter().for_each(|filter| reader.subscribe(&format!("$SYS/broker/{filter}"), 0));
        Board { reader, shown: HashMap::new() }
    }

    /// Waits until it shows this.
    fn shows(&mut self, name: &str, text: &str) {
        let end = Instant::now() + PATIENCE;
        while self.shown.get(name).is_none_or(|shown| shown != text) {
            assert!(Instant::now() < end, "{name} never is {text}: {:?}", self.shown);
            let told = self.reader.receives();
            let name = told.topic.strip_prefix("$SYS/broker/").unwrap().to_owned();
            self.shown.insert(name, told.text());
        }
    }
}

/// A line of `/metrics`.
fn metric(hub: &Hub, name: &str) -> u64 {
    let text = hub.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("hubbub_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn an_admin_sees_clients_come_and_go() {
    let hub = hub();
    let mut board = Board::of(hub.person("alice").connects(), &["clients/+"]);
    board.shows("clients/connected", "1");
    let bob = hub.person("bob").keeping_the_session().connects();
    let carol = hub.person("carol").connects();
    board.shows("clients/connected", "3");
    board.shows("clients/maximum", "3");
    bob.vanishes();
    board.shows("clients/connected", "2");
    board.shows("clients/disconnected", "1");
    board.shows("clients/total", "3");
    carol.vanishes();
    board.shows("clients/total", "2");
}

#[test]
fn nobody_else_does_whatever_they_subscribe_to() {
    let hub = hub();
    let mut mallory = hub.person("mallory").connects();
    for filter in ["$SYS/#", "$SYS/broker/uptime", "$SYS/+/uptime", "$share/g/$SYS/#"] {
        assert_eq!(mallory.try_subscribe(filter, 0), NOT_AUTHORIZED, "{filter}");
    }
    let mut old = hub.person("old").speaking(Version::V311).connects();
    assert_eq!(old.try_subscribe("$SYS/#", 0), 0x80);
    for filter in ["#", "+/#", "+/broker/#", "+/broker/uptime"] {
        mallory.subscribe(filter, 0);
    }
    let mut alice = hub.person("alice").connects();
    alice.subscribe("$SYS/broker/uptime", 0);
    for _ in 0..2 {
        alice.receives();
    }
    alice.publish(Publish::new("after/that", "something for everybody").qos(1));
    assert_eq!(mallory.receives().topic, "after/that");
}

#[test]
fn in_dev_mode_everybody_may_look() {
    let hub = Settings::dev().set("server.sys_interval", "100ms").start();
    let mut anybody = hub.person("anybody").connects();
    anybody.subscribe("$SYS/#", 0);
    let version = anybody.receives_on("$SYS/broker/version");
    assert_eq!(version.text(), concat!("hubbub version ", env!("CARGO_PKG_VERSION")));
    assert!(version.retain);
    let load = anybody.receives_on("$SYS/broker/load/messages/received/1min");
    assert!(load.text().parse::<f64>().is_ok(), "{load:?}");
}

#[test]
fn it_can_be_turned_off() {
    let hub = Settings::dev().set("server.sys_interval", "off").start();
    let mut alice = hub.person("alice").connects();
    alice.subscribe("$SYS/#", 0);
    alice.subscribe("x", 0);
    alice.publish(Publish::new("x", "nothing came before this"));
    assert_eq!(alice.receives().text(), "nothing came before this");
}

#[test]
fn what_is_stored_subscribed_and_in_flight_is_told() {
    let mut hub = hub();
    let bob = hub.person("bob").keeping_the_session();
    bob.clone().connects().subscribe("for/bob", 1);
    let mut carol = hub.person("carol").connects();
    carol.subscribe("news", 2);
    carol.subscribe("news", 1);
    carol.subscribe("$share/g/work", 0);
    for message in [
        Publish::new("for/bob", "1234").qos(1),
        Publish::new("kept", "56789").qos(1).retained(),
        Publish::new("news", "x").qos(1),
        Publish::new("news", "y").qos(2),
    ] {
        assert!(carol.publish(message).code < 0x80);
    }
    let filters = ["+/count", "+/+", "+/messages/+"];
    let mut board = Board::of(hub.person("alice").connects(), &filters);
    board.shows("retained messages/count", "1");
    board.shows("store/messages/count", "2");
    board.shows("store/messages/bytes", "9");
    board.shows("messages/inflight", "2");
    board.shows("publish/messages/received", "4");
    board.shows("subscriptions/count", "5");
    board.shows("shared_subscriptions/count", "1");
    for _ in 0..2 {
        carol.receives();
    }
    board.shows("messages/inflight", "0");
    let mut bob = bob.connects();
    assert_eq!(bob.receives().text(), "1234");
    board.shows("store/messages/count", "1");
    bob.unsubscribe("for/bob");
    carol.leaves();
    board.shows("subscriptions/count", "3");
    board.shows("shared_subscriptions/count", "0");
    hub.kill9();
    hub.restart();
    let mut board = Board::of(hub.person("alice").connects(), &["#"]);
    board.shows("retained messages/count", "1");
    board.shows("clients/total", "2");
    board.shows("publish/messages/received", "0");
}

#[test]
fn nothing_of_it_is_queued_or_stored() {
    let hub = hub();
    let mut alice = hub.person("alice").keeping_the_session().connects();
    alice.subscribe("$SYS/#", 2);
    assert_eq!(alice.receives_on("$SYS/broker/uptime").qos, 0);
    alice.vanishes();
    let mut root = hub.person("root").connects();
    root.subscribe("$SYS/broker/uptime", 0);
    root.receives();
    root.receives();
    let commits = metric(&hub, "commit_seconds_count");
    root.receives();
    assert_eq!(metric(&hub, "commit_seconds_count"), commits, "while time was told");
    assert_eq!(metric(&hub, "queued_messages_total"), 0);
}

#[test]
fn every_byte_and_packet_is_counted_once() {
    let hub = Settings::dev().set("server.sys_interval", "off").start();
    let mut socket = hub.socket();
    let script = [
        ("10 0d 0004 4d515454 04 02 0000 0001 61", "20 02 00 00"),
        ("82 06 0001 0001 74 01", "90 03 0001 01"),
        // Its own message comes back, then the acknowledgement.
        ("32 07 0001 74 0002 6869", "32 07 0001 74 8000 6869 40 02 0002"),
        ("40 02 8000 c0 00", "d0 00"),
    ];
    let (mut sent, mut heard) = (0, 0);
    for (ours, theirs) in script {
        socket.sends_hex(ours).hears_hex(theirs);
        sent += hubbub_tests::raw::hex(ours).len() as u64;
        heard += hubbub_tests::raw::hex(theirs).len() as u64;
    }
    eventually("the bytes are counted", || metric(&hub, "bytes_sent_total") == heard);
    for (name, expected) in [
        ("bytes_received_total", sent),
        ("packets_received_total", 5),
        ("packets_sent_total", 5),
        ("publishes_received_total", 1),
        ("publishes_sent_total", 1),
        ("publish_bytes_received_total", 2),
        ("publish_bytes_sent_total", 2),
        ("sockets_total", 1),
        ("connects_total", 1),
        ("in_flight", 0),
        ("subscriptions", 1),
        ("sessions", 1),
    ] {
        assert_eq!(metric(&hub, name), expected, "{name}");
    }
    socket.sends_hex("e0 00").is_closed();
    eventually("the session is gone", || metric(&hub, "sessions") == 0);
    assert_eq!(metric(&hub, "subscriptions"), 0);
}

#[test]
fn a_session_that_expires_takes_along_what_was_in_flight() {
    let settings = Settings::dev().set("server.sys_interval", "100ms").set("session.expiry_max", "1s");
    let hub = settings.set("presence.enabled", "false").start();
    let mut board = Board::of(hub.person("alice").connects(), &["+/+"]);
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("news", 1);
    hub.person("carol").connects().publish(Publish::new("news", "x").qos(1));
    bob.receives_without_ack();
    bob.vanishes();
    board.shows("messages/inflight", "1");
    board.shows("clients/expired", "1");
    board.shows("messages/inflight", "0");
}
