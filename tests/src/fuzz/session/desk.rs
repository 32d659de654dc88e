//! The part of an edge that belongs to one client: between the session, the client and the bridge.

use std::sync::Arc;

use arbitrary::Arbitrary;
use bytes::Bytes;
use hubbub_broker::codec::{Connect, Decoder, Limits, Packet, QoS, Version};
use hubbub_broker::goodbye::Goodbye;
use hubbub_broker::lane::Source;
use hubbub_broker::outbuffer::OutBuffer;
use hubbub_broker::session::{
    Command, Delivery, Entry, Fanout, Outcome, Refusals, RestoredSession, Session, SessionLimits, Wire,
};
use hubbub_broker::topic::TopicLimits;

use super::bridge::{Bridge, ToBridge, ToEdge};
use super::client::Client;
use super::parcel::{Level, Parcel};
use super::said::{acknowledgement, connect, device, expiry};
use crate::wire::ack;

/// Small, so that cases reach them.
const LIMITS: SessionLimits = SessionLimits {
    inflight: 5,
    unanswered: 4,
    waiting_messages: 4,
    waiting_bytes: 6000,
    subscriptions: 4,
    topic_alias_maximum: 3,
    out_bytes: 3000,
    topics: TopicLimits { levels: 8, bytes: 100 },
};

/// Rounds in which a session has to come to rest; each acknowledges everything that is in flight.
const ROUNDS: usize = 500;

/// The part of an edge that belongs to one client.
#[derive(Default)]
pub(super) struct Desk {
    session: Option<Session>,
    online: bool,
    out: OutBuffer,
    /// Bytes in the out buffer that the client model has seen.
    seen: usize,
    client: Client,
    pub bridge: Bridge,
    now: u64,
    /// Counts the messages.
    made: u32,
    /// What becomes of the next publish.
    pub fate: Fate,
    /// The packet identifier of the publish that is being handled.
    publishing: u16,
}

/// What becomes of a publish of the client.
#[derive(Debug, Clone, Copy, Default, Arbitrary)]
pub(super) enum Fate {
    #[default]
    Stored,
    Routed,
    Refused,
}

impl Desk {
    /// Lets the session act, looks at what it sends, and carries out what it wants done, as an edge does.
    fn act(&mut self, act: impl FnOnce(&mut Session, &mut Wire<'_>)) {
        let Some(session) = &mut self.session else { return };
        let (mut commands, mut nowhere) = (Vec::new(), OutBuffer::default());
        let out = if self.online { &mut self.out } else { &mut nowhere };
        act(session, &mut Wire { out, commands: &mut commands });
        self.let_expired_go(&commands);
        self.look();
        for command in commands {
            self.execute(command);
        }
    }

    /// What expired is gone before anything that takes its place is sent.
    fn let_expired_go(&mut self, commands: &[Command]) {
        for command in commands {
            if let Command::Taken { source, position } = command {
                let taken = self.bridge.taken_by(*source, *position).into_iter();
                let expired = taken.filter(|parcel| parcel.message().is_expired(self.now));
                expired.for_each(|parcel| self.client.goes_without(parcel.number));
            }
        }
    }

    /// Milliseconds pass.
    pub fn wait(&mut self, millis: u16) {
        self.now += u64::from(millis);
        let now = self.now;
        self.online_act(|session, wire| session.handle_timeout(now, wire));
    }

    fn online_act(&mut self, act: impl FnOnce(&mut Session, &mut Wire<'_>)) {
        if self.online {
            self.act(act);
        }
    }

    fn look(&mut self) {
        let all = self.out.take();
        self.client.is_sent(&all[self.seen..]);
        self.seen = all.len();
        self.out.push(&all);
    }

    fn execute(&mut self, command: Command) {
        let Some(session) = &mut self.session else { return };
        match command {
            Command::Publish { message, token, remember } => {
                if let (QoS::ExactlyOnce, Some(token)) = (message.qos, token) {
                    self.client.is_forwarded(self.publishing, token);
                }
                if let Some(token) = token {
                    self.publish(token, remember);
                }
            }
            Command::Subscribe { packet, filters } => {
                let codes = filters.iter().map(|filter| if filter.is_ok() { 0 } else { 0x8f }).collect();
                let token = session.is_persistent().then(|| session.next_token());
                self.work(token, None, None);
                self.act(|session, wire| {
                    session.subscribed(packet.packet_id, codes, Refusals::default(), token, wire)
                });
            }
            Command::Unsubscribe(packet) => {
                let codes = vec![0; packet.filters.len()];
                let token = session.is_persistent().then(|| session.next_token());
                self.work(token, None, None);
                self.act(|session, wire| session.unsubscribed(packet.packet_id, codes, token, wire));
            }
            Command::Settled(_) | Command::Authenticate { .. } => {
                unreachable!("nothing is on loan here, and no method was agreed on")
            }
            Command::Fetch { source, from } => {
                let reader = session.reader_number(source);
                self.bridge.tell(ToBridge::Fetch { source, reader, from });
            }
            Command::Taken { source, position } => self.taken(source, position),
            Command::Received { position, packet_id } => self.received(position, packet_id),
            Command::Completed(packet_id) => self.bridge.tell(ToBridge::Completed(packet_id)),
            Command::Forgotten { packet_id, token } => self.work(Some(token), None, Some(packet_id)),
            Command::Close(goodbye) => self.end(goodbye),
        }
    }

    fn publish(&mut self, token: u64, remember: Option<u16>) {
        match self.fate {
            Fate::Stored => self.work(Some(token), remember, None),
            Fate::Refused => {
                self.bridge.tell(ToBridge::Work { token, code: 0x87, remember, forget: None });
            }
            Fate::Routed => {
                let now = self.now;
                self.client.is_answered(token, 0);
                self.act(|session, wire| session.done(token, Outcome::ok(), now, wire));
            }
        }
    }

    fn work(&mut self, token: Option<u64>, remember: Option<u16>, forget: Option<u16>) {
        if let Some(token) = token {
            self.bridge.tell(ToBridge::Work { token, code: 0, remember, forget });
        }
    }

    /// Nothing may be taken off the disk that the client did not get, unless nobody wants it any more.
    fn taken(&mut self, source: Source, position: u64) {
        self.read();
        for parcel in self.bridge.told_taken(source, position) {
            let message = parcel.message();
            let expired = message.is_expired(self.now);
            let done = self.client.got(parcel.number)
                || self.client.may_refuse(message.payload.len())
                || source == Source::Inbox && parcel.own;
            assert!(done || expired, "{source:?} {position} taken, but never received: {parcel:?}");
            if expired {
                self.client.goes_without(parcel.number);
            }
        }
    }

    /// The same holds for what counts as received.
    fn received(&mut self, position: u64, packet_id: u16) {
        self.read();
        if let Some(parcel) = self.bridge.told_received(position, packet_id) {
            let message = parcel.message();
            let done = self.client.got(parcel.number) || self.client.may_refuse(message.payload.len());
            let expired = message.is_expired(self.now);
            assert!(done || expired, "{position} counts as received, but never was: {parcel:?}");
        }
    }

    pub fn connect(&mut self, connect: &Connect) {
        self.end(Goodbye::TakenOver);
        if connect.clean_start {
            self.forget();
        }
        self.client.connect(connect, LIMITS.inflight, LIMITS.topic_alias_maximum);
        (self.online, self.out, self.seen) = (true, OutBuffer::default(), 0);
        let (now, expiry) = (self.now, expiry(connect));
        let fresh = self.session.is_none();
        if fresh {
            self.session = Some(Session::new(device(), connect, expiry, LIMITS, now));
        } else {
            self.act(|session, wire| drop(session.resume(connect, expiry, |_| true, now, wire)));
        }
        if expiry > 0 || !fresh {
            self.attach(Source::Queue, QoS::ExactlyOnce);
        }
    }

    /// The connection ends; the session too, if it does not outlive it.
    pub fn end(&mut self, goodbye: Goodbye) {
        if !std::mem::take(&mut self.online) {
            return;
        }
        let Some(session) = &mut self.session else { return };
        if goodbye != Goodbye::LinkLost {
            session.say_goodbye(goodbye, None, &mut self.out);
        }
        session.suspend();
        let persistent = session.is_persistent();
        self.look();
        self.bridge.tell(ToBridge::Detach(Source::Queue));
        self.bridge.tell(ToBridge::Detach(Source::Inbox));
        if !persistent {
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.session, self.bridge) = (None, Bridge::default());
        self.client.forget();
    }

    /// What the client says. It has read everything before, and is heard only while the session wants to.
    pub fn says(&mut self, packet: Packet) {
        self.read();
        if !self.online || !self.session.as_ref().is_some_and(Session::wants_packets) {
            return;
        }
        self.client.says(&packet);
        if let Packet::Publish(publish) = &packet {
            self.publishing = publish.packet_id;
        }
        let now = self.now;
        self.act(|session, wire| session.handle_packet(packet, now, wire));
        self.client.is_handled(self.online);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let Some(version) = self.session.as_ref().map(Session::version) else { return };
        let mut decoder = Decoder::new(Limits { packet_bytes: 4096, user_properties: 8 });
        decoder.set_version(version);
        let mut rest = Bytes::copy_from_slice(bytes);
        while self.online {
            match decoder.decode(&mut rest) {
                Ok(Some(packet)) => self.says(packet),
                Ok(None) => return,
                Err(error) => self.end(Goodbye::Malformed(error.reason_code(), error.what())),
            }
        }
    }

    pub fn ack(&mut self, which: u8) {
        let in_flight = self.client.in_flight();
        let Some(packet_id) = in_flight.get(usize::from(which) % in_flight.len().max(1)) else { return };
        if let Some(kind) = self.client.next_ack(*packet_id) {
            self.says(acknowledgement(kind, *packet_id, 0));
        }
    }

    pub fn wrong_ack(&mut self, which: u8, kind: u8, refused: bool) {
        let in_flight = self.client.in_flight();
        let packet_id = in_flight.get(usize::from(which) % in_flight.len().max(1)).copied();
        let kind = [ack::PUBACK, ack::PUBREC, ack::PUBCOMP][usize::from(kind) % 3];
        let reason = if refused { 0x80 } else { 0 };
        self.says(acknowledgement(kind, packet_id.unwrap_or(u16::from(which) + 1), reason));
    }

    pub fn deliver(&mut self, parcel: Parcel) {
        let parcel = self.make(parcel);
        let (message, now) = (parcel.message(), self.now);
        let (qos, ids) = (parcel.qos.into(), parcel.ids());
        self.online_act(|session, wire| {
            let to = Delivery { qos, retain: parcel.retain(), ids: &ids, search: None };
            session.deliver(&mut Fanout::new(&message, now), to, wire);
        });
    }

    /// Inbox entries are always of QoS 1; nothing is queued at QoS 0.
    pub fn store(&mut self, source: Source, parcel: Parcel) {
        let parcel = self.make(parcel);
        let persistent = self.session.as_ref().is_some_and(Session::is_persistent);
        match source {
            Source::Inbox => self.bridge.store(source, parcel.at(Level::One)),
            Source::Queue if persistent && parcel.qos != Level::Zero => self.bridge.store(source, parcel),
            Source::Queue => {}
        }
    }

    fn make(&mut self, parcel: Parcel) -> Parcel {
        self.made += 1;
        parcel.stamped(self.made, self.now)
    }

    pub fn attach(&mut self, source: Source, qos: QoS) {
        if let (Some(session), true) = (&mut self.session, self.online) {
            let reader = session.attach(source, qos);
            let owed = qos != QoS::AtMostOnce;
            self.bridge.tell(ToBridge::Attach { source, reader, owed });
        }
    }

    pub fn detach(&mut self) {
        if let (Some(session), true) = (&mut self.session, self.online) {
            session.detach(Source::Inbox);
            self.bridge.tell(ToBridge::Detach(Source::Inbox));
        }
    }

    /// Whether anything came from the bridge.
    pub fn arrive(&mut self) -> bool {
        let Some(arrived) = self.bridge.arrives() else { return false };
        let now = self.now;
        match arrived {
            ToEdge::Done { token, code } => {
                self.client.is_answered(token, code);
                let outcome = Outcome { code, reason: "no".into(), stored: true, ..Outcome::ok() };
                self.act(|session, wire| session.done(token, outcome, now, wire));
            }
            ToEdge::Entry { source, reader, position, parcel, fetched } => {
                let qos = parcel.qos.into();
                let (message, ids) = (Arc::new(parcel.message()), parcel.ids().into());
                let entry = Entry { position, message, qos, retain: parcel.retain(), ids };
                self.act(|session, wire| session.entry((source, reader), entry, fetched, now, wire));
            }
            ToEdge::Page { source, reader, next, more } => {
                self.act(|session, wire| session.page((source, reader), next, more, now, wire));
            }
            ToEdge::Released(packet_id) => self.act(|session, wire| session.released(packet_id, wire)),
        }
        true
    }

    /// Answers that were on their way are lost: whatever waits for one may be forwarded again.
    pub fn gap(&mut self) {
        self.bridge.lose_frames();
        self.client.answers_are_lost();
        let now = self.now;
        self.act(|session, wire| session.behind(now, wire));
    }

    pub fn crash(&mut self) {
        self.bridge.crash();
        self.online = false;
        let Some(session) = self.session.take() else { return };
        if !session.is_persistent() {
            return self.forget();
        }
        let restored = RestoredSession {
            device: session.device,
            expiry: session.expiry,
            ended_at: self.now,
            subscriptions: Vec::new(),
            unreleased: self.bridge.inbound.iter().copied().collect(),
            released: self.bridge.released.iter().copied().collect(),
            will: None,
        };
        self.client.server_crashed(&self.bridge.inbound, &self.bridge.released);
        self.session = Some(restored.into_session(LIMITS));
    }

    pub fn read(&mut self) {
        if !self.online {
            return;
        }
        self.client.reads(&self.out.take());
        self.seen = 0;
        let now = self.now;
        self.act(|session, wire| session.drained(now, wire));
    }

    /// A client that takes everything and a bridge that works: in the end nothing is owed.
    pub fn comes_to_rest(&mut self) {
        if !self.session.as_ref().is_some_and(Session::is_persistent) {
            return;
        }
        self.connect(&connect(Version::V311));
        for _ in 0..ROUNDS {
            self.bridge.commit();
            let arrived = std::iter::from_fn(|| self.arrive().then_some(())).count();
            self.read();
            let turns: Vec<_> = self
                .client
                .in_flight()
                .into_iter()
                .filter_map(|id| Some((id, self.client.next_ack(id)?)))
                .collect();
            if arrived == 0 && turns.is_empty() {
                break;
            }
            turns.into_iter().for_each(|(packet_id, kind)| self.says(acknowledgement(kind, packet_id, 0)));
        }
        let session = self.session.as_ref().expect("it is persistent");
        assert!(self.online && !session.has_waiting() && !session.is_held_back(), "{session:?}");
        let owed = &self.bridge.stream(Source::Queue).stored;
        assert!(owed.is_empty(), "still owed: {owed:?}");
    }
}
