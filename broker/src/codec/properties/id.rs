//! Property identifiers (§2.2.2.2, table 2-4).

/// Byte, 0 or 1.
pub const PAYLOAD_FORMAT: u8 = 0x01;
/// Four bytes, seconds.
pub const MESSAGE_EXPIRY: u8 = 0x02;
/// Text.
pub const CONTENT_TYPE: u8 = 0x03;
/// Text, a topic name.
pub const RESPONSE_TOPIC: u8 = 0x08;
/// Binary.
pub const CORRELATION_DATA: u8 = 0x09;
/// Variable byte integer, not 0.
pub const SUBSCRIPTION_ID: u8 = 0x0b;
/// Four bytes, seconds.
pub const SESSION_EXPIRY: u8 = 0x11;
/// Text.
pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
/// Two bytes, seconds.
pub const SERVER_KEEP_ALIVE: u8 = 0x13;
/// Text.
pub const AUTHENTICATION_METHOD: u8 = 0x15;
/// Binary.
pub const AUTHENTICATION_DATA: u8 = 0x16;
/// Byte, 0 or 1.
pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
/// Four bytes, seconds.
pub const WILL_DELAY: u8 = 0x18;
/// Byte, 0 or 1.
pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
/// Text.
pub const RESPONSE_INFORMATION: u8 = 0x1a;
/// Text.
pub const SERVER_REFERENCE: u8 = 0x1c;
/// Text.
pub const REASON_STRING: u8 = 0x1f;
/// Two bytes, not 0.
pub const RECEIVE_MAXIMUM: u8 = 0x21;
/// Two bytes.
pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
/// Two bytes, not 0.
pub const TOPIC_ALIAS: u8 = 0x23;
/// Byte, 0 or 1.
pub const MAXIMUM_QOS: u8 = 0x24;
/// Byte, 0 or 1.
pub const RETAIN_AVAILABLE: u8 = 0x25;
/// Pair of texts; the only one that a client may repeat.
pub const USER: u8 = 0x26;
/// Four bytes, not 0.
pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
