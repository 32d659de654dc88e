//! Bytes that are no MQTT, or too much of it: T1 to T4, T6, T7.

use hubbub_tests::wire::{VERSIONS, varint};
use hubbub_tests::{Connect, Props, Publish, Settings, Version};

use crate::line::frame;
use crate::talk::{Talk, all, five, versions};
use crate::websocket::{has_connack, opened};
use crate::{MIB, grows};

/// Before the login a packet may be as large as `limits.packet_before_login_bytes`, and its length alone is enough to
/// refuse it.
///
/// Guards: the limit that `edge::handshake::receive` gives its decoder, and `Decoder::check_size` (codec/decode.rs).
#[test]
fn t01_a_large_packet_before_the_login_is_refused_by_its_length_alone() {
    let hub = Settings::dev().set("store.engine", "memory").start();
    hub.is_healthy();
    let grown = grows(&hub, || {
        for first in (1..=15).map(|kind| kind << 4) {
            for length in [900_000, 268_435_455] {
                let mut sockets: Vec<_> = (0..10).map(|_| hub.socket()).collect();
                for socket in &mut sockets {
                    socket.sends([&[first][..], &varint(length)].concat());
                }
                sockets.iter_mut().for_each(|socket| socket.is_closed());
            }
        }
        // The same length with half of what it promises: nobody waits for the other half, and nobody keeps this one.
        let half = [&[0x10][..], &varint(900_000), &[b'x'; 450_000]].concat();
        let mut sockets: Vec<_> = (0..100).map(|_| hub.socket()).collect();
        sockets.iter_mut().for_each(|socket| drop(socket.sends(&half).rest()));
    });
    assert!(grown < 16 * MIB, "grew by {} KiB", grown / 1024);
    hub.is_healthy();
}

/// Guards: `Decoder::admit` and `check_flags` (codec/decode.rs).
#[test]
fn t02_what_a_client_may_not_say_ends_its_connection_and_leaves_nothing() {
    for first in [
        "30 03 0001 61",
        "82 06 0001 0001 61 00",
        "c0 00",
        "e0 00",
        "20 02 0000",
        "40 02 0001",
        "f0 00",
        // What a CONNECT says, under another name.
        "30 ~ <MQTT> 04 02 0000 <a%>",
        "c0 ~ <MQTT> 04 02 0000 <a%>",
        "82 ~ <MQTT> 05 02 0000 {} <a%>",
    ] {
        all(&format!("a > {first} \n a closed"));
    }
    // 3.1 leaves more of the header open, and a server packet is one whatever its flags are.
    let later = ["CONNECT 02 0000 {} <a%>", "20 ~ 00 00 {}", "90 ~ 0001 {} 00", "b0 ~ 0001 {}", "d0 00"];
    for packet in later {
        all(&format!(
            "a connects
             a subscribes <%/t> 01
             a > {packet}
             a ends 82
             b connects
             b > 32 ~ <%/t> 0001 {{}} 'x'
             b < 40 ~ 0001 [10]"
        ));
    }
}

/// Guards: `varint::read` (codec/varint.rs), `Reader` (codec/decode/reader.rs), `Link::keep` (edge/link.rs). All cuts are in
/// `conformance/cuts` and `conformance/cuts_websocket`.
#[test]
fn t03_lengths_that_cannot_be_and_packets_in_any_pieces() {
    let table = [
        ("a length of five bytes", "c0 80 80 80 80 00", "81"),
        ("a length of five bytes, cut short", "c0 ff ff ff ff", "81"),
        ("a topic longer than its packet", "30 05 00ff 'abc'", "81"),
        ("a filter longer than its packet", "82 ~ 0001 {} ffff 'a' 00", "81"),
        ("a packet identifier that is not there", "40 01 00", "81"),
        ("more than the packet has room for", "c0 01 00", "81"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        versions(&VERSIONS, &format!("a connects \n a > {packet} \n a ends {code}"));
        // The same right behind CONNECT, in one write.
        versions(
            &VERSIONS,
            &format!("a > CONNECT 02 0000 {{}} <a%> ; {packet} \n a < 20 ~ 00 00 {{*}} \n a ends {code}"),
        );
    }
    five("a connects \n a > 30 ~ <t> ff ff ff ff 7f 'x' \n a ends 81");
    five("a connects \n a > 30 ~ <t> 09 01 01 'x' \n a ends 81");
    let mut random = Random(1);
    for (who, version) in ["a", "a@ws"].into_iter().flat_map(|who| VERSIONS.map(|version| (who, version))) {
        let mut talk = Talk::new(version);
        let mark = talk.mark();
        let said = format!(
            "CONNECT 02 0000 {{}} <a{mark}> ; 82 ~ 0001 {{}} <{mark}> 00 ; 30 ~ <{mark}> {{}} 'x' ; c0 00"
        );
        let mut bytes = crate::notation::bytes(&said, version, &Default::default());
        while !bytes.is_empty() {
            let piece: Vec<u8> = bytes.drain(..1 + random.below(bytes.len().min(5))).collect();
            talk.line(who).sends(&piece);
        }
        talk.goes(&format!("{who} < 20 ~ 00 00 {{*}} \n {who} < 90 ~ 0001 {{}} 00"));
        talk.goes(&format!("{who} < 30 ~ <%> {{}} 'x' \n {who} < d0 00"));
    }
    for _ in 0..200 {
        let hub = crate::talk::hub();
        let framed = random.below(2) == 0;
        let mut socket = if framed { opened(&hub, "").0 } else { hub.socket() };
        let version = VERSIONS[random.below(3)];
        let mut bytes = Connect::new(version, "fuzz").bytes();
        (0..20).for_each(|_| bytes.extend(random.packet()));
        while !bytes.is_empty() {
            let piece = 1 + random.below(bytes.len().min(40));
            let piece: Vec<u8> = bytes.drain(..piece).collect();
            socket.sends(if framed { frame(0x82, &piece) } else { piece });
        }
        let heard = socket.half_closes().rest();
        assert!(if framed { has_connack(&heard) } else { heard[0] == 0x20 }, "{heard:02x?}");
    }
    crate::talk::hub().is_healthy();
}

/// As many as `HUBBUB_TEST_MALFORMED` says, each with thousands of bytes that could be left behind.
///
/// Guard: nothing keeps what came from a connection that failed (`Edge::end`, edge/lifecycle.rs; `Newcomer`,
/// edge/handshake.rs; `Edge::handle_bytes`, edge/mod.rs).
#[test]
fn t04_malformed_packets_leave_no_memory_behind() {
    let many =
        std::env::var("HUBBUB_TEST_MALFORMED").ok().and_then(|count| count.parse().ok()).unwrap_or(4_000);
    let long = "x".repeat(12_000);
    let table = [
        format!("CONNECT 06 0000 {{}} <a> {{26 <k> <{long}> 18 00000000 18 00000000}} <w> <x>"),
        format!("CONNECT 06 0000 {{}} <a> {{}} <{long}/#> <x>"),
        format!("CONNECT 02 0000 {{26 <k> <{long}> 26 <k> <\\xff>}} <a>"),
        format!("CONNECT 02 0000 {{}} <a> ; 30 ~ <t> {{26 <k> <{long}> 26 <k> <\\0>}} 'x'"),
        format!("CONNECT 02 0000 {{}} <a> ; 82 ~ 0001 {{}} <{long}> 00 <a/#/b> 03"),
        format!("CONNECT 02 0000 {{}} <a> ; 82 ~ 0001 {{26 <k> <{long}> 0b 00}} <t> 00"),
        format!("CONNECT 02 0000 {{}} <a> ; a2 ~ 0001 {{26 <k> <{long}>}} <t> 0001"),
    ];
    let hub = Settings::dev().set("store.engine", "memory").set("log.level", "warn").start();
    let packets: Vec<Vec<u8>> =
        table.iter().map(|text| crate::notation::bytes(text, Version::V5, &Default::default())).collect();
    let says = |count: usize| {
        for packet in packets.iter().cycle().take(count) {
            hub.socket().sends(packet).rest();
        }
    };
    // What is kept for later is kept by then.
    says(700);
    let grown = grows(&hub, || says(many));
    assert!(grown < 16 * MIB, "{many} malformed packets left {} KiB", grown / 1024);
    hub.is_healthy();
}

/// Guards: `topic::check_common` (topic.rs), `Block::count` (codec/properties/block.rs), `Session::has_room_for`
/// (session/mod.rs).
#[test]
fn t06_deep_topics_and_thousands_of_properties_are_bounded() {
    let hub = Settings::dev().set("limits.topic_bytes", "60KiB").set("store.engine", "memory").start();
    let (slashes, deepest, long) = ("/".repeat(61_000), "/".repeat(31), "x".repeat(61_500));
    let mut healthy = hub.person("healthy").arrives();
    for (topic, code) in [(&*slashes, 0x90), (&"/".repeat(32), 0x90), (&long, 0x90)] {
        let mut alice = hub.person("alice").connects();
        alice.send_publish(Publish::new(topic, "x"));
        assert_eq!(alice.is_closed().map(|(code, _)| code), Some(code), "{} bytes", topic.len());
        let mut alice = hub.person("alice").connects();
        assert_eq!(alice.try_subscribe(topic, 0), 0x8f);
        assert_eq!(alice.try_subscribe(&format!("{topic}#"), 0), 0x8f);
        assert_eq!(alice.try_subscribe(&deepest, 0), 0);
        let will = Connect::new(Version::V5, "w").user("alice").will(Publish::new(topic, "x"));
        assert!(hubbub_tests::Client::connect(hub.mqtt(), will).is_err(), "a will on {} bytes", topic.len());
        healthy.pings();
    }
    for count in [65, 9000] {
        let pairs = |message: Publish| (0..count).fold(message, |message, _| message.user("k", "v"));
        let mut alice = hub.person("alice").connects();
        alice.send_publish(pairs(Publish::new("t", "x")));
        assert_eq!(alice.is_closed().map(|(code, _)| code), Some(0x97), "{count} properties");
        let mut connect = Connect::new(Version::V5, "many").user("alice");
        connect.props = (0..count).fold(Props::default(), |props, _| props.with_user("k", "v"));
        assert!(hubbub_tests::Client::connect(hub.mqtt(), connect).is_err(), "{count} properties");
        healthy.pings();
    }
    let filters: Vec<String> = (0..1200).map(|number| format!("t/{number}")).collect();
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 0)).collect();
    let codes = hub.person("alice").connects().subscribes_to_all(&filters);
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1000);
    assert!(codes[1000..].iter().all(|code| *code == 0x97), "quota exceeded");
}

/// Guards: `text::check` (codec/text.rs), for every string field. That no user's character reaches the router of the spine is
/// shown by `spine::tests::a_dead_router_is_noticed`.
#[test]
fn t07_every_string_field_is_utf_8_without_null_and_any_script_is_welcome() {
    let fields = [
        "CONNECT 02 0000 {} <BAD>",
        "CONNECT 82 0000 {} <a> <BAD>",
        "CONNECT 06 0000 {} <a> {} <BAD> <x>",
        "30 ~ <BAD> {} 'x'",
        "82 ~ 0001 {} <BAD> 00",
        "a2 ~ 0001 {} <BAD>",
    ];
    let fields_of_5 = [
        "CONNECT 02 0000 {26 <BAD> <v>} <a>",
        "CONNECT 02 0000 {26 <k> <BAD>} <a>",
        "CONNECT 02 0000 {15 <BAD>} <a>",
        "CONNECT 06 0000 {} <a> {03 <BAD>} <w> <x>",
        "CONNECT 06 0000 {} <a> {08 <BAD>} <w> <x>",
        "30 ~ <t> {03 <BAD>} 'x'",
        "30 ~ <t> {08 <BAD>} 'x'",
        "30 ~ <t> {26 <BAD> <v>} 'x'",
        "82 ~ 0001 {26 <k> <BAD>} <t> 00",
        "62 ~ 0001 00 {1f <BAD>}",
        "e0 ~ 00 {1f <BAD>}",
    ];
    let bad = [
        "a\\0b",
        "\\xff",
        "\\xc3",
        "\\xc0\\xaf",
        "\\xed\\xa0\\x80",
        "\\xed\\xbf\\xbf",
        "\\xf4\\x90\\x80\\x80",
    ];
    for bad in bad {
        fields.iter().for_each(|field| is_refused(&VERSIONS, &field.replace("BAD", bad)));
        fields_of_5.iter().for_each(|field| is_refused(&[Version::V5], &field.replace("BAD", bad)));
    }
    for text in ["聊天", "🚕", "é", "\u{feff}", "\u{10ffff}", "שלום", "\u{202e}x", "ﷺ"] {
        all(&format!(
            "b connects
             b subscribes <{text}%/+/#> 01
             a > CONNECT 86 0000 {{}} <{text}%> {{}} <{text}%/will/{text}> <{text}> <{text}>
             a < 20 ~ 00 00 {{*}}
             a > 30 ~ <{text}%/{text}> {{}} '{text}'
             b < 30 ~ <{text}%/{text}> {{}} '{text}'
             a gone
             b < 30 ~ <{text}%/will/{text}> {{}} '{text}'"
        ));
    }
    crate::talk::hub().is_healthy();
}

/// Malformed; before the login 3.x has no word for it.
fn is_refused(known_to: &[Version], packet: &str) {
    match packet.starts_with("CONNECT") {
        true => versions(known_to, &format!("a > {packet} \n a refused 81")),
        false => versions(known_to, &format!("a connects \n a > {packet} \n a ends 81")),
    }
}

/// Numbers that look like chance and are the same each time.
pub struct Random(pub u64);

impl Random {
    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Something between a packet and none: a likely header, and a body out of parts of packets.
    fn packet(&mut self) -> Vec<u8> {
        const FIRST: [u8; 16] =
            [0x30, 0x31, 0x32, 0x34, 0x3b, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xc0, 0xf0, 0x36, 0x10];
        const PARTS: [&[u8]; 10] = [
            b"\0\x01a",
            b"\0\x01",
            b"\0\0",
            b"\x01",
            b"\0",
            b"\x02\x01\x01",
            b"\x26\0\x01k\0\x01v",
            b"x",
            b"\xff\xff",
            b"\0\x02a#",
        ];
        let body: Vec<u8> =
            (0..self.below(5)).flat_map(|_| PARTS[self.below(PARTS.len())]).copied().collect();
        let length = if self.below(20) == 0 { self.below(400) } else { body.len() };
        [&[FIRST[self.below(FIRST.len())]][..], &varint(length), &body].concat()
    }
}
