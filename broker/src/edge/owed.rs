//! Retained messages on their way to the new subscriptions of one session. Most sessions are owed none most of the time.

use std::collections::VecDeque;

use bytestring::ByteString;

use super::{ForSubscriber, Subscriber};
use crate::codec::QoS;
use crate::session::SessionLimits;

/// Retained messages that have not been put into the out buffer.
#[derive(Default)]
pub(super) struct Owed(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// What follows each SUBACK that waits for the disk.
    after_suback: Vec<AfterSuback>,
    /// What follows as the out buffer is drained, however much there is.
    following: VecDeque<ForSubscriber>,
}

/// Looked up only when the SUBACK is written: what was retained meanwhile may have been published too early for the bridge to
/// know of the subscription.
struct AfterSuback {
    /// Stands for the wait.
    token: u64,
    /// How many messages there were when the client asked.
    count: usize,
    /// Of which filters, and for whom.
    filters: Vec<(ByteString, Subscriber)>,
}

impl Owed {
    /// How many there are.
    pub fn len(&self) -> usize {
        let Some(lists) = &self.0 else { return 0 };
        lists.following.len() + lists.after_suback.iter().map(|after| after.count).sum::<usize>()
    }

    /// These follow as the out buffer is drained.
    pub fn add(&mut self, messages: Vec<ForSubscriber>) {
        if !messages.is_empty() {
            self.0.get_or_insert_default().following.extend(messages);
        }
    }

    /// What is retained for these filters, at the moment so many messages, follows a SUBACK that waits.
    pub fn add_after(&mut self, token: u64, count: usize, filters: Vec<(ByteString, Subscriber)>) {
        if !filters.is_empty() {
            self.0.get_or_insert_default().after_suback.push(AfterSuback { token, count, filters });
        }
    }

    /// The SUBACK that waited is written: gives back for which filters.
    pub fn follow(&mut self, token: u64) -> Vec<(ByteString, Subscriber)> {
        let Some(lists) = &mut self.0 else { return Vec::new() };
        let at = lists.after_suback.iter().position(|after| after.token == token);
        let filters = at.map(|at| lists.after_suback.swap_remove(at).filters);
        self.give_back();
        filters.unwrap_or_default()
    }

    /// The next one to be put into the out buffer.
    pub fn next(&mut self) -> Option<ForSubscriber> {
        let next = self.0.as_mut()?.following.pop_front();
        self.give_back();
        next
    }

    /// The connection ended: nobody hears a SUBACK any more.
    pub fn suspend(&mut self) {
        if let Some(lists) = &mut self.0 {
            lists.after_suback.clear();
        }
        self.give_back();
    }

    /// Keeps what the session is still owed when its client comes back, at QoS 1 and 2 and within the limits of what
    /// waits; gives back how many of those are dropped.
    pub fn keep(&mut self, limits: &SessionLimits) -> u64 {
        let Some(lists) = &mut self.0 else { return 0 };
        let owed = &mut lists.following;
        owed.retain(|(message, subscriber)| message.qos.min(subscriber.qos) != QoS::AtMostOnce);
        let (before, mut bytes) = (owed.len(), 0);
        let fits = owed.iter().take(limits.waiting_messages).take_while(|(message, _)| {
            bytes += message.payload.len();
            bytes <= limits.waiting_bytes
        });
        let kept = fits.count();
        owed.truncate(kept);
        owed.shrink_to_fit();
        self.give_back();
        (before - kept) as u64
    }

    fn give_back(&mut self) {
        self.0.take_if(|lists| lists.following.is_empty() && lists.after_suback.is_empty());
    }
}
