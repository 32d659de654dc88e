//! Bytes as a reader of the specification writes them, once for all versions.
//!
//! | written | means |
//! |---|---|
//! | `30`, `0001` | these bytes, in hexadecimal |
//! | `~` | Remaining Length: of everything behind it |
//! | `<a/b>` | a UTF-8 string with its length in front; `\0` is U+0000, `\xff` any byte |
//! | `'hi'` | text without a length |
//! | `{1f <x>}` | a block of properties with its length in front; nothing in 3.x |
//! | `{*}` | any properties, or none; only in what is expected |
//! | `[10]` | only in MQTT 5 |
//! | `(80)` | only in 3.x |
//! | `$p` | a packet identifier: learned where it is heard first, the same from then on |
//! | `CONNECT` | `10 ~`, protocol name and level of the version |
//! | `;` | another packet in the same write |

use std::collections::HashMap;

use hubbub_tests::Version;
use hubbub_tests::wire::varint;

/// Packet identifiers by their names.
pub type Ids = HashMap<String, u16>;

/// One piece of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Remaining Length.
    Length,
    /// A packet identifier.
    Id(String),
    /// Any properties, or none.
    AnyProperties,
}

/// Reads the notation.
pub fn pieces(text: &str, version: Version) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (piece, after) = piece(first, rest, version);
        pieces.extend(piece);
        rest = after.trim_start();
    }
    pieces
}

/// The bytes of packets to be sent.
pub fn bytes(text: &str, version: Version, ids: &Ids) -> Vec<u8> {
    text.split(';').flat_map(|packet| one(packet, version, ids)).collect()
}

fn one(text: &str, version: Version, ids: &Ids) -> Vec<u8> {
    let pieces = pieces(text, version);
    let mut out = Vec::new();
    // From the end, so that Remaining Length knows what is behind it.
    for piece in pieces.iter().rev() {
        let mut bytes = match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Length => varint(out.len()),
            Piece::Id(name) => ids[name].to_be_bytes().to_vec(),
            Piece::AnyProperties => panic!("{{*}} can only be expected: {text}"),
        };
        bytes.append(&mut out);
        out = bytes;
    }
    out
}

/// Whether a whole packet is the one written here; learns packet identifiers.
pub fn matches(text: &str, version: Version, packet: &[u8], ids: &mut Ids) -> bool {
    let mut rest = packet;
    for piece in pieces(text, version) {
        let matched = match &piece {
            Piece::Bytes(bytes) => take(&mut rest, bytes.len()).is_some_and(|got| got == bytes),
            // In its shortest form (§1.5.5).
            Piece::Length => {
                let before = rest.len();
                take_length(&mut rest) == Some(rest.len()) && before - rest.len() == varint(rest.len()).len()
            }
            Piece::Id(name) => match take(&mut rest, 2) {
                Some(got) => {
                    let got = u16::from_be_bytes([got[0], got[1]]);
                    *ids.entry(name.clone()).or_insert(got) == got
                }
                None => false,
            },
            Piece::AnyProperties if version != Version::V5 || rest.is_empty() => true,
            Piece::AnyProperties => take_length(&mut rest).and_then(|n| take(&mut rest, n)).is_some(),
        };
        if !matched {
            return false;
        }
    }
    rest.is_empty()
}

fn piece(first: char, rest: &str, version: Version) -> (Vec<Piece>, &str) {
    let five = version == Version::V5;
    let inside = |close: char| {
        let end = rest.find(close).unwrap_or_else(|| panic!("no {close} in {rest}"));
        (&rest[1..end], &rest[end + close.len_utf8()..])
    };
    let only = |when: bool, (text, after)| (if when { pieces(text, version) } else { vec![] }, after);
    match first {
        '~' => (vec![Piece::Length], &rest[1..]),
        '<' => {
            let (text, after) = inside('>');
            (vec![Piece::Bytes(string(&raw(text)))], after)
        }
        '\'' => {
            let end = rest[1..].find('\'').expect("a closing '") + 1;
            (vec![Piece::Bytes(raw(&rest[1..end]))], &rest[end + 1..])
        }
        '{' if rest.starts_with("{*}") => (vec![Piece::AnyProperties], &rest[3..]),
        '{' => {
            let (text, after) = inside('}');
            let body = bytes(text, version, &Ids::new());
            (if five { vec![Piece::Bytes([varint(body.len()), body].concat())] } else { vec![] }, after)
        }
        '[' => only(five, inside(']')),
        '(' => only(!five, inside(')')),
        _ => word(rest, version),
    }
}

fn word(rest: &str, version: Version) -> (Vec<Piece>, &str) {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '$').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    if word == "CONNECT" {
        let name = if version == Version::V31 { "MQIsdp" } else { "MQTT" };
        return (pieces(&format!("10 ~ <{name}> {:02x}", version as u8), version), after);
    }
    if let Some(name) = word.strip_prefix('$') {
        return (vec![Piece::Id(name.into())], after);
    }
    assert!(word.len().is_multiple_of(2) && !word.is_empty(), "no bytes: {rest}");
    let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap_or_else(|_| panic!("no bytes: {word}"));
    (vec![Piece::Bytes((0..word.len()).step_by(2).map(byte).collect())], after)
}

/// Text with `\0` and `\xff` as bytes.
fn raw(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, used) = match rest.as_bytes()[at + 1] {
            b'0' => (0, 2),
            _ => (u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two digits behind \\x"), 4),
        };
        out.push(byte);
        rest = &rest[at + used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for place in 0..4 {
        let byte = take(rest, 1)?[0];
        value |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[test]
fn a_packet_is_written_once_for_all_versions() {
    let write = |version| bytes("32 ~ <a/b> 0001 {01 00} 'hi' [10] (80)", version, &Ids::new());
    assert_eq!(write(Version::V311), b"\x32\x0a\0\x03a/b\0\x01hi\x80");
    assert_eq!(write(Version::V5), b"\x32\x0d\0\x03a/b\0\x01\x02\x01\0hi\x10");
    let connect = bytes("CONNECT 02 003c {} <a>", Version::V31, &Ids::new());
    assert_eq!(connect, b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01a");
}

#[test]
fn what_is_expected_learns_identifiers_and_may_skip_properties() {
    let mut ids = Ids::new();
    let packet = b"\x40\x06\x80\x01\x87\x03\x1f\0\0";
    assert!(!matches("40 ~ $p 87 {*}", Version::V5, &packet[..8], &mut ids), "cut off");
    assert!(matches("40 ~ $p 87 {*}", Version::V5, b"\x40\x07\x80\x01\x87\x03\x1f\0\0", &mut ids));
    assert_eq!(ids["p"], 0x8001);
    assert!(matches("40 ~ $p 87 {*}", Version::V5, b"\x40\x03\x80\x01\x87", &mut ids), "without properties");
    assert!(!matches("40 ~ $p", Version::V5, b"\x40\x02\x80\x02", &mut ids), "another identifier");
    assert!(!matches("40 ~ $p", Version::V5, b"\x40\x03\x80\x01\0", &mut ids), "more than expected");
}
