//! Packets of MQTT 3.1, 3.1.1 and 5: what a client sends, as bytes, and what a server sends, as values.

mod build;
mod parse;
mod props;

pub use build::{Connect, Publish, Will, disconnect, pingreq, puback, subscribe, unsubscribe};
pub use parse::{Packet, take_packet};
pub use props::{Props, Value};

/// Protocol version, by its level byte in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31 = 3,
    /// `MQTT`, level 4.
    V311 = 4,
    /// `MQTT`, level 5.
    V5 = 5,
}

/// Every version, oldest first.
pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// First byte of each acknowledgement between the two parties of a publish.
pub mod ack {
    /// PUBACK
    pub const PUBACK: u8 = 0x40;
    /// PUBREC
    pub const PUBREC: u8 = 0x50;
    /// PUBREL; its flags are not zero (MQTT 5 §3.6.1)
    pub const PUBREL: u8 = 0x62;
    /// PUBCOMP
    pub const PUBCOMP: u8 = 0x70;
}

/// A variable byte integer (MQTT 5 §1.5.5).
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value >= 128;
        bytes.push((value % 128) as u8 | if more { 128 } else { 0 });
        value /= 128;
        if !more {
            return bytes;
        }
    }
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    out.extend(varint(body.len()));
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_groups_of_seven_bits() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(127), [127]);
        assert_eq!(varint(128), [0x80, 1]);
        assert_eq!(varint(268_435_455), [0xff, 0xff, 0xff, 0x7f]);
    }

    #[test]
    fn a_connect_of_each_version_has_the_bytes_of_the_specification() {
        let bytes = |version| Connect::new(version, "a").keep_alive(60).bytes();
        assert_eq!(bytes(Version::V31), b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01a");
        assert_eq!(bytes(Version::V311), b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a");
        assert_eq!(bytes(Version::V5), b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a");
    }

    #[test]
    fn a_publish_reads_back_as_it_was_written() {
        let sent = Publish::new("dm/bob", "hi").qos(1).id(7).user("cmid", "x");
        let mut buffer = sent.bytes(Version::V5);
        assert_eq!(take_packet(&mut buffer, Version::V5), Some(Packet::Publish(sent)));
        assert!(buffer.is_empty());
    }
}
