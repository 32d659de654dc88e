//! Thousands who are silent before their login, and readers who do not read while very much is said to them: what it costs,
//! and that nobody else notices. The usual tests are small and assert nothing about speed; `just crowds` runs the long forms,
//! with a larger crowd and a gigabyte, and prints what it measured.

use std::time::{Duration, Instant};

use hubbub_tests::tool::eventually;
use hubbub_tests::{Authority, Client, Connect, Hub, Publish, RawClient, Settings, Version, Way};

use crate::MIB;
use crate::line::upgrade;

/// T18 and T19, as a crowd. Guard for the memory: a `Ticket` and all that a newcomer holds goes with its task (edge/run.rs).
#[test]
fn a_crowd_that_is_silent_is_gone_after_the_deadline_and_leaves_nothing() {
    silent_crowd(1000, 50, "3s");
}

#[test]
#[ignore = "long: just crowds"]
fn ten_thousand_who_are_silent() {
    let usual = silent_crowd(10_000, 2000, "12s");
    assert!(usual.during <= 2 * usual.before, "p99 of a login: {usual:?}");
}

/// T20, with much more. Guards: `out_bytes` of a session, `queue_bytes`, `durable_queue_bytes` (broker/src/session/outbound.rs,
/// bridge/src/queue), and that a queue is read from the disk in pages (session/reader.rs).
#[test]
fn a_reader_who_stops_reading_costs_no_more_than_its_cap() {
    let lanes = [("spine.segment_bytes", "256KiB"), ("spine.segments", "8"), ("spine.credit_bytes", "1MiB")];
    let caps = [
        ("limits.outbound_bytes", "1MiB"),
        ("limits.packet_bytes", "256KiB"),
        ("session.queue_bytes", "1MiB"),
        ("session.durable_queue_bytes", "4MiB"),
        ("store.cache_bytes", "1MiB"),
    ];
    let settings =
        lanes.into_iter().chain(caps).fold(Settings::dev(), |all, (key, value)| all.set(key, value));
    for (qos, kept) in [(0, false), (0, true), (1, false), (1, true)] {
        let cost = stalled_reader(&settings, qos, kept, 24 * MIB);
        // Out buffer and waiting messages, and some for the allocator; what passed is ten times that.
        assert!(cost.grown < 12 * MIB, "QoS {qos}, kept {kept}: {cost:?}");
    }
}

#[test]
#[ignore = "long: just crowds"]
fn a_gigabyte_for_a_reader_who_does_not_read() {
    for (qos, kept) in [(0, false), (0, true), (1, false), (1, true)] {
        let cost = stalled_reader(&Settings::dev(), qos, kept, 1024 * MIB);
        // What is stored for a kept session passes through the cache and the tables of the store.
        let most = if kept && qos > 0 { 160 * MIB } else { 64 * MIB };
        assert!(cost.grown < most, "QoS {qos}, kept {kept}: {cost:?}");
    }
}

/// 99 of 100 healthy logins were done in this time.
#[derive(Debug)]
struct Logins {
    before: Duration,
    during: Duration,
}

fn silent_crowd(count: usize, logins: usize, deadline: &str) -> Logins {
    let authority = Authority::new();
    let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]).set("log.level", "warn");
    let hub = settings.set("store.engine", "memory").set("limits.connect_deadline", deadline).start();
    let hello = Way::tls(hub.mqtts(), &authority.trusted()).hello();
    let (upgrade, connect) = (upgrade(&hub, "mqtt"), Connect::new(Version::V5, "silent").bytes());
    let stages = [
        (hub.mqtt(), &b""[..]),
        (hub.mqtts(), &hello[..hello.len() / 2]),
        (hub.websocket(), &upgrade.as_bytes()[..upgrade.len() / 2]),
        (hub.mqtt(), &connect[..connect.len() / 2]),
    ];
    let crowd = || {
        let stages = stages.iter().cycle().take(count);
        let come = stages.map(|(at, bytes)| {
            let mut socket = RawClient::connect(*at);
            socket.sends(bytes);
            socket
        });
        come.collect::<Vec<_>>()
    };
    let before = p99(&hub, logins);
    let mut resident = vec![hub.resident_bytes()];
    let mut during = Duration::ZERO;
    for _ in 0..3 {
        let mut silent = crowd();
        eventually("all of them are there", || hub.counter("handshakes") == count as u64);
        resident.push(hub.resident_bytes());
        during = p99(&hub, logins);
        silent.iter_mut().for_each(RawClient::ends);
        eventually("the last one is gone", || hub.counter("handshakes") == 0);
        eventually("its memory is given back", || hub.resident_bytes() < resident[0] + 6 * MIB);
        resident.push(hub.resident_bytes());
    }
    let mib: Vec<u64> = resident.iter().map(|bytes| bytes / MIB).collect();
    println!("{count} silent: p99 of a login {before:?} before, {during:?} during; MiB {mib:?}");
    hub.is_healthy();
    Logins { before, during }
}

fn p99(hub: &Hub, logins: usize) -> Duration {
    let mut times: Vec<Duration> = (0..logins)
        .map(|number| {
            let started = Instant::now();
            let mut client = hub.client(Connect::new(Version::V5, format!("healthy{number}")));
            client.pings();
            client.vanishes();
            started.elapsed()
        })
        .collect();
    percentile(&mut times, 99)
}

fn percentile(times: &mut [Duration], of_100: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * of_100 / 100]
}

#[derive(Debug)]
struct Cost {
    /// Memory of the hub, in bytes.
    grown: u64,
}

/// Bytes of one message.
const FRAME: usize = 16 * 1024;
/// Messages between two of the others.
const BATCH: u64 = 32;

/// The reader stays for the whole time; as long as it reads, it costs what it always does.
fn stalled_reader(settings: &Settings, qos: u8, kept: bool, bytes: u64) -> Cost {
    let hub = settings.clone().set("limits.slow_reader", "1h").set("log.level", "error").start();
    let mut alice = hub.client(Connect::new(Version::V311, "alice").user("alice"));
    let mut bob = hub.client(Connect::new(Version::V5, "bob").user("bob"));
    bob.subscribe("talk", 1);
    let mut says = |film: &mut Client, times: &mut Vec<Duration>| {
        let sent: Vec<u16> = (0..BATCH)
            .map(|n| film.send_publish(Publish::new("film", vec![b'x'; FRAME]).qos(qos).id(n as u16 + 1)))
            .collect();
        sent.into_iter().filter(|_| qos > 0).for_each(|id| drop(film.receipt(qos, id)));
        let started = Instant::now();
        alice.publish(Publish::new("talk", "still here").qos(1));
        assert_eq!(bob.receives().text(), "still here");
        times.push(started.elapsed());
    };
    let mut film = hub.client(Connect::new(Version::V311, "film").user("film"));
    // Of one name, so that it is on the same edge, and the lanes on the way there are full already.
    let reader = || {
        let connect = Connect::new(Version::V5, "reader").user("reader");
        let mut reader = hub.client(if kept { connect.persistent() } else { connect });
        reader.subscribe("film", qos);
        reader
    };
    let rounds = bytes / BATCH / FRAME as u64;
    let mut good = reader();
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(256) {
        says(&mut film, &mut before);
        (0..BATCH).for_each(|_| drop(good.receives()));
    }
    good.unsubscribe("film");
    good.leaves();
    let resident = hub.resident_bytes();
    let bad = reader();
    let mut most = resident;
    for _ in 0..rounds {
        says(&mut film, &mut during);
        most = most.max(hub.resident_bytes());
    }
    let grown = most - resident;
    println!(
        "QoS {qos}, kept {kept}: {} MiB for a reader who does not read cost {} KiB (of {} MiB); others p50 {:?}, p99 {:?} before, {:?}, {:?} during",
        bytes / MIB,
        grown / 1024,
        resident / MIB,
        percentile(&mut before, 50),
        percentile(&mut before, 99),
        percentile(&mut during, 50),
        percentile(&mut during, 99),
    );
    let dropped = hub.counter("deliveries_dropped_total") + hub.counter("queue_overflows_total");
    assert!(dropped > 0, "nothing had to go, so nothing was shown");
    bad.vanishes();
    Cost { grown }
}
