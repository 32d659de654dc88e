//! Doors through which a message once came to somebody who may not read it, and identities that were not what they seemed.

use hubbub_tests::client::Refused;
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Client, Connect, Hub, Person, Publish, Settings, Version, message};

#[test]
fn a_wildcard_shows_no_answers_to_others_online_or_queued() {
    let hub = Hub::start();
    for version in VERSIONS {
        let device = format!("mallory{}", version as u8);
        let mallory = hub.person("mallory").on(&device).speaking(version).keeping_the_session();
        let mut mallory = mallory.connects();
        mallory.subscribe("#", 1);
        history_is_asked_for(&hub);
        shows_only_what_is_open(&mut mallory, version);
        let mallory = mallory.leaves();
        history_is_asked_for(&hub);
        let mut mallory = mallory.connects();
        shows_only_what_is_open(&mut mallory, version);
        mallory.unsubscribe("#");
        mallory.leaves();
    }
}

#[test]
fn a_wildcard_wider_than_the_rules_queues_nothing_that_they_deny() {
    let rules = "user alice\ntopic write #\nuser bob\ntopic read news/#\ntopic deny news/secret/#\n";
    let hub = Settings::dev().rules(rules).start();
    for (filter, device) in [("#", "all"), ("+/+/today", "some"), ("$share/g/#", "shared")] {
        let mut bob = hub.person("bob").on(device).keeping_the_session().connects();
        bob.subscribe(filter, 1);
        let bob = bob.leaves();
        let mut alice = hub.person("alice").connects();
        for topic in ["news/secret/today", "diary/alice/today", "news/world/today"] {
            alice.publish(Publish::new(topic, topic).qos(1));
        }
        let mut bob = bob.connects();
        assert!(bob.session_present);
        assert_eq!(bob.receives().topic, "news/world/today", "subscribed to {filter}");
        bob.unsubscribe(filter);
        bob.has_nothing_more();
        bob.leaves();
    }
}

#[test]
fn client_ids_that_are_wildcards_or_levels_are_refused_at_the_door_without_passwords() {
    let hub = bare_door();
    for version in [Version::V31, Version::V311] {
        for id in ["#", "+", "a/b", "$x", "a/#", "/", "$SYS", "u/alice/inbox"] {
            let refused = Client::connect(hub.compat(), Connect::new(version, id)).err();
            assert!(refused.is_some(), "client id {id:?} of {version:?} is let in");
        }
    }
    bare(&hub, "harmless").subscribe("harmless", 1);
}

#[test]
fn a_client_id_that_is_a_name_is_nobody_else() {
    let hub = bare_door();
    hub.adds_user("alice", "correct horse");
    hub.adds_user("bob", "battery staple");
    let mut bob = hub.person("bob").with_password("battery staple").arrives();
    bob.watches("alice");
    for name in ["alice", "canary"] {
        let mut nobody = bare(&hub, name);
        for filter in ["u/alice/inbox", "u/canary/inbox", "u/alice/#", "$SYS/#", "$SYS/canary", "p/bob", "#"]
        {
            assert_eq!(nobody.try_subscribe(filter, 1), 0x80, "{name} subscribes to {filter}");
        }
        nobody.subscribe(name, 1);
        bob.says("alice", "secret");
        nobody.has_nothing_more();
        assert_eq!(bob.waiting_on("p/alice"), [""; 0], "alice is not here");
        // 3.1.1 cannot say that a publish is refused; whatever it does, bob is to see nothing of it.
        nobody.send_publish(Publish::new("dm/bob", format!("I am {name}")));
        nobody.send_publish(Publish::new("u/bob/inbox", "{}"));
    }
    let mut alice = hub.person("alice").with_password("correct horse").arrives();
    bob.sees_presence("alice", "online");
    alice.says("bob", "really me");
    bob.sees(message("really me").from("alice").seq(3));
}

#[test]
fn a_changed_password_counts_at_once() {
    let hub = Settings::with_login().start();
    let (first, second, third) = ("correct horse", "battery staple", "tin drum");
    hub.adds_user("alice", first);
    // The hub has seen it once, and must not remember it for longer than it is true.
    assert!(lets_alice_in(&hub, first));
    hub.changes_password("alice", second);
    assert!(!lets_alice_in(&hub, first), "the old password after a change");
    // Some are just being let in while it changes again; that must not be remembered either.
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| lets_alice_in(&hub, second))));
        hub.changes_password("alice", third);
    });
    assert!(!lets_alice_in(&hub, second), "the old password after a change in the middle of logins");
    assert!(lets_alice_in(&hub, third));
}

fn lets_alice_in(hub: &Hub, password: &str) -> bool {
    let connect = Connect::new(Version::V5, "").user("alice").password(password);
    match Client::connect(hub.mqtt(), connect) {
        Ok(client) => client.leaves(),
        Err(Refused::Code(0x86 | 0x87, _)) => return false,
        Err(refused) => panic!("{refused:02x?}"),
    }
    true
}

/// Bob asks for his conversation with alice, and has the answer.
fn history_is_asked_for(hub: &Hub) {
    hub.person("alice").connects().says("bob", "secret");
    let mut bob = hub.person("bob").speaking(Version::V311).connects();
    bob.subscribe("u/bob/reply/1", 1);
    bob.publish(Publish::new("rpc/history/1", r#"{"peer":"alice"}"#).qos(1));
    let answer = bob.receives_on("u/bob/reply/1").text();
    assert!(answer.contains("secret"), "{answer}");
    bob.publish(Publish::new("open/to/all", "after the answer").qos(1));
    bob.leaves();
}

/// Reads up to what was published last.
fn shows_only_what_is_open(reader: &mut Person, version: Version) {
    loop {
        let message = reader.receives();
        let seen = (&message.topic, message.text());
        assert!(!message.topic.starts_with("u/"), "mallory of {version:?} sees {seen:?}");
        assert!(!message.topic.starts_with("dm/"), "mallory of {version:?} sees {seen:?}");
        if message.topic == "open/to/all" {
            return;
        }
    }
}

fn bare_door() -> Hub {
    let settings = Settings::with_login().set("compat.bare_client_id", "true");
    // One edge, so that what is said first is heard first.
    settings.set("compat.listen", "127.0.0.1:0").set("server.edges", "1").start()
}

fn bare(hub: &Hub, id: &str) -> Client {
    let connect = Connect::new(Version::V311, id);
    Client::connect(hub.compat(), connect).unwrap_or_else(|refused| panic!("{id}: {refused:?}"))
}
