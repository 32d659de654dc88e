//! Properties of messages that the server itself sends.

use bytes::{BufMut, BytesMut};

use super::super::encode::write::{put_binary, put_text};
use super::{Properties, id};

/// Encodes properties in the order of the calls. Texts and data longer than 65,535 bytes are cut; nothing but a user
/// property may be added twice.
#[derive(Debug, Clone, Default)]
pub struct PropertiesBuilder(BytesMut);

impl PropertiesBuilder {
    /// Whether the payload is UTF-8 (1) or any bytes (0).
    pub fn payload_format(mut self, format: u8) -> PropertiesBuilder {
        self.0.put_slice(&[id::PAYLOAD_FORMAT, format.min(1)]);
        self
    }

    /// What the payload is.
    pub fn content_type(self, name: &str) -> PropertiesBuilder {
        self.text(id::CONTENT_TYPE, name)
    }

    /// Where an answer is wanted: a topic name.
    pub fn response_topic(self, topic: &str) -> PropertiesBuilder {
        self.text(id::RESPONSE_TOPIC, topic)
    }

    /// What an answer repeats.
    pub fn correlation_data(mut self, data: &[u8]) -> PropertiesBuilder {
        self.0.put_u8(id::CORRELATION_DATA);
        put_binary(&mut self.0, data);
        self
    }

    /// A user property; a name may come again.
    pub fn user(mut self, key: &str, value: &str) -> PropertiesBuilder {
        self.0.put_u8(id::USER);
        put_text(&mut self.0, key);
        put_text(&mut self.0, value);
        self
    }

    /// The finished set.
    pub fn build(self) -> Properties {
        Properties(self.0.freeze())
    }

    fn text(mut self, id: u8, text: &str) -> PropertiesBuilder {
        self.0.put_u8(id);
        put_text(&mut self.0, text);
        self
    }
}
