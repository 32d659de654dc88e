//! Subscriptions: granted, indexed here and in the routing table, and kept by the bridge for persistent sessions.

use std::borrow::Cow;
use std::sync::Arc;

use bytestring::ByteString;

use super::{Edge, Slot, Subscriber};
use crate::codec::{QoS, Subscribe, Unsubscribe};
use crate::lane::{Place, Source, ToBridge};
use crate::message::Message;
use crate::routes::Want;
use crate::session::{Refusals, Subscription};
use crate::share::Share;
use crate::topic::{self, TopicError, TopicFilter};

/// Shared subscriptions of one packet of which the bridge hears before anybody else: each is a batch of its own, and a packet may
/// raise thousands of them.
const EARLY: usize = 16;

type Granted = (Subscription, Vec<(Arc<Message>, Subscriber)>);

/// Reason code (§3.9.3), and why, if that may be said.
type Refused = (u8, Option<Cow<'static, str>>);

impl Edge {
    /// A SUBSCRIBE whose filters are parsed; the answer follows at once, or for a persistent session after the commit.
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        packet: Subscribe,
        filters: Vec<Result<TopicFilter, TopicError>>,
    ) {
        let (mut codes, mut kept, mut retained) = (Vec::new(), Vec::new(), Vec::new());
        let mut refusals = Refusals::default();
        let mut early = EARLY;
        for ((text, options), filter) in packet.filters.into_iter().zip(filters) {
            let filter = filter.map_err(|error| (0x8f, Some(error.to_string().into())));
            let owed = retained.len();
            let granted = filter.and_then(|filter| {
                let subscription = Subscription { options, id: packet.id, filter };
                self.subscribe_one(slot, &text, subscription, owed, &mut early)
            });
            match granted {
                Ok((subscription, messages)) => {
                    codes.push(subscription.options.qos as u8);
                    kept.push((text, subscription.options));
                    retained.extend(messages);
                }
                Err((code, why)) => {
                    why.into_iter().for_each(|why| refusals.add(&text, why));
                    codes.push(code);
                }
            }
        }
        self.refresh_inbox(slot);
        let Slot { session, durable, .. } = &mut self.slots[slot as usize];
        if !*durable || kept.is_empty() {
            self.with_session(slot, |session, wire| {
                session.subscribed(packet.packet_id, codes, refusals, None, wire);
            });
            // A SUBACK that is too large for the client is the end of the connection, and the session may go with it.
            if let Some(entry) = self.slots.get_mut(slot as usize) {
                entry.owed.add(retained);
            }
            return self.deliver_retained(slot);
        }
        let (token, device) = (session.next_token(), session.device.clone());
        self.slots[slot as usize].owed.add_after(token, retained);
        let at = self.place(slot);
        self.tell_bridge(&ToBridge::Subscribe { at, token, device, filters: kept, id: packet.id }, None);
        self.with_session(slot, |session, wire| {
            session.subscribed(packet.packet_id, codes, refusals, Some(token), wire)
        });
    }

    fn subscribe_one(
        &mut self,
        slot: u32,
        text: &ByteString,
        Subscription { options, id, filter }: Subscription,
        owed: usize,
        early: &mut usize,
    ) -> Result<Granted, Refused> {
        let entry = &mut self.slots[slot as usize];
        // Whoever subscribes again and again, in one packet or in many, has to take what was asked for before.
        let owed = owed + entry.owed.len();
        if !entry.session.has_room_for(text) {
            return Err((0x97, Some("too many subscriptions".into())));
        }
        if owed > self.shared.settings.retained.messages {
            return Err((0x97, Some("too many retained messages are still on their way".into())));
        }
        if let Err(why) = self.shared.policy.subscribe(&entry.identity, &filter) {
            tracing::info!(
                client = &*entry.identity.device.client,
                text = &**text,
                why,
                "subscription denied"
            );
            return Err(self.denied(why));
        }
        if filter.share.is_some() && is_inbox(&filter.filter) {
            return Err((0x9e, Some("an inbox cannot be shared: each device gets all of it".into())));
        }
        // Copied, so that it does not keep the read buffer.
        let filter = TopicFilter { filter: (&*filter.filter).into(), share: filter.share };
        let subscription = Subscription { options, id, filter };
        let old = entry.session.subscriptions.insert(subscription.clone());
        let raised = old.as_ref().is_some_and(|old| old.filter.share.is_some() && !self.is_kept(slot, old));
        if raised && self.is_kept(slot, &subscription) && *early > 0 {
            *early -= 1;
            self.have_queued(slot, text, &subscription);
        }
        self.index(slot, &subscription);
        match &old {
            // Only now, so that nobody who publishes meanwhile finds that there is no subscription (§3.8.4).
            Some(old) => self.forget_routes(slot, old),
            None => self.count_subscription(&subscription, true),
        }
        let retained = self.retained_for(slot, &subscription, old.is_none());
        Ok((subscription, retained))
    }

    /// A shared subscription at QoS 0 is replaced by one that the bridge queues for. It hears so before anybody finds it in the
    /// routing table: else what comes to it in between would find no member, neither there nor here (§3.8.4). The answer that
    /// counts is that to the whole packet.
    fn have_queued(&mut self, slot: u32, text: &ByteString, subscription: &Subscription) {
        let at = self.place(slot);
        let session = &mut self.slots[slot as usize].session;
        let (token, device) = (session.next_token(), session.device.clone());
        let filters = vec![(text.clone(), subscription.options)];
        self.tell_bridge(&ToBridge::Subscribe { at, token, device, filters, id: subscription.id }, None);
        self.send_batches();
    }

    /// "Not authorized", or "unspecified error", for a server that "does not wish to reveal the reason" (§3.9.3).
    fn denied(&self, why: &'static str) -> Refused {
        if self.shared.settings.say_why { (0x87, Some(why.into())) } else { (0x80, None) }
    }

    /// §3.3.1.3: 0 always, 1 for a new subscription, 2 never; never for shared subscriptions (§4.8.2).
    fn retained_for(
        &self,
        slot: u32,
        subscription: &Subscription,
        new: bool,
    ) -> Vec<(Arc<Message>, Subscriber)> {
        let wanted = match subscription.options.retain_handling {
            0 => true,
            1 => new,
            _ => false,
        };
        if !wanted || subscription.filter.share.is_some() {
            return Vec::new();
        }
        let Slot { identity, durable, .. } = &self.slots[slot as usize];
        let subscriber = subscriber(subscription, *durable);
        let mut found = self.shared.retained.matching(&subscription.filter.filter, self.now());
        let own = |message: &Message| subscriber.no_local && *message.publisher == *identity.device.client;
        found.retain(|message| !own(message) && self.shared.policy.receive(identity, &message.topic));
        found.into_iter().map(|message| (message, subscriber)).collect()
    }

    /// An UNSUBSCRIBE; answered like a SUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, slot: u32, packet: Unsubscribe) {
        let mut codes = Vec::new();
        for text in &packet.filters {
            match self.slots[slot as usize].session.subscriptions.remove(text) {
                Some(old) => {
                    self.count_subscription(&old, false);
                    self.unindex_live(slot, &old);
                    self.unindex_durable(slot, &old);
                    codes.push(0);
                }
                // "No subscription existed" (§3.11.3).
                None => codes.push(0x11),
            }
        }
        self.refresh_inbox(slot);
        let Slot { session, durable, .. } = &mut self.slots[slot as usize];
        let token = durable.then(|| session.next_token());
        if let Some(token) = token {
            let (at, device) = (self.place(slot), self.slots[slot as usize].session.device.clone());
            let filters = packet.filters.iter().map(|text| ByteString::from(&**text)).collect();
            self.tell_bridge(&ToBridge::Unsubscribe { at, token, device, filters }, None);
        }
        self.with_session(slot, |session, wire| session.unsubscribed(packet.packet_id, codes, token, wire));
    }

    /// Keeps the number of subscriptions of all sessions.
    pub(super) fn count_subscription(&self, subscription: &Subscription, more: bool) {
        let counters = &self.shared.counters;
        let shared = subscription.filter.share.is_some();
        let gauge = if shared { &counters.shared_subscriptions } else { &counters.subscriptions };
        if more { gauge.add(1) } else { gauge.sub(1) }
    }

    fn index(&mut self, slot: u32, subscription: &Subscription) {
        self.index_live(slot, subscription);
        self.index_durable(slot, subscription);
    }

    /// What this edge delivers itself, while the client is connected.
    pub(super) fn index_live(&mut self, slot: u32, subscription: &Subscription) {
        let subscriber = subscriber(subscription, self.slots[slot as usize].durable);
        let TopicFilter { share, filter } = &subscription.filter;
        match share {
            None => drop(self.subscribers.insert(filter, slot, subscriber)),
            Some(group) => {
                let share = Share { group: group.clone(), filter: filter.clone() };
                self.index_group(slot, share, subscriber);
            }
        }
        for want in self.live_wants(slot, subscription) {
            self.shared.routes.add(filter, want);
        }
    }

    pub(super) fn unindex_live(&mut self, slot: u32, subscription: &Subscription) {
        let TopicFilter { share, filter } = &subscription.filter;
        match share {
            None => drop(self.subscribers.remove(filter, &slot)),
            Some(group) => self.unindex_group(slot, &Share { group: group.clone(), filter: filter.clone() }),
        }
        self.forget_live_wants(slot, subscription);
    }

    /// What the bridge queues, while the session exists.
    pub(super) fn index_durable(&mut self, slot: u32, subscription: &Subscription) {
        if let Some(want) = self.durable_want(slot, subscription) {
            self.shared.routes.add(&subscription.filter.filter, want);
        }
    }

    pub(super) fn unindex_durable(&mut self, slot: u32, subscription: &Subscription) {
        if let Some(want) = self.durable_want(slot, subscription) {
            self.shared.routes.remove(&subscription.filter.filter, &want);
        }
    }

    /// The subscription was replaced by one of the same filter, which stands in its place on this edge already.
    fn forget_routes(&mut self, slot: u32, replaced: &Subscription) {
        self.forget_live_wants(slot, replaced);
        self.unindex_durable(slot, replaced);
    }

    fn forget_live_wants(&self, slot: u32, subscription: &Subscription) {
        for want in self.live_wants(slot, subscription) {
            self.shared.routes.remove(&subscription.filter.filter, &want);
        }
    }

    fn live_wants(&self, slot: u32, subscription: &Subscription) -> impl Iterator<Item = Want> + use<> {
        let kept = self.slots[slot as usize].durable;
        Want::live(&subscription.filter, self.id, kept, subscription.options.qos)
    }

    fn durable_want(&self, slot: u32, subscription: &Subscription) -> Option<Want> {
        self.is_kept(slot, subscription).then(|| Want::durable(&subscription.filter))
    }

    /// Whether the bridge queues for this subscription.
    fn is_kept(&self, slot: u32, subscription: &Subscription) -> bool {
        self.slots[slot as usize].durable && subscription.options.qos != QoS::AtMostOnce
    }

    /// Any subscription that covers one's own inbox reads the inbox stream, at the highest quality of service of them.
    /// The stream is no topic of the routing table: nobody else can come by it.
    pub(super) fn refresh_inbox(&mut self, slot: u32) {
        self.read_inbox(slot);
        self.slots[slot as usize].session.label_inbox();
    }

    fn read_inbox(&mut self, slot: u32) {
        let session = &self.slots[slot as usize].session;
        // Names with a ~ are nobody's: they have no inbox.
        if session.device.user.starts_with('~') {
            return;
        }
        let device = session.device.clone();
        let inbox = format!("u/{}/inbox", device.user);
        let covering = session.subscriptions.iter().filter(|subscription| {
            subscription.filter.share.is_none() && topic::matches(&subscription.filter.filter, &inbox)
        });
        let wanted = covering.map(|subscription| subscription.options.qos).max();
        if wanted == session.attached(Source::Inbox) {
            return;
        }
        let (at, persistent, source) = (self.place(slot), session.is_persistent(), Source::Inbox);
        match wanted {
            Some(qos) => {
                let at = Place { reader: self.slots[slot as usize].session.attach(source, qos), ..at };
                self.tell_bridge(&ToBridge::Attach { at, device, source, qos, persistent }, None);
            }
            None => {
                self.slots[slot as usize].session.detach(source);
                self.tell_bridge(&ToBridge::Detach { at, device, source }, None);
            }
        }
    }
}

/// Whether this is the topic of somebody's inbox.
fn is_inbox(filter: &str) -> bool {
    let levels = filter.strip_prefix("u/").and_then(|rest| rest.strip_suffix("/inbox"));
    levels.is_some_and(|user| !user.contains('/'))
}

fn subscriber(subscription: &Subscription, persistent: bool) -> Subscriber {
    let options = &subscription.options;
    Subscriber {
        qos: options.qos,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        id: subscription.id,
        durable: persistent,
        wild: topic::has_wildcard(&subscription.filter.filter),
    }
}
