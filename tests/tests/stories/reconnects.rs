//! Devices that come and go while messages are on their way: nothing is lost, nothing skipped, nothing twice.

use std::time::Duration;

use hubbub_tests::person::envelope;
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::{Value, ack, puback};
use hubbub_tests::{Client, Connect, Hub, Publish, Settings, Version};

#[test]
fn a_device_that_takes_itself_over_while_reading_misses_nothing() {
    const MESSAGES: u64 = 1500;
    let hub = Settings::dev().set("server.edges", "1").set("limits.takeovers", "off").start();
    let phone = phone(3600, 10);
    let mut reader = hub.client(phone.clone());
    reader.subscribe("u/bob/inbox", 1);
    talks(&hub, MESSAGES);
    let mut last = 0;
    for round in 0.. {
        for _ in 0..28 + round * 17 % 33 {
            if last == MESSAGES {
                break;
            }
            last = last.max(takes_next(&mut reader, last));
        }
        // The one before is still connected.
        reader = hub.client(phone.clone());
        assert!(reader.session_present, "round {round}");
        if last == MESSAGES {
            break;
        }
    }
    hub.person("alice").connects().says("bob", "the end");
    while takes_next(&mut reader, last) <= MESSAGES {}
    reader.has_nothing_more();
}

#[test]
fn what_is_in_flight_comes_once_more_and_not_twice_when_the_acks_are_quick() {
    let hub = Settings::dev().set("server.edges", "1").start();
    for version in [Version::V311, Version::V5] {
        for (inbox, to) in [("room/1", "room/1"), ("u/bob/inbox", "dm/bob")] {
            let device = format!("{to}{}", version as u8);
            let mut bob = hub.person("bob").on(&device).speaking(version).keeping_the_session().connects();
            bob.subscribe(inbox, 1);
            let mut alice = hub.person("alice").connects();
            for number in 1..=5 {
                alice.publish(Publish::new(to, format!("message {number}")).qos(1));
            }
            let first: Vec<Publish> = (0..5).map(|_| bob.receives_without_ack()).collect();
            let mut bob = bob.vanishes().connects();
            let acks: Vec<u8> = first.iter().flat_map(|message| puback(ack::PUBACK, message.id)).collect();
            bob.send(&acks);
            for before in first {
                let again = bob.receives_without_ack();
                assert_eq!(again, before.again(), "{version:?} on {inbox}");
            }
            alice.publish(Publish::new(to, "the end").qos(1));
            let next = bob.receives();
            assert!(!next.dup && next.text().contains("the end"), "{version:?} on {inbox}: {next:?}");
            bob.unsubscribe(inbox);
            bob.has_nothing_more();
        }
    }
    hub.is_healthy();
}

#[test]
fn a_session_expires_that_long_after_its_connection_and_not_after_its_beginning() {
    let mut hub = Hub::start();
    let phone = phone(3, 10);
    let mut bob = hub.client(phone.clone());
    bob.subscribe("room/1", 1);
    let mut alice = hub.person("alice").connects();
    alice.publish(Publish::new("room/1", "not acknowledged").qos(1));
    assert_eq!(bob.receives_without_ack().text(), "not acknowledged");
    bob.stays_for(Duration::from_secs(4));
    alice.publish(Publish::new("room/1", "not even read").qos(1));
    hub.kill9();
    hub.restart();
    // What is over ends within a moment.
    hub.person("alice").connects().stays_for(Duration::from_millis(500));
    let mut bob = hub.client(phone);
    assert!(bob.session_present, "its connection ended only a moment ago");
    assert_eq!(bob.receives().text(), "not acknowledged");
    assert_eq!(bob.receives().text(), "not even read");
}

#[test]
fn a_session_that_is_told_to_expire_at_once_is_gone() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    let mut bob = hub.client(phone(3600, 10));
    bob.subscribe("room/1", 1);
    assert_eq!(alice.publish(Publish::new("room/1", "for bob").qos(1)).code, 0);
    // DISCONNECT with a session expiry interval of 0 (§3.14.2.2.2).
    bob.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    eventually("nobody is subscribed to room/1", || {
        alice.publish(Publish::new("room/1", "for nobody").qos(1)).code == 0x10
    });
    let mut again = phone(3600, 10);
    again.clean = false;
    let mut bob = hub.client(again);
    assert!(!bob.session_present);
    bob.has_nothing_more();
}

#[test]
fn large_messages_for_somebody_away_arrive_whole_and_in_order() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("films/1", 1);
    let phone = bob.leaves();
    let mut alice = hub.person("alice").connects();
    for number in 0..30u8 {
        let receipt = alice.publish(Publish::new("films/1", vec![number; 900_000]).qos(1));
        assert_eq!(receipt.code, 0, "message {number}");
    }
    let mut bob = phone.connects();
    for number in 0..30u8 {
        let message = bob.receives();
        let whole = message.payload.len() == 900_000 && message.payload.iter().all(|byte| *byte == number);
        assert!(whole && !message.dup, "message {number}");
    }
    bob.has_nothing_more();
}

#[test]
fn two_filters_with_the_same_group_name_are_two_groups() {
    let mut hub = Hub::start();
    let mut members = [("wide", "$share/g/a/#"), ("narrow", "$share/g/a/b")].map(|(name, filter)| {
        let mut member = hub.person(name).keeping_the_session().connects();
        member.subscribe(filter, 1);
        member
    });
    let mut alice = hub.person("alice").connects();
    for text in ["one", "two"] {
        alice.publish(Publish::new("a/b", text).qos(1));
    }
    for member in &mut members {
        assert_eq!([member.receives().text(), member.receives().text()], ["one", "two"]);
    }
    let away = members.map(|member| member.leaves());
    alice.publish(Publish::new("a/b", "missed").qos(1));
    hub.kill9();
    hub.restart();
    hub.person("alice").connects().publish(Publish::new("a/b", "missed after the restart").qos(1));
    for member in away {
        let mut member = member.connects();
        assert_eq!(member.receives().text(), "missed");
        assert_eq!(member.receives().text(), "missed after the restart");
        member.has_nothing_more();
    }
}

/// A device of bob that speaks MQTT 5, with a session of so many seconds, and takes so many messages at a time.
fn phone(expiry: u32, receive_maximum: u16) -> Connect {
    let mut connect = Connect::new(Version::V5, "bob-phone").user("bob");
    connect.clean = false;
    connect.props = connect.props.with(0x11, Value::Long(expiry)).with(0x21, Value::Short(receive_maximum));
    connect
}

/// Alice says so much to bob, and the hub has it all.
fn talks(hub: &Hub, messages: u64) {
    let mut alice = hub.person("alice").connects();
    let ids: Vec<u16> =
        (1..=messages).map(|n| alice.send_publish(Publish::new("dm/bob", format!("{n}")).qos(1))).collect();
    for id in ids {
        assert!(alice.receipt(1, id).code < 0x80);
    }
}

/// Takes the next message of the inbox; its `n`, which is one of those before or the one after the last.
fn takes_next(reader: &mut Client, last: u64) -> u64 {
    let message = reader.receives();
    let n = envelope(&message)["n"].as_u64().unwrap();
    assert!(n == last + 1 || n <= last && message.dup, "{n} after {last}, dup {}", message.dup);
    n
}
