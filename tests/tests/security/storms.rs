//! T16: the same client id again and again.

use std::sync::atomic::{AtomicU32, Ordering};

use hubbub_tests::client::Refused;
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Client, Connect, Publish, Settings, Version};

/// How many times it may be taken over.
const TIMES: usize = 5;

/// Guards: `Edge::admit` asks `takeovers` before anything is changed for the connection that is there, and only if there is
/// one (edge/lifecycle.rs); what it remembers is kept beside the sessions, since clean start ends those.
#[test]
fn t16_a_storm_of_take_overs_is_refused_and_loses_no_will_and_no_session() {
    let hub = settings().start();
    let mut heir = hub.client(Connect::new(Version::V5, "heir"));
    heir.subscribe("wills/#", 1);
    for version in VERSIONS {
        for kept in [false, true] {
            let id = format!("{version:?}-{kept}");
            let next = |number: usize| {
                let connect = Connect::new(version, id.as_str());
                let connect = if kept { connect.persistent() } else { connect };
                connect.will(Publish::new(format!("wills/{id}"), number.to_string()).qos(1))
            };
            let mut holder = hub.client(next(0));
            for number in 1..=TIMES {
                let newcomer = hub.client(next(number));
                let told = holder.is_closed().map(|(code, _)| code);
                assert_eq!(told, (version == Version::V5).then_some(0x8e), "{id}: taken over");
                assert_eq!(
                    heir.receives().text(),
                    (number - 1).to_string(),
                    "{id}: the will of the one before"
                );
                holder = newcomer;
            }
            let refused = hub.counter("takeovers_refused_total");
            for number in 0..20 {
                let code = match Client::connect(hub.mqtt(), next(100 + number)).err() {
                    Some(Refused::Code(code, _)) => code,
                    other => panic!("{id}: {other:?}"),
                };
                assert_eq!(code, if version == Version::V5 { 0x97 } else { 3 }, "{id}");
            }
            assert_eq!(hub.counter("takeovers_refused_total") - refused, 20);
            holder.pings();
            heir.has_nothing_more();
            // It is not there any more, so nobody is taken over.
            holder.vanishes();
            assert_eq!(heir.receives().text(), TIMES.to_string(), "{id}: the last will");
            for _ in 0..20 {
                hub.client(Connect::new(version, id.as_str())).leaves();
            }
        }
    }
    eventually("no session is left but that of the heir", || hub.counter("sessions") == 1);
}

/// All at once, on several edges, each with a will: whoever was let in leaves exactly one.
#[test]
fn t16_a_storm_from_all_sides_leaves_one_connection_and_every_will() {
    let hub = settings().set("server.edges", "2").set("limits.takeovers", "100").start();
    let mut heir = hub.client(Connect::new(Version::V5, "heir"));
    heir.subscribe("wills", 1);
    let let_in = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for side in 0..8 {
            let (hub, let_in) = (&hub, &let_in);
            scope.spawn(move || {
                for number in 0..40 {
                    let will = Publish::new("wills", format!("{side}-{number}")).qos(1);
                    match Client::connect(hub.mqtt(), Connect::new(Version::V5, "one").will(will)) {
                        Ok(client) => {
                            let_in.fetch_add(1, Ordering::Relaxed);
                            client.vanishes();
                        }
                        Err(Refused::Code(code, _)) => assert_eq!(code, 0x97),
                        // Taken over before it had heard that it was let in.
                        Err(Refused::Closed) => drop(let_in.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    for _ in 0..let_in.load(Ordering::Relaxed) {
        heir.receives();
    }
    eventually("all are gone", || hub.counter("connections") == 1);
    heir.has_nothing_more();
    assert_eq!(hub.counter("sessions"), 1);
}

fn settings() -> Settings {
    let settings = Settings::dev().set("limits.takeovers", TIMES.to_string());
    settings.set("limits.takeover_window", "1d").set("store.engine", "memory")
}
