//! What edges and bridge say to each other, and its form on the spine.
//!
//! A frame is `length, head length, head, message`: the head is an enum in postcard, the message (if any) is sliced out
//! of the batch without a copy. User-made strings stand in here and nowhere else; the router sees only lane names.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::clock::Millis;
use crate::codec::{QoS, SubscribeOptions};
use crate::message::{Message, Unreadable};
use crate::policy::Door;
use crate::share::Search;

/// Where an answer goes: a session of an edge. An answer to a session that is over finds nobody, and a page for a reader
/// that is gone is not taken for one of its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The edge.
    pub edge: u8,
    /// Index of the session on its edge.
    pub slot: u32,
    /// Counts the sessions of the edge.
    pub generation: u32,
    /// Counts the readers of the session; 0 for all but stored messages.
    pub reader: u32,
}

/// The device of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// The user.
    pub user: ByteString,
    /// The MQTT client id.
    pub client: ByteString,
}

/// What a reader of stored messages reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The queue of a persistent session; positions are dense per session.
    Queue,
    /// The inbox stream of the user; positions are its cursor `n`.
    Inbox,
}

/// How a connection ended, as presence sees it (R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// DISCONNECT from the client.
    Clean,
    /// The link was lost, or the client fell silent.
    Lost,
    /// The same client id connected again; presence goes on.
    TakenOver,
    /// The server ended it.
    Kicked,
}

/// Why the bridge gets a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// Store it for persistent sessions and as retained message, as wanted.
    Queue,
    /// Only for the share groups named: the member that was chosen first did not take it.
    Share,
    /// A chat message to number and to store.
    Chat,
    /// A request to answer.
    Rpc,
    /// A wish about one's own presence.
    Presence,
}

/// From an edge to the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBridge {
    /// A message; answered with [`ToEdge::Done`] after the commit if there is a token.
    Publish {
        /// Who waits.
        at: Place,
        /// The wait, counted by the session; none at QoS 0.
        token: Option<u64>,
        /// What to do.
        errand: Errand,
        /// Who says it.
        from: Device,
        /// Whether the message also becomes the retained message of its topic, and its stamp among all that did.
        store_retained: Option<u64>,
        /// The packet identifier to remember with it until PUBREL, for the persistent session of a QoS 2 publisher.
        remember: Option<u16>,
        /// Share groups of which a persistent session gets it, or, where an edge is named, a member on that edge; then the
        /// bridge keeps it as a loan until that member has acknowledged it.
        shares: Vec<(Search, Option<u8>)>,
    },
    /// A message on loan was acknowledged, or is not worth delivering any more.
    Settled {
        /// Its number.
        loan: u64,
    },
    /// A device connected.
    Open {
        /// Where.
        at: Place,
        /// Who.
        device: Device,
        /// Short name of the device kind, for presence.
        kind: ByteString,
        /// Seconds that the session outlives the connection; 0 ends with it, `u32::MAX` never.
        expiry: u32,
        /// Whether an earlier session of this client has to be forgotten first.
        fresh: bool,
    },
    /// A device's connection ended; the session may live on.
    Close {
        /// Where.
        at: Place,
        /// Who.
        device: Device,
        /// How.
        how: Ending,
        /// Seconds that the session lives on.
        expiry: u32,
    },
    /// A session is over: everything stored for it goes. What a share group is owed goes to another member.
    Forget {
        /// Where it was.
        at: Place,
        /// Whose.
        device: Device,
        /// Entries of its queue that were sent and not acknowledged: at QoS 2 nobody else gets them (§4.8.2).
        begun: Vec<u64>,
    },
    /// Asks when everything that was said before is on disk; answered with `Done`.
    Barrier {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
    },
    /// A persistent session subscribes; answered with `Done`.
    Subscribe {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
        /// Whose session.
        device: Device,
        /// Filters as in SUBSCRIBE, with what was granted, and the subscription identifier.
        filters: Vec<(ByteString, SubscribeOptions)>,
        /// Subscription identifier.
        id: Option<u32>,
    },
    /// A persistent session unsubscribes; answered with `Done`.
    Unsubscribe {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
        /// Whose session.
        device: Device,
        /// Filters as in UNSUBSCRIBE.
        filters: Vec<ByteString>,
    },
    /// Deliver from a source from now on; the first page follows.
    Attach {
        /// Where.
        at: Place,
        /// Whose.
        device: Device,
        /// What.
        source: Source,
        /// At which quality of service the device subscribed; at QoS 0 nothing is owed, so it begins now, unless this takes the place
        /// of a subscription that was owed something.
        qos: QoS,
        /// Whether a cursor is kept for the device.
        persistent: bool,
    },
    /// Deliver no longer.
    Detach {
        /// Where.
        at: Place,
        /// Whose.
        device: Device,
        /// What.
        source: Source,
    },
    /// The next page, from a position on.
    Fetch {
        /// Where.
        at: Place,
        /// Whose.
        device: Device,
        /// What.
        source: Source,
        /// First position wanted.
        from: u64,
        /// Entries at most.
        max: u32,
    },
    /// The device acknowledged: this entry of a queue, or an inbox up to and with this entry.
    Taken {
        /// Whose.
        device: Device,
        /// What.
        source: Source,
        /// Where.
        position: u64,
        /// Whether the device has a cursor of its own.
        persistent: bool,
    },
    /// PUBREC for an entry of a queue; answered with [`ToEdge::Released`] after the commit.
    Received {
        /// Who waits.
        at: Place,
        /// Whose.
        device: Device,
        /// Entry.
        position: u64,
        /// Packet identifier, which stays taken until PUBCOMP.
        packet_id: u16,
    },
    /// PUBCOMP: the packet identifier is free again.
    Completed {
        /// Whose.
        device: Device,
        /// Packet identifier.
        packet_id: u16,
    },
    /// PUBREL from a persistent session: its packet identifier is free again; answered with `Done`.
    Forgotten {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
        /// Whose.
        device: Device,
        /// Packet identifier.
        packet_id: u16,
    },
    /// The will of a connection (the message of the frame), kept until [`ToBridge::WillOver`]; answered with `Done`.
    Will {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
        /// Whose.
        device: Device,
        /// Short name of the device kind.
        kind: ByteString,
        /// Through which door the client came.
        door: Door,
        /// Seconds between the end of the connection and the will.
        delay: u32,
        /// Seconds that the published will is worth delivering.
        expiry: Option<u32>,
    },
    /// The connection is lost and its will waits for this time.
    WillDue {
        /// Whose.
        device: Device,
        /// When.
        due: Millis,
    },
    /// The will was published, or is not needed any more.
    WillOver {
        /// Whose.
        device: Device,
    },
    /// From the watchdog.
    Heartbeat,
    /// A device has the place of its class now, of which a user has one.
    LoggedIn {
        /// Which device.
        device: Device,
        /// Its class.
        class: ByteString,
    },
    /// The place is free again, if this device still has it.
    LoggedOut {
        /// Which device.
        device: Device,
        /// Its class.
        class: ByteString,
    },
}

/// From the bridge, or from another edge, to an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEdge {
    /// A message for the subscribers of this edge.
    Publish {
        /// For all ordinary subscriptions that match.
        plain: bool,
        /// For one member of each of these share groups.
        shares: Vec<Search>,
    },
    /// A message of the server itself: for all ordinary subscriptions, and for the share groups.
    Broadcast,
    /// A message for persistent sessions whose subscriptions are at QoS 0: not stored, and gone if nobody is there.
    Fleeting {
        /// For whom.
        to: Vec<FleetingCopy>,
    },
    /// The commit that a session waited for is on disk, or refused.
    Done {
        /// Who waits.
        at: Place,
        /// The wait.
        token: u64,
        /// Reason code (MQTT 5 §2.4).
        code: u8,
        /// Reason string.
        reason: ByteString,
        /// User properties of the answer.
        user: Vec<(ByteString, ByteString)>,
    },
    /// A stored message.
    Entry {
        /// For whom.
        at: Place,
        /// From where.
        source: Source,
        /// Its position.
        position: u64,
        /// Whether it answers a fetch.
        fetched: bool,
        /// At which quality of service.
        qos: QoS,
        /// Retain flag to show.
        retain: bool,
        /// Subscription identifiers that matched.
        ids: Vec<u32>,
    },
    /// The end of a page.
    Page {
        /// For whom.
        at: Place,
        /// From where.
        source: Source,
        /// The position after the last one looked at.
        next: u64,
        /// Whether there was more.
        more: bool,
    },
    /// The bridge remembers that this message arrived: PUBREL may go.
    Released {
        /// For whom.
        at: Place,
        /// Packet identifier.
        packet_id: u16,
    },
    /// Bytes of this edge that the bridge has worked off since the start; the sum, so that a lost one does no harm.
    Credit {
        /// How many.
        total: u64,
    },
    /// From the watchdog.
    Heartbeat,
}

/// One of those who get a message that is not stored for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetingCopy {
    /// For whom.
    pub at: Place,
    /// Retain flag to show.
    pub retain: bool,
    /// Subscription identifiers that matched.
    pub ids: Vec<u32>,
}

/// Appends a frame.
pub fn put<H: Serialize>(out: &mut BytesMut, head: &H, message: Option<&Message>) {
    let start = out.len();
    out.put_u64(0);
    // Writing to memory cannot fail; a head that postcard refused would be a type that it cannot express.
    if let Err(error) = postcard::to_io(head, (&mut *out).writer()) {
        tracing::error!(%error, "frame not written");
        out.truncate(start);
        return;
    }
    let head_len = out.len() - start - 8;
    if let Some(message) = message {
        message.encode(out);
    }
    let len = out.len() - start - 4;
    out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&(head_len as u32).to_be_bytes());
}

/// Takes the next frame from the front of a batch; nothing at its end. A frame that cannot be read is skipped: the
/// next call goes on behind it.
pub fn take<H: DeserializeOwned>(batch: &mut Bytes) -> Result<Option<(H, Option<Message>)>, Unreadable> {
    if batch.is_empty() {
        return Ok(None);
    }
    let Ok(len) = batch.try_get_u32() else {
        batch.clear();
        return Err(Unreadable("no frame length"));
    };
    let len = len as usize;
    if batch.len() < len {
        batch.clear();
        return Err(Unreadable("shorter than its frame"));
    }
    let mut frame = batch.split_to(len);
    let head_len = frame.try_get_u32().map_err(|_| Unreadable("no head length"))? as usize;
    if frame.len() < head_len {
        return Err(Unreadable("shorter than its head"));
    }
    let head = postcard::from_bytes(&frame[..head_len]).map_err(|_| Unreadable("head"))?;
    frame.advance(head_len);
    let message = if frame.is_empty() { None } else { Some(Message::decode(&mut frame)?) };
    Ok(Some((head, message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Share;

    #[test]
    fn a_batch_gives_back_its_frames_in_order() {
        let mut out = BytesMut::new();
        let message = Message { topic: "聊天/大厅".into(), payload: "hi".into(), ..Message::default() };
        let share = Share { group: "g".into(), filter: "a/#".into() };
        let search = Search { tried: 1 << 63, loan: Some(7), ..Search::new(share) };
        let publish = ToEdge::Publish { plain: true, shares: vec![search] };
        put(&mut out, &publish, Some(&message));
        put(&mut out, &ToEdge::Credit { total: 7 }, None);
        let whole = out.freeze();
        let mut batch = whole.clone();
        assert_eq!(take(&mut batch), Ok(Some((publish, Some(message)))));
        assert_eq!(take(&mut batch), Ok(Some((ToEdge::Credit { total: 7 }, None))));
        assert_eq!(take::<ToEdge>(&mut batch), Ok(None));
        for end in 1..whole.len() {
            let mut cut = whole.slice(..end);
            while let Ok(Some(_)) = take::<ToEdge>(&mut cut) {}
        }
    }

    #[test]
    fn a_head_of_any_size_travels_and_a_broken_frame_leaves_the_others_readable() {
        let filters: Vec<_> = (0..1000).map(|n| format!("{n}{}", "x".repeat(200)).into()).collect();
        let device = Device { user: "u".into(), client: "c".into() };
        let large = ToBridge::Unsubscribe {
            at: Place { edge: 0, slot: 0, generation: 0, reader: 0 },
            token: 1,
            device,
            filters,
        };
        let mut out = BytesMut::new();
        put(&mut out, &large, None);
        let second = out.len();
        put(&mut out, &ToBridge::Heartbeat, None);
        put(&mut out, &ToBridge::Heartbeat, None);
        out[second + 8] = 0xff;
        let mut batch = out.freeze();
        assert_eq!(take(&mut batch), Ok(Some((large, None))));
        assert!(take::<ToBridge>(&mut batch).is_err());
        assert_eq!(take(&mut batch), Ok(Some((ToBridge::Heartbeat, None))));
    }
}
