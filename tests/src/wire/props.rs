//! MQTT 5 properties (§2.2.2).

use super::{field, varint};

/// The properties of one packet, in the order of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Props(pub Vec<(u8, Value)>);

/// What a property holds; its identifier says which of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Short(u16),
    /// Four bytes.
    Long(u32),
    /// A variable byte integer.
    Var(u32),
    /// UTF-8 text or binary data.
    Bytes(Vec<u8>),
    /// A user property.
    Pair(String, String),
}

impl Props {
    /// With one more property.
    pub fn with(mut self, id: u8, value: Value) -> Props {
        self.0.push((id, value));
        self
    }

    /// With a user property (0x26).
    pub fn with_user(self, name: &str, value: &str) -> Props {
        self.with(0x26, Value::Pair(name.into(), value.into()))
    }

    /// The first property with this identifier.
    pub fn get(&self, id: u8) -> Option<&Value> {
        self.0.iter().find(|(have, _)| *have == id).map(|(_, value)| value)
    }

    /// The first user property of this name.
    pub fn user(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(_, value)| match value {
            Value::Pair(have, value) if have == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// A text or binary property as text.
    pub fn text(&self, id: u8) -> Option<String> {
        match self.get(id)? {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The wire form, with the length in front.
    pub fn bytes(&self) -> Vec<u8> {
        let body: Vec<u8> = self.0.iter().flat_map(|(id, value)| one(*id, value)).collect();
        let mut out = varint(body.len());
        out.extend(body);
        out
    }

    /// Reads a wire form without its length.
    ///
    /// # Panics
    /// On a property that does not exist: the server sent it.
    pub(super) fn read(mut bytes: &[u8]) -> Props {
        let mut list = Vec::new();
        while let Some((&id, rest)) = bytes.split_first() {
            bytes = rest;
            list.push((id, value(id, &mut bytes)));
        }
        Props(list)
    }
}

fn one(id: u8, value: &Value) -> Vec<u8> {
    let mut out = vec![id];
    match value {
        Value::Byte(value) => out.push(*value),
        Value::Short(value) => out.extend(value.to_be_bytes()),
        Value::Long(value) => out.extend(value.to_be_bytes()),
        Value::Var(value) => out.extend(varint(*value as usize)),
        Value::Bytes(value) => out.extend(field(value)),
        Value::Pair(name, value) => {
            out.extend(field(name.as_bytes()));
            out.extend(field(value.as_bytes()));
        }
    }
    out
}

fn value(id: u8, bytes: &mut &[u8]) -> Value {
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Value::Byte(take(bytes, 1)[0]),
        0x13 | 0x21 | 0x22 | 0x23 => Value::Short(u16::from_be_bytes(take(bytes, 2).try_into().unwrap())),
        0x02 | 0x11 | 0x18 | 0x27 => Value::Long(u32::from_be_bytes(take(bytes, 4).try_into().unwrap())),
        0x0b => Value::Var(take_varint(bytes).expect("a whole variable byte integer") as u32),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => Value::Bytes(take_field(bytes)),
        0x26 => Value::Pair(take_text(bytes), take_text(bytes)),
        _ => panic!("the server sent property 0x{id:02x}, which does not exist"),
    }
}

/// The first `count` bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at_checked(count).expect("a packet of the server ends too early");
    *bytes = rest;
    head
}

/// A length and that many bytes.
pub(super) fn take_field(bytes: &mut &[u8]) -> Vec<u8> {
    let length = u16::from_be_bytes(take(bytes, 2).try_into().unwrap());
    take(bytes, length as usize).to_vec()
}

/// A UTF-8 string.
pub(super) fn take_text(bytes: &mut &[u8]) -> String {
    String::from_utf8(take_field(bytes)).expect("UTF-8 from the server")
}

/// A variable byte integer, or nothing if it is not all there yet.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for place in 0..4 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Some(value);
        }
    }
    panic!("the server sent a length of five bytes");
}
