//! Messages that a case delivers, and how they are known again.

use arbitrary::Arbitrary;
use bytes::Bytes;
use hubbub_broker::codec::{Properties, QoS};
use hubbub_broker::message::Message;

/// A message in a few bytes.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) struct Parcel {
    pub qos: Level,
    topic: u8,
    len: u16,
    retain: bool,
    pub own: bool,
    user_property: bool,
    ids: u8,
    /// Seconds from the time of its making; 0 for ever.
    expiry: u8,
    #[arbitrary(default)]
    pub number: u32,
    #[arbitrary(default)]
    made_at: u64,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub(super) enum Level {
    Zero,
    One,
    Two,
}

impl From<Level> for QoS {
    fn from(level: Level) -> QoS {
        match level {
            Level::Zero => QoS::AtMostOnce,
            Level::One => QoS::AtLeastOnce,
            Level::Two => QoS::ExactlyOnce,
        }
    }
}

/// Short and long, and one that is not ASCII.
const TOPICS: [&str; 5] = ["t", "room/7", "聊天/大厅", "$x", "a/rather/long/topic/with/many/letters/in/it"];

/// Payloads go beyond the size from which the out buffer shares them.
const LARGEST: usize = 2500;

impl Parcel {
    /// With a number of its own, made now.
    pub fn stamped(self, number: u32, made_at: u64) -> Parcel {
        Parcel { number, made_at, ..self }
    }

    pub fn at(self, qos: Level) -> Parcel {
        Parcel { qos, ..self }
    }

    pub fn message(&self) -> Message {
        let properties = Properties::builder();
        let properties = if self.user_property { properties.user("k", "v") } else { properties };
        Message {
            topic: TOPICS[usize::from(self.topic) % TOPICS.len()].into(),
            publisher: if self.own { "phone" } else { "tablet" }.into(),
            qos: self.qos.into(),
            retain: self.retain,
            expires: self.expires(),
            properties: properties.build(),
            payload: self.payload(),
        }
    }

    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Subscription identifiers.
    pub fn ids(&self) -> Vec<u32> {
        (1..=u32::from(self.ids % 3)).map(|id| id * 100).collect()
    }

    pub fn expires(&self) -> Option<u64> {
        (self.expiry > 0).then(|| self.made_at + 1000 * u64::from(self.expiry))
    }

    /// The number, filled up.
    fn payload(&self) -> Bytes {
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.resize(usize::from(self.len) % LARGEST + payload.len(), b'.');
        payload.into()
    }
}

/// The number in a payload.
pub(super) fn number(payload: &[u8]) -> u32 {
    let number = payload.first_chunk().expect("every payload begins with a number");
    u32::from_be_bytes(*number)
}
