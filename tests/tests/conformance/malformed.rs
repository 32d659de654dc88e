//! Every packet of the decoder's table of malformed ones, against the whole server: the exact answer, and a healthy client
//! beside it that never notices.

use crate::talk::Talk;
use hubbub_tests::Version;

/// Columns: version, reason code, packet, what is wrong.
const TABLE: &str = include_str!("../../../broker/src/codec/tests/malformed.txt");

#[test]
fn every_malformed_packet_is_answered_as_its_version_demands() {
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
        let (got, expected) = (answer(version, &packet), expected(version, &packet, code));
        if got != expected {
            wrong.push(format!("{line}\n    expected {expected:02x?}, got {got:02x?}"));
        }
        healthy.goes(&format!("h > 30 ~ <%/t> {{}} '{number}' \n h < 30 ~ <%/t> {{}} '{number}'"));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.lines().count(), wrong.join("\n"));
}

/// Type and code of the last packet before the end; nothing if there is none.
fn answer(version: Version, packet: &[u8]) -> Option<(u8, u8)> {
    let mut talk = Talk::new(version);
    if packet[0] >> 4 != 1 {
        talk.goes("a connects");
    }
    talk.line("a").sends(packet);
    let rest = talk.line("a").rest();
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
