//! The road of a message from here to everybody who gets it.

use super::share::Chosen;
use super::{Edge, Slot, Subscriber};
use crate::codec::QoS;
use crate::lane::{Device, Errand, FleetingCopy, ToBridge, ToEdge};
use crate::message::Message;
use crate::policy::{Door, PublishVerdict, RetainRule};
use crate::session::{Delivered, Delivery, Fanout, Outcome, Wire};
use crate::share::{Search, Seat};

/// Who waits for a publish: nobody for wills and at QoS 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub slot: u32,
    pub token: u64,
    /// Packet identifier to remember on disk.
    pub remember: Option<u16>,
}

impl Edge {
    /// A PUBLISH of a client.
    pub(super) fn publish(&mut self, slot: u32, message: Message, waiter: Option<Waiter>) {
        let identity = &self.slots[slot as usize].identity;
        let verdict = self.shared.policy.publish(identity, &message.topic, &message.payload);
        log_publish(identity.door, &message);
        match verdict {
            PublishVerdict::Plain(rule) => self.route(Some(slot), message, rule, waiter),
            PublishVerdict::Errand(errand) => self.hand_over(slot, &message, errand, waiter),
            PublishVerdict::Denied(why) => {
                self.shared.counters.publishes_denied_total.add(1);
                tracing::info!(client = &*message.publisher, topic = &*message.topic, why, "publish denied");
                self.answer(waiter, Outcome::refused(0x87, why));
            }
        }
    }

    fn hand_over(&mut self, slot: u32, message: &Message, errand: Errand, waiter: Option<Waiter>) {
        if errand == Errand::Chat && self.is_full() {
            return self.refuse_for_quota(message, waiter);
        }
        let frame = ToBridge::Publish {
            at: self.place(slot),
            token: waiter.map(|waiter| waiter.token),
            errand,
            from: self.slots[slot as usize].identity.device.clone(),
            store_retained: None,
            remember: waiter.and_then(|waiter| waiter.remember),
            shares: Vec::new(),
        };
        self.tell_bridge(&frame, Some(message));
    }

    /// Sends a message to all subscribers: those here at once, those of other edges over the spine, and persistent
    /// sessions by way of the bridge, which also keeps what is retained.
    pub(super) fn route(
        &mut self,
        slot: Option<u32>,
        mut message: Message,
        rule: RetainRule,
        waiter: Option<Waiter>,
    ) {
        message.retain = match rule {
            RetainRule::AsSent => message.retain,
            RetainRule::Always => true,
            RetainRule::Never => false,
        };
        if self.is_full() && self.would_be_stored(&message) {
            return self.refuse_for_quota(&message, waiter);
        }
        let stamp = match message.retain.then(|| self.shared.retained.set(&message)).transpose() {
            Ok(stamp) => stamp,
            Err(_) => return self.refuse_retained(&message, waiter),
        };
        let mut route = std::mem::take(&mut self.route);
        self.shared.routes.look_up(&message.topic, &mut route);
        let Chosen { edges, bridge } = self.choose_members(&message, &route);
        // QoS 0 goes past the queues, even to persistent sessions that are here.
        let kept = route.durable || route.fleeting || !bridge.is_empty();
        let by_bridge = message.qos != QoS::AtMostOnce && kept;
        let nobody = route.edges == 0 && edges.is_empty() && !by_bridge;
        let to_bridge = by_bridge || message.retain;
        self.spread(&message, route.edges, edges);
        self.route = route;
        if to_bridge {
            self.commit(slot, &message, stamp, waiter, bridge);
        } else if nobody {
            // "No matching subscribers" (§3.4.2.1).
            self.answer(waiter, Outcome { code: 0x10, ..Outcome::ok() });
        } else {
            self.answer(waiter, Outcome::ok());
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.shared.counters.store_full.get() > 0
    }

    /// Whether the disk gets fuller by it: taking a retained message away makes room.
    fn would_be_stored(&mut self, message: &Message) -> bool {
        self.shared.routes.look_up(&message.topic, &mut self.route);
        let queued =
            self.route.durable || self.route.shares.iter().any(|(_, seat, _)| *seat == Seat::Durable);
        (queued && message.qos != QoS::AtMostOnce) || (message.retain && !message.payload.is_empty())
    }

    pub(super) fn refuse_for_quota(&mut self, message: &Message, waiter: Option<Waiter>) {
        self.shared.counters.publishes_over_quota_total.add(1);
        tracing::debug!(topic = &*message.topic, "publish refused, the store is full");
        self.answer(waiter, Outcome::refused(0x97, "the store is full"));
    }

    fn refuse_retained(&mut self, message: &Message, waiter: Option<Waiter>) {
        self.shared.counters.retained_refused_total.add(1);
        tracing::warn!(topic = &*message.topic, "no room for another retained message");
        self.answer(waiter, Outcome::refused(0x97, "no room for another retained message"));
    }

    /// The bridge stores; the acknowledgement follows its commit.
    fn commit(
        &mut self,
        slot: Option<u32>,
        message: &Message,
        stamp: Option<u64>,
        waiter: Option<Waiter>,
        shares: Vec<(Search, Option<u8>)>,
    ) {
        let from = slot.map(|slot| self.slots[slot as usize].identity.device.clone());
        let frame = ToBridge::Publish {
            at: waiter.map_or(self.nobody(), |waiter| self.place(waiter.slot)),
            token: waiter.map(|waiter| waiter.token),
            errand: Errand::Queue,
            from: from
                .unwrap_or_else(|| Device { user: Default::default(), client: message.publisher.clone() }),
            store_retained: stamp,
            remember: waiter.and_then(|waiter| waiter.remember),
            shares,
        };
        self.tell_bridge(&frame, Some(message));
    }

    /// To the subscribers of these edges, a bit for each, and to the members that were chosen.
    pub(super) fn spread(&mut self, message: &Message, edges: u64, mut chosen: Vec<(u8, Search)>) {
        for edge in 0..self.shared.settings.edges {
            let plain = edges & (1 << edge) != 0;
            let shares: Vec<_> =
                chosen.extract_if(.., |(at, _)| *at == edge).map(|(_, search)| search).collect();
            if !plain && shares.is_empty() {
                continue;
            }
            if edge == self.id {
                self.deliver(message, plain, shares);
            } else {
                self.tell_edge(edge, &ToEdge::Publish { plain, shares }, message);
            }
        }
    }

    fn answer(&mut self, waiter: Option<Waiter>, outcome: Outcome) {
        if let Some(Waiter { slot, token, .. }) = waiter {
            self.done(slot, token, outcome);
        }
    }

    /// Delivers to the subscribers of this edge: to all `plain` ones, but for those to whom it comes by the bridge.
    pub(super) fn deliver(&mut self, message: &Message, plain: bool, shares: Vec<Search>) {
        let now = self.now();
        let mut fan = Fanout::new(message, now);
        if plain {
            let mut found = std::mem::take(&mut self.found);
            self.subscribers
                .for_each_match(&message.topic, |slot, subscriber| found.push((*slot, *subscriber)));
            self.deliver_all(&mut fan, &mut found);
            found.clear();
            self.found = found;
        }
        for search in shares {
            self.deliver_shared(&mut fan, search);
        }
    }

    /// One delivery for each session, at the highest quality of service of its matching subscriptions and with all
    /// their identifiers (§3.3.4).
    fn deliver_all(&mut self, fan: &mut Fanout<'_>, found: &mut [(u32, Subscriber)]) {
        found.sort_unstable_by_key(|(slot, _)| *slot);
        let mut ids = smallvec::SmallVec::<[u32; 2]>::new();
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let slot = same[0].0;
            let message = fan.message();
            // The bridge decides for all subscriptions of a session that is kept. It alone can: one that is replaced while this is
            // on its way is at QoS 0 for one of the two and at QoS 1 for the other (§3.8.4).
            if same[0].1.durable && message.qos != QoS::AtMostOnce {
                continue;
            }
            ids.clear();
            let (mut best, mut as_published) = (None, false);
            for (_, subscriber) in same.iter().filter(|(_, s)| self.wants(s, slot, message)) {
                best = best.max(Some(subscriber.qos));
                as_published |= subscriber.retain_as_published;
                ids.extend(subscriber.id);
            }
            let Some(best) = best else { continue };
            let (qos, retain) = (best.min(message.qos), as_published && message.retain);
            self.deliver_one(slot, fan, Delivery { qos, retain, ids: &ids, search: None });
        }
    }

    /// A message at QoS 0 that comes by the bridge.
    pub(super) fn deliver_fleeting(&mut self, message: &Message, copies: &[FleetingCopy]) {
        let now = self.now();
        if message.is_expired(now) {
            return;
        }
        let mut fan = Fanout::new(message, now);
        for FleetingCopy { at, retain, ids } in copies {
            let Some(slot) = self.slot_at(*at) else { continue };
            let identity = &self.slots[slot as usize].identity;
            if self.shared.policy.receive(identity, &message.topic) {
                let to = Delivery { qos: QoS::AtMostOnce, retain: *retain, ids, search: None };
                self.deliver_one(slot, &mut fan, to);
            }
        }
    }

    fn is_own(&self, subscriber: &Subscriber, slot: u32, message: &Message) -> bool {
        let session = self.slots.get(slot as usize).map(|slot| &slot.session);
        subscriber.no_local && session.is_some_and(|session| *message.publisher == *session.device.client)
    }

    pub(super) fn wants(&self, subscriber: &Subscriber, slot: u32, message: &Message) -> bool {
        let Some(Slot { identity, rights, .. }) = self.slots.get(slot as usize) else { return false };
        let settled = !subscriber.wild && *rights == Some(self.shared.rights());
        let allowed = settled || self.shared.policy.receive(identity, &message.topic);
        allowed && !self.is_own(subscriber, slot, message)
    }

    fn deliver_one(&mut self, slot: u32, fan: &mut Fanout<'_>, to: Delivery<'_>) {
        if matches!(self.try_deliver(slot, fan, to), Delivered::Dropped | Delivered::TooLarge) {
            self.shared.counters.deliveries_dropped_total.add(1);
        }
    }

    pub(super) fn try_deliver(&mut self, slot: u32, fan: &mut Fanout<'_>, to: Delivery<'_>) -> Delivered {
        let Some(Slot { session, link: Some(link), .. }) = self.slots.get_mut(slot as usize) else {
            return Delivered::Dropped;
        };
        if to.qos == QoS::AtMostOnce && link.waiting() > self.shared.settings.outbound_bytes {
            return Delivered::Dropped;
        }
        let mut commands = Vec::new();
        let delivered = session.deliver(fan, to, &mut Wire { out: &mut link.out, commands: &mut commands });
        debug_assert!(commands.is_empty(), "delivering asks for nothing");
        if delivered == Delivered::Sent {
            self.delivered += 1;
            self.mark_dirty(slot);
        }
        delivered
    }

    /// Retained messages for a new subscription: as many as the client takes now, the others when it has taken those. What
    /// was replaced or taken away by then would be older than what the client has heard meanwhile, and rights may have gone.
    pub(super) fn deliver_retained(&mut self, slot: u32) {
        let (now, limit) = (self.now(), self.shared.settings.outbound_bytes / 2);
        while let Some(Slot { identity, session, link: Some(link), owed, .. }) =
            self.slots.get_mut(slot as usize)
            && link.waiting() < limit
            && !session.has_waiting()
            && let Some((found, subscriber)) = owed.next()
        {
            let Some(message) = self.shared.retained.current(&found, now) else { continue };
            if !self.shared.policy.receive(identity, &message.topic) {
                continue;
            }
            let qos = subscriber.qos.min(message.qos);
            let mut fan = Fanout::of_shared(&message, now);
            let to = Delivery { qos, retain: true, ids: subscriber.id.as_slice(), search: None };
            self.deliver_one(slot, &mut fan, to);
        }
    }
}

/// The demo door is for people who watch the log; everywhere else a line for each message would be too much.
fn log_publish(door: Door, message: &Message) {
    let (client, topic, qos) = (&*message.publisher, &*message.topic, message.qos as u8);
    if door == Door::BareClientId {
        tracing::info!(client, topic, qos, "message published");
    } else {
        tracing::debug!(client, topic, qos, "message published");
    }
}
