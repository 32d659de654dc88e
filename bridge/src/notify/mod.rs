//! Telling an absent person, outside of MQTT, that something waits: a durable outbox and signed webhook calls.
//!
//! The entry is stored in the batch of its message, at `o/{uid}/{n}`, so that neither exists without the other. The
//! [`Outbox`] is when to call, the [`Webhook`] is how. An entry leaves the store when a device took the message, when
//! the call succeeded, or when it was given up.

mod call;
mod outbox;
mod webhook;

use serde::{Deserialize, Serialize};

pub use call::{CALL_MAX, Call};
pub use outbox::{Outbox, Retry, Verdict};
pub use webhook::{Outcome, Sent, Webhook};

pub(crate) use call::signature;
pub(crate) use webhook::agent;

/// The value of an outbox entry; user and inbox position are in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The conversation.
    pub cid: String,
    /// The message's number in the conversation.
    pub seq: u64,
    /// The message's id.
    pub mid: String,
    /// Who sent the message.
    pub from: String,
    /// When the message was stored, milliseconds since the Unix epoch.
    pub ts: u64,
    /// When the next call is due, the same unit.
    pub due_ms: u64,
    /// Calls made so far.
    pub attempts: u32,
    /// The text of the message, if the settings let it out.
    pub body: Option<String>,
}

impl Pending {
    /// The bytes for the store.
    pub fn encode(&self) -> Vec<u8> {
        // Writing these types into memory has no way to fail; an empty value would read as damaged.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads what [`Pending::encode`] wrote; `None` if it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Pending> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_from_the_store_and_a_damaged_one_does_not() {
        let pending = Pending {
            cid: "alice~bob".into(),
            seq: 7,
            mid: "01J".into(),
            from: "alice".into(),
            ts: u64::MAX,
            due_ms: 1,
            attempts: 3,
            body: Some("聊天".into()),
        };
        let bytes = pending.encode();
        assert_eq!(Pending::decode(&bytes), Some(pending));
        assert_eq!(Pending::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Pending::decode(&[]), None);
    }
}
