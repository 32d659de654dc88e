//! What can be wrong with the bytes of a peer, and what to tell it.

/// Why a packet was refused; every one of these is the peer's fault and ends the connection (MQTT 5 §4.13).
///
/// In MQTT 5 the [`CodecError::reason_code`] goes into CONNACK or DISCONNECT. In 3.x the connection is closed without a
/// word, except that [`CodecError::UnsupportedVersion`] is answered by a CONNACK.
#[derive(thiserror::Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// Cannot be parsed by the specification of the version: 0x81.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// Parses, but says or comes when it must not: 0x82.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Protocol name and this level are no pair that is spoken here: 0x84.
    #[error("unsupported protocol version")]
    UnsupportedVersion(u8),
    /// An empty topic filter: 0x8F.
    #[error("invalid topic filter: {0}")]
    TopicFilterInvalid(&'static str),
    /// A topic name that is empty or has wildcards: 0x90.
    #[error("invalid topic name: {0}")]
    TopicInvalid(&'static str),
    /// Topic alias 0: 0x94.
    #[error("topic alias 0 is reserved")]
    TopicAliasInvalid,
    /// Larger than the server takes; known from the fixed header alone: 0x95.
    #[error("packet of {size} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// Bytes of the whole packet, with its fixed header.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// More of something than the server takes in one packet: 0x97.
    #[error("too many {0} in one packet")]
    TooMany(&'static str),
}

impl CodecError {
    /// The MQTT 5 reason code (§2.4); each is valid where it can come up: before the end of the login in CONNACK,
    /// later in DISCONNECT.
    pub fn reason_code(&self) -> u8 {
        match self {
            CodecError::Malformed(_) => 0x81,
            CodecError::Protocol(_) => 0x82,
            CodecError::UnsupportedVersion(_) => 0x84,
            CodecError::TopicFilterInvalid(_) => 0x8f,
            CodecError::TopicInvalid(_) => 0x90,
            CodecError::TopicAliasInvalid => 0x94,
            CodecError::TooLarge { .. } => 0x95,
            CodecError::TooMany(_) => 0x97,
        }
    }

    /// What is wrong, in words that do not depend on the packet.
    pub fn what(&self) -> &'static str {
        match self {
            CodecError::Malformed(what)
            | CodecError::Protocol(what)
            | CodecError::TopicFilterInvalid(what)
            | CodecError::TopicInvalid(what) => what,
            CodecError::UnsupportedVersion(_) => "unsupported protocol version",
            CodecError::TopicAliasInvalid => "topic alias 0 is reserved",
            CodecError::TooLarge { .. } => "the packet is too large",
            CodecError::TooMany(_) => "too many properties in one packet",
        }
    }
}
