//! What a server sends.

use super::props::{take, take_text, take_varint};
use super::{Props, Publish, Version};

/// A packet from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Answer to CONNECT.
    ConnAck {
        /// Whether the server had a session.
        session_present: bool,
        /// Return code (3.x) or reason code (5); 0 is success.
        code: u8,
        /// MQTT 5 properties.
        props: Props,
    },
    /// A message.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack {
        /// First byte, see [`super::ack`].
        kind: u8,
        /// Packet identifier.
        id: u16,
        /// Reason code; 0 in 3.x.
        code: u8,
        /// MQTT 5 properties.
        props: Props,
    },
    /// SUBACK or UNSUBACK.
    Codes {
        /// Packet identifier.
        id: u16,
        /// One for each filter; empty for an UNSUBACK of 3.x.
        codes: Vec<u8>,
        /// MQTT 5 properties.
        props: Props,
    },
    /// PINGRESP.
    PingResp,
    /// AUTH (5 only).
    Auth {
        /// Reason code.
        code: u8,
        /// Properties.
        props: Props,
    },
    /// DISCONNECT (5 only).
    Disconnect {
        /// Reason code.
        code: u8,
        /// Properties.
        props: Props,
    },
}

/// Takes the first whole packet out of the buffer, or nothing while it is incomplete.
///
/// # Panics
/// If the server may not send what it sent.
pub fn take_packet(buffer: &mut Vec<u8>, version: Version) -> Option<Packet> {
    let mut rest = buffer.as_slice();
    let (&first, after) = rest.split_first()?;
    rest = after;
    let length = take_varint(&mut rest)?;
    if rest.len() < length {
        return None;
    }
    let packet = read(first, &rest[..length], version);
    let used = buffer.len() - rest.len() + length;
    buffer.drain(..used);
    Some(packet)
}

fn read(first: u8, mut body: &[u8], version: Version) -> Packet {
    let five = version == Version::V5;
    match first {
        0x20 => Packet::ConnAck {
            session_present: byte(&mut body) == 1,
            code: byte(&mut body),
            // A refusal may be worded in an older version than the one that asked (MQTT 5 §3.1.2.2).
            props: if body.is_empty() { Props::default() } else { properties(&mut body, five) },
        },
        0x30..=0x3f => Packet::Publish(publish(first, body, five)),
        0x40 | 0x50 | 0x62 | 0x70 => {
            let id = short(&mut body);
            let code = if body.is_empty() { 0 } else { byte(&mut body) };
            let props = if body.is_empty() { Props::default() } else { properties(&mut body, five) };
            Packet::Ack { kind: first, id, code, props }
        }
        0x90 | 0xb0 => {
            let id = short(&mut body);
            let props = properties(&mut body, five);
            Packet::Codes { id, codes: body.to_vec(), props }
        }
        0xd0 => Packet::PingResp,
        0xf0 if five => {
            let code = byte(&mut body);
            Packet::Auth { code, props: properties(&mut body, five) }
        }
        0xe0 if five => {
            let code = if body.is_empty() { 0 } else { byte(&mut body) };
            let props = if body.is_empty() { Props::default() } else { properties(&mut body, five) };
            Packet::Disconnect { code, props }
        }
        _ => panic!("the server sent a packet that begins with 0x{first:02x} to a {version:?} client"),
    }
}

fn publish(first: u8, mut body: &[u8], five: bool) -> Publish {
    let topic = take_text(&mut body);
    let qos = first >> 1 & 3;
    let id = if qos > 0 { short(&mut body) } else { 0 };
    let props = properties(&mut body, five);
    Publish { topic, payload: body.to_vec(), qos, retain: first & 1 != 0, dup: first & 8 != 0, id, props }
}

fn properties(body: &mut &[u8], five: bool) -> Props {
    if !five {
        return Props::default();
    }
    let length = take_varint(body).expect("a length of properties");
    Props::read(take(body, length))
}

fn byte(body: &mut &[u8]) -> u8 {
    take(body, 1)[0]
}

fn short(body: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(body, 2).try_into().unwrap())
}
