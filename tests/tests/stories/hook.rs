//! The application is asked who may come in.

use serde_json::json;

use hubbub_tests::client::Refused;
use hubbub_tests::tool::eventually;
use hubbub_tests::{App, Client, Connect, Hub, Publish, Settings, Version, message};

/// A hub that asks this application only.
fn asking(app: &App) -> Settings {
    Settings::with_login()
        .set("login.users", "false")
        .set("login.hook", app.url("/login"))
        .set("login.hook_secret", App::SECRET)
        .set("presence.enabled", "false")
}

fn alice(password: &str) -> Connect {
    Connect::new(Version::V5, "alice-phone").user("alice").password(password)
}

fn refusal(hub: &Hub, connect: Connect) -> u8 {
    match Client::connect(hub.mqtt(), connect).err() {
        Some(Refused::Code(code, _)) => code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_application_allows_and_denies() {
    let app = App::start();
    let hub = asking(&app).start();
    app.answers("/login", 200, r#"{"allow":true}"#);
    hub.client(alice("wonderland")).leaves();
    let asked = app.was_asked_signed();
    assert_eq!(
        asked,
        json!({
            "user": "alice", "password": "wonderland", "client": "alice-phone", "class": "phone",
            "address": "127.0.0.1", "door": "mqtt",
        })
    );
    app.answers("/login", 200, r#"{"allow":false}"#);
    assert_eq!(refusal(&hub, alice("guess")), 0x86);
    assert_eq!(refusal(&hub, Connect::new(Version::V311, "d").user("bob").password("guess")), 4);
    // Without a name and a password there is nothing to ask about.
    assert_eq!(refusal(&hub, Connect::new(Version::V5, "d")), 0x86);
    assert_eq!([(); 3].map(|()| app.was_asked().is_some()), [true, true, false]);
    assert!(!hub.log().contains("wonderland") && !hub.log().contains("guess"), "a password in the log");
}

#[test]
fn an_answer_counts_for_a_time_and_for_the_same_login_only() {
    let app = App::start();
    let hub = asking(&app).set("login.hook_cache", "1h").start();
    app.answers("/login", 200, r#"{"allow":true}"#);
    hub.client(alice("wonderland")).leaves();
    assert!(app.was_asked().is_some());
    app.answers("/login", 200, r#"{"allow":false}"#);
    (0..3).for_each(|_| hub.client(alice("wonderland")).leaves());
    assert!(app.was_asked().is_none(), "it is known");
    assert_eq!(refusal(&hub, alice("Wonderland")), 0x86);
    assert_eq!(refusal(&hub, Connect { client_id: "other".into(), ..alice("wonderland") }), 0x86);
    assert_eq!([(); 3].map(|()| app.was_asked().is_some()), [true, true, false]);
}

#[test]
fn without_an_answer_that_makes_sense_nobody_is_checked_and_others_do_not_wait() {
    let app = App::start();
    let settings = asking(&app).set("login.users", "true").set("login.hook_timeout", "5s");
    let hub = settings.set("login.hook_concurrency", "1").set("login.hook_queue", "0").start();
    hub.adds_user("carol", "correct horse");
    for (status, body) in [
        (500, r#"{"allow":true}"#),
        (204, ""),
        (302, r#"{"allow":true}"#),
        (200, ""),
        (200, "yes"),
        (200, r#"{"allow":"true"}"#),
        (200, r#"{"allow":true,"untill":1}"#),
        (200, r#"{"allow":true,"user":"a/b"}"#),
    ] {
        app.answers("/login", status, body);
        assert_eq!(refusal(&hub, alice("wonderland")), 0x88, "{status} {body}");
        let old = Connect::new(Version::V311, "d").user("alice").password("wonderland");
        assert_eq!(refusal(&hub, old), 3, "{status} {body}");
    }
    app.is_silent_on("/login");
    while app.was_asked().is_some() {}
    let mut waiting = hub.socket();
    waiting.sends(alice("wonderland").bytes());
    eventually("it is asked", || app.was_asked().is_some());
    assert_eq!(refusal(&hub, Connect::new(Version::V5, "other").user("bob").password("builder")), 0x89);
    // An account needs no hook, and comes in while somebody waits for it.
    hub.person("carol").with_password("correct horse").arrives().leaves();
    let answer = waiting.rest();
    assert_eq!((answer[0], answer[3]), (0x20, 0x88), "after the time-out");
    app.answers("/login", 200, r#"{"allow":true}"#);
    hub.client(alice("wonderland")).leaves();
}

#[test]
fn an_answer_names_the_user_the_device_the_rights_and_the_end() {
    let app = App::start();
    let hub = asking(&app).set("presence.enabled", "true").start();
    let answer = json!({
        "allow": true, "user": "alice", "class": "tablet", "publish": ["room/1"], "subscribe": ["room/#"],
    });
    app.answers("/login", 200, &answer);
    let mut watcher = hub.client(Connect::new(Version::V5, "w").user("watcher").password("x"));
    watcher.subscribe("p/alice", 0);
    let presence = watcher.receives_on("p/alice").text();
    assert!(presence.contains("\"devices\":[\"tablet\"]"), "{presence}");
    let opaque = |client: &str| Connect::new(Version::V5, client).user("").password("an opaque token");
    let mut alice = hub.client(opaque("d1"));
    assert_eq!(alice.try_subscribe("u/alice/inbox", 1), 1);
    assert_eq!(alice.try_subscribe("room/2", 1), 1);
    assert_eq!(alice.publish(Publish::new("room/2", "x").qos(1)).code, 0x87);
    assert_eq!(alice.publish(Publish::new("room/1", "x").qos(1)).code, 0x10);
    let mut short = answer.clone();
    short["ttl"] = 1.into();
    app.answers("/login", 200, &short);
    let end = hub.client(opaque("d2")).is_closed();
    assert_eq!(end.map(|(code, _)| code), Some(0xa0));
}

#[test]
fn whoever_the_application_may_know_can_be_written_to() {
    let app = App::start();
    let hub = asking(&app).start();
    app.answers("/login", 200, r#"{"allow":true}"#);
    let mut alice = hub.person("alice").with_password("wonderland").arrives();
    alice.says("bob", "have you been here yet?");
    let mut bob = hub.person("bob").with_password("builder").arrives();
    bob.sees(message("have you been here yet?").from("alice").seq(1));
}

#[test]
fn methods_are_asked_in_the_order_of_the_settings() {
    let app = App::start();
    app.answers("/login", 200, r#"{"allow":false}"#);
    for (order, lets_alice_in) in [("users,hook", true), ("hook,users", false)] {
        let hub = asking(&app).set("login.users", "true").set("login.order", order).start();
        hub.adds_user("alice", "wonderland");
        let comes = Client::connect(hub.mqtt(), alice("wonderland")).is_ok();
        assert_eq!((comes, app.was_asked().is_some()), (lets_alice_in, !lets_alice_in), "{order}");
        assert_eq!(refusal(&hub, alice("guess")), 0x86);
        assert_eq!(app.was_asked().is_some(), !lets_alice_in, "an account decides for its name: {order}");
    }
}
