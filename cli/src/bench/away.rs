//! Sessions whose clients are away while messages come for them, and the day on which they return.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::codec::{self, PINGREQ, PUBCOMP, Packet};
use super::join::{forget_sessions, join, join_listening};
use super::links::Links;
use super::load::{LEAVE_PATIENCE, parse_seconds};
use super::plan::{Ear, PayloadForm, Plan};
use super::publisher::{Pace, Rules};
use super::stamp::StampForm;
use super::swarm::{Handler, Swarm};
use super::target::{Client, Target};
use super::track::Track;
use super::traffic::Traffic;

/// Connections that fill the queues, at most.
const WRITERS: usize = 50;

/// Messages of one of them that are not acknowledged yet.
const WINDOW: u16 = 100;

/// A broker that acknowledges nothing for so long will not.
const FILL_PATIENCE_NS: u64 = 30_000_000_000;

/// Options of scenarios with absent sessions.
#[derive(Args, Debug)]
pub struct AwayArgs {
    /// Persistent sessions, each subscribed to its own topic at QoS 1
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub sessions: u32,
    /// Messages at QoS 1 for each of them while nobody is connected
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub messages: u32,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(24..=1_048_576))]
    pub payload: u32,
    /// Time without any arrival after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub patience: Duration,
}

/// The sessions, and what waits for them.
pub struct Away<'a> {
    target: &'a Target,
    args: &'a AwayArgs,
    clients: Vec<Client>,
    writers: usize,
}

/// How the queues were filled.
pub struct Filled {
    /// Messages that the broker took responsibility for.
    pub acknowledged: u64,
    /// How long that took.
    pub seconds: f64,
}

/// How it was to return.
pub struct Returned {
    /// From the first connection until every session was resumed.
    pub resumed: f64,
    /// From the first connection until everything had arrived, and a ping behind the last acknowledgement was answered.
    pub drained: f64,
    /// Different messages that arrived.
    pub arrived: u64,
    /// Messages that did not.
    pub lost: u64,
    /// Extra copies.
    pub duplicated: u64,
    /// Messages behind a younger one.
    pub late: u64,
    /// Connections that the broker closed.
    pub dropped: u64,
}

impl<'a> Away<'a> {
    /// Makes the sessions: everybody connects, subscribes, and leaves.
    pub fn begin(target: &'a Target, args: &'a AwayArgs) -> Result<Self> {
        let sessions = args.sessions as usize;
        let subscribing =
            |number| target.client(number).persistent(true).subscribing(target.topic(number), 1);
        let clients: Vec<Client> = (0..sessions).map(subscribing).collect();
        let mut swarm = Swarm::new()?;
        join(&mut swarm, target, &clients)?;
        swarm.leave(LEAVE_PATIENCE)?;
        let writers = (1..=WRITERS).rev().find(|count| sessions.is_multiple_of(*count)).unwrap_or(1);
        Ok(Self { target, args, clients, writers })
    }

    fn sessions_per_writer(&self) -> usize {
        self.clients.len() / self.writers
    }

    /// Messages for all sessions together.
    pub fn total(&self) -> u64 {
        self.clients.len() as u64 * u64::from(self.args.messages)
    }

    /// Publishes everything, and waits for the acknowledgements.
    pub fn fill(&self) -> Result<Filled> {
        let plan = self.fill_plan();
        let mut swarm = Swarm::new()?;
        join(&mut swarm, self.target, &plan.clients)?;
        let mut traffic = Traffic::new(&plan, self.fill_rules(), self.args.payload as usize);
        let began_ns = swarm.links.now_ns();
        traffic.start();
        traffic.last_arrival_ns = began_ns;
        while !traffic.is_finished() {
            swarm.turn(&mut traffic, Duration::from_millis(100))?;
            let silent_ns = swarm.links.now_ns().saturating_sub(traffic.last_arrival_ns);
            if silent_ns > FILL_PATIENCE_NS || swarm.links.open_count() < self.writers {
                let first = traffic.faults.first.as_deref().unwrap_or("it fell silent");
                bail!("the broker took {} of {} messages: {first}", traffic.acknowledged(), self.total());
            }
        }
        let seconds = (swarm.links.now_ns() - began_ns) as f64 / 1e9;
        swarm.leave(LEAVE_PATIENCE)?;
        Ok(Filled { acknowledged: traffic.acknowledged(), seconds })
    }

    /// Writer `w` serves the sessions `w`, `w + writers`, … in turn.
    fn fill_plan(&self) -> Plan {
        let sessions = self.clients.len();
        let topics =
            |writer| (writer..sessions).step_by(self.writers).map(|it| self.target.topic(it)).collect();
        Plan {
            title: "away".into(),
            clients: (0..self.writers).map(|writer| self.target.client(sessions + writer)).collect(),
            ears: vec![Ear::Nobody; self.writers],
            publishers: (0..self.writers).map(|writer| (writer, topics(writer))).collect(),
            copies: 0,
            form: PayloadForm::Raw,
        }
    }

    fn fill_rules(&self) -> Rules {
        Rules {
            run: self.target.run,
            qos: 1,
            window: WINDOW,
            copies: 0,
            publishers: self.writers as u64,
            form: PayloadForm::Raw,
            pace: Pace::Window,
            limit: Some(u64::from(self.args.messages) * self.sessions_per_writer() as u64),
        }
    }

    /// Everybody returns, and takes what waits.
    pub fn come_back(&self) -> Result<Returned> {
        let mut swarm = Swarm::new()?;
        let came = |client: &Client| Client { subscriptions: Vec::new(), ..client.clone() };
        let clients: Vec<Client> = self.clients.iter().map(came).collect();
        let mut book = Book::new(self);
        let began_ns = swarm.links.now_ns();
        let joined = join_listening(&mut swarm, self.target, &clients, &mut |who, payload, now_ns| {
            book.note(who, payload, now_ns);
        })?;
        let mut taking = Taking { drained_ns: 0, pinged: 0, answered: 0, dropped: 0, book };
        (0..clients.len()).for_each(|who| taking.ping_if_complete(&mut swarm.links, who));
        taking.wait(&mut swarm, self.args.patience)?;
        let drained_ns =
            if taking.answered == clients.len() { taking.drained_ns } else { taking.book.last_ns };
        let returned = taking.book.sum_up();
        swarm.leave(LEAVE_PATIENCE)?;
        Ok(Returned {
            resumed: joined.seconds,
            drained: drained_ns.saturating_sub(began_ns) as f64 / 1e9,
            dropped: taking.dropped,
            ..returned
        })
    }

    /// Leaves no session behind.
    pub fn forget(&self) -> Result<()> {
        forget_sessions(self.target, &self.clients)
    }
}

/// What has arrived at whom.
struct Book {
    run: u32,
    messages: u64,
    sessions_per_writer: u64,
    tracks: Vec<Track>,
    arrived: Vec<u64>,
    last_ns: u64,
}

impl Book {
    fn new(away: &Away<'_>) -> Self {
        let sessions = away.clients.len();
        Self {
            run: away.target.run,
            messages: u64::from(away.args.messages),
            sessions_per_writer: away.sessions_per_writer() as u64,
            tracks: std::iter::repeat_with(Track::default).take(sessions).collect(),
            arrived: vec![0; sessions],
            last_ns: 0,
        }
    }

    /// A writer numbers its messages over all its sessions, which it serves in turn.
    fn note(&mut self, who: usize, payload: &[u8], now_ns: u64) {
        let Some(stamp) = StampForm::Binary.read(payload).filter(|stamp| stamp.run == self.run) else {
            return;
        };
        let duplicated = self.tracks[who].duplicated();
        self.tracks[who].arrive(stamp.seq / self.sessions_per_writer);
        self.arrived[who] += u64::from(self.tracks[who].duplicated() == duplicated);
        self.last_ns = now_ns;
    }

    fn is_complete(&self, who: usize) -> bool {
        self.arrived[who] == self.messages
    }

    fn sum_up(&self) -> Returned {
        let sum = |of: fn(&Track) -> u64| self.tracks.iter().map(of).sum();
        Returned {
            resumed: 0.0,
            drained: 0.0,
            arrived: self.arrived.iter().sum(),
            lost: self.arrived.iter().map(|arrived| self.messages - arrived).sum(),
            duplicated: sum(Track::duplicated),
            late: sum(Track::late),
            dropped: 0,
        }
    }
}

/// Clients that take what waits, acknowledge it, and send a ping behind the last acknowledgement.
struct Taking {
    book: Book,
    pinged: usize,
    answered: usize,
    drained_ns: u64,
    dropped: u64,
}

impl Taking {
    fn ping_if_complete(&mut self, links: &mut Links, who: usize) {
        if self.book.is_complete(who) && links.is_open(who) {
            self.pinged += 1;
            links.out(who).extend_from_slice(&PINGREQ);
        }
    }

    fn wait(&mut self, swarm: &mut Swarm, patience: Duration) -> Result<()> {
        let mut progress = (swarm.links.now_ns(), 0);
        while self.answered < swarm.links.all().end {
            swarm.turn(self, Duration::from_millis(20))?;
            let (now_ns, seen) = (swarm.links.now_ns(), self.book.last_ns + self.answered as u64);
            if seen != progress.1 {
                progress = (now_ns, seen);
            } else if now_ns - progress.0 > patience.as_nanos() as u64 || swarm.links.open_count() == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Handler for Taking {
    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, now_ns: u64) {
        match packet {
            Packet::Publish { qos, id, payload } => {
                let was_complete = self.book.is_complete(who);
                codec::put_receipt(links.out(who), qos, id);
                self.book.note(who, payload, now_ns);
                if !was_complete {
                    self.ping_if_complete(links, who);
                }
            }
            Packet::PubRel { id } => codec::put_ack(links.out(who), PUBCOMP, id),
            Packet::PingResp => {
                self.answered += 1;
                self.drained_ns = now_ns;
            }
            _ => {}
        }
    }

    fn on_closed(&mut self, _: &mut Links, _: usize, _: &str) {
        self.dropped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;
    use crate::bench::stamp::Stamp;

    fn book(target: &Target, sessions: u32) -> Book {
        let args = AwayArgs { sessions, messages: 2, payload: 24, patience: Duration::ZERO };
        let clients = (0..sessions as usize).map(|number| target.client(number)).collect();
        Book::new(&Away { target, args: &args, clients, writers: 2 })
    }

    #[test]
    fn numbers_of_a_writer_are_told_apart_by_session_and_repeats_are_not_survivors() {
        let target = target_at(([127, 0, 0, 1], 1883).into());
        let mut book = book(&target, 6);
        let mut arrive = |who: usize, seq: u64, run: u32| {
            let mut payload = [0; 24];
            let stamp = Stamp { run, publisher: 0, seq, sent_ns: 0 };
            StampForm::Binary.write(stamp, &mut payload);
            book.note(who, &payload, 1);
        };
        // The writer of session 2 serves 0, 2 and 4, so its second and fifth message are for 2.
        arrive(2, 1, target.run);
        arrive(2, 1, target.run);
        arrive(2, 4, target.run);
        arrive(0, 0, target.run.wrapping_add(1));
        assert!(book.is_complete(2) && !book.is_complete(0));
        let sums = book.sum_up();
        assert_eq!((sums.arrived, sums.lost, sums.duplicated, sums.late), (2, 10, 1, 0));
    }
}
