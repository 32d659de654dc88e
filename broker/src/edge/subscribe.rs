//! Subscriptions: granted, indexed here and in the routing table, and kept by the bridge for persistent sessions.

use bytestring::ByteString;
use std::borrow::Cow;

use super::{Edge, ForSubscriber, Slot, Subscriber};
use crate::codec::{QoS, Subscribe, Unsubscribe};
use crate::lane::{Place, Source, ToBridge};
use crate::message::Message;
use crate::routes::Want;
use crate::session::{Refusals, Subscription};
use crate::share::Share;
use crate::topic::{self, TopicError, TopicFilter};

/// A subscription that may be, and the one that it replaces.
struct Granted {
    text: ByteString,
    subscription: Subscription,
    old: Option<Subscription>,
}

impl Granted {
    /// §3.3.1.3: 0 always, 1 for a new subscription, 2 never; never for shared subscriptions (§4.8.2).
    fn wants_retained(&self) -> bool {
        let wanted = match self.subscription.options.retain_handling {
            0 => true,
            1 => self.old.is_none(),
            _ => false,
        };
        wanted && self.subscription.filter.share.is_none()
    }
}

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
        let kept = self.slots[slot as usize].durable;
        let (mut codes, mut granted, mut retained) = (Vec::new(), Vec::new(), Vec::new());
        let mut refusals = Refusals::default();
        for ((text, options), filter) in packet.filters.into_iter().zip(filters) {
            let filter = filter.map_err(|error| (0x8f, Some(error.to_string().into())));
            let grant = filter.and_then(|filter| {
                let subscription = Subscription { options, id: packet.id, filter };
                self.grant(slot, &text, subscription, retained.len())
            });
            match grant {
                Ok(grant) => {
                    codes.push(options.qos as u8);
                    if !kept {
                        self.put_in_place(slot, &grant);
                    }
                    if grant.wants_retained() {
                        let subscriber = self.subscriber(slot, &grant.subscription);
                        retained.extend(self.retained_for(
                            slot,
                            &grant.subscription.filter.filter,
                            subscriber,
                        ));
                    }
                    granted.push(grant);
                }
                Err((code, why)) => {
                    why.into_iter().for_each(|why| refusals.add(&text, why));
                    codes.push(code);
                }
            }
        }
        let waits = kept && !granted.is_empty();
        let token = waits.then(|| self.keep_subscriptions(slot, &granted, retained.len()));
        self.refresh_inbox(slot);
        self.with_session(slot, |session, wire| {
            session.subscribed(packet.packet_id, codes, refusals, token, wire);
        });
        // A SUBACK that is too large for the client is the end of the connection, and the session may go with it.
        if let (Some(entry), None) = (self.slots.get_mut(slot as usize), token) {
            entry.owed.add(retained);
            self.deliver_retained(slot);
        }
    }

    /// Has the bridge keep subscriptions, puts them in place here, and gives back the token of the wait for that; `retained` is how
    /// many messages there are for them.
    fn keep_subscriptions(&mut self, slot: u32, granted: &[Granted], retained: usize) -> u64 {
        let at = self.place(slot);
        let wanted = granted.iter().filter(|grant| grant.wants_retained()).map(|grant| &grant.subscription);
        let wanted: Vec<_> = wanted
            .map(|subscription| (subscription.filter.filter.clone(), self.subscriber(slot, subscription)))
            .collect();
        let Slot { session, owed, .. } = &mut self.slots[slot as usize];
        let (token, device) = (session.next_token(), session.device.clone());
        owed.add_after(token, retained, wanted);
        let filters = granted.iter().map(|grant| (grant.text.clone(), grant.subscription.options)).collect();
        let id = granted.first().and_then(|grant| grant.subscription.id);
        self.tell_bridge(&ToBridge::Subscribe { at, token, device, filters, id }, None);
        // On its way before anybody finds a member here: a search for one is told once that the bridge has not heard of it.
        if granted.iter().any(|grant| grant.subscription.filter.share.is_some()) {
            self.send_batches();
        }
        granted.iter().for_each(|grant| self.put_in_place(slot, grant));
        token
    }

    /// Whether a client may subscribe; `owed` is how many retained messages it is to be sent for this packet already.
    fn grant(
        &mut self,
        slot: u32,
        text: &ByteString,
        Subscription { options, id, filter }: Subscription,
        owed: usize,
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
        if old.is_none() {
            self.count_subscription(&subscription, true);
        }
        Ok(Granted { text: text.clone(), subscription, old })
    }

    fn put_in_place(&mut self, slot: u32, Granted { subscription, old, .. }: &Granted) {
        self.index(slot, subscription);
        // Only now, so that nobody who publishes meanwhile finds that there is no subscription (§3.8.4).
        if let Some(old) = old {
            self.forget_routes(slot, old);
        }
    }

    /// A SUBACK that waited for the disk is written.
    pub(super) fn after_suback(&mut self, slot: u32, token: u64) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        for (filter, subscriber) in entry.owed.follow(token) {
            // The tree has grown since this was asked for: no more is given than could have been asked for now.
            if self.slots[slot as usize].owed.len() > self.shared.settings.retained.messages {
                break;
            }
            let retained = self.retained_for(slot, &filter, subscriber);
            self.slots[slot as usize].owed.add(retained);
        }
        self.deliver_retained(slot);
    }

    /// "Not authorized", or "unspecified error", for a server that "does not wish to reveal the reason" (§3.9.3).
    fn denied(&self, why: &'static str) -> Refused {
        if self.shared.settings.say_why { (0x87, Some(why.into())) } else { (0x80, None) }
    }

    fn retained_for(&self, slot: u32, filter: &str, subscriber: Subscriber) -> Vec<ForSubscriber> {
        let identity = &self.slots[slot as usize].identity;
        let mut found = self.shared.retained.matching(filter, self.now());
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
        let subscriber = self.subscriber(slot, subscription);
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

    fn subscriber(&self, slot: u32, subscription: &Subscription) -> Subscriber {
        let options = &subscription.options;
        Subscriber {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id: subscription.id,
            durable: self.slots[slot as usize].durable,
            wild: topic::has_wildcard(&subscription.filter.filter),
        }
    }

    /// Whether the bridge hands it messages that are not stored.
    pub(super) fn wants_fleeting(&self, slot: u32) -> bool {
        let Slot { session, durable, .. } = &self.slots[slot as usize];
        let mut qos = session.subscriptions.iter().map(|subscription| subscription.options.qos);
        *durable && qos.any(|qos| qos == QoS::AtMostOnce)
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
