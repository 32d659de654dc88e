//! Somebody who was away gets everything missed, once, in order.

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, Person, Publish, Version, json, message};

#[test]
fn somebody_away_gets_three_messages_once_and_in_order_after_kill_9() {
    let mut hub = Hub::start();
    let phone = hub.person("bob").on("bob-phone").keeping_the_session().arrives().leaves();
    for text in ["one", "two", "three"] {
        hub.person("alice").arrives().says("bob", text);
    }
    hub.kill9();
    hub.restart();
    let mut bob = phone.connects();
    assert!(bob.session_present, "the session survives");
    bob.sees(message("one").seq(1));
    bob.sees(message("two").seq(2));
    bob.sees(message("three").seq(3));
    hub.person("alice").arrives().says("bob", "four");
    bob.sees(message("four").seq(4));
}

#[test]
fn the_same_holds_for_a_3_1_1_client_and_an_orderly_restart() {
    let mut hub = Hub::start();
    let phone = hub.person("bob").speaking(Version::V311).keeping_the_session().arrives().leaves();
    for text in ["one", "two", "three"] {
        hub.person("alice").speaking(Version::V31).arrives().says("bob", text);
    }
    hub.stop();
    hub.restart();
    let mut bob = phone.connects();
    for (text, seq) in [("one", 1), ("two", 2), ("three", 3)] {
        bob.sees(message(text).seq(seq));
    }
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let mut hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().arrives();
    let mut alice = hub.person("alice").arrives();
    for text in ["one", "two"] {
        alice.says("bob", text);
    }
    bob.sees(message("one").seq(1));
    bob.sees(message("two").seq(2));
    let phone = bob.leaves();
    alice.says("bob", "three");
    hub.kill9();
    hub.restart();
    phone.connects().sees(message("three").seq(3));
}

#[test]
fn what_was_delivered_but_not_acknowledged_comes_again() {
    let mut hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().arrives();
    hub.person("alice").arrives().says("bob", "read me");
    let inbox = bob.inbox();
    bob.receives_on_without_ack(&inbox);
    let mut phone = bob.vanishes();
    for _ in 0..2 {
        let mut bob = phone.connects();
        bob.receives_on_without_ack(&inbox);
        phone = bob.vanishes();
    }
    hub.kill9();
    hub.restart();
    phone.connects().sees(message("read me").seq(1));
}

#[test]
fn each_device_has_its_own_place_in_the_inbox() {
    let hub = Hub::start();
    let phone = hub.person("bob").on("phone").keeping_the_session().arrives();
    let laptop = hub.person("bob").on("laptop").keeping_the_session().arrives().leaves();
    let mut alice = hub.person("alice").arrives();
    alice.says("bob", "one");
    let mut phone = phone;
    phone.sees(message("one"));
    let phone = phone.leaves();
    alice.says("bob", "two");
    phone.connects().sees(message("two").seq(2));
    let mut laptop = laptop.connects();
    laptop.sees(message("one").seq(1));
    laptop.sees(message("two").seq(2));
}

#[test]
fn who_leaves_the_inbox_and_comes_back_in_the_midst_of_messages_sees_each_once() {
    let hub = Hub::start();
    for version in VERSIONS {
        let name = format!("bob{version:?}");
        let mut bob = hub.person(&name).speaking(version).keeping_the_session().arrives();
        let mut alice = hub.person("alice").arrives();
        let inbox = bob.inbox();
        for round in 0..12 {
            let message_of =
                |id: u16| Publish::new(format!("dm/{name}"), format!("{round} {id}")).qos(1).id(id);
            let messages: Vec<Publish> = (1..=20).map(message_of).collect();
            alice.sends_all(&messages);
            if round % 2 == 0 {
                bob.unsubscribe(&inbox);
                bob.subscribe(&inbox, 1);
            } else {
                bob = bob.vanishes().connects();
            }
            alice.finishes_all(&messages);
            for said in &messages {
                bob.sees(message(&said.text()).seq(20 * round + u64::from(said.id)));
            }
            bob.has_nothing_more();
        }
    }
}

#[test]
fn who_reads_the_inbox_at_qos_0_from_now_on_still_sees_what_was_on_its_way() {
    let hub = Hub::start();
    for (version, kept) in VERSIONS.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        let name = format!("bob{version:?}{kept}");
        let phone = hub.person(&name).speaking(version);
        let mut phone = if kept { phone.keeping_the_session() } else { phone }.arrives();
        let mut laptop = hub.person(&name).on(&format!("{name}-laptop")).arrives();
        let mut alice = hub.person("alice").arrives();
        // More than a page, and more than may be in flight.
        let message_of = |id: u16| Publish::new(format!("dm/{name}"), id.to_string()).qos(1).id(id);
        let messages: Vec<Publish> = (1..=700).map(message_of).collect();
        alice.sends_all(&messages);
        alice.finishes_all(&messages);
        // What another device takes is not taken from this one.
        (1..=700).for_each(|number| assert_eq!(json(&laptop.receives())["seq"], number));
        laptop.pings();
        let (first, inbox) = (phone.receives_without_ack(), phone.inbox());
        phone.subscribe(&inbox, 0);
        phone.acknowledges(&first);
        for number in 2..=700 {
            assert_eq!(json(&phone.receives())["seq"], number, "{version:?}, {kept}");
        }
        phone.has_nothing_more();
    }
}

#[test]
fn more_than_one_window_of_missed_messages_arrives_whole() {
    let mut hub = Hub::start();
    let phone = hub.person("bob").keeping_the_session().arrives().leaves();
    let mut alice = talks_on_and_on(&hub, 500);
    for id in 1..=500 {
        assert_eq!(alice.receipt(1, id).code, 0);
    }
    hub.kill9();
    hub.restart();
    let mut bob = phone.connects();
    for number in 1..=500 {
        bob.sees(message(&format!("message {number}")).seq(number));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails_in_the_middle_of_a_burst() {
    for acknowledged in [1, 40, 250] {
        let mut hub = Hub::start();
        let phone = hub.person("bob").keeping_the_session().arrives().leaves();
        let mut alice = talks_on_and_on(&hub, 400);
        for id in 1..=acknowledged {
            assert_eq!(alice.receipt(1, id).code, 0);
        }
        hub.kill9();
        hub.restart();
        hub.person("alice").arrives().says("bob", "the end");
        let mut bob = phone.connects();
        for number in 1.. {
            let seen = bob.takes_envelope();
            assert_eq!(seen["seq"], number, "no gap, nothing twice: {seen}");
            if seen["body"] == "the end" {
                assert!(
                    number > u64::from(acknowledged),
                    "{acknowledged} were acknowledged, {number} is the end"
                );
                break;
            }
            assert_eq!(seen["body"], format!("message {number}"));
        }
    }
}

#[test]
fn numbers_go_on_where_they_stopped_after_kill_9() {
    let mut hub = Hub::start();
    hub.person("alice").arrives().says("bob", "before");
    hub.kill9();
    hub.restart();
    let receipt = hub.person("alice").arrives().says("bob", "after");
    assert_eq!(receipt.props.user("seq"), Some("2"), "{receipt:?}");
}

/// Alice, who has sent this many messages to bob and looked at no acknowledgement yet. In 3.1.1, where no Receive Maximum
/// stops her.
fn talks_on_and_on(hub: &Hub, count: u16) -> Person {
    let mut alice = hub.person("alice").speaking(Version::V311).connects();
    for number in 1..=count {
        alice.send_publish(Publish::new("dm/bob", format!("message {number}")).qos(1));
    }
    alice
}
