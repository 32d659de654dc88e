//! T17, T38: the process and its sockets.

use std::net::SocketAddr;

use hubbub_tests::binary::repository;
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Connect, Hub, Settings, Version};

use crate::talk::five;

/// The hashers of the standard library and of `ahash` have keys that are made at the start, the latter by a feature that can
/// be lost. Nothing else may hash what peers choose.
///
/// Guards: `runtime-rng` in Cargo.toml; `RandomState::new` and no fixed keys anywhere in broker and bridge.
#[test]
fn t17_ids_and_topics_that_peers_choose_are_hashed_under_a_key_of_this_run() {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let ahash = manifest.lines().find(|line| line.starts_with("ahash")).expect("it is in the workspace");
    assert!(ahash.contains("runtime-rng"), "{ahash}");
    let fixed =
        ["with_seed", "FxHash", "fxhash", "rustc_hash", "BuildHasherDefault", "nohash", "fnv::", "Fnv"];
    let mut found = Vec::new();
    let mut folders = vec![repository().join("broker/src"), repository().join("bridge/src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            found.extend(fixed.iter().filter(|word| text.contains(**word)).map(|word| (path.clone(), *word)));
        }
    }
    assert!(found.is_empty(), "hashers without a key: {found:?}");
}

/// Guards: `Session::poll_timeout` and `handle_timeout` (session/mod.rs), `Edge::keep_alive_for` (edge/lifecycle.rs).
#[test]
fn t38_silence_ends_after_one_and_a_half_keep_alive_times() {
    let hub = Settings::dev().set("store.engine", "memory").set("session.keep_alive_max", "2s").start();
    let mut forever: Vec<_> =
        VERSIONS[..2].iter().map(|v| hub.client(Connect::new(*v, format!("0-{v:?}")))).collect();
    let started = std::time::Instant::now();
    let mut silent: Vec<_> =
        VERSIONS.iter().map(|v| hub.client(Connect::new(*v, format!("1-{v:?}")).keep_alive(1))).collect();
    // A client of 5 that wants none is told what to use.
    let mut told = hub.client(Connect::new(Version::V5, "told"));
    assert_eq!(told.welcome.get(0x13), Some(&hubbub_tests::wire::Value::Short(2)));
    for client in &mut silent {
        let reason = client.is_closed().map(|(code, _)| code);
        assert_eq!(reason, (client.version() == Version::V5).then_some(0x8d), "{:?}", client.version());
        let after = started.elapsed().as_millis();
        // The unit test of the session is exact; this leaves room for a busy machine.
        assert!((1400..10_000).contains(&after), "{:?} was given {after} ms", client.version());
    }
    assert_eq!(told.is_closed().map(|(code, _)| code), Some(0x8d), "the keep-alive of the server counts");
    forever.iter_mut().for_each(|client| client.pings());
}

/// The system asks the other end of a silent connection whether it is there, after a minute, so a dead one behind a NAT is
/// found although its client wanted no keep-alive.
///
/// Guard: `set_tcp_keepalive` in `listen` (server.rs).
#[test]
fn t38_the_system_looks_after_silent_connections() {
    let hub = Hub::start();
    for (at, door) in [(hub.mqtt(), "MQTT"), (hub.websocket(), "WebSocket")] {
        let mut socket = hubbub_tests::RawClient::connect(at);
        let first: Vec<u8> = match door {
            "MQTT" => Connect::new(Version::V311, "a").bytes(),
            _ => crate::line::upgrade(&hub, "mqtt").into(),
        };
        socket.sends(first).takes(4);
        let mut timer = None;
        hubbub_tests::tool::eventually("the system knows the connection", || {
            timer = keep_alive_timer(at, socket.address());
            timer.is_some()
        });
        let seconds = timer.unwrap();
        assert!((1..=60).contains(&seconds), "{door}: the system asks in {seconds} s");
    }
    five("a connects \n a quiet");
}

/// Seconds until the system asks whether `peer` is there; nothing if it is not going to. /proc/net/tcp of Linux: the second
/// column is the local address, the third the other one, the sixth the kind of timer (2: keep-alive) and when it fires, in
/// hundredths of a second.
fn keep_alive_timer(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(local) = local else { return None };
    let SocketAddr::V4(peer) = peer else { return None };
    let written = |at: std::net::SocketAddrV4| {
        format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.get(1..3) == Some(&[&*written(local), &*written(peer)]))?;
    let (kind, when) = row.get(5)?.split_once(':')?;
    (kind == "02").then(|| u64::from_str_radix(when, 16).unwrap() / 100)
}
