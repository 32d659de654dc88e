//! What the spine brings: messages of other edges, and answers and deliveries of the bridge.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Edge;
use crate::lane::{self, ToEdge};
use crate::message::Message;
use crate::session::{Entry, Outcome};
use crate::spine::Batch;

/// The bridge's number among the senders of the spine.
const BRIDGE: u8 = 0;

impl Edge {
    /// A batch from the spine; gives back what is left of it for the next turn.
    pub(super) fn handle_batch(&mut self, batch: Batch) -> Bytes {
        if batch.lost > 0 {
            self.shared.counters.spine_batches_lost_total.add(batch.lost);
            tracing::warn!(sender = batch.sender, batches = batch.lost, "gap on the spine");
            if batch.sender == BRIDGE {
                self.all_behind();
                self.sample.give_up();
            }
        }
        self.handle_frames(batch.frames)
    }

    /// Frames, as many as a turn may handle.
    pub(super) fn handle_frames(&mut self, mut frames: Bytes) -> Bytes {
        loop {
            match lane::take::<ToEdge>(&mut frames) {
                Ok(Some((head, message))) => self.handle_frame(head, message),
                Ok(None) => return Bytes::new(),
                Err(error) => tracing::error!(%error, "frame unreadable"),
            }
            if self.has_done_enough() {
                return frames;
            }
        }
    }

    fn handle_frame(&mut self, head: ToEdge, message: Option<Message>) {
        match (head, message) {
            (ToEdge::Publish { plain, shares }, Some(message)) => self.deliver(&message, plain, shares),
            (ToEdge::Fleeting { to }, Some(message)) => self.deliver_fleeting(&message, &to),
            (ToEdge::Broadcast, Some(message)) => {
                self.deliver(&message, true, Vec::new());
                if self.id == 0 {
                    self.share_broadcast(&message);
                }
            }
            (ToEdge::Entry { at, source, position, fetched, qos, retain, ids }, Some(message)) => {
                let Some(slot) = self.slot_at(at) else { return };
                let message = Arc::new(self.for_owner(slot, &message));
                let entry = Entry { position, message, qos, retain, ids: SmallVec::from_vec(ids) };
                let from = (source, at.reader);
                self.answered(slot, |session, now, wire| session.entry(from, entry, fetched, now, wire));
            }
            (ToEdge::Done { at, token, code, reason, user }, _) => {
                if let Some(micros) = self.sample.end(at, token) {
                    self.shared.counters.acknowledgement_seconds.add(micros);
                }
                let Some(slot) = self.slot_at(at) else { return };
                self.done(slot, token, Outcome { code, reason, user, stored: true });
                self.after_suback(slot, token);
                self.resume.notify_waiters();
            }
            (ToEdge::Page { at, source, next, more }, _) => {
                let Some(slot) = self.slot_at(at) else { return };
                self.answered(slot, |session, now, wire| {
                    session.page((source, at.reader), next, more, now, wire)
                });
            }
            (ToEdge::Released { at, packet_id }, _) => {
                let Some(slot) = self.slot_at(at) else { return };
                self.answered(slot, |session, _, wire| session.released(packet_id, wire));
            }
            (ToEdge::Credit { total }, _) => {
                self.batches.worked_off = total;
                self.resume.notify_waiters();
                self.end_expired();
            }
            (ToEdge::Heartbeat, _) => {}
            (head, None) => tracing::error!(?head, "frame without its message"),
        }
    }

    /// A stored message as its owner may have it. Rights are checked here because they may have changed since it was
    /// queued, and because a wildcard may be wider than they are; what is not allowed is handed on as expired, so that
    /// it is taken and not sent. Copied, because it may be kept for long and would keep the whole batch.
    fn for_owner(&self, slot: u32, message: &Message) -> Message {
        let identity = &self.slots[slot as usize].identity;
        let allowed = self.shared.policy.receive(identity, &message.topic);
        let expires = if allowed { message.expires } else { Some(0) };
        Message { expires, ..message.compact() }
    }
}
