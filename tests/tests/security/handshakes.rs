//! What comes before a login, and how long it may take: T18, T19, T32.

use std::time::Duration;

use hubbub_tests::client::Refused;
use hubbub_tests::scram::{METHOD, Scram};
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::Value;
use hubbub_tests::{Authority, Client, Connect, Hub, RawClient, Settings, Trust, Version, Way};

use crate::line::upgrade;

/// A hub with every door and one edge, so that everybody waits for the same one.
fn hub(deadline: &str) -> (Hub, Trust) {
    let authority = Authority::new();
    let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]).set("server.edges", "1");
    let hub = settings.set("store.engine", "memory").set("limits.connect_deadline", deadline).start();
    let trust = authority.trusted();
    (hub, trust)
}

fn doors(hub: &Hub, trust: &Trust) -> [Way; 4] {
    [
        Way::tcp(hub.mqtt()),
        Way::tls(hub.mqtts(), trust),
        Way::tcp(hub.websocket()).websocket(),
        Way::tls(hub.wss(), trust).websocket(),
    ]
}

/// Somebody at every stage of every handshake who says no more.
fn silent(hub: &Hub, trust: &Trust) -> Vec<RawClient> {
    let (hello, upgrade) = (Way::tls(hub.mqtts(), trust).hello(), upgrade(hub, "mqtt").into_bytes());
    let connect = Connect::new(Version::V5, "silent").bytes();
    let said = |at, bytes: &[u8]| {
        let mut socket = RawClient::connect(at);
        socket.sends(bytes);
        socket
    };
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let mut silent = Vec::new();
    for address in [hub.mqtt(), hub.websocket(), hub.mqtts(), hub.wss(), hub.http()] {
        silent.push(said(address, b""));
    }
    silent.extend([hub.mqtts(), hub.wss()].map(|at| said(at, &half(&hello))));
    silent.extend([hub.websocket(), hub.http()].map(|at| said(at, &half(&upgrade))));
    silent.push(said(hub.mqtt(), &half(&connect)));
    for way in doors(hub, trust) {
        let mut socket = RawClient::over(&way);
        socket.sends(&connect[..1]);
        silent.push(socket);
    }
    silent
}

/// The deadline is far away, so who gets in meanwhile has waited for nobody. What a full house of guests on the HTTP side does
/// is shown beside the code as well.
///
/// Guards: `accept` gives every newcomer a task of its own (edge/run.rs); `Guests::make_room` (cli serve/http/guest.rs), and
/// `header_read_timeout` for those who are left (serve/http.rs).
#[test]
fn t18_whoever_is_silent_in_a_handshake_delays_nobody() {
    let (hub, trust) = hub("5min");
    let mut silent: Vec<RawClient> = (0..10).flat_map(|_| self::silent(&hub, &trust)).collect();
    // Twice as many as the pages have places for.
    let mut guests: Vec<RawClient> = (0..128).map(|_| RawClient::connect(hub.http())).collect();
    for guest in &mut guests {
        guest.sends("GET /metrics HTTP/1.1\r\nX: ");
    }
    assert_eq!(hub.get("/healthz").status(), 200);
    for (number, way) in doors(&hub, &trust).iter().enumerate() {
        for version in [Version::V311, Version::V5] {
            let connect = Connect::new(version, format!("healthy-{number}"));
            Client::over(way, connect).unwrap_or_else(|refused| panic!("{refused:?}")).pings();
        }
    }
    assert!(hub.counter("handshakes") >= 120, "they are all there still");
    guests.iter_mut().for_each(RawClient::ends);
    silent.clear();
    eventually("and gone when they go", || hub.counter("handshakes") == 0);
}

/// Guard: `receive` has one time-out for all of it (edge/run.rs).
#[test]
fn t19_a_login_has_one_deadline_however_slowly_it_goes_on() {
    let (hub, trust) = hub("1s");
    let mut silent: Vec<RawClient> = silent(&hub, &trust);
    // A CONNECT that would take minutes, a byte at a time.
    let mut long = Connect::new(Version::V5, "slow");
    long.props = long.props.with_user("k", &"v".repeat(10_000));
    let pause = Duration::from_millis(20);
    for way in doors(&hub, &trust) {
        let mut socket = RawClient::over(&way);
        let took = socket.trickles(&long.bytes(), pause);
        assert!(took < 5000, "a byte now and then kept it open: {took} bytes");
        socket.ends();
    }
    for (at, bytes) in [
        (hub.mqtts(), Way::tls(hub.mqtts(), &trust).hello().repeat(100)),
        (hub.websocket(), format!("GET /mqtt HTTP/1.1\r\nX: {}", "y".repeat(10_000)).into_bytes()),
    ] {
        let mut socket = RawClient::connect(at);
        let took = socket.trickles(&bytes, pause);
        assert!(took < 5000, "a byte now and then kept it open: {took} bytes");
        socket.ends();
    }
    silent.iter_mut().for_each(RawClient::ends);
    eventually("nobody is left", || (hub.counter("handshakes"), hub.counter("connections")) == (0, 0));
    hub.is_healthy();
}

/// Guard: `authenticate` is awaited under the deadline of the CONNECT (edge/handshake/exchange.rs, edge/run.rs).
#[test]
fn t19_the_deadline_holds_for_an_authentication_of_several_messages() {
    let settings = Settings::with_login().set("login.scram", "true").set("login.scram_iterations", "4096");
    let hub = settings.set("limits.connect_deadline", "1s").start();
    hub.adds_user("alice", "wonderland");
    let mut connect = Connect::new(Version::V5, "a");
    let first = Scram::new("alice", "wonderland").first();
    connect.props =
        connect.props.with(0x15, Value::Bytes(METHOD.into())).with(0x16, Value::Bytes(first.into()));
    let mut socket = hub.socket();
    assert_eq!(socket.sends(connect.bytes()).takes(1), [0xf0], "it is asked for more");
    socket.ends();
    eventually("it is gone", || hub.counter("handshakes") == 0);
}

/// What is believed from where in more words: stories/proxies.rs.
///
/// Guards: `Proxies::trusts` is asked of the socket's own address, in `introduce_and_connect` (edge/handshake.rs) and in
/// `welcome` (edge/run.rs); `Proxies::forwarded` takes the last address that is not ours (proxy.rs).
#[test]
fn t32_addresses_that_others_tell_count_from_configured_networks_only() {
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 1883\r\n";
    let settings = Settings::dev().set("store.engine", "memory").set("limits.connections_per_address", "2");
    // Nobody is a proxy: a header is no MQTT, and a field of the request counts for nothing, not even for the limits.
    let hub = settings.clone().set("limits.loopback", "true").start();
    RawClient::over(&Way::tcp(hub.mqtt()).behind(header)).ends();
    let told = |hub: &Hub, address: &str, id: &str| {
        let way = Way::tcp(hub.websocket()).websocket().with_field("X-Forwarded-For", address);
        Client::over(&way, Connect::new(Version::V5, id))
    };
    eventually("it is gone", || hub.counter("handshakes") == 0);
    let here: Vec<Client> =
        (0..2).map(|n| told(&hub, &format!("192.0.2.{n}"), &format!("c{n}")).unwrap()).collect();
    let third = told(&hub, "192.0.2.99", "third").err();
    assert!(matches!(third, Some(Refused::Code(0x97, _))), "another address was believed: {third:?}");
    assert!(!hub.log().contains("192.0.2."), "{}", hub.log());
    drop(here);
    // This machine is a proxy: its word counts, and what its client wrote before it does not.
    let hub = settings.set("listen.proxy_from", "127.0.0.1").start();
    let told = |address: &str, id: &str| told(&hub, address, id);
    let _here = [told("192.0.2.7", "a").unwrap(), told("198.51.100.1, 192.0.2.7", "b").unwrap()];
    for forged in ["192.0.2.7", "198.51.100.2, 192.0.2.7", "127.0.0.1, 192.0.2.7, 127.0.0.1"] {
        let third = told(forged, "third").err();
        assert!(matches!(third, Some(Refused::Code(0x97, _))), "{forged}: {third:?}");
    }
    assert!(!hub.log().contains("198.51.100."), "{}", hub.log());
    told("192.0.2.8", "other").unwrap();
    Client::over(&hub.from("192.0.2.9"), Connect::new(Version::V5, "c")).unwrap().pings();
}
