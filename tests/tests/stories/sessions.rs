//! Sessions: what outlives a connection, and what does not.

use hubbub_tests::wire::{VERSIONS, Value, ack, puback};
use hubbub_tests::{Connect, Hub, Publish, Version, tool};

#[test]
fn messages_wait_for_a_persistent_session_over_restart_and_kill_9() {
    let mut hub = Hub::start();
    for version in VERSIONS {
        let phone = hub.person("bob").on(&format!("phone{}", version as u8)).speaking(version);
        let mut bob = phone.keeping_the_session().connects();
        assert!(!bob.session_present);
        bob.subscribe("room/+", 2);
        let phone = bob.leaves();
        let mut alice = hub.person("alice").connects();
        for (qos, text) in [(1, "at least once"), (2, "exactly once")] {
            alice.publish(Publish::new("room/1", text).qos(qos));
        }
        if version == Version::V31 {
            hub.stop();
        } else {
            hub.kill9();
        }
        hub.restart();
        let mut bob = phone.connects();
        // 3.1 has no such flag, only a reserved byte.
        assert!(bob.session_present || version == Version::V31, "{version:?}");
        for (qos, text) in [(1, "at least once"), (2, "exactly once")] {
            let message = bob.receives();
            assert_eq!((message.text().as_str(), message.qos), (text, qos), "{version:?}");
        }
        bob.unsubscribe("room/+");
        bob.has_nothing_more();
    }
}

#[test]
fn a_session_that_a_clean_connection_forgot_is_not_there_after_kill_9_either() {
    let mut hub = Hub::start();
    // 3.1 does not say whether there was one.
    for version in [Version::V311, Version::V5] {
        for round in 0..3 {
            let id = format!("phone{version:?}{round}");
            let kept = || Connect::new(version, &id).persistent();
            hub.client(kept()).subscribe("room/1", 1);
            hub.client(Connect::new(version, &id));
            hub.kill9();
            hub.restart();
            assert!(!hub.client(kept()).session_present, "{version:?}, round {round}");
        }
    }
}

#[test]
fn a_clean_connection_forgets_everything_before_it() {
    let hub = Hub::start();
    for version in VERSIONS {
        let kept = hub.person("bob").speaking(version).keeping_the_session();
        let mut bob = kept.clone().connects();
        bob.subscribe("room/1", 1);
        bob.leaves();
        hub.person("alice").connects().publish(Publish::new("room/1", "missed").qos(1));
        let bob = hub.person("bob").speaking(version).connects();
        assert!(!bob.session_present, "{version:?}");
        bob.leaves();
        let mut bob = kept.connects();
        assert!(!bob.session_present, "{version:?}: the clean connection in between ended the session");
        bob.has_nothing_more();
        bob.leaves();
        hub.person("bob").speaking(version).connects().leaves();
    }
}

#[test]
fn messages_at_qos_0_do_not_wait() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("room/1", 1);
    let phone = bob.leaves();
    let mut alice = hub.person("alice").connects();
    alice.publish(Publish::new("room/1", "live only"));
    alice.publish(Publish::new("room/1", "kept").qos(1));
    assert_eq!(phone.connects().receives().text(), "kept");
}

#[test]
fn the_lower_of_both_qualities_is_delivered() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    for granted in 0..=2 {
        let mut bob = hub.person("bob").connects();
        bob.subscribe("room/1", granted);
        for sent in 0..=2 {
            alice.publish(Publish::new("room/1", "hi").qos(sent));
            assert_eq!(bob.receives().qos, granted.min(sent), "sent at {sent}, subscribed at {granted}");
        }
        bob.leaves();
    }
}

#[test]
fn an_unacknowledged_message_comes_again_with_dup_and_the_same_id() {
    let mut hub = Hub::start();
    for qos in [1, 2] {
        let mut bob = hub.person("bob").on(&format!("phone{qos}")).keeping_the_session().connects();
        bob.subscribe("room/1", qos);
        hub.person("alice").connects().publish(Publish::new("room/1", "read me").qos(qos));
        let first = bob.receives_without_ack();
        assert!(!first.dup);
        let mut bob = bob.vanishes().connects();
        let second = bob.receives_without_ack();
        assert_eq!((second.text(), second.dup, second.id), ("read me".into(), true, first.id), "QoS {qos}");
        let phone = bob.vanishes();
        hub.kill9();
        hub.restart();
        let mut bob = phone.connects();
        assert_eq!(bob.receives().text(), "read me", "QoS {qos}");
        bob.unsubscribe("room/1");
        bob.has_nothing_more();
    }
}

#[test]
fn a_qos_2_message_sent_again_after_a_reconnect_is_delivered_once() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("room/1", 2);
    let mut alice = hub.person("alice").keeping_the_session().connects();
    alice.send_publish(Publish::new("room/1", "once").qos(2).id(5));
    assert_eq!(alice.receipt(2, 5).code, 0);
    let mut alice = alice.vanishes().connects();
    alice.publish(Publish::new("room/1", "once").qos(2).id(5).again());
    alice.publish(Publish::new("room/1", "next").qos(2).id(6));
    assert_eq!(bob.receives().text(), "once");
    assert_eq!(bob.receives().text(), "next");
}

#[test]
fn a_session_of_mqtt_5_ends_with_its_expiry() {
    let hub = Hub::start();
    let mut connect = Connect::new(Version::V5, "phone").user("bob");
    connect.clean = false;
    // No expiry: the session ends with the connection (§3.1.2.11.2).
    hub.client(connect.clone()).leaves();
    assert!(!hub.client(connect.clone()).session_present);
    connect.props = connect.props.with(0x11, Value::Long(100));
    hub.client(connect.clone()).leaves();
    assert!(hub.client(connect).session_present);
}

#[test]
fn the_same_device_connecting_again_takes_over_and_the_old_one_is_told() {
    let hub = Hub::start();
    let mut first = hub.person("bob").on("phone").arrives();
    let mut second = hub.person("bob").on("phone").arrives();
    assert_eq!(first.is_closed().map(|(code, _)| code), Some(0x8e));
    hub.person("alice").arrives().says("bob", "hi");
    second.sees(hubbub_tests::message("hi"));
    let mut third = hub.person("bob").on("phone").speaking(Version::V311).arrives();
    assert_eq!(second.is_closed().map(|(code, _)| code), Some(0x8e));
    let _fourth = hub.person("bob").on("phone").arrives();
    assert_eq!(third.is_closed(), None, "3.1.1 has no words for it: the connection closes");
}

#[test]
fn a_device_belongs_to_the_user_who_first_used_it() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").on("phone").keeping_the_session().arrives();
    let mallory = Connect::new(Version::V5, "phone").user("mallory");
    let refused = hubbub_tests::Client::connect(hub.mqtt(), mallory).err();
    assert!(refused.is_some(), "another user may not use bob's client id");
    hub.person("alice").arrives().says("bob", "still there?");
    bob.sees(hubbub_tests::message("still there?"));
}

#[test]
fn a_client_without_an_id_is_given_one() {
    let hub = Hub::start();
    let welcome = hub.client(Connect::new(Version::V5, "").user("bob")).welcome.clone();
    assert!(welcome.text(0x12).is_some_and(|id| !id.is_empty()), "{welcome:?}");
    hub.client(Connect::new(Version::V311, "").user("bob")).pings();
}

#[test]
fn a_session_that_its_last_connection_did_not_want_to_keep_is_gone_for_good() {
    let mut hub = Hub::start();
    for (user, stays) in [(None, false), (Some("bob"), false), (None, true), (Some("bob"), true)] {
        let connect = Connect { user: user.map(Into::into), ..Connect::new(Version::V5, "phone") };
        let mut kept = hub.client(connect.clone().persistent());
        kept.subscribe("room/1", 1);
        kept.leaves();
        let last = hub.client(Connect { clean: false, ..connect.clone() });
        assert!(last.session_present);
        let last = if stays {
            Some(last)
        } else {
            last.leaves();
            None
        };
        let mut alice = hub.person("alice").connects();
        alice.publish(Publish::new("room/1", "nobody is there").qos(1).retained());
        hub.kill9();
        drop(last);
        hub.restart();
        let mut alice = hub.person("alice").connects();
        tool::eventually("nobody is subscribed any more", || {
            alice.publish(Publish::new("room/1", "is anybody there?").qos(1)).code == 0x10
        });
        let back = hub.client(connect.persistent());
        assert!(!back.session_present, "{user:?}");
        back.leaves();
        hub.client(Connect { user: user.map(Into::into), ..Connect::new(Version::V5, "phone") }).leaves();
    }
}

#[test]
fn qos_2_is_exactly_once_in_both_directions_over_kill_9() {
    let mut hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("room/1", 2);
    let mut alice = hub.person("alice").keeping_the_session().connects();
    alice.send_publish(Publish::new("room/1", "first").qos(2).id(5));
    assert_eq!(alice.receipt(2, 5).code, 0);
    let first = bob.receives_without_ack();
    bob.send(&puback(ack::PUBREC, first.id));
    bob.is_released(first.id);
    hub.kill9();
    hub.restart();
    // Bob has it already: what comes again is the release, and what follows has another identifier.
    let mut bob = bob.vanishes().connects();
    bob.is_released(first.id);
    let mut alice = alice.vanishes().connects();
    alice.publish(Publish::new("room/1", "first").qos(2).id(5).again());
    alice.publish(Publish::new("room/1", "second").qos(2).id(5));
    let second = bob.receives_without_ack();
    assert_eq!(
        second.text(),
        "second",
        "the repeat of the first one was recognised, and its identifier is free"
    );
    assert_ne!(second.id, first.id);
    bob.send(&puback(ack::PUBCOMP, first.id));
    bob.acknowledges(&second);
    bob.has_nothing_more();
    let mut bob = bob.vanishes().connects();
    alice.publish(Publish::new("room/1", "third").qos(2));
    assert_eq!(bob.receives().text(), "third");
}
