//! Bytes of a client, whole and in pieces.

use bytes::{Bytes, BytesMut};
use hubbub_broker::codec::{CodecError, Decoder, Limits, Packet, Version, encode};

/// Small, so that cases reach them.
const LIMITS: Limits = Limits { packet_bytes: 4096, user_properties: 8 };

/// Bytes of a 3.1 or 3.1.1 client. The first byte of a case tells which and whether CONNECT is still to come, the second
/// the size of the pieces.
pub fn decode3(data: &[u8]) {
    if let [how, size, bytes @ ..] = data {
        let version = if how & 1 == 0 { Version::V31 } else { Version::V311 };
        reads_the_same_in_pieces(decoder(version, *how), usize::from(*size) + 1, bytes);
    }
}

/// Bytes of an MQTT 5 client; the first two bytes as for [`decode3`].
pub fn decode5(data: &[u8]) {
    if let [how, size, bytes @ ..] = data {
        reads_the_same_in_pieces(decoder(Version::V5, *how), usize::from(*size) + 1, bytes);
    }
}

fn decoder(version: Version, how: u8) -> Decoder {
    let mut decoder = Decoder::new(LIMITS);
    if how & 2 != 0 {
        decoder.set_version(version);
    }
    decoder
}

fn reads_the_same_in_pieces(decoder: Decoder, size: usize, bytes: &[u8]) {
    let whole = read(decoder.clone(), [bytes]);
    assert_eq!(read(decoder, bytes.chunks(size)), whole, "in pieces of {size} bytes");
    let (version, packets, _) = whole;
    for packet in &packets {
        comes_back(version.expect("a packet came, so the version is known"), packet);
    }
}

type Read = (Option<Version>, Vec<Packet>, Option<CodecError>);

/// Everything up to the end or to the first error.
fn read<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut packets, mut rest) = (Vec::new(), Bytes::new());
    for piece in pieces {
        rest = [&rest, piece].concat().into();
        loop {
            match decoder.decode(&mut rest) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (decoder.version(), packets, Some(error)),
            }
        }
    }
    (decoder.version(), packets, None)
}

/// What was understood can be said, and is understood again.
fn comes_back(version: Version, packet: &Packet) {
    let mut bytes = BytesMut::new();
    encode::client::packet(&mut bytes, version, packet);
    let mut decoder = Decoder::new(Limits { packet_bytes: 2 * LIMITS.packet_bytes, ..LIMITS });
    if !matches!(packet, Packet::Connect(_)) {
        decoder.set_version(version);
    }
    let again = decoder.decode(&mut bytes.clone().freeze());
    assert_eq!(again.as_ref(), Ok(&Some(packet.clone())), "{bytes:02x?}");
    if let Packet::Publish(publish) = packet {
        let users = publish.properties.iter().count();
        assert!(users <= LIMITS.user_properties + 4, "one of each kind, and the user properties");
    }
}
