//! T21: WebSocket.

use hubbub_tests::{Connect, Hub, RawClient, Settings, Version};

use crate::line::{Line, frame};
use crate::{MIB, grows};

/// Guards: `max_frame_size` and `max_message_size` before the login (`WebSocket::new`) and after it (`set_max_bytes`), no
/// extension is ever agreed on, `MAX_REQUEST`, and `Door::admits` for pages of elsewhere (websocket.rs).
#[test]
fn t21_inflated_and_huge_frames_are_bounded_and_foreign_pages_kept_out() {
    let hub = Settings::dev().set("store.engine", "memory").start();
    hub.is_healthy();
    let (connect, ping) = (Connect::new(Version::V5, "a").bytes(), [0xc0, 0]);
    // Compression is offered and not taken; a frame that says it is compressed ends the connection.
    let (mut inflated, answer) = opened(&hub, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(!answer.to_lowercase().contains("sec-websocket-extensions"), "{answer}");
    inflated.sends(frame(0xc2, &connect));
    assert!(!has_connack(&inflated.rest()), "a compressed frame was taken");
    let grown = grows(&hub, || {
        for (login, claims) in
            [(false, 20_000_u64), (false, u64::MAX >> 1), (true, 2 * MIB), (true, u64::MAX >> 1)]
        {
            let mut sockets: Vec<_> = (0..20).map(|_| opened(&hub, "").0).collect();
            for (number, socket) in sockets.iter_mut().enumerate() {
                if login {
                    let connect = Connect::new(Version::V5, format!("c{number}")).bytes();
                    assert!(has_connack(&socket.sends(frame(0x82, &connect)).takes(8)));
                }
                // What the frame claims is told by its header.
                socket.sends([&[0x82, 0xff][..], &claims.to_be_bytes(), &[0; 4]].concat());
            }
            sockets.iter_mut().for_each(|socket| drop(socket.rest()));
        }
        // One message of many small frames is a large message all the same.
        let mut endless = opened(&hub, "").0;
        endless.sends(frame(0x02, &[0x10])).sends(frame(0x00, &[0xff; 100]).repeat(500)).rest();
        // A request without an end.
        let mut endless = RawClient::connect(hub.websocket());
        endless.sends("GET /mqtt HTTP/1.1\r\n").sends("X: y\r\n".repeat(20_000)).rest();
    });
    assert!(grown < 16 * MIB, "grew by {} KiB", grown / 1024);
    let mut whole = Line::websocket(&hub);
    whole.sends(&connect);
    whole.sends(&ping);
    assert_eq!((whole.packet()[0], whole.packet()), (0x20, vec![0xd0, 0]));
    pages_of_elsewhere_are_kept_out(&hub);
}

fn pages_of_elsewhere_are_kept_out(hub: &Hub) {
    let listed = Settings::dev().set("listen.websocket_origins", "https://chat.example").start();
    for (hub, origin, status) in [
        (hub, "", "101"),
        (hub, "http://127.0.0.1", "101"),
        (hub, "http://127.0.0.1:3000", "101"),
        (hub, "https://evil.example", "403"),
        (hub, "http://127.0.0.1.evil.example", "403"),
        (hub, "null", "403"),
        (&listed, "https://chat.example", "101"),
        (&listed, "https://chat.example.evil.example", "403"),
        (&listed, "http://chat.example", "403"),
        (&listed, "http://127.0.0.1", "403"),
    ] {
        let header = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let mut socket = RawClient::connect(hub.websocket());
        let answer = socket.sends(request(hub, &header)).takes(12);
        assert_eq!(String::from_utf8_lossy(&answer[9..]), status, "a page of {origin:?}");
    }
}

/// A connection after the upgrade, and the answer to that.
pub fn opened(hub: &Hub, header: &str) -> (RawClient, String) {
    let mut socket = RawClient::connect(hub.websocket());
    let mut answer = Vec::new();
    socket.sends(request(hub, header));
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(socket.takes(1));
    }
    (socket, String::from_utf8(answer).unwrap())
}

fn request(hub: &Hub, header: &str) -> String {
    crate::line::upgrade(hub, "mqtt").replacen("\r\n", &format!("\r\n{header}"), 1)
}

/// Whether this begins with a binary frame that begins with CONNACK.
pub fn has_connack(bytes: &[u8]) -> bool {
    matches!(bytes, [0x82, _, 0x20, ..])
}
