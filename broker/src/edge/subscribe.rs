//! Subscriptions: granted, indexed here and in the routing table, and kept by the bridge for persistent sessions.

use std::borrow::Cow;
use std::sync::Arc;

use bytestring::ByteString;

use super::{Edge, Subscriber};
use crate::codec::{QoS, Subscribe, SubscribeOptions, Unsubscribe};
use crate::lane::{Place, Source, ToBridge};
use crate::message::Message;
use crate::routes::Want;
use crate::session::{Refusals, Subscription};
use crate::topic::{self, TopicError, TopicFilter};

type Granted = (Subscription, Vec<(Arc<Message>, Subscriber)>);

/// Reason code (§3.9.3), and why.
type Refused = (u8, Cow<'static, str>);

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
        for ((text, options), filter) in packet.filters.into_iter().zip(filters) {
            // Copied, so that it does not keep the read buffer.
            let text = ByteString::from(&*text);
            let filter = filter.map_err(|error| (0x8f, error.to_string().into()));
            match filter.and_then(|filter| self.subscribe_one(slot, &text, options, packet.id, filter)) {
                Ok((subscription, messages)) => {
                    codes.push(subscription.options.qos as u8);
                    kept.push((text, subscription.options));
                    retained.extend(messages);
                }
                Err((code, why)) => {
                    refusals.add(&text, why);
                    codes.push(code);
                }
            }
        }
        self.refresh_inbox(slot);
        let session = &mut self.slots[slot as usize].session;
        if !session.is_persistent() || kept.is_empty() {
            self.with_session(slot, |session, wire| {
                session.subscribed(packet.packet_id, codes, refusals, None, wire);
            });
            self.slots[slot as usize].retained.extend(retained);
            return self.deliver_retained(slot);
        }
        let (token, device) = (session.next_token(), session.device.clone());
        self.slots[slot as usize].after_suback.push((token, retained));
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
        options: SubscribeOptions,
        id: Option<u32>,
        filter: TopicFilter,
    ) -> Result<Granted, Refused> {
        let entry = &mut self.slots[slot as usize];
        // Whoever subscribes again and again has to take what was asked for before.
        let owed =
            entry.retained.len() + entry.after_suback.iter().map(|(_, owed)| owed.len()).sum::<usize>();
        if !entry.session.has_room_for(text) {
            return Err((0x97, "too many subscriptions".into()));
        }
        if owed > self.shared.settings.retained.messages {
            return Err((0x97, "too many retained messages are still on their way".into()));
        }
        if let Err(why) = self.shared.policy.subscribe(&entry.identity, &filter) {
            tracing::info!(client = %entry.identity.device.client, %text, why, "subscription denied");
            return Err((0x87, why.into()));
        }
        let filter = TopicFilter { filter: (&*filter.filter).into(), share: filter.share };
        let subscription = Subscription { options, id, filter };
        let old = entry.session.subscriptions.insert(text.clone(), subscription.clone());
        let persistent = entry.session.is_persistent();
        match &old {
            Some(old) => self.index(slot, old, persistent, false),
            None => self.count_subscription(&subscription, true),
        }
        self.index(slot, &subscription, persistent, true);
        let retained = self.retained_for(slot, &subscription, persistent, old.is_none());
        Ok((subscription, retained))
    }

    /// §3.3.1.3: 0 always, 1 for a new subscription, 2 never; never for shared subscriptions (§4.8.2).
    fn retained_for(
        &self,
        slot: u32,
        subscription: &Subscription,
        persistent: bool,
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
        let subscriber = subscriber(subscription, persistent);
        let identity = &self.slots[slot as usize].identity;
        let mut found = self.shared.retained.matching(&subscription.filter.filter, self.now());
        found.retain(|message| self.shared.policy.receive(identity, &message.topic));
        found.into_iter().map(|message| (message, subscriber)).collect()
    }

    /// An UNSUBSCRIBE; answered like a SUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, slot: u32, packet: Unsubscribe) {
        let mut codes = Vec::new();
        for text in &packet.filters {
            let session = &mut self.slots[slot as usize].session;
            let persistent = session.is_persistent();
            match session.subscriptions.remove(text) {
                Some(old) => {
                    self.count_subscription(&old, false);
                    self.index(slot, &old, persistent, false);
                    codes.push(0);
                }
                // "No subscription existed" (§3.11.3).
                None => codes.push(0x11),
            }
        }
        self.refresh_inbox(slot);
        let session = &mut self.slots[slot as usize].session;
        let token = session.is_persistent().then(|| session.next_token());
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

    fn index(&mut self, slot: u32, subscription: &Subscription, persistent: bool, add: bool) {
        self.index_live(slot, subscription, persistent, add);
        if persistent {
            self.index_durable(subscription, add);
        }
    }

    /// What this edge delivers itself, while the client is connected.
    pub(super) fn index_live(&mut self, slot: u32, subscription: &Subscription, persistent: bool, add: bool) {
        let filter = &subscription.filter.filter;
        let want = match &subscription.filter.share {
            None => {
                if add {
                    self.subscribers.insert(filter, slot, subscriber(subscription, persistent));
                } else {
                    self.subscribers.remove(filter, &slot);
                }
                Want::Edge(self.id)
            }
            Some(group) => {
                self.index_group(
                    slot,
                    (group.clone(), filter.clone()),
                    subscriber(subscription, persistent),
                    add,
                );
                Want::Share(group.clone(), self.id)
            }
        };
        if add { self.shared.routes.add(filter, want) } else { self.shared.routes.remove(filter, &want) }
    }

    fn index_group(&mut self, slot: u32, key: (ByteString, ByteString), subscriber: Subscriber, add: bool) {
        let group = self.groups.entry(key.clone()).or_default();
        group.members.retain(|(member, _)| *member != slot);
        if add {
            group.members.push((slot, subscriber));
        } else if group.members.is_empty() {
            self.groups.remove(&key);
        }
    }

    /// What the bridge queues, while the session exists.
    pub(super) fn index_durable(&mut self, subscription: &Subscription, add: bool) {
        if subscription.options.qos == QoS::AtMostOnce {
            return;
        }
        let filter = &subscription.filter.filter;
        let want = subscription.filter.share.clone().map_or(Want::Durable, Want::DurableShare);
        if add { self.shared.routes.add(filter, want) } else { self.shared.routes.remove(filter, &want) }
    }

    /// Any subscription that covers one's own inbox reads the inbox stream, at the highest quality of service of them.
    /// The stream is no topic of the routing table: nobody else can come by it.
    pub(super) fn refresh_inbox(&mut self, slot: u32) {
        let session = &self.slots[slot as usize].session;
        // Names with a ~ are nobody's: they have no inbox.
        if session.device.user.starts_with('~') {
            return;
        }
        let device = session.device.clone();
        let inbox = format!("u/{}/inbox", device.user);
        let covering = session.subscriptions.values().filter(|subscription| {
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
