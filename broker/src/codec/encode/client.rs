//! Packets of clients to bytes: for tests, benchmarks and fuzzing.
//!
//! Encodes what it is given, right or wrong, so that tests can send wrong packets too.

use bytes::{BufMut, BytesMut};

use super::super::packet::{
    Auth, Connect, Disconnect, Packet, Publish, Subscribe, SubscribeOptions, Unsubscribe, Version, Will,
};
use super::super::properties::{ConnectProperties, id};
use super::write::{Block, finish_packet, put_binary, put_text};
use super::{AckKind, AckNotes, Message, Shape};

/// Appends any packet of a client; CONNECT in its own version, which should be the same.
pub fn packet(out: &mut BytesMut, version: Version, packet: &Packet) {
    match packet {
        Packet::Connect(packet) => connect(out, packet),
        Packet::Publish(packet) => publish(out, version, packet),
        Packet::PubAck(ack) => put_ack(out, version, AckKind::PubAck, ack.packet_id, ack.reason),
        Packet::PubRec(ack) => put_ack(out, version, AckKind::PubRec, ack.packet_id, ack.reason),
        Packet::PubRel(ack) => put_ack(out, version, AckKind::PubRel, ack.packet_id, ack.reason),
        Packet::PubComp(ack) => put_ack(out, version, AckKind::PubComp, ack.packet_id, ack.reason),
        Packet::Subscribe(packet) => subscribe(out, version, packet),
        Packet::Unsubscribe(packet) => unsubscribe(out, version, packet),
        Packet::PingReq => pingreq(out),
        Packet::Disconnect(packet) => disconnect(out, version, packet),
        Packet::Auth(packet) => auth(out, packet),
    }
}

/// CONNECT.
pub fn connect(out: &mut BytesMut, packet: &Connect) {
    let mut body = BytesMut::new();
    let (name, level) = match packet.version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    put_text(&mut body, name);
    body.put_slice(&[level, connect_flags(packet)]);
    body.put_u16(packet.keep_alive);
    if packet.version.is_v5() {
        put_connect_properties(&mut body, &packet.properties);
    }
    put_text(&mut body, &packet.client_id);
    if let Some(will) = &packet.will {
        put_will(&mut body, packet.version, will);
    }
    if let Some(username) = &packet.username {
        put_text(&mut body, username);
    }
    if let Some(password) = &packet.password {
        put_binary(&mut body, password);
    }
    finish_packet(out, 0x10, &body);
}

/// PUBLISH with its payload.
pub fn publish(out: &mut BytesMut, version: Version, packet: &Publish) {
    let shape = Shape { version_is_v5: version.is_v5(), qos: packet.qos, retain: packet.retain };
    let message = Message {
        dup: packet.dup,
        topic: &packet.topic,
        packet_id: packet.packet_id,
        payload_len: packet.payload.len(),
        expiry: packet.expiry,
        alias: packet.alias,
        subscription_ids: &[],
        properties: &packet.properties,
    };
    super::publish_head(out, shape, &message);
    out.put_slice(&packet.payload);
}

/// SUBSCRIBE.
pub fn subscribe(out: &mut BytesMut, version: Version, packet: &Subscribe) {
    let mut body = BytesMut::new();
    body.put_u16(packet.packet_id);
    if version.is_v5() {
        let mut block = Block::default();
        block.variable(id::SUBSCRIPTION_ID, packet.id);
        block.finish(&mut body);
    }
    for (filter, options) in &packet.filters {
        put_text(&mut body, filter);
        body.put_u8(option_bits(*options));
    }
    finish_packet(out, 0x82, &body);
}

/// UNSUBSCRIBE.
pub fn unsubscribe(out: &mut BytesMut, version: Version, packet: &Unsubscribe) {
    let mut body = BytesMut::new();
    body.put_u16(packet.packet_id);
    if version.is_v5() {
        Block::default().finish(&mut body);
    }
    for filter in &packet.filters {
        put_text(&mut body, filter);
    }
    finish_packet(out, 0xa2, &body);
}

/// PINGREQ.
pub fn pingreq(out: &mut BytesMut) {
    out.put_slice(&[0xc0, 0]);
}

/// DISCONNECT; in its shortest form where it says nothing.
pub fn disconnect(out: &mut BytesMut, version: Version, packet: &Disconnect) {
    if version.is_v5() && (packet.reason, packet.session_expiry) != (0, None) {
        super::disconnect(out, packet.reason, None, None, packet.session_expiry);
    } else {
        finish_packet(out, 0xe0, &[]);
    }
}

/// AUTH.
pub fn auth(out: &mut BytesMut, packet: &Auth) {
    let mut block = Block::default();
    block.text(id::AUTHENTICATION_METHOD, packet.method.as_deref());
    block.binary(id::AUTHENTICATION_DATA, packet.data.as_ref());
    let mut body = BytesMut::new();
    body.put_u8(packet.reason);
    block.finish(&mut body);
    finish_packet(out, 0xf0, &body);
}

fn put_ack(out: &mut BytesMut, version: Version, kind: AckKind, packet_id: u16, reason: u8) {
    super::ack(out, version, kind, packet_id, reason, &AckNotes::default());
}

fn connect_flags(packet: &Connect) -> u8 {
    let will =
        packet.will.as_ref().map_or(0, |will| 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
    u8::from(packet.username.is_some()) << 7
        | u8::from(packet.password.is_some()) << 6
        | u8::from(packet.clean_start) << 1
        | will
}

fn put_connect_properties(body: &mut BytesMut, properties: &ConnectProperties) {
    let usual = ConnectProperties::default();
    let mut block = Block::default();
    block.u32(id::SESSION_EXPIRY, Some(properties.session_expiry).filter(|n| *n != usual.session_expiry));
    block.u16(id::RECEIVE_MAXIMUM, Some(properties.receive_maximum).filter(|n| *n != usual.receive_maximum));
    block.u32(id::MAXIMUM_PACKET_SIZE, properties.maximum_packet_size);
    block.u16(id::TOPIC_ALIAS_MAXIMUM, Some(properties.topic_alias_maximum).filter(|n| *n != 0));
    block.u8(id::REQUEST_RESPONSE_INFORMATION, properties.request_response_information.then_some(1));
    block.u8(id::REQUEST_PROBLEM_INFORMATION, (!properties.request_problem_information).then_some(0));
    block.user(&properties.user);
    block.text(id::AUTHENTICATION_METHOD, properties.authentication_method.as_deref());
    block.binary(id::AUTHENTICATION_DATA, properties.authentication_data.as_ref());
    block.finish(body);
}

fn put_will(body: &mut BytesMut, version: Version, will: &Will) {
    if version.is_v5() {
        let mut block = Block::default();
        block.u32(id::WILL_DELAY, Some(will.delay).filter(|seconds| *seconds != 0));
        block.u32(id::MESSAGE_EXPIRY, will.expiry);
        block.encoded(&will.properties.0);
        block.finish(body);
    }
    put_text(body, &will.topic);
    put_binary(body, &will.payload);
}

fn option_bits(options: SubscribeOptions) -> u8 {
    options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | options.retain_handling << 4
}
