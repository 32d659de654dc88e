//! Helpers of the codec's tests, which are in the modules below.

mod encoded;
mod malformed;
mod round_trip;
mod stream;

use bytes::{Bytes, BytesMut};

use super::{CodecError, Decoder, Limits, Packet, Version, encode};

/// Far above what a test sends.
const LIMITS: Limits = Limits { packet_bytes: 1 << 20, user_properties: 100 };

/// A decoder at the point where `packet` may come: at the start for CONNECT (type 1), else connected.
fn decoder(version: Version, packet: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(LIMITS);
    if packet.first().is_none_or(|first| first >> 4 != 1) {
        decoder.set_version(version);
    }
    decoder
}

fn decode(version: Version, packet: &[u8]) -> Result<Option<Packet>, CodecError> {
    decoder(version, packet).decode(&mut Bytes::copy_from_slice(packet))
}

fn encoded(version: Version, packet: &Packet) -> Bytes {
    let mut out = BytesMut::new();
    encode::client::packet(&mut out, version, packet);
    out.freeze()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
