//! A persistent session as the bridge kept it on disk.

use bytestring::ByteString;

use super::{Session, SessionLimits, Subscription};
use crate::clock::Millis;
use crate::codec::SubscribeOptions;
use crate::lane::Device;
use crate::topic::TopicFilter;

/// A persistent session as the bridge kept it on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredSession {
    /// Whose.
    pub device: Device,
    /// Seconds that it outlives its connection.
    pub expiry: u32,
    /// When its last connection ended.
    pub ended_at: Millis,
    /// Filter as in SUBSCRIBE, what was granted, subscription identifier.
    pub subscriptions: Vec<(ByteString, SubscribeOptions, Option<u32>)>,
    /// QoS 2 packet identifiers of the client between PUBLISH and PUBREL.
    pub unreleased: Vec<u16>,
    /// Packet identifiers of queue entries between PUBREC and PUBCOMP.
    pub released: Vec<u16>,
}

impl RestoredSession {
    /// The session, without a connection. A filter that the limits of today refuse is left out.
    pub fn into_session(self, limits: SessionLimits) -> Session {
        let mut session = Session::restored(self.device, self.expiry, limits);
        for (text, options, id) in self.subscriptions {
            match TopicFilter::parse(&text, &limits.topics) {
                Ok(filter) => drop(session.subscriptions.insert(text, Subscription { options, id, filter })),
                Err(error) => {
                    tracing::warn!(client = %session.device.client, filter = %text, %error, "not restored")
                }
            }
        }
        session.restore_unreleased(self.unreleased);
        session.restore_released(self.released);
        session.begin_identifiers_at(self.ended_at);
        session
    }
}
