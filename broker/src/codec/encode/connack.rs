//! CONNACK (§3.2).

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::super::packet::{QoS, Version};
use super::super::properties::id;
use super::write::{Block, finish_packet};

/// CONNACK.
#[derive(Debug, Clone, Default)]
pub struct ConnAck<'a> {
    /// Whether a session was there; sent as false with any code but 0 (§3.2.2.1.1), and in 3.1, which lacks it.
    pub session_present: bool,
    /// MQTT 5 reason code; for 3.x it goes through [`return_code_3`].
    pub code: u8,
    /// Left out for 3.x.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK (§3.2.2.3); what is `None` has the default that the specification gives it.
#[derive(Debug, Clone, Default)]
pub struct ConnAckProperties<'a> {
    /// Seconds, if other than asked for.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 messages that the server takes at once; default 65,535.
    pub receive_maximum: Option<u16>,
    /// Highest quality of service; 2 is the default and has no encoding.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are supported; default true.
    pub retain_available: Option<bool>,
    /// Bytes of the largest packet that the server takes; default no limit.
    pub maximum_packet_size: Option<u32>,
    /// The client identifier, if the client sent none.
    pub assigned_client_id: Option<ByteString>,
    /// Topic aliases that the client may use; default 0.
    pub topic_alias_maximum: Option<u16>,
    /// For people who read logs.
    pub reason: Option<&'a str>,
    /// User properties.
    pub user: Vec<(ByteString, ByteString)>,
    /// Seconds; the client must use it in place of its own.
    pub server_keep_alive: Option<u16>,
    /// Prefix for response topics.
    pub response_information: Option<ByteString>,
    /// Another server to use.
    pub server_reference: Option<ByteString>,
    /// The method that CONNECT named.
    pub authentication_method: Option<ByteString>,
    /// Data of that method.
    pub authentication_data: Option<Bytes>,
}

/// Appends CONNACK.
pub fn connack(out: &mut BytesMut, version: Version, packet: &ConnAck<'_>) {
    let present = packet.session_present && packet.code == 0 && version != Version::V31;
    let mut body = BytesMut::with_capacity(32);
    body.put_u8(u8::from(present));
    if version.is_v5() {
        body.put_u8(packet.code);
        put_properties(&mut body, &packet.properties);
    } else {
        body.put_u8(return_code_3(packet.code));
    }
    finish_packet(out, 0x20, &body);
}

/// Appends the CONNACK of a refusal, without its reason if the client does not take a packet of that size
/// (§3.2.2.3.9), and nothing if it does not take any.
pub fn refusal(out: &mut BytesMut, version: Version, code: u8, reason: &str, max: Option<u32>) {
    let properties = |reason| ConnAckProperties { reason, ..ConnAckProperties::default() };
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    refuse(out, version, code, [properties(reason), properties(None)], max);
}

/// Appends the CONNACK of a refusal that names another server, "use another server" (§4.11), as [`refusal`] does.
pub fn redirection(out: &mut BytesMut, version: Version, reason: &str, server: &str, max: Option<u32>) {
    let server_reference = Some(server.into());
    let both = ConnAckProperties { reason: Some(reason), server_reference, ..ConnAckProperties::default() };
    refuse(out, version, 0x9c, [both, ConnAckProperties::default()], max);
}

/// With the first of these that the client takes.
fn refuse(
    out: &mut BytesMut,
    version: Version,
    code: u8,
    in_turn: [ConnAckProperties<'_>; 2],
    max: Option<u32>,
) {
    let start = out.len();
    for properties in in_turn {
        connack(out, version, &ConnAck { session_present: false, code, properties });
        if max.is_none_or(|max| out.len() - start <= max as usize) {
            return;
        }
        out.truncate(start);
    }
}

/// The return code of MQTT 3.1.1 §3.2.2.3 that comes nearest to an MQTT 5 reason code.
pub fn return_code_3(code: u8) -> u8 {
    match code {
        0x00 => 0,
        0x84 => 1, // unacceptable protocol version
        0x85 => 2, // identifier rejected
        0x86 => 4, // bad user name or password
        0x80 | 0x83 | 0x88 | 0x89 | 0x8b | 0x97 | 0x9c | 0x9d | 0x9f => 3, // server unavailable
        _ => 5,    // not authorized
    }
}

fn put_properties(body: &mut BytesMut, properties: &ConnAckProperties<'_>) {
    let mut block = Block::default();
    block.u32(id::SESSION_EXPIRY, properties.session_expiry);
    block.u16(id::RECEIVE_MAXIMUM, properties.receive_maximum);
    let maximum_qos = properties.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce);
    block.u8(id::MAXIMUM_QOS, maximum_qos.map(|qos| qos as u8));
    block.u8(id::RETAIN_AVAILABLE, properties.retain_available.map(u8::from));
    block.u32(id::MAXIMUM_PACKET_SIZE, properties.maximum_packet_size);
    block.text(id::ASSIGNED_CLIENT_ID, properties.assigned_client_id.as_deref());
    block.u16(id::TOPIC_ALIAS_MAXIMUM, properties.topic_alias_maximum);
    block.text(id::REASON_STRING, properties.reason);
    block.user(&properties.user);
    block.u16(id::SERVER_KEEP_ALIVE, properties.server_keep_alive);
    block.text(id::RESPONSE_INFORMATION, properties.response_information.as_deref());
    block.text(id::SERVER_REFERENCE, properties.server_reference.as_deref());
    block.text(id::AUTHENTICATION_METHOD, properties.authentication_method.as_deref());
    block.binary(id::AUTHENTICATION_DATA, properties.authentication_data.as_ref());
    block.finish(body);
}
