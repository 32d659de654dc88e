//! Connections and sessions come and go: CONNACK, take-over, the end of a connection, wills, expiry.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use super::authenticate::Agreed;
use super::link::{self, LINGER, Link, Work};
use super::owed::Owed;
use super::{Arrival, Edge, Slot, Timer};
use crate::audit::{self, Action, Entry};
use crate::clock::Millis;
use crate::codec::encode::{self, ConnAck, ConnAckProperties};
use crate::codec::{Connect, QoS, Version, Will};
use crate::counters::Counters;
use crate::gate::{Seat, Ticket};
use crate::goodbye::Goodbye;
use crate::lane::{Device, Ending, Errand, Place, Source, ToBridge};
use crate::outbuffer::OutBuffer;
use crate::places::Claim;
use crate::policy::{Identity, LoginRefusal, PublishVerdict};
use crate::session::{Left, RestoredSession, RestoredWill, Session, Wire};
use crate::tally::Tally;

/// What CONNACK tells a client besides the settings.
struct Welcome {
    session_present: bool,
    /// Whether the server chose the client id.
    assigned: bool,
    /// Seconds that the session will outlive the connection.
    expiry: u32,
    server_keep_alive: Option<u16>,
    /// The last word of the authentication method.
    proof: Bytes,
}

/// A client that was let in.
pub(super) struct Adopted {
    pub slot: u32,
    /// Of the connection, from which there is to be read.
    pub number: u64,
    pub reader: OwnedReadHalf,
    /// The device whose place it has now.
    pub outdone: Option<Device>,
}

/// Timers below which nobody looks for those that are of no use any more.
pub(super) const MANY_TIMERS: usize = 1024;

/// Milliseconds until the keep-alive of a client that we keep waiting, or one that is slow to read, is looked at again.
const PATIENCE: Millis = 1000;

impl Edge {
    /// Lets a client in whose login was checked, and answers CONNECT.
    pub(super) fn adopt(&mut self, arrival: Arrival) -> Option<Adopted> {
        let Arrival { stream, layers, decoder, rest, mut connect, assigned, .. } = arrival;
        let Arrival { identity, changes, method, proof, peer, ticket, .. } = arrival;
        let (reader, stream) = stream.settle().ok()?.into_split();
        self.last_link += 1;
        let number = self.last_link;
        let mut link = Link::new(number, stream, peer, layers, decoder, rest);
        let admitted = self.admit(&identity, changes, connect.will.as_ref());
        // Who comes back to a session that is kept is no new login.
        let resumes = !connect.clean_start && self.can_be_resumed(&identity.device.client);
        let expiry = self.expiry_of(&connect);
        let server_keep_alive = self.keep_alive_for(&connect);
        connect.keep_alive = server_keep_alive.unwrap_or(connect.keep_alive);
        let welcome = Welcome { session_present: resumes, assigned, expiry, server_keep_alive, proof };
        self.connack(&mut link, &connect, &identity, &welcome);
        let fits = connect.properties.maximum_packet_size.is_none_or(|max| link.out.len() <= max as usize);
        let seated = admitted
            // Without what CONNACK says the client would not keep to our limits.
            .and_then(|()| if fits { Ok(()) } else { Err((0x95, Goodbye::AnswerTooLarge.text())) })
            .and_then(|()| if resumes { self.take_place(&identity, false).map(drop) } else { Ok(()) })
            .and_then(|()| self.take_seat(&identity, ticket));
        link.seat = match seated {
            Ok(seat) => seat,
            Err((code, reason)) => {
                link.out = OutBuffer::default();
                audit::failure(&self.shared.counters, &connect, peer, &method, reason);
                self.refuse(link, &connect, code, reason);
                return None;
            }
        };
        self.make_room(&identity, connect.clean_start);
        let present = self.clients.get(&identity.device.client).copied();
        // A login is never refused. Whoever does not come in takes no place away.
        let outdone = if resumes { None } else { self.take_place(&identity, true).unwrap_or(None) };
        link.agreed = Agreed::of(&connect, &identity, peer);
        let (user, client) = (identity.device.user.clone(), identity.device.client.clone());
        let slot = match present {
            Some(slot) => self.resume(slot, link, &connect, identity, expiry),
            None => self.begin(link, &connect, identity, expiry),
        };
        self.announce(slot, present.is_none());
        self.keep_will(slot);
        if connect.clean_start {
            self.hold_until_forgotten(slot);
        }
        self.shared.counters.connections_total.add(1);
        let entry = Entry::of(Action::Login);
        let (address, method) = (Some(peer), Some(&*method));
        Entry { user: Some(&user), client: Some(&client), address, method, ..entry }.write();
        if connect.keep_alive > self.shared.settings.keep_alive_warn {
            tracing::info!(
                client = &*client,
                seconds = connect.keep_alive,
                "keep-alive longer than carriers keep a connection"
            );
        }
        Some(Adopted { slot, number, reader, outdone })
    }

    /// A task that works for a connection, and ends with it.
    pub(super) fn is_served_by(&mut self, slot: u32, number: u64, work: Work, task: JoinHandle<()>) {
        match self.link(slot, number) {
            Some(link) => link.tasks[work as usize] = Some(task),
            None => task.abort(),
        }
    }

    fn refuse(&self, mut link: Link, connect: &Connect, code: u8, reason: &'static str) {
        self.shared.counters.connections_refused_total.add(1);
        let max = connect.properties.maximum_packet_size;
        encode::refusal(link.out.packet(), connect.version, code, reason, max);
        linger(link, false, self.shared.counters.clone());
    }

    /// Whether there is a session of this client that a connection can come back to.
    fn can_be_resumed(&self, client: &str) -> bool {
        let slot = self.clients.get(client).and_then(|slot| self.slots.get(*slot as usize));
        slot.is_some_and(|entry| entry.link.is_none() || entry.session.is_persistent())
    }

    /// A client id belongs to the user who first used it, as long as there is a session of it. A will needs the rights of
    /// a publish, here and again when it fires.
    fn admit(
        &self,
        identity: &Identity,
        changes: u64,
        will: Option<&Will>,
    ) -> Result<(), (u8, &'static str)> {
        if !self.bridge_keeps_up() {
            return Err((0x89, Goodbye::Busy.text()));
        }
        self.shared.policy.admit(identity, changes).map_err(LoginRefusal::told)?;
        if let Some(slot) = self.clients.get(&identity.device.client)
            && self.slots[*slot as usize].identity.device.user != identity.device.user
        {
            return Err((0x85, "this client id belongs to another user"));
        }
        let open = self.shared.counters.connections.get();
        if open >= self.shared.settings.connections as u64 {
            return Err((0x89, "too many connections"));
        }
        if let Some(will) = will
            && let PublishVerdict::Denied(why) =
                self.shared.policy.publish(identity, &will.topic, &will.payload)
        {
            return Err((0x87, why));
        }
        Ok(())
    }

    /// A place among the connections of its user. Whoever is refused one has changed nothing for a connection that is there.
    fn take_seat(
        &mut self,
        identity: &Identity,
        ticket: Ticket,
    ) -> Result<Option<Box<Seat>>, (u8, &'static str)> {
        let client = &identity.device.client;
        let there = self.clients.get(client).and_then(|slot| self.slots[*slot as usize].link.as_mut());
        if there.is_some()
            && let Some(takeovers) = &mut self.takeovers
            && !takeovers.take(client.clone(), self.shared.clock.now())
        {
            self.shared.counters.takeovers_refused_total.add(1);
            return Err((0x97, "this client id is taken over too often; who is connected stays"));
        }
        let taken_over = there.and_then(|link| link.seat.as_deref_mut());
        ticket.sit_down(&identity.device.user, taken_over).map_err(|crowded| (crowded.code(), crowded.text()))
    }

    /// The place of its class, where a user has one device of it. Gives back whose it was.
    fn take_place(
        &mut self,
        identity: &Identity,
        logs_in: bool,
    ) -> Result<Option<Device>, (u8, &'static str)> {
        let (device, class) = (&identity.device, &identity.kind);
        let outdone = match self.shared.places.claim(identity, logs_in) {
            Claim::Any | Claim::Kept => None,
            Claim::Taken(outdone) => {
                let frame = ToBridge::LoggedIn { device: device.clone(), class: class.clone() };
                self.tell_bridge(&frame, None);
                outdone
            }
            Claim::Refused => return Err((0x87, "another device of this class is logged in")),
        };
        self.leave_places(device, Some(class));
        Ok(outdone)
    }

    /// A device has no place any more, except that of this class.
    fn leave_places(&mut self, device: &Device, but: Option<&str>) {
        for class in self.shared.places.release(device, but) {
            self.tell_bridge(&ToBridge::LoggedOut { device: device.clone(), class }, None);
        }
    }

    /// A new connection of the same client takes over; clean start ends the session that was there.
    fn make_room(&mut self, identity: &Identity, clean_start: bool) {
        if let Some(slot) = self.clients.get(&identity.device.client).copied() {
            self.end(slot, Goodbye::TakenOver);
        }
        if let (true, Some(slot)) = (clean_start, self.clients.get(&identity.device.client).copied()) {
            self.remove(slot);
        }
    }

    /// Seconds that the session will outlive the connection.
    fn expiry_of(&self, connect: &Connect) -> u32 {
        let max = self.shared.settings.expiry_max;
        match connect.version {
            Version::V5 => connect.properties.session_expiry.min(max),
            _ if connect.clean_start => 0,
            _ => max,
        }
    }

    /// What the client has to use in place of the keep-alive that it asked for; only MQTT 5 can be told.
    fn keep_alive_for(&self, connect: &Connect) -> Option<u16> {
        let max = self.shared.settings.keep_alive_max.filter(|_| connect.version.is_v5())?;
        (connect.keep_alive == 0 || connect.keep_alive > max).then_some(max)
    }

    fn connack(&self, link: &mut Link, connect: &Connect, identity: &Identity, welcome: &Welcome) {
        let (settings, asked) = (&self.shared.settings, &connect.properties);
        let packet_bytes = u32::try_from(settings.after_login.packet_bytes).unwrap_or(u32::MAX);
        let own_topics = || format!("u/{}/", identity.device.user).into();
        let properties = ConnAckProperties {
            session_expiry: Some(welcome.expiry).filter(|expiry| *expiry != asked.session_expiry),
            receive_maximum: Some(settings.session.unanswered),
            maximum_packet_size: Some(packet_bytes),
            assigned_client_id: welcome.assigned.then(|| connect.client_id.clone()),
            topic_alias_maximum: Some(settings.session.topic_alias_maximum),
            server_keep_alive: welcome.server_keep_alive,
            response_information: asked.request_response_information.then(own_topics),
            authentication_method: asked.authentication_method.clone(),
            authentication_data: Some(&welcome.proof).filter(|proof| !proof.is_empty()).cloned(),
            ..ConnAckProperties::default()
        };
        let session_present = welcome.session_present;
        encode::connack(
            link.out.packet(),
            connect.version,
            &ConnAck { session_present, code: 0, properties },
        );
    }

    fn begin(&mut self, link: Link, connect: &Connect, identity: Identity, expiry: u32) -> u32 {
        let limits = self.shared.settings.session.clone();
        let session = Session::new(identity.device.clone(), connect, expiry, limits, self.now());
        let slot = self.insert(identity, session, Some(link));
        let entry = &mut self.slots[slot as usize];
        (entry.durable, entry.stored) = (expiry > 0, expiry > 0);
        slot
    }

    fn insert(&mut self, identity: Identity, session: Session, link: Option<Link>) -> u32 {
        self.last_generation = self.last_generation.wrapping_add(1);
        let client = identity.device.client.clone();
        let generation = self.last_generation;
        let slot = Slot {
            generation,
            identity,
            rights: Some(self.shared.rights()),
            session,
            link,
            since: self.now(),
            will_due: None,
            will_kept: false,
            ends_at: None,
            durable: false,
            stored: false,
            blocked_since: None,
            armed: [0; 5],
            owed: Owed::default(),
            in_flight: 0,
        };
        self.shared.counters.sessions.add(1);
        let slot = self.slots.insert(slot);
        self.clients.insert(client, slot);
        slot
    }

    fn resume(&mut self, slot: u32, link: Link, connect: &Connect, identity: Identity, expiry: u32) -> u32 {
        let (shared, now) = (self.shared.clone(), self.now());
        let entry = &mut self.slots[slot as usize];
        (entry.identity, entry.will_due, entry.ends_at) = (identity.clone(), None, None);
        (entry.rights, entry.since) = (Some(shared.rights()), now);
        entry.durable |= expiry > 0;
        // Rights may have changed while the client was away.
        self.end_refused_subscriptions(slot);
        let entry = &mut self.slots[slot as usize];
        let subscriptions: Vec<_> = entry.session.subscriptions.iter().cloned().collect();
        entry.link = Some(link);
        // Also if the session is to end with this connection: until then all that it is owed comes by one road, in order.
        subscriptions.iter().for_each(|subscription| self.index_live(slot, subscription));
        let allowed = |topic: &str| shared.policy.receive(&identity, topic);
        let mut abandoned = Vec::new();
        self.with_session(slot, |session, wire| {
            abandoned = session.resume(connect, expiry, allowed, now, wire);
        });
        self.give_to_others(abandoned);
        slot
    }

    /// Tells the bridge, and starts what a connection needs.
    fn announce(&mut self, slot: u32, fresh: bool) {
        let at = self.place(slot);
        let entry = &self.slots[slot as usize];
        let (device, kind, expiry) =
            (entry.identity.device.clone(), entry.identity.kind.clone(), entry.session.expiry);
        let persistent = entry.session.is_persistent();
        if self.concerns_bridge(slot) || !fresh {
            self.tell_bridge(&ToBridge::Open { at, device: device.clone(), kind, expiry, fresh }, None);
        }
        if persistent || !fresh {
            let (source, qos) = (Source::Queue, QoS::ExactlyOnce);
            let at = Place { reader: self.slots[slot as usize].session.attach(source, qos), ..at };
            self.tell_bridge(&ToBridge::Attach { at, device, source, qos, persistent }, None);
        }
        self.refresh_inbox(slot);
        if self.wants_fleeting(slot) {
            // In front of the CONNACK: what somebody publishes on hearing of it finds that the client is here.
            self.send_batches();
        }
        let counters = &self.shared.counters;
        counters.connections.add(1);
        counters.connections_max.raise(counters.connections.get());
        self.set_keep_alive(slot);
        if let Some(until) = self.slots[slot as usize].identity.until {
            self.arm(slot, until, Timer::Login);
        }
        self.mark_dirty(slot);
    }

    /// Has the bridge keep the will of a new connection, which hears CONNACK once it does. One that an earlier connection
    /// left is replaced, or not needed any more.
    fn keep_will(&mut self, slot: u32) {
        let at = self.place(slot);
        let entry = &mut self.slots[slot as usize];
        let Some(will) = entry.session.will.clone() else { return self.forget_will(slot) };
        let Identity { device, kind, door, .. } = entry.identity.clone();
        let token = entry.session.next_token();
        if let Some(link) = &mut entry.link {
            link.held = Some(token);
        }
        entry.will_kept = true;
        let Will { delay, expiry, .. } = *will;
        let frame = ToBridge::Will { at, token, device, kind, door, delay, expiry };
        let message = will.into_message(&self.slots[slot as usize].identity.device.client, None);
        self.tell_bridge(&frame, Some(&message));
    }

    /// Holds the CONNACK of a clean start back until the disk has forgotten the sessions that are over: one that was to be discarded
    /// would be there again after a crash (§3.1.2.4).
    fn hold_until_forgotten(&mut self, slot: u32) {
        // Whose they were is not known any more; it takes a moment only.
        if self.batches.worked_off >= self.batches.forgotten {
            return;
        }
        let at = self.place(slot);
        let Some(Slot { session, link: Some(link), .. }) = self.slots.get_mut(slot as usize) else { return };
        // A will that waits was told later.
        if link.held.is_none() {
            let token = session.next_token();
            link.held = Some(token);
            self.tell_bridge(&ToBridge::Barrier { at, token }, None);
        }
    }

    pub(super) fn forget_will(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if std::mem::take(&mut entry.will_kept) {
            let device = entry.identity.device.clone();
            self.tell_bridge(&ToBridge::WillOver { device }, None);
        }
    }

    /// Who has neither presence, nor an inbox, nor a session that is kept leaves nothing with the bridge: nameless clients
    /// that come and go.
    fn concerns_bridge(&self, slot: u32) -> bool {
        let entry = self.slots.get(slot as usize);
        entry.is_some_and(|entry| entry.stored || !entry.identity.device.user.starts_with('~'))
    }

    fn set_keep_alive(&mut self, slot: u32) {
        let Some(Slot { session, link: Some(_), .. }) = self.slots.get(slot as usize) else { return };
        if let Some(at) = session.poll_timeout() {
            self.arm(slot, at, Timer::KeepAlive);
        }
    }

    /// Sets a timer, unless one of its kind fires earlier anyway: that one looks again.
    fn arm(&mut self, slot: u32, at: Millis, timer: Timer) {
        let entry = &mut self.slots[slot as usize];
        let armed = &mut entry.armed[timer as usize];
        if *armed == 0 || at < *armed {
            *armed = at;
            self.timers.push(Reverse((at, slot, entry.generation, timer)));
            self.drop_stale_timers();
        }
    }

    /// Timers of sessions that are over would stay until they are due, however many those were.
    fn drop_stale_timers(&mut self) {
        if self.timers.len() < self.timers_max {
            return;
        }
        let slots = &self.slots;
        self.timers.retain(|Reverse((at, slot, generation, timer))| {
            slots
                .get(*slot as usize)
                .is_some_and(|entry| entry.generation == *generation && entry.armed[*timer as usize] == *at)
        });
        self.timers_max = 2 * self.timers.len().max(MANY_TIMERS);
    }

    /// Ends a connection. The session stays if it outlives it.
    pub(super) fn end(&mut self, slot: u32, goodbye: Goodbye) {
        let concerns_bridge = self.concerns_bridge(slot);
        if goodbye.is_worth_a_notice() {
            self.give_notice(slot, goodbye);
        }
        let now = self.now();
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        let Some(mut link) = entry.link.take() else { return };
        (entry.blocked_since, entry.since) = (None, now);
        let redirect = self.shared.settings.redirect.as_deref();
        let other = redirect.filter(|_| goodbye == Goodbye::UseAnotherServer);
        entry.session.say_goodbye(goodbye, other, &mut link.out);
        entry.owed.suspend();
        self.shared.counters.connections.sub(1);
        // DISCONNECT may have asked for more than there is (§3.14.2.2.2).
        entry.session.expiry = entry.session.expiry.min(self.shared.settings.expiry_max);
        let (device, expiry) = (entry.session.device.clone(), entry.session.expiry);
        tracing::info!(
            client = &*device.client,
            user = &*device.user,
            reason = goodbye.text(),
            "client disconnected"
        );
        if goodbye.is_a_kick() {
            let (user, client) = (Some(&*device.user), Some(&*device.client));
            let (address, reason) = (Some(link.peer), Some(goodbye.text()));
            Entry { user, client, address, reason, ..Entry::of(Action::Kick) }.write();
        }
        let at = Place { edge: self.id, slot, generation: entry.generation, reader: 0 };
        let how = ending(goodbye);
        let will = entry.session.will.take();
        let subscriptions: Vec<_> = entry.session.subscriptions.iter().cloned().collect();
        entry.session.suspend();
        self.tally.in_flight(&mut entry.in_flight, entry.session.in_flight());
        for subscription in &subscriptions {
            self.unindex_live(slot, subscription);
        }
        if concerns_bridge {
            self.tell_bridge(&ToBridge::Close { at, device, how, expiry }, None);
        }
        self.schedule_will(slot, will.filter(|_| goodbye.fires_will()));
        if expiry == 0 {
            self.remove(slot);
        } else {
            let dropped = self.slots[slot as usize].owed.keep(&self.shared.settings.session);
            self.shared.counters.deliveries_dropped_total.add(dropped);
            self.schedule_expiry(slot, self.now());
        }
        // Last, so that who sees the connection closed finds everything done that follows from it.
        let client_is_done =
            matches!(goodbye, Goodbye::ByClient | Goodbye::ByClientWithWill | Goodbye::LinkLost);
        linger(link, client_is_done, self.shared.counters.clone());
    }

    /// A will with a delay waits, unless the session ends first (§3.1.3.2.2).
    fn schedule_will(&mut self, slot: u32, will: Option<Box<Will>>) {
        let Some(will) = will else { return self.forget_will(slot) };
        let due = self.now() + Millis::from(will.delay) * 1000;
        let entry = &mut self.slots[slot as usize];
        let waits = will.delay > 0 && entry.session.expiry > 0;
        entry.session.will = Some(will);
        if waits {
            entry.will_due = Some(due);
            let device = entry.identity.device.clone();
            self.tell_bridge(&ToBridge::WillDue { device, due }, None);
            self.arm(slot, due, Timer::Will);
        } else {
            self.fire_will(slot);
        }
    }

    fn schedule_expiry(&mut self, slot: u32, since: Millis) {
        let entry = &mut self.slots[slot as usize];
        if entry.session.expiry == u32::MAX {
            return;
        }
        let at = since + Millis::from(entry.session.expiry) * 1000;
        entry.ends_at = Some(at);
        self.arm(slot, at, Timer::Expiry);
    }

    /// Publishes the will, if its sender may still publish there.
    fn fire_will(&mut self, slot: u32) {
        let now = self.now();
        let entry = &mut self.slots[slot as usize];
        entry.will_due = None;
        let Some(will) = entry.session.will.take() else { return };
        let identity = entry.identity.clone();
        let expires = will.expiry.map(|seconds| now + Millis::from(seconds) * 1000);
        let message = will.into_message(&identity.device.client, expires);
        match self.shared.policy.publish(&identity, &message.topic, &message.payload) {
            PublishVerdict::Plain(rule) => self.route(None, message, rule, None),
            PublishVerdict::Errand(Errand::Chat) if self.is_full() => self.refuse_for_quota(&message, None),
            PublishVerdict::Errand(errand) => {
                let at = self.nobody();
                let from = identity.device;
                let (store_retained, remember, shares) = (None, None, Vec::new());
                let frame =
                    ToBridge::Publish { at, token: None, errand, from, store_retained, remember, shares };
                self.tell_bridge(&frame, Some(&message));
            }
            PublishVerdict::Denied(why) => {
                self.shared.counters.publishes_denied_total.add(1);
                tracing::info!(client = &*message.publisher, topic = &*message.topic, why, "will denied");
            }
        }
        self.forget_will(slot);
    }

    /// Ends a session that has no connection.
    pub(super) fn remove(&mut self, slot: u32) {
        self.fire_will(slot);
        let at = self.place(slot);
        let subscriptions: Vec<_> = self.slots[slot as usize].session.subscriptions.iter().cloned().collect();
        for subscription in &subscriptions {
            self.count_subscription(subscription, false);
            self.unindex_durable(slot, subscription);
        }
        let Slot { mut session, identity, stored, mut in_flight, .. } = self.slots.remove(slot as usize);
        self.tally.in_flight(&mut in_flight, 0);
        self.shared.counters.sessions.sub(1);
        let device = identity.device;
        self.clients.remove(&device.client);
        self.leave_places(&device, None);
        let Left { begun, abandoned } = session.end();
        // One that never outlived a connection left nothing with the bridge.
        if stored {
            self.tell_bridge(&ToBridge::Forget { at, device, begun }, None);
            self.batches.forgotten = self.batches.sent;
        }
        self.give_to_others(abandoned);
    }

    /// Sessions of an earlier run: those that persist are routable before their client returns, the others are over and
    /// only owe a will.
    pub(super) fn restore(&mut self, mut restored: RestoredSession) {
        let (device, ended_at) = (restored.device.clone(), restored.ended_at);
        let will = restored.will.take();
        let session = restored.into_session(self.shared.settings.session.clone());
        let mut identity = Identity::new(device, Default::default(), crate::policy::Door::Mqtt);
        if let Some(will) = &will {
            (identity.kind, identity.door) = (will.kind.clone(), will.door);
        }
        let slot = self.insert(identity, session, None);
        self.restore_will(slot, will);
        let entry = &mut self.slots[slot as usize];
        (entry.rights, entry.since) = (None, ended_at);
        entry.durable = entry.session.is_persistent();
        // Also of a session that is over: the end of it is to be known where it lies.
        entry.stored = true;
        let subscriptions: Vec<_> = entry.session.subscriptions.iter().cloned().collect();
        for subscription in &subscriptions {
            self.count_subscription(subscription, true);
            self.index_durable(slot, subscription);
        }
        let entry = &mut self.slots[slot as usize];
        self.tally.in_flight(&mut entry.in_flight, entry.session.in_flight());
        self.schedule_expiry(slot, ended_at);
    }

    fn restore_will(&mut self, slot: u32, restored: Option<RestoredWill>) {
        let Some(RestoredWill { will, due, .. }) = restored else { return };
        let entry = &mut self.slots[slot as usize];
        entry.session.will = Some(Box::new(will));
        (entry.will_due, entry.will_kept) = (Some(due), true);
        self.arm(slot, due, Timer::Will);
    }

    /// Carries out every timer that is due.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        let Counters { connections, handshakes, .. } = &*self.shared.counters;
        if self.ebb.is_over(connections.get() + handshakes.get()) {
            self.shared.give_back();
        }
        while let Some(Reverse((at, slot, generation, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self.slots.get_mut(slot as usize) else { continue };
            if entry.generation == generation && entry.armed[timer as usize] == at {
                entry.armed[timer as usize] = 0;
                self.fire(slot, timer, now);
            }
        }
        self.end_expired();
    }

    /// Ends sessions whose time is over, as fast as the bridge follows.
    pub(super) fn end_expired(&mut self) {
        let now = self.now();
        while let Some((slot, generation)) = self.expiring.next(&self.batches) {
            let entry = self.slots.get(slot as usize).filter(|entry| entry.generation == generation);
            // The client may be back.
            if entry.and_then(|entry| entry.ends_at).is_some_and(|at| at <= now) {
                self.shared.counters.sessions_expired_total.add(1);
                self.remove(slot);
                self.expiring.ended(&self.batches);
            }
        }
    }

    fn fire(&mut self, slot: u32, timer: Timer, now: Millis) {
        let entry = &self.slots[slot as usize];
        let due = match timer {
            Timer::KeepAlive => return self.check_keep_alive(slot, now),
            Timer::SlowReader => return self.check_slow_reader(slot, now),
            Timer::Will => entry.will_due,
            Timer::Expiry => entry.ends_at,
            // Of the connection that there is, which may have come with another login.
            Timer::Login => entry.identity.until.filter(|_| entry.link.is_some()),
        };
        match due {
            Some(due) if due > now => self.arm(slot, due, timer),
            Some(_) if timer == Timer::Will => self.fire_will(slot),
            Some(_) if timer == Timer::Login => self.end(slot, Goodbye::LoginOver),
            Some(_) => self.expiring.add(slot, entry.generation),
            None => {}
        }
    }

    /// A client that we do not read from, for the bridge's sake, cannot be blamed for its silence.
    fn check_keep_alive(&mut self, slot: u32, now: Millis) {
        let ours = !self.bridge_keeps_up()
            || !self.slots[slot as usize].session.wants_packets()
            || self.rests(slot, now);
        if ours {
            return self.arm(slot, now + PATIENCE, Timer::KeepAlive);
        }
        self.with_session(slot, |session, wire| session.handle_timeout(now, wire));
        if self.slots.contains(slot as usize) {
            self.set_keep_alive(slot);
        }
    }

    /// A client that takes nothing may not keep more than its share of memory for long: what it is owed beyond that is
    /// dropped already.
    fn check_slow_reader(&mut self, slot: u32, now: Millis) {
        let Slot { link: Some(link), blocked_since: Some(since), .. } = &self.slots[slot as usize] else {
            return;
        };
        let due = *since + self.shared.settings.slow_reader;
        if due > now {
            return self.arm(slot, due, Timer::SlowReader);
        }
        if link.waiting() <= self.shared.settings.outbound_bytes {
            return self.arm(slot, now + PATIENCE, Timer::SlowReader);
        }
        self.end_slow_reader(slot);
    }

    /// Ends the connection of a client that does not read.
    pub(super) fn end_slow_reader(&mut self, slot: u32) {
        self.shared.counters.slow_readers_total.add(1);
        self.end(slot, Goodbye::SlowReader);
    }

    /// The socket of a client takes nothing more now.
    pub(super) fn set_blocked(&mut self, slot: u32) {
        let now = self.now();
        self.slots[slot as usize].blocked_since = Some(now);
        self.arm(slot, now + self.shared.settings.slow_reader, Timer::SlowReader);
    }

    /// Something from the bridge was lost on the way: every session reads again what it is owed.
    pub(super) fn all_behind(&mut self) {
        let now = self.now();
        let slots = self.slots.numbers();
        for slot in slots {
            self.with_session(slot, |session, wire| session.behind(now, wire));
            // The answer that CONNACK waits for may be lost as well.
            if self.slots.get(slot as usize).and_then(|entry| entry.link.as_ref()?.held).is_some() {
                self.end(slot, Goodbye::Busy);
            }
        }
    }

    /// The server stops: everybody hears why.
    pub(super) fn end_all(&mut self, goodbye: Goodbye) {
        self.stopping = true;
        let slots = self.slots.numbers();
        let goodbye = match (goodbye, &self.shared.settings.redirect) {
            (Goodbye::ShuttingDown, Some(_)) => Goodbye::UseAnotherServer,
            _ => goodbye,
        };
        slots.into_iter().for_each(|slot| self.end(slot, goodbye));
    }
}

fn ending(goodbye: Goodbye) -> Ending {
    match goodbye {
        Goodbye::ByClient => Ending::Clean,
        Goodbye::TakenOver => Ending::TakenOver,
        Goodbye::ByClientWithWill | Goodbye::LinkLost | Goodbye::KeepAlive | Goodbye::SlowReader => {
            Ending::Lost
        }
        Goodbye::TooManyPublishes | Goodbye::TooManyBytes => Ending::Lost,
        // The client did not choose to go, and will be back if it can.
        Goodbye::ShuttingDown
        | Goodbye::UseAnotherServer
        | Goodbye::StoreFailed
        | Goodbye::LoginOver
        | Goodbye::Busy
        | Goodbye::Internal => Ending::Lost,
        Goodbye::LoggedInElsewhere
        | Goodbye::Malformed(..)
        | Goodbye::ReceiveMaximum
        | Goodbye::AnswerTooLarge
        | Goodbye::Administrative
        | Goodbye::NotAuthenticated(_)
        | Goodbye::Denied => Ending::Kicked,
    }
}

/// Lets the last bytes leave, then closes the socket. A client that did not choose to go may still be sending; closing
/// at once would reset the connection, and it would not read why.
fn linger(mut link: Link, client_is_done: bool, counters: Arc<Counters>) {
    // A socket that fails here is closed below like any other.
    let _ = link.flush();
    let mut last = Tally::default();
    last.sent(link.take_sent());
    let (stream, mut out) = link.into_rest();
    let written = client_is_done && is_written(&stream, &mut out);
    last.sent(out.take_sent());
    last.settle(&counters);
    if written {
        return close(stream);
    }
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(LINGER, async {
            while !is_written(&stream, &mut out) && stream.writable().await.is_ok() {}
            counters.bytes_sent_total.add(out.take_sent().bytes as u64);
            // It may be closed already.
            let _ = socket2::SockRef::from(stream.as_ref()).shutdown(std::net::Shutdown::Write);
            link::drain(stream.as_ref()).await;
        })
        .await;
        close(stream);
    });
}

/// Writes; `true` once nothing is left or nothing can be done.
fn is_written(stream: &OwnedWriteHalf, out: &mut OutBuffer) -> bool {
    !matches!(link::write(stream.as_ref(), out), Ok(false))
}

/// Lets go of a connection: the socket closes as soon as its reader, which was told to stop, has let go as well.
fn close(stream: OwnedWriteHalf) {
    stream.forget();
}

impl Edge {
    /// Acts on a session that the bridge answered.
    pub(super) fn answered(&mut self, slot: u32, act: impl FnOnce(&mut Session, Millis, &mut Wire<'_>)) {
        let now = self.now();
        self.with_session(slot, |session, wire| act(session, now, wire));
    }
}
