//! What the server counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::{Histogram, MICROSECONDS};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:literal),+ $(,)?) => {
        /// Counters, gauges and histograms of the whole process.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: Count,)+
            /// Operations in one committed batch.
            pub commit_operations: Histogram<1>,
            /// Time of one commit with its flush; filled in microseconds.
            pub commit_seconds: Histogram<MICROSECONDS>,
            /// Time from the turn that read a publish to its acknowledgement, of those that wait for the disk; filled in
            /// microseconds. Each edge measures one publish at a time.
            pub acknowledgement_seconds: Histogram<MICROSECONDS>,
        }

        impl Counters {
            /// All of them in the text format of Prometheus.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(render_one(&mut text, concat!("hubbub_", stringify!($name)), $kind, concat!($($help),+), &self.$name);)+
                self.commit_operations.render(
                    &mut text,
                    "hubbub_commit_operations",
                    "Operations in one committed batch.",
                );
                self.commit_seconds.render(
                    &mut text,
                    "hubbub_commit_seconds",
                    "Time of one commit with its flush to the disk.",
                );
                self.acknowledgement_seconds.render(
                    &mut text,
                    "hubbub_acknowledgement_seconds",
                    "Time from the socket to the acknowledgement of a publish that waits for the disk, a sample.",
                );
                text
            }
        }
    };
}

counters! {
    /// Connections that are open now.
    connections: "gauge",
    /// Connections that have not logged in yet.
    handshakes: "gauge",
    /// Connections that logged in.
    connections_total: "counter",
    /// Connections that were refused.
    connections_refused_total: "counter",
    /// PUBLISH packets from clients.
    publishes_received_total: "counter",
    /// PUBLISH packets to clients.
    publishes_sent_total: "counter",
    /// Publishes that were denied.
    publishes_denied_total: "counter",
    /// Retained messages that were refused because there is no room.
    retained_refused_total: "counter",
    /// Deliveries dropped because a connected client had too many waiting.
    deliveries_dropped_total: "counter",
    /// Messages dropped because they expired.
    messages_expired_total: "counter",
    /// Batches lost on the spine, seen as a gap.
    spine_batches_lost_total: "counter",
    /// Connections closed because the client read too slowly.
    slow_readers_total: "counter",
    /// Chat messages stored.
    chat_messages_total: "counter",
    /// Chat messages that were a repeat.
    chat_repeats_total: "counter",
    /// Messages queued for persistent sessions.
    queued_messages_total: "counter",
    /// Messages not queued because the queue of a persistent session was full.
    queue_overflows_total: "counter",
    /// Presence changes published.
    presence_changes_total: "counter",
    /// Webhook calls that were answered with success.
    notifications_sent_total: "counter",
    /// Webhook calls that failed and will be tried again.
    notifications_retried_total: "counter",
    /// Notifications given up.
    notifications_abandoned_total: "counter",
    /// Notifications not needed because a device took the message in time.
    notifications_cancelled_total: "counter",
}

/// One counter or gauge.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn render_one(text: &mut String, name: &str, kind: &str, help: &str, count: &Count) {
    use std::fmt::Write;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name}{help}\n# TYPE {name} {kind}\n{name} {}", count.get());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text() {
        let counters = Counters::default();
        counters.connections.add(3);
        counters.connections.sub(1);
        let text = counters.render();
        assert!(text.contains("# TYPE hubbub_connections gauge\nhubbub_connections 2\n"), "{text}");
        assert!(text.contains("# HELP hubbub_connections Connections that are open now.\n"), "{text}");
    }
}
