//! A connection that comes back: subscriptions are renewed and unanswered messages sent again.

use super::backoff::Backoff;
use super::goodbye::{Goodbye, Verdict};
use super::link::{Closing, Link, Signal};
use super::message::{Draft, Message, Qos, Receipt, Refusal, Subscription};
use super::options::{Options, Session, chance};
use super::outbox::{Key, Outbox};
use crate::exit::{Exit, Failure};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// What a command hears of its connection.
#[derive(Debug)]
pub enum Event {
    /// The connection is up, for the first time or again.
    Up,
    /// The connection is gone and will be tried again after this time.
    Down(Goodbye, Duration),
    /// The server answered the subscription, filter by filter.
    Subscribed(Vec<Result<Qos, Refusal>>),
    /// A message came in. It is acknowledged by `acknowledge`, after it was dealt with.
    Message(Message),
    /// The server answered a message of ours.
    Settled(Key, Result<Receipt, Refusal>),
}

/// When a lost connection is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never.
    Never,
    /// Once it was up. A server that was never reached is a mistake in the address more often than an outage.
    OnceUp,
    /// Also before it was up for the first time.
    Always,
}

/// A connection to a server over all its interruptions.
///
/// Call `next` until it fails; hand every `Event::Message` to `acknowledge`; end with `close`.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    subscription: Option<Subscription>,
    retry: Retry,
    backoff: Backoff,
    road: Road,
    up_since: Option<Instant>,
    was_up: bool,
    outbox: Outbox,
    /// Packet identifiers of QoS 2 messages that we had and that the server has not let go of.
    unreleased: HashSet<u16>,
}

#[derive(Debug)]
enum Road {
    Resting(Instant),
    Open(Link),
}

/// A connection that stood this long was no accident: the waits between attempts start over.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

impl Connection {
    /// Connects with the first call of `next`.
    pub fn new(options: Options, subscription: Option<Subscription>, retry: Retry) -> Connection {
        Connection {
            options,
            subscription,
            retry,
            backoff: Backoff::default(),
            road: Road::Resting(Instant::now()),
            up_since: None,
            was_up: false,
            outbox: Outbox::default(),
            unreleased: HashSet::new(),
        }
    }

    /// The next event. May be abandoned and called again. Fails when there is no connection and there will be none.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            match &mut self.road {
                Road::Resting(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.road = Road::Open(Link::open(&self.options, self.wants_clean_session()));
                }
                Road::Open(link) => {
                    let signal = link.next().await;
                    if let Some(event) = self.take(signal)? {
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// Sends a message as soon as there is a connection and room, and again on every new connection until it is answered.
    pub fn publish(&mut self, draft: Draft) -> Key {
        let key = self.outbox.push(draft);
        self.send_waiting();
        key
    }

    /// Says that a message was dealt with.
    pub fn acknowledge(&mut self, message: &Message) {
        if message.qos == Qos::ExactlyOnce {
            self.unreleased.insert(message.packet_id);
        }
        if let Road::Open(link) = &self.road {
            hear_the_end_later(link.acknowledge(message));
        }
    }

    /// Is the connection up at this moment?
    pub fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// Messages of ours without an answer.
    pub fn unanswered(&self) -> usize {
        self.outbox.len()
    }

    /// Shall the source of messages go on?
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Takes leave: what was sent and acknowledged leaves first, the will does not.
    pub async fn close(mut self) {
        let Road::Open(link) = &mut self.road else { return };
        if self.up_since.is_none() || link.disconnect().is_err() {
            return;
        }
        let ended = async { while link.next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE_LIMIT, ended).await.is_err() {
            tracing::debug!("the server did not close the connection");
        }
    }

    fn take(&mut self, signal: Option<Signal>) -> Result<Option<Event>, Failure> {
        match signal {
            Some(Signal::Up { session_present }) => Ok(Some(self.came_up(session_present))),
            Some(Signal::Message(message)) => Ok(self.unless_repeated(message)),
            Some(Signal::Released(packet_id)) => {
                self.unreleased.remove(&packet_id);
                Ok(None)
            }
            Some(Signal::Subscribed(grants)) => Ok(Some(Event::Subscribed(grants))),
            Some(Signal::Settled(ticket, answer)) => {
                let key = self.outbox.settle(ticket);
                self.send_waiting();
                Ok(key.map(|key| Event::Settled(key, answer)))
            }
            Some(Signal::Down(goodbye)) => self.went_down(goodbye).map(Some),
            None => {
                let message = "the connection ended".to_owned();
                self.went_down(Goodbye { message, verdict: Verdict::Return }).map(Some)
            }
        }
    }

    fn came_up(&mut self, session_present: bool) -> Event {
        self.up_since = Some(Instant::now());
        self.was_up = true;
        if !session_present {
            self.unreleased.clear();
        }
        if let (Some(subscription), Road::Open(link)) = (&self.subscription, &self.road) {
            hear_the_end_later(link.subscribe(subscription));
        }
        self.send_waiting();
        Event::Up
    }

    fn went_down(&mut self, goodbye: Goodbye) -> Result<Event, Failure> {
        if self.up_since.take().is_some_and(|since| since.elapsed() >= SETTLED_AFTER) {
            self.backoff.succeeded();
        }
        self.outbox.connection_lost();
        if let Verdict::Stop(exit) = goodbye.verdict {
            return Err(self.failure(exit, &goodbye.message));
        }
        let may_retry = match self.retry {
            Retry::Never => false,
            Retry::OnceUp => self.was_up,
            Retry::Always => true,
        };
        let delay = if may_retry { self.backoff.next_delay(chance()) } else { None };
        let Some(delay) = delay else {
            return Err(self.failure(Exit::Unavailable, &goodbye.message));
        };
        self.road = Road::Resting(Instant::now() + delay);
        Ok(Event::Down(goodbye, delay))
    }

    fn failure(&self, exit: Exit, message: &str) -> Failure {
        Failure::new(exit, format!("{}:{}: {message}", self.options.host, self.options.port))
    }

    fn send_waiting(&mut self) {
        let Road::Open(link) = &self.road else { return };
        if self.up_since.is_none() {
            return;
        }
        while let Some(draft) = self.outbox.next_to_send() {
            hear_the_end_later(link.publish(draft));
        }
    }

    /// A QoS 2 message that comes again because our PUBREC was lost is acknowledged again, and not shown again (section 4.3.3).
    fn unless_repeated(&mut self, message: Message) -> Option<Event> {
        if message.qos == Qos::ExactlyOnce && self.unreleased.contains(&message.packet_id) {
            self.acknowledge(&message);
            return None;
        }
        Some(Event::Message(message))
    }

    fn wants_clean_session(&self) -> bool {
        match self.options.session {
            Session::Clean => true,
            Session::Resume => !self.was_up,
            Session::Keep => false,
        }
    }
}

/// A link that takes nothing any more has ended, and its `Down` is on the way: that is where the end is dealt with.
fn hear_the_end_later(sent: Result<(), Closing>) {
    if sent.is_err() {
        tracing::debug!("the connection is closing");
    }
}
