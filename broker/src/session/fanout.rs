//! One message on its way to many receivers: encoded once per shape, kept once.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::clock::Millis;
use crate::codec::QoS;
use crate::codec::encode::{Encoded, Message as Head, Shape};
use crate::message::Message;
use crate::outbuffer::OutBuffer;

/// A message and what was already made of it for its receivers.
#[derive(Debug)]
pub struct Fanout<'a> {
    message: &'a Message,
    shared: Option<Arc<Message>>,
    heads: SmallVec<[(Shape, Encoded); 2]>,
    expiry: Option<u32>,
}

impl<'a> Fanout<'a> {
    /// Nothing encoded yet.
    pub fn new(message: &'a Message, now: Millis) -> Fanout<'a> {
        Fanout { message, shared: None, heads: SmallVec::new(), expiry: message.remaining(now) }
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
    pub fn write(
        &mut self,
        out: &mut OutBuffer,
        shape: Shape,
        packet_id: u16,
        dup: bool,
        ids: &[u32],
        max: usize,
    ) -> bool {
        if ids.is_empty() || !shape.version_is_v5 {
            let at = self.head(shape);
            let head = &self.heads[at].1;
            if head.head.len() + self.message.payload.len() > max {
                return false;
            }
            head.write(out.tail(), packet_id, dup);
        } else {
            let head = Encoded::new(shape, &parts(self.message, self.expiry, ids));
            if head.head.len() + self.message.payload.len() > max {
                return false;
            }
            head.write(out.tail(), packet_id, dup);
        }
        out.push(self.payload());
        true
    }

    fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    fn head(&mut self, shape: Shape) -> usize {
        if let Some(at) = self.heads.iter().position(|(known, _)| *known == shape) {
            return at;
        }
        self.heads.push((shape, Encoded::new(shape, &parts(self.message, self.expiry, &[]))));
        self.heads.len() - 1
    }
}

fn parts<'a>(message: &'a Message, expiry: Option<u32>, subscription_ids: &'a [u32]) -> Head<'a> {
    Head {
        dup: false,
        topic: &message.topic,
        packet_id: 0,
        payload_len: message.payload.len(),
        expiry,
        alias: None,
        subscription_ids,
        properties: &message.properties,
    }
}

/// The shape of a PUBLISH for a receiver.
pub(super) fn shape(version_is_v5: bool, qos: QoS, retain: bool) -> Shape {
    Shape { version_is_v5, qos, retain }
}
