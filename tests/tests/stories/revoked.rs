//! Rights and accounts that are taken away while people are connected.

use hubbub_tests::client::Refused;
use hubbub_tests::tool::{eventually, succeeds};
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Hub, Publish, Settings, Version, message};

const NOT_AUTHORIZED: u8 = 0x87;

const BEFORE: &str = "user alice\ntopic write #\nuser bob\ntopic read #\n";

#[test]
fn new_rules_hold_at_once_and_drop_nobody() {
    let mut hub = Settings::dev().set("presence.enabled", "false").rules(BEFORE).start();
    let mut alice = hub.person("alice").connects();
    let mut bobs = VERSIONS.map(|version| {
        let mut bob = hub.person("bob").on(&format!("bob{version:?}")).speaking(version).connects();
        ["news/today", "diary/1", "#"].iter().for_each(|filter| bob.subscribe(filter, 1));
        bob
    });
    hub.reloads_rules("user alice\ntopic write news/#\nuser bob\ntopic read news/#\n");
    assert_eq!(alice.publish(Publish::new("diary/1", "no").qos(1)).code, NOT_AUTHORIZED);
    alice.publish(Publish::new("news/today", "yes").qos(1));
    for bob in &mut bobs {
        assert_eq!(bob.receives().topic, "news/today");
    }
    eventually("one of the three subscriptions of each ends", || hub.counter("subscriptions") == 6);
    hub.reloads_rules(BEFORE);
    alice.publish(Publish::new("diary/1", "again").qos(1));
    for bob in &mut bobs {
        // By the wide subscription: the narrow one has ended.
        assert_eq!(bob.receives().text(), "again");
        bob.has_nothing_more();
    }
}

#[test]
fn rules_with_mistakes_change_nothing_and_all_of_them_are_named() {
    let mut hub = Settings::dev().rules(BEFORE).start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("news/+", 1);
    hub.writes_rules("topik read news/#\nuser bob\ntopic deny #\ntopic read a/#/b\n");
    hub.is_told_to_reload();
    eventually("the mistakes are named", || {
        let log = hub.log();
        log.contains("rules.acl:1: ") && log.contains("rules.acl:4: ")
    });
    hub.person("alice").connects().publish(Publish::new("news/1", "still").qos(1));
    assert_eq!(bob.receives().text(), "still");
    hub.reloads_rules("user bob\ntopic deny #\n");
    assert_eq!(bob.try_subscribe("news/+", 1), NOT_AUTHORIZED);
}

/// More sessions than a turn looks at, each with subscriptions of its own, and nobody does anything.
#[test]
fn the_subscriptions_of_idle_sessions_end_as_well() {
    let mut hub = Settings::dev().set("server.edges", "2").rules("topic read #").start();
    let mut people: Vec<_> = (0..20).map(|n| hub.person("bob").on(&format!("bob{n}")).connects()).collect();
    for person in &mut people {
        let filters: Vec<String> = (0..500).map(|n| format!("room/{n}/+")).collect();
        let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
        person.subscribes_to_all(&filters);
    }
    assert_eq!(hub.counter("subscriptions"), 10_000);
    hub.reloads_rules("topic read room/1/#");
    eventually("all but one of each end", || hub.counter("subscriptions") == 20);
}

fn with_accounts() -> Hub {
    let rules = "user alice\ntopic #\nuser bob\ntopic #\n";
    let hub = Settings::with_login().rules(rules).start();
    ["alice", "bob"].iter().for_each(|name| hub.adds_user(name, "correct horse"));
    hub
}

#[test]
fn a_user_who_is_removed_leaves_nothing_that_a_successor_would_find() {
    let hub = with_accounts();
    let will = Publish::new("diary/will", "from the grave").qos(1);
    let alice = || hub.person("alice").with_password("correct horse");
    let bob = |device: &str| hub.person("bob").on(device).with_password("correct horse");
    let mut reader = alice().on("reader").connects();
    reader.subscribe("diary/#", 1);
    let mut away = bob("away").keeping_the_session().connects();
    away.subscribe("news/#", 1);
    away.leaves();
    let mut here = bob("here").keeping_the_session().with_will(will).connects();
    here.subscribe("news/#", 1);
    alice().connects().publish(Publish::new("news/1", "queued").qos(1));
    assert_eq!(here.receives_without_ack().text(), "queued");
    assert_eq!(hub.counter("queue_messages"), 2);

    succeeds(&mut hub.command(&["user", "remove", "bob"]));
    let (code, props) = here.is_closed().expect("a goodbye");
    assert_eq!((code, props.text(0x1f).as_deref()), (NOT_AUTHORIZED, Some("the account was removed")));
    assert!(matches!(bob("here").is_refused(), Refused::Code(0x86, _)));
    eventually("nothing waits for anybody", || hub.counter("queue_messages") == 0);
    assert_eq!(reader.publish(Publish::new("dm/bob", "?").qos(1)).code, NOT_AUTHORIZED);

    reader.has_nothing_more();

    hub.adds_user("bob", "correct horse");
    for device in ["here", "away"] {
        let mut bob = bob(device).keeping_the_session().connects();
        assert!(!bob.session_present, "{device}");
        bob.subscribe("diary/#", 1);
        bob.has_nothing_more();
    }
}

#[test]
fn a_user_who_is_removed_from_a_stopped_server_has_no_session_either() {
    let mut hub = with_accounts();
    let bob = hub.person("bob").with_password("correct horse").keeping_the_session();
    let mut person = bob.clone().connects();
    person.subscribe("news/#", 1);
    person.leaves();
    hub.stop();
    succeeds(&mut hub.command(&["user", "remove", "bob"]));
    hub.adds_user("bob", "correct horse");
    hub.restart();
    assert!(!bob.connects().session_present);
}

#[test]
fn another_password_ends_the_connections_and_no_session() {
    let hub = with_accounts();
    let bob = hub.person("bob").with_password("correct horse").keeping_the_session();
    let mut person = bob.clone().connects();
    person.subscribe("news/#", 1);
    hub.changes_password("bob", "battery staple");
    let (code, props) = person.is_closed().expect("a goodbye");
    assert_eq!((code, props.text(0x1f).as_deref()), (NOT_AUTHORIZED, Some("the password was changed")));
    assert!(matches!(bob.clone().is_refused(), Refused::Code(0x86, _)));
    let mut alice = hub.person("alice").with_password("correct horse").connects();
    alice.publish(Publish::new("news/1", "kept").qos(1));
    let mut person = bob.with_password("battery staple").connects();
    assert!(person.session_present);
    assert_eq!(person.receives().text(), "kept");
}

#[test]
fn whose_tokens_are_revoked_is_disconnected() {
    let hub = with_accounts();
    let mut bob = hub.person("bob").with_password("correct horse").connects();
    let mut alice = hub.person("alice").with_password("correct horse").arrives();
    succeeds(&mut hub.command(&["user", "revoke-tokens", "bob"]));
    assert_eq!(bob.is_closed().map(|(code, _)| code), Some(NOT_AUTHORIZED));
    hub.person("bob").with_password("correct horse").connects().says("alice", "back");
    alice.sees(message("back"));
}

#[test]
fn a_client_of_3_x_that_listens_is_told_why_before_it_is_closed() {
    for version in [Version::V31, Version::V311] {
        let hub = with_accounts();
        let mut bob = hub.person("bob").with_password("correct horse").speaking(version).connects();
        bob.subscribe("u/bob/#", 1);
        hub.changes_password("bob", "battery staple");
        let notice = bob.receives_on("u/bob/notice");
        assert_eq!(notice.text(), r#"{"code":135,"reason":"the password was changed"}"#);
        assert_eq!(bob.is_closed(), None);
    }
}
