//! What the spine brings: messages of other edges, and answers and deliveries of the bridge.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Edge;
use crate::lane::{self, ToEdge};
use crate::message::Message;
use crate::session::{Entry, Outcome};
use crate::spine::Batch;

/// The bridge's number among the senders of the spine.
const BRIDGE: u8 = 0;

impl Edge {
    /// A batch from the spine.
    pub(super) fn handle_batch(&mut self, batch: Batch) {
        if batch.lost > 0 {
            self.shared.counters.spine_batches_lost_total.add(batch.lost);
            tracing::warn!(sender = batch.sender, batches = batch.lost, "gap on the spine");
            if batch.sender == BRIDGE {
                self.all_behind();
            }
        }
        let mut frames = batch.frames;
        loop {
            match lane::take::<ToEdge>(&mut frames) {
                Ok(Some((head, message))) => self.handle_frame(head, message),
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, sender = batch.sender, "batch unreadable"),
            }
        }
    }

    fn handle_frame(&mut self, head: ToEdge, message: Option<Message>) {
        match (head, message) {
            (ToEdge::Publish { plain, shares }, Some(message)) => self.deliver(&message, plain, &shares),
            (ToEdge::Entry { at, source, position, fetched, qos, retain, ids }, Some(message)) => {
                let Some(slot) = self.slot_at(at) else { return };
                let ids = SmallVec::from_vec(ids);
                let entry = Entry { position, message: Arc::new(message), qos, retain, ids };
                self.answered(slot, |session, now, wire| session.entry(source, entry, fetched, now, wire));
            }
            (ToEdge::Done { at, token, code, reason, user }, _) => {
                let Some(slot) = self.slot_at(at) else { return };
                self.done(slot, token, Outcome { code, reason, user });
                self.after_suback(slot, token);
                self.resume.notify_waiters();
            }
            (ToEdge::Page { at, source, next, more }, _) => {
                let Some(slot) = self.slot_at(at) else { return };
                self.answered(slot, |session, now, wire| session.page(source, next, more, now, wire));
            }
            (ToEdge::Released { at, packet_id }, _) => {
                let Some(slot) = self.slot_at(at) else { return };
                self.answered(slot, |session, _, wire| session.released(packet_id, wire));
            }
            (ToEdge::Credit { bytes }, _) => {
                self.batches.owed = self.batches.owed.saturating_sub(bytes);
                self.resume.notify_waiters();
            }
            (ToEdge::Heartbeat, _) => {}
            (head, None) => tracing::error!(?head, "frame without its message"),
        }
    }

    fn after_suback(&mut self, slot: u32, token: u64) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        let Some(at) = entry.after_suback.iter().position(|(waits, _)| *waits == token) else { return };
        let (_, messages) = entry.after_suback.swap_remove(at);
        self.deliver_retained(slot, messages);
    }
}
