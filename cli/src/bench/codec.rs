//! Just enough MQTT 3.1.1 for a client that only measures: what it sends, and what a broker answers.
//!
//! Decoding borrows from the read buffer and allocates nothing. Topics, flags and UTF-8 are not checked: the broker
//! is the one under test, and a benchmark that re-validates every message would measure itself.

use anyhow::{Result, bail};

/// Bytes. A broker that announces a longer packet is out of step with us, since no payload is that long.
pub const MAX_PACKET: usize = 2 << 20;

/// DISCONNECT, complete (section 3.14).
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// PINGREQ, complete (section 3.12).
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// Longest keep alive that fits, so that an idle client needs no pings (section 3.1.2.10).
const KEEP_ALIVE_SECONDS: u16 = u16::MAX;

/// What a broker may send to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Section 3.2; 0 means accepted.
    ConnAck { code: u8 },
    /// Section 3.3; `id` is 0 at QoS 0.
    Publish { qos: u8, id: u16, payload: &'a [u8] },
    /// Section 3.4.
    PubAck { id: u16 },
    /// Section 3.5.
    PubRec { id: u16 },
    /// Section 3.6.
    PubRel { id: u16 },
    /// Section 3.7.
    PubComp { id: u16 },
    /// Section 3.9: one code for each filter; 0x80 means refused.
    SubAck { codes: &'a [u8] },
    /// Section 3.13.
    PingResp,
}

/// The first packet in `bytes` and its length, or `None` while it is incomplete.
pub fn decode(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>> {
    let Some((header, length)) = decode_length(bytes)? else { return Ok(None) };
    let Some(body) = bytes.get(header..header + length) else { return Ok(None) };
    Ok(Some((decode_body(bytes[0], body)?, header + length)))
}

/// Length of the fixed header and of the rest (section 2.2.3).
fn decode_length(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut length = 0;
    for position in 0..4 {
        let Some(&byte) = bytes.get(1 + position) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            if length > MAX_PACKET {
                bail!(
                    "the broker announced a packet of {length} bytes, the longest expected is {MAX_PACKET}"
                );
            }
            return Ok(Some((2 + position, length)));
        }
    }
    bail!("the broker sent a remaining length of more than four bytes");
}

fn decode_body(first: u8, body: &[u8]) -> Result<Packet<'_>> {
    Ok(match first >> 4 {
        2 => Packet::ConnAck { code: byte_at(first, body, 1)? },
        3 => decode_publish(first, body)?,
        4 => Packet::PubAck { id: id_at(first, body, 0)? },
        5 => Packet::PubRec { id: id_at(first, body, 0)? },
        6 => Packet::PubRel { id: id_at(first, body, 0)? },
        7 => Packet::PubComp { id: id_at(first, body, 0)? },
        9 => decode_suback(first, body)?,
        13 => Packet::PingResp,
        _ => bail!("the broker sent a packet that no client expects (first byte {first:#04x})"),
    })
}

fn decode_publish(first: u8, body: &[u8]) -> Result<Packet<'_>> {
    let qos = (first >> 1) & 3;
    let topic_end = 2 + usize::from(id_at(first, body, 0)?);
    let (id, start) = if qos == 0 { (0, topic_end) } else { (id_at(first, body, topic_end)?, topic_end + 2) };
    match body.get(start..) {
        Some(payload) => Ok(Packet::Publish { qos, id, payload }),
        None => bail!("the broker sent a PUBLISH that ends inside its topic"),
    }
}

fn decode_suback(first: u8, body: &[u8]) -> Result<Packet<'_>> {
    byte_at(first, body, 2)?;
    Ok(Packet::SubAck { codes: &body[2..] })
}

fn byte_at(first: u8, body: &[u8], at: usize) -> Result<u8> {
    match body.get(at) {
        Some(&byte) => Ok(byte),
        None => bail!("the broker sent a packet that is too short (first byte {first:#04x})"),
    }
}

fn id_at(first: u8, body: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes([byte_at(first, body, at)?, byte_at(first, body, at + 1)?]))
}

/// What a CONNECT says of a client.
pub struct Hello<'a> {
    /// Client id.
    pub client: &'a str,
    /// User name.
    pub user: Option<&'a str>,
    /// Password.
    pub password: Option<&'a str>,
    /// Clean session.
    pub clean: bool,
    /// What the broker publishes when the connection ends without a goodbye.
    pub will: Option<&'a Will>,
}

/// Section 3.1.2.5; retained.
#[derive(Clone, Debug)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: u8,
}

/// CONNECT, section 3.1.
pub fn put_connect(out: &mut Vec<u8>, hello: &Hello<'_>) {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4];
    let mut flags = u8::from(hello.clean) << 1;
    flags |= u8::from(hello.password.is_some()) << 6 | u8::from(hello.user.is_some()) << 7;
    flags |= hello.will.map_or(0, |will| WILL_RETAINED | will.qos << 3);
    body.push(flags);
    body.extend_from_slice(&KEEP_ALIVE_SECONDS.to_be_bytes());
    put_text(&mut body, hello.client);
    if let Some(will) = hello.will {
        put_text(&mut body, &will.topic);
        put_bytes(&mut body, &will.payload);
    }
    for text in [hello.user, hello.password].into_iter().flatten() {
        put_text(&mut body, text);
    }
    put_packet(out, 0x10, &body);
}

/// Will flag and will retain.
const WILL_RETAINED: u8 = 0b0010_0100;

/// SUBSCRIBE to all of these filters at once, section 3.8.
pub fn put_subscribe(out: &mut Vec<u8>, filters: &[(String, u8)]) {
    let mut body = vec![0, 1];
    for (filter, qos) in filters {
        put_text(&mut body, filter);
        body.push(*qos);
    }
    put_packet(out, 0x82, &body);
}

/// A retained PUBLISH, section 3.3.1.3; an empty payload takes away what was retained before. `id` is ignored at QoS 0.
pub fn put_retained(out: &mut Vec<u8>, topic: &str, qos: u8, id: u16, payload: &[u8]) {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    put_text(&mut body, topic);
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    put_packet(out, 0x31 | qos << 1, &body);
}

/// First byte of the answer to a QoS 1 PUBLISH (section 3.4).
pub const PUBACK: u8 = 0x40;
/// First byte of the answer to a QoS 2 PUBLISH (section 3.5).
pub const PUBREC: u8 = 0x50;
/// First byte of the answer to PUBREC (section 3.6).
pub const PUBREL: u8 = 0x62;
/// First byte of the answer to PUBREL (section 3.7).
pub const PUBCOMP: u8 = 0x70;

/// One acknowledgement, named by its first byte.
pub fn put_ack(out: &mut Vec<u8>, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// What a received PUBLISH is owed; nothing at QoS 0.
pub fn put_receipt(out: &mut Vec<u8>, qos: u8, id: u16) {
    match qos {
        0 => {}
        1 => put_ack(out, PUBACK, id),
        _ => put_ack(out, PUBREC, id),
    }
}

/// A PUBLISH encoded once. Each sending copies it and overwrites the packet id and the head of the payload.
pub struct PublishTemplate {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    payload_at: usize,
}

impl PublishTemplate {
    /// A PUBLISH (section 3.3) without DUP or RETAIN; the payload keeps its length in every copy.
    pub fn new(topic: &str, qos: u8, payload: &[u8]) -> Self {
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
        put_text(&mut body, topic);
        let topic_end = body.len();
        if qos > 0 {
            body.extend_from_slice(&[0, 0]);
        }
        body.extend_from_slice(payload);
        let mut bytes = Vec::with_capacity(body.len() + 5);
        put_packet(&mut bytes, 0x30 | qos << 1, &body);
        let payload_at = bytes.len() - payload.len();
        let id_at = (qos > 0).then_some(bytes.len() - body.len() + topic_end);
        Self { bytes, id_at, payload_at }
    }

    /// Appends one copy and returns its payload for the caller to overwrite. `id` is ignored at QoS 0.
    pub fn put<'a>(&self, out: &'a mut Vec<u8>, id: u16) -> &'a mut [u8] {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let copy = &mut out[start..];
        if let Some(at) = self.id_at {
            copy[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        &mut copy[self.payload_at..]
    }
}

fn put_packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    let mut length = body.len();
    while length > 0x7F {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(body);
}

/// Callers keep names below 64 KiB: they are made of short prefixes and numbers.
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(clean: bool) -> Hello<'static> {
        Hello { client: "c1", user: None, password: None, clean, will: None }
    }

    #[test]
    fn connect_matches_the_bytes_of_the_specification() {
        let mut out = Vec::new();
        let hello = Hello { user: Some("bob"), password: Some("pw"), ..hello(true) };
        put_connect(&mut out, &hello);
        let expected = b"\x10\x17\0\x04MQTT\x04\xC2\xFF\xFF\0\x02c1\0\x03bob\0\x02pw";
        assert_eq!(out, expected);
    }

    #[test]
    fn anonymous_persistent_connect_sets_no_flags() {
        let mut out = Vec::new();
        put_connect(&mut out, &hello(false));
        assert_eq!(out, b"\x10\x0E\0\x04MQTT\x04\0\xFF\xFF\0\x02c1");
    }

    #[test]
    fn a_will_stands_between_client_and_user() {
        let mut out = Vec::new();
        let will = Will { topic: "w".into(), payload: b"off".to_vec(), qos: 1 };
        put_connect(&mut out, &Hello { user: Some("bob"), will: Some(&will), ..hello(true) });
        assert_eq!(out, b"\x10\x1B\0\x04MQTT\x04\xAE\xFF\xFF\0\x02c1\0\x01w\0\x03off\0\x03bob");
    }

    #[test]
    fn subscribe_asks_for_every_filter() {
        let mut out = Vec::new();
        put_subscribe(&mut out, &[("a/b".into(), 2), ("c".into(), 0)]);
        assert_eq!(out, b"\x82\x0C\0\x01\0\x03a/b\x02\0\x01c\0");
    }

    #[test]
    fn a_retained_publish_has_the_flag_and_an_id_where_one_belongs() {
        let mut out = Vec::new();
        put_retained(&mut out, "t", 0, 7, b"on");
        put_retained(&mut out, "t", 1, 7, b"");
        assert_eq!(out, b"\x31\x05\0\x01ton\x33\x05\0\x01t\0\x07");
    }

    #[test]
    fn template_copies_differ_in_id_and_payload_only() {
        let template = PublishTemplate::new("t", 1, b"....");
        let mut out = Vec::new();
        template.put(&mut out, 0x0102)[..2].copy_from_slice(b"ab");
        template.put(&mut out, 0x0304)[..2].copy_from_slice(b"cd");
        assert_eq!(out, b"\x32\x09\0\x01t\x01\x02ab..\x32\x09\0\x01t\x03\x04cd..");
    }

    #[test]
    fn what_is_encoded_is_decoded_at_every_qos_and_length_form() {
        for (qos, length) in [(0, 5), (1, 5), (2, 200), (2, 20_000)] {
            let payload = vec![b'x'; length];
            let mut out = Vec::new();
            PublishTemplate::new("topic", qos, &payload).put(&mut out, 7);
            let id = if qos == 0 { 0 } else { 7 };
            let expected = Packet::Publish { qos, id, payload: &payload };
            assert_eq!(decode(&out).unwrap(), Some((expected, out.len())));
        }
    }

    #[test]
    fn a_packet_cut_anywhere_is_incomplete() {
        let mut out = Vec::new();
        PublishTemplate::new("topic", 1, &[b'x'; 300]).put(&mut out, 7);
        for end in 0..out.len() {
            assert_eq!(decode(&out[..end]).unwrap(), None, "cut at {end}");
        }
    }

    #[test]
    fn answers_of_a_broker_are_recognised() {
        let check = |bytes: &[u8], expected: Packet<'_>| {
            assert_eq!(decode(bytes).unwrap(), Some((expected, bytes.len())));
        };
        check(b"\x20\x02\0\x05", Packet::ConnAck { code: 5 });
        check(b"\x90\x04\0\x01\x01\x80", Packet::SubAck { codes: &[1, 0x80] });
        check(b"\x40\x02\x01\x02", Packet::PubAck { id: 0x102 });
        check(b"\x50\x02\x01\x02", Packet::PubRec { id: 0x102 });
        check(b"\x62\x02\x01\x02", Packet::PubRel { id: 0x102 });
        check(b"\x70\x02\x01\x02", Packet::PubComp { id: 0x102 });
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for bytes in
            [&b"\x10\x00"[..], b"\x40\x01\x01", b"\x32\x03\0\x05a", b"\x30\xFF\xFF\xFF\xFF", b"\x20\0"]
        {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
