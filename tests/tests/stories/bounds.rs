//! Much of everything: what is much is answered whole, and what is too much hurts nobody but its sender.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hubbub_tests::wire::{ack, pingreq, puback, subscribe, take_packet};
use hubbub_tests::{
    Authority, Connect, Hub, Packet, Person, Publish, RawClient, Settings, Version, Way, message, tool,
};

const MIB: usize = 1024 * 1024;

#[test]
fn a_hundred_long_filters_in_one_packet_are_answered_and_disturb_nobody() {
    // One edge, so that everybody waits for the same one.
    let hub = Settings::dev().set("server.edges", "1").start();
    let filters: Vec<String> =
        (0..100).map(|number| format!("u/big/{number:03}{}", "x".repeat(900))).collect();
    let names: Vec<&str> = filters.iter().map(String::as_str).collect();
    let asked: Vec<(&str, u8)> = names.iter().map(|name| (*name, 1)).collect();
    let mut healthy = hub.person("healthy").keeping_the_session().arrives();
    for version in [Version::V311, Version::V5] {
        let device = format!("big{}", version as u8);
        let mut big = hub.person("big").on(&device).speaking(version).keeping_the_session().connects();
        assert_eq!(big.subscribes_to_all(&asked), [1; 100], "{version:?}");
        healthy.says("big", "do I still get my acks?");
        healthy.subscribe("room/1", 1);
        big.says("healthy", "so do I");
        healthy.sees(message("so do I"));
        let codes = big.unsubscribes_from_all(&names);
        assert_eq!(codes, vec![0; if version == Version::V5 { 100 } else { 0 }], "{version:?}");
        healthy.says("big", "and now?");
        healthy.unsubscribe("room/1");
        big.says("healthy", "still");
        healthy.sees(message("still"));
        big.leaves();
    }
    hub.is_healthy();
}

#[test]
fn a_3_1_1_client_may_have_more_than_a_window_of_qos_2_open() {
    const MESSAGES: u16 = 1100;
    let hub = Hub::start();
    let mut bob = hub.person("bob").connects();
    bob.subscribe("room/1", 2);
    let mut alice = hub.person("alice").speaking(Version::V311).connects();
    for id in 1..=MESSAGES {
        alice.send_publish(Publish::new("room/1", id.to_string()).qos(2).id(id));
    }
    (1..=MESSAGES).for_each(|id| assert_eq!(alice.receipt(2, id).code, 0));
    for id in 1..=MESSAGES {
        alice.send(&puback(ack::PUBREL, id));
    }
    (1..=MESSAGES).for_each(|id| alice.is_completed(id));
    for id in 1..=MESSAGES {
        assert_eq!(bob.receives().text(), id.to_string());
    }
}

#[test]
fn thirty_thousand_pings_in_one_write_are_all_answered() {
    let hub = Hub::start();
    for version in [Version::V311, Version::V5] {
        let mut socket = logged_in(hub.socket(), version);
        socket.sends(pingreq().repeat(30_000));
        let answers = socket.takes(60_000);
        assert!(answers.chunks(2).all(|answer| answer == [0xd0, 0]), "{version:?}");
    }
}

#[test]
fn whoever_reads_the_answers_is_read_from_however_small_the_buffer() {
    let sizes = [
        "chat.body_max_bytes",
        "limits.packet_before_login_bytes",
        "limits.packet_bytes",
        "limits.outbound_bytes",
    ];
    let small = sizes.into_iter().fold(Settings::dev(), |settings, key| settings.set(key, "4KiB"));
    let hub = small.set("server.edges", "1").start();
    let mut socket = RawClient::connect(hub.mqtt());
    // Without a name: nothing that happens to it elsewhere makes the server look at it.
    socket.sends(Connect::new(Version::V311, "a").bytes()).hears([0x20, 2, 0, 0]);
    socket.sends(subscribe(Version::V311, 1, &[("t", 0)])).hears([0x90, 3, 0, 1, 0]);
    let message = Publish::new("t", vec![b'x'; 1000]).bytes(Version::V311);
    for _ in 0..3 {
        socket.sends(message.repeat(5)).hears(message.repeat(5));
        socket.sends(pingreq()).hears([0xd0, 0]);
    }
}

#[test]
fn a_packet_that_asks_for_everything_again_and_again_gets_it_twice() {
    let hub = Settings::dev().set("limits.retained_messages", "50").start();
    let mut alice = hub.person("alice").connects();
    for number in 0..30 {
        alice.publish(Publish::new(format!("shelf/{number}"), "x").qos(1).retained());
    }
    let codes = alice.subscribes_to_all(&[("shelf/+", 0); 100]);
    assert_eq!(codes, [[0; 2].as_slice(), &[0x97; 98]].concat());
    hub.is_healthy();
}

/// What is retained behind the SUBSCRIBE, and in front of its SUBACK, is asked for as well.
#[test]
fn a_packet_that_asks_again_and_again_for_what_is_not_there_yet_gets_it_twice() {
    let hub = Settings::dev().set("limits.retained_messages", "50").start();
    let mut alice = hub.person("alice").keeping_the_session().connects();
    let mut packets = subscribe(Version::V5, 1, &[("shelf/+", 0); 100]);
    for number in 0..30 {
        packets.extend(Publish::new(format!("shelf/{number}"), "x").retained().bytes(Version::V5));
    }
    alice.send(&packets);
    assert_eq!(alice.hears_codes(1), [0; 100]);
    alice.pings();
    let (retained, as_published): (Vec<_>, Vec<_>) =
        alice.takes_waiting().into_iter().partition(|message| message.retain);
    assert_eq!((retained.len(), as_published.len()), (60, 30));
    hub.is_healthy();
}

/// More than any window and more than the out buffer of a client.
#[test]
fn three_thousand_retained_messages_reach_every_new_subscriber() {
    const MESSAGES: usize = 3000;
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    for number in 0..MESSAGES {
        alice.publish(Publish::new(format!("shelf/{number}"), vec![b'x'; 2048]).qos(1).retained());
    }
    for qos in [0, 1] {
        let mut bob = hub.person("bob").connects();
        bob.subscribe("shelf/+", qos);
        let mut seen = vec![false; MESSAGES];
        for _ in 0..MESSAGES {
            let message = bob.receives();
            let number: usize = message.topic.strip_prefix("shelf/").unwrap().parse().unwrap();
            assert!(message.retain && message.payload.len() == 2048, "{}", message.topic);
            assert!(!std::mem::replace(&mut seen[number], true), "shelf/{number} came twice");
        }
        bob.has_nothing_more();
        bob.leaves();
    }
}

#[test]
fn somebody_who_sends_pings_and_never_reads_costs_little() {
    costs_little(&small().start(), 64 * MIB, &pingreq().repeat(50_000));
}

#[test]
fn somebody_who_chats_and_never_reads_costs_little() {
    let says = |id: u16| Publish::new("dm/nobody", "hi").qos(1).id(id).bytes(Version::V5);
    let messages: Vec<u8> = (1..=20_000).flat_map(says).collect();
    costs_little(&small().start(), 64 * MIB, &messages);
}

#[test]
fn somebody_who_asks_for_retained_messages_and_never_reads_costs_little() {
    let hub = small().start();
    let mut alice = hub.person("alice").connects();
    for number in 0..2000 {
        alice.send_publish(Publish::new(format!("shelf/{number}"), vec![b'x'; 1024]).retained());
    }
    alice.publish(Publish::new("fence", "").qos(1));
    let asks: Vec<u8> = (1..=3000).flat_map(|id| subscribe(Version::V5, id, &[("shelf/+", 0)])).collect();
    costs_little(&hub, asks.len(), &asks);
}

#[test]
fn a_full_store_refuses_what_is_new_and_gives_out_what_it_has() {
    let hub = Settings::dev().set("store.max_bytes", "1MiB").start();
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("room/1", 1);
    let bob = bob.vanishes();
    let mut alice = hub.person("alice").connects();
    assert_eq!(alice.publish(Publish::new("room/1", "owed").qos(1)).code, 0);
    assert_eq!(alice.publish(Publish::new("shelf", "kept").qos(1).retained()).code, 0);
    let mut number = 0;
    tool::eventually("the store is full", || {
        number += 1;
        let noise = incompressible(100_000, number);
        alice.publish(Publish::new("noise", noise).qos(1).retained()).code == 0x97
    });
    assert!(number > 10, "full after {number} messages");
    let refused = [
        Publish::new("room/1", "new"),
        Publish::new("shelf", "new").retained(),
        Publish::new("dm/bob", "new"),
    ];
    for refused in refused {
        let topic = refused.topic.clone();
        assert_eq!(alice.publish(refused.qos(1)).code, 0x97, "{topic}");
    }
    assert_eq!(alice.publish(Publish::new("nobody/stores/this", "live").qos(1)).code, 0x10);
    alice.subscribe("shelf", 0);
    assert_eq!(alice.receives().text(), "kept");
    let mut bob = bob.connects();
    assert_eq!(bob.receives().text(), "owed");
    bob.has_nothing_more();
    assert!(hub.get("/metrics").text().contains("\nhubbub_store_full 1\n"));
}

/// Bytes that no engine makes fewer.
fn incompressible(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(count).collect()
}

#[test]
fn somebody_who_reads_slowly_costs_little_whatever_is_in_between() {
    let authority = Authority::new();
    let hub = small().with_tls(&[&authority.certifies(&["127.0.0.1"])]).start();
    for way in [
        Way::tcp(hub.mqtt()),
        Way::tcp(hub.websocket()).websocket(),
        Way::tls(hub.mqtts(), &authority.trusted()),
        Way::tls(hub.wss(), &authority.trusted()).websocket(),
    ] {
        let mut slow = logged_in(RawClient::over(&way), Version::V5);
        slow.sends(subscribe(Version::V5, 1, &[("flood", 0)])).takes(6);
        let mut alice = hub.person("alice").connects();
        let (before, mut most) = (hub.resident_bytes(), 0);
        for _ in 0..100 {
            for _ in 0..8 {
                alice.send_publish(Publish::new("flood", vec![b'x'; 128 * 1024]));
            }
            // A little is read, so that a little may be written.
            slow.takes(96 * 1024);
            alice.pings();
            most = most.max(hub.resident_bytes());
        }
        let grown = most.saturating_sub(before) as usize / MIB;
        assert!(grown < 48, "grew by {grown} MiB");
    }
}

/// With one edge, so that everybody waits for the same one, and with little memory for what is not the matter here: the
/// cache of the store and the segments of the spine, which any traffic fills.
fn small() -> Settings {
    Settings::dev()
        .set("server.edges", "1")
        .set("store.cache_bytes", "1MiB")
        .set("spine.segment_bytes", "1MiB")
        .set("spine.credit_bytes", "1MiB")
}

/// Somebody sends this again and again and never reads; the hub serves others meanwhile, and needs little memory for it.
fn costs_little(hub: &Hub, at_most: usize, bytes: &[u8]) {
    let mut flood = logged_in(hub.socket(), Version::V5);
    let mut one = hub.person("one").arrives();
    let mut two = hub.person("two").arrives();
    let (before, mut most) = (hub.resident_bytes(), 0);
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            flood.sends_without_reading(bytes, at_most);
            stopped.store(true, Ordering::SeqCst);
        });
        // Also for a while after the last byte: what is sent is not yet read. The socket stays open.
        let mut rounds = 0;
        while rounds < 200 || !stopped.load(Ordering::SeqCst) {
            is_served(&mut one, &mut two);
            most = most.max(hub.resident_bytes());
            rounds += 1;
        }
    });
    let grown = most.saturating_sub(before) as usize / MIB;
    assert!(grown < 64, "grew by {grown} MiB from {} MiB", before as usize / MIB);
}

fn is_served(one: &mut Person, two: &mut Person) {
    one.says("two", "hi");
    two.sees(message("hi").from("one"));
}

/// A socket behind CONNECT and CONNACK.
fn logged_in(mut socket: RawClient, version: Version) -> RawClient {
    socket.sends(Connect::new(version, "flood").user("mallory").bytes());
    let mut answer = Vec::new();
    loop {
        answer.extend(socket.takes(1));
        if let Some(packet) = take_packet(&mut answer, version) {
            assert!(matches!(packet, Packet::ConnAck { code: 0, .. }), "{packet:?}");
            return socket;
        }
    }
}
