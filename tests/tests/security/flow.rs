//! What is in flight, in both directions: T5, T20, T22 to T25.

use std::collections::BTreeMap;

use hubbub_tests::tool::eventually;
use hubbub_tests::wire::{VERSIONS, Value, ack, puback};
use hubbub_tests::{Client, Connect, Hub, Publish, Settings, Version};

use crate::talk::{Talk, five};
use crate::{MIB, grows};

/// Guards: `Session::exceeds_receive_maximum` for MQTT 5; for 3.x, which has packet identifiers only, `Session::answer_repeat`
/// (session/inbound.rs).
#[test]
fn t05_identifiers_that_are_never_released_are_bounded() {
    const IDS: u16 = 20_000;
    let hub = Settings::dev().set("store.engine", "memory").set("log.level", "warn").start();
    let mut connect = Connect::new(Version::V5, "five");
    connect.props = connect.props.with(0x11, Value::Long(3600));
    let mut client = hub.client(connect);
    let Some(Value::Short(maximum)) = client.welcome.get(0x21).cloned() else { panic!("a receive maximum") };
    for id in 1..=maximum + 1 {
        client.send_publish(Publish::new("t", "x").qos(2).id(id));
    }
    (1..=maximum).for_each(|id| assert_eq!(client.receipt(2, id).code, 0x10));
    assert_eq!(client.is_closed().map(|(code, _)| code), Some(0x93), "one more than promised");
    let mut heir = hub.client(Connect::new(Version::V311, "heir"));
    heir.subscribe("t", 0);
    let mut old = hub.client(Connect::new(Version::V311, "old").persistent());
    let mut round = |count: u16| {
        for first in (1..=count).step_by(1000) {
            let ids = first..first + 1000;
            let packets =
                ids.clone().flat_map(|id| Publish::new("t", "x").qos(2).id(id).bytes(Version::V311));
            old.send(&packets.collect::<Vec<u8>>());
            ids.for_each(|id| drop(old.receipt(2, id)));
        }
    };
    round(IDS);
    (0..IDS).for_each(|_| assert_eq!(heir.receives().text(), "x"));
    let grown = grows(&hub, || (0..3).for_each(|_| round(IDS)));
    assert!(grown < 4 * MIB, "the same identifiers again: {} KiB", grown / 1024);
    heir.has_nothing_more();
}

/// Guards: the bound in `Edge::deliver_one` (edge/publish.rs), `Outbound::wait` (session/outbound.rs), and
/// `Edge::check_slow_reader` (edge/lifecycle.rs).
#[test]
fn t20_a_reader_that_does_not_read_or_acknowledge_costs_its_cap_and_hears_why() {
    let settings =
        Settings::dev().set("server.edges", "1").set("log.level", "info").set("store.engine", "memory");
    let settings = settings.set("limits.outbound_bytes", "1MiB").set("limits.slow_reader", "300ms");
    let hub = settings.set("session.queue_messages", "100").start();
    let mut alice = hub.client(Connect::new(Version::V5, "alice"));
    alice.subscribe("healthy", 0);
    // It reads and does not acknowledge: as many as are in flight, then as many as may wait.
    let mut connect = Connect::new(Version::V5, "debtor");
    connect.props = connect.props.with(0x21, Value::Short(10));
    let mut debtor = hub.client(connect);
    debtor.subscribe("t", 1);
    let dropped = hub.counter("deliveries_dropped_total");
    (0..500).for_each(|_| drop(alice.publish(Publish::new("t", "x").qos(1))));
    (0..10).for_each(|_| drop(debtor.receives_without_ack()));
    debtor.has_nothing_more();
    assert_eq!(hub.counter("deliveries_dropped_total") - dropped, 500 - 10 - 100);
    // It does not read. What the system keeps for it is not ours.
    let mut sloths: Vec<Client> = VERSIONS
        .iter()
        .map(|version| hub.client(Connect::new(*version, format!("sloth{version:?}"))))
        .collect();
    sloths.iter_mut().for_each(|sloth| sloth.subscribe("film", 0));
    let dropped = hub.counter("deliveries_dropped_total");
    let grown = grows(&hub, || {
        for _ in 0..400 {
            alice.publish(Publish::new("film", vec![b'x'; 100_000]));
            alice.publish(Publish::new("healthy", "still here"));
            alice.receives();
        }
    });
    assert!(hub.counter("deliveries_dropped_total") > dropped, "nothing was dropped");
    assert!(grown < 24 * MIB, "40 MB for three who do not read: {} MiB", grown / MIB);
    eventually("they are given up", || hub.counter("slow_readers_total") == 3);
    for sloth in &mut sloths {
        // What was sent before is read first.
        let reason = sloth.is_closed().map(|(code, _)| code);
        assert_eq!(reason, (sloth.version() == Version::V5).then_some(0x97), "{:?}", sloth.version());
    }
    alice.pings();
    debtor.pings();
    hub.is_healthy();
}

/// Guards: `check_range` (codec/properties/block.rs), `Session::topic_of` (session/inbound.rs), `Inbound::begin` and `suspend`,
/// `Aliases::offer` (session/aliases.rs).
#[test]
fn t22_topic_aliases_are_capped_and_of_one_connection() {
    five("a connects \n a > 30 ~ <t> {23 0000} 'x' \n a ends 94");
    five("a connects \n a > 30 ~ <t> {23 0011} 'x' \n a ends 94");
    five("a connects \n a > 30 ~ <t> {23 ffff} 'x' \n a ends 94");
    five("a connects \n a > 30 ~ <> {23 0001} 'x' \n a ends 82");
    five(
        "b connects
          b subscribes <%/#> 00
          a persists
          a > 30 ~ <%/t> {23 0010} 'x' ; 30 ~ <> {23 0010} 'y'
          b < 30 ~ <%/t> {} 'x'
          b < 30 ~ <%/t> {} 'y'
          c connects
          c > 30 ~ <> {23 0010} 'x'
          c ends 82
          a gone
          a resumes
          a > 30 ~ <> {23 0010} 'x'
          a ends 82
          b quiet",
    );
    // Towards the client: as many as it takes, and none that it was not told on this connection.
    let mut talk = Talk::new(Version::V5);
    let connect = "b > CONNECT 00 0000 {11 00000e10 22 0001} <b%>";
    talk.goes(&format!("{connect} \n b < 20 ~ 00 00 {{*}} \n b subscribes <%/#> 00 \n a connects"));
    for present in ["", "01"] {
        if !present.is_empty() {
            talk.goes(&format!("b gone \n {connect} \n b < 20 ~ 01 00 {{*}}"));
        }
        talk.goes(
            "a > 30 ~ <%/t> {} 'x' ; 30 ~ <%/u> {} 'x' ; 30 ~ <%/t> {} 'y'
             b < 30 ~ <%/t> {23 0001} 'x'
             b < 30 ~ <%/u> {} 'x'
             b < 30 ~ <> {23 0001} 'y'",
        );
    }
}

/// Guards: `Outbound::is_full` (session/outbound.rs), `Session::exceeds_receive_maximum` (session/inbound.rs), the size asked in
/// `Fanout::write` (session/fanout.rs), `Decoder::check_size` (codec/decode.rs).
#[test]
fn t23_windows_and_sizes_hold_in_both_directions_and_nothing_stalls() {
    for comes in ["02 0000 {21 0002", "00 0000 {11 00000e10 21 0002"] {
        five(&format!(
            "b > CONNECT {comes} 27 00000028}} <b%>
             b < 20 ~ 00 00 {{*}}
             b subscribes <%/t> 02
             a connects
             a > 32 ~ <%/t> 0001 {{}} 'one'
             a > 32 ~ <%/t> 0002 {{}} 'more than forty bytes, whatever the topic is called'
             a > 34 ~ <%/t> 0003 {{}} 'two'
             a > 34 ~ <%/t> 0004 {{}} 'more than forty bytes, whatever the topic is called'
             a > 32 ~ <%/t> 0005 {{}} 'three'
             b < 32 ~ <%/t> $one {{}} 'one'
             b < 34 ~ <%/t> $two {{}} 'two'
             b quiet
             b > 40 02 $one
             b < 32 ~ <%/t> $three {{}} 'three'
             b > 40 02 $three
             b > 50 02 $two
             b < 62 02 $two
             b > 70 02 $two
             b quiet"
        ));
    }
    // A queue that waited, with the large one first.
    five(
        "b persists
          b subscribes <%/t> 01
          b > e0 00
          b closed
          a connects
          a > 32 ~ <%/t> 0001 {} 'more than forty bytes, whatever the topic is called'
          a < 40 02 0001
          a > 32 ~ <%/t> 0002 {} 'small'
          a < 40 02 0002
          b > CONNECT 00 0000 {11 00000e10 21 0001 27 00000028} <b%>
          b < 20 ~ 01 00 {*}
          b < 32 ~ <%/t> $p {} 'small'
          b > 40 02 $p
          b quiet",
    );
    let hub = Settings::dev().set("limits.packet_bytes", "64KiB").set("chat.body_max_bytes", "1KiB").start();
    let mut client = hub.client(Connect::new(Version::V5, "a"));
    assert_eq!(client.welcome.get(0x27), Some(&Value::Long(65_536)));
    client.publish(Publish::new("t", vec![b'x'; 65_500]).qos(1));
    client.send_publish(Publish::new("t", vec![b'x'; 65_600]).qos(1));
    assert_eq!(client.is_closed().map(|(code, _)| code), Some(0x95));
    let mut client = hub.client(Connect::new(Version::V5, "a"));
    let Some(Value::Short(maximum)) = client.welcome.get(0x21).cloned() else { panic!("a receive maximum") };
    for id in 1..=maximum + 1 {
        client.send_publish(Publish::new("t", "x").qos(2).id(id));
    }
    (1..=maximum).for_each(|id| assert_eq!(client.receipt(2, id).code, 0x10));
    assert_eq!(client.is_closed().map(|(code, _)| code), Some(0x93));
}

/// Guards: `Outbound::free_id` and `begin`, which go on where the last connection stopped (session/outbound.rs), and what
/// `Reader::new` is told to be in flight (session/reader.rs).
#[test]
fn t24_no_identifier_is_in_flight_twice_over_any_number_of_resumes() {
    let hub = Settings::dev().set("store.engine", "memory").start();
    let mut alice = hub.person("alice").connects();
    for version in VERSIONS {
        // Devices of one user share what was taken of their inbox.
        let name = format!("bob{version:?}");
        let mut bob = hub.person(&name).speaking(version).keeping_the_session().connects();
        bob.subscribe("room/1", 2);
        let inbox = bob.inbox();
        bob.subscribe(&inbox, 1);
        let mut in_flight: BTreeMap<u16, Publish> = BTreeMap::new();
        // Between PUBREL and PUBCOMP.
        let mut released: Vec<u16> = Vec::new();
        for round in 0..6 {
            for id in &released {
                bob.is_released(*id);
            }
            for _ in 0..in_flight.len() {
                let again = bob.receives_without_ack();
                let before =
                    in_flight.get(&again.id).unwrap_or_else(|| panic!("{} was never sent", again.id));
                assert_eq!(again, before.clone().again(), "{version:?}, round {round}");
            }
            for number in 0..10 {
                alice.publish(Publish::new("room/1", format!("{round} {number}")).qos(1 + number % 2));
                alice.says(&name, "hi");
            }
            for _ in 0..20 {
                let new = bob.receives_without_ack();
                assert!(!new.dup, "{version:?}, round {round}: {new:?}");
                assert!(!released.contains(&new.id), "{version:?}, round {round}: {new:?} has no PUBCOMP");
                let twice = in_flight.insert(new.id, new);
                assert_eq!(twice, None, "{version:?}, round {round}: one identifier in flight twice");
            }
            // A queue is acknowledged in any order; an inbox has one cursor, so it is taken from its beginning.
            let (inbox, queue): (Vec<u16>, Vec<u16>) = in_flight.keys().partition(|id| **id >= 0x8000);
            let done: Vec<u16> = queue.into_iter().step_by(3).chain(inbox.into_iter().take(7)).collect();
            for id in done {
                if in_flight.remove(&id).is_some_and(|message| message.qos == 1) {
                    bob.send(&puback(ack::PUBACK, id));
                } else {
                    bob.send(&puback(ack::PUBREC, id));
                    bob.is_released(id);
                    released.push(id);
                }
            }
            for id in released.drain(..released.len() / 2) {
                bob.send(&puback(ack::PUBCOMP, id));
            }
            bob.has_nothing_more();
            bob = bob.vanishes().connects();
        }
        for id in released {
            bob.is_released(id);
            bob.send(&puback(ack::PUBCOMP, id));
        }
        for _ in 0..in_flight.len() {
            bob.receives();
        }
        bob.unsubscribe(&inbox);
        bob.unsubscribe("room/1");
    }
}

/// Guards: the identifier goes to disk with its message (`remember` in session/inbound.rs), a repeat is answered and not
/// forwarded (`Session::answer_repeat`), identifiers come back from disk (`Session::restore_unreleased`).
#[test]
fn t25_qos_2_is_exactly_once_over_a_crash_and_a_resume() {
    let mut hub = Hub::start();
    for version in VERSIONS {
        let bob = hub.person("bob").on(&format!("phone{version:?}")).speaking(version).keeping_the_session();
        let mut first = bob.connects();
        first.subscribe("room/1", 2);
        let bob = first.leaves();
        let alice =
            hub.person("alice").on(&format!("desk{version:?}")).speaking(version).keeping_the_session();
        let mut alice = alice.connects();
        let once = Publish::new("room/1", "once").qos(2).id(5);
        alice.send_publish(once.clone());
        assert_eq!(alice.receipt(2, 5).code, 0);
        let mut alice = alice.vanishes().connects();
        alice.send_publish(once.clone().again());
        assert_eq!(alice.receipt(2, 5).code, 0);
        let alice = alice.vanishes();
        hub.kill9();
        hub.restart();
        let mut alice = alice.connects();
        alice.send_publish(once.clone().again());
        assert_eq!(alice.receipt(2, 5).code, 0);
        alice.send(&match version {
            // With a reason string and a user property.
            Version::V5 => hubbub_tests::raw::hex("62 0f 0005 00 0b 1f 0001 72 26 0001 6b 0001 76"),
            _ => puback(ack::PUBREL, 5),
        });
        alice.is_completed(5);
        // Released, so it is another message.
        alice.publish(Publish::new("room/1", "twice").qos(2).id(5));
        let mut bob = bob.connects();
        let message = bob.receives_without_ack();
        assert_eq!((message.text(), message.qos), ("once".into(), 2), "{version:?}");
        bob.send(&puback(ack::PUBREC, message.id));
        bob.is_released(message.id);
        let bob = bob.vanishes();
        hub.kill9();
        hub.restart();
        // The first is the client's already: only its handshake goes on.
        let mut bob = bob.connects();
        bob.is_released(message.id);
        bob.send(&puback(ack::PUBCOMP, message.id));
        assert_eq!(bob.receives().text(), "twice", "{version:?}");
        bob.unsubscribe("room/1");
        bob.has_nothing_more();
    }
}
