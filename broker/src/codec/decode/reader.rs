//! Forward-only reader of the body of one packet; what it gives out are slices of it.

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::super::error::CodecError;
use super::super::{text, varint};

/// What is left of a packet.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
}

const SHORT: CodecError = CodecError::Malformed("packet ends too early");

impl Reader {
    pub(super) fn new(body: Bytes) -> Reader {
        Reader { rest: body }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// The end of the packet must be here.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        if self.is_empty() { Ok(()) } else { Err(CodecError::Malformed("bytes after the end of the packet")) }
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.rest.try_get_u8().map_err(|_| SHORT)
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.rest.try_get_u16().map_err(|_| SHORT)
    }

    /// §2.2.1: never 0.
    pub(super) fn packet_id(&mut self) -> Result<u16, CodecError> {
        match self.u16()? {
            0 => Err(CodecError::Malformed("packet identifier 0")),
            id => Ok(id),
        }
    }

    /// §1.5.6
    pub(super) fn binary(&mut self) -> Result<Bytes, CodecError> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    /// §1.5.4
    pub(super) fn text(&mut self) -> Result<ByteString, CodecError> {
        let bytes = self.binary()?;
        text::check(&bytes)?;
        ByteString::try_from(bytes).map_err(|_| SHORT)
    }

    /// The properties, without their length (§2.2.2.1).
    pub(super) fn properties(&mut self) -> Result<Bytes, CodecError> {
        let length = varint::read(&self.rest)?.ok_or(SHORT)?;
        if !length.minimal {
            return Err(varint::NOT_MINIMAL);
        }
        self.rest.advance(length.bytes);
        self.take(length.value as usize)
    }

    fn take(&mut self, len: usize) -> Result<Bytes, CodecError> {
        match len {
            0 => Ok(Bytes::new()),
            len if len > self.rest.len() => Err(SHORT),
            len => Ok(self.rest.split_to(len)),
        }
    }
}
