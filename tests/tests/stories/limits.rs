//! How many may come, how often, and how fast they may send: whoever is over a limit is told so, and nobody else notices.

use std::time::{Duration, Instant};

use hubbub_tests::client::Refused;
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::{VERSIONS, pingreq};
use hubbub_tests::{Authority, Client, Connect, Publish, Settings, Version, Way};

const BUSY: u8 = 0x89;
const TOO_FAST: u8 = 0x96;
const QUOTA: u8 = 0x97;
const RATE: u8 = 0x9f;

fn settings() -> Settings {
    Settings::dev().set("store.engine", "memory")
}

/// Everybody comes through a proxy on this machine, which says from where.
fn behind_a_proxy() -> Settings {
    settings().set("listen.proxy_from", "127.0.0.1")
}

fn connect(version: Version, id: &str) -> Connect {
    Connect::new(version, id).user("alice")
}

/// The code with which somebody is refused; 3 is what 3.x knows of a server that has no room.
fn refused(way: &Way, connect: Connect) -> u8 {
    match Client::over(way, connect).err() {
        Some(Refused::Code(code, _)) => code,
        other => panic!("expected a refusal with a code, got {other:?}"),
    }
}

#[test]
fn an_address_has_so_many_connections() {
    let hub = behind_a_proxy().set("limits.connections_per_address", "3").start();
    let home = hub.from("192.0.2.7");
    let mut here: Vec<Client> = (0..3)
        .map(|number| Client::over(&home, connect(Version::V5, &format!("c{number}"))).unwrap())
        .collect();
    assert_eq!(refused(&home, connect(Version::V5, "four")), QUOTA);
    assert_eq!(refused(&home, connect(Version::V311, "four")), 3);
    assert_eq!(refused(&home, connect(Version::V31, "four")), 3);
    assert_eq!(hub.counter("connections_over_address_limit_total"), 3);
    // One of IPv4 as IPv6 is the same; another one is another.
    assert_eq!(refused(&hub.from("::ffff:192.0.2.7"), connect(Version::V5, "four")), QUOTA);
    Client::over(&hub.from("192.0.2.8"), connect(Version::V5, "elsewhere")).unwrap().leaves();
    here.iter_mut().for_each(|client| client.pings());
    here.pop().unwrap().leaves();
    eventually("the place is free again", || Client::over(&home, connect(Version::V5, "c2")).is_ok());
}

#[test]
fn a_household_of_ipv6_counts_as_one_address() {
    let hub = behind_a_proxy().set("limits.connections_per_address", "2").start();
    let at = |address: &str, id: &str| Client::over(&hub.from(address), connect(Version::V5, id));
    let (_one, _two) = (at("2001:db8:1:2::1", "one").unwrap(), at("2001:db8:1:2::ffff", "two").unwrap());
    assert_eq!(refused(&hub.from("2001:db8:1:2:3::"), connect(Version::V5, "three")), QUOTA);
    at("2001:db8:1:3::1", "next door").unwrap();
}

#[test]
fn a_user_has_so_many_connections() {
    let hub = settings().set("limits.connections_per_user", "2").start();
    let at = Way::tcp(hub.mqtt());
    let mut phone = hub.client(connect(Version::V5, "phone"));
    let mut tablet = hub.client(connect(Version::V311, "tablet"));
    assert_eq!(refused(&at, connect(Version::V5, "third")), QUOTA);
    assert_eq!(refused(&at, connect(Version::V311, "third")), 3);
    assert_eq!(hub.counter("connections_over_user_limit_total"), 2);
    phone.pings();
    // The same device again takes the place that it had.
    let mut again = hub.client(connect(Version::V5, "phone"));
    assert_eq!(phone.is_closed().map(|(code, _)| code), Some(0x8e));
    assert_eq!(refused(&at, connect(Version::V5, "third")), QUOTA);
    hub.client(Connect::new(Version::V5, "bob").user("bob")).leaves();
    let nameless: Vec<Client> =
        (0..5).map(|number| hub.client(Connect::new(Version::V5, format!("n{number}")))).collect();
    assert_eq!(nameless.len(), 5, "clients without a name are nobody in particular");
    tablet.pings();
    tablet.leaves();
    eventually("the place is free", || Client::over(&at, connect(Version::V5, "third")).is_ok());
    again.pings();
}

#[test]
fn an_address_comes_only_so_often_and_takes_nothing_from_others() {
    let hub = behind_a_proxy().set("limits.connects_per_address", "1").start();
    let flood = hub.from("192.0.2.7");
    let came = (0..1000).map(|number| Client::over(&flood, connect(Version::V5, &format!("c{number}"))));
    let refusal = came.filter_map(Result::err).next();
    assert!(matches!(refusal, Some(Refused::Code(RATE, _))), "{refusal:?}");
    assert!(hub.counter("connections_over_address_rate_total") > 0);
    assert_eq!(hub.counter("connections_over_rate_total"), 0);
    Client::over(&hub.from("192.0.2.8"), connect(Version::V5, "other")).unwrap().pings();
}

#[test]
fn everybody_together_comes_only_so_often() {
    let hub = behind_a_proxy().set("limits.connects_per_second", "1").start();
    let from = |number: usize| hub.from(&format!("192.0.2.{}", number % 250));
    let came =
        (0..1000).map(|number| Client::over(&from(number), connect(Version::V5, &format!("c{number}"))));
    let refusal = came.filter_map(Result::err).next();
    assert!(matches!(refusal, Some(Refused::Code(RATE, _))), "{refusal:?}");
    assert!(hub.counter("connections_over_rate_total") > 0);
    assert_eq!(hub.get("/healthz").status(), 200, "the hub itself is free of it");
}

#[test]
fn this_machine_is_free_of_limits_on_addresses_unless_it_is_to_be_held_to_them() {
    let strict =
        settings().set("limits.connections_per_address", "1").set("limits.connects_per_address", "1");
    let hub = strict.clone().set("limits.connect_burst", "1s").start();
    let here: Vec<Client> =
        (0..10).map(|number| hub.client(connect(Version::V5, &format!("c{number}")))).collect();
    assert_eq!(here.len(), 10);
    let hub = strict.set("limits.loopback", "true").set("limits.connects_per_address", "off").start();
    let _one = hub.client(connect(Version::V5, "one"));
    assert_eq!(refused(&Way::tcp(hub.mqtt()), connect(Version::V5, "two")), QUOTA);
}

#[test]
fn a_full_hub_says_so_at_every_door_and_names_another_one() {
    let authority = Authority::new();
    let settings =
        settings().with_tls(&[&authority.certifies(&["127.0.0.1"])]).set("limits.connections", "1");
    for (redirect, code) in [(None, BUSY), (Some("other.example:1883"), 0x9c)] {
        let settings = match redirect {
            Some(server) => settings.clone().set("server.redirect", server),
            None => settings.clone(),
        };
        let hub = settings.start();
        let mut alice = hub.client(connect(Version::V5, "alice"));
        let trust = authority.trusted();
        for way in [
            Way::tcp(hub.mqtt()),
            Way::tcp(hub.websocket()).websocket(),
            Way::tls(hub.mqtts(), &trust),
            Way::tls(hub.wss(), &trust).websocket(),
        ] {
            let Some(Refused::Code(got, props)) = Client::over(&way, connect(Version::V5, "bob")).err()
            else {
                panic!("refused with a code");
            };
            assert_eq!((got, props.text(0x1c).as_deref()), (code, redirect));
            assert_eq!(refused(&way, connect(Version::V311, "bob")), 3);
        }
        assert_eq!(hub.counter("connections_over_limit_total"), 8);
        // Who says nothing does not stay, and who is there notices nothing.
        hub.socket().ends();
        alice.pings();
        alice.leaves();
        eventually("there is room again", || {
            Client::connect(hub.mqtt(), connect(Version::V5, "bob")).is_ok()
        });
    }
}

#[test]
fn only_so_many_are_told_why_and_the_others_are_closed() {
    let hub = settings().set("limits.connections", "1").set("limits.refusals", "1").start();
    let _alice = hub.client(connect(Version::V5, "alice"));
    let mut heard = hub.socket();
    eventually("one is heard out", || hub.counter("refusals") == 1);
    hub.socket().is_closed();
    assert_eq!(hub.counter("refusals_unsaid_total"), 1);
    heard.sends(connect(Version::V311, "bob").bytes()).hears_hex("20 02 00 03").is_closed();
    eventually("the next one is heard", || hub.counter("refusals") == 0);
    assert_eq!(refused(&Way::tcp(hub.mqtt()), connect(Version::V5, "bob")), BUSY);
}

#[test]
fn whoever_publishes_too_much_is_slowed_down_and_loses_nothing() {
    let settings = settings().set("limits.publishes_per_second", "100").set("limits.publish_burst", "500ms");
    let hub = settings.start();
    for (round, version) in VERSIONS.into_iter().enumerate() {
        let mut reader = hub.client(Connect::new(Version::V5, "reader"));
        reader.subscribe("t", 0);
        let mut alice = hub.client(connect(version, "alice"));
        let started = Instant::now();
        for number in 1..=300 {
            alice.send_publish(Publish::new("t", number.to_string()).qos(1).id(number));
        }
        // Somebody else is not slowed down.
        let mut bob = hub.client(Connect::new(Version::V5, "bob").user("bob"));
        assert_eq!(bob.publish(Publish::new("elsewhere", "x").qos(1)).code, 0x10);
        for number in 1..=300 {
            alice.receipt(1, number);
            assert_eq!(reader.receives().text(), number.to_string(), "{version:?}");
        }
        assert!(started.elapsed() >= Duration::from_millis(2400), "300 at 100 a second, with 50 at once");
        alice.pings();
        assert_eq!(hub.counter("fast_clients_total"), round as u64 + 1, "one word for all of it");
        alice.leaves();
        reader.leaves();
    }
    assert!(hub.counter("fast_clients_paused_total") > 10);
    assert_eq!(hub.counter("fast_clients_ended_total"), 0);
    assert_eq!(hub.log().matches("sends more than it may").count(), 3);
}

#[test]
fn whoever_goes_on_publishing_too_much_is_told_to_go() {
    let settings = settings().set("limits.publishes_per_second", "50").set("limits.publish_burst", "1s");
    let hub = settings.set("limits.publish_excess", "1s").start();
    for version in VERSIONS {
        let flood = Publish::new("t", "x").bytes(version).repeat(1000);
        let mut alice = hub.client(connect(version, "alice"));
        alice.send(&flood);
        let code = alice.is_closed().map(|(code, _)| code);
        assert_eq!(code, (version == Version::V5).then_some(TOO_FAST), "{version:?}");
    }
    assert_eq!(hub.counter("fast_clients_ended_total"), 3);
    assert!(hub.log().contains("event=\"kick\""), "in the audit log");
}

#[test]
fn bytes_count_as_well_whatever_is_in_them() {
    let settings = settings().set("limits.bytes_per_second", "4KiB").set("limits.publish_burst", "1s");
    let hub = settings.set("limits.publish_excess", "1s").start();
    let mut socket = hub.socket();
    socket.sends(connect(Version::V5, "alice").bytes());
    // As fast as it is read: with so little at once it takes no more for a while.
    eventually("it was too much", || {
        socket.sends(pingreq().repeat(500));
        hub.counter("fast_clients_ended_total") == 1
    });
    // It hears what it asked for before it hears that it was too much.
    let heard = socket.rest();
    let goodbye = heard.windows(3).find(|bytes| bytes[0] == 0xe0);
    assert_eq!(goodbye.map(|bytes| bytes[2]), Some(QUOTA));
}

/// Guard: `Edge::rests`, asked by `check_keep_alive`.
#[test]
fn nobody_is_blamed_for_being_silent_while_nothing_is_read_from_them() {
    let settings = settings().set("limits.bytes_per_second", "4KiB").set("limits.publish_burst", "100ms");
    let hub = settings.set("limits.publish_excess", "1min").start();
    let mut alice = hub.client(connect(Version::V5, "alice").keep_alive(1));
    // Four seconds' worth.
    let large = Publish::new("t", vec![b'x'; 16 * 1024]).qos(1);
    assert_eq!(alice.publish(large).code, 0x10);
    alice.pings();
    assert!(hub.counter("fast_clients_paused_total") > 0);
}

#[test]
fn a_refusal_has_a_sentence() {
    let hub = settings().set("limits.connections_per_user", "1").start();
    let _alice = hub.client(connect(Version::V5, "alice"));
    let Some(Refused::Code(QUOTA, props)) = Client::connect(hub.mqtt(), connect(Version::V5, "b")).err()
    else {
        panic!("refused");
    };
    assert_eq!(props.text(0x1f).as_deref(), Some("too many connections of this user"));
}
