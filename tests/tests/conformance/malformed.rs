//! Every packet of the decoder's table of malformed ones, against the whole server: the exact answer, and a healthy client
//! beside it that never notices.

use crate::notation::{self, Ids};
use crate::talk::Talk;
use hubbub_tests::Version;

/// Columns: version, reason code, packet, what is wrong.
const TABLE: &str = include_str!("../../../broker/src/codec/tests/malformed.txt");

/// Rows of the table; each is a case in every [`Way`].
const ROWS: usize = 357;

/// How a packet comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In one write.
    Whole,
    /// In many.
    ByteByByte,
    /// In one write with the CONNECT before it and a PINGREQ behind it, which is not heard.
    Merged,
    /// In one frame.
    WebSocket,
}

#[test]
fn every_malformed_packet_is_answered_as_its_version_demands() {
    all_are_answered(Way::Whole);
}

#[test]
fn each_of_357_malformed_packets_is_answered_so_byte_by_byte() {
    all_are_answered(Way::ByteByByte);
}

#[test]
fn each_of_357_malformed_packets_is_answered_so_in_one_write_with_its_neighbours() {
    all_are_answered(Way::Merged);
}

#[test]
fn each_of_357_malformed_packets_is_answered_so_over_websocket() {
    all_are_answered(Way::WebSocket);
}

fn all_are_answered(way: Way) {
    let mut wrong = Vec::new();
    let mut healthy = Talk::new(Version::V5);
    healthy.goes("h connects \n h subscribes <%/t> 01");
    for (number, line) in TABLE.lines().enumerate() {
        let mut columns = line.split_whitespace();
        let [level, code, packet] = std::array::from_fn(|_| columns.next().unwrap_or_default());
        let version = match level {
            "31" => Version::V31,
            "311" => Version::V311,
            _ => Version::V5,
        };
        let packet = hubbub_tests::raw::hex(packet);
        let code = u8::from_str_radix(code, 16).unwrap();
        let (got, expected) = (answer(way, version, &packet), expected(version, &packet, code));
        if got != expected {
            wrong.push(format!("{line}\n    expected {expected:02x?}, got {got:02x?}"));
        }
        healthy.goes(&format!("h > 30 ~ <%/t> {{}} '{number}' \n h < 30 ~ <%/t> {{}} '{number}'"));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.lines().count(), wrong.join("\n"));
    assert_eq!(TABLE.lines().count(), ROWS, "the names of these tests say how many there are");
}

/// Type and code of the last packet before the end; nothing if there is none.
fn answer(way: Way, version: Version, packet: &[u8]) -> Option<(u8, u8)> {
    let mut talk = Talk::new(version);
    let who = if way == Way::WebSocket { "a@ws" } else { "a" };
    let is_connect = packet[0] >> 4 == 1;
    match way {
        Way::Merged => {
            let connect = format!("CONNECT 02 0000 {{}} <a{}>", talk.mark());
            let before = if is_connect { vec![] } else { notation::bytes(&connect, version, &Ids::new()) };
            talk.line(who).sends(&[&before, packet, &[0xc0, 0]].concat());
            if !is_connect {
                talk.goes("a < 20 ~ 00 00 {*}");
            }
        }
        _ => {
            if !is_connect {
                talk.goes(&format!("{who} connects"));
            }
            let pieces = packet.chunks(if way == Way::ByteByByte { 1 } else { packet.len() });
            pieces.for_each(|piece| talk.line(who).sends(piece));
        }
    }
    let rest = talk.line(who).rest();
    match rest.first()? {
        0x20 => Some((0x20, rest[3])),
        first => Some((*first, rest[2])),
    }
}

fn expected(version: Version, packet: &[u8], code: u8) -> Option<(u8, u8)> {
    let five = version == Version::V5;
    match (packet[0] >> 4, code) {
        // Until name and level are known, a client of 5 is not known as one (MQTT 5 §3.1.2.2, 3.1.1 §3.1.2.2).
        (1, 0x84) if level(packet).is_some_and(|level| (6..0x80).contains(&level)) => Some((0x20, 0x84)),
        (1, 0x84) => Some((0x20, 1)),
        (1, _) if five && has(packet, b"\0\x04MQTT\x05") => Some((0x20, code)),
        (1, _) => None,
        _ => five.then_some((0xe0, code)),
    }
}

fn level(packet: &[u8]) -> Option<u8> {
    let at = packet.windows(6).position(|name| name == b"\0\x04MQTT")?;
    packet.get(at + 6).copied()
}

fn has(packet: &[u8], part: &[u8]) -> bool {
    packet.windows(part.len()).any(|window| window == part)
}
