//! Live location, as OwnTracks clients do it.

use hubbub_tests::{Client, Connect, Hub, Publish, Version};
use serde_json::{Value, json};

const BASE: &str = "owntracks/alice/phone";

#[test]
fn an_owntracks_client_works_unmodified_and_its_last_position_is_kept() {
    let mut hub = Hub::start();
    let mut phone = owntracks(&hub);
    phone.publish(Publish::new(BASE, position(31.2)).qos(1).retained());
    phone.publish(Publish::new(BASE, position(31.3)).qos(1).retained());
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe("owntracks/alice/+", 1);
    let last = alice.receives();
    assert!(last.retain);
    assert_eq!(last.text(), position(31.3), "the exact bytes of the client");
    phone.leaves();
    hub.kill9();
    hub.restart();
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe("owntracks/alice/+", 1);
    assert_eq!(alice.receives().text(), position(31.3));
}

#[test]
fn the_will_on_the_base_topic_is_delivered_but_does_not_overwrite_the_position() {
    let hub = Hub::start();
    let mut phone = owntracks(&hub);
    phone.publish(Publish::new(BASE, position(31.2)).qos(1).retained());
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe(BASE, 1);
    assert_eq!(alice.receives().text(), position(31.2));
    phone.vanishes();
    let will: Value = serde_json::from_slice(&alice.receives().payload).unwrap();
    assert_eq!(will["_type"], "lwt");
    let mut late = hub.person("alice").on("another map").connects();
    late.subscribe(BASE, 1);
    assert_eq!(late.receives().text(), position(31.2), "what is retained is the position");
}

#[test]
fn a_position_is_kept_even_if_the_client_does_not_ask_for_it() {
    let hub = Hub::start();
    owntracks(&hub).publish(Publish::new(BASE, position(31.2)).qos(1));
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe(BASE, 1);
    assert_eq!(alice.receives().text(), position(31.2));
}

#[test]
fn commands_and_events_below_the_base_topic_travel() {
    let hub = Hub::start();
    let mut phone = owntracks(&hub);
    phone.subscribe(&format!("{BASE}/cmd"), 1);
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe(&format!("{BASE}/event"), 1);
    alice.publish(Publish::new(format!("{BASE}/cmd"), r#"{"_type":"cmd","action":"reportLocation"}"#).qos(1));
    assert!(phone.receives().text().contains("reportLocation"));
    phone.publish(Publish::new(format!("{BASE}/event"), r#"{"_type":"transition"}"#).qos(1));
    assert!(alice.receives().text().contains("transition"));
}

#[test]
fn nobody_publishes_the_position_of_somebody_else() {
    let hub = Hub::start();
    owntracks(&hub).publish(Publish::new(BASE, position(31.2)).qos(1).retained());
    let forged = Publish::new(BASE, position(0.0)).qos(1).retained();
    let receipt = hub.person("mallory").connects().publish(forged);
    assert_eq!(receipt.code, 0x87);
    let mut alice = hub.person("alice").on("map").connects();
    alice.subscribe(BASE, 1);
    assert_eq!(alice.receives().text(), position(31.2));
}

/// As the apps connect: MQTT 3.1, a client id with spaces, a persistent session, a will on the base topic.
fn owntracks(hub: &Hub) -> Client {
    let will = Publish::new(BASE, json!({"_type": "lwt", "tst": 1_763_650_000}).to_string()).qos(1);
    let connect = Connect::new(Version::V31, "alice s iPhone 15").user("alice").keep_alive(60).will(will);
    hub.client(connect.persistent())
}

fn position(latitude: f64) -> String {
    json!({"_type": "location", "tid": "ap", "lat": latitude, "lon": 121.47, "tst": 1_763_650_000})
        .to_string()
}
