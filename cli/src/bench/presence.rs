//! `bench presence`: everybody says that they are there, watches others, and some vanish without a goodbye.
//!
//! The way of ordinary MQTT: a retained topic with the state of each user, and a will that sets it.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::codec::{self, PUBCOMP, PUBREL, Packet, Will};
use super::join::{Joined, join_listening};
use super::links::Links;
use super::load::{LEAVE_PATIENCE, parse_seconds};
use super::report::{Histogram, count, latency_json, latency_text, new_histogram, table};
use super::stamp::{Stamp, StampForm};
use super::swarm::{Handler, Swarm};
use super::target::{Client, Target, TargetArgs};
use super::usage::{Spent, Usage};
use super::watchers::{State, Watchers};

/// Bytes of a state.
const PAYLOAD: usize = 24;

/// `bench presence`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench presence --users 5000 --watch 50 --cut 500 --broker-pid $(pidof mosquitto)"
)]
pub struct PresenceArgs {
    /// Users, each with a retained state and a will
    #[arg(long, value_name = "COUNT", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    users: u32,
    /// Others whose state each of them watches, each with a subscription of its own
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=1000))]
    watch: u32,
    /// Connections that are closed without DISCONNECT
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cut: u32,
    /// Quality of service of states, wills and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Time without any arrival after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    patience: Duration,
    #[command(flatten)]
    target: TargetArgs,
}

/// Everybody comes; some vanish; the rest leave, and nothing stays retained.
pub fn run(args: &PresenceArgs) -> Result<()> {
    let target = args.target.check()?;
    ensure!(args.cut < args.users, "--cut: somebody has to be left to hear of it");
    let mut watchers = Watchers::new(args.users, args.watch)?;
    let clients: Vec<Client> =
        (0..args.users).map(|user| client(&target, &watchers, user, args.qos)).collect();

    let mut swarm = Swarm::new()?;
    let usage = Usage::begin(target.broker)?;
    let began_ns = swarm.links.now_ns();
    let joined = join_listening(&mut swarm, &target, &clients, &mut |who, payload, now_ns| {
        hear(&target, &mut watchers, who, payload, now_ns);
    })?;
    let mut run = Run::new(&target, watchers);
    let settled = run.wait(&mut swarm, State::There, args.patience)?.saturating_sub(began_ns);
    let coming = usage.end()?;

    let usage = Usage::begin(target.broker)?;
    let cut_ns = swarm.links.now_ns();
    run.watchers.cut_evenly(args.cut);
    for who in run.watchers.absent() {
        swarm.links.close(who as usize);
    }
    run.cut_ns = Some(cut_ns);
    let heard = run.wait(&mut swarm, State::Gone, args.patience)?.saturating_sub(cut_ns);
    let vanishing = usage.end()?;

    clean_up(&mut swarm, &mut run, &target, args)?;
    Outcome { args, target: &target, joined, settled, heard, coming, vanishing, run }.print();
    Ok(())
}

fn topic(target: &Target, user: u32) -> String {
    target.topic(format_args!("state/{user}"))
}

fn client(target: &Target, watchers: &Watchers, user: u32, qos: u8) -> Client {
    let watching = watchers.watched_by(user).map(|other| (topic(target, other), qos)).collect();
    let mut greeting = Vec::new();
    codec::put_retained(&mut greeting, &topic(target, user), qos, 2, &payload(target, user, State::There));
    let will = Will { topic: topic(target, user), payload: payload(target, user, State::Gone), qos };
    Client {
        subscriptions: watching,
        will: Some(will),
        greeting: Some(greeting),
        ..target.client(user as usize)
    }
}

fn payload(target: &Target, user: u32, state: State) -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD];
    let stamp = Stamp { run: target.run, publisher: user, seq: state as u64, sent_ns: 0 };
    StampForm::Binary.write(stamp, &mut payload);
    payload
}

fn hear(target: &Target, watchers: &mut Watchers, who: usize, payload: &[u8], now_ns: u64) -> Option<State> {
    let stamp = StampForm::Binary.read(payload).filter(|stamp| stamp.run == target.run)?;
    let state = if stamp.seq == State::There as u64 { State::There } else { State::Gone };
    watchers.note(who as u32, stamp.publisher, state, now_ns).then_some(state)
}

/// Takes away what is retained, and leaves.
fn clean_up(swarm: &mut Swarm, run: &mut Run<'_>, target: &Target, args: &PresenceArgs) -> Result<()> {
    // Everybody left takes part: one connection would have to wait for many acknowledgements.
    let left: Vec<usize> = swarm.links.all().filter(|who| swarm.links.is_open(*who)).collect();
    for (turn, user) in (0..args.users).enumerate() {
        let Some(&who) = left.get(turn % left.len().max(1)) else { break };
        let id = 3 + (turn / left.len()) as u16;
        codec::put_retained(swarm.links.out(who), &topic(target, user), args.qos, id, b"");
        if turn % 512 == 511 {
            swarm.turn(run, Duration::ZERO)?;
        }
    }
    swarm.leave(LEAVE_PATIENCE)?;
    Ok(())
}

struct Run<'a> {
    target: &'a Target,
    watchers: Watchers,
    cut_ns: Option<u64>,
    /// Nanoseconds from the cut until a watcher heard of it.
    latency: Histogram,
    dropped: u64,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, watchers: Watchers) -> Self {
        Self { target, watchers, cut_ns: None, latency: new_histogram(), dropped: 0 }
    }

    /// Until everybody heard of everybody they watch, or nothing more comes. Returns when the last of it came.
    fn wait(&mut self, swarm: &mut Swarm, state: State, patience: Duration) -> Result<u64> {
        let began_ns = swarm.links.now_ns();
        while self.watchers.missing(state) > 0 {
            swarm.turn(self, Duration::from_millis(20))?;
            let quiet_ns = swarm.links.now_ns() - self.watchers.last_ns.max(began_ns);
            if quiet_ns > patience.as_nanos() as u64 || swarm.links.open_count() == 0 {
                break;
            }
        }
        Ok(self.watchers.last_ns)
    }
}

impl Handler for Run<'_> {
    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, now_ns: u64) {
        match packet {
            Packet::Publish { qos, id, payload } => {
                codec::put_receipt(links.out(who), qos, id);
                let news = hear(self.target, &mut self.watchers, who, payload, now_ns);
                if let (Some(State::Gone), Some(cut_ns)) = (news, self.cut_ns) {
                    self.latency.saturating_record(now_ns - cut_ns);
                }
            }
            Packet::PubRec { id } => codec::put_ack(links.out(who), PUBREL, id),
            Packet::PubRel { id } => codec::put_ack(links.out(who), PUBCOMP, id),
            _ => {}
        }
    }

    fn on_closed(&mut self, _: &mut Links, _: usize, _: &str) {
        self.dropped += 1;
    }
}

struct Outcome<'a> {
    args: &'a PresenceArgs,
    target: &'a Target,
    joined: Joined,
    /// Nanoseconds from the first connection until everybody knew of everybody they watch.
    settled: u64,
    /// Nanoseconds from the cut until everybody knew of it.
    heard: u64,
    coming: Spent,
    vanishing: Spent,
    run: Run<'a>,
}

impl Outcome<'_> {
    fn print(&self) {
        if self.target.json {
            println!("{}", self.json());
        } else {
            let PresenceArgs { users, watch, qos, .. } = self.args;
            let users = count(u64::from(*users));
            let title =
                format!("presence, {users} users watch {watch} each, QoS {qos}, at {}", self.target.address);
            print!("{}", table(&title, &self.rows()));
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let watchers = &self.run.watchers;
        let mut rows = vec![
            ("subscribed", format!("{:.2} s", self.joined.seconds)),
            ("settled", format!("{:.2} s from the first connection", self.settled as f64 / 1e9)),
            ("wills heard", format!("{:.3} s after {} were cut", self.heard as f64 / 1e9, self.args.cut)),
            ("wills", latency_text(&self.run.latency)),
            (
                "faults",
                format!(
                    "{} states missing, {} wills missing, {} duplicated, {} connections lost",
                    watchers.missing(State::There),
                    watchers.missing(State::Gone),
                    watchers.duplicated,
                    self.run.dropped
                ),
            ),
        ];
        rows.extend(self.coming.rows(watchers.pairs()));
        rows
    }

    fn json(&self) -> Value {
        let watchers = &self.run.watchers;
        json!({
            "scenario": "presence",
            "address": self.target.address.to_string(),
            "users": self.args.users,
            "watch": self.args.watch,
            "cut": self.args.cut,
            "qos": self.args.qos,
            "subscribed_seconds": self.joined.seconds,
            "settled_seconds": self.settled as f64 / 1e9,
            "wills_seconds": self.heard as f64 / 1e9,
            "will_latency": latency_json(&self.run.latency),
            "lost": watchers.missing(State::There) + watchers.missing(State::Gone),
            "duplicated": watchers.duplicated,
            "dropped": self.run.dropped,
            "usage_coming": self.coming.json(watchers.pairs()),
            "usage_vanishing": self.vanishing.json(self.run.latency.len()),
        })
    }
}
