//! What an edge counts of its traffic: plain numbers of one thread, added to the counters of the process now and then,
//! so that no packet costs an atomic operation.

use crate::codec::Packet;
use crate::counters::Counters;

/// What went into one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// MQTT packets of every kind.
    pub packets: u32,
    /// Those of them that are PUBLISH.
    pub publishes: u32,
    /// Bytes of their payloads.
    pub payload_bytes: usize,
    /// Bytes that the socket took, of whatever stands in front of MQTT as well.
    pub bytes: usize,
}

/// What an edge counted since [`Tally::settle`].
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes from sockets.
    pub bytes_received: u64,
    packets_received: u64,
    publishes_received: u64,
    publish_bytes_received: u64,
    packets_sent: u64,
    publishes_sent: u64,
    publish_bytes_sent: u64,
    bytes_sent: u64,
    in_flight: i64,
}

impl Tally {
    /// A packet came.
    pub fn received(&mut self, packet: &Packet) {
        self.packets_received += 1;
        if let Packet::Publish(publish) = packet {
            self.publishes_received += 1;
            self.publish_bytes_received += publish.payload.len() as u64;
        }
    }

    /// PUBLISH packets, and bytes, that came so far: what came in one turn is the difference.
    pub fn heard(&self) -> (u64, u64) {
        (self.publishes_received, self.bytes_received)
    }

    /// Something went into a connection.
    pub fn sent(&mut self, sent: Sent) {
        self.packets_sent += u64::from(sent.packets);
        self.publishes_sent += u64::from(sent.publishes);
        self.publish_bytes_sent += sent.payload_bytes as u64;
        self.bytes_sent += sent.bytes as u64;
    }

    /// A session has so many messages in flight; `known` is what it had when it was last looked at.
    pub fn in_flight(&mut self, known: &mut u32, now: usize) {
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        self.in_flight += i64::from(now) - i64::from(*known);
        *known = now;
    }

    /// Adds everything to the counters of the process, and begins anew.
    pub fn settle(&mut self, counters: &Counters) {
        let Tally {
            bytes_received,
            packets_received,
            publishes_received,
            publish_bytes_received,
            packets_sent,
            publishes_sent,
            publish_bytes_sent,
            bytes_sent,
            in_flight,
        } = std::mem::take(self);
        counters.bytes_received_total.add(bytes_received);
        counters.packets_received_total.add(packets_received);
        counters.publishes_received_total.add(publishes_received);
        counters.publish_bytes_received_total.add(publish_bytes_received);
        counters.packets_sent_total.add(packets_sent);
        counters.publishes_sent_total.add(publishes_sent);
        counters.publish_bytes_sent_total.add(publish_bytes_sent);
        counters.bytes_sent_total.add(bytes_sent);
        // In two's complement, adding a negative number takes away.
        counters.in_flight.add(in_flight as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_goes_up_and_down_and_is_counted_once() {
        let (counters, mut tally) = (Counters::default(), Tally::default());
        let (mut one, mut two) = (0, 0);
        tally.in_flight(&mut one, 5);
        tally.in_flight(&mut two, 3);
        tally.settle(&counters);
        tally.in_flight(&mut one, 1);
        tally.in_flight(&mut one, 1);
        tally.settle(&counters);
        tally.settle(&counters);
        assert_eq!(counters.in_flight.get(), 4);
    }
}
