//! Publishes of the client and their acknowledgements.
//!
//! PUBACK and PUBREC leave in the order of the publishes (§4.6), each when its message is routed or on disk. A packet
//! identifier at QoS 2 is remembered from PUBLISH to PUBREL, so a repeat is answered again and not forwarded again.

use std::collections::{BTreeMap, VecDeque};

use bytestring::ByteString;

use super::{Command, Session, Wire, close};
use crate::clock::Millis;
use crate::codec::encode::AckKind;
use crate::codec::{Publish, QoS};
use crate::goodbye::Goodbye;
use crate::message::Message;
use crate::topic::{self, TopicError};

/// How a publish ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Reason code (MQTT 5 §3.4.2.1); 0 is success.
    pub code: u8,
    /// Reason string.
    pub reason: ByteString,
    /// User properties.
    pub user: Vec<(ByteString, ByteString)>,
    /// Whether it was stored, and with it the packet identifier of a QoS 2 publish.
    pub stored: bool,
}

impl Outcome {
    /// Success, with nothing to add.
    pub fn ok() -> Outcome {
        Outcome::default()
    }

    /// A refusal.
    pub fn refused(code: u8, reason: &str) -> Outcome {
        Outcome { code, reason: reason.into(), ..Outcome::default() }
    }
}

/// What waits for an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    last_token: u64,
    waiting: VecDeque<Waiting>,
    /// QoS 2 packet identifiers between PUBLISH and PUBREL, with the token while the message is not yet stored.
    unreleased: BTreeMap<u16, Held>,
    /// PUBCOMPs that wait until the disk has forgotten the packet identifier: token, identifier, reason code.
    completing: Vec<(u64, u16, u8)>,
    aliases: Vec<(u16, ByteString)>,
}

/// Where a QoS 2 publish stands between PUBLISH and PUBREL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Neither routed nor stored yet; the token of that.
    Waiting(u64),
    /// Routed: its packet identifier is in memory only.
    Routed,
    /// Stored, together with its packet identifier.
    Stored,
}

#[derive(Debug)]
struct Waiting {
    token: u64,
    packet_id: u16,
    qos: QoS,
    outcome: Option<Outcome>,
}

impl Inbound {
    pub(super) fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    pub(super) fn begin(&mut self) {
        self.aliases = Vec::new();
    }

    pub(super) fn suspend(&mut self) {
        self.aliases = Vec::new();
        // What a QoS 2 publish waits for is remembered in `unreleased`.
        self.waiting.clear();
        self.completing.clear();
    }

    /// Publishes that wait for their PUBACK or PUBREC.
    pub(super) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Answers may be lost: a QoS 2 publish without one is forwarded again when the client repeats it. Gives back whether
    /// the client waits for any.
    pub(super) fn lose_answers(&mut self) -> bool {
        self.unreleased.retain(|_, held| !matches!(held, Held::Waiting(_)));
        !self.waiting.is_empty() || !self.completing.is_empty()
    }

    fn wait(&mut self, token: u64, packet_id: u16, qos: QoS, outcome: Option<Outcome>) {
        self.waiting.push_back(Waiting { token, packet_id, qos, outcome });
    }
}

impl Session {
    pub(super) fn handle_publish(&mut self, publish: Publish, now: Millis, wire: &mut Wire<'_>) {
        if self.exceeds_receive_maximum(&publish) {
            return close(wire, Goodbye::ReceiveMaximum);
        }
        let topic = match self.topic_of(&publish) {
            Ok(topic) => topic,
            Err(goodbye) => return close(wire, goodbye),
        };
        let Publish { qos, packet_id, .. } = publish;
        if qos == QoS::ExactlyOnce && self.answer_repeat(packet_id, wire) {
            return;
        }
        let token = (qos != QoS::AtMostOnce).then(|| self.inbound.next_token());
        if let Some(token) = token {
            self.inbound.wait(token, packet_id, qos, None);
            if qos == QoS::ExactlyOnce {
                self.inbound.unreleased.insert(packet_id, Held::Waiting(token));
            }
        }
        let message = Message {
            topic,
            publisher: self.device.client.clone(),
            qos,
            retain: publish.retain,
            expires: publish.expiry.map(|seconds| now + Millis::from(seconds) * 1000),
            properties: publish.properties,
            payload: publish.payload,
        };
        let remember = (qos == QoS::ExactlyOnce && self.is_persistent()).then_some(packet_id);
        wire.commands.push(Command::Publish { message, token, remember });
    }

    /// Whether a client of MQTT 5 does not keep to the Receive Maximum (§3.3.4). While much waits for us it is not read
    /// from, but for its PUBREL it must be, so that is what this bounds; 3.x clients have their packet identifiers only.
    fn exceeds_receive_maximum(&self, publish: &Publish) -> bool {
        let Inbound { waiting, unreleased, .. } = &self.inbound;
        publish.qos != QoS::AtMostOnce
            && self.version.is_v5()
            && waiting.len().max(unreleased.len()) >= usize::from(self.limits.unanswered)
            && !unreleased.contains_key(&publish.packet_id)
    }

    /// The topic name, with a topic alias looked up or learned (§3.3.2.3.4).
    fn topic_of(&mut self, publish: &Publish) -> Result<ByteString, Goodbye> {
        if let Some(alias) = publish.alias {
            if alias > self.limits.topic_alias_maximum {
                return Err(Goodbye::Malformed(0x94, "topic alias above the maximum"));
            }
            let known = self.inbound.aliases.iter_mut().find(|(number, _)| *number == alias);
            if publish.topic.is_empty() {
                return known
                    .map(|(_, topic)| topic.clone())
                    .ok_or(Goodbye::Malformed(0x82, "unknown topic alias"));
            }
            // Copied, so that it does not keep the read buffer.
            let topic = ByteString::from(&*publish.topic);
            match known {
                Some((_, old)) => *old = topic,
                None => self.inbound.aliases.push((alias, topic)),
            }
        }
        match topic::check_name(&publish.topic, &self.limits.topics) {
            Ok(()) => Ok(publish.topic.clone()),
            Err(TopicError::TooManyLevels(_)) => {
                Err(Goodbye::Malformed(0x90, "the topic has too many levels"))
            }
            Err(TopicError::TooLong(_)) => Err(Goodbye::Malformed(0x90, "the topic is too long")),
            Err(_) => Err(Goodbye::Malformed(0x90, "invalid topic name")),
        }
    }

    /// A packet identifier that was not released yet: the message is not forwarded again (§4.3.3).
    fn answer_repeat(&mut self, packet_id: u16, wire: &mut Wire<'_>) -> bool {
        let Some(held) = self.inbound.unreleased.get(&packet_id).copied() else { return false };
        match held {
            Held::Waiting(token) => self.inbound.wait(token, packet_id, QoS::ExactlyOnce, None),
            Held::Routed | Held::Stored => {
                self.inbound.wait(0, packet_id, QoS::ExactlyOnce, Some(Outcome::ok()));
                self.answer_in_order(wire);
            }
        }
        true
    }

    pub(super) fn publish_done(&mut self, token: u64, outcome: Outcome, wire: &mut Wire<'_>) {
        let Inbound { waiting, unreleased, .. } = &mut self.inbound;
        let mut packet_id = None;
        for waiting in waiting.iter_mut().filter(|waiting| waiting.token == token) {
            packet_id = Some(waiting.packet_id);
            waiting.outcome = Some(outcome.clone());
        }
        // The connection that asked may be gone; then the token alone tells which one it was.
        let by_token =
            || unreleased.iter().find(|(_, held)| **held == Held::Waiting(token)).map(|(id, _)| *id);
        if let Some(packet_id) = packet_id.or_else(by_token)
            && unreleased.get(&packet_id) == Some(&Held::Waiting(token))
        {
            if outcome.code < 0x80 {
                unreleased.insert(packet_id, if outcome.stored { Held::Stored } else { Held::Routed });
            } else {
                unreleased.remove(&packet_id);
            }
        }
        self.answer_in_order(wire);
    }

    fn answer_in_order(&mut self, wire: &mut Wire<'_>) {
        while let Some(Waiting { outcome: Some(_), .. }) = self.inbound.waiting.front() {
            let Some(Waiting { packet_id, qos, outcome: Some(outcome), .. }) =
                self.inbound.waiting.pop_front()
            else {
                return;
            };
            // 3.1 and 3.1.1 have no way to refuse: an acknowledgement would be a lie, so the connection ends.
            if outcome.code >= 0x80 && !self.version.is_v5() {
                let goodbye = if outcome.code == 0x87 { Goodbye::Denied } else { Goodbye::Busy };
                return close(wire, goodbye);
            }
            let kind = if qos == QoS::AtLeastOnce { AckKind::PubAck } else { AckKind::PubRec };
            self.send_ack(kind, packet_id, &outcome, wire);
        }
    }

    pub(super) fn handle_pubrel(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        let held = self.inbound.unreleased.remove(&packet_id);
        // "Packet identifier not found" is no error (§3.7.2.1).
        let code = if held.is_some() { 0 } else { 0x92 };
        if !self.is_persistent() || held == Some(Held::Routed) {
            return self.complete(packet_id, code, wire);
        }
        // After PUBCOMP the client uses the identifier for another message. If the disk still had it then, a crash would
        // make that message look like a repeat.
        let token = self.inbound.next_token();
        self.inbound.completing.push((token, packet_id, code));
        wire.commands.push(Command::Forgotten { packet_id, token });
    }

    /// The disk has forgotten a packet identifier; `false` if the token is of something else.
    pub(super) fn forgotten(&mut self, token: u64, wire: &mut Wire<'_>) -> bool {
        let Some(at) = self.inbound.completing.iter().position(|(waits, ..)| *waits == token) else {
            return false;
        };
        let (_, packet_id, code) = self.inbound.completing.remove(at);
        self.complete(packet_id, code, wire);
        true
    }

    fn complete(&self, packet_id: u16, code: u8, wire: &mut Wire<'_>) {
        self.send_ack(AckKind::PubComp, packet_id, &Outcome { code, ..Outcome::ok() }, wire);
    }

    /// QoS 2 packet identifiers that stood on disk between PUBLISH and PUBREL.
    pub fn restore_unreleased(&mut self, packet_ids: impl IntoIterator<Item = u16>) {
        self.inbound.unreleased.extend(packet_ids.into_iter().map(|id| (id, Held::Stored)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::{Ack, Connect, ConnectProperties, Packet, Properties, Version};
    use crate::lane::Device;
    use crate::outbuffer::OutBuffer;
    use crate::session::SessionLimits;
    use crate::topic::TopicLimits;

    const LIMITS: SessionLimits = SessionLimits {
        inflight: 4,
        unanswered: 2,
        waiting_messages: 3,
        waiting_bytes: 1000,
        subscriptions: 2,
        topic_alias_maximum: 0,
        out_bytes: 1_000_000,
        topics: TopicLimits { levels: 8, bytes: 100 },
    };

    fn session(version: Version, maximum_packet_size: Option<u32>) -> Session {
        let properties = ConnectProperties { maximum_packet_size, ..ConnectProperties::default() };
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id: "phone".into(),
            will: None,
            username: None,
            password: None,
            properties,
        };
        let device = Device { user: "bob".into(), client: "phone".into() };
        Session::new(device, &connect, 0, LIMITS, 0)
    }

    /// Sends a packet and answers what it publishes; gives back the bytes for the client and whether they were cut off.
    fn handle(session: &mut Session, packet: Packet, outcome: &Outcome) -> (Bytes, bool) {
        let (mut out, mut commands) = (OutBuffer::default(), Vec::new());
        session.handle_packet(packet, 0, &mut Wire { out: &mut out, commands: &mut commands });
        for command in std::mem::take(&mut commands) {
            match command {
                Command::Publish { token: Some(token), .. } => {
                    let mut wire = Wire { out: &mut out, commands: &mut commands };
                    session.done(token, outcome.clone(), 0, &mut wire);
                }
                command => commands.push(command),
            }
        }
        (out.take(), commands == [Command::Close(Goodbye::ReceiveMaximum)])
    }

    fn publish(packet_id: u16) -> Packet {
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: "a".into(),
            packet_id,
            alias: None,
            expiry: None,
            properties: Properties::default(),
            payload: Bytes::new(),
        })
    }

    #[test]
    fn a_client_that_owes_its_pubrels_is_read_from_until_it_exceeds_the_receive_maximum() {
        let mut session = session(Version::V5, None);
        for id in [1, 2] {
            handle(&mut session, publish(id), &Outcome::ok());
        }
        assert!(session.wants_packets(), "how else could its PUBREL come");
        assert_eq!(
            handle(&mut session, publish(2), &Outcome::ok()),
            (Bytes::from_static(&[0x50, 2, 0, 2]), false)
        );
        handle(&mut session, Packet::PubRel(Ack { packet_id: 1, reason: 0 }), &Outcome::ok());
        assert!(!handle(&mut session, publish(3), &Outcome::ok()).1);
        assert!(handle(&mut session, publish(4), &Outcome::ok()).1);
    }

    #[test]
    fn a_3_x_client_was_promised_no_receive_maximum_and_is_not_held_to_one() {
        let mut session = session(Version::V311, None);
        for id in 1..=9 {
            let pubrec = Bytes::copy_from_slice(&[0x50, 2, 0, id as u8]);
            assert_eq!(handle(&mut session, publish(id), &Outcome::ok()), (pubrec, false));
        }
    }

    #[test]
    fn a_reason_leaves_with_the_acknowledgement_only_if_the_client_takes_the_size() {
        let refused = Outcome::refused(0x87, "not yours");
        let (whole, _) = handle(&mut session(Version::V5, Some(18)), publish(1), &refused);
        assert_eq!((whole.len(), &whole[..5]), (18, &[0x50, 16, 0, 1, 0x87][..]));
        let (cut, _) = handle(&mut session(Version::V5, Some(17)), publish(1), &refused);
        assert_eq!(cut, Bytes::from_static(&[0x50, 3, 0, 1, 0x87]));
    }
}
