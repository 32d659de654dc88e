//! One connection, from CONNECT to its end, the same for both protocol versions.

use super::goodbye::Goodbye;
use super::message::{Draft, Message, Qos, Receipt, Refusal, Subscription};
use super::options::{Options, Protocol};
use super::outbox::Ticket;
use super::{v4, v5};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// What a link tells its owner. After `Down` nothing more comes.
#[derive(Debug)]
pub enum Signal {
    /// The server accepted the login.
    Up {
        /// Did the server remember our session?
        session_present: bool,
    },
    /// A message came in; it is ours to acknowledge.
    Message(Message),
    /// The server let go of a QoS 2 message: its packet identifier may name another one now.
    Released(u16),
    /// The server answered a SUBSCRIBE, filter by filter.
    Subscribed(Vec<Result<Qos, Refusal>>),
    /// The server answered a PUBLISH; one of quality 0 counts as answered when it is written.
    Settled(Ticket, Result<Receipt, Refusal>),
    /// The end.
    Down(Goodbye),
}

/// A connection whose loop runs in a task of its own, because the library loses packets when a poll is abandoned half-way.
#[derive(Debug)]
pub struct Link {
    requests: Requests,
    signals: mpsc::Receiver<Signal>,
}

#[derive(Debug)]
pub(super) enum Requests {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The library's loop has ended: its `Down` is on the way.
#[derive(Debug)]
pub struct Closing;

/// Signals that may wait for a slow terminal before the connection is read no further.
pub(super) const SIGNAL_SLOTS: usize = 64;

impl Link {
    /// Starts to connect. `clean` asks the server to forget an earlier session.
    pub fn open(options: &Options, clean: bool) -> Link {
        tracing::debug!(
            host = options.host,
            port = options.port,
            client = options.client_id,
            clean,
            "connecting"
        );
        let (sender, signals) = mpsc::channel(SIGNAL_SLOTS);
        let requests = match options.protocol {
            Protocol::V4 => Requests::V4(v4::start(options, clean, sender)),
            Protocol::V5 => Requests::V5(v5::start(options, clean, sender)),
        };
        Link { requests, signals }
    }

    /// The next signal, or `None` after the last. May be abandoned and called again.
    pub async fn next(&mut self) -> Option<Signal> {
        let signal = self.signals.recv().await;
        tracing::debug!(?signal, "from the server");
        signal
    }

    /// Sends a PUBLISH.
    pub fn publish(&self, draft: &Draft) -> Result<(), Closing> {
        tracing::debug!(topic = draft.topic, qos = ?draft.qos, bytes = draft.payload.len(), "publishing");
        match &self.requests {
            Requests::V4(client) => v4::publish(client, draft),
            Requests::V5(client) => v5::publish(client, draft),
        }
    }

    /// Sends a SUBSCRIBE.
    pub fn subscribe(&self, subscription: &Subscription) -> Result<(), Closing> {
        tracing::debug!(filters = ?subscription.filters, qos = ?subscription.qos, "subscribing");
        match &self.requests {
            Requests::V4(client) => v4::subscribe(client, subscription),
            Requests::V5(client) => v5::subscribe(client, subscription),
        }
    }

    /// Sends PUBACK or PUBREC, if the message wants one.
    pub fn acknowledge(&self, message: &Message) -> Result<(), Closing> {
        match &self.requests {
            Requests::V4(client) => v4::acknowledge(client, message),
            Requests::V5(client) => v5::acknowledge(client, message),
        }
    }

    /// Sends DISCONNECT after everything that was sent before.
    pub fn disconnect(&self) -> Result<(), Closing> {
        tracing::debug!("disconnecting");
        match &self.requests {
            Requests::V4(client) => client.try_disconnect().map_err(|_| Closing),
            Requests::V5(client) => client.try_disconnect().map_err(|_| Closing),
        }
    }
}

/// Which message a packet identifier stands for. The library numbers the packets; they leave in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    next: Ticket,
    open: HashMap<u16, (Ticket, Receipt)>,
}

impl Tickets {
    /// A PUBLISH was written. One of quality 0 (packet identifier 0) is settled by that.
    pub(super) fn written(&mut self, packet_id: u16) -> Option<Signal> {
        let ticket = self.next;
        self.next += 1;
        if packet_id == 0 {
            return Some(Signal::Settled(ticket, Ok(Receipt::default())));
        }
        self.open.insert(packet_id, (ticket, Receipt::default()));
        None
    }

    /// PUBREC: the first half of QoS 2, which already carries what the server has to say.
    pub(super) fn received(&mut self, packet_id: u16, receipt: Receipt) {
        if let Some(entry) = self.open.get_mut(&packet_id) {
            entry.1 = receipt;
        }
    }

    /// PUBACK.
    pub(super) fn answered(&mut self, packet_id: u16, answer: Result<Receipt, Refusal>) -> Option<Signal> {
        let (ticket, _) = self.open.remove(&packet_id)?;
        Some(Signal::Settled(ticket, answer))
    }

    /// PUBCOMP.
    pub(super) fn completed(&mut self, packet_id: u16) -> Option<Signal> {
        let (ticket, receipt) = self.open.remove(&packet_id)?;
        Some(Signal::Settled(ticket, Ok(receipt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(signal: Option<Signal>) -> (Ticket, Result<Receipt, Refusal>) {
        match signal {
            Some(Signal::Settled(ticket, answer)) => (ticket, answer),
            other => panic!("not settled: {other:?}"),
        }
    }

    #[test]
    fn answers_find_their_message_in_any_order() {
        let mut tickets = Tickets::default();
        assert!(tickets.written(7).is_none());
        assert!(tickets.written(8).is_none());
        assert_eq!(settled(tickets.answered(8, Ok(Receipt::default()))).0, 1);
        assert_eq!(settled(tickets.answered(7, Ok(Receipt::default()))).0, 0);
        assert!(tickets.answered(7, Ok(Receipt::default())).is_none(), "an answer counts once");
    }

    #[test]
    fn quality_0_is_settled_when_written() {
        let mut tickets = Tickets::default();
        assert_eq!(settled(tickets.written(0)), (0, Ok(Receipt::default())));
    }

    #[test]
    fn what_pubrec_said_is_the_receipt_of_quality_2() {
        let mut tickets = Tickets::default();
        tickets.written(1);
        let receipt = Receipt { user_properties: vec![("seq".into(), "7".into())], nobody_listens: false };
        tickets.received(1, receipt.clone());
        assert_eq!(settled(tickets.completed(1)), (0, Ok(receipt)));
    }
}
