//! What a client says, in a few bytes of a case.

use arbitrary::Arbitrary;
use bytes::Bytes;
use hubbub_broker::codec::{
    Ack, Connect, ConnectProperties, Disconnect, Packet, Properties, Publish, Subscribe, SubscribeOptions,
    Version,
};
use hubbub_broker::lane::Device;

use super::parcel::Level;
use crate::wire::ack;

/// The edge refuses clients for whom CONNACK is too large.
const SMALLEST_MAXIMUM: u16 = 16;

/// Packet identifiers that the client uses, so that it often uses one again.
const IDENTIFIERS: u8 = 8;

/// A CONNECT.
#[derive(Debug, Arbitrary)]
pub(super) struct Hello {
    version: u8,
    clean: bool,
    keep_alive: bool,
    expiry: bool,
    receive_maximum: u8,
    maximum_packet_size: Option<u16>,
    topic_alias_maximum: u8,
    problem_information: bool,
}

/// A PUBLISH.
#[derive(Debug, Arbitrary)]
pub(super) struct Saying {
    packet_id: u8,
    qos: Level,
    dup: bool,
    alias: Option<u8>,
    named: bool,
}

impl Hello {
    pub fn packet(&self) -> Connect {
        let version = [Version::V31, Version::V311, Version::V5][usize::from(self.version) % 3];
        let mut connect = connect(version);
        connect.clean_start = self.clean;
        connect.keep_alive = if self.keep_alive { 10 } else { 0 };
        if version.is_v5() {
            connect.properties = ConnectProperties {
                session_expiry: if self.expiry { 100 } else { 0 },
                receive_maximum: u16::from(self.receive_maximum % 8) + 1,
                maximum_packet_size: self
                    .maximum_packet_size
                    .map(|size| u32::from(size.max(SMALLEST_MAXIMUM))),
                topic_alias_maximum: u16::from(self.topic_alias_maximum),
                request_problem_information: self.problem_information,
                ..ConnectProperties::default()
            };
        }
        connect
    }
}

impl Saying {
    pub fn packet(&self) -> Packet {
        let tracked = self.qos != Level::Zero;
        Packet::Publish(Publish {
            dup: self.dup && tracked,
            qos: self.qos.into(),
            retain: false,
            topic: if self.named || self.alias.is_none() { "a/b".into() } else { "".into() },
            packet_id: if tracked { identifier(self.packet_id) } else { 0 },
            alias: self.alias.map(|alias| u16::from(alias % 4) + 1),
            expiry: None,
            properties: Properties::default(),
            payload: Bytes::from_static(b"x"),
        })
    }
}

/// A persistent one that asks for nothing.
pub(super) fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: false,
        keep_alive: 0,
        client_id: device().client,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// Seconds that the session outlives the connection, as an edge decides it.
pub(super) fn expiry(connect: &Connect) -> u32 {
    match connect.version {
        Version::V5 => connect.properties.session_expiry,
        _ if connect.clean_start => 0,
        _ => u32::MAX,
    }
}

/// The one whose session it is.
pub(super) fn device() -> Device {
    Device { user: "bob".into(), client: "phone".into() }
}

/// PUBACK, PUBREC or PUBCOMP, by its first byte.
pub(super) fn acknowledgement(kind: u8, packet_id: u16, reason: u8) -> Packet {
    let ack = Ack { packet_id, reason };
    match kind {
        ack::PUBACK => Packet::PubAck(ack),
        ack::PUBREC => Packet::PubRec(ack),
        _ => Packet::PubComp(ack),
    }
}

/// PUBREL.
pub(super) fn release(packet_id: u8) -> Packet {
    Packet::PubRel(Ack { packet_id: identifier(packet_id), reason: 0 })
}

/// SUBSCRIBE with one to sixteen filters, all good or all bad.
pub(super) fn subscribe(filters: u8, bad: bool) -> Packet {
    let filter = if bad { "#/a" } else { "a/#" };
    let filters = vec![(filter.into(), SubscribeOptions::default()); usize::from(filters % 16) + 1];
    Packet::Subscribe(Subscribe { packet_id: 1, id: None, filters })
}

/// DISCONNECT, with a new session expiry or without.
pub(super) fn disconnect(expiry: Option<u8>) -> Packet {
    Packet::Disconnect(Disconnect { reason: 0, session_expiry: expiry.map(u32::from) })
}

fn identifier(byte: u8) -> u16 {
    u16::from(byte % IDENTIFIERS) + 1
}
