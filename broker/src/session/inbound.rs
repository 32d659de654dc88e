//! Publishes of the client and their acknowledgements.
//!
//! PUBACK and PUBREC leave in the order of the publishes (§4.6), each when its message is routed or on disk. A packet
//! identifier at QoS 2 is remembered from PUBLISH to PUBREL, so a repeat is answered again and not forwarded again.

use std::collections::VecDeque;

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
}

impl Outcome {
    /// Success, with nothing to add.
    pub fn ok() -> Outcome {
        Outcome::default()
    }

    /// A refusal.
    pub fn refused(code: u8, reason: &str) -> Outcome {
        Outcome { code, reason: reason.into(), user: Vec::new() }
    }
}

/// What waits for an acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    last_token: u64,
    waiting: VecDeque<Waiting>,
    /// QoS 2 packet identifiers between PUBLISH and PUBREL, with the token while the message is not yet stored.
    unreleased: Vec<(u16, Option<u64>)>,
    aliases: Vec<(u16, ByteString)>,
}

#[derive(Debug)]
struct Waiting {
    token: u64,
    packet_id: u16,
    qos: QoS,
    outcome: Option<Outcome>,
    /// The connection that asked is gone.
    stale: bool,
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
        self.waiting.iter_mut().for_each(|waiting| waiting.stale = true);
    }

    pub(super) fn unanswered(&self) -> usize {
        self.waiting.len().max(self.unreleased.len())
    }

    fn wait(&mut self, token: u64, packet_id: u16, qos: QoS, outcome: Option<Outcome>) {
        self.waiting.push_back(Waiting { token, packet_id, qos, outcome, stale: false });
    }

    fn unreleased_mut(&mut self, packet_id: u16) -> Option<&mut Option<u64>> {
        self.unreleased.iter_mut().find(|(id, _)| *id == packet_id).map(|(_, token)| token)
    }
}

impl Session {
    pub(super) fn handle_publish(&mut self, publish: Publish, now: Millis, wire: &mut Wire<'_>) {
        // A client that keeps to the Receive Maximum never gets here; 3.x clients are not read from in time.
        let limit = usize::from(self.limits.unanswered) + usize::from(!self.version.is_v5());
        if publish.qos != QoS::AtMostOnce && self.inbound.unanswered() >= limit {
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
                self.inbound.unreleased.push((packet_id, Some(token)));
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

    /// The topic name, with a topic alias looked up or learned (§3.3.2.3.4).
    fn topic_of(&mut self, publish: &Publish) -> Result<ByteString, Goodbye> {
        if let Some(alias) = publish.alias {
            if alias > self.limits.topic_alias_maximum {
                return Err(Goodbye::Malformed(0x94, "topic alias above the maximum"));
            }
            let known = self.inbound.aliases.iter_mut().find(|(number, _)| *number == alias);
            if publish.topic.is_empty() {
                return known.map(|(_, topic)| topic.clone()).ok_or(Goodbye::Malformed(0x82, "unknown topic alias"));
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
            Err(TopicError::TooManyLevels(_)) => Err(Goodbye::Malformed(0x90, "the topic has too many levels")),
            Err(TopicError::TooLong(_)) => Err(Goodbye::Malformed(0x90, "the topic is too long")),
            Err(_) => Err(Goodbye::Malformed(0x90, "invalid topic name")),
        }
    }

    /// A packet identifier that was not released yet: the message is not forwarded again (§4.3.3).
    fn answer_repeat(&mut self, packet_id: u16, wire: &mut Wire<'_>) -> bool {
        let Some(token) = self.inbound.unreleased_mut(packet_id) else { return false };
        match *token {
            Some(token) => self.inbound.wait(token, packet_id, QoS::ExactlyOnce, None),
            None => {
                self.inbound.wait(0, packet_id, QoS::ExactlyOnce, Some(Outcome::ok()));
                self.answer_in_order(wire);
            }
        }
        true
    }

    pub(super) fn publish_done(&mut self, token: u64, outcome: Outcome, wire: &mut Wire<'_>) {
        let inbound = &mut self.inbound;
        if let Some(at) = inbound.unreleased.iter().position(|(_, waits)| *waits == Some(token)) {
            if outcome.code >= 0x80 {
                inbound.unreleased.swap_remove(at);
            } else {
                inbound.unreleased[at].1 = None;
            }
        }
        for waiting in inbound.waiting.iter_mut().filter(|waiting| waiting.token == token) {
            waiting.outcome = Some(outcome.clone());
        }
        self.answer_in_order(wire);
    }

    fn answer_in_order(&mut self, wire: &mut Wire<'_>) {
        while let Some(Waiting { outcome: Some(_), .. }) = self.inbound.waiting.front() {
            let Some(Waiting { packet_id, qos, outcome: Some(outcome), stale, .. }) = self.inbound.waiting.pop_front()
            else {
                return;
            };
            if stale {
                continue;
            }
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
        let known = self.inbound.unreleased.iter().position(|(id, _)| *id == packet_id);
        if let Some(at) = known {
            self.inbound.unreleased.swap_remove(at);
            if self.is_persistent() {
                wire.commands.push(Command::Forgotten(packet_id));
            }
        }
        // "Packet identifier not found" is no error (§3.7.2.1).
        let code = if known.is_some() { 0 } else { 0x92 };
        self.send_ack(AckKind::PubComp, packet_id, &Outcome { code, ..Outcome::ok() }, wire);
    }

    /// QoS 2 packet identifiers that stood on disk between PUBLISH and PUBREL.
    pub fn restore_unreleased(&mut self, packet_ids: impl IntoIterator<Item = u16>) {
        self.inbound.unreleased.extend(packet_ids.into_iter().map(|id| (id, None)));
    }
}
