//! `bench connect`: how fast clients come in, and what an idle one costs.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::codec::{self, PUBCOMP, Packet};
use super::join::{Joined, join};
use super::links::Links;
use super::load::{LEAVE_PATIENCE, parse_seconds};
use super::report::{count, latency_json, latency_text, table};
use super::swarm::{Handler, Swarm};
use super::target::{Client, Target, TargetArgs};
use super::usage::{Spent, Usage};

/// `bench connect`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench connect --users 10000 --hold 5 --broker-pid $(pidof mosquitto)\n\n\
    Each client is one open file here and one in the broker: see `ulimit -n`."
)]
pub struct ConnectArgs {
    /// Clients; each subscribes to its own topic
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Idle time between connecting and disconnecting
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    hold: Duration,
    #[command(flatten)]
    target: TargetArgs,
}

/// Connects, holds, disconnects, reports.
pub fn run(args: &ConnectArgs) -> Result<()> {
    let target = args.target.check()?;
    let subscribing = |number| target.client(number).subscribing(target.topic(number), 1);
    let clients: Vec<Client> = (0..args.users as usize).map(subscribing).collect();
    let resident_before = target.broker.map(|broker| broker.resident_bytes()).transpose()?;

    let mut swarm = Swarm::new()?;
    let coming = Usage::begin(target.broker)?;
    let joined = join(&mut swarm, &target, &clients)?;
    let coming = coming.end()?;
    let holding = Usage::begin(target.broker)?;
    let mut idle = Idle { dropped: 0 };
    hold(&mut swarm, &mut idle, args.hold)?;
    let holding = holding.end()?;
    let leaving = Usage::begin(target.broker)?;
    let left_open = swarm.leave(LEAVE_PATIENCE)?;
    let leaving = leaving.end()?;

    let outcome = Outcome {
        users: u64::from(args.users),
        target: &target,
        joined,
        resident_before,
        coming,
        holding,
        leaving,
        dropped: idle.dropped,
        left_open,
    };
    outcome.print();
    Ok(())
}

fn hold(swarm: &mut Swarm, idle: &mut Idle, time: Duration) -> Result<()> {
    let end_ns = swarm.links.now_ns() + time.as_nanos() as u64;
    loop {
        let now_ns = swarm.links.now_ns();
        if now_ns >= end_ns {
            return Ok(());
        }
        swarm.turn(idle, Duration::from_nanos(end_ns - now_ns).min(Duration::from_millis(200)))?;
    }
}

/// Clients that only listen.
struct Idle {
    dropped: u64,
}

impl Handler for Idle {
    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, _now_ns: u64) {
        match packet {
            Packet::Publish { qos, id, .. } if qos > 0 => codec::put_receipt(links.out(who), qos, id),
            Packet::PubRel { id } => codec::put_ack(links.out(who), PUBCOMP, id),
            _ => {}
        }
    }

    fn on_closed(&mut self, _: &mut Links, _: usize, _: &str) {
        self.dropped += 1;
    }
}

struct Outcome<'a> {
    users: u64,
    target: &'a Target,
    joined: Joined,
    resident_before: Option<u64>,
    coming: Spent,
    holding: Spent,
    leaving: Spent,
    dropped: u64,
    left_open: usize,
}

impl Outcome<'_> {
    fn print(&self) {
        if self.target.json {
            println!("{}", self.json());
        } else {
            let title = format!("connect, {} clients at {}", count(self.users), self.target.address);
            print!("{}", table(&title, &self.rows()));
        }
    }

    fn connects_per_second(&self) -> f64 {
        self.users as f64 / self.joined.seconds
    }

    /// Resident bytes before and with all connections, and their growth per connection.
    fn memory(&self) -> Option<(u64, u64, f64)> {
        let (before, after) = (self.resident_before?, self.holding.broker.as_ref()?.resident);
        Some((before, after, (after as f64 - before as f64) / self.users as f64))
    }

    fn rows(&self) -> Vec<(&str, String)> {
        let seconds = self.joined.seconds;
        let mut rows = vec![
            ("connects", format!("{} a second ({seconds:.2} s)", count(self.connects_per_second() as u64))),
            ("until subscribed", latency_text(&self.joined.latency)),
        ];
        if let Some((before, after, each)) = self.memory() {
            let (before, after) = (before as f64 / 1e6, after as f64 / 1e6);
            rows.push((
                "broker memory",
                format!("{before:.1} MB before, {after:.1} MB after, {each:.0} B a connection"),
            ));
        }
        rows.push(("idle", format!("{:.1} s, {} connections lost", self.holding.seconds, self.dropped)));
        if let (Some(coming), Some(holding)) = (&self.coming.broker, &self.holding.broker) {
            let each = coming.cpu * 1e6 / self.users as f64;
            let share = holding.cpu / self.holding.seconds * 100.0;
            rows.push((
                "broker processor",
                format!("{each:.1} µs a connect, {share:.1} % of a core when idle"),
            ));
        }
        let left_open = match self.left_open {
            0 => String::new(),
            count => format!(", {count} not closed by the broker"),
        };
        rows.push(("disconnect", format!("{:.2} s{left_open}", self.leaving.seconds)));
        rows.push((
            "benchmark",
            format!("{:.0} % of a core while connecting", self.coming.own_share() * 100.0),
        ));
        rows
    }

    fn json(&self) -> Value {
        let memory = self.memory();
        json!({
            "scenario": "connect",
            "address": self.target.address.to_string(),
            "clients": self.users,
            "connect_seconds": self.joined.seconds,
            "connects_per_second": self.connects_per_second(),
            "latency": latency_json(&self.joined.latency),
            "resident_bytes_before": memory.map(|(before, _, _)| before),
            "resident_bytes_after": memory.map(|(_, after, _)| after),
            "resident_bytes_per_connection": memory.map(|(_, _, each)| each),
            "hold_seconds": self.holding.seconds,
            "dropped": self.dropped,
            "disconnect_seconds": self.leaving.seconds,
            "left_open": self.left_open,
            "usage_connecting": self.coming.json(self.users),
            "usage_idle": self.holding.json(self.users),
        })
    }
}
