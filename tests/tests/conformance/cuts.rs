//! Whole conversations, cut anywhere: split, byte by byte, merged, cut off. The answers are the same bytes as without a cut,
//! and a healthy client on the same edge never notices.
//!
//! The conversation is one client that publishes to itself, so every answer follows from its packets alone: packet
//! identifiers of the server begin at 0x8000, and nothing waits for the disk. Cases, in all versions together:
//!
//! | way | cases |
//! |---|---|
//! | split in two at every byte | 1008 over TCP, 1008 in WebSocket frames |
//! | cut off at every byte, with and without reading the answers | 1014 and 1011 |
//! | byte by byte, merged, two at once, in pieces of every size | 3, 48, 3, 39 |
//! | WebSocket: each cut of upgrade and frames, each end of frames, frames of four sizes, fragments of three | see [`crate::cuts_websocket`] |
//!
//! With the 357 malformed packets, each in four ways ([`crate::malformed`]), that is more than 7000.

use std::thread;

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Client, Connect, Hub, Publish, Settings, Version};

use crate::line::Line;
use crate::notation::{self, Ids};

/// What the client says, each with what it hears.
const SCRIPT: &str = "
    > CONNECT 0e 003c {11 00000000 21 0010 22 0002 26 <k> <v>} <cut> {01 01 03 <text> 26 <k> <v>} <cut/will> <gone>
    < 20 ~ 00 00 {*}
    > 82 ~ 0001 {0b 07 26 <k> <v>} <cut/t> 02 <cut/+/聊天> 00
    < 90 ~ 0001 {} 02 00
    > 30 ~ <cut/t> {01 01 23 0001} 'zero'
    < 30 ~ <cut/t> {*} 'zero'
    > 32 ~ [0000] (<cut/t>) 0001 {23 0001 26 <k> <v>} 'LONG'
    < 32 ~ [0000] (<cut/t>) 8000 {*} 'LONG'
    < 40 02 0001
    > 34 ~ <cut/t> 0002 {08 <r> 09 0001 ff} 'two'
    < 34 ~ [0000] (<cut/t>) 8001 {*} 'two'
    < 50 02 0002
    > 40 ~ 8000 [00] {1f <taken>}
    > 62 ~ 0002 [00] {26 <k> <v>}
    < 70 02 0002
    > 50 02 8001
    < 62 02 8001
    > 70 ~ 8001 [00] {}
    > c0 00
    < d0 00
    > a2 ~ 0003 {26 <k> <v>} <cut/t> <cut/none>
    < b0 ~ 0003 {} [00 11]
    > e0 ~ [00] {11 00000000 1f <bye>}
";

/// A conversation as it goes without a cut.
pub struct Conversation {
    /// All that the client says.
    pub said: Vec<u8>,
    /// All that it hears.
    pub heard: Vec<u8>,
    /// After so many bytes said, so many are heard.
    due: Vec<(usize, usize)>,
}

impl Conversation {
    /// Goes through it packet by packet.
    pub fn learn(hub: &Hub, version: Version) -> Conversation {
        let mut conversation = Conversation { said: Vec::new(), heard: Vec::new(), due: Vec::new() };
        let (mut line, mut ids) = (Line::tcp(hub), Ids::new());
        let script = SCRIPT.replace("LONG", &"long".repeat(40));
        for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
            match step.split_at(1) {
                (">", text) => {
                    let packet = notation::bytes(text, version, &ids);
                    line.sends(&packet);
                    conversation.said.extend(packet);
                    conversation.due.push((conversation.said.len(), conversation.heard.len()));
                }
                (_, text) => {
                    let packet = line.packet();
                    assert!(notation::matches(text, version, &packet, &mut ids), "{text}: {packet:02x?}");
                    conversation.heard.extend(packet);
                    conversation.due.last_mut().unwrap().1 = conversation.heard.len();
                }
            }
        }
        assert!(line.rest().is_empty(), "the end");
        conversation
    }

    /// What is heard after so many bytes.
    pub fn due(&self, said: usize) -> &[u8] {
        let due = self.due.iter().take_while(|(bytes, _)| *bytes <= said).last();
        &self.heard[..due.map_or(0, |(_, heard)| *heard)]
    }

    /// The same of a client, and about a topic, of another name.
    fn called(&self, name: &[u8; 3]) -> Conversation {
        let (said, heard) = (renamed(&self.said, name), renamed(&self.heard, name));
        Conversation { said, heard, due: self.due.clone() }
    }

    /// Where each packet ends.
    pub fn ends(&self) -> impl Iterator<Item = usize> {
        self.due.iter().map(|(said, _)| *said)
    }

    /// Whether a client that is lost after so many bytes leaves a will: it said CONNECT, and not yet goodbye.
    pub fn leaves_a_will(&self, said: usize) -> bool {
        said >= self.ends().next().unwrap() && said < self.said.len()
    }
}

/// A client that is served all the time. Its round trip also is a fence: it shares its edge with the others, so what they
/// wrote before has been read when it is through.
pub struct Healthy(Client);

impl Healthy {
    /// Connects.
    pub fn to(hub: &Hub) -> Healthy {
        let mut client = hub.client(Connect::new(Version::V5, "healthy"));
        client.subscribe("healthy/t", 0);
        client.subscribe("cut/will", 1);
        Healthy(client)
    }

    /// Sends itself a message.
    pub fn is_served(&mut self) {
        self.0.publish(Publish::new("healthy/t", "round and round"));
        self.0.receives_on("healthy/t");
    }

    /// Sees that many wills since it looked last, and whatever else it does is served.
    pub fn sees_wills(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.0.receives_on("cut/will").text(), "gone");
        }
        self.is_served();
        assert_eq!(self.0.waiting_on("cut/will"), [""; 0], "a will too many");
    }
}

/// One edge, so that everybody waits for the same one.
pub fn one_edge() -> Hub {
    Settings::dev().set("store.engine", "memory").set("server.edges", "1").set("log.level", "info").start()
}

#[test]
fn split_at_every_byte_it_is_answered_as_if_whole() {
    let (hub, mut splits) = (one_edge(), 0);
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        for cut in 1..conversation.said.len() {
            let mut socket = hub.socket();
            let (first, second) = conversation.said.split_at(cut);
            socket.sends(first);
            healthy.is_served();
            socket.hears(conversation.due(cut)).sends(second);
            let rest = socket.rest();
            assert_eq!(rest, conversation.heard[conversation.due(cut).len()..], "{version:?}, cut at {cut}");
            splits += 1;
        }
    }
    healthy.sees_wills(0);
    assert_eq!(splits, SPLITS);
}

#[test]
fn byte_by_byte_it_is_answered_as_if_whole() {
    let hub = one_edge();
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        let mut socket = hub.socket();
        for byte in &conversation.said {
            socket.sends([*byte]);
            healthy.is_served();
        }
        assert_eq!(socket.rest(), conversation.heard, "{version:?}");
    }
    healthy.sees_wills(0);
}

/// With several edges, so that what came along with a CONNECT moves to another one.
#[test]
fn merged_in_one_write_it_is_answered_as_if_in_many() {
    let hub = Settings::dev().set("store.engine", "memory").set("server.edges", "4").start();
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        for _ in 0..16 {
            let mut socket = hub.socket();
            assert_eq!(socket.sends(&conversation.said).rest(), conversation.heard, "{version:?}");
            healthy.is_served();
        }
    }
    healthy.sees_wills(0);
}

#[test]
fn two_conversations_cut_into_each_other_do_not_mix() {
    let hub = one_edge();
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        let other = conversation.called(b"tuc");
        let mut sockets = [hub.socket(), hub.socket()];
        for (one, two) in conversation.said.iter().zip(&other.said) {
            sockets[0].sends([*one]);
            sockets[1].sends([*two]);
            healthy.is_served();
        }
        let [mut one, mut two] = sockets;
        assert_eq!((one.rest(), two.rest()), (conversation.heard, other.heard), "{version:?}");
    }
    healthy.sees_wills(0);
}

#[test]
fn cut_off_at_every_byte_it_is_answered_up_to_there_and_its_will_is_published() {
    let (hub, mut ends) = (one_edge(), 0);
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        for cut in 0..=conversation.said.len() {
            let mut socket = hub.socket();
            socket.sends(&conversation.said[..cut]).half_closes();
            assert_eq!(socket.rest(), conversation.due(cut), "{version:?}, cut off at {cut}");
            healthy.sees_wills(usize::from(conversation.leaves_a_will(cut)));
            ends += 1;
        }
    }
    hub.is_healthy();
    assert_eq!(ends, SPLITS + 2 * VERSIONS.len());
}

#[test]
fn a_client_that_is_gone_at_any_byte_leaves_its_will_and_nothing_else() {
    let hub = one_edge();
    let mut healthy = Healthy::to(&hub);
    for version in VERSIONS {
        let conversation = Conversation::learn(&hub, version);
        for cut in 0..conversation.said.len() {
            // Answers that it never reads: the system resets the connection.
            let mut socket = hub.socket();
            socket.sends(&conversation.said[..cut]);
            healthy.is_served();
            drop(socket);
            healthy.sees_wills(usize::from(conversation.leaves_a_will(cut)));
        }
    }
    hub.is_healthy();
}

#[test]
fn many_at_once_in_pieces_of_every_size_disturb_nobody() {
    let hub = one_edge();
    let conversations = VERSIONS.map(|version| Conversation::learn(&hub, version));
    let mut healthy = Healthy::to(&hub);
    thread::scope(|scope| {
        for number in 1..40 {
            // Each has a name of its own, or they would take over from each other.
            let name = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8, b'x'];
            let (hub, conversation) = (&hub, conversations[number % 3].called(&name));
            scope.spawn(move || {
                let mut socket = hub.socket();
                conversation.said.chunks(number).for_each(|piece| {
                    socket.sends(piece);
                });
                assert_eq!(socket.rest(), conversation.heard, "in pieces of {number} bytes");
            });
        }
        (0..200).for_each(|_| healthy.is_served());
    });
    healthy.sees_wills(0);
}

fn renamed(bytes: &[u8], name: &[u8; 3]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"cut")).collect();
    places.into_iter().for_each(|at| bytes[at..at + 3].copy_from_slice(name));
    bytes
}

/// Places where the conversations of the three versions can be cut in two.
const SPLITS: usize = 1008;
