//! A persistent session as the bridge kept it on disk.

use std::sync::Arc;

use bytestring::ByteString;

use super::{Session, SessionLimits, Subscription};
use crate::clock::Millis;
use crate::codec::{SubscribeOptions, Will};
use crate::lane::Device;
use crate::policy::Door;
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
    /// The will of a connection that died with the server, or that was waiting when it ended.
    pub will: Option<RestoredWill>,
}

/// A will that is owed since an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredWill {
    /// What is to be published.
    pub will: Will,
    /// When, unless the client comes back first.
    pub due: Millis,
    /// What the client was called, and the door through which it came: rights are checked when the will is published.
    pub kind: ByteString,
    /// The door.
    pub door: Door,
}

impl RestoredSession {
    /// The session, without a connection. A filter that the limits of today refuse is left out.
    pub fn into_session(self, limits: impl Into<Arc<SessionLimits>>) -> Session {
        let limits = limits.into();
        let mut session = Session::restored(self.device, self.expiry, limits.clone());
        for (text, options, id) in self.subscriptions {
            match TopicFilter::parse(&text, &limits.topics) {
                Ok(filter) => drop(session.subscriptions.insert(Subscription { options, id, filter })),
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
