//! Packets that arrive in parts, in bulk, too early, too late and too large.

use crate::codec::decode::needs;
use crate::codec::{Properties, Publish, QoS};

use super::*;

pub(super) fn publish(topic: &'static str, payload: &'static [u8]) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic.into(),
        packet_id: 0,
        alias: None,
        expiry: None,
        properties: Properties::default(),
        payload: Bytes::from_static(payload),
    }
}

/// CONNECT, SUBSCRIBE, PUBLISH at QoS 1 with a user property, PINGREQ, DISCONNECT.
const TALK: [&str; 5] = [
    "101600044d5154540502003c081100000001210001000161",
    "820700010000016102",
    "320f0001740007072600016b0001767879",
    "c000",
    "e00104",
];

fn talk() -> Bytes {
    TALK.iter().flat_map(|packet| hex(packet)).collect()
}

fn all(decoder: &mut Decoder, buf: &mut Bytes) -> Vec<Packet> {
    std::iter::from_fn(|| decoder.decode(buf).unwrap()).collect()
}

#[test]
fn a_talk_reads_the_same_however_it_is_split() {
    let mut whole = talk();
    let packets = all(&mut Decoder::new(LIMITS), &mut whole);
    assert_eq!(packets.len(), TALK.len());
    for at in 0..talk().len() {
        let mut decoder = Decoder::new(LIMITS);
        let mut front = talk().slice(..at);
        let mut read = all(&mut decoder, &mut front);
        let mut rest = Bytes::from([&front[..], &talk()[at..]].concat());
        read.extend(all(&mut decoder, &mut rest));
        assert_eq!(read, packets, "split at {at}");
    }
}

#[test]
fn an_incomplete_packet_is_left_alone() {
    for line in include_str!("legal.txt").lines() {
        let [level, packet, _] = malformed::columns(line);
        let (version, packet) = (malformed::version(level), hex(packet));
        for end in 0..packet.len() {
            let mut buf = Bytes::copy_from_slice(&packet[..end]);
            let mut decoder = decoder(version, &packet);
            let result = decoder.decode(&mut buf);
            assert_eq!((result, &buf[..]), (Ok(None), &packet[..end]));
        }
    }
}

#[test]
fn the_length_is_known_from_the_fixed_header() {
    assert_eq!(needs(&[]), None);
    assert_eq!(needs(&[0x30]), None);
    assert_eq!(needs(&[0x30, 0x80]), None);
    assert_eq!(needs(&[0x30, 0x00]), Some(2));
    assert_eq!(needs(&[0x30, 0x80, 0x01]), Some(131));
    assert_eq!(needs(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Some(268_435_460));
    assert_eq!(needs(&[0x30, 0xff, 0xff, 0xff, 0xff]), Some(5));
}

#[test]
fn a_packet_over_the_limit_is_refused_by_its_header() {
    let limits = |packet_bytes| Limits { packet_bytes, ..LIMITS };
    let mut decoder = Decoder::new(limits(100));
    decoder.set_version(Version::V5);
    let error = decoder.decode(&mut Bytes::from_static(&[0x30, 0x63]));
    assert_eq!(error, Err(CodecError::TooLarge { size: 101, max: 100 }));

    let mut decoder = Decoder::new(limits(100));
    decoder.set_version(Version::V5);
    assert_eq!(decoder.decode(&mut Bytes::from_static(&[0x30, 0x62])), Ok(None));
    decoder.set_limits(limits(99));
    assert!(decoder.decode(&mut Bytes::from_static(&[0x30, 0x62])).is_err());
}

#[test]
fn only_connect_comes_first_and_only_once() {
    let mut early = Decoder::new(LIMITS);
    let error = early.decode(&mut Bytes::from_static(&[0xc0]));
    assert_eq!(error.map_err(|error| error.reason_code()), Err(0x82));

    let connect = hex(TALK[0]);
    let mut decoder = Decoder::new(LIMITS);
    assert!(matches!(decoder.decode(&mut connect.clone().into()), Ok(Some(Packet::Connect(_)))));
    assert_eq!(decoder.version(), Some(Version::V5));
    let again = decoder.decode(&mut connect.into());
    assert_eq!(again.map_err(|error| error.reason_code()), Err(0x82));
}

#[test]
fn after_an_error_nothing_is_read_any_more() {
    let mut decoder = Decoder::new(LIMITS);
    decoder.set_version(Version::V311);
    let error = decoder.decode(&mut Bytes::from_static(&[0x36, 0x00])).unwrap_err();
    assert_eq!(decoder.decode(&mut Bytes::from_static(&[0xc0, 0x00])), Err(error));
}

#[test]
fn a_refused_connect_still_tells_its_version() {
    let mut decoder = Decoder::new(LIMITS);
    let reserved_flag = hex("100e00044d5154540503003c00000161");
    assert!(decoder.decode(&mut reserved_flag.into()).is_err());
    assert_eq!(decoder.version(), Some(Version::V5));
}

#[test]
fn topic_properties_and_payload_are_slices_of_what_came_in() {
    let packet = Bytes::from(hex("30 14 0001 74 0c 02 00000005 26 0001 6b 0001 76 78797a31"
        .replace(' ', "")
        .as_str()));
    let mut buf = packet.clone();
    let mut decoder = decoder(Version::V5, &packet);
    let Ok(Some(Packet::Publish(publish))) = decoder.decode(&mut buf) else { panic!("a legal PUBLISH") };
    let inside = |part: &[u8]| packet.as_ptr_range().contains(&part.as_ptr());
    assert!(inside(publish.topic.as_bytes()) && inside(&publish.payload) && inside(&publish.properties.0));
    assert_eq!((publish.expiry, &publish.payload[..]), (Some(5), &b"xyz1"[..]));
    assert_eq!(publish.properties.user("k").as_deref(), Some("v"));
}

#[test]
fn properties_for_the_server_are_taken_out_of_the_middle() {
    // user a=1, alias 7, user b=2, expiry 9, content type c
    let packet = "30 1f 0001 74 1a 26 0001 61 0001 31 23 0007 26 0001 62 0001 32 02 00000009 03 0001 63 78";
    let packet = hex(&packet.replace(' ', ""));
    let Ok(Some(Packet::Publish(publish))) = decode(Version::V5, &packet) else { panic!("a legal PUBLISH") };
    assert_eq!((publish.alias, publish.expiry), (Some(7), Some(9)));
    let rest = Properties::builder().user("a", "1").user("b", "2").content_type("c").build();
    assert_eq!(publish.properties, rest);
}
