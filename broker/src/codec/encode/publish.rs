//! PUBLISH (§3.3): one encoding for many receivers.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::packet::QoS;
use super::super::properties::{Properties, id};
use super::super::varint;
use super::write::{put_text, text_len};

/// What makes two encodings of one message differ in more than packet identifier and DUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Whether there are properties.
    pub version_is_v5: bool,
    /// Quality of service towards the receiver.
    pub qos: QoS,
    /// The retain flag towards the receiver.
    pub retain: bool,
}

/// What one PUBLISH says, save its payload. The last four are left out for 3.x receivers.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Sent before; ignored at QoS 0.
    pub dup: bool,
    /// Empty if `alias` stands for it.
    pub topic: &'a str,
    /// Ignored at QoS 0.
    pub packet_id: u16,
    /// Bytes that the caller will append as payload.
    pub payload_len: usize,
    /// Seconds that are left of the message expiry.
    pub expiry: Option<u32>,
    /// Topic alias towards this receiver.
    pub alias: Option<u16>,
    /// Subscription identifiers of the receiver that matched.
    pub subscription_ids: &'a [u32],
    /// What travels along unchanged.
    pub properties: &'a Properties,
}

/// Appends everything before the payload. Returns where, counted from the first byte appended, the packet
/// identifier stands (at QoS 0, where it would).
///
/// The caller makes sure that [`publish_len`] is within the receiver's Maximum Packet Size.
pub fn publish_head(out: &mut BytesMut, shape: Shape, message: &Message<'_>) -> usize {
    let start = out.len();
    let remaining = remaining_len(shape, message);
    out.reserve(1 + varint::len(remaining) + remaining - message.payload_len);
    out.put_u8(first_byte(shape, message.dup));
    varint::write(out, remaining);
    put_text(out, message.topic);
    let packet_id_at = out.len() - start;
    if shape.qos != QoS::AtMostOnce {
        out.put_u16(message.packet_id);
    }
    if shape.version_is_v5 {
        put_properties(out, message);
    }
    packet_id_at
}

/// Bytes of the whole packet with its payload, without encoding it.
pub fn publish_len(shape: Shape, message: &Message<'_>) -> usize {
    let remaining = remaining_len(shape, message);
    1 + varint::len(remaining) + remaining
}

/// An encoded head that is shared: each receiver gets a copy with its own packet identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The head, with whatever packet identifier it was encoded with, and DUP as it was encoded.
    pub head: Bytes,
    /// Where the packet identifier stands in it; `None` at QoS 0.
    pub packet_id_at: Option<usize>,
}

impl Encoded {
    /// Encodes the head of `message`.
    pub fn new(shape: Shape, message: &Message<'_>) -> Encoded {
        let mut out = BytesMut::new();
        let at = publish_head(&mut out, shape, message);
        Encoded { head: out.freeze(), packet_id_at: (shape.qos != QoS::AtMostOnce).then_some(at) }
    }

    /// Appends the head with this packet identifier and DUP; at QoS 0 as it is.
    pub fn write(&self, out: &mut BytesMut, packet_id: u16, dup: bool) {
        let start = out.len();
        out.put_slice(&self.head);
        let Some(at) = self.packet_id_at else { return };
        if let Some(place) = out.get_mut(start + at..start + at + 2) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
        if let Some(first) = out.get_mut(start) {
            *first = *first & !DUP | if dup { DUP } else { 0 };
        }
    }
}

const DUP: u8 = 0b1000;

fn first_byte(shape: Shape, dup: bool) -> u8 {
    let dup = if dup && shape.qos != QoS::AtMostOnce { DUP } else { 0 };
    0x30 | dup | (shape.qos as u8) << 1 | u8::from(shape.retain)
}

fn remaining_len(shape: Shape, message: &Message<'_>) -> usize {
    let packet_id = if shape.qos == QoS::AtMostOnce { 0 } else { 2 };
    let properties = if shape.version_is_v5 {
        let block = properties_len(message);
        varint::len(block) + block
    } else {
        0
    };
    text_len(message.topic) + packet_id + properties + message.payload_len
}

fn properties_len(message: &Message<'_>) -> usize {
    let expiry = message.expiry.map_or(0, |_| 5);
    let alias = message.alias.map_or(0, |_| 3);
    let ids: usize = message.subscription_ids.iter().map(|id| 1 + varint::len(*id as usize)).sum();
    expiry + alias + ids + message.properties.0.len()
}

fn put_properties(out: &mut BytesMut, message: &Message<'_>) {
    varint::write(out, properties_len(message));
    if let Some(seconds) = message.expiry {
        out.put_u8(id::MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    if let Some(alias) = message.alias {
        out.put_u8(id::TOPIC_ALIAS);
        out.put_u16(alias);
    }
    for subscription in message.subscription_ids {
        out.put_u8(id::SUBSCRIPTION_ID);
        varint::write(out, *subscription as usize);
    }
    out.put_slice(&message.properties.0);
}
