//! An application message on its way, and its form on the spine and on disk.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use thiserror::Error;

use crate::clock::Millis;
use crate::codec::{Properties, QoS, Will};

/// A published message, apart from who receives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Topic name.
    pub topic: ByteString,
    /// Client id of the publisher, for "no local"; empty for the server's own messages.
    pub publisher: ByteString,
    /// As published; what a receiver gets may be lower, never higher.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
    /// When it stops being worth delivering (MQTT 5 §3.3.2.3.3).
    pub expires: Option<Millis>,
    /// MQTT 5 properties that travel along.
    pub properties: Properties,
    /// Application message.
    pub payload: Bytes,
}

/// A stored or sent message cannot be read: our own fault or the disk's, never a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a stored message cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

const RETAIN: u8 = 0b100;
const EXPIRES: u8 = 0b1000;

impl Message {
    /// The will that this message is, if it was kept as one.
    pub fn into_will(self, delay: u32, expiry: Option<u32>) -> Will {
        let Message { topic, qos, retain, properties, payload, .. } = self;
        Will { topic, payload, qos, retain, delay, expiry, properties }
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Seconds that are left, for the property of an outgoing PUBLISH.
    pub fn remaining(&self, now: Millis) -> Option<u32> {
        self.expires.map(|at| u32::try_from(at.saturating_sub(now).div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// A copy that holds only its own bytes: a slice would keep alive the read buffer that it came in.
    pub fn compact(&self) -> Message {
        Message {
            topic: (&*self.topic).into(),
            publisher: (&*self.publisher).into(),
            properties: Properties(Bytes::copy_from_slice(&self.properties.0)),
            payload: Bytes::copy_from_slice(&self.payload),
            ..*self
        }
    }

    /// Bytes that [`Message::encode`] will add.
    pub fn encoded_len(&self) -> usize {
        let text = self.topic.len() + self.publisher.len();
        1 + 8 + 2 + 2 + 4 + 4 + text + self.properties.0.len() + self.payload.len()
    }

    /// Appends the message: flags, expiry, then topic, publisher, properties and payload, each behind its length.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        let retain = if self.retain { RETAIN } else { 0 };
        let expires = if self.expires.is_some() { EXPIRES } else { 0 };
        out.put_u8(self.qos as u8 | retain | expires);
        if let Some(at) = self.expires {
            out.put_u64(at);
        }
        put_short(out, self.topic.as_bytes());
        put_short(out, self.publisher.as_bytes());
        put_long(out, &self.properties.0);
        put_long(out, &self.payload);
    }

    /// Takes a message from the front of `bytes`, as slices of it.
    pub fn decode(bytes: &mut Bytes) -> Result<Message, Unreadable> {
        let flags = bytes.try_get_u8().map_err(|_| Unreadable("no flags"))?;
        let qos = QoS::from_bits(flags & 0b11).ok_or(Unreadable("quality of service 3"))?;
        let expires = match flags & EXPIRES {
            0 => None,
            _ => Some(bytes.try_get_u64().map_err(|_| Unreadable("no expiry"))?),
        };
        Ok(Message {
            topic: take_text(bytes)?,
            publisher: take_text(bytes)?,
            qos,
            retain: flags & RETAIN != 0,
            expires,
            properties: Properties(take_long(bytes)?),
            payload: take_long(bytes)?,
        })
    }
}

impl Will {
    /// The message that is published, in the name of this client.
    pub fn into_message(self, publisher: &ByteString, expires: Option<Millis>) -> Message {
        let Will { topic, payload, qos, retain, properties, .. } = self;
        Message { topic, publisher: publisher.clone(), qos, retain, expires, properties, payload }
    }
}

fn put_short(out: &mut BytesMut, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

fn take_text(bytes: &mut Bytes) -> Result<ByteString, Unreadable> {
    let len = usize::from(bytes.try_get_u16().map_err(|_| Unreadable("no length"))?);
    if bytes.len() < len {
        return Err(Unreadable("shorter than its text"));
    }
    ByteString::try_from(bytes.split_to(len)).map_err(|_| Unreadable("text is not UTF-8"))
}

fn take_long(bytes: &mut Bytes) -> Result<Bytes, Unreadable> {
    let len = bytes.try_get_u32().map_err(|_| Unreadable("no length"))? as usize;
    if bytes.len() < len {
        return Err(Unreadable("shorter than its content"));
    }
    Ok(bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let text = || any::<String>().prop_map(ByteString::from);
        let bytes = || prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        (text(), text(), 0u8..3, any::<bool>(), any::<Option<u64>>(), bytes(), bytes()).prop_map(
            |(topic, publisher, qos, retain, expires, properties, payload)| Message {
                topic,
                publisher,
                qos: QoS::from_bits(qos).unwrap(),
                retain,
                expires,
                properties: Properties(properties),
                payload,
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip_and_nothing_else_is_taken(message in message(), tail in any::<Vec<u8>>()) {
            let mut out = BytesMut::new();
            message.encode(&mut out);
            let whole = out.clone().freeze();
            out.extend_from_slice(&tail);
            let mut bytes = out.freeze();
            prop_assert_eq!(Message::decode(&mut bytes).unwrap(), message);
            prop_assert_eq!(&bytes[..], &tail[..]);
            for end in 0..whole.len() {
                prop_assert!(Message::decode(&mut whole.slice(..end)).is_err());
            }
        }
    }

    #[test]
    fn remaining_seconds_round_up() {
        let message = Message { expires: Some(10_500), ..Message::default() };
        assert_eq!(message.remaining(10_000), Some(1));
        assert!(!message.is_expired(10_499) && message.is_expired(10_500));
    }
}
