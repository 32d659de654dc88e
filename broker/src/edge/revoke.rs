//! Rights, accounts and devices that change while sessions live.
//!
//! A change of rights raises a number that all share. A session remembers for which number its subscriptions were looked at, and
//! nothing is handed to one that is behind before they are looked at again. A round over all sessions does so even where
//! nothing happens, a bounded part of it in each turn. What is on disk for somebody is decided when it is delivered.

use std::net::SocketAddr;
use std::ops::AddAssign;

use bytestring::ByteString;

use super::Edge;
use crate::clock::Millis;
use crate::goodbye::Goodbye;
use crate::lane::{Device, ToBridge};
use crate::message::Message;
use crate::session::{Delivery, Fanout};
use crate::{codec::QoS, topic};

/// Sessions and subscriptions that are looked at in one turn of a round: some milliseconds.
const CHECKS_A_TURN: usize = 4096;

/// Where the round over all sessions stands.
#[derive(Debug, Default)]
pub(super) struct Round {
    rights: u64,
    next: usize,
}

/// Whose connections are to end, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissal {
    /// Whose.
    pub whose: Whose,
    /// What the clients are told.
    pub goodbye: Goodbye,
    /// What becomes of their sessions, also of those without a connection.
    pub sessions: Sessions,
}

/// Whose sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of every device of a user.
    User(ByteString),
    /// That of one device.
    Device(Device),
}

/// What becomes of sessions whose connections are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// They stay as long as they would have stayed anyway.
    Stay,
    /// They end.
    End,
    /// They end, and with them the right to publish their wills.
    EndUnheard,
}

/// How many ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dismissed {
    /// Connections.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
}

/// A session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub device: Device,
    /// The class of the device; empty if it has not connected in this run of the server.
    pub class: ByteString,
    /// Where from, while it is connected.
    pub peer: Option<SocketAddr>,
    /// When it connected or, if it is not connected, when it was last.
    pub since: Millis,
    /// Subscriptions.
    pub subscriptions: usize,
}

impl AddAssign for Dismissed {
    fn add_assign(&mut self, more: Dismissed) {
        self.connections += more.connections;
        self.sessions += more.sessions;
    }
}

impl Edge {
    /// Before anything is handed to a session: if rights have changed, what it may not have any more is taken away.
    pub(super) fn catch_up_with_rights(&mut self, slot: u32) {
        let rights = self.shared.rights();
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        // Who was not here since the server started is looked at when they come: until then nobody knows how they will.
        if entry.rights.is_none_or(|known| known == rights) {
            return;
        }
        entry.rights = Some(rights);
        self.end_refused_subscriptions(slot);
        if self.slots[slot as usize].link.is_some() {
            self.withhold(slot);
            self.refresh_inbox(slot);
        }
    }

    /// A part of the round over all sessions that follows a change of rights.
    pub(super) fn go_round(&mut self) {
        let rights = self.shared.rights();
        if self.round.rights != rights {
            self.round = Round { rights, next: 0 };
        }
        let mut left = CHECKS_A_TURN;
        while left > 0 && self.round.next < self.slots.capacity() {
            let slot = self.round.next;
            self.round.next += 1;
            let subscriptions = self.slots.get(slot).map_or(0, |entry| entry.session.subscriptions.len());
            left = left.saturating_sub(1 + subscriptions);
            self.catch_up_with_rights(slot as u32);
        }
    }

    /// Subscriptions that are not allowed any more end.
    pub(super) fn end_refused_subscriptions(&mut self, slot: u32) {
        let entry = &self.slots[slot as usize];
        let refused = entry.session.subscriptions.iter().filter(|subscription| {
            self.shared.policy.subscribe(&entry.identity, &subscription.filter).is_err()
        });
        let refused: Vec<_> = refused.map(|subscription| subscription.filter.text()).collect();
        if refused.is_empty() {
            return;
        }
        let (live, stored, device) = (entry.link.is_some(), entry.stored, entry.session.device.clone());
        for text in &refused {
            if let Some(old) = self.slots[slot as usize].session.subscriptions.remove(text) {
                tracing::info!(
                    client = &*device.client,
                    user = &*device.user,
                    text = &**text,
                    "subscription ended, not allowed any more"
                );
                self.count_subscription(&old, false);
                self.unindex_durable(slot, &old);
                if live {
                    self.unindex_live(slot, &old);
                }
            }
        }
        if stored {
            // Nobody waits for the answer: tokens of sessions begin at 1.
            let at = self.place(slot);
            self.tell_bridge(&ToBridge::Unsubscribe { at, token: 0, device, filters: refused }, None);
        }
    }

    /// What waits for a client or is buffered for it, and is not for it any more. Retained messages are asked for one by one.
    fn withhold(&mut self, slot: u32) {
        let (shared, now) = (self.shared.clone(), self.now());
        let identity = self.slots[slot as usize].identity.clone();
        let allowed = |topic: &str| shared.policy.receive(&identity, topic);
        let mut abandoned = Vec::new();
        self.with_session(slot, |session, wire| abandoned = session.withhold(allowed, now, wire));
        self.give_to_others(abandoned);
    }

    /// Ends the connections, and sessions, among some of the slots; gives back where to go on.
    pub(super) fn dismiss(&mut self, dismissal: &Dismissal, from: usize) -> (Dismissed, Option<usize>) {
        let (slots, next) = match &dismissal.whose {
            Whose::Device(device) => (self.slot_of(device).into_iter().collect(), None),
            Whose::User(user) => self.some_slots(from, Some(user)),
        };
        let mut dismissed = Dismissed::default();
        for slot in slots {
            dismissed += self.dismiss_one(slot, dismissal);
        }
        (dismissed, next)
    }

    fn dismiss_one(&mut self, slot: u32, dismissal: &Dismissal) -> Dismissed {
        let entry = &mut self.slots[slot as usize];
        let (generation, connected) = (entry.generation, entry.link.is_some());
        if dismissal.sessions == Sessions::EndUnheard {
            entry.session.will = None;
            self.forget_will(slot);
        }
        self.end(slot, dismissal.goodbye);
        // One that does not outlive its connection is gone by now.
        let is_left = self.slots.get(slot as usize).is_some_and(|entry| entry.generation == generation);
        if is_left && dismissal.sessions != Sessions::Stay {
            self.remove(slot);
        }
        let ended = !is_left || dismissal.sessions != Sessions::Stay;
        Dismissed { connections: connected.into(), sessions: ended.into() }
    }

    /// Another device has the place of its class, unless it has been taken back meanwhile.
    pub(super) fn outdone(&mut self, device: &Device) {
        let Some(slot) = self.slot_of(device) else { return };
        let class = &self.slots[slot as usize].identity.kind;
        if self.shared.places.holder(&device.user, class).is_some_and(|holder| holder != device.client) {
            self.end(slot, Goodbye::LoggedInElsewhere);
        }
    }

    /// Some of the sessions; and where to go on.
    pub(super) fn seen(&self, user: Option<&ByteString>, from: usize) -> (Vec<Seen>, Option<usize>) {
        let (slots, next) = self.some_slots(from, user);
        let seen = slots.into_iter().map(|slot| {
            let entry = &self.slots[slot as usize];
            Seen {
                device: entry.identity.device.clone(),
                class: entry.identity.kind.clone(),
                peer: entry.link.as_ref().map(|link| link.peer),
                since: entry.since,
                subscriptions: entry.session.subscriptions.len(),
            }
        });
        (seen.collect(), next)
    }

    /// Those of a user, or all, among the next so many slots.
    fn some_slots(&self, from: usize, user: Option<&ByteString>) -> (Vec<u32>, Option<usize>) {
        let upto = from.saturating_add(CHECKS_A_TURN).min(self.slots.capacity());
        let is_theirs = |slot: &usize| {
            let entry = self.slots.get(*slot);
            entry.is_some_and(|entry| user.is_none_or(|user| entry.identity.device.user == *user))
        };
        let slots = (from..upto).filter(is_theirs).map(|slot| slot as u32).collect();
        (slots, (upto < self.slots.capacity()).then_some(upto))
    }

    fn slot_of(&self, device: &Device) -> Option<u32> {
        let slot = *self.clients.get(&device.client)?;
        (self.slots[slot as usize].identity.device == *device).then_some(slot)
    }

    /// The last words to a client of a version that has no DISCONNECT from the server, if it listens to `u/{me}/notice`. Nobody
    /// waits for an acknowledgement.
    pub(super) fn give_notice(&mut self, slot: u32, goodbye: Goodbye) {
        let Some(entry) = self.slots.get(slot as usize) else { return };
        let Some(code) = goodbye.code().filter(|_| !entry.session.version().is_v5()) else { return };
        let notice = format!("u/{}/notice", entry.identity.device.user);
        let hears =
            |filter: &topic::TopicFilter| filter.share.is_none() && topic::matches(&filter.filter, &notice);
        if !entry.session.subscriptions.iter().any(|subscription| hears(&subscription.filter)) {
            return;
        }
        let payload = format!(r#"{{"code":{code},"reason":"{}"}}"#, goodbye.text()).into();
        let message = Message { topic: notice.into(), payload, ..Message::default() };
        let to = Delivery { qos: QoS::AtMostOnce, retain: false, ids: &[], search: None };
        self.try_deliver(slot, &mut Fanout::new(&message, self.now()), to);
    }
}
