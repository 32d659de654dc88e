//! Proxies in front of a hub: T32, addresses that somebody else tells are believed from configured networks only.

use hubbub_tests::client::Refused;
use hubbub_tests::{Authority, Client, Connect, Hub, RawClient, Settings, Version, Way};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 1883\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x67\x07\x5b";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A hub with every door, and how to get to each: what is below WebSocket first.
fn hub(proxies: &str) -> (Hub, [Way; 4]) {
    let authority = Authority::new();
    let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]);
    let hub = settings.set("listen.proxy_from", proxies).start();
    let trust = authority.trusted();
    let ways = [
        Way::tcp(hub.mqtt()),
        Way::tls(hub.mqtts(), &trust),
        Way::tcp(hub.websocket()).websocket(),
        Way::tls(hub.wss(), &trust).websocket(),
    ];
    (hub, ways)
}

/// Comes in under a name of its own; from where, as the hub sees it.
fn seen_from(hub: &Hub, way: &Way, name: &str) -> String {
    hub.person("alice").on(name).over(way).connects().leaves();
    let log = hub.log();
    let line = log.lines().find(|line| line.contains("client connected") && line.contains(name)).unwrap();
    let peer = line.split("address=").nth(1).unwrap();
    peer.split(' ').next().unwrap().to_owned()
}

fn is_not_let_in(way: &Way) {
    let connect = Connect::new(Version::V311, "intruder").user("alice");
    assert_eq!(Client::over(way, connect).err(), Some(Refused::Closed));
}

#[test]
fn a_header_in_front_of_everything_tells_the_address_of_the_client() {
    let (hub, ways) = hub("10.0.0.0/8, 127.0.0.1");
    for (number, way) in ways.iter().enumerate() {
        for (version, header) in [("one", V1), ("two", V2)] {
            let peer = seen_from(&hub, &way.clone().behind(header), &format!("{version}{number}"));
            assert_eq!(peer, "192.0.2.7:4711");
        }
        // A check of the proxy's own.
        for (version, header) in [("none", &b"PROXY UNKNOWN\r\n"[..]), ("local", LOCAL)] {
            let peer = seen_from(&hub, &way.clone().behind(header), &format!("{version}{number}"));
            assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        }
    }
    assert_eq!(hub.get("/healthz").status(), 200, "the hub itself says who it is");
}

#[test]
fn an_upgrade_may_tell_it_as_well() {
    let (hub, [.., ws, wss]) = hub("10.0.0.0/8, 127.0.0.1");
    for (name, way) in [("plain", ws), ("secure", wss)] {
        let told = |value: &str| way.clone().with_field("X-Forwarded-For", value);
        assert_eq!(seen_from(&hub, &told("192.0.2.7"), &format!("{name}1")), "192.0.2.7:0");
        let chain = told("127.0.0.1, 192.0.2.8, 10.0.0.1");
        assert_eq!(seen_from(&hub, &chain, &format!("{name}2")), "192.0.2.8:0");
        is_not_let_in(&told("no address"));
    }
}

#[test]
fn whoever_comes_from_a_proxy_without_a_word_is_not_let_in() {
    let (hub, ways) = hub("127.0.0.1");
    let [tcp, tls, ws, wss] = &ways;
    is_not_let_in(tcp);
    let error = tls.shakes_hands().expect_err("no handshake before the header");
    assert!(!error.contains("certificate"), "{error}");
    is_not_let_in(ws);
    is_not_let_in(wss);
    RawClient::over(&tcp.clone().behind(b"PROXY TCP4 nonsense\r\n")).ends();
    // The next one is served.
    seen_from(&hub, &tcp.clone().behind(V1), "next");
}

#[test]
fn nobody_else_is_believed() {
    let (hub, ways) = hub("10.0.0.0/8");
    let [tcp, tls, ws, wss] = &ways;
    RawClient::over(&tcp.clone().behind(V1)).ends();
    RawClient::over(&tcp.clone().behind(V2)).ends();
    RawClient::over(&tls.clone().behind(V1)).sends([0x10, 0]).ends();
    for (name, way) in [("plain", ws), ("secure", wss)] {
        let way = way.clone().with_field("X-Forwarded-For", "192.0.2.7");
        let peer = seen_from(&hub, &way, name);
        assert!(peer.starts_with("127.0.0.1:") && !peer.ends_with(":0"), "{peer}");
    }
}
