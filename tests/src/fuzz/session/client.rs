//! A client that knows its rights: every packet that a session puts into the out buffer is held against the specification.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hubbub_broker::codec::{self, Connect};

use super::app::App;
use super::parcel;
use crate::wire::{Packet, Publish, Value, Version, ack, take_packet};

/// More than the fixed parts of a PUBLISH here: a message may be too large for a packet that has no room for these.
const OVERHEAD: usize = 100;

/// Packet identifiers from here on are of messages that the server does not know any more after a crash.
const FIRST_TRANSIENT: u16 = 0x8000;

/// What the client was promised, and what it keeps.
#[derive(Debug, Default)]
pub(super) struct Client {
    link: Link,
    flights: BTreeMap<u16, Flight>,
    /// Counts the flights.
    flown: u64,
    last_queued: u32,
    /// Whether the server may take what it never sent for something that it sent before a restart.
    crashed: bool,
    app: App,
    /// QoS 2 publishes of the client that must not be forwarded again, with the token of the session until it is done.
    held: BTreeMap<u16, Option<u64>>,
    /// Packet identifiers of QoS 2 publishes that the client has not done with, and how many PUBCOMPs are to come that are
    /// about an earlier one.
    in_use: BTreeMap<u16, usize>,
    /// Packet identifiers that the client wrongly took for free: a PUBREL may come.
    mistaken: BTreeSet<u16>,
    /// One that has to be forwarded now: its packet identifier was free.
    new: Option<u16>,
}

/// What holds for one connection.
#[derive(Debug, Default)]
struct Link {
    version: Option<Version>,
    maximum_packet_size: usize,
    /// QoS 1 and 2 messages that the client takes at once.
    quota: usize,
    topic_alias_maximum: u16,
    aliases: BTreeMap<u16, String>,
    /// PUBACK and PUBREC that the client waits for, in their order (§4.6).
    owed: VecDeque<(u8, u16)>,
    /// PUBREL that were not answered.
    releases: Vec<u16>,
    /// SUBSCRIBE and UNSUBSCRIBE that were not answered, with the number of filters.
    subscribes: Vec<(u16, usize)>,
    pings: usize,
    /// PUBREC for nothing: PUBREL is the answer.
    strays: Vec<u16>,
    /// Order of the flight that was sent again last.
    resent: u64,
}

/// A QoS 1 or 2 message from the server that is not done with.
#[derive(Debug, Clone, Copy)]
struct Flight {
    number: u32,
    qos: u8,
    stage: Stage,
    order: u64,
    /// Whether this connection has seen its PUBLISH.
    here: bool,
    /// Whether this connection has heard of it, so that the client has something to answer.
    heard: bool,
    /// Whether the server may have forgotten about it: it was too large for a connection.
    dropped: bool,
    /// Whether the server may not know that it was sent.
    crashed: bool,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Published,
    Received,
    Releasing,
}

impl Flight {
    /// One of which there is nothing but the packet identifier.
    fn releasing() -> Flight {
        Flight {
            number: 0,
            qos: 2,
            stage: Stage::Releasing,
            order: 0,
            here: false,
            heard: true,
            dropped: false,
            crashed: true,
            len: 0,
        }
    }
}

impl Client {
    /// A new connection, with what its CONNECT promised.
    pub fn connect(&mut self, connect: &Connect, inflight: u16, topic_alias_maximum: u16) {
        let properties = &connect.properties;
        let version = match connect.version {
            codec::Version::V31 => Version::V31,
            codec::Version::V311 => Version::V311,
            codec::Version::V5 => Version::V5,
        };
        self.link = Link {
            version: Some(version),
            maximum_packet_size: properties.maximum_packet_size.map_or(usize::MAX, |size| size as usize),
            quota: usize::from(properties.receive_maximum.min(inflight)),
            topic_alias_maximum: properties.topic_alias_maximum.min(topic_alias_maximum),
            ..Link::default()
        };
        self.in_use.values_mut().for_each(|earlier| *earlier = 0);
        for flight in self.flights.values_mut() {
            (flight.here, flight.heard) = (false, false);
            flight.dropped |= flight.len + OVERHEAD > self.link.maximum_packet_size;
        }
    }

    /// The session is over, and with it what both sides knew.
    pub fn forget(&mut self) {
        let app = std::mem::take(&mut self.app).forgotten();
        *self = Client { app, ..Client::default() };
    }

    /// The server starts anew from its disk.
    pub fn server_crashed(&mut self, inbound: &BTreeSet<u16>, released: &BTreeSet<u16>) {
        self.crashed = true;
        self.held.retain(|packet_id, _| inbound.contains(packet_id));
        self.held.extend(inbound.iter().map(|packet_id| (*packet_id, None)));
        self.flights.retain(|packet_id, _| *packet_id < FIRST_TRANSIENT);
        self.app.forget_from(FIRST_TRANSIENT);
        self.flights.values_mut().for_each(|flight| flight.crashed = true);
        for packet_id in released {
            let flight = Flight { heard: false, ..Flight::releasing() };
            self.flights.entry(*packet_id).or_insert(flight);
        }
        self.last_queued = 0;
    }

    /// Packet identifiers of what is not done with.
    pub fn in_flight(&self) -> Vec<u16> {
        self.flights.keys().copied().collect()
    }

    /// First byte of the acknowledgement that is next for a packet identifier, if it is the client's turn.
    pub fn next_ack(&self, packet_id: u16) -> Option<u8> {
        let flight = self.flights.get(&packet_id).filter(|flight| flight.heard)?;
        match (flight.stage, flight.qos) {
            (Stage::Published, 1) => Some(ack::PUBACK),
            (Stage::Published, _) => Some(ack::PUBREC),
            (Stage::Received, _) => None,
            (Stage::Releasing, _) => Some(ack::PUBCOMP),
        }
    }

    /// Whether the application got a message, or has only itself to blame.
    pub fn got(&self, number: u32) -> bool {
        self.app.got(number)
    }

    /// A message went away unsent. If that was so only after a crash, its packet identifier is free for others.
    pub fn goes_without(&mut self, number: u32) {
        self.flights.retain(|_, flight| flight.number != number || !flight.crashed);
        self.app.goes_without(number);
    }

    /// Whether a message may be too large for this connection.
    pub fn may_refuse(&self, len: usize) -> bool {
        len + OVERHEAD > self.link.maximum_packet_size
    }

    /// A QoS 2 publish of the client is on its way to others.
    pub fn is_forwarded(&mut self, packet_id: u16, token: u64) {
        self.new = None;
        let held = self.held.insert(packet_id, Some(token));
        assert_eq!(held, None, "{packet_id} was forwarded already");
    }

    /// It has arrived, or was refused.
    pub fn is_answered(&mut self, token: u64, code: u8) {
        self.held.retain(|_, held| *held != Some(token) || code < 0x80);
        self.held.values_mut().filter(|held| **held == Some(token)).for_each(|held| *held = None);
    }

    /// Nobody can tell whether it has arrived: it may be forwarded again.
    pub fn answers_are_lost(&mut self) {
        self.held.retain(|_, held| held.is_none());
    }

    /// The client sends a packet.
    pub fn says(&mut self, packet: &codec::Packet) {
        use codec::{Packet, QoS};
        match packet {
            Packet::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => self.link.owed.push_back((ack::PUBACK, publish.packet_id)),
                QoS::ExactlyOnce => self.publishes(publish.packet_id),
            },
            Packet::PubRel(ack) => {
                self.link.releases.push(ack.packet_id);
                self.held.remove(&ack.packet_id);
            }
            Packet::PubAck(ack) => self.takes(ack.packet_id, 1),
            Packet::PubRec(ack) if ack.reason >= 0x80 => self.takes(ack.packet_id, 0),
            Packet::PubRec(ack) => self.receives(ack.packet_id),
            Packet::PubComp(ack) => {
                let packet_id = ack.packet_id;
                if self.flights.get(&packet_id).is_some_and(|flight| flight.stage == Stage::Releasing) {
                    self.flights.remove(&packet_id);
                }
            }
            Packet::Subscribe(subscribe) => {
                self.link.subscribes.push((subscribe.packet_id, subscribe.filters.len()))
            }
            Packet::Unsubscribe(packet) => {
                self.link.subscribes.push((packet.packet_id, packet.filters.len()))
            }
            Packet::PingReq => self.link.pings += 1,
            _ => {}
        }
    }

    fn publishes(&mut self, packet_id: u16) {
        // To say it again before the answer on the same connection is a mistake (§4.4): either may have got the answer that comes.
        let is_again = self.link.owed.contains(&(ack::PUBREC, packet_id));
        self.link.owed.push_back((ack::PUBREC, packet_id));
        if self.uses(packet_id) && !is_again {
            self.new = Some(packet_id);
        }
    }

    /// A packet identifier is in use until PUBCOMP; gives back whether it was free.
    fn uses(&mut self, packet_id: u16) -> bool {
        let Entry::Vacant(free) = self.in_use.entry(packet_id) else { return false };
        free.insert(self.link.releases.iter().filter(|release| **release == packet_id).count());
        true
    }

    /// Nothing more will become of what the client said last.
    pub fn is_handled(&mut self, online: bool) {
        assert!(self.new.take().is_none() || !online, "a new publish was taken for a repeat");
    }

    /// PUBREC. To say it again on another connection before the server has spoken of the message is a mistake (§4.4).
    fn receives(&mut self, packet_id: u16) {
        let flight = self.flights.get_mut(&packet_id);
        if let Some(flight) = flight.as_ref().filter(|flight| !flight.heard) {
            self.app.excuses(flight.number);
        }
        match flight {
            Some(flight) if flight.stage == Stage::Published => flight.stage = Stage::Received,
            _ => self.link.strays.push(packet_id),
        }
    }

    /// A packet identifier is free again at once, as is right at one quality of service only.
    fn takes(&mut self, packet_id: u16, right_at: u8) {
        if let Some(flight) = self.flights.get(&packet_id).filter(|flight| flight.stage == Stage::Published) {
            if flight.qos != right_at || !flight.heard {
                self.app.excuses(flight.number);
                self.app.is_released(packet_id);
                self.mistaken.insert(packet_id);
            }
            self.flights.remove(&packet_id);
        }
    }

    /// The session has put these bytes into the out buffer.
    pub fn is_sent(&mut self, bytes: &[u8]) {
        for (packet, len) in self.packets(bytes) {
            assert!(
                len <= self.link.maximum_packet_size,
                "{packet:?} is larger than {}",
                self.link.maximum_packet_size
            );
            match packet {
                Packet::Publish(publish) => self.is_sent_publish(publish, len),
                Packet::Ack { kind: kind @ (ack::PUBACK | ack::PUBREC), id, .. } => {
                    assert_eq!(self.link.owed.pop_front(), Some((kind, id)), "each once and in order");
                }
                Packet::Ack { kind: ack::PUBCOMP, id, .. } => {
                    take(&mut self.link.releases, |release| *release == id)
                }
                Packet::Ack { id, .. } => self.is_released(id),
                Packet::Codes { id, codes, .. } => take(&mut self.link.subscribes, |(subscribe, filters)| {
                    *subscribe == id && (codes.len() == *filters || codes.is_empty())
                }),
                Packet::PingResp => {
                    self.link.pings = self.link.pings.checked_sub(1).expect("a PINGRESP for each PINGREQ")
                }
                Packet::Disconnect { .. } => {}
                Packet::ConnAck { .. } | Packet::Auth { .. } => panic!("{packet:?}"),
            }
        }
    }

    fn packets(&self, bytes: &[u8]) -> Vec<(Packet, usize)> {
        let version = self.link.version.expect("nothing is sent before CONNECT");
        let mut rest = bytes.to_vec();
        let mut packets = Vec::new();
        while !rest.is_empty() {
            let before = rest.len();
            let packet = take_packet(&mut rest, version).expect("whole packets");
            packets.push((packet, before - rest.len()));
        }
        packets
    }

    fn is_sent_publish(&mut self, publish: Publish, len: usize) {
        self.is_aliased(&publish);
        if publish.qos == 0 {
            return assert!(!publish.dup, "DUP at QoS 0");
        }
        let number = parcel::number(&publish.payload);
        let known = self.flights.get(&publish.id).copied();
        let old = known.filter(|old| !old.dropped || old.qos == 2 || old.number == number);
        if let (Some(dropped), None) = (known, old) {
            // To the server that message was done with when it found it too large (§3.1.2.11.4).
            self.app.goes_without(dropped.number);
        }
        match old {
            Some(old) => {
                assert!(!old.here, "{} is in flight already", publish.id);
                assert_eq!(old.number, number, "another message under the packet identifier {}", publish.id);
                assert!(publish.dup || old.crashed, "sent again without DUP");
                assert!(old.stage == Stage::Published || old.crashed, "PUBLISH after PUBREC");
                assert!(old.order > self.link.resent || old.crashed, "sent again in another order");
                self.link.resent = if old.crashed { self.link.resent } else { old.order };
            }
            None => {
                assert!(!publish.dup || self.crashed, "DUP on what was never sent: {}", publish.id);
                self.is_in_turn(publish.id, number);
            }
        }
        self.flown += 1;
        let order = old.filter(|old| !old.crashed).map_or(self.flown, |old| old.order);
        let flight = Flight {
            number,
            qos: publish.qos,
            stage: Stage::Published,
            order,
            here: true,
            heard: true,
            dropped: false,
            crashed: false,
            len,
        };
        self.flights.insert(publish.id, flight);
        self.mistaken.remove(&publish.id);
        let here = self.flights.values().filter(|flight| flight.here).count();
        assert!(here <= self.link.quota, "{here} in flight of {}", self.link.quota);
    }

    /// What an earlier connection left comes first, and the queue in its order.
    fn is_in_turn(&mut self, packet_id: u16, number: u32) {
        let left = |flight: &&Flight| {
            !flight.here && !flight.dropped && !flight.crashed && flight.stage == Stage::Published
        };
        let left = self.flights.values().find(left);
        assert!(left.is_none(), "sent before what is to be sent again: {left:?}");
        if packet_id < FIRST_TRANSIENT {
            assert!(number > self.last_queued, "the queue is out of order");
            self.last_queued = number;
        }
    }

    fn is_aliased(&mut self, publish: &Publish) {
        if let Some(Value::Short(alias)) = publish.props.get(0x23) {
            assert!((1..=self.link.topic_alias_maximum).contains(alias), "topic alias {alias}");
            if !publish.topic.is_empty() {
                self.link.aliases.insert(*alias, publish.topic.clone());
            }
            assert!(self.link.aliases.contains_key(alias), "unknown topic alias {alias}");
        } else {
            assert!(!publish.topic.is_empty(), "neither topic nor alias");
        }
    }

    fn is_released(&mut self, packet_id: u16) {
        // Nobody knows whether it was sent before the crash, and a message of that number may have been too large since.
        let unsure = self.crashed && packet_id < FIRST_TRANSIENT || self.mistaken.contains(&packet_id);
        match self.flights.get_mut(&packet_id) {
            // What is not sent again counts as received: the client may have it (§4.3.3).
            Some(flight)
                if flight.stage != Stage::Published
                    || flight.qos == 2 && !flight.here && (flight.dropped || flight.crashed) =>
            {
                (flight.stage, flight.heard) = (Stage::Releasing, true);
            }
            _ if self.link.strays.contains(&packet_id) => {
                take(&mut self.link.strays, |stray| *stray == packet_id);
            }
            other if unsure && other.as_ref().is_none_or(|flight| flight.dropped && !flight.here) => {
                self.flights.insert(packet_id, Flight::releasing());
            }
            _ => take(&mut self.link.strays, |stray| *stray == packet_id),
        }
    }

    /// The client reads what was sent, and its application gets the messages.
    pub fn reads(&mut self, bytes: &[u8]) {
        for (packet, _) in self.packets(bytes) {
            match packet {
                Packet::Publish(publish) => {
                    self.app.gets(&publish);
                    let number = parcel::number(&publish.payload);
                    if self.flights.get(&publish.id).is_none_or(|flight| flight.number != number) {
                        // The client took the identifier for free before it had read this.
                        self.app.is_released(publish.id);
                    }
                }
                Packet::Ack { kind: ack::PUBREL, id, .. } => self.app.is_released(id),
                Packet::Ack { kind: ack::PUBREC, id, code: 0x80.., .. } => self.is_refused(id),
                // Behind a refusal if the client said it twice.
                Packet::Ack { kind: ack::PUBREC, id, .. } => drop(self.uses(id)),
                Packet::Ack { kind: ack::PUBCOMP, id, .. } => self.completes(id),
                _ => {}
            }
        }
    }

    /// A packet identifier is free again, unless the client wrongly said it a second time and waits for that answer.
    fn is_refused(&mut self, packet_id: u16) {
        self.in_use.remove(&packet_id);
        if self.link.owed.contains(&(ack::PUBREC, packet_id)) {
            self.uses(packet_id);
        }
    }

    fn completes(&mut self, packet_id: u16) {
        match self.in_use.get_mut(&packet_id) {
            Some(earlier @ 1..) => *earlier -= 1,
            _ => drop(self.in_use.remove(&packet_id)),
        }
    }
}

/// Takes the one that fits out of a list.
///
/// # Panics
/// If none does: nobody asked for it.
fn take<T: std::fmt::Debug>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool) {
    let at = list.iter().position(fits);
    list.remove(at.unwrap_or_else(|| panic!("an answer to nothing; waiting are {list:?}")));
}
