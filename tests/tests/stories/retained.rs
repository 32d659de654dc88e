//! Retained messages.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_tests::tool::eventually;
use hubbub_tests::wire::{VERSIONS, Value};
use hubbub_tests::{Hub, Person, Publish, Settings, Version};

#[test]
fn the_last_retained_message_waits_for_new_subscribers() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    for (qos, text) in [(0, "first"), (1, "second"), (2, "third")] {
        alice.publish(Publish::new("news/today", text).qos(qos).retained());
    }
    alice.pings();
    for version in VERSIONS {
        let mut bob = hub.person("bob").speaking(version).connects();
        bob.subscribe("news/+", 2);
        let news = bob.receives();
        assert_eq!((news.text().as_str(), news.retain, news.qos), ("third", true, 2), "{version:?}");
        bob.leaves();
    }
}

#[test]
fn an_empty_retained_message_clears_it() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    alice.publish(Publish::new("news/today", "old").qos(1).retained());
    alice.publish(Publish::new("news/today", "").qos(1).retained());
    alice.publish(Publish::new("news/tomorrow", "new").qos(1).retained());
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/#", 1);
    assert_eq!(bob.receives().text(), "new");
    bob.has_nothing_more();
}

#[test]
fn somebody_already_subscribed_does_not_see_the_flag() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/today", 1);
    hub.person("alice").connects().publish(Publish::new("news/today", "now").qos(1).retained());
    let news = bob.receives();
    assert_eq!((news.text().as_str(), news.retain), ("now", false));
}

#[test]
fn mqtt_5_options_decide_about_flag_and_replay() {
    let hub = Hub::start();
    hub.person("alice").connects().publish(Publish::new("news/today", "now").qos(1).retained());
    let (retain_as_published, only_if_new, never) = (0x08, 0x10, 0x20);
    let mut bob = hub.person("bob").connects();
    assert_eq!(bob.try_subscribe("news/today", 1 | never), 1);
    bob.has_nothing_more();
    assert_eq!(bob.try_subscribe("news/+", 1 | only_if_new | retain_as_published), 1);
    assert_eq!(bob.receives().text(), "now");
    assert_eq!(bob.try_subscribe("news/+", 1 | only_if_new | retain_as_published), 1);
    bob.has_nothing_more();
    bob.unsubscribe("news/today");
    hub.person("alice").connects().publish(Publish::new("news/today", "later").qos(1).retained());
    assert!(bob.receives().retain, "the flag stays as it was published");
}

#[test]
fn it_survives_kill_9_with_its_properties() {
    let mut hub = Hub::start();
    let news = Publish::new("news/today", "stays").qos(1).retained().user("author", "alice");
    let news = news.prop(0x03, Value::Bytes(b"text/plain".to_vec()));
    hub.person("alice").connects().publish(news.clone());
    hub.kill9();
    hub.restart();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/today", 0);
    let got = bob.receives();
    assert_eq!((got.text(), got.retain, got.qos), ("stays".into(), true, 0));
    assert_eq!(got.props.user("author"), Some("alice"));
    assert_eq!(got.props.text(0x03).as_deref(), Some("text/plain"));
}

#[test]
fn a_cleared_one_does_not_come_back_after_kill_9() {
    let mut hub = Hub::start();
    let mut alice = hub.person("alice").speaking(Version::V311).connects();
    alice.publish(Publish::new("news/today", "old").qos(1).retained());
    alice.publish(Publish::new("news/today", "").qos(1).retained());
    alice.publish(Publish::new("news/other", "kept").qos(1).retained());
    hub.kill9();
    hub.restart();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/#", 1);
    assert_eq!(bob.receives().text(), "kept");
    bob.has_nothing_more();
}

#[test]
fn one_that_has_expired_gives_its_place_to_another() {
    let hub = Settings::dev().set("presence.enabled", "false").set("limits.retained_messages", "1").start();
    let mut alice = hub.person("alice").connects();
    let short = Publish::new("news/today", "short").qos(1).retained().prop(0x02, Value::Long(1));
    assert!(alice.publish(short).code < 0x80);
    let next = || Publish::new("news/tomorrow", "next").qos(1).retained();
    assert_eq!(alice.publish(next()).code, 0x97, "there is one place, and it is taken");
    eventually("the expired one is gone", || alice.publish(next()).code < 0x80);
}

/// Four retained messages and subscribers that take one at a time: the second waits for the acknowledgement of the first, and
/// the others for that one.
fn one_at_a_time() -> (Hub, Person) {
    let hub = Settings::dev().set("presence.enabled", "false").set("session.inflight", "1").start();
    let mut alice = hub.person("alice").connects();
    retains(&mut alice, "old");
    (hub, alice)
}

fn retains(alice: &mut Person, text: &str) {
    for number in 1..=4 {
        alice.publish(Publish::new(format!("news/{number}"), text).qos(1).retained());
    }
}

#[test]
fn those_that_were_not_sent_yet_come_when_the_session_is_resumed() {
    let (hub, _alice) = one_at_a_time();
    for version in VERSIONS {
        let bob = hub.person("bob").on(&format!("phone{version:?}")).speaking(version).keeping_the_session();
        let mut bob = bob.connects();
        bob.subscribe("news/+", 1);
        let first = bob.receives_without_ack();
        let mut bob = bob.vanishes().connects();
        let come: Vec<Publish> = (0..4).map(|_| bob.receives()).collect();
        assert_eq!(come[0], first.again(), "{version:?}");
        let topics: BTreeSet<&str> = come.iter().map(|news| &*news.topic).collect();
        assert_eq!(topics.len(), 4, "{version:?}: {topics:?}");
        assert!(come.iter().all(|news| news.retain), "{version:?}: {come:?}");
        bob.has_nothing_more();
    }
}

#[test]
fn one_that_was_replaced_before_it_was_sent_does_not_come_after_what_replaced_it() {
    for kept in [false, true] {
        let (hub, mut alice) = one_at_a_time();
        let bob = hub.person("bob");
        let mut bob = if kept { bob.keeping_the_session() } else { bob }.connects();
        bob.subscribe("news/+", 1);
        let first = bob.receives_without_ack();
        retains(&mut alice, "new");
        bob.acknowledges(&first);
        // One more of the old, the new ones as they are published, and what is retained by then for the other two.
        let come: Vec<Publish> = (0..7).map(|_| bob.receives()).collect();
        let last: BTreeMap<&str, String> = come.iter().map(|news| (&*news.topic, news.text())).collect();
        assert!(last.values().all(|text| text == "new"), "kept: {kept}: {come:?}");
        assert_eq!(last.len(), 4, "kept: {kept}: {come:?}");
        bob.has_nothing_more();
    }
}
