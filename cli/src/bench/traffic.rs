//! Messages on their way: publishers are topped up, subscribers acknowledge, and every sequence number is booked.

use super::codec::{self, PUBCOMP, PUBREL, Packet};
use super::links::Links;
use super::plan::{Ear, PayloadForm, Plan};
use super::publisher::{Pace, Publisher, Rules};
use super::report::{Histogram, new_histogram};
use super::swarm::Handler;
use super::track::{Arrival, Track};

/// What was counted while measuring was on.
pub struct Meter {
    /// Are warm-up over and the end not yet reached?
    pub on: bool,
    /// Messages handed to publishers' sockets.
    pub published: u64,
    /// Messages that reached their subscribers, without duplicates.
    pub delivered: u64,
    /// From sending to arriving.
    pub latency: Histogram,
    /// From sending to PUBACK or PUBREC.
    pub acknowledged: Histogram,
}

/// What went wrong, over the whole run.
#[derive(Default)]
pub struct Faults {
    /// Connections that ended, and answers that nothing asked for.
    pub errors: u64,
    /// The first of them, in words.
    pub first: Option<String>,
    /// Messages of this run at a subscriber that should not hear them.
    pub misrouted: u64,
    /// Times that a publisher's window was opened by force, since nothing arrived for two seconds.
    pub stalls: u64,
}

/// Sums over all streams after the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Losses {
    /// Never arrived.
    pub lost: u64,
    /// Extra copies.
    pub duplicated: u64,
    /// Arrived after a younger message.
    pub late: u64,
}

/// The handler of all scenarios that send messages.
pub struct Traffic {
    /// Figures of the measured stretch.
    pub meter: Meter,
    /// Mishaps.
    pub faults: Faults,
    /// When anything last arrived, in nanoseconds of the run.
    pub last_arrival_ns: u64,
    rules: Rules,
    ears: Vec<Ear>,
    publishers: Vec<Publisher>,
    publisher_at: Vec<Option<u32>>,
    tracks: Vec<Track>,
    runnable: Vec<u32>,
    is_runnable: Vec<bool>,
    turns_due: u64,
    sending: bool,
}

impl Traffic {
    /// Nothing is sent before [`start`](Self::start).
    pub fn new(plan: &Plan, rules: Rules, payload_length: usize) -> Self {
        let mut publisher_at = vec![None; plan.clients.len()];
        let mut publishers = Vec::with_capacity(plan.publishers.len());
        for (number, (seat, topics)) in plan.publishers.iter().enumerate() {
            publisher_at[*seat] = Some(number as u32);
            publishers.push(Publisher::new(&rules, number as u32, *seat, topics, payload_length));
        }
        Self {
            meter: Meter {
                on: false,
                published: 0,
                delivered: 0,
                latency: new_histogram(),
                acknowledged: new_histogram(),
            },
            faults: Faults::default(),
            last_arrival_ns: 0,
            rules,
            ears: plan.ears.clone(),
            is_runnable: vec![false; publishers.len()],
            publishers,
            publisher_at,
            tracks: std::iter::repeat_with(Track::default).take(plan.stream_count()).collect(),
            runnable: Vec::new(),
            turns_due: 0,
            sending: false,
        }
    }

    /// Begins to send, with the next turn.
    pub fn start(&mut self) {
        self.sending = true;
        (0..self.publishers.len()).for_each(|number| self.wake(number));
    }

    /// Sends no more; what is under way may still arrive.
    pub fn stop(&mut self) {
        self.sending = false;
    }

    /// Has everything that was sent arrived, and been acknowledged?
    pub fn is_at_rest(&self) -> bool {
        self.publishers.iter().all(Publisher::is_at_rest) && self.losses().lost == 0
    }

    /// Has every publisher sent its last message, and [`is_at_rest`](Self::is_at_rest)?
    pub fn is_finished(&self) -> bool {
        let limit = self.rules.limit.unwrap_or(u64::MAX);
        self.publishers.iter().all(|publisher| publisher.sent >= limit && publisher.is_at_rest())
    }

    /// Opens the windows that lost messages keep shut.
    pub fn check_stalls(&mut self, now_ns: u64) {
        for number in 0..self.publishers.len() {
            if self.publishers[number].give_up_if_stalled(&self.rules, now_ns) {
                self.faults.stalls += 1;
                self.wake(number);
            }
        }
    }

    /// Lost, duplicated and late messages so far; those under way count as lost.
    pub fn losses(&self) -> Losses {
        let mut sums = Losses { lost: 0, duplicated: 0, late: 0 };
        for (stream, track) in self.tracks.iter().enumerate() {
            let publisher = &self.publishers[stream / self.rules.copies as usize];
            sums.lost += track.lost(publisher.sent);
            sums.duplicated += track.duplicated();
            sums.late += track.late();
        }
        sums
    }

    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.publishers.iter().map(|publisher| publisher.sent).sum()
    }

    /// Messages completely acknowledged so far; at QoS 0, sent.
    pub fn acknowledged(&self) -> u64 {
        self.publishers.iter().map(|it| it.sent - it.in_flight.unacknowledged() as u64).sum()
    }

    /// Publishes are paced by a clock, so the loop must not sleep long.
    pub fn is_paced(&self) -> bool {
        matches!(self.rules.pace, Pace::Rate { .. })
    }

    fn wake(&mut self, number: usize) {
        if self.sending && !std::mem::replace(&mut self.is_runnable[number], true) {
            self.runnable.push(number as u32);
        }
    }

    /// Wakes the publishers whose turn has come since the last call.
    fn wake_due(&mut self, now_ns: u64) {
        let Pace::Rate { gap_ns, start_ns } = self.rules.pace else { return };
        let due = (now_ns.saturating_sub(start_ns) as f64 / gap_ns) as u64 + 1;
        let publishers = self.publishers.len() as u64;
        let first = self.turns_due.max(due.saturating_sub(publishers));
        (first..due).for_each(|turn| self.wake((turn % publishers) as usize));
        self.turns_due = due;
    }

    fn hear(&mut self, who: usize, payload: &[u8], now_ns: u64) {
        // Not of this run: what an older one left behind is not counted.
        let Some(stamp) = self.rules.form.read(payload).filter(|stamp| stamp.run == self.rules.run) else {
            return;
        };
        let number = stamp.publisher as usize;
        let Some(publisher) = self.publishers.get_mut(number).filter(|publisher| stamp.seq < publisher.sent)
        else {
            return self.fault("a message that was never sent");
        };
        let Some(stream) = self.ears[who].stream(stamp.publisher) else {
            // An inbox also shows its owner what he wrote himself.
            let echo = self.rules.form == PayloadForm::Envelope && publisher.seat == who;
            self.faults.misrouted += u64::from(!echo);
            return;
        };
        self.last_arrival_ns = now_ns;
        match self.tracks[stream].arrive(stamp.seq) {
            Arrival::Forward(deliveries) => {
                publisher.advance(deliveries, now_ns);
                self.wake(number);
            }
            Arrival::Late => {}
            Arrival::Duplicate => return,
        }
        if self.meter.on {
            self.meter.delivered += 1;
            self.meter.latency.saturating_record(now_ns.saturating_sub(stamp.sent_ns));
        }
    }

    /// PUBACK, PUBREC or PUBCOMP: `step` finds out what it answers.
    fn answered(
        &mut self,
        who: usize,
        now_ns: u64,
        step: impl FnOnce(&mut Publisher) -> Option<u64>,
        first: bool,
    ) {
        let number = self.publisher_at[who].map(|number| number as usize);
        let Some(sent_ns) = number.and_then(|number| step(&mut self.publishers[number])) else {
            return self.fault("an acknowledgement that nothing asked for");
        };
        self.last_arrival_ns = now_ns;
        if first && self.meter.on {
            self.meter.acknowledged.saturating_record(now_ns.saturating_sub(sent_ns));
        }
        if let Some(number) = number {
            self.wake(number);
        }
    }

    fn fault(&mut self, what: &str) {
        self.faults.errors += 1;
        self.faults.first.get_or_insert_with(|| what.to_owned());
    }
}

impl Handler for Traffic {
    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, now_ns: u64) {
        match packet {
            Packet::Publish { qos, id, payload } => {
                if qos > 0 {
                    codec::put_receipt(links.out(who), qos, id);
                }
                self.hear(who, payload, now_ns);
            }
            Packet::PubRel { id } => codec::put_ack(links.out(who), PUBCOMP, id),
            Packet::PubAck { id } => self.answered(who, now_ns, |it| it.in_flight.acknowledge(id), true),
            Packet::PubRec { id } => {
                codec::put_ack(links.out(who), PUBREL, id);
                self.answered(who, now_ns, |it| it.in_flight.release(id), true);
            }
            Packet::PubComp { id } => self.answered(who, now_ns, |it| it.in_flight.complete(id), false),
            other => self.fault(&format!("unexpected while running: {other:?}")),
        }
    }

    fn on_closed(&mut self, links: &mut Links, who: usize, reason: &str) {
        let left = links.open_count();
        self.fault(&format!("connection {who}: {reason} ({left} still open)"));
    }

    fn on_turn_end(&mut self, links: &mut Links) {
        if !self.sending {
            return;
        }
        let now_ns = links.now_ns();
        self.wake_due(now_ns);
        let mut sent = 0;
        for &number in &self.runnable {
            self.is_runnable[number as usize] = false;
            let publisher = &mut self.publishers[number as usize];
            if links.is_open(publisher.seat) {
                sent += publisher.fill_window(&self.rules, links, now_ns);
            }
        }
        self.runnable.clear();
        self.meter.published += if self.meter.on { sent } else { 0 };
    }
}
