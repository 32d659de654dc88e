//! One message on its way to many receivers: encoded once per shape, kept once.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::aliases::Alias;
use crate::clock::Millis;
use crate::codec::QoS;
use crate::codec::encode::{self, Encoded, Message as Head, Shape};
use crate::message::Message;
use crate::outbuffer::OutBuffer;

/// A message and what was already made of it for its receivers.
#[derive(Debug)]
pub struct Fanout<'a> {
    message: &'a Message,
    shared: Option<Arc<Message>>,
    /// The shape of the first copy, which is encoded where it goes: most messages have one receiver.
    first: Option<Shape>,
    heads: SmallVec<[(Shape, Encoded); 2]>,
    expiry: Option<u32>,
}

impl<'a> Fanout<'a> {
    /// Nothing encoded yet.
    pub fn new(message: &'a Message, now: Millis) -> Fanout<'a> {
        Fanout { message, shared: None, first: None, heads: SmallVec::new(), expiry: message.remaining(now) }
    }

    /// A message that is kept already.
    pub fn of_shared(message: &'a Arc<Message>, now: Millis) -> Fanout<'a> {
        Fanout { shared: Some(message.clone()), ..Fanout::new(message, now) }
    }

    /// The message.
    pub fn message(&self) -> &'a Message {
        self.message
    }

    /// The message to keep, without the read buffer that it came in.
    pub fn shared(&mut self) -> Arc<Message> {
        self.shared.get_or_insert_with(|| Arc::new(self.message.compact())).clone()
    }

    /// Appends the PUBLISH; `false` if it is larger than the receiver takes, then nothing is appended.
    pub(super) fn write(&mut self, out: &mut OutBuffer, shape: Shape, copy: &Copy<'_>) -> bool {
        let own = shape.version_is_v5 && (!copy.ids.is_empty() || copy.alias.is_some());
        if own || self.first.is_none() {
            self.first = self.first.or((!own).then_some(shape));
            return self.write_own(out, shape, copy);
        }
        let payload_len = self.message.payload.len();
        let head = self.head(shape);
        if head.head.len() + payload_len > copy.max {
            return false;
        }
        head.write(out.publish(payload_len), copy.packet_id, copy.dup);
        out.push(self.payload());
        true
    }

    /// A copy whose head is like no other.
    fn write_own(&self, out: &mut OutBuffer, shape: Shape, copy: &Copy<'_>) -> bool {
        let parts = parts(self.message, self.expiry, copy);
        if encode::publish_len(shape, &parts) > copy.max {
            return false;
        }
        encode::publish_head(out.publish(parts.payload_len), shape, &parts);
        out.push(self.payload());
        true
    }

    fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The head that all receivers of a shape share.
    fn head(&mut self, shape: Shape) -> &Encoded {
        let known = self.heads.iter().position(|(known, _)| *known == shape);
        let at = known.unwrap_or_else(|| {
            let shared = Copy { packet_id: 0, dup: false, ids: &[], alias: None, max: 0 };
            self.heads.push((shape, Encoded::new(shape, &parts(self.message, self.expiry, &shared))));
            self.heads.len() - 1
        });
        &self.heads[at].1
    }
}

/// What differs from one receiver to the next.
pub(super) struct Copy<'a> {
    pub packet_id: u16,
    pub dup: bool,
    /// Subscription identifiers that matched.
    pub ids: &'a [u32],
    pub alias: Option<Alias>,
    /// Bytes of the largest packet that the receiver takes.
    pub max: usize,
}

fn parts<'a>(message: &'a Message, expiry: Option<u32>, copy: &Copy<'a>) -> Head<'a> {
    Head {
        dup: copy.dup,
        topic: if copy.alias.is_some_and(|alias| alias.known) { "" } else { &message.topic },
        packet_id: copy.packet_id,
        payload_len: message.payload.len(),
        expiry,
        alias: copy.alias.map(|alias| alias.number),
        subscription_ids: copy.ids,
        properties: &message.properties,
    }
}

/// The shape of a PUBLISH for a receiver.
pub(super) fn shape(version_is_v5: bool, qos: QoS, retain: bool) -> Shape {
    Shape { version_is_v5, qos, retain }
}

#[cfg(test)]
mod tests {
    use super::super::tests::member;
    use super::*;
    use crate::codec::Version;
    use crate::session::{Delivery, Wire};

    #[test]
    fn a_room_of_thousands_costs_one_encoding_for_each_shape() {
        let message = Message { topic: "room".into(), qos: QoS::AtLeastOnce, ..Message::default() };
        let mut fan = Fanout::new(&message, 0);
        for number in 0..5000 {
            let version = if number % 2 == 0 { Version::V311 } else { Version::V5 };
            let qos = if number % 3 == 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let (mut member, mut out, mut commands) = (member(version), OutBuffer::default(), Vec::new());
            let to = Delivery { qos, retain: false, ids: &[], search: None };
            member.deliver(&mut fan, to, &mut Wire { out: &mut out, commands: &mut commands });
            assert!(!out.is_empty());
        }
        assert_eq!(fan.heads.len(), 4, "two versions at two qualities of service");
    }
}
