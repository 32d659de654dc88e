//! The demo of the field: no passwords, and a client's own id is its topic (R4).

use hubbub_tests::{Client, Connect, Hub, Publish, Settings, Version};

#[test]
fn two_clients_without_passwords_talk_through_their_client_ids() {
    let hub = demo();
    for version in [Version::V31, Version::V311] {
        let name = |who: &str| format!("{who}{}", version as u8);
        let mut bob = client(&hub, version, &name("bob"));
        bob.subscribe(&name("bob"), 2);
        let mut alice = client(&hub, version, &name("alice"));
        alice.subscribe(&name("alice"), 2);
        alice.publish(Publish::new(name("bob"), "hi").qos(2).retained());
        let heard = bob.receives();
        assert_eq!((heard.text().as_str(), heard.qos), ("hi", 2));
        bob.publish(Publish::new(name("alice"), "hello").qos(2).retained());
        assert_eq!(alice.receives().text(), "hello");
    }
}

#[test]
fn a_message_for_a_client_that_is_not_there_waits_as_retained() {
    let hub = demo();
    client(&hub, Version::V31, "alice").publish(Publish::new("bob", "for later").qos(2).retained());
    let mut bob = client(&hub, Version::V31, "bob");
    bob.subscribe("bob", 2);
    let heard = bob.receives();
    assert_eq!((heard.text().as_str(), heard.retain), ("for later", true));
}

#[test]
fn the_log_shows_client_connected_and_message_published() {
    let hub = demo();
    let mut alice = client(&hub, Version::V31, "alice");
    alice.publish(Publish::new("bob", "hi").qos(2).retained());
    let log = hub.log();
    for phrase in ["client connected", "message published"] {
        let line = log.lines().find(|line| line.contains(phrase));
        assert!(line.is_some_and(|line| line.contains("alice")), "`{phrase}` with the client in\n{log}");
    }
}

#[test]
fn the_demo_door_lets_nobody_read_what_is_sent_to_others() {
    let hub = demo();
    let mut mallory = client(&hub, Version::V311, "mallory");
    for filter in ["bob", "#", "u/bob/inbox"] {
        assert_eq!(mallory.try_subscribe(filter, 2), 0x80, "SUBACK for {filter}");
    }
}

#[test]
fn the_ordinary_door_stays_closed_to_clients_without_a_user() {
    let hub = demo();
    let refused = Client::connect(hub.mqtt(), Connect::new(Version::V311, "alice")).err();
    assert!(refused.is_some(), "without --dev a client needs a user and a password");
}

fn demo() -> Hub {
    let settings =
        Settings::with_login().set("compat.bare_client_id", "true").set("compat.listen", "127.0.0.1:0");
    settings.start()
}

fn client(hub: &Hub, version: Version, id: &str) -> Client {
    let connect = Connect::new(version, id).keep_alive(60);
    Client::connect(hub.compat(), connect).unwrap_or_else(|refused| panic!("{id}: {refused:?}"))
}
