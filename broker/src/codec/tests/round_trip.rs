//! Whatever a client can say comes out as it was said; whatever else comes in harms nothing.

use bytestring::ByteString;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::codec::*;
use bytes::Bytes;

use super::{LIMITS, decode, decoder, encoded};

fn text() -> impl Strategy<Value = ByteString> {
    "[^\u{0}]{0,12}".prop_map(ByteString::from)
}

fn filled_text() -> impl Strategy<Value = ByteString> {
    "[^\u{0}]{1,12}".prop_map(ByteString::from)
}

fn topic() -> impl Strategy<Value = ByteString> {
    "[^\u{0}+#]{1,12}".prop_map(ByteString::from)
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3u8).prop_map(|bits| QoS::from_bits(bits).unwrap())
}

fn pairs() -> impl Strategy<Value = Vec<(ByteString, ByteString)>> {
    vec((text(), text()), 0..4)
}

fn message_properties() -> impl Strategy<Value = Properties> {
    (of(0..2u8), of(text()), of(topic()), of(binary()), pairs()).prop_map(
        |(format, kind, answer, data, users)| {
            let mut builder = Properties::builder();
            if let Some(format) = format {
                builder = builder.payload_format(format);
            }
            if let Some(kind) = kind {
                builder = builder.content_type(&kind);
            }
            if let Some(answer) = answer {
                builder = builder.response_topic(&answer);
            }
            if let Some(data) = data {
                builder = builder.correlation_data(&data);
            }
            users.iter().fold(builder, |builder, (key, value)| builder.user(key, value)).build()
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let numbers = (any::<u32>(), 1..=u16::MAX, of(1..=u32::MAX), any::<u16>(), any::<bool>(), any::<bool>());
    (numbers, pairs(), of((text(), of(binary())))).prop_map(|(numbers, user, authentication)| {
        let (method, data) = authentication.unzip();
        ConnectProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: numbers.4,
            request_problem_information: numbers.5,
            user,
            authentication_method: method,
            authentication_data: data.flatten(),
        }
    })
}

fn will() -> impl Strategy<Value = Will> {
    (topic(), binary(), qos(), any::<bool>(), any::<u32>(), of(any::<u32>()), message_properties()).prop_map(
        |(topic, payload, qos, retain, delay, expiry, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            delay,
            expiry,
            properties,
        },
    )
}

fn connect() -> impl Strategy<Value = Packet> {
    let login = (of(text()), of(binary()));
    (any::<bool>(), any::<u16>(), text(), of(will()), login, connect_properties()).prop_map(
        |(clean_start, keep_alive, client_id, will, (username, password), properties)| {
            Packet::Connect(Box::new(Connect {
                version: Version::V5,
                clean_start,
                keep_alive,
                client_id,
                will,
                username,
                password,
                properties,
            }))
        },
    )
}

fn publish() -> impl Strategy<Value = Packet> {
    let flags = (any::<bool>(), qos(), any::<bool>(), 1..=u16::MAX);
    let head = (of(1..=u16::MAX), of(any::<u32>()), message_properties());
    (flags, topic(), head, binary()).prop_map(|((dup, qos, retain, packet_id), topic, head, payload)| {
        let acknowledged = qos != QoS::AtMostOnce;
        Packet::Publish(Publish {
            dup: dup && acknowledged,
            qos,
            retain,
            topic,
            packet_id: if acknowledged { packet_id } else { 0 },
            alias: head.0,
            expiry: head.1,
            properties: head.2,
            payload,
        })
    })
}

fn subscribe() -> impl Strategy<Value = Packet> {
    let options = (qos(), any::<bool>(), any::<bool>(), 0..3u8).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    (1..=u16::MAX, of(1..=varint::MAX), vec((filled_text(), options), 1..5))
        .prop_map(|(packet_id, id, filters)| Packet::Subscribe(Subscribe { packet_id, id, filters }))
}

fn small() -> impl Strategy<Value = Packet> {
    let ack = |codes: &'static [u8]| {
        (1..=u16::MAX, prop::sample::select(codes)).prop_map(|(packet_id, reason)| Ack { packet_id, reason })
    };
    let goodbye = (prop::sample::select(&[0, 4, 0x82, 0x99][..]), of(any::<u32>()));
    let auth = (prop::sample::select(&[0x18, 0x19][..]), text(), of(binary()));
    prop_oneof![
        ack(&[0, 0x80, 0x97]).prop_map(Packet::PubAck),
        ack(&[0, 0x83, 0x91]).prop_map(Packet::PubRec),
        ack(&[0, 0x92]).prop_map(Packet::PubRel),
        ack(&[0, 0x92]).prop_map(Packet::PubComp),
        (1..=u16::MAX, vec(filled_text(), 1..5))
            .prop_map(|(packet_id, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, filters })),
        Just(Packet::PingReq),
        goodbye
            .prop_map(|(reason, session_expiry)| Packet::Disconnect(Disconnect { reason, session_expiry })),
        auth.prop_map(|(reason, method, data)| Packet::Auth(Auth { reason, method: Some(method), data })),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![connect(), publish(), subscribe(), small()]
}

fn version_3() -> impl Strategy<Value = Version> {
    prop::sample::select(&[Version::V31, Version::V311][..])
}

/// What is left of a packet in 3.x; nothing of AUTH.
fn without_mqtt_5(packet: Packet, version: Version) -> Option<Packet> {
    let plain = |ack: Ack| Ack { reason: 0, ..ack };
    Some(match packet {
        Packet::Connect(connect) => Packet::Connect(Box::new(connect_3(*connect, version))),
        Packet::Publish(publish) => Packet::Publish(Publish {
            alias: None,
            expiry: None,
            properties: Properties::default(),
            ..publish
        }),
        Packet::PubAck(ack) => Packet::PubAck(plain(ack)),
        Packet::PubRec(ack) => Packet::PubRec(plain(ack)),
        Packet::PubRel(ack) => Packet::PubRel(plain(ack)),
        Packet::PubComp(ack) => Packet::PubComp(plain(ack)),
        Packet::Subscribe(mut subscribe) => {
            subscribe.id = None;
            for (_, options) in &mut subscribe.filters {
                *options = SubscribeOptions { qos: options.qos, ..SubscribeOptions::default() };
            }
            Packet::Subscribe(subscribe)
        }
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect { reason: 0, session_expiry: None }),
        Packet::Auth(_) => return None,
        same => same,
    })
}

fn connect_3(connect: Connect, version: Version) -> Connect {
    Connect {
        version,
        password: connect.password.filter(|_| connect.username.is_some()),
        properties: ConnectProperties::default(),
        will: connect.will.map(|will| Will {
            delay: 0,
            expiry: None,
            properties: Properties::default(),
            ..will
        }),
        ..connect
    }
}

fn shared_without_own(packet: &Packet) -> bool {
    let Packet::Subscribe(subscribe) = packet else { return false };
    subscribe.filters.iter().any(|(filter, options)| options.no_local && filter.starts_with("$share/"))
}

proptest! {
    #[test]
    fn mqtt_5_comes_out_as_it_was_said(packet in packet()) {
        prop_assume!(!shared_without_own(&packet));
        let bytes = encoded(Version::V5, &packet);
        prop_assert_eq!(decode(Version::V5, &bytes), Ok(Some(packet)));
    }

    #[test]
    fn mqtt_3_comes_out_as_it_was_said(packet in packet(), version in version_3()) {
        if let Some(packet) = without_mqtt_5(packet, version) {
            let bytes = encoded(version, &packet);
            prop_assert_eq!(decode(version, &bytes), Ok(Some(packet)));
        }
    }

    #[test]
    fn every_beginning_of_a_packet_is_incomplete(packet in packet(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(Version::V5, &packet);
        let part = bytes.slice(..cut.index(bytes.len()));
        prop_assert_eq!(decode(Version::V5, &part), Ok(None));
    }

    #[test]
    fn random_bytes_harm_nothing(bytes in vec(any::<u8>(), 0..200), connected in of(version_any())) {
        let mut decoder = Decoder::new(LIMITS);
        if let Some(version) = connected {
            decoder.set_version(version);
        }
        drain(&mut decoder, bytes.into());
    }

    #[test]
    fn damaged_packets_harm_nothing(
        packet in packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        version in version_any(),
    ) {
        let mut bytes = encoded(version, &packet).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drain(&mut decoder(version, &bytes), bytes.into());
    }
}

fn version_any() -> impl Strategy<Value = Version> {
    prop::sample::select(&[Version::V31, Version::V311, Version::V5][..])
}

/// Reads to the end or to the first error; what comes out can be encoded and read again.
fn drain(decoder: &mut Decoder, mut bytes: Bytes) {
    while let Ok(Some(packet)) = decoder.decode(&mut bytes) {
        let version = decoder.version().unwrap();
        assert_eq!(decode(version, &encoded(version, &packet)), Ok(Some(packet)));
    }
}
