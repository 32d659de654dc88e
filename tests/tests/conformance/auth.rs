//! Enhanced authentication by SCRAM-SHA-256, the one method that is offered (MQTT 5 §3.15, §4.12).

use std::sync::{Arc, Mutex, Weak};

use hubbub_tests::scram::{METHOD, Scram};
use hubbub_tests::wire::take_packet;
use hubbub_tests::{Hub, Packet, Props, Settings, Version};

use crate::talk::{THREE, Talk, five, versions};

const PASSWORD: &str = "wonderland";

#[test]
fn a_method_that_is_not_offered_is_refused() {
    five("a > CONNECT 02 0000 {15 <NONE>} <a%> \n a refused 8c");
    five("a > CONNECT 02 0000 {15 <NONE> 16 <data>} <a%> \n a refused 8c");
    five("a > CONNECT 02 0000 {15 <SCRAM-SHA-256> 16 <n,,n=alice,r=x>} <a%> \n a refused 8c"); // it is off there
    for other in ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "scram-sha-256", ""] {
        talk()
            .goes(&format!("a > CONNECT 02 0000 {{15 <{other}> 16 <n,,n=alice,r=x>}} <a%> \n a refused 8c"));
    }
}

#[test]
fn auth_without_a_method_is_a_protocol_error() {
    for auth in ["f0 00", "f0 ~ 18 {15 <NONE>}", "f0 ~ 19 {15 <NONE>}"] {
        five(&format!("a connects \n a > {auth} \n a ends 82"));
    }
}

#[test]
fn before_mqtt_5_there_is_no_auth() {
    versions(THREE, "a connects \n a > f0 00 \n a closed");
    versions(THREE, "a connects \n a > f0 ~ 19 00 \n a closed");
}

#[test]
fn a_client_that_names_no_method_is_sent_none() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("a > CONNECT 02 0000 {} <a%>");
    let connack = talk.line("a").packet();
    assert_eq!(connack[0], 0x20, "CONNACK and not AUTH: {connack:02x?}");
    assert!(!connack[5..].contains(&0x15), "no authentication method: {connack:02x?}");
}

#[test]
fn reserved_flags_of_auth_are_malformed() {
    for flags in 1..16 {
        five(&format!("a connects \n a > f{flags:x} 00 \n a ends 81"));
    }
}

#[test]
fn who_knows_the_password_comes_in_and_hears_that_the_server_knows_it() {
    for who in ["a", "a@ws"] {
        let mut talk = talk();
        let mut alice = Scram::new("alice", PASSWORD);
        let challenge = asks(&mut talk, who, &alice);
        answers(&mut talk, who, &alice.last(&challenge));
        let Packet::ConnAck { code: 0, props, .. } = hears(&mut talk, who) else { panic!("not let in") };
        assert_eq!(props.text(0x15).as_deref(), Some(METHOD), "CONNACK names the method of CONNECT");
        assert!(alice.trusts(&props.text(0x16).unwrap()));
        // As alice: her inbox is hers.
        talk.goes(&format!("{who} > 82 ~ 0001 {{}} <u/alice/inbox> 01 \n {who} < 90 ~ 0001 {{}} 01"));
    }
}

#[test]
fn the_server_goes_on_with_0x18_and_the_method_of_connect() {
    let mut talk = talk();
    asks(&mut talk, "a", &Scram::new("alice", PASSWORD));
}

#[test]
fn without_the_password_connack_says_no_whether_the_user_exists_or_not() {
    for (user, password) in [("alice", "Wonderland"), ("nobody", PASSWORD), ("~canary", ""), ("a/b", "")] {
        let mut talk = talk();
        let mut thief = Scram::new(user, password);
        let challenge = asks(&mut talk, "a", &thief);
        answers(&mut talk, "a", &thief.last(&challenge));
        talk.goes("a refused 86");
    }
}

#[test]
fn a_proof_is_good_once() {
    let mut talk = talk();
    let mut alice = Scram::new("alice", PASSWORD);
    let challenge = asks(&mut talk, "a", &alice);
    let last = alice.last(&challenge);
    comes_in(&mut talk, "a", &last);
    asks(&mut talk, "b", &alice);
    answers(&mut talk, "b", &last);
    talk.goes("b refused 86");
}

#[test]
fn what_is_no_scram_or_asks_for_more_than_there_is_gets_no_challenge() {
    let table = [
        ("nothing", "", ""),
        ("something else", "16 <PLAIN alice>", ""),
        ("half a message", "16 <n,,n=alice>", ""),
        ("channel binding", "16 <p=tls-exporter,,n=alice,r=xyz>", ""),
        ("to act as another user", "16 <n,a=bob,n=alice,r=xyz>", ""),
        ("another user than CONNECT names", "16 <n,,n=alice,r=xyz>", "<bob>"),
    ];
    for (what, data, user) in table {
        println!("{what}");
        let flags = if user.is_empty() { "02" } else { "82" };
        talk()
            .goes(&format!("a > CONNECT {flags} 0000 {{15 <{METHOD}> {data}}} <a%> {user} \n a refused 87"));
    }
}

#[test]
fn until_connack_only_a_further_auth_or_disconnect_is_taken() {
    let table = [
        ("PINGREQ", "c0 00", "a refused 82"),
        ("PUBLISH", "30 ~ <%/t> {} 'x'", "a refused 82"),
        ("SUBSCRIBE", "82 ~ 0001 {} <%/t> 00", "a refused 82"),
        ("SUBSCRIBE to nothing", "82 ~ 0001 {} <> 00", "a refused 82"),
        ("PUBLISH with alias 0", "30 ~ <%/t> {23 0000} 'x'", "a refused 82"),
        ("a second CONNECT", "CONNECT 02 0000 {} <a%>", "a refused 82"),
        ("AUTH that begins anew", "f0 ~ 19 {15 <SCRAM-SHA-256> 16 <n,,n=alice,r=x>}", "a refused 82"),
        ("AUTH without method", "f0 ~ 18 {16 <x>}", "a refused 82"),
        ("AUTH that is malformed", "f1 ~ 18 {15 <SCRAM-SHA-256>}", "a refused 81"),
        ("AUTH of another method", "f0 ~ 18 {15 <NONE> 16 <x>}", "a refused 8c"),
        ("AUTH without data", "f0 ~ 18 {15 <SCRAM-SHA-256>}", "a refused 87"),
        ("DISCONNECT", "e0 00", "a closed"),
    ];
    for (what, packet, end) in table {
        println!("{what}");
        let mut talk = talk();
        asks(&mut talk, "a", &Scram::new("alice", PASSWORD));
        talk.goes(&format!("a > {packet} \n {end}"));
    }
}

#[test]
fn auth_carries_nothing_but_method_and_data_so_that_it_fits_if_anything_does() {
    let (alice, mut talk) = (Scram::new("alice", PASSWORD), talk());
    begins(&mut talk, "a", "", &alice);
    let size = talk.line("a").packet().len();
    begins(&mut talk, "b", &format!("27 {size:08x}"), &alice);
    let auth = talk.line("b").packet();
    assert_eq!((auth[0], auth.len()), (0xf0, size), "as large as the client takes: {auth:02x?}");
    begins(&mut talk, "c", &format!("27 {:08x}", size - 1), &alice);
    talk.goes("c refused 95");
}

#[test]
fn the_deadline_of_the_connect_covers_the_authentication() {
    let settings = settings().set("limits.connect_deadline", "1s").set("store.engine", "memory");
    let mut talk = Talk::with(Arc::new(settings.start()), Version::V5);
    asks(&mut talk, "a", &Scram::new("alice", PASSWORD));
    talk.goes("a > f0 22 18 \n a closed");
}

#[test]
fn a_client_may_authenticate_again_and_goes_on_meanwhile() {
    let mut talk = talk();
    let mut alice = Scram::new("alice", PASSWORD);
    let challenge = asks(&mut talk, "a", &alice);
    comes_in(&mut talk, "a", &alice.last(&challenge));
    for _ in 0..2 {
        let challenge = asks_again(&mut talk, "a", &alice);
        talk.goes("a > c0 00 \n a < d0 00");
        talk.goes("a > 32 ~ <u/bob/inbox> 0007 {} 'x' \n a < 40 ~ 0007 87 {*}");
        talk.goes("a > 32 ~ <dm/bob> 0007 {} 'x' \n a < 40 ~ 0007 00 {*}");
        answers(&mut talk, "a", &alice.last(&challenge));
        let Packet::Auth { code: 0, props } = hears(&mut talk, "a") else { panic!("no success") };
        assert_eq!(names(&props), [0x15, 0x16], "AUTH names the method: {props:?}");
        assert_eq!(props.text(0x15).as_deref(), Some(METHOD));
        assert!(alice.trusts(&props.text(0x16).unwrap()));
    }
    talk.goes("a quiet");
}

#[test]
fn who_fails_to_authenticate_again_is_disconnected() {
    let mut talk = talk();
    let mut alice = Scram::new("alice", PASSWORD);
    let challenge = asks(&mut talk, "a", &alice);
    comes_in(&mut talk, "a", &alice.last(&challenge));
    let challenge = asks_again(&mut talk, "a", &alice);
    answers(&mut talk, "a", &Scram::new("alice", "guess").last(&challenge));
    talk.goes("a ends 87");
}

#[test]
fn the_user_of_a_connection_does_not_change() {
    let mut talk = talk();
    let mut alice = Scram::new("alice", PASSWORD);
    let challenge = asks(&mut talk, "a", &alice);
    comes_in(&mut talk, "a", &alice.last(&challenge));
    let bob = Scram::new("bob", PASSWORD);
    talk.goes(&format!("a > f0 ~ 19 {{15 <{METHOD}> 16 <{}>}} \n a ends 87", bob.first()));
}

#[test]
fn an_auth_out_of_turn_is_a_protocol_error() {
    let again = "f0 ~ 19 {15 <SCRAM-SHA-256> 16 <n,,n=alice,r=xyz>}";
    for auth in [
        "f0 ~ 18 {15 <SCRAM-SHA-256> 16 <c=biws>}",
        "f0 ~ 19 {15 <NONE> 16 <x>}",
        &format!("{again} ; {again}"),
    ] {
        let mut talk = talk();
        let mut alice = Scram::new("alice", PASSWORD);
        let challenge = asks(&mut talk, "a", &alice);
        comes_in(&mut talk, "a", &alice.last(&challenge));
        talk.goes(&format!("a > {auth} \n a ends 82"));
    }
}

#[test]
fn a_name_that_is_believed_without_a_password_is_not_believed_here() {
    let hub = Settings::dev().set("login.scram", "true").set("login.scram_iterations", "4096").start();
    hub.adds_user("alice", PASSWORD);
    let hub = Arc::new(hub);
    for (password, end) in [(PASSWORD, "a < 20 ~ 00 00 {*}"), ("guess", "a refused 86")] {
        let mut talk = Talk::with(hub.clone(), Version::V5);
        let mut alice = Scram::new("alice", password);
        let challenge = asks(&mut talk, "a", &alice);
        answers(&mut talk, "a", &alice.last(&challenge));
        talk.goes(end);
    }
    Talk::with(hub, Version::V5).goes("a > CONNECT 82 0000 {} <a%> <alice> \n a < 20 ~ 00 00 {*}");
}

#[test]
fn accounts_made_with_the_hub_stopped_and_changed_while_it_runs_can_be_proven_too() {
    let mut hub = settings().start();
    hub.stop();
    hub.adds_user("alice", PASSWORD);
    hub.restart();
    let hub = Arc::new(hub);
    let mut talk = Talk::with(hub.clone(), Version::V5);
    let mut comes = |who: &str, password: &str, end: &str| {
        let mut alice = Scram::new("alice", password);
        let challenge = asks(&mut talk, who, &alice);
        answers(&mut talk, who, &alice.last(&challenge));
        talk.goes(&format!("{who} {end}"));
    };
    comes("a", PASSWORD, "< 20 ~ 00 00 {*}");
    hub.changes_password("alice", "looking glass");
    comes("b", PASSWORD, "refused 86");
    comes("c", "looking glass", "< 20 ~ 00 00 {*}");
}

fn settings() -> Settings {
    Settings::with_login().set("login.scram", "true").set("login.scram_iterations", "4096")
}

/// A conversation with a hub that offers SCRAM and knows alice and bob: one process as long as any of them goes on.
fn talk() -> Talk {
    static HUB: Mutex<Weak<Hub>> = Mutex::new(Weak::new());
    let mut shared = HUB.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let hub = shared.upgrade().unwrap_or_else(|| {
        let hub = Arc::new(settings().start());
        hub.adds_user("alice", PASSWORD);
        hub.adds_user("bob", PASSWORD);
        *shared = Arc::downgrade(&hub);
        hub
    });
    Talk::with(hub, Version::V5)
}

/// Sends CONNECT with the first message, and these further properties.
fn begins(talk: &mut Talk, who: &str, properties: &str, scram: &Scram) {
    let id = who.replace('@', "-");
    let connect = format!("CONNECT 02 0000 {{{properties} 15 <{METHOD}> 16 <{}>}} <{id}%>", scram.first());
    talk.goes(&format!("{who} > {connect}"));
}

/// CONNECT; the challenge that follows.
fn asks(talk: &mut Talk, who: &str, scram: &Scram) -> String {
    begins(talk, who, "", scram);
    challenge(talk, who)
}

/// AUTH to authenticate again; the challenge that follows.
fn asks_again(talk: &mut Talk, who: &str, scram: &Scram) -> String {
    talk.goes(&format!("{who} > f0 ~ 19 {{15 <{METHOD}> 16 <{}>}}", scram.first()));
    challenge(talk, who)
}

fn challenge(talk: &mut Talk, who: &str) -> String {
    let Packet::Auth { code, props } = hears(talk, who) else { panic!("no AUTH") };
    assert_eq!(code, 0x18, "to go on");
    assert_eq!(names(&props), [0x15, 0x16], "method and data, nothing else: {props:?}");
    assert_eq!(props.text(0x15).as_deref(), Some(METHOD), "the method of CONNECT");
    props.text(0x16).unwrap()
}

fn answers(talk: &mut Talk, who: &str, last: &str) {
    talk.goes(&format!("{who} > f0 ~ 18 {{15 <{METHOD}> 16 <{last}>}}"));
}

fn comes_in(talk: &mut Talk, who: &str, last: &str) {
    answers(talk, who, last);
    talk.goes(&format!("{who} < 20 ~ 00 00 {{*}}"));
}

fn hears(talk: &mut Talk, who: &str) -> Packet {
    let mut bytes = talk.line(who).packet();
    take_packet(&mut bytes, Version::V5).expect("a whole packet")
}

fn names(props: &Props) -> Vec<u8> {
    props.0.iter().map(|(name, _)| *name).collect()
}
