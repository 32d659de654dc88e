//! Topics, filters, and every script in which they are written.

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, Publish, Settings};

#[test]
fn wildcards_match_what_the_specification_says() {
    // Presence is on `p/{user}`, which `+/+` matches as well.
    let hub = Settings::dev().set("presence.enabled", "false").start();
    let rows: [(&str, &[&str], &[&str]); 6] = [
        ("sport/tennis/+", &["sport/tennis/player1", "sport/tennis/"], &["sport/tennis", "sport/tennis/a/b"]),
        ("sport/#", &["sport", "sport/", "sport/tennis", "sport/tennis/a/b"], &["sports", "/sport"]),
        ("+/+", &["/finance", "a/b"], &["finance", "a/b/c"]),
        ("/+", &["/finance"], &["finance", "a/finance"]),
        (
            "sport/+/player1",
            &["sport/tennis/player1", "sport//player1"],
            &["sport/player1", "sport/a/player2"],
        ),
        ("Sport", &["Sport"], &["sport", "Sport/"]),
    ];
    let mut alice = hub.person("alice").connects();
    for (filter, matching, others) in rows {
        let mut bob = hub.person("bob").connects();
        bob.subscribe(filter, 1);
        for topic in others.iter().chain(matching) {
            alice.publish(Publish::new(*topic, *topic).qos(1));
        }
        for topic in matching {
            assert_eq!(bob.receives().topic, *topic, "filter {filter}");
        }
        bob.has_nothing_more();
        bob.leaves();
    }
}

#[test]
fn topics_in_any_script_travel_and_everything_keeps_running() {
    let hub = Hub::start();
    let topics = ["聊天/大厅", "🚕/上海", "чат", "é", "ไทย/กรุงเทพ", " /space", "\u{10ffff}", "a/🚕/b"];
    for version in VERSIONS {
        let mut bob = hub.person("bob").speaking(version).connects();
        let mut alice = hub.person("alice").speaking(version).connects();
        for topic in topics {
            bob.subscribe(topic, 2);
            for qos in 0..=2 {
                alice.publish(Publish::new(topic, topic).qos(qos));
                let message = bob.receives();
                assert_eq!((message.topic.as_str(), message.text().as_str()), (topic, topic));
            }
        }
        bob.leaves();
        alice.leaves();
    }
    hub.is_healthy();
}

#[test]
fn retained_messages_and_wills_may_have_such_topics_too() {
    let mut hub = Hub::start();
    let will = Publish::new("🚕/北京", "gone").qos(1).retained();
    let mut alice = hub.person("alice").with_will(will).connects();
    alice.publish(Publish::new("🚕/上海", "here").qos(1).retained());
    let mut bob = hub.person("bob").connects();
    bob.subscribe("🚕/#", 1);
    assert_eq!(bob.receives().text(), "here");
    alice.vanishes();
    assert_eq!(bob.receives().topic, "🚕/北京");
    // Nobody is left to be told that a will is stored; what is acknowledged after it was stored after it.
    hub.person("carol").connects().publish(Publish::new("🚕/广州", "stored").qos(1).retained());
    hub.kill9();
    hub.restart();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("🚕/+", 1);
    let mut topics = [(); 3].map(|()| bob.receives().topic);
    topics.sort();
    assert_eq!(topics, ["🚕/上海", "🚕/北京", "🚕/广州"]);
    hub.is_healthy();
}

#[test]
fn a_wildcard_does_not_match_what_begins_with_a_dollar() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("+/monitor/Clients", 1);
    // `$SYS` counters are retained: they would come at once.
    bob.subscribe("room/1", 1);
    hub.person("alice").connects().publish(Publish::new("room/1", "hi").qos(1));
    assert_eq!(bob.receives().topic, "room/1");
    bob.has_nothing_more();
}

#[test]
fn an_unsubscribe_ends_a_subscription_and_no_other() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    let mut alice = hub.person("alice").connects();
    bob.subscribe("room/1", 1);
    bob.subscribe("room/2", 1);
    bob.unsubscribe("room/1");
    alice.publish(Publish::new("room/1", "unwanted").qos(1));
    alice.publish(Publish::new("room/2", "wanted").qos(1));
    assert_eq!(bob.receives().text(), "wanted");
    bob.has_nothing_more();
}

#[test]
fn no_local_keeps_ones_own_messages_away() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    let no_local = 0x04;
    assert_eq!(bob.try_subscribe("room/1", 1 | no_local), 1);
    bob.publish(Publish::new("room/1", "mine").qos(1));
    hub.person("alice").connects().publish(Publish::new("room/1", "hers").qos(1));
    assert_eq!(bob.receives().text(), "hers");
}

#[test]
fn properties_of_a_message_travel_with_it() {
    use hubbub_tests::wire::Value::{Byte, Bytes};
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("room/1", 2);
    let sent = Publish::new("room/1", "hi").qos(2).user("b", "2").user("a", "1").user("a", "3");
    let sent = sent.prop(0x01, Byte(1)).prop(0x03, Bytes(b"text/plain".into()));
    let sent = sent.prop(0x08, Bytes(b"reply/here".into())).prop(0x09, Bytes(vec![0, 255]));
    hub.person("alice").connects().publish(sent.clone());
    let got = bob.receives();
    let users = |message: &Publish| -> Vec<_> {
        message.props.0.iter().filter(|(id, _)| *id == 0x26).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(users(&got), users(&sent), "user properties, in their order");
    for id in [0x01, 0x03, 0x08, 0x09] {
        assert_eq!(got.props.get(id), sent.props.get(id), "property 0x{id:02x}");
    }
}
