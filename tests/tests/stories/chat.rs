//! Direct messages: stored, numbered, and seen by every device that should see them.

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, Publish, Version, message};
use serde_json::json;

#[test]
fn messages_arrive_in_order_and_are_numbered_from_one_without_gaps() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    for number in 1..=50 {
        alice.says("bob", &format!("message {number}"));
    }
    for number in 1..=50 {
        bob.sees(message(&format!("message {number}")).seq(number).from("alice"));
    }
}

#[test]
fn an_envelope_says_who_when_and_where() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").on("alice's phone").arrives();
    alice.says("bob", "hi");
    let seen = bob.sees(message("hi").seq(1).from("alice").cid("alice~bob").with("n", 1.into()));
    assert_eq!(seen["device"], "alice's phone");
    assert_eq!(seen["type"], "text");
    assert_eq!(seen["mid"].as_str().map(str::len), Some(26), "`mid` is a ULID: {seen}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let age = now - seen["ts"].as_i64().expect("`ts` is a number");
    assert!((0..60_000).contains(&age), "`ts` is milliseconds since 1970, and recent: {seen}");
}

#[test]
fn both_directions_share_one_conversation_and_one_order() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").arrives();
    let mut bob = hub.person("bob").arrives();
    alice.says("bob", "ping");
    bob.sees(message("ping").seq(1).cid("alice~bob"));
    bob.says("alice", "pong");
    alice.sees(message("pong").seq(2).cid("alice~bob").from("bob"));
}

#[test]
fn conversations_are_numbered_apart_but_the_inbox_has_one_order() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    hub.person("alice").arrives().says("bob", "from alice");
    hub.person("carol").arrives().says("bob", "from carol");
    bob.sees(message("from alice").seq(1).cid("alice~bob").with("n", 1.into()));
    bob.sees(message("from carol").seq(1).cid("bob~carol").with("n", 2.into()));
}

#[test]
fn every_device_of_the_peer_gets_it() {
    let hub = Hub::start();
    let mut phone = hub.person("bob").on("phone").arrives();
    let mut laptop = hub.person("bob").on("laptop").arrives();
    hub.person("alice").arrives().says("bob", "hi");
    phone.sees(message("hi").seq(1));
    laptop.sees(message("hi").seq(1));
}

#[test]
fn the_senders_other_device_gets_it_and_the_sending_device_does_not() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut phone = hub.person("alice").on("phone").arrives();
    let mut laptop = hub.person("alice").on("laptop").arrives();
    phone.says("bob", "from the phone");
    laptop.sees(message("from the phone").seq(1).from("alice").with("device", "phone".into()));
    bob.sees(message("from the phone"));
    bob.says("alice", "answer");
    // Had the phone got its own message, that would come first.
    phone.sees(message("answer").seq(2));
}

#[test]
fn a_note_to_oneself_reaches_the_other_device() {
    let hub = Hub::start();
    let mut phone = hub.person("alice").on("phone").arrives();
    let mut laptop = hub.person("alice").on("laptop").arrives();
    phone.says("alice", "buy milk");
    laptop.sees(message("buy milk").seq(1).cid("alice~alice"));
}

#[test]
fn a_message_is_stored_at_every_quality_of_service() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    for qos in 0..=2 {
        alice.publish(Publish::new("dm/bob", format!("at {qos}")).qos(qos));
    }
    for qos in 0..=2 {
        bob.sees(message(&format!("at {qos}")).seq(qos + 1));
    }
}

#[test]
fn clients_of_all_three_versions_talk_with_each_other() {
    let hub = Hub::start();
    let name = |version: Version| format!("user{}", version as u8);
    let mut people: Vec<_> = VERSIONS.iter().map(|&v| hub.person(&name(v)).speaking(v).arrives()).collect();
    for (from, sender) in VERSIONS.iter().enumerate() {
        for (to, receiver) in VERSIONS.iter().enumerate().filter(|(to, _)| *to != from) {
            people[from].says(&name(*receiver), "hello");
            people[to].sees(message("hello").from(&name(*sender)));
        }
    }
}

#[test]
fn json_is_a_body_with_its_own_fields_kept() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    let sent = json!({"type": "image", "body": {"url": "https://x.example/1"}, "mood": "good"});
    alice.says("bob", &sent.to_string());
    let seen = bob.takes_envelope();
    assert_eq!(seen["type"], "image", "{seen}");
    assert_eq!(seen["body"], sent["body"], "{seen}");
    assert_eq!(seen["mood"], "good", "unknown fields are kept: {seen}");
    assert_eq!(seen["from"], "alice", "{seen}");
}

#[test]
fn json_cannot_claim_another_sender_or_number() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut mallory = hub.person("mallory").arrives();
    let forged = json!({"body": "pay me", "from": "alice", "seq": 99, "cid": "alice~bob", "ts": 1, "mid": "x", "n": 7});
    mallory.says("bob", &forged.to_string());
    let seen = bob.sees(message("pay me").seq(1).from("mallory").cid("bob~mallory").with("n", 1.into()));
    assert_ne!((&seen["mid"], &seen["ts"]), (&json!("x"), &json!(1)), "{seen}");
}

#[test]
fn bytes_that_are_not_text_arrive_as_base64() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    alice.publish(Publish::new("dm/bob", [0xff, 0x00, 0xfe]).qos(1));
    bob.sees(message("/wD+").with("enc", "base64".into()));
}

#[test]
fn text_in_any_script_arrives_as_it_was_written() {
    let hub = Hub::start();
    let mut bob = hub.person("鲍勃").arrives();
    let mut alice = hub.person("élise").arrives();
    alice.says("鲍勃", "🚕 到了吗？ \"quoted\" \\ \u{7f} \n second line");
    bob.sees(message("🚕 到了吗？ \"quoted\" \\ \u{7f} \n second line").from("élise"));
}

#[test]
fn an_mqtt_5_sender_learns_where_its_message_stands() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    for (qos, seq) in [(1, "1"), (2, "2")] {
        let receipt = alice.publish(Publish::new("dm/bob", "hi").qos(qos));
        let seen = bob.takes_envelope();
        assert_eq!(receipt.code, 0);
        assert_eq!(receipt.props.user("cid"), Some("alice~bob"), "{receipt:?}");
        assert_eq!(receipt.props.user("seq"), Some(seq), "{receipt:?}");
        assert_eq!(receipt.props.user("mid"), seen["mid"].as_str(), "{receipt:?} {seen}");
        assert_eq!(receipt.props.user("ts"), Some(seen["ts"].to_string().as_str()), "{receipt:?} {seen}");
        assert_eq!(receipt.props.user("dup"), None, "{receipt:?}");
    }
}
