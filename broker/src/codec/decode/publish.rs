//! PUBLISH (§3.3), and what it has in common with a will.

use bytes::{Bytes, BytesMut};

use super::super::error::CodecError;
use super::super::packet::{Publish, QoS, Version};
use super::super::properties::block::{Allowed, Block};
use super::super::properties::{Properties, id};
use super::super::text::check_topic_name;
use super::reader::Reader;

/// Identifiers that a PUBLISH may have on the wire; a subscription identifier is only for servers (MQTT-3.3.4-6).
const ALLOWED: Allowed = Allowed::new(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::SUBSCRIPTION_ID,
    id::TOPIC_ALIAS,
    id::USER,
]);

/// §3.3.1: QoS 3 and, but in 3.1, DUP at QoS 0 are malformed.
pub(super) fn check_flags(version: Version, flags: u8) -> Result<(), CodecError> {
    match (flags >> 1 & 3, flags & DUP) {
        (3, _) => Err(CodecError::Malformed("quality of service 3")),
        (0, DUP) if version != Version::V31 => Err(CodecError::Malformed("DUP at quality of service 0")),
        _ => Ok(()),
    }
}

pub(super) fn decode(
    version: Version,
    flags: u8,
    body: &mut Reader,
    users: usize,
) -> Result<Publish, CodecError> {
    let qos = QoS::from_bits(flags >> 1 & 3).unwrap_or_default();
    let topic = body.text()?;
    let packet_id = if qos == QoS::AtMostOnce { 0 } else { body.packet_id()? };
    let head =
        if version.is_v5() { publish_properties(&body.properties()?, users)? } else { Head::default() };
    match (topic.is_empty(), version.is_v5(), head.alias) {
        (true, true, None) => return Err(CodecError::Protocol("neither topic nor topic alias")),
        (true, true, Some(_)) => {}
        _ => check_topic_name(&topic)?,
    }
    Ok(Publish {
        dup: flags & DUP != 0 && qos != QoS::AtMostOnce,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_id,
        alias: head.alias,
        expiry: head.expiry,
        properties: head.rest,
        payload: body.rest(),
    })
}

const DUP: u8 = 0b1000;

/// What the properties of a message say to the server, and the rest, which travels on.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) alias: Option<u16>,
    pub(super) expiry: Option<u32>,
    pub(super) delay: u32,
    pub(super) rest: Properties,
}

fn publish_properties(encoded: &Bytes, users: usize) -> Result<Head, CodecError> {
    split_properties(encoded, ALLOWED, users)
}

/// Reads and checks `encoded`; properties for the server are taken out.
pub(super) fn split_properties(encoded: &Bytes, allowed: Allowed, users: usize) -> Result<Head, CodecError> {
    let mut head = Head::default();
    let mut block = Block::new(encoded, allowed, users);
    let mut kept = Kept::default();
    let mut start = 0;
    while let Some((id, value)) = block.next()? {
        let end = encoded.len() - block.left();
        match id {
            id::TOPIC_ALIAS => head.alias = Some(value.number() as u16),
            id::MESSAGE_EXPIRY => head.expiry = Some(value.number()),
            id::WILL_DELAY => head.delay = value.number(),
            id::SUBSCRIPTION_ID => return Err(CodecError::Protocol("subscription identifier from a client")),
            _ => kept.add(encoded, start, end),
        }
        start = end;
    }
    head.rest = Properties(kept.finish(encoded));
    Ok(head)
}

/// The kept parts: one slice as long as they touch each other, a copy from the first gap on.
#[derive(Debug, Default)]
struct Kept {
    start: usize,
    end: usize,
    copy: BytesMut,
}

impl Kept {
    fn add(&mut self, encoded: &Bytes, start: usize, end: usize) {
        if self.start == self.end {
            self.start = start;
        } else if self.end != start || !self.copy.is_empty() {
            if self.copy.is_empty() {
                self.copy.extend_from_slice(&encoded[self.start..self.end]);
            }
            self.copy.extend_from_slice(&encoded[start..end]);
        }
        self.end = end;
    }

    fn finish(self, encoded: &Bytes) -> Bytes {
        if self.copy.is_empty() { encoded.slice(self.start..self.end) } else { self.copy.freeze() }
    }
}
