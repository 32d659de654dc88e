//! What goes out, byte by byte.

use crate::codec::encode::*;
use crate::codec::properties::Property;
use crate::codec::{Properties, QoS};

use super::*;

fn check(write: impl FnOnce(&mut BytesMut), expected: &str) {
    let mut out = BytesMut::from(&b"before"[..]);
    write(&mut out);
    let expected = hex(&expected.replace(' ', ""));
    assert_eq!(out[6..], expected, "{:02x?}", &out[6..]);
}

#[test]
fn connack_in_each_version() {
    let plain = ConnAck { session_present: true, ..ConnAck::default() };
    check(|out| connack(out, Version::V31, &plain), "20 02 00 00");
    check(|out| connack(out, Version::V311, &plain), "20 02 01 00");
    check(|out| connack(out, Version::V5, &plain), "20 03 01 00 00");
    let refused = ConnAck { session_present: true, code: 0x86, ..ConnAck::default() };
    check(|out| connack(out, Version::V311, &refused), "20 02 00 04");
    check(|out| connack(out, Version::V5, &refused), "20 03 00 86 00");
}

#[test]
fn a_refusal_loses_its_reason_before_it_is_too_large_for_the_client() {
    check(|out| refusal(out, Version::V5, 0x8c, "no", Some(10)), "20 08 00 8c 05 1f 0002 6e6f");
    check(|out| refusal(out, Version::V5, 0x8c, "no", Some(9)), "20 03 00 8c 00");
    check(|out| refusal(out, Version::V5, 0x8c, "no", Some(5)), "20 03 00 8c 00");
    check(|out| refusal(out, Version::V5, 0x8c, "no", Some(4)), "");
    check(|out| refusal(out, Version::V5, 0x84, "", None), "20 03 00 84 00");
    check(|out| refusal(out, Version::V311, 0x84, "no", None), "20 02 00 01");
}

#[test]
fn connack_with_every_property() {
    let properties = ConnAckProperties {
        session_expiry: Some(1),
        receive_maximum: Some(2),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(true),
        maximum_packet_size: Some(3),
        assigned_client_id: Some("i".into()),
        topic_alias_maximum: Some(4),
        reason: Some("r"),
        user: vec![("k".into(), "v".into())],
        server_keep_alive: Some(5),
        response_information: Some("p".into()),
        server_reference: Some("s".into()),
        authentication_method: Some("m".into()),
        authentication_data: Some(Bytes::from_static(&[0xff])),
    };
    let packet = ConnAck { session_present: false, code: 0, properties };
    let expected = "20 39 00 00 36 11 00000001 21 0002 24 01 25 01 27 00000003 12 0001 69 22 0004 1f 0001 72
        26 0001 6b 0001 76 13 0005 1a 0001 70 1c 0001 73 15 0001 6d 16 0001 ff";
    check(|out| connack(out, Version::V5, &packet), &expected.replace('\n', ""));
}

#[test]
fn return_codes_of_3_x() {
    let table =
        [(0x00, 0), (0x84, 1), (0x85, 2), (0x88, 3), (0x97, 3), (0x86, 4), (0x87, 5), (0x8c, 5), (0x8a, 5)];
    for (code, expected) in table {
        assert_eq!(return_code_3(code), expected, "{code:02x}");
    }
}

#[test]
fn acknowledgements_are_as_short_as_can_be() {
    let none = AckNotes::default();
    check(|out| ack(out, Version::V5, AckKind::PubAck, 258, 0, &none), "40 02 0102");
    check(|out| ack(out, Version::V5, AckKind::PubRec, 258, 0x10, &none), "50 03 0102 10");
    check(|out| ack(out, Version::V311, AckKind::PubRec, 258, 0x87, &none), "50 02 0102");
    check(|out| ack(out, Version::V31, AckKind::PubRel, 1, 0, &none), "62 02 0001");
    check(|out| ack(out, Version::V5, AckKind::PubComp, 1, 0x92, &none), "70 03 0001 92");
    let user = [("seq".into(), "7".into())];
    let notes = AckNotes { reason_string: Some("r"), user: &user };
    check(
        |out| ack(out, Version::V5, AckKind::PubAck, 1, 0, &notes),
        "40 11 0001 00 0d 1f 0001 72 26 0003 736571 0001 37",
    );
    check(|out| ack(out, Version::V311, AckKind::PubAck, 1, 0, &notes), "40 02 0001");
}

#[test]
fn subscriptions_are_answered_in_the_words_of_the_version() {
    let codes = [0, 1, 2, 0x87];
    check(|out| suback(out, Version::V31, 1, &codes, None), "90 06 0001 00 01 02 00");
    check(|out| suback(out, Version::V311, 1, &codes, None), "90 06 0001 00 01 02 80");
    check(|out| suback(out, Version::V5, 1, &codes, None), "90 07 0001 00 00 01 02 87");
    check(|out| suback(out, Version::V5, 1, &[0x87], Some("n")), "90 08 0001 04 1f 0001 6e 87");
    check(|out| unsuback(out, Version::V311, 1, &[0x11], None), "b0 02 0001");
    check(|out| unsuback(out, Version::V5, 1, &[0x11], None), "b0 04 0001 00 11");
}

#[test]
fn the_small_ones() {
    check(pingresp, "d0 00");
    check(|out| disconnect(out, 0x8b, None, None, None), "e0 01 8b");
    check(|out| disconnect(out, 0x9c, Some("r"), Some("s"), None), "e0 0a 9c 08 1f 0001 72 1c 0001 73");
    check(
        |out| auth(out, 0x18, "m", Some(&Bytes::from_static(b"d")), None),
        "f0 0a 18 08 15 0001 6d 16 0001 64",
    );
}

fn message<'a>(topic: &'a str, properties: &'a Properties) -> Message<'a> {
    Message {
        dup: false,
        topic,
        packet_id: 7,
        payload_len: 1,
        expiry: None,
        alias: None,
        subscription_ids: &[],
        properties,
    }
}

const AT_LEAST_ONCE: Shape = Shape { version_is_v5: true, qos: QoS::AtLeastOnce, retain: true };

#[test]
fn publish_in_each_shape() {
    let properties = Properties::builder().user("k", "v").build();
    let plain = message("t", &properties);
    let full = Message { expiry: Some(9), alias: Some(3), subscription_ids: &[1, 200], dup: true, ..plain };
    let old = Shape { version_is_v5: false, qos: QoS::AtMostOnce, retain: false };
    check(|out| _ = publish_head(out, old, &full), "30 04 0001 74");
    check(|out| _ = publish_head(out, AT_LEAST_ONCE, &plain), "33 0e 0001 74 0007 07 26 0001 6b 0001 76");
    check(
        |out| _ = publish_head(out, AT_LEAST_ONCE, &full),
        "3b 1b 0001 74 0007 14 02 00000009 23 0003 0b 01 0b c801 26 0001 6b 0001 76",
    );
}

#[test]
fn the_length_is_known_without_encoding() {
    let properties = Properties::builder().correlation_data(&[7; 300]).build();
    for payload_len in [0, 1, 100, 127, 128, 16_000, 16_384, 3_000_000] {
        for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
            for version_is_v5 in [false, true] {
                let shape = Shape { version_is_v5, qos, retain: false };
                let message =
                    Message { payload_len, subscription_ids: &[1, 300], ..message("a/b", &properties) };
                let mut head = BytesMut::new();
                publish_head(&mut head, shape, &message);
                let len = head.len() + payload_len;
                assert_eq!(publish_len(shape, &message), len);
                assert_eq!(crate::codec::decode::needs(&head), Some(len));
            }
        }
    }
}

#[test]
fn a_shared_head_gets_its_own_packet_identifier() {
    let none = Properties::default();
    let shared = Encoded::new(AT_LEAST_ONCE, &message("t", &none));
    check(|out| shared.write(out, 0x1234, true), "3b 07 0001 74 1234 00");
    check(|out| shared.write(out, 1, false), "33 07 0001 74 0001 00");
    let at_most_once = Shape { qos: QoS::AtMostOnce, ..AT_LEAST_ONCE };
    let shared = Encoded::new(at_most_once, &message("t", &none));
    check(|out| shared.write(out, 0x1234, true), "31 05 0001 74 00");
}

#[test]
fn what_is_too_long_for_the_protocol_is_cut_at_a_character() {
    let long = "é".repeat(40_000);
    let none = Properties::default();
    let mut out = BytesMut::new();
    let shape = Shape { version_is_v5: false, qos: QoS::AtMostOnce, retain: false };
    publish_head(&mut out, shape, &Message { payload_len: 0, ..message(&long, &none) });
    let Ok(Some(Packet::Publish(publish))) = decode(Version::V311, &out) else { panic!("a legal PUBLISH") };
    assert_eq!(publish.topic.len(), 65_534);
}

#[test]
fn properties_read_as_they_were_built() {
    let properties = Properties::builder()
        .payload_format(1)
        .content_type("text/plain")
        .response_topic("u/alice/inbox")
        .correlation_data(&[0, 255])
        .user("cid", "a~b")
        .user("cid", "second")
        .build();
    assert_eq!(properties.content_type().as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic().as_deref(), Some("u/alice/inbox"));
    assert_eq!(properties.correlation_data().as_deref(), Some(&[0, 255][..]));
    assert_eq!(properties.user("cid").as_deref(), Some("a~b"));
    assert_eq!(properties.user("seq"), None);
    assert_eq!(properties.iter().next(), Some(Property::PayloadFormat(1)));
    assert_eq!(properties.iter().count(), 6);
}

#[test]
fn broken_properties_end_the_reading_without_harm() {
    let broken = Properties(Bytes::from_static(&[0x01, 0x01, 0x26, 0x00, 0x09, b'x']));
    assert_eq!(broken.iter().collect::<Vec<_>>(), [Property::PayloadFormat(1)]);
}
