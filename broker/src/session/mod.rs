//! One MQTT session as a pure machine: packets, deliveries and time in; bytes and commands out.
//!
//! Calling order: [`Session::new`] or [`Session::resume`] when a CONNECT was accepted; then any of `handle_packet`,
//! `deliver`, `entry`, `done`, `handle_timeout` as things happen. Every call writes the bytes for the client and the
//! commands for the edge into the [`Wire`] that it is given; the edge carries the commands out in their order before
//! it calls again. [`Session::suspend`] when the connection has ended and the session lives on.

mod aliases;
mod authentication;
mod fanout;
mod inbound;
mod outbound;
mod reader;
mod refusals;
mod restored;
mod subscriptions;
#[cfg(test)]
mod tests;
mod withhold;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::clock::Millis;
use crate::codec::encode::{self, AckKind, AckNotes};
use crate::codec::{Connect, Packet, QoS, Subscribe, SubscribeOptions, Unsubscribe, Version, Will};
use crate::goodbye::Goodbye;
use crate::lane::{Device, Source};
use crate::message::Message;
use crate::outbuffer::OutBuffer;
use crate::share::Search;
use crate::topic::{self, TopicError, TopicFilter, TopicLimits};

pub use authentication::Checked;
pub use fanout::Fanout;
pub use inbound::Outcome;
pub use outbound::{Delivered, Entry, Left};

pub use reader::BUFFERED;
pub use refusals::Refusals;
pub use restored::{RestoredSession, RestoredWill};
pub use subscriptions::Subscriptions;
pub use withhold::Abandoned;

use authentication::Authentication;
use inbound::Inbound;
use outbound::{Line, Outbound};

/// Sizes that bound a session; all of them settings.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// QoS 1 and 2 messages in flight to the client.
    pub inflight: u16,
    /// Publishes of the client that wait for their acknowledgement.
    pub unanswered: u16,
    /// Transient QoS 1 and 2 messages that wait for a connected client.
    pub waiting_messages: usize,
    /// Their bytes, and the bytes of messages in flight beyond which no further one is sent.
    pub waiting_bytes: usize,
    /// Subscriptions of a session.
    pub subscriptions: usize,
    /// Topic aliases that either side uses.
    pub topic_alias_maximum: u16,
    /// Bytes in the out buffer beyond which deliveries at QoS 1 and 2 wait until it is drained.
    pub out_bytes: usize,
    /// Depth and length of topics.
    pub topics: TopicLimits,
}

/// What the edge has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Route this message; if there is a token, [`Session::done`] has to follow.
    Publish {
        /// The message.
        message: Message,
        /// The wait for an acknowledgement.
        token: Option<u64>,
        /// The packet identifier that a persistent session has to remember until PUBREL (QoS 2).
        remember: Option<u16>,
    },
    /// Decide on these subscriptions; [`Session::subscribed`] has to follow.
    Subscribe {
        /// The packet.
        packet: Subscribe,
        /// Its filters, parsed.
        filters: Vec<Result<TopicFilter, TopicError>>,
    },
    /// End these subscriptions; [`Session::unsubscribed`] has to follow.
    Unsubscribe(Unsubscribe),
    /// Ask the bridge for a page of stored messages.
    Fetch {
        /// Of what.
        source: Source,
        /// From which position on.
        from: u64,
    },
    /// Tell the bridge what was acknowledged.
    Taken {
        /// Of what.
        source: Source,
        /// Which entry, or for an inbox up to which.
        position: u64,
    },
    /// Have the bridge remember a PUBREC; [`Session::released`] has to follow.
    Received {
        /// Entry of the queue.
        position: u64,
        /// Its packet identifier.
        packet_id: u16,
    },
    /// Tell the bridge that a message on loan is done with.
    Settled(u64),
    /// Tell the bridge that a packet identifier of the queue is free again.
    Completed(u16),
    /// Tell the bridge that a packet identifier of the client is free again (PUBREL); [`Session::done`] has to follow.
    Forgotten {
        /// Which.
        packet_id: u16,
        /// The wait.
        token: u64,
    },
    /// Check this message of an authentication; [`Session::authenticated`] has to follow.
    Authenticate {
        /// Whether a new authentication begins with it.
        begins: bool,
        /// The message.
        data: Bytes,
    },
    /// End the connection.
    Close(Goodbye),
}

/// Where a call of the session puts its effects.
#[derive(Debug)]
pub struct Wire<'a> {
    /// Bytes for the client.
    pub out: &'a mut OutBuffer,
    /// Commands for the edge.
    pub commands: &'a mut Vec<Command>,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// As granted.
    pub options: SubscribeOptions,
    /// MQTT 5 subscription identifier.
    pub id: Option<u32>,
    /// The filter, parsed.
    pub filter: TopicFilter,
}

/// One MQTT session.
#[derive(Debug)]
pub struct Session {
    /// User and client id.
    pub device: Device,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// The will of the connection.
    pub will: Option<Box<Will>>,
    /// Seconds that the session outlives its connection.
    pub expiry: u32,
    version: Version,
    /// Seconds; 0 if it is off.
    keep_alive: u16,
    last_heard: Millis,
    maximum_packet_size: usize,
    problem_information: bool,
    limits: Arc<SessionLimits>,
    /// Of a connection whose CONNECT named a method; few do.
    authentication: Option<Box<Authentication>>,
    inbound: Inbound,
    outbound: Outbound,
    answers: Vec<Answer>,
}

/// A SUBACK or UNSUBACK that waits for the disk.
#[derive(Debug)]
struct Answer {
    token: u64,
    packet_id: u16,
    codes: Vec<u8>,
    reason: Option<String>,
    subscribe: bool,
}

impl Session {
    /// A new session for an accepted CONNECT.
    pub fn new(
        device: Device,
        connect: &Connect,
        expiry: u32,
        limits: impl Into<Arc<SessionLimits>>,
        now: Millis,
    ) -> Session {
        let mut session = Session::restored(device, expiry, limits);
        session.begin(connect, expiry, now);
        session
    }

    /// A persistent session as it stood on disk, without a connection.
    pub fn restored(device: Device, expiry: u32, limits: impl Into<Arc<SessionLimits>>) -> Session {
        Session {
            device,
            subscriptions: Subscriptions::default(),
            will: None,
            expiry,
            version: Version::V311,
            keep_alive: 0,
            last_heard: 0,
            maximum_packet_size: usize::MAX,
            problem_information: true,
            limits: limits.into(),
            authentication: None,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            answers: Vec::new(),
        }
    }

    /// The connection ended and the session lives on.
    pub fn suspend(&mut self) {
        self.inbound.suspend();
        self.outbound.suspend();
        self.answers.clear();
    }

    /// The session is over: what it leaves to others. [`Session::suspend`] comes first.
    pub fn end(&mut self) -> Left {
        self.outbound.end()
    }

    fn begin(&mut self, connect: &Connect, expiry: u32, now: Millis) {
        let properties = &connect.properties;
        self.version = connect.version;
        self.expiry = expiry;
        self.keep_alive = connect.keep_alive;
        self.last_heard = now;
        self.maximum_packet_size = properties.maximum_packet_size.map_or(usize::MAX, |size| size as usize);
        self.problem_information = properties.request_problem_information;
        self.will = connect.will.clone().map(Box::new);
        self.authentication = Authentication::of(connect);
        let window = if self.version.is_v5() { properties.receive_maximum } else { u16::MAX };
        let line = Line {
            version: self.version,
            max_packet: self.maximum_packet_size,
            max_out: self.limits.out_bytes,
            max_aliases: properties.topic_alias_maximum.min(self.limits.topic_alias_maximum),
            max_in_flight: self.limits.waiting_bytes,
        };
        self.outbound.begin(line, window.min(self.limits.inflight), self.is_persistent());
        self.inbound.begin();
    }

    /// Whether the session outlives its connection.
    pub fn is_persistent(&self) -> bool {
        self.expiry > 0
    }

    /// Protocol version of the connection.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Messages at QoS 1 and 2 that the client has not acknowledged to the end.
    pub fn in_flight(&self) -> usize {
        self.outbound.in_flight()
    }

    /// Whether another packet may be read: false while too many publishes wait for their acknowledgement.
    pub fn wants_packets(&self) -> bool {
        self.inbound.unanswered() < usize::from(self.limits.unanswered)
    }

    /// A packet from the client.
    pub fn handle_packet(&mut self, packet: Packet, now: Millis, wire: &mut Wire<'_>) {
        self.last_heard = now;
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, now, wire),
            Packet::PubAck(ack) => self.outbound.acknowledged(ack.packet_id, wire),
            Packet::PubRec(ack) if ack.reason >= 0x80 => self.outbound.acknowledged(ack.packet_id, wire),
            Packet::PubRec(ack) => self.outbound.received(ack.packet_id, wire),
            Packet::PubComp(ack) => self.outbound.completed(ack.packet_id, wire),
            Packet::PubRel(ack) => self.handle_pubrel(ack.packet_id, wire),
            Packet::Subscribe(packet) => self.handle_subscribe(packet, wire),
            Packet::Unsubscribe(packet) => wire.commands.push(Command::Unsubscribe(packet)),
            Packet::PingReq => encode::pingresp(wire.out.packet()),
            Packet::Disconnect(packet) => self.handle_disconnect(packet.reason, packet.session_expiry, wire),
            Packet::Connect(_) => close(wire, Goodbye::Malformed(0x82, "a second CONNECT")),
            Packet::Auth(packet) => self.handle_auth(packet, wire),
        }
        self.pump(now, wire);
    }

    fn handle_subscribe(&mut self, packet: Subscribe, wire: &mut Wire<'_>) {
        let parse =
            |(text, _): &(ByteString, SubscribeOptions)| TopicFilter::parse(text, &self.limits.topics);
        let filters = packet.filters.iter().map(parse).collect();
        wire.commands.push(Command::Subscribe { packet, filters });
    }

    fn handle_disconnect(&mut self, reason: u8, expiry: Option<u32>, wire: &mut Wire<'_>) {
        match expiry {
            // A session that ends with its connection cannot be prolonged at the end of it (§3.14.2.2.2).
            Some(seconds) if seconds > 0 && self.expiry == 0 => {
                return close(wire, Goodbye::Malformed(0x82, "session expiry was 0 at CONNECT"));
            }
            Some(seconds) => self.expiry = seconds,
            None => {}
        }
        close(wire, if reason == 0 { Goodbye::ByClient } else { Goodbye::ByClientWithWill });
    }

    /// Whether one more subscription fits.
    pub fn has_room_for(&self, filter: &str) -> bool {
        self.subscriptions.len() < self.limits.subscriptions || self.subscriptions.contains(filter)
    }

    /// Answers a SUBSCRIBE with these codes, and with what there is to say of those that refuse: now, or when the token
    /// is done.
    pub fn subscribed(
        &mut self,
        packet_id: u16,
        codes: Vec<u8>,
        refusals: Refusals,
        token: Option<u64>,
        wire: &mut Wire<'_>,
    ) {
        let reason = refusals.into_reason();
        self.answer(
            Answer { token: token.unwrap_or(0), packet_id, codes, reason, subscribe: true },
            token.is_some(),
            wire,
        );
    }

    /// Answers an UNSUBSCRIBE with these codes: now, or when the token is done.
    pub fn unsubscribed(&mut self, packet_id: u16, codes: Vec<u8>, token: Option<u64>, wire: &mut Wire<'_>) {
        self.answer(
            Answer { token: token.unwrap_or(0), packet_id, codes, reason: None, subscribe: false },
            token.is_some(),
            wire,
        );
    }

    fn answer(&mut self, answer: Answer, wait: bool, wire: &mut Wire<'_>) {
        if wait {
            return self.answers.push(answer);
        }
        let encode = if answer.subscribe { encode::suback } else { encode::unsuback };
        let reason = answer.reason.as_deref().filter(|_| self.problem_information);
        let start = wire.out.len();
        self.shrink_to_fit(wire.out, |out, full| {
            encode(out, self.version, answer.packet_id, &answer.codes, reason.filter(|_| full));
        });
        if wire.out.len() - start > self.maximum_packet_size {
            wire.out.take_back(start);
            close(wire, Goodbye::AnswerTooLarge);
        }
    }

    /// A number for something that has to be waited for.
    pub fn next_token(&mut self) -> u64 {
        self.inbound.next_token()
    }

    /// What the token stood for is done: stored, routed or refused.
    pub fn done(&mut self, token: u64, outcome: Outcome, now: Millis, wire: &mut Wire<'_>) {
        if let Some(at) = self.answers.iter().position(|answer| answer.token == token) {
            let mut answer = self.answers.remove(at);
            if outcome.code >= 0x80 {
                answer.codes.fill(outcome.code);
                answer.reason = Some(outcome.reason.to_string()).filter(|reason| !reason.is_empty());
            }
            self.answer(answer, false, wire);
        } else if !self.forgotten(token, wire) {
            self.publish_done(token, outcome, wire);
        }
        self.pump(now, wire);
    }

    /// Ends the connection: an MQTT 5 client hears why, and which other server to use if there is one (§4.11). What
    /// would make the packet larger than the client takes is left out, the reason first (§3.14.2.2).
    pub fn say_goodbye(&self, goodbye: Goodbye, other_server: Option<&str>, out: &mut OutBuffer) {
        let (true, Some(code)) = (self.version.is_v5(), goodbye.code()) else { return };
        let reason = self.problem_information.then(|| goodbye.text());
        let out = out.packet();
        let start = out.len();
        for (reason, other_server) in [(reason, other_server), (None, other_server), (None, None)] {
            out.truncate(start);
            encode::disconnect(out, code, reason, other_server, None);
            if out.len() - start <= self.maximum_packet_size {
                return;
            }
        }
    }

    /// A message that a subscription of this session matches, at the lower of both qualities of service.
    pub fn deliver(&mut self, fan: &mut Fanout<'_>, to: Delivery<'_>, wire: &mut Wire<'_>) -> Delivered {
        self.outbound.deliver(&self.limits, fan, to, wire)
    }

    /// Starts to read stored messages; the first page has to be asked for in the name of the number given back.
    pub fn attach(&mut self, source: Source, qos: QoS) -> u32 {
        self.outbound.attach(source, qos)
    }

    /// The subscription identifiers that deliveries out of the inbox carry (§3.3.2.3.8).
    pub fn label_inbox(&mut self) {
        if self.attached(Source::Inbox).is_none() {
            return;
        }
        let inbox = format!("u/{}/inbox", self.device.user);
        let covering = self.subscriptions.iter().filter(|subscription| {
            subscription.filter.share.is_none() && topic::matches(&subscription.filter.filter, &inbox)
        });
        self.outbound.label_inbox(covering.filter_map(|subscription| subscription.id).collect());
    }

    /// The number of the reader of a source; 0 if there is none.
    pub fn reader_number(&self, source: Source) -> u32 {
        self.outbound.reader_number(source)
    }

    /// The out buffer is drained: goes on with what waited for that.
    pub fn drained(&mut self, now: Millis, wire: &mut Wire<'_>) {
        self.pump(now, wire);
    }

    /// Whether deliveries wait for acknowledgements or for the out buffer: what can wait elsewhere should.
    pub fn has_waiting(&self) -> bool {
        self.outbound.has_waiting()
    }

    /// Whether something waits for [`Session::drained`].
    pub fn is_held_back(&self) -> bool {
        self.outbound.is_held_back()
    }

    /// Ends reading; what is in flight stays in flight.
    pub fn detach(&mut self, source: Source) {
        self.outbound.detach(source);
    }

    /// At which quality of service a source is read, if it is.
    pub fn attached(&self, source: Source) -> Option<QoS> {
        self.outbound.attached(source)
    }

    /// A stored message.
    pub fn entry(
        &mut self,
        from: (Source, u32),
        entry: Entry,
        fetched: bool,
        now: Millis,
        wire: &mut Wire<'_>,
    ) {
        self.outbound.entry(from.0, from.1, entry, fetched);
        self.pump(now, wire);
    }

    /// The end of a page of stored messages.
    pub fn page(&mut self, from: (Source, u32), next: u64, more: bool, now: Millis, wire: &mut Wire<'_>) {
        self.outbound.page(from.0, from.1, next, more);
        self.pump(now, wire);
    }

    /// Something may have been lost on the spine: read again what comes next, and ask again for what was not answered. A
    /// client whose answers may be lost has to come back and ask itself.
    pub fn behind(&mut self, now: Millis, wire: &mut Wire<'_>) {
        self.outbound.behind(wire);
        self.pump(now, wire);
        if !self.answers.is_empty() || self.inbound.lose_answers() {
            close(wire, Goodbye::Busy);
        }
    }

    /// The bridge remembers that a QoS 2 message arrived.
    pub fn released(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        self.outbound.released(packet_id, wire);
    }

    /// When [`Session::handle_timeout`] wants to be called: at the end of one and a half keep-alive times (§3.1.2.10).
    pub fn poll_timeout(&self) -> Option<Millis> {
        (self.keep_alive > 0).then(|| self.last_heard + Millis::from(self.keep_alive) * 1500)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Millis, wire: &mut Wire<'_>) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            close(wire, Goodbye::KeepAlive);
        }
    }

    fn pump(&mut self, now: Millis, wire: &mut Wire<'_>) {
        self.outbound.pump(&self.device.client, now, wire);
    }

    fn send_ack(&self, kind: AckKind, packet_id: u16, outcome: &Outcome, wire: &mut Wire<'_>) {
        let mut notes = AckNotes::default();
        if self.problem_information && self.version.is_v5() {
            notes.reason_string = (!outcome.reason.is_empty()).then_some(&*outcome.reason);
            notes.user = &outcome.user;
        }
        self.shrink_to_fit(wire.out, |out, full| {
            let notes = if full { notes } else { AckNotes::default() };
            encode::ack(out, self.version, kind, packet_id, outcome.code, &notes);
        });
    }

    /// Encodes a packet in full, or else without reason string and user properties, if it is larger than the client
    /// takes (§3.4.2.2, §3.14.2.2).
    fn shrink_to_fit(&self, out: &mut OutBuffer, encode: impl Fn(&mut BytesMut, bool)) {
        let out = out.packet();
        let start = out.len();
        encode(out, true);
        if out.len() - start > self.maximum_packet_size {
            out.truncate(start);
            encode(out, false);
        }
    }
}

/// How a message reaches a session.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Lower of publish and grant.
    pub qos: QoS,
    /// The retain flag to show.
    pub retain: bool,
    /// Subscription identifiers that matched.
    pub ids: &'a [u32],
    /// The share group in whose name it is delivered.
    pub search: Option<&'a Search>,
}

fn close(wire: &mut Wire<'_>, goodbye: Goodbye) {
    wire.commands.push(Command::Close(goodbye));
}
