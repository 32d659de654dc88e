//! What the server says of itself on `$SYS/broker/…`, under the names that dashboards know from Mosquitto.
//!
//! Pure: counters and time in, changed topics out. Names whose value could not be told truly are left out: `timestamp`
//! (there is no date of the build), `heap/…` and `packet/out/…`.

use std::collections::HashMap;

use ahash::RandomState;

use crate::clock::Millis;
use crate::counters::Counters;
use crate::retained::RetainedSize;

/// Where all of it is.
const ROOT: &str = "$SYS/broker/";

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    /// Counters and gauges of the process.
    pub counters: &'a Counters,
    /// Retained messages of users.
    pub retained: RetainedSize,
}

type Value = fn(&Numbers<'_>) -> u64;

/// Numbers that are told as they are.
const VALUES: [(&str, Value); 24] = [
    // Sessions, with a connection or without.
    ("clients/total", |n| n.counters.sessions.get()),
    ("clients/connected", connected),
    ("clients/active", connected),
    // Sessions that outlived their connection.
    ("clients/disconnected", disconnected),
    ("clients/inactive", disconnected),
    // Most that were connected at the same time.
    ("clients/maximum", |n| n.counters.connections_max.get()),
    ("clients/expired", |n| n.counters.sessions_expired_total.get()),
    // Packets of every kind.
    ("messages/received", |n| n.counters.packets_received_total.get()),
    ("messages/sent", |n| n.counters.packets_sent_total.get()),
    ("messages/inflight", |n| n.counters.in_flight.get()),
    // What is retained, and what waits for persistent sessions.
    ("messages/stored", stored),
    ("store/messages/count", stored),
    ("store/messages/bytes", |n| n.retained.payload_bytes as u64 + n.counters.queue_payload_bytes.get()),
    ("publish/messages/received", |n| n.counters.publishes_received_total.get()),
    ("publish/messages/sent", |n| n.counters.publishes_sent_total.get()),
    ("publish/messages/dropped", dropped),
    ("publish/bytes/received", |n| n.counters.publish_bytes_received_total.get()),
    ("publish/bytes/sent", |n| n.counters.publish_bytes_sent_total.get()),
    ("bytes/received", |n| n.counters.bytes_received_total.get()),
    ("bytes/sent", |n| n.counters.bytes_sent_total.get()),
    ("subscriptions/count", |n| n.counters.subscriptions.get()),
    ("shared_subscriptions/count", |n| n.counters.shared_subscriptions.get()),
    // With a space, as in Mosquitto.
    ("retained messages/count", |n| n.retained.messages as u64),
    ("connections/socket/count", |n| n.counters.sockets_total.get()),
];

/// Totals of which it is told how much they grow in a minute.
const LOADS: [(&str, Value); 9] = [
    ("messages/received", |n| n.counters.packets_received_total.get()),
    ("messages/sent", |n| n.counters.packets_sent_total.get()),
    ("publish/received", |n| n.counters.publishes_received_total.get()),
    ("publish/sent", |n| n.counters.publishes_sent_total.get()),
    ("publish/dropped", dropped),
    ("bytes/received", |n| n.counters.bytes_received_total.get()),
    ("bytes/sent", |n| n.counters.bytes_sent_total.get()),
    ("sockets", |n| n.counters.sockets_total.get()),
    // CONNECT packets, let in or not.
    ("connections", |n| n.counters.connects_total.get()),
];

/// Over how long a load is averaged: its name, and seconds.
const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

fn connected(numbers: &Numbers<'_>) -> u64 {
    numbers.counters.connections.get()
}

fn disconnected(numbers: &Numbers<'_>) -> u64 {
    // Two counters are never read at the same moment.
    numbers.counters.sessions.get().saturating_sub(connected(numbers))
}

fn stored(numbers: &Numbers<'_>) -> u64 {
    numbers.retained.messages as u64 + numbers.counters.queue_messages.get()
}

fn dropped(numbers: &Numbers<'_>) -> u64 {
    numbers.counters.deliveries_dropped_total.get() + numbers.counters.queue_overflows_total.get()
}

/// What was told so far.
#[derive(Debug)]
pub struct Sys {
    started: Millis,
    refreshed: Millis,
    loads: [Load; LOADS.len()],
    told: HashMap<String, String, RandomState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    total: u64,
    /// Growth in a minute, averaged over each of [`WINDOWS`].
    averages: [f64; WINDOWS.len()],
}

impl Sys {
    /// Nothing told yet.
    pub fn new(started: Millis) -> Sys {
        Sys { started, refreshed: started, loads: Default::default(), told: HashMap::default() }
    }

    /// What is to be told now: topics and texts that are not as they were told last.
    pub fn refresh(&mut self, now: Millis, numbers: &Numbers<'_>) -> Vec<(String, String)> {
        let seconds = now.saturating_sub(self.refreshed) as f64 / 1000.0;
        self.refreshed = now;
        let uptime = now.saturating_sub(self.started) / 1000;
        let mut all = vec![
            ("version".to_owned(), concat!("hubbub version ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime".to_owned(), format!("{uptime} seconds")),
        ];
        all.extend(VALUES.iter().map(|(name, value)| ((*name).to_owned(), value(numbers).to_string())));
        for ((name, total), load) in LOADS.iter().zip(&mut self.loads) {
            load.advance(total(numbers), seconds);
            for ((window, _), average) in WINDOWS.iter().zip(load.averages) {
                all.push((format!("load/{name}/{window}"), format!("{average:.2}")));
            }
        }
        all.retain(|(name, text)| self.told.get(name) != Some(text));
        self.told.extend(all.iter().cloned());
        all.into_iter().map(|(name, text)| (format!("{ROOT}{name}"), text)).collect()
    }
}

impl Load {
    /// Exponential averages, as the load of Unix machines: what was, fades within the window.
    fn advance(&mut self, total: u64, seconds: f64) {
        let growth = total.saturating_sub(self.total) as f64;
        self.total = total;
        if seconds <= 0.0 {
            return;
        }
        let rate = growth * 60.0 / seconds;
        for (average, (_, window)) in self.averages.iter_mut().zip(WINDOWS) {
            *average = rate + (-seconds / window).exp() * (*average - rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresh(sys: &mut Sys, now: Millis, counters: &Counters) -> HashMap<String, String> {
        let retained = RetainedSize { messages: 2, bytes: 100, payload_bytes: 30 };
        sys.refresh(now, &Numbers { counters, retained }).into_iter().collect()
    }

    #[test]
    fn every_name_is_told_at_first_and_then_only_what_changed() {
        let (mut sys, counters) = (Sys::new(1000), Counters::default());
        let first = refresh(&mut sys, 1000, &counters);
        assert_eq!(first.len(), 2 + VALUES.len() + LOADS.len() * WINDOWS.len());
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
        assert_eq!(first["$SYS/broker/load/bytes/sent/15min"], "0.00");
        assert!(refresh(&mut sys, 1000, &counters).is_empty());
        counters.connections.add(1);
        let second = refresh(&mut sys, 11_999, &counters);
        assert_eq!(second.len(), 3, "{second:?}");
        assert_eq!(second["$SYS/broker/uptime"], "10 seconds");
        assert_eq!(second["$SYS/broker/clients/connected"], "1");
        assert_eq!(second["$SYS/broker/clients/active"], "1");
    }

    #[test]
    fn sums_and_differences_of_counters() {
        let (mut sys, counters) = (Sys::new(0), Counters::default());
        counters.sessions.add(7);
        counters.connections.add(4);
        counters.queue_messages.add(3);
        counters.queue_payload_bytes.add(12);
        counters.deliveries_dropped_total.add(1);
        counters.queue_overflows_total.add(5);
        let told = refresh(&mut sys, 0, &counters);
        for (name, text) in [
            ("clients/total", "7"),
            ("clients/disconnected", "3"),
            ("clients/inactive", "3"),
            ("retained messages/count", "2"),
            ("messages/stored", "5"),
            ("store/messages/count", "5"),
            ("store/messages/bytes", "42"),
            ("publish/messages/dropped", "6"),
        ] {
            assert_eq!(told[&format!("{ROOT}{name}")], text, "{name}");
        }
    }

    #[test]
    fn a_load_is_the_growth_in_a_minute_and_fades() {
        let (mut sys, counters) = (Sys::new(0), Counters::default());
        let load = |told: &HashMap<String, String>, window: &str| {
            told[&format!("{ROOT}load/publish/received/{window}")].parse::<f64>().unwrap()
        };
        counters.publishes_received_total.add(100);
        // 600 a minute for ten seconds: 600 × (1 − e^(−10/60)).
        let told = refresh(&mut sys, 10_000, &counters);
        assert_eq!((load(&told, "1min"), load(&told, "5min"), load(&told, "15min")), (92.11, 19.67, 6.63));
        // Nothing more: what was fades to 1/e within the window.
        let told = refresh(&mut sys, 70_000, &counters);
        assert_eq!(load(&told, "1min"), 33.89);
        // Steady: the average becomes the rate.
        for minute in 1..=100 {
            counters.publishes_received_total.add(30);
            refresh(&mut sys, 70_000 + minute * 60_000, &counters);
        }
        assert!((sys.loads[2].averages[2] - 30.0).abs() < 0.1, "{:?}", sys.loads[2]);
    }
}
