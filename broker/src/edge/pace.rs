//! Clients that send more than they may: reading from them rests, and in the end they go.

use std::task::{Context, Poll, ready};

use tokio::net::tcp::OwnedReadHalf;

use super::{Edge, MAX_PACKETS_A_TURN, Slot, Turn};
use crate::clock::Millis;
use crate::goodbye::Goodbye;
use crate::limit::{Pace, PaceLimits, Verdict};

/// The longest rest at once, in milliseconds: nobody looks at the socket meanwhile, not even whether it is still there.
const LONGEST_REST: Millis = 1000;

impl Edge {
    /// One turn of a socket, measured as a whole, so that a packet costs nothing.
    pub(super) fn read_measured(
        &mut self,
        (slot, number): (u32, u64),
        stream: &mut OwnedReadHalf,
        limits: &PaceLimits,
        context: &mut Context<'_>,
    ) -> Poll<Turn> {
        let now = self.now();
        let Some(link) = self.link(slot, number) else { return Poll::Ready(Turn::Over) };
        let rests = link.pace.get_or_insert_with(|| Box::new(Pace::new(limits, now))).rests(now);
        if rests > 0 {
            return Poll::Ready(Turn::Rest(rests.min(LONGEST_REST)));
        }
        let (publishes, bytes) = self.tally.heard();
        let turn = ready!(self.read_once(slot, number, stream, context));
        let (publishes_now, bytes_now) = self.tally.heard();
        let Some(pace) = self.link(slot, number).and_then(|link| link.pace.as_mut()) else {
            return Poll::Ready(turn);
        };
        Poll::Ready(match pace.spend(publishes_now - publishes, bytes_now - bytes, now) {
            Verdict::Fine => turn,
            Verdict::Rest { until, begins } => {
                self.goes_too_fast(slot, begins);
                Turn::Rest((until - now).min(LONGEST_REST))
            }
            Verdict::TooManyPublishes => self.end_fast_client(slot, Goodbye::TooManyPublishes),
            Verdict::TooManyBytes => self.end_fast_client(slot, Goodbye::TooManyBytes),
        })
    }

    /// Packets of this connection in one turn.
    pub(super) fn packets_a_turn(&self, slot: u32) -> usize {
        let Some(Slot { link: Some(link), .. }) = self.slots.get(slot as usize) else { return 0 };
        link.pace.as_ref().map_or(MAX_PACKETS_A_TURN, |pace| pace.allowance().min(MAX_PACKETS_A_TURN))
    }

    /// Whether nothing is read from it because it sends too much.
    pub(super) fn rests(&self, slot: u32, now: Millis) -> bool {
        let Some(Slot { link: Some(link), .. }) = self.slots.get(slot as usize) else { return false };
        link.pace.as_ref().is_some_and(|pace| pace.rests(now) > 0)
    }

    fn goes_too_fast(&self, slot: u32, begins: bool) {
        self.shared.counters.fast_clients_paused_total.add(1);
        if begins {
            self.shared.counters.fast_clients_total.add(1);
            let device = &self.slots[slot as usize].session.device;
            tracing::warn!(
                client = &*device.client,
                user = &*device.user,
                "sends more than it may, reading from it rests"
            );
        }
    }

    fn end_fast_client(&mut self, slot: u32, goodbye: Goodbye) -> Turn {
        self.shared.counters.fast_clients_ended_total.add(1);
        self.end(slot, goodbye);
        Turn::Over
    }
}
