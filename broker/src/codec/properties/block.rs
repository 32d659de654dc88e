//! Reads the properties of one packet, one by one, by the rules that hold in every packet.

use bytes::Bytes;
use bytestring::ByteString;

use super::super::error::CodecError;
use super::super::text::{self, check_topic_name};
use super::super::varint;
use super::id;

/// A set of property identifiers; all of them are below 64.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Allowed(u64);

impl Allowed {
    pub(in crate::codec) const fn new(ids: &[u8]) -> Allowed {
        let (mut set, mut index) = (0, 0);
        while index < ids.len() {
            set |= 1 << ids[index];
            index += 1;
        }
        Allowed(set)
    }

    fn has(self, id: u8) -> bool {
        id < 64 && self.0 & 1 << id != 0
    }
}

/// The value of a property, as a part of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Value<'a> {
    /// One, two or four bytes, or a variable byte integer.
    Number(u32),
    /// UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
    /// A user property.
    Pair(&'a str, &'a str),
}

impl<'a> Value<'a> {
    /// The number; 0 if it is none, which does not happen for an identifier that has numbers.
    pub(in crate::codec) fn number(self) -> u32 {
        if let Value::Number(number) = self { number } else { 0 }
    }

    /// The text, likewise.
    pub(in crate::codec) fn text(self) -> &'a str {
        if let Value::Text(text) = self { text } else { "" }
    }

    /// The bytes, likewise.
    pub(in crate::codec) fn binary(self) -> &'a [u8] {
        if let Value::Binary(binary) = self { binary } else { &[] }
    }
}

/// The properties of one packet, read from front to back.
#[derive(Debug, Clone)]
pub(in crate::codec) struct Block<'a> {
    rest: &'a [u8],
    allowed: Allowed,
    seen: u64,
    users_left: usize,
}

impl<'a> Block<'a> {
    /// Reads `bytes`, the properties without the length in front.
    pub(in crate::codec) fn new(bytes: &'a [u8], allowed: Allowed, user_properties: usize) -> Block<'a> {
        Block { rest: bytes, allowed, seen: 0, users_left: user_properties }
    }

    /// Bytes that are still to be read.
    pub(in crate::codec) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next property, checked: allowed here, not repeated, in its range.
    pub(in crate::codec) fn next(&mut self) -> Result<Option<(u8, Value<'a>)>, CodecError> {
        let Some((&id, rest)) = self.rest.split_first() else { return Ok(None) };
        if !self.allowed.has(id) {
            return Err(CodecError::Malformed("unknown property, or one that this packet cannot have"));
        }
        self.rest = rest;
        self.count(id)?;
        let value = self.value(id)?;
        check_range(id, value)?;
        Ok(Some((id, value)))
    }

    fn count(&mut self, id: u8) -> Result<(), CodecError> {
        if id == id::USER {
            self.users_left = self.users_left.checked_sub(1).ok_or(CodecError::TooMany("user properties"))?;
        } else if self.seen & 1 << id != 0 {
            return Err(CodecError::Protocol("property more than once"));
        }
        self.seen |= 1 << id;
        Ok(())
    }

    /// Types of table 2-4.
    fn value(&mut self, id: u8) -> Result<Value<'a>, CodecError> {
        Ok(match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => Value::Number(self.number(1)?),
            0x13 | 0x21..=0x23 => Value::Number(self.number(2)?),
            0x02 | 0x11 | 0x18 | 0x27 => Value::Number(self.number(4)?),
            id::SUBSCRIPTION_ID => Value::Number(self.variable()?),
            id::CORRELATION_DATA | id::AUTHENTICATION_DATA => Value::Binary(self.binary()?),
            id::USER => Value::Pair(self.text()?, self.text()?),
            _ => Value::Text(self.text()?),
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<u32, CodecError> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn variable(&mut self) -> Result<u32, CodecError> {
        let read = varint::read(self.rest)?.ok_or(SHORT)?;
        self.take(read.bytes)?;
        if read.minimal { Ok(read.value) } else { Err(varint::NOT_MINIMAL) }
    }

    fn binary(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.number(2)? as usize;
        self.take(len)
    }

    fn text(&mut self) -> Result<&'a str, CodecError> {
        text::check(self.binary()?)
    }
}

const SHORT: CodecError = CodecError::Malformed("property goes on after the end of the properties");

fn check_range(id: u8, value: Value<'_>) -> Result<(), CodecError> {
    match (id, value) {
        (0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a, Value::Number(2..)) => {
            Err(CodecError::Protocol("property is neither 0 nor 1"))
        }
        (id::RECEIVE_MAXIMUM | id::MAXIMUM_PACKET_SIZE | id::SUBSCRIPTION_ID, Value::Number(0)) => {
            Err(CodecError::Protocol("property is 0"))
        }
        (id::TOPIC_ALIAS, Value::Number(0)) => Err(CodecError::TopicAliasInvalid),
        (id::RESPONSE_TOPIC, Value::Text(topic)) => check_topic_name(topic),
        _ => Ok(()),
    }
}

/// `part` of `whole` as a text of its own, without a copy; both come out of one [`Block`].
pub(in crate::codec) fn owned(whole: &Bytes, part: &str) -> ByteString {
    ByteString::try_from(slice(whole, part.as_bytes())).unwrap_or_default()
}

/// `part` of `whole`, without a copy.
pub(in crate::codec) fn slice(whole: &Bytes, part: &[u8]) -> Bytes {
    whole.slice_ref(part)
}
