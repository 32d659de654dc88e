//! Packets that must be refused, with the reason code, and odd ones that must not.
//!
//! `malformed.txt`: version, reason code, packet, what is wrong. `legal.txt`: version, packet, what is odd.

use super::*;

/// One line of a table, by its columns.
pub(super) fn columns<const N: usize>(line: &str) -> [&str; N] {
    let mut rest = line;
    std::array::from_fn(|index| {
        let end = if index + 1 < N { rest.find(' ').unwrap() } else { rest.len() };
        let (column, tail) = rest.split_at(end);
        rest = tail.trim_start();
        column
    })
}

pub(super) fn version(level: &str) -> Version {
    match level {
        "31" => Version::V31,
        "311" => Version::V311,
        "5" => Version::V5,
        other => panic!("no version: {other}"),
    }
}

#[test]
fn every_malformed_packet_is_refused_with_its_reason() {
    let mut wrong = Vec::new();
    for line in include_str!("malformed.txt").lines() {
        let [level, code, packet, what] = columns(line);
        let code = u8::from_str_radix(code, 16).unwrap();
        let result = decode(version(level), &hex(packet));
        if result.as_ref().err().map(CodecError::reason_code) != Some(code) {
            wrong.push(format!("{level} {code:02x} {what}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_legal_packet_is_taken_whole() {
    for line in include_str!("legal.txt").lines() {
        let [level, packet, what] = columns(line);
        let bytes = hex(packet);
        let mut buf = Bytes::from(bytes.clone());
        let result = decoder(version(level), &bytes).decode(&mut buf);
        assert!(matches!(result, Ok(Some(_))) && buf.is_empty(), "{level} {what}: {result:?}");
    }
}

/// A legal packet of each type that clients send, of 3.1.1 and of 5.
const PACKETS: [(&str, &str); 10] = [
    ("100d00044d5154540402003c000161", "100e00044d5154540502003c00000161"),
    ("40020001", "40020001"),
    ("50020001", "50020001"),
    ("62020001", "62020001"),
    ("70020001", "70020001"),
    ("8206000100016100", "820700010000016100"),
    ("a2050001000161", "a206000100000161"),
    ("c000", "c000"),
    ("e000", "e000"),
    ("c000", "f00618041500016d"),
];

#[test]
fn reserved_flags_of_the_fixed_header_are_malformed() {
    let packets = PACKETS.iter().flat_map(|(v311, v5)| [(Version::V311, v311), (Version::V5, v5)]);
    for (version, packet) in packets {
        let right = hex(packet);
        assert!(matches!(decode(version, &right), Ok(Some(_))), "{packet}");
        for flags in (0..16).filter(|flags| *flags != right[0] & 0x0f) {
            let mut bytes = right.clone();
            bytes[0] = right[0] & 0xf0 | flags;
            let code = decode(version, &bytes).map_err(|error| error.reason_code());
            assert_eq!(code, Err(0x81), "{version:?} {packet} with flags {flags:x}");
        }
    }
}

#[test]
fn trailing_bytes_are_malformed_in_every_packet() {
    let packets = PACKETS.iter().flat_map(|(v311, v5)| [(Version::V311, v311), (Version::V5, v5)]);
    for (version, packet) in packets {
        let mut bytes = hex(packet);
        bytes[1] += 1;
        bytes.push(0xff);
        assert!(decode(version, &bytes).is_err(), "{version:?} {packet}");
    }
}

#[test]
fn version_3_1_ignores_the_bits_that_it_does_not_use() {
    for packet in
        ["1f0f00064d51497364700302003c000161", "8a06000100016100", "8306000100016100", "8206000100016101"]
            .into_iter()
            .chain(["aa050001000161", "6a020001", "4f020001", "cf00", "ef00", "380400017478"])
    {
        let result = decode(Version::V31, &hex(packet));
        assert!(matches!(result, Ok(Some(_))), "{packet}: {result:?}");
    }
}

#[test]
fn version_3_1_lets_the_length_decide_about_user_name_and_password() {
    let Ok(Some(Packet::Connect(connect))) = decode(Version::V31, &hex("100f00064d514973647003c2003c000161"))
    else {
        panic!("a user name that is flagged but missing is legal in 3.1")
    };
    assert_eq!((connect.username, connect.password), (None, None));
    let in_3_1_1 = decode(Version::V311, &hex("100d00044d51545404c2003c000161"));
    assert!(in_3_1_1.is_err(), "{in_3_1_1:?}");
}

#[test]
fn more_user_properties_than_the_limit_are_refused() {
    let packet = |count: usize| {
        let mut properties = crate::codec::Properties::builder();
        for _ in 0..count {
            properties = properties.user("k", "v");
        }
        let mut publish = super::stream::publish("t", b"x");
        publish.properties = properties.build();
        encoded(Version::V5, &Packet::Publish(publish))
    };
    assert!(decode(Version::V5, &packet(LIMITS.user_properties)).is_ok());
    let over = decode(Version::V5, &packet(LIMITS.user_properties + 1));
    assert_eq!(over.map_err(|error| error.reason_code()), Err(0x97));
}

#[test]
fn every_reason_code_of_a_table_is_taken_and_no_other() {
    let check = |first: u8, body: &[u8], legal: &[u8]| {
        for code in 0..=255 {
            let mut packet = vec![first, body.len() as u8 + 1];
            packet.extend(body);
            packet.push(code);
            let result = decode(Version::V5, &packet).map(|_| ()).map_err(|error| error.reason_code());
            let expected = if legal.contains(&code) { Ok(()) } else { Err(0x82) };
            assert_eq!(result, expected, "packet {first:02x}, reason {code:02x}");
        }
    };
    let publish = [0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    check(0x40, &[0, 1], &publish);
    check(0x50, &[0, 1], &publish);
    check(0x62, &[0, 1], &[0x00, 0x92]);
    check(0x70, &[0, 1], &[0x00, 0x92]);
    let goodbyes = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    check(0xe0, &[], &goodbyes);
}
