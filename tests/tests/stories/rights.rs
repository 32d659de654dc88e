//! What nobody may do.

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, Publish, Settings, Version, message};

const NOT_AUTHORIZED: u8 = 0x87;
const FAILURE: u8 = 0x80;

#[test]
fn nobody_reads_the_inbox_of_somebody_else() {
    let hub = Hub::start();
    let filters = ["u/bob/inbox", "u/bob/#", "$share/g/u/bob/inbox", "u/bob/+", "u/bob/reply/1"];
    let mut bob = hub.person("bob").arrives();
    for version in VERSIONS {
        let mut mallory = hub.person("mallory").speaking(version).arrives();
        for filter in filters {
            let code = mallory.try_subscribe(filter, 1);
            match version {
                Version::V5 => assert_eq!(code, NOT_AUTHORIZED, "SUBACK of 5 for {filter}"),
                Version::V311 => assert_eq!(code, FAILURE, "SUBACK of 3.1.1 for {filter}"),
                // It has no code for a refusal: the lowest grant, and then nothing.
                Version::V31 => assert!(matches!(code, 0 | FAILURE), "SUBACK of 3.1 for {filter}: {code}"),
            }
        }
        hub.person("alice").arrives().says("bob", "secret");
        bob.sees(message("secret"));
        bob.says("mallory", "hello");
        mallory.sees(message("hello"));
        let seen = mallory.waiting_on("u/bob/inbox");
        assert!(seen.is_empty(), "{version:?}: mallory sees bob's inbox: {seen:?}");
        mallory.leaves();
    }
}

#[test]
fn a_wildcard_never_shows_more_than_the_right_to_read() {
    let hub = Hub::start();
    let mut mallory = hub.person("mallory").connects();
    // Whether such a filter is refused or narrowed is the hub's choice.
    for filter in ["#", "u/+/inbox", "+/bob/inbox", "+/+/+", "$share/g/#"] {
        mallory.try_subscribe(filter, 1);
    }
    let mut bob = hub.person("bob").arrives();
    hub.person("alice").arrives().says("bob", "secret");
    bob.sees(message("secret"));
    hub.person("alice").connects().says("mallory", "for you");
    mallory.pings();
    let seen = mallory.waiting_on("u/bob/inbox");
    assert!(seen.is_empty(), "mallory sees bob's inbox: {seen:?}");
    let seen = mallory.waiting_on("dm/bob");
    assert!(seen.is_empty(), "mallory sees what is sent to bob: {seen:?}");
}

#[test]
fn nobody_writes_what_only_the_hub_writes() {
    let hub = Hub::start();
    let mut mallory = hub.person("mallory").connects();
    let mut bob = hub.person("bob").arrives();
    for topic in
        ["p/bob", "p/mallory", "u/bob/inbox", "u/mallory/inbox", "$SYS/x", "$SYS/broker/version", "p/bob/set"]
    {
        for qos in [1, 2] {
            let receipt = mallory.publish(Publish::new(topic, r#"{"state":"online"}"#).qos(qos));
            assert_eq!(receipt.code, NOT_AUTHORIZED, "{topic} at QoS {qos}: {receipt:?}");
        }
    }
    mallory.says("bob", "hi");
    // Had anything reached the inbox by itself, it would come first.
    bob.sees(message("hi").seq(1));
}

#[test]
fn a_3_1_1_client_cannot_do_it_either_and_nothing_is_retained() {
    let hub = Hub::start();
    let mut mallory = hub.person("mallory").speaking(Version::V311).connects();
    // 3.1.1 has no refusal of a publish: silence or the end of the connection are both allowed (§3.3.5).
    mallory.send_publish(Publish::new("p/bob", "forged").retained());
    drop(mallory);
    let mut alice = hub.person("alice").connects();
    alice.subscribe("p/+", 0);
    let _bob = hub.person("bob").arrives();
    let first = alice.receives_on("p/bob");
    assert_ne!(first.text(), "forged");
}

#[test]
fn what_no_rule_allows_is_denied_and_what_one_allows_is_not_more() {
    let rules = "user alice\ntopic write news/today\nuser bob\ntopic read news/#\ntopic deny news/secret\n";
    let hub = Settings::dev().rules(rules).start();
    let mut alice = hub.person("alice").connects();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/+", 1);
    assert_eq!(bob.publish(Publish::new("news/today", "x").qos(1)).code, NOT_AUTHORIZED);
    assert_eq!(bob.try_subscribe("news/secret", 1), NOT_AUTHORIZED);
    assert_eq!(alice.try_subscribe("news/today", 1), NOT_AUTHORIZED);
    assert_eq!(alice.publish(Publish::new("news/tomorrow", "x").qos(1)).code, NOT_AUTHORIZED);
    assert!(alice.publish(Publish::new("news/today", "allowed").qos(1)).code < 0x80);
    assert_eq!(bob.receives().text(), "allowed");
    bob.has_nothing_more();
}

#[test]
fn without_rules_nothing_but_chat_is_open_to_users_with_passwords() {
    let hub = Settings::with_login().start();
    hub.adds_user("alice", "correct horse");
    let mut alice = hub.person("alice").with_password("correct horse").arrives();
    assert_eq!(alice.try_subscribe("news/today", 1), NOT_AUTHORIZED);
    assert_eq!(alice.publish(Publish::new("news/today", "x").qos(1)).code, NOT_AUTHORIZED);
}

#[test]
fn a_mistake_in_the_rules_opens_nothing() {
    let folder = hubbub_tests::hub::new_folder();
    let file = folder.path().join("bad.acl");
    std::fs::write(&file, "topic readwrite #\ntopik deny secret\n").unwrap();
    let ended = Settings::dev().set("acl.file", file.to_str().unwrap()).is_refused();
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    assert!(ended.stderr.contains("line 2") || ended.stderr.contains("bad.acl:2"), "{}", ended.stderr);
}

#[test]
fn a_will_has_no_more_rights_than_its_owner() {
    let hub = Hub::start();
    let forged = Publish::new("u/bob/inbox", "forged").qos(1);
    let connect = hubbub_tests::Connect::new(Version::V5, "m").user("mallory").will(forged);
    let mut bob = hub.person("bob").arrives();
    if let Ok(mallory) = hubbub_tests::Client::connect(hub.mqtt(), connect) {
        mallory.vanishes();
    }
    hub.person("alice").arrives().says("bob", "hi");
    bob.sees(message("hi").seq(1));
}

#[test]
fn filters_and_topics_that_are_not_valid_are_refused() {
    let hub = Hub::start();
    for filter in ["a/#/b", "a#", "+a", "", "$share/g", "$share/+/a"] {
        let mut alice = hub.person("alice").connects();
        alice.send(&hubbub_tests::wire::subscribe(Version::V5, 1, &[(filter, 1)]));
        let refused = alice.is_refused();
        assert!(refused >= 0x80, "filter {filter:?}: 0x{refused:02x}");
    }
    for topic in ["a/#", "+", ""] {
        let mut alice = hub.person("alice").connects();
        alice.send_publish(Publish::new(topic, "x"));
        let code = alice.is_closed().map(|(code, _)| code);
        assert!(matches!(code, Some(0x81 | 0x82 | 0x90)), "topic {topic:?}: {code:02x?}");
    }
    hub.is_healthy();
}
