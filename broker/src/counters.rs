//! What the server counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:literal),+ $(,)?) => {
        /// Counters and gauges of the whole process.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $help])+ pub $name: Count),+ }

        impl Counters {
            /// All of them in the text format of Prometheus.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(render_one(&mut text, concat!("hubbub_", stringify!($name)), $kind, concat!($($help),+), &self.$name);)+
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
    /// TLS handshakes that were completed, and followed by a CONNECT.
    tls_connections_total: "counter",
    /// TLS connections that ended by an error: no common version, an unknown certificate, a broken record.
    tls_failures_total: "counter",
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
    /// Batches that the bridge committed.
    commits_total: "counter",
    /// Operations in those batches.
    commit_operations_total: "counter",
    /// Microseconds spent in commit and flush.
    commit_microseconds_total: "counter",
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
