//! Acknowledgements, PINGRESP, DISCONNECT and AUTH.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::super::packet::Version;
use super::super::properties::id;
use super::write::{Block, finish_packet};

/// Which of the four acknowledgements of PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// §3.4
    PubAck,
    /// §3.5
    PubRec,
    /// §3.6
    PubRel,
    /// §3.7
    PubComp,
}

/// What an MQTT 5 acknowledgement may say besides its reason code; nothing, if the client asked for no problem
/// information (§3.1.2.11.7) or could not take the size.
#[derive(Debug, Clone, Copy, Default)]
pub struct AckNotes<'a> {
    /// For people who read logs.
    pub reason_string: Option<&'a str>,
    /// User properties.
    pub user: &'a [(ByteString, ByteString)],
}

/// Acknowledges `packet_id`; the reason and the notes are for MQTT 5, where success without notes takes the short form.
pub fn ack(
    out: &mut BytesMut,
    version: Version,
    kind: AckKind,
    packet_id: u16,
    reason: u8,
    notes: &AckNotes<'_>,
) {
    let [high, low] = packet_id.to_be_bytes();
    let first = first_byte(kind);
    let quiet = notes.reason_string.is_none() && notes.user.is_empty();
    if !version.is_v5() || (reason == 0 && quiet) {
        out.put_slice(&[first, 2, high, low]);
    } else if quiet {
        out.put_slice(&[first, 3, high, low, reason]);
    } else {
        let mut body = BytesMut::from(&[high, low, reason][..]);
        put_notes(&mut body, notes);
        finish_packet(out, first, &body);
    }
}

/// SUBACK (§3.9): one code per filter. In 3.1.1 every failure is 0x80; 3.1 knows none, so there it is granted QoS 0.
pub fn suback(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    codes: &[u8],
    reason_string: Option<&str>,
) {
    let code = |code: u8| match version {
        Version::V5 => code,
        Version::V311 if code > 2 => 0x80,
        Version::V31 if code > 2 => 0,
        _ => code,
    };
    let mut body = BytesMut::with_capacity(3 + codes.len());
    body.put_u16(packet_id);
    if version.is_v5() {
        put_notes(&mut body, &AckNotes { reason_string, user: &[] });
    }
    body.extend(codes.iter().map(|c| code(*c)));
    finish_packet(out, 0x90, &body);
}

/// UNSUBACK (§3.11): one code per filter in MQTT 5, none in 3.x.
pub fn unsuback(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    codes: &[u8],
    reason_string: Option<&str>,
) {
    let mut body = BytesMut::with_capacity(3 + codes.len());
    body.put_u16(packet_id);
    if version.is_v5() {
        put_notes(&mut body, &AckNotes { reason_string, user: &[] });
        body.put_slice(codes);
    }
    finish_packet(out, 0xb0, &body);
}

/// PINGRESP (§3.13).
pub fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// DISCONNECT of the server (§3.14), MQTT 5 only: in 3.x a server just closes. `session_expiry` is for clients; a server
/// that sends one breaks §3.14.2.2.2, so it is here for the encoding of clients and tests.
pub fn disconnect(
    out: &mut BytesMut,
    reason: u8,
    reason_string: Option<&str>,
    server_reference: Option<&str>,
    session_expiry: Option<u32>,
) {
    let mut block = Block::default();
    block.u32(id::SESSION_EXPIRY, session_expiry);
    block.text(id::REASON_STRING, reason_string);
    block.text(id::SERVER_REFERENCE, server_reference);
    let mut body = BytesMut::with_capacity(2);
    body.put_u8(reason);
    if !block.is_empty() {
        block.finish(&mut body);
    }
    finish_packet(out, 0xe0, &body);
}

/// AUTH (§3.15), MQTT 5 only.
pub fn auth(out: &mut BytesMut, reason: u8, method: &str, data: Option<&Bytes>, reason_string: Option<&str>) {
    let mut block = Block::default();
    block.text(id::AUTHENTICATION_METHOD, Some(method));
    block.binary(id::AUTHENTICATION_DATA, data);
    block.text(id::REASON_STRING, reason_string);
    let mut body = BytesMut::with_capacity(2);
    body.put_u8(reason);
    block.finish(&mut body);
    finish_packet(out, 0xf0, &body);
}

fn first_byte(kind: AckKind) -> u8 {
    match kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    }
}

fn put_notes(body: &mut BytesMut, notes: &AckNotes<'_>) {
    let mut block = Block::default();
    block.text(id::REASON_STRING, notes.reason_string);
    block.user(notes.user);
    block.finish(body);
}
