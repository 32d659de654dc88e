//! MQTT over WebSocket, frame by frame.

use hubbub_tests::wire::disconnect;
use hubbub_tests::{Connect, Hub, Publish, RawClient, Version, message};

#[test]
fn a_browser_is_let_in_at_one_path_and_with_one_subprotocol() {
    let hub = Hub::start();
    assert_eq!(upgraded(&hub, "/mqtt", "mqtt").1, "HTTP/1.1 101");
    assert_eq!(upgraded(&hub, "/elsewhere", "mqtt").1, "HTTP/1.1 404");
    assert_eq!(upgraded(&hub, "/mqtt", "chat").1, "HTTP/1.1 400");
}

#[test]
fn frames_and_packets_need_not_agree() {
    let hub = Hub::start();
    let mut socket = client(&hub);
    let connect = Connect::new(Version::V311, "a").user("alice").bytes();
    for byte in connect {
        socket.sends(binary(&[byte]));
    }
    socket.hears_hex("82 04 20 02 00 00");
    socket.sends(binary(&[0xc0, 0, 0xc0, 0, 0xc0]));
    socket.sends(binary(&[0]));
    let answer = socket.takes(2);
    assert_eq!(answer[0], 0x82, "a binary frame: {answer:02x?}");
}

#[test]
fn what_comes_in_one_write_with_the_end_is_heard() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/1", 1);
    let mut bob = hub.person("bob").arrives();
    let mut socket = client(&hub);
    let connect = Connect::new(Version::V311, "a").user("alice").will(Publish::new("wills/1", "vanished"));
    socket.sends(binary(&connect.bytes())).hears_hex("82 04 20 02 00 00");
    let last_words = Publish::new("dm/bob", "last words").bytes(Version::V311);
    socket.sends([binary(&last_words), binary(&disconnect()), vec![0x88, 0x80, 0, 0, 0, 0]].concat());
    bob.sees(message("last words").from("alice"));
    hub.person("carol").connects().publish(Publish::new("wills/1", "no will before this").qos(1));
    assert_eq!(heir.receives().text(), "no will before this");
}

#[test]
fn text_frames_are_no_mqtt() {
    let hub = Hub::start();
    let mut socket = client(&hub);
    socket.sends([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    // Whatever close frame comes first, the end follows.
    socket.rest();
    hub.is_healthy();
}

fn client(hub: &Hub) -> RawClient {
    let (mut socket, status) = upgraded(hub, "/mqtt", "mqtt");
    assert_eq!(status, "HTTP/1.1 101");
    let mut headers = Vec::new();
    while !headers.ends_with(b"\r\n\r\n") {
        headers.extend(socket.takes(1));
    }
    let headers = String::from_utf8(headers).unwrap().to_lowercase();
    assert!(headers.contains("sec-websocket-protocol: mqtt\r\n"), "{headers}");
    socket
}

/// Asks for an upgrade; the first words of the answer.
fn upgraded(hub: &Hub, path: &str, protocol: &str) -> (RawClient, String) {
    let mut socket = RawClient::connect(hub.websocket());
    let host = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n", hub.websocket());
    let version = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let protocol = format!("Sec-WebSocket-Protocol: {protocol}\r\n\r\n");
    socket.sends([&host, version, key, &protocol].concat());
    let status = String::from_utf8(socket.takes(12)).unwrap();
    (socket, status)
}

/// A short binary frame as a client sends it (RFC 6455 §5.2); its mask is zero, so the bytes stay as they are.
fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 126).expect("a short frame");
    [&[0x82, 0x80 | length, 0, 0, 0, 0], bytes].concat()
}
