//! Messages on their way to a client that lost the right to them.

use std::sync::Arc;

use super::outbound::{InFlight, Outbound};
use super::reader::Reader;
use super::{Session, Wire};
use crate::clock::Millis;
use crate::codec::Connect;
use crate::message::Message;
use crate::share::Search;

/// Messages that others of their share groups may have.
pub type Abandoned = Vec<(Arc<Message>, Search)>;

impl Session {
    /// Goes on with a session that a new connection resumes: what was in flight is sent again, in order (§4.4), if it is still
    /// `allowed` by its topic. Gives back what others of a share group may have.
    pub fn resume(
        &mut self,
        connect: &Connect,
        expiry: u32,
        allowed: impl Fn(&str) -> bool,
        now: Millis,
        wire: &mut Wire<'_>,
    ) -> Abandoned {
        self.begin(connect, expiry, now);
        self.outbound.release_again(wire);
        self.withhold(allowed, now, wire)
    }

    /// Rights have changed: what is not `allowed` by its topic is neither sent nor sent again.
    pub fn withhold(
        &mut self,
        allowed: impl Fn(&str) -> bool,
        now: Millis,
        wire: &mut Wire<'_>,
    ) -> Abandoned {
        let abandoned = self.outbound.withhold(&allowed, wire);
        self.pump(now, wire);
        abandoned
    }
}

impl Outbound {
    fn withhold(&mut self, allowed: &dyn Fn(&str) -> bool, wire: &mut Wire<'_>) -> Abandoned {
        self.withhold_repeats(allowed, wire);
        [&mut self.queue, &mut self.inbox].into_iter().flatten().for_each(|reader| reader.withhold(allowed));
        let mut abandoned = Vec::new();
        for parcel in std::mem::take(&mut self.waiting) {
            if allowed(&parcel.message.topic) {
                self.waiting.push_back(parcel);
                continue;
            }
            self.waiting_bytes = self.waiting_bytes.saturating_sub(parcel.message.payload.len());
            abandoned.extend(parcel.search.map(|search| (parcel.message, *search)));
        }
        abandoned
    }

    /// What this connection has not been sent yet and an earlier one was.
    fn withhold_repeats(&mut self, allowed: &dyn Fn(&str) -> bool, wire: &mut Wire<'_>) {
        let withheld =
            |flight: &InFlight| flight.parcel.as_ref().is_some_and(|parcel| !allowed(&parcel.message.topic));
        // From the back, since some of them go.
        for at in (self.caught_up..self.in_flight.len()).rev() {
            if withheld(&self.in_flight[at]) {
                self.count_as_sent(at, wire);
            }
        }
    }
}

impl Reader {
    /// As what has expired: it is taken and not sent.
    fn withhold(&mut self, allowed: &dyn Fn(&str) -> bool) {
        for entry in self.buffered.iter_mut().filter(|entry| !allowed(&entry.message.topic)) {
            entry.message = Arc::new(Message { expires: Some(0), ..Message::clone(&entry.message) });
        }
    }
}
