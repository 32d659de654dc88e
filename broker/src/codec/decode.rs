//! Bytes from a client to packets, as strict as the specification of each version and no stricter.
//!
//! Section numbers are those of MQTT 5 unless another version is named. MQTT 3.1 leaves bits that 3.1.1 reserved
//! "not used", so they are ignored there.

mod ack;
mod connect;
mod publish;
mod reader;
mod subscribe;

use std::num::NonZeroU32;

use bytes::{Buf, Bytes};

use self::reader::Reader;
use super::error::CodecError;
use super::packet::{Packet, Version};
use super::varint::{self, VarInt};

/// How much one packet may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole packet, with its fixed header.
    pub packet_bytes: usize,
    /// User properties in one packet; a will counts for itself.
    pub user_properties: usize,
}

/// Decoder of one connection.
///
/// Order of calls: [`Decoder::decode`] until it gives `None`, then again when more bytes came. The first packet must be
/// CONNECT and sets the version. After an error the connection is over: the same error comes back for ever.
#[derive(Debug, Clone)]
pub struct Decoder {
    limits: Limits,
    version: Option<Version>,
    connected: bool,
    client_maximum: Option<NonZeroU32>,
    failed: Option<CodecError>,
}

impl Decoder {
    /// A decoder that waits for CONNECT.
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, version: None, connected: false, client_maximum: None, failed: None }
    }

    /// Limits from now on, for instance higher ones after the login.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The version of the connection, from the level byte of CONNECT on, even when the rest of CONNECT is wrong: so it
    /// tells how to phrase the refusal.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Bytes of the largest packet that the client takes, from the properties of CONNECT on, even when the rest of it is wrong.
    pub fn client_maximum(&self) -> Option<u32> {
        self.client_maximum.map(NonZeroU32::get)
    }

    /// Goes on as if a CONNECT of this version had come.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
        self.connected = true;
    }

    /// Takes the next packet from the front of `buf`, as slices of it; `None`, with `buf` untouched, if it is incomplete.
    ///
    /// Packet type, flags and size are judged by the header alone, before the rest has come.
    ///
    /// # Errors
    /// What is wrong with the packet; `buf` is of no use then.
    pub fn decode(&mut self, buf: &mut Bytes) -> Result<Option<Packet>, CodecError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.decode_next(buf).inspect_err(|error| self.failed = Some(*error))
    }

    fn decode_next(&mut self, buf: &mut Bytes) -> Result<Option<Packet>, CodecError> {
        let Some(&first) = buf.first() else { return Ok(None) };
        self.admit(first)?;
        let Some(length) = varint::read(&buf[1..])? else { return Ok(None) };
        let size = packet_size(length);
        self.check_size(size)?;
        if buf.len() < size {
            return Ok(None);
        }
        let mut body = buf.split_to(size);
        body.advance(1 + length.bytes);
        self.packet(first, length.minimal, Reader::new(body)).map(Some)
    }

    /// Whether a packet with this first byte may come now (§2.1.2, §2.1.3, §3.1).
    fn admit(&self, first: u8) -> Result<(), CodecError> {
        let (kind, flags) = (first >> 4, first & 0x0f);
        match (self.version, kind) {
            (_, 0) => Err(CodecError::Malformed("packet type 0 is reserved")),
            (_, 1) if self.connected => Err(CodecError::Protocol("second CONNECT")),
            (_, 1) => Ok(()), // MQTT 3.1 ignores the flags, and the version is not known yet.
            (Some(version), kind) if self.connected => check_flags(version, kind, flags),
            _ => Err(CodecError::Protocol("the first packet is not CONNECT")),
        }
    }

    fn check_size(&self, size: usize) -> Result<(), CodecError> {
        let max = self.limits.packet_bytes;
        if size > max { Err(CodecError::TooLarge { size, max }) } else { Ok(()) }
    }

    fn packet(&mut self, first: u8, minimal: bool, mut body: Reader) -> Result<Packet, CodecError> {
        let packet = match self.version {
            Some(version) if self.connected => {
                check_minimal(version, minimal)?;
                self.body(version, first, &mut body)?
            }
            _ => self.connect(first, minimal, &mut body)?,
        };
        body.finish()?;
        Ok(packet)
    }

    fn connect(&mut self, first: u8, minimal: bool, body: &mut Reader) -> Result<Packet, CodecError> {
        let version = connect::version(body)?;
        self.version = Some(version);
        check_minimal(version, minimal)?;
        if version != Version::V31 && first & 0x0f != 0 {
            return Err(FLAGS);
        }
        let (opening, properties) = connect::opening(version, body, self.limits.user_properties)?;
        self.client_maximum = properties.maximum_packet_size.and_then(NonZeroU32::new);
        let connect = connect::payload(opening, properties, body, self.limits.user_properties)?;
        self.connected = true;
        Ok(Packet::Connect(Box::new(connect)))
    }

    fn body(&self, version: Version, first: u8, body: &mut Reader) -> Result<Packet, CodecError> {
        let users = self.limits.user_properties;
        match first >> 4 {
            3 => publish::decode(version, first & 0x0f, body, users).map(Packet::Publish),
            4 => ack::decode(version, body, ack::PUBLISH_CODES, users).map(Packet::PubAck),
            5 => ack::decode(version, body, ack::PUBLISH_CODES, users).map(Packet::PubRec),
            6 => ack::decode(version, body, ack::RELEASE_CODES, users).map(Packet::PubRel),
            7 => ack::decode(version, body, ack::RELEASE_CODES, users).map(Packet::PubComp),
            8 => subscribe::subscribe(version, body, users).map(Packet::Subscribe),
            10 => subscribe::unsubscribe(version, body, users).map(Packet::Unsubscribe),
            12 => Ok(Packet::PingReq),
            14 => ack::disconnect(version, body, users).map(Packet::Disconnect),
            _ => ack::auth(body, users).map(Packet::Auth),
        }
    }
}

/// Bytes of the packet at the front of `buf`, as soon as its fixed header is there. If the header is broken, what is there
/// is enough for [`Decoder::decode`] to tell.
pub fn needs(buf: &[u8]) -> Option<usize> {
    match varint::read(buf.get(1..)?) {
        Ok(length) => length.map(packet_size),
        Err(_) => Some(buf.len()),
    }
}

const FLAGS: CodecError = CodecError::Malformed("reserved flags of the fixed header");

fn packet_size(length: VarInt) -> usize {
    1 + length.bytes + length.value as usize
}

/// §1.5.5 demands the shortest form; MQTT 3.1.1 §2.2.3 has no such rule.
fn check_minimal(version: Version, minimal: bool) -> Result<(), CodecError> {
    if version.is_v5() && !minimal { Err(varint::NOT_MINIMAL) } else { Ok(()) }
}

/// Packet types and flags (§2.1.2, §2.1.3; MQTT 3.1 §2.1 and the "x" bits of its tables).
fn check_flags(version: Version, kind: u8, flags: u8) -> Result<(), CodecError> {
    match kind {
        3 => publish::check_flags(version, flags),
        2 | 9 | 11 | 13 => Err(CodecError::Protocol("a packet that only servers send")),
        15 if !version.is_v5() => Err(CodecError::Malformed("packet type 15 is reserved")),
        6 | 8 | 10 if version == Version::V31 => require(flags & 0b0110 == 0b0010),
        6 | 8 | 10 => require(flags == 0b0010),
        _ if version == Version::V31 => Ok(()),
        _ => require(flags == 0),
    }
}

fn require(flags_hold: bool) -> Result<(), CodecError> {
    if flags_hold { Ok(()) } else { Err(FLAGS) }
}
