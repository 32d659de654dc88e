//! Variable byte integers (MQTT 5 §1.5.5).

use bytes::{BufMut, BytesMut};

use super::error::CodecError;

/// The largest value that four bytes can hold.
pub const MAX: u32 = 268_435_455;

/// What a longer form than needed is called.
pub(super) const NOT_MINIMAL: CodecError =
    CodecError::Malformed("variable byte integer is not in its shortest form");

/// A variable byte integer as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VarInt {
    pub(super) value: u32,
    /// Bytes that it took.
    pub(super) bytes: usize,
    /// Whether that was the shortest form.
    pub(super) minimal: bool,
}

/// Reads one from the front of `bytes`; `None` if it goes on after their end.
pub(super) fn read(bytes: &[u8]) -> Result<Option<VarInt>, CodecError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some(VarInt { value, bytes: index + 1, minimal: index == 0 || *byte != 0 }));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(CodecError::Malformed("variable byte integer of more than 4 bytes"))
    }
}

/// Bytes that `value` takes.
pub fn len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Appends `value`; one that does not fit is written as [`MAX`].
pub(super) fn write(out: &mut BytesMut, value: usize) {
    let mut rest = value.min(MAX as usize);
    while rest > 0x7f {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
