//! An MQTT client that remembers over a crash what the specification wants remembered (§4.4): what it sent and nobody
//! acknowledged, with packet identifiers, and the identifiers of QoS 2 messages that it received.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use hubbub_tests::wire::{Packet, ack, puback, subscribe};
use hubbub_tests::{Connect, PATIENCE, Props, Publish, Version};
use serde_json::Value;

use crate::dice::Dice;
use crate::line::{Broken, Line};

/// Publishes without acknowledgement at the same time.
const WINDOW: usize = 16;

/// Messages of one kind, numbered from 1: `{name}-{number}`.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Unique among all.
    pub name: String,
    /// Where to; in one of `topics` topics if that is more than one.
    pub topic: String,
    /// Quality of service.
    pub qos: u8,
    /// To be retained.
    pub retain: bool,
    /// With a `cmid`, so that a repeat is recognised.
    pub cmid: bool,
    /// The last number sent.
    pub sent: u64,
    /// Number and, for chat at MQTT 5, the `seq` that the acknowledgement named.
    pub acknowledged: BTreeMap<u64, Option<u64>>,
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The stream, and the number in it.
    pub stream: String,
    pub number: u64,
    /// As it was delivered.
    pub qos: u8,
    /// For chat.
    pub place: Option<InboxPlace>,
}

/// Where a chat message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPlace {
    pub n: u64,
    pub cid: String,
    pub seq: u64,
    pub mid: String,
}

/// A client with its memory.
pub struct Device {
    pub connect: Connect,
    pub subscriptions: Vec<(String, u8)>,
    pub streams: Vec<Stream>,
    /// Goes and comes back in the middle of a round.
    pub restless: bool,
    /// Bytes that are added to each payload.
    pub ballast: usize,
    /// Everything that arrived, in order, without the QoS 2 messages that were recognised as repeats.
    pub heard: Vec<Heard>,
    /// Messages that came again.
    pub repeats: u64,
    dice: Dice,
    last_id: u16,
    unacknowledged: VecDeque<Sent>,
    /// QoS 2, between PUBREC and PUBCOMP, in the order of the PUBRECs.
    releasing: VecDeque<u16>,
    /// QoS 2 messages that came, between PUBLISH and PUBREL.
    received: BTreeMap<u16, Vec<u8>>,
    /// The highest number of each stream, and `n` of the inbox, that came.
    seen: BTreeMap<String, u64>,
    /// The same, of what was acknowledged on this connection, or is settled.
    taken: BTreeMap<String, u64>,
    /// Of those, what the hub certainly has on disk: it acknowledged something that was sent later.
    settled: BTreeMap<String, u64>,
    /// `n` of the last inbox message on this connection.
    last_n: u64,
    newly_acknowledged: u64,
}

struct Sent {
    message: Publish,
    stream: usize,
    number: u64,
    /// What was taken when it was sent, if its acknowledgement says something about that.
    taken: Option<BTreeMap<String, u64>>,
}

/// The name under which `n` is kept beside the streams.
const INBOX: &str = "inbox";

impl Device {
    pub fn new(connect: Connect, seed: u64) -> Device {
        Device {
            connect: connect.persistent(),
            subscriptions: Vec::new(),
            streams: Vec::new(),
            restless: false,
            ballast: 0,
            heard: Vec::new(),
            repeats: 0,
            dice: Dice::new(seed),
            last_id: 0,
            unacknowledged: VecDeque::new(),
            releasing: VecDeque::new(),
            received: BTreeMap::new(),
            seen: BTreeMap::new(),
            taken: BTreeMap::new(),
            settled: BTreeMap::new(),
            last_n: 0,
            newly_acknowledged: 0,
        }
    }

    /// The client id.
    pub fn name(&self) -> &str {
        &self.connect.client_id
    }

    /// Makes its session: connects for the first time, subscribes, and leaves. Whoever has nothing to subscribe to
    /// subscribes to something that nobody publishes, because SUBACK says that the session is on disk.
    pub fn moves_in(&mut self, address: SocketAddr) {
        let mut line = Line::open(address, &self.connect).expect("the hub is there");
        assert!(!line.session_present, "{}: a first connection", self.name());
        let mut filters: Vec<_> = self.subscriptions.iter().map(|(filter, qos)| (&**filter, *qos)).collect();
        if filters.is_empty() {
            filters.push(("nothing", 1));
        }
        line.put(&subscribe(self.connect.version, 1, &filters));
        let codes = line.wait_for(|packet| matches!(packet, Packet::Codes { .. }));
        match codes.expect("the hub is there") {
            Packet::Codes { codes, .. } => assert!(codes.iter().all(|code| *code <= 2), "SUBACK {codes:?}"),
            other => panic!("{other:?} is not a SUBACK"),
        }
        line.leave();
    }

    /// Is connected, publishes and takes what comes, until the hub is gone. `progress` is told how many publishes were
    /// acknowledged.
    pub fn lives(&mut self, address: SocketAddr, mut progress: impl FnMut(u64)) {
        while let Ok(mut line) = self.returns(address) {
            while self.turn(&mut line, true).is_ok() {
                progress(std::mem::take(&mut self.newly_acknowledged));
                if self.restless && self.dice.one_in(20) {
                    break;
                }
            }
            progress(std::mem::take(&mut self.newly_acknowledged));
            match self.restless && self.dice.one_in(2) {
                true => line.leave(),
                false => drop(line),
            }
        }
    }

    /// Connects once more, publishes nothing new, and goes on until `done` and everything sent is acknowledged.
    ///
    /// # Panics
    /// If the hub goes away, or if it takes too long.
    pub fn finishes(&mut self, address: SocketAddr, done: impl Fn(&Device) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut line = self.returns(address).expect("the hub is there");
        while !(self.owes_nothing() && done(self)) {
            self.turn(&mut line, false).expect("the hub stays");
            assert!(Instant::now() < deadline, "{} waits in vain: {}", self.name(), self.state());
        }
        line.flush().expect("the hub stays");
        line.leave();
    }

    fn state(&self) -> String {
        let ids: Vec<u16> = self.unacknowledged.iter().map(|sent| sent.message.id).collect();
        format!(
            "not acknowledged {ids:?}, no PUBCOMP {:?}, no PUBREL {:?}, heard {}, last {:?}",
            self.releasing,
            self.received.keys(),
            self.heard.len(),
            self.heard.last()
        )
    }

    fn owes_nothing(&self) -> bool {
        self.unacknowledged.is_empty() && self.releasing.is_empty() && self.received.is_empty()
    }

    /// Connects again and sends again, in the old order, what nobody acknowledged (§4.4).
    fn returns(&mut self, address: SocketAddr) -> Result<Line, Broken> {
        let mut line = Line::open(address, &self.connect)?;
        assert!(
            line.session_present || self.connect.version == Version::V31,
            "{} was forgotten",
            self.name()
        );
        self.last_n = 0;
        // The acknowledgements of the last connection may not have arrived.
        self.taken = self.settled.clone();
        for sent in &mut self.unacknowledged {
            sent.message.dup = true;
            // A repeat may be answered from memory, so the answer tells nothing about what came before it.
            sent.taken = None;
            line.put(&sent.message.bytes(self.connect.version));
        }
        for id in &self.releasing {
            line.put(&puback(ack::PUBREL, *id));
        }
        line.flush()?;
        Ok(line)
    }

    fn turn(&mut self, line: &mut Line, publishes: bool) -> Result<(), Broken> {
        while publishes && !self.streams.is_empty() && self.in_flight() < WINDOW {
            let sent = self.next_publish();
            line.put(&sent.message.bytes(self.connect.version));
            self.unacknowledged.push_back(sent);
        }
        for packet in line.glance()? {
            self.handle(line, packet);
        }
        line.flush()
    }

    fn in_flight(&self) -> usize {
        self.unacknowledged.len() + self.releasing.len()
    }

    fn next_publish(&mut self) -> Sent {
        let index = self.dice.below(self.streams.len() as u64) as usize;
        let id = self.free_id();
        let stream = &mut self.streams[index];
        stream.sent += 1;
        let number = stream.sent;
        let text = format!("{}-{number}", stream.name);
        let mut message = Publish::new(&stream.topic, text.clone()).qos(stream.qos).id(id);
        message.retain = stream.retain;
        if self.ballast > 0 {
            message.payload.extend(std::iter::repeat_n(b' ', self.ballast));
        }
        if stream.cmid {
            message.props = Props::default().with_user("cmid", &text);
        }
        let goes_by_the_disk = stream.topic.starts_with("dm/");
        Sent { message, stream: index, number, taken: goes_by_the_disk.then(|| self.taken.clone()) }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = self.last_id;
            let taken = self.unacknowledged.iter().any(|sent| sent.message.id == id);
            if !taken && !self.releasing.contains(&id) {
                return id;
            }
        }
    }

    fn handle(&mut self, line: &mut Line, packet: Packet) {
        match packet {
            Packet::Publish(message) => self.hears(line, &message),
            Packet::Ack { kind: ack::PUBACK, id, code, props } => self.acknowledged(1, id, code, &props),
            Packet::Ack { kind: ack::PUBREC, id, code, props } => {
                self.acknowledged(2, id, code, &props);
                self.releasing.push_back(id);
                line.put(&puback(ack::PUBREL, id));
            }
            Packet::Ack { kind: ack::PUBCOMP, id, .. } => {
                let at = self.releasing.iter().position(|releasing| *releasing == id);
                let at = at.unwrap_or_else(|| panic!("{}: PUBCOMP {id}, which nobody released", self.name()));
                self.releasing.remove(at);
            }
            Packet::Ack { kind: ack::PUBREL, id, .. } => {
                self.received.remove(&id);
                line.put(&puback(ack::PUBCOMP, id));
            }
            other => panic!("{} hears {other:?}", self.name()),
        }
    }

    fn acknowledged(&mut self, qos: u8, id: u16, code: u8, props: &Props) {
        assert!(code < 0x80, "{}: packet {id} is refused with 0x{code:02x}", self.name());
        let at = self.unacknowledged.iter().position(|sent| sent.message.id == id);
        let at =
            at.unwrap_or_else(|| panic!("{}: packet {id} is acknowledged and was not sent", self.name()));
        // Acknowledgements come in the order of the publishes (§4.6).
        assert_eq!(at, 0, "{}: packet {id} is acknowledged before older ones", self.name());
        let Some(sent) = self.unacknowledged.pop_front() else { return };
        assert_eq!(sent.message.qos, qos, "{}: the acknowledgement of packet {id}", self.name());
        let seq = props.user("seq").map(|seq| seq.parse().unwrap());
        self.streams[sent.stream].acknowledged.insert(sent.number, seq);
        self.settled.extend(sent.taken.into_iter().flatten());
        self.newly_acknowledged += 1;
    }

    fn hears(&mut self, line: &mut Line, message: &Publish) {
        match message.qos {
            0 => panic!("{}: everything here is stored: {message:?}", self.name()),
            1 => line.put(&puback(ack::PUBACK, message.id)),
            _ => {
                line.put(&puback(ack::PUBREC, message.id));
                if let Some(earlier) = self.received.insert(message.id, message.payload.clone()) {
                    assert!(
                        earlier == message.payload,
                        "{}: identifier {} names another message before PUBREL",
                        self.name(),
                        message.id
                    );
                    assert!(message.dup, "{}: comes again without DUP: {message:?}", self.name());
                    self.repeats += 1;
                    return;
                }
            }
        }
        let heard = read(message);
        let (key, position) = match &heard.place {
            Some(place) => (INBOX.to_owned(), place.n),
            None => (heard.stream.clone(), heard.number),
        };
        let settled = self.settled.get(&key).copied().unwrap_or(0);
        assert!(
            position > settled,
            "{}: {key} goes back to {position}, everything up to {settled} was taken",
            self.name()
        );
        if heard.place.is_some() {
            assert!(position > self.last_n, "{}: n {position} comes after {}", self.name(), self.last_n);
            self.last_n = position;
        }
        if self.seen.get(&key).is_some_and(|seen| position <= *seen) {
            // In a feed it may be another message: a publish that its sender repeated.
            assert!(message.dup || heard.place.is_none(), "{}: again without DUP: {message:?}", self.name());
            self.repeats += 1;
        } else {
            self.seen.insert(key.clone(), position);
        }
        self.taken.insert(key, position);
        self.heard.push(heard);
    }
}

fn read(message: &Publish) -> Heard {
    let text = message.text();
    if !message.topic.starts_with("u/") {
        return named(text.trim_end(), message.qos, None);
    }
    let envelope: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let number = |field: &str| envelope[field].as_u64().unwrap_or_else(|| panic!("{field} in {envelope}"));
    let word = |field: &str| envelope[field].as_str().unwrap_or_else(|| panic!("{field} in {envelope}"));
    let place = InboxPlace {
        n: number("n"),
        cid: word("cid").to_owned(),
        seq: number("seq"),
        mid: word("mid").to_owned(),
    };
    named(word("body").trim_end(), message.qos, Some(place))
}

fn named(text: &str, qos: u8, place: Option<InboxPlace>) -> Heard {
    let (stream, number) =
        text.rsplit_once('-').unwrap_or_else(|| panic!("{text:?} was not sent by anybody"));
    Heard { stream: stream.to_owned(), number: number.parse().unwrap(), qos, place }
}
