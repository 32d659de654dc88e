//! Users come in with tokens that the application made, and stay as long as those count.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use hubbub_tests::client::Refused;
use hubbub_tests::hub::new_folder;
use hubbub_tests::token::in_time;
use hubbub_tests::tool::{eventually, run, succeeds};
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{App, Client, Connect, Hub, Publish, Settings, Signer, Version};

const MINUTE: Duration = Duration::from_secs(60);
/// The reason string of MQTT 5.
const REASON: u8 = 0x1f;
const NOT_AUTHORIZED: u8 = 0x87;

/// A hub for tokens only, in which presence says nothing.
fn tokens_only() -> Settings {
    Settings::with_login().set("login.users", "false").set("presence.enabled", "false")
}

/// One that believes these.
fn believing(signers: &[&Signer], folder: &Path) -> Settings {
    let path = |signer: &Signer| signer.file_in(folder).to_str().unwrap().to_owned();
    let is_secret = |signer: &&&Signer| signer.algorithm() == "HS256";
    let keys: Vec<String> =
        signers.iter().filter(|signer| !is_secret(signer)).map(|signer| path(signer)).collect();
    let settings = tokens_only().set("login.token_keys", keys.join(","));
    match signers.iter().find(is_secret) {
        Some(secret) => settings.set("login.token_secret_file", path(secret)),
        None => settings,
    }
}

fn with(version: Version, user: &str, token: &str) -> Connect {
    Connect::new(version, format!("{user}-phone")).user(user).password(token)
}

fn refusal(hub: &Hub, connect: Connect) -> (u8, Option<String>) {
    match Client::connect(hub.mqtt(), connect).err() {
        Some(Refused::Code(code, props)) => (code, props.text(REASON)),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn claims(user: &str, more: Value) -> Value {
    let mut claims = json!({ "sub": user, "exp": in_time(MINUTE) });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn a_token_of_each_algorithm_lets_its_user_in_and_nobody_else() {
    let folder = new_folder();
    let ours = [Signer::hs256(), Signer::rs256(), Signer::es256(), Signer::eddsa()];
    let hub = believing(&[&ours[0], &ours[1], &ours[2], &ours[3]], folder.path()).start();
    for (signer, version) in ours.iter().flat_map(|signer| VERSIONS.map(|version| (signer, version))) {
        let (token, name) = (signer.lets_in("alice"), signer.algorithm());
        for user in ["alice", ""] {
            let mut alice = Client::connect(hub.mqtt(), with(version, user, &token)).unwrap();
            assert_eq!(alice.try_subscribe("u/alice/inbox", 1), 1, "{name} {version:?} {user:?}");
            alice.leaves();
        }
        let (code, reason) = refusal(&hub, with(version, "bob", &token));
        assert_eq!(code, if version == Version::V5 { NOT_AUTHORIZED } else { 5 }, "{name} {version:?}");
        assert!(reason.is_none_or(|reason| reason == "the token is that of another user"));
        assert!(!hub.log().contains(&token), "a token in the log");
    }
}

#[test]
fn a_token_that_is_forged_expired_or_for_others_is_refused_with_a_reason() {
    let folder = new_folder();
    let (secret, ec) = (Signer::hs256(), Signer::es256());
    let hub = believing(&[&secret, &ec], folder.path()).set("login.token_leeway", "1s").start();
    let in_a_minute = in_time(MINUTE);
    let foreign = "the token is not signed by a key that counts here";
    for (token, reason) in [
        (Signer::hs256().lets_in("alice"), foreign),
        (Signer::es256().lets_in("alice"), foreign),
        (Signer::eddsa().lets_in("alice"), foreign),
        // The public key of the server as a secret, and algorithms that it does not have.
        (Signer::with_secret(&ec.public_pem()).lets_in("alice"), foreign),
        (Signer::with_secret(ec.public_pem().trim()).lets_in("alice"), foreign),
        (ec.says_as("HS256", claims("alice", json!({}))), foreign),
        (secret.says_as("none", claims("alice", json!({}))), foreign),
        (secret.says_as("HS512", claims("alice", json!({}))), foreign),
        (secret.says(json!({ "sub": "alice", "exp": in_a_minute - 120 })), "the token has expired"),
        (secret.says(claims("alice", json!({ "nbf": in_a_minute }))), "the token does not count yet"),
        (secret.says(claims("alice", json!({ "aud": "other" }))), "the token is for another audience"),
        (secret.says(claims("a/b", json!({}))), "the token names nobody who can be a user"),
    ] {
        let answer = refusal(&hub, with(Version::V5, "alice", &token));
        assert_eq!(answer, (NOT_AUTHORIZED, Some(reason.to_owned())), "{token}");
        assert!(!hub.log().contains(&token), "a token in the log");
    }
    assert_eq!(refusal(&hub, with(Version::V5, "alice", "wonderland")).0, 0x86, "what is no token");
    hub.client(with(Version::V5, "alice", &secret.lets_in("alice"))).leaves();
}

/// How long the tokens of that story count: long enough for a slow machine to come in with.
const SHORT: Duration = Duration::from_secs(6);

#[test]
fn the_connection_ends_when_the_token_does_and_the_session_goes_on_with_the_next() {
    let folder = new_folder();
    let signer = Signer::hs256();
    let hub = believing(&[&signer], folder.path()).set("login.token_leeway", "0s").start();
    let all =
        |user: &str, time| json!({ "sub": user, "exp": in_time(time), "publish": ["#"], "subscribe": ["#"] });
    let connect = |version: Version, time| {
        let user = format!("alice{}", version as u8);
        with(version, &user, &signer.says(all(&user, time))).persistent()
    };
    let mut watcher = hub.client(with(Version::V5, "carol", &signer.says(all("carol", MINUTE * 10))));
    watcher.subscribe("wills/#", 1);
    let mut short = VERSIONS.map(|version| {
        let will = Publish::new(format!("wills/{version:?}"), "gone").qos(1);
        let mut client = hub.client(connect(version, SHORT).will(will));
        client.subscribe(&format!("room/{version:?}"), 1);
        client
    });
    for (client, version) in short.iter_mut().zip(VERSIONS) {
        match (version, client.is_closed()) {
            (Version::V5, Some((code, props))) => {
                let reason = "the login was good until now: log in again";
                assert_eq!((code, props.text(REASON).as_deref()), (0xa0, Some(reason)));
            }
            (_, end) => assert_eq!(end, None, "3.x has no word for it"),
        }
        assert_eq!(watcher.receives_on(&format!("wills/{version:?}")).text(), "gone");
        watcher.publish(Publish::new(format!("room/{version:?}"), "kept").qos(1));
        // Another token while the last one is still good: the end of the newest counts.
        hub.client(connect(version, SHORT)).vanishes();
        let mut again = hub.client(connect(version, MINUTE));
        assert!(again.session_present || version == Version::V31, "{version:?}");
        assert_eq!(again.receives().text(), "kept");
        if version == Version::V5 {
            again.stays_for(SHORT + Duration::from_secs(1));
        }
        again.leaves();
    }
}

#[test]
fn a_token_opens_topics_besides_the_rules_and_no_further_than_a_denial() {
    let folder = new_folder();
    let signer = Signer::eddsa();
    let rules = "topic deny room/secret\nuser bob\ntopic read news\n";
    let hub = believing(&[&signer], folder.path()).rules(rules).start();
    let with_rights = |user: &str, rights: Value| with(Version::V5, user, &signer.says(claims(user, rights)));
    let both = || json!({ "publish": ["room/#", "news"], "subscribe": ["room/+"] });
    let mut bob = hub.client(with_rights("bob", both()));
    for (filter, code) in [("room/1", 1), ("room/#", 1), ("news", 1), ("room/secret", NOT_AUTHORIZED)] {
        assert_eq!(bob.try_subscribe(filter, 1), code, "{filter}");
    }
    for closed in ["hall", "u/alice/inbox", "$SYS/broker/uptime", "dm/#"] {
        assert_eq!(bob.try_subscribe(closed, 1), NOT_AUTHORIZED, "{closed}");
    }
    let mut alice = hub.client(with_rights("alice", both()));
    for (topic, may) in
        [("room/1", true), ("room/1/2", true), ("news", true), ("room/secret", false), ("hall", false)]
    {
        let code = alice.publish(Publish::new(topic, topic).qos(1)).code;
        assert_eq!(code != NOT_AUTHORIZED, may, "{topic}: {code:02x}");
    }
    // "room/#" was granted as far as something in it may be read; each message is decided for itself.
    let heard = [bob.receives().topic, bob.receives().topic];
    assert_eq!(heard, ["room/1", "news"]);
    bob.has_nothing_more();
    let mut nobody = hub.client(with_rights("carol", json!({})));
    assert_eq!(nobody.try_subscribe("room/1", 1), NOT_AUTHORIZED);
    assert_eq!(nobody.publish(Publish::new("room/1", "x").qos(1)).code, NOT_AUTHORIZED);
}

#[test]
fn what_waits_for_a_session_is_given_to_whoever_may_have_it_now() {
    let folder = new_folder();
    let signer = Signer::es256();
    let hub = believing(&[&signer], folder.path()).start();
    let comes = |subscribe: Value| {
        let token = signer.says(claims("bob", json!({ "subscribe": subscribe })));
        hub.client(with(Version::V5, "bob", &token).persistent())
    };
    let mut alice =
        hub.client(with(Version::V5, "alice", &signer.says(claims("alice", json!({ "publish": ["#"] })))));
    let mut first = comes(json!(["room/+"]));
    first.subscribe("room/#", 1);
    first.vanishes();
    for topic in ["room/1", "room/2"] {
        alice.publish(Publish::new(topic, topic).qos(1));
    }
    let mut second = comes(json!(["room/2"]));
    assert_eq!(second.receives().topic, "room/2");
    second.has_nothing_more();
    second.vanishes();
    alice.publish(Publish::new("room/2", "too late").qos(1));
    let mut third = comes(json!([]));
    third.has_nothing_more();
    third.leaves();
}

#[test]
fn keys_at_a_url_change_and_the_last_good_ones_count_while_it_fails() {
    let app = App::start();
    let (one, two) = (Signer::es256().called("1"), Signer::eddsa().called("2"));
    let set = |keys: &[&Signer]| json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
    let hub = tokens_only()
        .set("login.token_jwks", app.url("/keys"))
        .set("login.token_jwks_refresh", "1s")
        .set("login.token_jwks_pause", "10ms")
        .start();
    let comes = |signer: &Signer| {
        let connect = with(Version::V5, "alice", &signer.lets_in("alice"));
        Client::connect(hub.mqtt(), connect).map(Client::leaves).is_ok()
    };
    // Nothing was fetched yet, and nothing can be: nobody can be checked.
    app.answers("/keys", 500, "");
    for (version, unavailable) in [(Version::V5, 0x88), (Version::V311, 3)] {
        let code = refusal(&hub, with(version, "alice", &one.lets_in("alice"))).0;
        assert_eq!(code, unavailable, "{version:?}");
    }
    app.answers("/keys", 200, set(&[&one]));
    eventually("the keys are fetched", || comes(&one));
    // A name of a key that is not known is a reason to look again.
    app.answers("/keys", 200, set(&[&two]));
    eventually("the new key is found", || comes(&two));
    assert!(!comes(&one), "a key that is not there any more");
    for nonsense in ["", "[]", "{\"keys\":5}"] {
        app.answers("/keys", 200, nonsense);
        while app.was_asked().is_some() {}
        eventually("the set is asked for again", || {
            assert!(comes(&two), "the last good set counts");
            app.was_asked().is_some()
        });
        assert!(comes(&two) && !comes(&one));
    }
}

#[test]
fn keys_in_files_change_on_sighup_and_with_a_mistake_the_old_ones_count() {
    let folder = new_folder();
    let (old, new) = (Signer::es256(), Signer::es256());
    let hub = believing(&[&old], folder.path()).start();
    let comes = |signer: &Signer| {
        let connect = with(Version::V5, "alice", &signer.lets_in("alice"));
        Client::connect(hub.mqtt(), connect).map(Client::leaves).is_ok()
    };
    let mut stays = hub.client(with(Version::V5, "bob", &old.lets_in("bob")));
    std::fs::write(new.file_in(folder.path()), "no key").unwrap();
    hub.is_told_to_reload();
    let mistake = "keys of tokens not changed";
    eventually("the mistake is named", || hub.log().contains(mistake) && hub.log().contains("ES256.key"));
    assert!(comes(&old) && !comes(&new));
    assert_eq!(hub.counter("logins_refused_total"), 1);
    new.file_in(folder.path());
    hub.is_told_to_reload();
    eventually("the new key counts", || comes(&new));
    assert!(!comes(&old), "a key that is not there any more");
    stays.pings();
}

#[test]
fn tokens_that_were_revoked_count_no_longer_and_one_made_after_that_does() {
    let folder = new_folder();
    let signer = Signer::hs256();
    let hub = believing(&[&signer], folder.path()).start();
    let made = |at: Value| with(Version::V5, "alice", &signer.says(claims("alice", json!({ "iat": at }))));
    let mut alice = hub.client(made(json!(in_time(Duration::ZERO) - 5)));
    succeeds(&mut hub.command(&["user", "revoke-tokens", "alice"]));
    assert!(alice.is_closed().is_some());
    let revoked = "the tokens of this user were revoked".to_owned();
    for iat in [json!(in_time(Duration::ZERO) - 5), json!(null)] {
        assert_eq!(refusal(&hub, made(iat)), (NOT_AUTHORIZED, Some(revoked.clone())));
    }
    hub.client(made(json!(in_time(Duration::from_secs(2))))).leaves();
}

#[test]
fn tokens_and_passwords_stand_side_by_side() {
    let folder = new_folder();
    let signer = Signer::hs256();
    let hub = believing(&[&signer], folder.path()).set("login.users", "true").start();
    hub.adds_user("alice", "correct horse");
    for secret in ["correct horse".to_owned(), signer.lets_in("alice")] {
        hub.person("alice").with_password(&secret).arrives().leaves();
    }
    // What claims to be a token is not tried as a password.
    let forged = Signer::hs256().lets_in("alice");
    hub.changes_password("alice", &forged);
    assert_eq!(refusal(&hub, with(Version::V5, "alice", &forged)).0, NOT_AUTHORIZED);
}

#[test]
fn a_hub_does_not_start_with_keys_that_it_cannot_use() {
    let folder = new_folder();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, "{\"keys\":[]}").unwrap();
    let settings = tokens_only().set("login.token_keys", file.to_str().unwrap());
    let checked = run(&mut settings.command(folder.path(), &["config", "check"]));
    for ended in [settings.is_refused(), checked] {
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("login.token_keys") && said.contains("keys.json"), "{said}");
    }
}
