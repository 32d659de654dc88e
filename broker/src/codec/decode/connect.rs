//! CONNECT (§3.1).

use bytes::Bytes;

use super::super::error::CodecError;
use super::super::packet::{Connect, QoS, Version, Will};
use super::super::properties::block::{Allowed, Block, Value, owned, slice};
use super::super::properties::{ConnectProperties, id};
use super::super::text::check_topic_name;
use super::publish::{Head, split_properties};
use super::reader::Reader;

/// §3.1.2.11
const ALLOWED: Allowed = Allowed::new(&[
    id::SESSION_EXPIRY,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::REQUEST_PROBLEM_INFORMATION,
    id::REQUEST_RESPONSE_INFORMATION,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::USER,
    id::MAXIMUM_PACKET_SIZE,
]);

/// §3.1.3.2
const ALLOWED_IN_WILL: Allowed = Allowed::new(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::WILL_DELAY,
    id::USER,
]);

/// Protocol name and level (§3.1.2.1, §3.1.2.2).
pub(super) fn version(body: &mut Reader) -> Result<Version, CodecError> {
    let name = body.text()?;
    match (&*name, body.u8()?) {
        ("MQIsdp", 3) => Ok(Version::V31),
        ("MQTT", 4) => Ok(Version::V311),
        ("MQTT", 5) => Ok(Version::V5),
        ("MQTT" | "MQIsdp", level) => Err(CodecError::UnsupportedVersion(level)),
        _ => Err(CodecError::Protocol("protocol name")),
    }
}

/// What stands in front of the properties.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    version: Version,
    flags: Flags,
    keep_alive: u16,
}

/// What follows on the level, up to the payload.
pub(super) fn opening(
    version: Version,
    body: &mut Reader,
    users: usize,
) -> Result<(Opening, ConnectProperties), CodecError> {
    let flags = Flags(body.u8()?);
    flags.check(version)?;
    let keep_alive = body.u16()?;
    let properties =
        if version.is_v5() { properties(&body.properties()?, users)? } else { ConnectProperties::default() };
    Ok((Opening { version, flags, keep_alive }, properties))
}

/// The payload (§3.1.3).
pub(super) fn payload(
    opening: Opening,
    properties: ConnectProperties,
    body: &mut Reader,
    users: usize,
) -> Result<Connect, CodecError> {
    let Opening { version, flags, keep_alive } = opening;
    let client_id = body.text()?;
    let will = if flags.will() { Some(will(version, flags, body, users)?) } else { None };
    let username = if flags.has_username(version, body) { Some(body.text()?) } else { None };
    let password = if flags.has_password(version, body) { Some(body.binary()?) } else { None };
    Ok(Connect {
        version,
        clean_start: flags.has(0x02),
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

/// The connect flags (§3.1.2.3).
#[derive(Debug, Clone, Copy)]
struct Flags(u8);

impl Flags {
    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn will(self) -> bool {
        self.has(0x04)
    }

    fn will_qos(self) -> u8 {
        self.0 >> 3 & 3
    }

    fn check(self, version: Version) -> Result<(), CodecError> {
        let strict = version != Version::V31;
        if strict && self.has(0x01) {
            return Err(CodecError::Malformed("reserved connect flag"));
        }
        // MQTT 3.1 §3.1 disregards quality of service and retain of a will that is not there.
        if strict && !self.will() && self.has(0x38) {
            return Err(CodecError::Malformed("will flags without a will"));
        }
        if self.will() && self.will_qos() == 3 {
            return Err(CodecError::Malformed("will of quality of service 3"));
        }
        // Allowed since MQTT 5 (§3.1.2.9).
        if !version.is_v5() && self.has(0x40) && !self.has(0x80) {
            return Err(CodecError::Malformed("password without user name"));
        }
        Ok(())
    }

    fn has_username(self, version: Version, body: &Reader) -> bool {
        self.has(0x80) && !left_out(version, body)
    }

    fn has_password(self, version: Version, body: &Reader) -> bool {
        self.has(0x40) && !left_out(version, body)
    }
}

/// In MQTT 3.1 the remaining length takes precedence over these two flags, for clients of MQTT 3.
fn left_out(version: Version, body: &Reader) -> bool {
    version == Version::V31 && body.is_empty()
}

fn will(version: Version, flags: Flags, body: &mut Reader, users: usize) -> Result<Will, CodecError> {
    let head = if version.is_v5() {
        split_properties(&body.properties()?, ALLOWED_IN_WILL, users)?
    } else {
        Head::default()
    };
    let topic = body.text()?;
    check_topic_name(&topic)?;
    Ok(Will {
        topic,
        payload: body.binary()?,
        qos: QoS::from_bits(flags.will_qos()).unwrap_or_default(),
        retain: flags.has(0x20),
        delay: head.delay,
        expiry: head.expiry,
        properties: head.rest,
    })
}

fn properties(encoded: &Bytes, users: usize) -> Result<ConnectProperties, CodecError> {
    let mut properties = ConnectProperties::default();
    let mut block = Block::new(encoded, ALLOWED, users);
    while let Some((id, value)) = block.next()? {
        set(&mut properties, encoded, id, value);
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(CodecError::Protocol("authentication data without method"));
    }
    Ok(properties)
}

fn set(properties: &mut ConnectProperties, encoded: &Bytes, id: u8, value: Value<'_>) {
    match (id, value) {
        (id::SESSION_EXPIRY, Value::Number(n)) => properties.session_expiry = n,
        (id::RECEIVE_MAXIMUM, Value::Number(n)) => properties.receive_maximum = n as u16,
        (id::MAXIMUM_PACKET_SIZE, Value::Number(n)) => properties.maximum_packet_size = Some(n),
        (id::TOPIC_ALIAS_MAXIMUM, Value::Number(n)) => properties.topic_alias_maximum = n as u16,
        (id::REQUEST_RESPONSE_INFORMATION, Value::Number(n)) => {
            properties.request_response_information = n == 1
        }
        (id::REQUEST_PROBLEM_INFORMATION, Value::Number(n)) => {
            properties.request_problem_information = n == 1
        }
        (id::AUTHENTICATION_METHOD, Value::Text(t)) => {
            properties.authentication_method = Some(owned(encoded, t))
        }
        (id::AUTHENTICATION_DATA, Value::Binary(b)) => {
            properties.authentication_data = Some(slice(encoded, b))
        }
        (_, Value::Pair(key, value)) => properties.user.push((owned(encoded, key), owned(encoded, value))),
        _ => {}
    }
}
