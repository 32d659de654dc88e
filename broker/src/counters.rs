//! What the server counts, for `/metrics` and `$SYS`.

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
    /// Most connections that were open at the same time.
    connections_max: "gauge",
    /// Connections that have not logged in yet.
    handshakes: "gauge",
    /// Connections that were accepted, whatever became of them.
    sockets_total: "counter",
    /// CONNECT packets from clients.
    connects_total: "counter",
    /// Connections that logged in.
    connections_total: "counter",
    /// Connections that were refused.
    connections_refused_total: "counter",
    /// Logins that were refused, with a line in the audit log each: a wrong password, a bad token, a device that is barred.
    logins_refused_total: "counter",
    /// Connections over a limit that are being heard out, to be told so.
    refusals: "gauge",
    /// Connections over a limit that were closed without a word, as too many were being told.
    refusals_unsaid_total: "counter",
    /// Connections refused because there are limits.connections already.
    connections_over_limit_total: "counter",
    /// Connections refused because there are limits.connections_per_address from there already.
    connections_over_address_limit_total: "counter",
    /// Connections refused because there are limits.connections_per_user of that user already.
    connections_over_user_limit_total: "counter",
    /// Connections refused because more came than limits.connects_per_second.
    connections_over_rate_total: "counter",
    /// Connections refused because more came from their address than limits.connects_per_address.
    connections_over_address_rate_total: "counter",
    /// Connections refused because their client id was taken over more often than limits.takeovers.
    takeovers_refused_total: "counter",
    /// Times that a client began to send more than limits.publishes_per_second or bytes_per_second.
    fast_clients_total: "counter",
    /// Times that nothing was read for a while from a client that sends too much.
    fast_clients_paused_total: "counter",
    /// Connections closed because the client went on sending too much for limits.publish_excess.
    fast_clients_ended_total: "counter",
    /// Sessions, with a connection or without.
    sessions: "gauge",
    /// Sessions that ended because their client stayed away too long.
    sessions_expired_total: "counter",
    /// Subscriptions of all sessions, without the shared ones.
    subscriptions: "gauge",
    /// Shared subscriptions of all sessions.
    shared_subscriptions: "gauge",
    /// Bytes from clients.
    bytes_received_total: "counter",
    /// Bytes to clients.
    bytes_sent_total: "counter",
    /// MQTT packets from clients.
    packets_received_total: "counter",
    /// MQTT packets to clients.
    packets_sent_total: "counter",
    /// TLS handshakes that were completed, and followed by a CONNECT.
    tls_connections_total: "counter",
    /// TLS connections that ended by an error: no common version, an unknown certificate, a broken record.
    tls_failures_total: "counter",
    /// PUBLISH packets from clients.
    publishes_received_total: "counter",
    /// Bytes of their payloads.
    publish_bytes_received_total: "counter",
    /// PUBLISH packets to clients.
    publishes_sent_total: "counter",
    /// Bytes of their payloads.
    publish_bytes_sent_total: "counter",
    /// QoS 1 and 2 messages that clients have not acknowledged to the end.
    in_flight: "gauge",
    /// Changes of rights while the server ran.
    rights_changes_total: "counter",
    /// Publishes that were denied.
    publishes_denied_total: "counter",
    /// Retained messages that were refused because there is no room.
    retained_refused_total: "counter",
    /// Publishes that were refused because the store has reached store.max_bytes.
    publishes_over_quota_total: "counter",
    /// Bytes that the store takes on the disk.
    store_bytes: "gauge",
    /// 1 while the store has reached store.max_bytes.
    store_full: "gauge",
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
    /// Messages that wait for persistent sessions.
    queue_messages: "gauge",
    /// Bytes of their payloads.
    queue_payload_bytes: "gauge",
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
        // Adding nothing would still take the cache line away from others.
        if n != 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Takes away; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Raises it to this value; for the highest value of a gauge.
    pub fn raise(&self, to: u64) {
        self.0.fetch_max(to, Ordering::Relaxed);
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
