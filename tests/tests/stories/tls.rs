//! MQTT over TLS and over WebSocket over TLS, with certificates made on the spot.

use hubbub_tests::certificates::Pair;
use hubbub_tests::client::Refused;
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::disconnect;
use hubbub_tests::{Authority, Connect, Hub, Publish, RawClient, Settings, Trust, Version, Way, message};
use rustls::version::{TLS12, TLS13};

/// An authority, and a pair for the usual address of a hub.
fn authority() -> (Authority, Pair) {
    let authority = Authority::new();
    let pair = authority.certifies(&["127.0.0.1"]);
    (authority, pair)
}

/// Every secure way to a hub.
fn ways(hub: &Hub, trust: &Trust) -> Vec<Way> {
    let trusts = [&TLS12, &TLS13].map(|version| trust.clone().speaking(version));
    let both = |trust| [Way::tls(hub.mqtts(), &trust), Way::tls(hub.wss(), &trust).websocket()];
    trusts.into_iter().flat_map(both).collect()
}

#[test]
fn people_chat_over_every_way_with_everybody() {
    let (authority, pair) = authority();
    let hub = Settings::dev().with_tls(&[&pair]).start();
    let mut bob = hub.person("bob").arrives();
    for (number, way) in ways(&hub, &authority.trusted()).iter().enumerate() {
        // Several, so that some of them live on another edge than the one that accepted them.
        for device in 0..4 {
            let name = format!("alice-{number}-{device}");
            let mut alice = hub.person(&name).over(way).arrives();
            alice.says("bob", "are you there?");
            bob.sees(message("are you there?").from(&name).seq(1));
            bob.says(&name, "yes");
            alice.sees(message("yes").from("bob").seq(2));
            // It says goodbye in the manner of TLS, or this panics.
            alice.leaves();
        }
    }
    assert!(hub.get("/metrics").text().contains("\nhubbub_tls_connections_total 16\n"));
    assert!(hub.get("/metrics").text().contains("\nhubbub_tls_failures_total 0\n"));
}

#[test]
fn large_messages_go_both_ways() {
    let (authority, pair) = authority();
    let hub = Settings::dev().with_tls(&[&pair]).set("limits.packet_bytes", "2MiB").start();
    let payload: Vec<u8> = (0..1024 * 1024u32).map(|number| (number / 255) as u8).collect();
    for way in ways(&hub, &authority.trusted()) {
        let mut alice = hub.person("alice").over(&way).connects();
        let mut bob = hub.person("bob").over(&way).connects();
        bob.subscribe("room/1", 1);
        let publish = || Publish::new("room/1", payload.clone()).qos(1);
        let sent = [publish(), publish(), publish()].map(|message| alice.send_publish(message));
        for _ in 0..3 {
            assert!(bob.receives().payload == payload, "the same bytes");
        }
        for id in sent {
            assert_eq!(alice.receipt(1, id).code, 0);
        }
        alice.leaves();
        bob.leaves();
    }
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let (authority, pair) = authority();
    let hub = Settings::dev().with_tls(&[&pair]).start();
    let mut bob = hub.person("bob").arrives();
    for way in ways(&hub, &authority.trusted()) {
        let mut alice = hub.person("alice").over(&way.piecemeal()).arrives();
        alice.says("bob", "slowly");
        bob.sees(message("slowly").from("alice"));
        bob.says("alice", "I have time");
        alice.sees(message("I have time"));
    }
}

#[test]
fn what_comes_with_the_goodbye_is_heard() {
    let (authority, pair) = authority();
    let hub = Settings::dev().with_tls(&[&pair]).start();
    let mut bob = hub.person("bob").arrives();
    for (number, way) in ways(&hub, &authority.trusted()).iter().enumerate() {
        let text = format!("last words {number}");
        let mut socket = RawClient::over(way);
        socket.sends(Connect::new(Version::V311, "a").user("alice").bytes()).hears_hex("20 02 00 00");
        socket.sends([Publish::new("dm/bob", text.clone()).bytes(Version::V311), disconnect()].concat());
        socket.is_closed();
        bob.sees(message(&text).from("alice"));
    }
}

#[test]
fn a_hub_that_stops_says_so_and_closes_in_the_manner_of_tls() {
    let (authority, pair) = authority();
    let mut hub = Settings::dev().with_tls(&[&pair]).start();
    let ways = ways(&hub, &authority.trusted());
    let people = ways.iter().enumerate();
    let mut people: Vec<_> =
        people.map(|(number, way)| hub.person(&format!("alice{number}")).over(way).connects()).collect();
    hub.is_told_to_stop();
    for alice in &mut people {
        assert_eq!(alice.is_closed().map(|(code, _)| code), Some(0x8b), "server shutting down");
    }
    assert_eq!(hub.ends().code(), Some(0));
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let authority = Authority::new();
    let first = authority.certifies(&["chat.example", "127.0.0.1"]);
    let second = authority.certifies(&["other.example", "*.wild.example"]);
    let hub = Settings::dev().with_tls(&[&first, &second]).start();
    let shown = |name: &str, trust: Trust| {
        Way::tls(hub.mqtts(), &trust.called(name)).shakes_hands().expect("a handshake")
    };
    for (name, pair) in [
        ("chat.example", &first),
        ("other.example", &second),
        ("OTHER.example", &second),
        ("a.wild.example", &second),
        ("127.0.0.1", &first),
    ] {
        for version in [&TLS12, &TLS13] {
            assert!(shown(name, authority.trusted().speaking(version)) == pair.der(), "for {name}");
        }
    }
    for name in ["nobody.example", "a.b.wild.example", "wild.example"] {
        assert!(shown(name, Trust::blind()) == first.der(), "the first for {name}");
    }
}

#[test]
fn a_client_that_does_not_believe_the_certificate_goes_and_nobody_else_notices() {
    let (authority, pair) = authority();
    let hub = Settings::dev().with_tls(&[&pair]).start();
    let mut alice = hub.person("alice").over(&Way::tls(hub.mqtts(), &authority.trusted())).arrives();
    for (trust, why) in [
        (Authority::new().trusted(), "UnknownIssuer"),
        (authority.trusted().called("chat.example"), "not valid for name"),
    ] {
        let error = Way::tls(hub.mqtts(), &trust).shakes_hands().expect_err("no handshake");
        assert!(error.contains(why), "{error}");
    }
    hub.person("bob").arrives().says("alice", "still there?");
    alice.sees(message("still there?"));
    eventually("both are counted", || hub.get("/metrics").text().contains("\nhubbub_tls_failures_total 2\n"));
    assert!(hub.log().contains("UnknownCA"), "the log says why");
}

#[test]
fn a_client_certificate_may_be_the_login() {
    let (authority, pair) = authority();
    let (clients, others) = (Authority::new(), Authority::new());
    let alice = clients.certifies_client("alice", "alice@chat.example");
    let nobody = clients.certifies_client("not/a/user", "alice@chat.example");
    let stranger = others.certifies_client("alice", "alice@chat.example");
    let settings = Settings::with_login()
        .with_tls(&[&pair])
        .set("tls.client_ca", clients.file().to_str().unwrap())
        .set("tls.client_user", "cn");
    for auth in ["optional", "required"] {
        let hub = settings.clone().set("tls.client_auth", auth).start();
        hub.adds_user("alice", "correct horse");
        hub.adds_user("bob", "battery staple");
        let mut bob = hub.person("bob").with_password("battery staple").arrives();
        let trust = authority.trusted();
        for way in ways(&hub, &trust.clone().showing(&alice)) {
            for arrival in [hub.person("alice"), hub.person("alice").nameless()] {
                let mut alice = arrival.over(&way).arrives();
                alice.says("bob", "it is me");
                bob.sees(message("it is me").from("alice"));
                alice.leaves();
            }
            // Not even with the right password.
            let other = hub.person("bob").on("other").with_password("battery staple").over(&way);
            assert_eq!(code(other.is_refused()), 0x87, "not authorised");
        }
        let tls = |trust| Way::tls(hub.mqtts(), &trust);
        let refused = hub.person("x").nameless().over(&tls(trust.clone().showing(&nobody))).is_refused();
        assert_eq!(code(refused), 0x87);
        for version in [&TLS12, &TLS13] {
            let trust = trust.clone().speaking(version);
            let refused = hub.person("alice").over(&tls(trust.clone().showing(&stranger))).is_refused();
            assert_eq!(refused, Refused::Closed, "a certificate of somebody else's authority");
            let without = hub.person("bob").on("without").with_password("battery staple").over(&tls(trust));
            match auth {
                "optional" => drop(without.arrives().leaves()),
                _ => assert_eq!(without.is_refused(), Refused::Closed),
            }
        }
    }
}

#[test]
fn a_client_certificate_may_only_open_the_door() {
    let (authority, pair) = authority();
    let clients = Authority::new();
    let shown = clients.certifies_client("whatever", "bob@chat.example");
    let settings = Settings::with_login()
        .with_tls(&[&pair])
        .set("tls.client_ca", clients.file().to_str().unwrap())
        .set("tls.client_auth", "required");
    let hub = settings.clone().start();
    hub.adds_user("alice", "correct horse");
    let way = Way::tls(hub.mqtts(), &authority.trusted().showing(&shown));
    hub.person("alice").with_password("correct horse").over(&way).arrives().leaves();
    assert_eq!(code(hub.person("alice").over(&way).is_refused()), 0x86, "without the password");
    // The same certificate by its e-mail address.
    let hub = settings.set("tls.client_user", "email").start();
    let way = Way::tls(hub.mqtts(), &authority.trusted().showing(&shown));
    hub.person("bob@chat.example").nameless().over(&way).arrives().leaves();
    assert_eq!(code(hub.person("whatever").over(&way).is_refused()), 0x87);
}

/// T18 and T19: whoever is slow or silent, wherever in the handshake, hurts nobody else and is gone at the deadline.
#[test]
fn the_slow_the_silent_and_the_confused_delay_nobody() {
    let (authority, pair) = authority();
    // One edge, so that everybody waits for the same one.
    let settings = Settings::dev().with_tls(&[&pair]).set("server.edges", "1");
    let hub = settings.set("limits.connect_deadline", "2s").start();
    let way = Way::tls(hub.mqtts(), &authority.trusted());
    let hello = way.hello();
    let stages: [&[u8]; 4] = [&[], &hello[..1], &hello[..hello.len() / 2], &hello];
    let mut silent = Vec::new();
    for address in [hub.mqtts(), hub.wss()] {
        for bytes in stages {
            for _ in 0..25 {
                let mut socket = RawClient::connect(address);
                socket.sends(bytes);
                silent.push(socket);
            }
        }
    }
    // Through the handshake, and not a byte of MQTT; or half a CONNECT.
    for part in [&[][..], &[0x10], &[0x10, 0x20, 0, 4, b'M']] {
        let mut socket = RawClient::over(&way);
        socket.sends(part);
        silent.push(socket);
    }
    let before = std::time::Instant::now();
    let mut alice = hub.person("alice").over(&way).arrives();
    let mut bob = hub.person("bob").over(&way).arrives();
    bob.says("alice", "hi");
    alice.sees(message("hi"));
    assert!(before.elapsed().as_secs() < 2, "a healthy login does not wait for their deadline");
    for socket in &mut silent {
        socket.ends();
    }
    let connect = Connect::new(Version::V5, "a").user("alice").bytes();
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let too_long = [0x16, 3, 1, 0xff, 0xff];
    let empty = [&[0x16, 3, 1, 0, 4, 1, 0, 0, 0][..], &hello].concat();
    for garbage in [&connect[..], http, &too_long, &empty, &[0xff; 300]] {
        for address in [hub.mqtts(), hub.wss()] {
            RawClient::connect(address).sends(garbage).ends();
        }
    }
    bob.says("alice", "still there?");
    alice.sees(message("still there?"));
    hub.is_healthy();
}

#[test]
fn certificates_are_read_again_on_sighup() {
    let (authority, pair) = authority();
    let old = pair.der();
    let hub = Settings::dev().with_tls(&[&pair]).start();
    let way = Way::tls(hub.mqtts(), &authority.trusted());
    let mut alice = hub.person("alice").over(&way).arrives();
    assert!(way.shakes_hands().unwrap() == old);
    let new = authority.certifies(&["127.0.0.1"]);
    pair.becomes(&new);
    assert!(way.shakes_hands().unwrap() == old, "not before it is told");
    hub.is_told_to_reload();
    eventually("the new certificate is shown", || way.shakes_hands().unwrap() == new.der());
    // Half of a new one: both stay as they were.
    std::fs::copy(&authority.certifies(&["127.0.0.1"]).key, &pair.key).unwrap();
    hub.is_told_to_reload();
    eventually("the mistake is named", || {
        hub.log().contains(&format!("is not the key of {}", pair.certificate.display()))
    });
    assert!(way.shakes_hands().unwrap() == new.der());
    hub.person("bob").arrives().says("alice", "still there?");
    alice.sees(message("still there?"));
}

#[test]
fn every_mistake_in_the_files_is_named_at_once() {
    let authority = Authority::new();
    let [good, mixed, empty, odd] = [(); 4].map(|()| authority.certifies(&["127.0.0.1"]));
    std::fs::copy(&good.key, &mixed.key).unwrap();
    std::fs::write(&empty.certificate, "").unwrap();
    std::fs::write(&odd.key, "-----BEGIN PRIVATE KEY-----\nnot base64!\n").unwrap();
    let missing = Pair { certificate: "no-such.pem".into(), key: "no-such.key".into() };
    let wrong = Settings::dev()
        .with_tls(&[&good, &mixed, &empty, &odd, &missing])
        .set("tls.client_ca", "no-such-ca.pem")
        .set("tls.client_auth", "optional");
    let folder = hubbub_tests::hub::new_folder();
    let check = wrong.command(folder.path(), &["config", "check"]).output().unwrap();
    let check = String::from_utf8(check.stderr).unwrap();
    let serve = wrong.is_refused();
    assert_eq!(serve.status.code(), Some(78), "{serve:?}");
    for said in [check, serve.stderr] {
        for (setting, file, what) in [
            ("tls.keys", mixed.key.to_str().unwrap(), "is not the key of"),
            ("tls.certificates", empty.certificate.to_str().unwrap(), "no certificate"),
            ("tls.keys", odd.key.to_str().unwrap(), "PEM"),
            ("tls.certificates", "no-such.pem", "cannot be read"),
            ("tls.keys", "no-such.key", "cannot be read"),
            ("tls.client_ca", "no-such-ca.pem", "cannot be read"),
        ] {
            let line = said.lines().find(|line| line.starts_with(&format!("{setting}: {file}: ")));
            assert!(line.is_some_and(|line| line.contains(what)), "{setting} {file} {what} in\n{said}");
        }
        assert!(!said.contains(good.certificate.to_str().unwrap()), "{said}");
    }
}

#[test]
fn a_certificate_that_ends_soon_is_named_in_the_log() {
    let authority = Authority::new();
    let (soon, later) = (authority.certifies_for(3), authority.certifies_for(30));
    let hub = Settings::dev().with_tls(&[&later, &soon]).start();
    let named = |pair: &Pair| hub.log().contains(pair.certificate.to_str().unwrap());
    eventually("it is named", || named(&soon));
    assert!(hub.log().contains("expires soon") && hub.log().contains("days=3"));
    assert!(!named(&later));
}

fn code(refused: Refused) -> u8 {
    match refused {
        Refused::Code(code, _) => code,
        Refused::Closed => panic!("closed without a CONNACK"),
    }
}
