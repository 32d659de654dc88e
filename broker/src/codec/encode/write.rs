//! Pieces that packets are made of.

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::super::properties::id;
use super::super::varint;

/// Longest UTF-8 string or binary data of the protocol, in bytes (§1.5.4, §1.5.6).
const LONGEST: usize = u16::MAX as usize;

/// Appends a packet of this first byte and body.
pub(super) fn finish_packet(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.reserve(1 + varint::len(body.len()) + body.len());
    out.put_u8(first);
    varint::write(out, body.len());
    out.put_slice(body);
}

/// Appends a UTF-8 string with its length.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    put_binary(out, &text.as_bytes()[..text.floor_char_boundary(LONGEST)]);
}

/// Bytes that [`put_text`] takes.
pub(super) fn text_len(text: &str) -> usize {
    2 + text.floor_char_boundary(LONGEST)
}

/// Appends binary data with its length.
pub(crate) fn put_binary(out: &mut BytesMut, data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    out.put_u16(data.len() as u16);
    out.put_slice(data);
}

/// Properties of one packet in the making; `None` adds nothing.
#[derive(Debug, Default)]
pub(super) struct Block(BytesMut);

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self, id: u8, value: Option<u8>) {
        if let Some(value) = value {
            self.0.put_slice(&[id, value]);
        }
    }

    pub(super) fn u16(&mut self, id: u8, value: Option<u16>) {
        if let Some(value) = value {
            self.0.put_u8(id);
            self.0.put_u16(value);
        }
    }

    pub(super) fn u32(&mut self, id: u8, value: Option<u32>) {
        if let Some(value) = value {
            self.0.put_u8(id);
            self.0.put_u32(value);
        }
    }

    pub(super) fn variable(&mut self, id: u8, value: Option<u32>) {
        if let Some(value) = value {
            self.0.put_u8(id);
            varint::write(&mut self.0, value as usize);
        }
    }

    pub(super) fn text(&mut self, id: u8, value: Option<&str>) {
        if let Some(value) = value {
            self.0.put_u8(id);
            put_text(&mut self.0, value);
        }
    }

    pub(super) fn binary<B: AsRef<[u8]>>(&mut self, id: u8, value: Option<B>) {
        if let Some(value) = value {
            self.0.put_u8(id);
            put_binary(&mut self.0, value.as_ref());
        }
    }

    pub(super) fn user(&mut self, pairs: &[(ByteString, ByteString)]) {
        for (key, value) in pairs {
            self.0.put_u8(id::USER);
            put_text(&mut self.0, key);
            put_text(&mut self.0, value);
        }
    }

    pub(super) fn encoded(&mut self, properties: &[u8]) {
        self.0.put_slice(properties);
    }

    /// Appends the block with its length.
    pub(super) fn finish(self, out: &mut BytesMut) {
        varint::write(out, self.0.len());
        out.put_slice(&self.0);
    }
}
