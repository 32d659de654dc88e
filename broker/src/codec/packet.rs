//! The packets of MQTT 3.1, 3.1.1 and 5 as one set of types: what a version lacks is empty.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::properties::{ConnectProperties, Properties};

/// Protocol version of a connection, from the level byte of CONNECT (MQTT 5 §3.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

impl Version {
    /// Whether packets of this version carry properties and reason codes.
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }
}

/// Quality of service (§4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of the two bits, or nothing for the reserved value 3.
    pub fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}

/// Everything that a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// §3.1
    Connect(Box<Connect>),
    /// §3.3
    Publish(Publish),
    /// §3.4
    PubAck(Ack),
    /// §3.5
    PubRec(Ack),
    /// §3.6
    PubRel(Ack),
    /// §3.7
    PubComp(Ack),
    /// §3.8
    Subscribe(Subscribe),
    /// §3.10
    Unsubscribe(Unsubscribe),
    /// §3.12
    PingReq,
    /// §3.14
    Disconnect(Disconnect),
    /// §3.15
    Auth(Auth),
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the rest of the connection speaks.
    pub version: Version,
    /// Clean session (3.x) or clean start (5).
    pub clean_start: bool,
    /// Seconds; 0 switches keep-alive off.
    pub keep_alive: u16,
    /// Empty: the server assigns one.
    pub client_id: ByteString,
    /// Will message.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<ByteString>,
    /// Password; binary.
    pub password: Option<Bytes>,
    /// MQTT 5 properties; defaults for 3.x.
    pub properties: ConnectProperties,
}

/// The will of a CONNECT (§3.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it goes.
    pub topic: ByteString,
    /// What it says.
    pub payload: Bytes,
    /// At which quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the will.
    pub delay: u32,
    /// Seconds; message expiry of the published will.
    pub expiry: Option<u32>,
    /// The properties that travel along with the message, encoded, without the two above.
    pub properties: Properties,
}

/// PUBLISH as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be retained.
    pub retain: bool,
    /// Empty if a topic alias stands for it.
    pub topic: ByteString,
    /// Zero at QoS 0.
    pub packet_id: u16,
    /// MQTT 5 topic alias.
    pub alias: Option<u16>,
    /// MQTT 5 message expiry, in seconds.
    pub expiry: Option<u32>,
    /// Properties that travel to the receivers unchanged, encoded (payload format, content type, response topic,
    /// correlation data, user properties, in the order of arrival).
    pub properties: Properties,
    /// Application message.
    pub payload: Bytes,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Packet identifier.
    pub packet_id: u16,
    /// Reason code; 0 in 3.x.
    pub reason: u8,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// MQTT 5 subscription identifier.
    pub id: Option<u32>,
    /// Filters with their options, at least one; the filters are UTF-8 but not yet checked as topic filters.
    pub filters: Vec<(ByteString, SubscribeOptions)>,
}

/// Options of one subscription (§3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubscribeOptions {
    /// Highest quality of service that the subscriber wants.
    pub qos: QoS,
    /// Do not send me my own messages.
    pub no_local: bool,
    /// Keep the retain flag as published.
    pub retain_as_published: bool,
    /// 0 send retained, 1 only for a new subscription, 2 never.
    pub retain_handling: u8,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// At least one.
    pub filters: Vec<ByteString>,
}

/// DISCONNECT from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// 0x00 normal, 0x04 with will, or an error code; 0 in 3.x.
    pub reason: u8,
    /// A new session expiry interval, in seconds.
    pub session_expiry: Option<u32>,
}

/// AUTH (MQTT 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// 0x00, 0x18 or 0x19.
    pub reason: u8,
    /// Authentication method.
    pub method: Option<ByteString>,
    /// Authentication data.
    pub data: Option<Bytes>,
}
