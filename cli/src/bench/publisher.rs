//! One publisher: when it may send, and what it waits for.

use super::codec::PublishTemplate;
use super::in_flight::InFlight;
use super::links::Links;
use super::plan::PayloadForm;
use super::stamp::Stamp;

/// A message this much too late counts from when it was due, so that waiting for a full window is not hidden; a
/// smaller delay is our own timer's.
const TIMER_SLACK_NS: u64 = 2_000_000;

/// Without an arrival for so long, what is under way is given up for the window (not for the count of losses).
const STALL_NS: u64 = 2_000_000_000;

/// When messages are due.
#[derive(Clone, Copy)]
pub enum Pace {
    /// At once: the window alone holds them back.
    Window,
    /// In turn over all publishers, evenly.
    Rate {
        /// Nanoseconds from one message of the whole run to the next.
        gap_ns: f64,
        /// When the first is due.
        start_ns: u64,
    },
}

/// What all publishers of a run have in common.
pub struct Rules {
    /// Random per run.
    pub run: u32,
    /// Quality of service of every PUBLISH.
    pub qos: u8,
    /// Messages of one publisher that may be under way.
    pub window: u16,
    /// Subscribers that hear each message.
    pub copies: u64,
    /// How many publishers there are.
    pub publishers: u64,
    /// How payloads look.
    pub form: PayloadForm,
    /// When messages are due.
    pub pace: Pace,
    /// The last message of each publisher, if it is to end by count.
    pub limit: Option<u64>,
}

/// One publisher.
pub struct Publisher {
    /// Its connection.
    pub seat: usize,
    /// Messages sent so far; the next one's sequence number.
    pub sent: u64,
    /// Deliveries that have not arrived.
    pub outstanding: u64,
    /// Packet ids that are not completely acknowledged.
    pub in_flight: InFlight,
    number: u32,
    /// One for each topic, used in turn.
    templates: Vec<PublishTemplate>,
    moved_ns: u64,
}

impl Rules {
    fn due_ns(&self, publisher: u32, seq: u64) -> u64 {
        match self.pace {
            Pace::Window => 0,
            Pace::Rate { gap_ns, start_ns } => {
                let turn = seq * self.publishers + u64::from(publisher);
                start_ns + (turn as f64 * gap_ns) as u64
            }
        }
    }

    fn stamp_ns(&self, due_ns: u64, now_ns: u64) -> u64 {
        match self.pace {
            Pace::Rate { .. } if now_ns - due_ns > TIMER_SLACK_NS => due_ns,
            _ => now_ns,
        }
    }
}

impl Publisher {
    /// A publisher to `topics`, from `seat`, with payloads of `payload_length` bytes.
    pub fn new(rules: &Rules, number: u32, seat: usize, topics: &[String], payload_length: usize) -> Self {
        let payload = vec![b'.'; payload_length];
        let template = |topic: &String| PublishTemplate::new(topic, rules.qos, &payload);
        let templates = topics.iter().map(template).collect();
        let in_flight = InFlight::new(if rules.qos == 0 { 0 } else { rules.window });
        Self { seat, sent: 0, outstanding: 0, in_flight, number, templates, moved_ns: 0 }
    }

    /// Sends everything that is due and fits into the window. Returns how many messages that were.
    pub fn fill_window(&mut self, rules: &Rules, links: &mut Links, now_ns: u64) -> u64 {
        let sent_before = self.sent;
        while self.may_send(rules) {
            let due_ns = rules.due_ns(self.number, self.sent);
            if due_ns > now_ns {
                break;
            }
            self.send(rules, links, rules.stamp_ns(due_ns, now_ns), now_ns);
        }
        self.sent - sent_before
    }

    /// Deliveries arrived, or were jumped over.
    pub fn advance(&mut self, deliveries: u64, now_ns: u64) {
        self.outstanding = self.outstanding.saturating_sub(deliveries);
        self.moved_ns = now_ns;
    }

    /// Opens a window that lost messages keep shut. Returns whether it was.
    pub fn give_up_if_stalled(&mut self, rules: &Rules, now_ns: u64) -> bool {
        let stalled = !self.has_room(rules) && now_ns.saturating_sub(self.moved_ns) > STALL_NS;
        if stalled {
            self.outstanding = 0;
        }
        stalled
    }

    /// Has everything arrived and been acknowledged?
    pub fn is_at_rest(&self) -> bool {
        self.outstanding == 0 && self.in_flight.unacknowledged() == 0
    }

    fn may_send(&self, rules: &Rules) -> bool {
        let acknowledged = rules.qos == 0 || !self.in_flight.is_full();
        acknowledged && self.has_room(rules) && rules.limit.is_none_or(|limit| self.sent < limit)
    }

    /// Does one more message fit into the window?
    fn has_room(&self, rules: &Rules) -> bool {
        self.outstanding <= u64::from(rules.window - 1) * rules.copies
    }

    fn send(&mut self, rules: &Rules, links: &mut Links, sent_ns: u64, now_ns: u64) {
        if self.outstanding == 0 {
            self.moved_ns = now_ns;
        }
        let id = self.in_flight.publish(sent_ns).unwrap_or(0);
        let template = &self.templates[(self.sent % self.templates.len() as u64) as usize];
        let payload = template.put(links.out(self.seat), id);
        let stamp = Stamp { run: rules.run, publisher: self.number, seq: self.sent, sent_ns };
        rules.form.stamp_form().write(stamp, payload);
        self.sent += 1;
        self.outstanding += rules.copies;
    }
}
