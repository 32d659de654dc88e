//! MQTT 5 properties (§2.2.2).

pub(super) mod block;
mod builder;
pub mod id;

use bytes::Bytes;
use bytestring::ByteString;

use self::block::{Allowed, Block, Value, owned, slice};
pub use self::builder::PropertiesBuilder;

/// The properties of a message that travel with it unchanged, in their encoded form, without the length in front.
///
/// Kept encoded because most receivers get exactly these bytes; [`Properties::iter`] reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(pub Bytes);

/// One property of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// 0x01
    PayloadFormat(u8),
    /// 0x03
    ContentType(ByteString),
    /// 0x08
    ResponseTopic(ByteString),
    /// 0x09
    CorrelationData(Bytes),
    /// 0x26
    User(ByteString, ByteString),
}

/// The properties of CONNECT (§3.1.2.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds; 0 ends the session with the connection, `u32::MAX` never.
    pub session_expiry: u32,
    /// How many QoS 1 and 2 messages the client takes at once.
    pub receive_maximum: u16,
    /// Bytes; the largest packet that the client takes.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the server may use towards the client.
    pub topic_alias_maximum: u16,
    /// Whether the client wants response information in CONNACK.
    pub request_response_information: bool,
    /// Whether reason strings and user properties may be sent on any packet.
    pub request_problem_information: bool,
    /// User properties.
    pub user: Vec<(ByteString, ByteString)>,
    /// Authentication method.
    pub authentication_method: Option<ByteString>,
    /// Authentication data.
    pub authentication_data: Option<Bytes>,
}

impl Default for ConnectProperties {
    /// What the specification takes for granted when a property is not there.
    fn default() -> ConnectProperties {
        ConnectProperties {
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}

impl Properties {
    /// Starts a set of properties of our own.
    pub fn builder() -> PropertiesBuilder {
        PropertiesBuilder::default()
    }

    /// These, and one more user property behind them.
    pub fn with_user(&self, key: &str, value: &str) -> Properties {
        let more = Properties::builder().user(key, value).build();
        Properties([&self.0[..], &more.0[..]].concat().into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The properties in their order. Ends at the first one that is broken, which the decoder lets none be.
    pub fn iter(&self) -> impl Iterator<Item = Property> {
        let mut block = Block::new(&self.0, TRAVELLING, usize::MAX);
        std::iter::from_fn(move || block.next().ok().flatten())
            .filter_map(|(id, value)| property(&self.0, id, value))
    }

    /// The value of the first user property of this name.
    pub fn user(&self, key: &str) -> Option<ByteString> {
        self.iter().find_map(|property| match property {
            Property::User(name, value) if name == key => Some(value),
            _ => None,
        })
    }

    /// Where the sender wants an answer.
    pub fn response_topic(&self) -> Option<ByteString> {
        self.iter().find_map(|property| match property {
            Property::ResponseTopic(topic) => Some(topic),
            _ => None,
        })
    }

    /// What an answer has to repeat.
    pub fn correlation_data(&self) -> Option<Bytes> {
        self.iter().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// What the payload is, by the sender's account.
    pub fn content_type(&self) -> Option<ByteString> {
        self.iter().find_map(|property| match property {
            Property::ContentType(name) => Some(name),
            _ => None,
        })
    }
}

/// What travels with a message unchanged.
const TRAVELLING: Allowed =
    Allowed::new(&[id::PAYLOAD_FORMAT, id::CONTENT_TYPE, id::RESPONSE_TOPIC, id::CORRELATION_DATA, id::USER]);

fn property(whole: &Bytes, id: u8, value: Value<'_>) -> Option<Property> {
    match (id, value) {
        (id::PAYLOAD_FORMAT, Value::Number(format)) => Some(Property::PayloadFormat(format as u8)),
        (id::CONTENT_TYPE, Value::Text(name)) => Some(Property::ContentType(owned(whole, name))),
        (id::RESPONSE_TOPIC, Value::Text(topic)) => Some(Property::ResponseTopic(owned(whole, topic))),
        (id::CORRELATION_DATA, Value::Binary(data)) => Some(Property::CorrelationData(slice(whole, data))),
        (id::USER, Value::Pair(key, value)) => Some(Property::User(owned(whole, key), owned(whole, value))),
        _ => None,
    }
}
