//! One connection, over TCP or WebSocket, with or without TLS, that reads whole packets.

use hubbub_tests::{Hub, RawClient, Trust, Way};

/// A connection.
pub struct Line {
    socket: RawClient,
    /// Bytes out of WebSocket frames that nobody took yet; nothing over TCP.
    frames: Option<Vec<u8>>,
}

impl Line {
    /// Over TCP.
    pub fn tcp(hub: &Hub) -> Line {
        Line { socket: hub.socket(), frames: None }
    }

    /// Over TLS.
    pub fn tls(hub: &Hub) -> Line {
        Line { socket: RawClient::over(&Way::tls(hub.mqtts(), &Trust::blind())), frames: None }
    }

    /// Over WebSocket.
    pub fn websocket(hub: &Hub) -> Line {
        Line::upgraded(hub, RawClient::connect(hub.websocket()))
    }

    /// Over WebSocket over TLS.
    pub fn wss(hub: &Hub) -> Line {
        Line::upgraded(hub, RawClient::over(&Way::tls(hub.wss(), &Trust::blind())))
    }

    /// Upgraded (RFC 6455).
    fn upgraded(hub: &Hub, mut socket: RawClient) -> Line {
        let mut answer = Vec::new();
        socket.sends(upgrade(hub, "mqtt"));
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(socket.takes(1));
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        assert!(answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        Line { socket, frames: Some(Vec::new()) }
    }

    /// Sends bytes, over WebSocket in one binary frame.
    pub fn sends(&mut self, bytes: &[u8]) {
        if self.frames.is_some() {
            self.socket.sends(frame(0x82, bytes));
        } else {
            self.socket.sends(bytes);
        }
    }

    /// Sends bytes past WebSocket.
    pub fn sends_raw(&mut self, bytes: &[u8]) {
        self.socket.sends(bytes);
    }

    /// The next packet, whole.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = self.takes(1);
        let (mut length, mut place) = (0, 0);
        loop {
            let byte = self.takes(1)[0];
            packet.push(byte);
            length |= usize::from(byte & 127) << place;
            place += 7;
            if byte < 128 {
                break;
            }
        }
        packet.extend(self.takes(length));
        packet
    }

    /// Everything up to the end of the connection. With TLS that is a close_notify, or the test ends here.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.socket.rest();
        let Some(buffer) = &mut self.frames else { return rest };
        let mut payload = std::mem::take(buffer);
        while let [first, length, ..] = rest[..] {
            let end = 2 + usize::from(length);
            assert!(length < 126 && end <= rest.len(), "a short frame: {rest:02x?}");
            if first == 0x82 {
                payload.extend(&rest[2..end]);
            }
            rest.drain(..end);
        }
        payload
    }

    fn takes(&mut self, count: usize) -> Vec<u8> {
        while self.frames.as_ref().is_some_and(|frames| frames.len() < count) {
            let payload = self.frame();
            self.frames.as_mut().unwrap().extend(payload);
        }
        match &mut self.frames {
            Some(frames) => frames.drain(..count).collect(),
            None => self.socket.takes(count),
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let head = self.socket.takes(2);
        assert_eq!(head[0], 0x82, "MQTT comes in whole binary frames [MQTT-6.0.0-1]");
        let length = match head[1] {
            126 => self.socket.takes(2).iter().fold(0, |all, byte| all << 8 | usize::from(*byte)),
            127 => self.socket.takes(8).iter().fold(0, |all, byte| all << 8 | usize::from(*byte)),
            length => usize::from(length),
        };
        self.socket.takes(length)
    }
}

/// The request that begins a WebSocket.
pub fn upgrade(hub: &Hub, protocol: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        hub.websocket()
    )
}

/// A frame as a client sends it; its mask is zero, so the bytes stay as they are.
pub fn frame(first: u8, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![first];
    match bytes.len() {
        short @ 0..126 => head.push(0x80 | short as u8),
        long => {
            head.push(0x80 | 126);
            head.extend((long as u16).to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head.extend(bytes);
    head
}
