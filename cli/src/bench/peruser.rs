//! `bench peruser`: does one more user cost more when there are many?

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::join::join;
use super::load::parse_seconds;
use super::plan::{Ear, PayloadForm, Plan};
use super::publisher::{Pace, Rules};
use super::report::count;
use super::swarm::Swarm;
use super::target::{Target, TargetArgs};
use super::traffic::Traffic;
use super::usage::Usage;

/// Bytes of the one message of each user.
const PAYLOAD: usize = 64;

/// `bench peruser`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench peruser --users 8000,80000 --broker-pid $(pidof mosquitto)\n\n\
    The time per user should stay flat from step to step. Beyond so many --connections several users share one, each with\n\
    a topic of their own: what grows then is the broker's table of topics, while open files do not."
)]
pub struct PeruserArgs {
    /// Users of each step
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1000,2000,4000,8000", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    users: Vec<u32>,
    /// Connections at most
    #[arg(long, value_name = "COUNT", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    connections: u32,
    /// Quality of service of messages and subscriptions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Longest time for the messages, and for the disconnects, of one step
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = parse_seconds)]
    patience: Duration,
    #[command(flatten)]
    target: TargetArgs,
}

struct Step {
    users: u32,
    connections: usize,
    connect: f64,
    publish: f64,
    /// Processor seconds of the broker meanwhile.
    publish_cpu: Option<f64>,
    disconnect: f64,
    lost: u64,
    left_open: usize,
    /// Bytes, before and after the users came.
    resident: Option<(u64, u64)>,
}

/// Runs one step after the other; people see each as it ends.
pub fn run(args: &PeruserArgs) -> Result<()> {
    let target = args.target.check()?;
    if !target.json {
        println!("peruser, QoS {}, one message each, µs per user at {}", args.qos, target.address);
        println!(
            "{:>8} {:>12} {:>18} {:>9} {:>10} {:>11} {:>7} {:>10}",
            "users",
            "connections",
            "connect+subscribe",
            "publish",
            "processor",
            "disconnect",
            "lost",
            "broker"
        );
    }
    let mut steps = Vec::new();
    for &users in &args.users {
        let step = run_step(args, &target, users)?;
        if !target.json {
            println!("{}", step.line());
        }
        steps.push(step.json());
    }
    if target.json {
        let address = target.address.to_string();
        println!("{}", json!({ "scenario": "peruser", "address": address, "qos": args.qos, "steps": steps }));
    }
    Ok(())
}

fn run_step(args: &PeruserArgs, target: &Target, users: u32) -> Result<Step> {
    let each = users.div_ceil(args.connections).min(u32::from(u16::MAX));
    let plan = ring(target, users / each, each, args.qos);
    let before = target.broker.and_then(|broker| broker.resident_bytes().ok());
    let mut swarm = Swarm::new()?;
    let connect = join(&mut swarm, target, &plan.clients)?.seconds;
    let after = target.broker.and_then(|broker| broker.resident_bytes().ok());

    let mut traffic = Traffic::new(&plan, rules(target, &plan, each, args.qos), PAYLOAD);
    let usage = Usage::begin(target.broker)?;
    let publish = publish_once(&mut swarm, &mut traffic, args.patience)?;
    let publish_cpu = usage.end()?.broker.map(|broker| broker.cpu);
    let lost = traffic.losses().lost;

    let began_ns = swarm.links.now_ns();
    let left_open = swarm.leave(args.patience)?;
    let disconnect = (swarm.links.now_ns() - began_ns) as f64 / 1e9;
    let (connections, resident) = (plan.clients.len(), before.zip(after));
    let users = connections as u32 * each;
    Ok(Step { users, connections, connect, publish, publish_cpu, disconnect, lost, left_open, resident })
}

/// Every connection subscribes to the topics of its users, `each` of them, and writes once to each of the next one's.
fn ring(target: &Target, connections: u32, each: u32, qos: u8) -> Plan {
    let next = |number: u32| (number + 1) % connections;
    let previous = |number: u32| (number + connections - 1) % connections;
    let topics =
        |number: u32| (number * each..(number + 1) * each).map(|user| target.topic(user)).collect::<Vec<_>>();
    let client = |number: u32| {
        let client = target.client(number as usize);
        topics(number).into_iter().fold(client, |client, topic| client.subscribing(topic, qos))
    };
    Plan {
        title: format!("peruser, {}", connections * each),
        clients: (0..connections).map(client).collect(),
        ears: (0..connections).map(|number| Ear::From(previous(number))).collect(),
        publishers: (0..connections).map(|number| (number as usize, topics(next(number)))).collect(),
        copies: 1,
        form: PayloadForm::Raw,
    }
}

fn rules(target: &Target, plan: &Plan, each: u32, qos: u8) -> Rules {
    Rules {
        run: target.run,
        qos,
        // All messages of a connection are under way at once, as if its users had connections of their own.
        window: each as u16,
        copies: plan.copies,
        publishers: plan.publishers.len() as u64,
        form: plan.form,
        pace: Pace::Window,
        limit: Some(u64::from(each)),
    }
}

/// Seconds until everyone has written and heard once.
fn publish_once(swarm: &mut Swarm, traffic: &mut Traffic, patience: Duration) -> Result<f64> {
    let began_ns = swarm.links.now_ns();
    traffic.start();
    let mut wait = Duration::ZERO;
    while !traffic.is_finished() && swarm.links.now_ns() - began_ns < patience.as_nanos() as u64 {
        swarm.turn(traffic, wait)?;
        wait = Duration::from_millis(20);
        if swarm.links.open_count() == 0 {
            bail!(
                "the broker closed all connections: {}",
                traffic.faults.first.as_deref().unwrap_or("no reason")
            );
        }
    }
    Ok((swarm.links.now_ns() - began_ns) as f64 / 1e9)
}

impl Step {
    fn per_user(&self, seconds: f64) -> f64 {
        seconds * 1e6 / f64::from(self.users)
    }

    fn line(&self) -> String {
        let [connect, publish, disconnect] =
            [self.connect, self.publish, self.disconnect].map(|it| self.per_user(it));
        let resident = self.resident.map_or("-".into(), |(_, after)| format!("{:.1} MB", after as f64 / 1e6));
        let processor = self.publish_cpu.map_or("-".into(), |cpu| format!("{:.1}", self.per_user(cpu)));
        let users = count(u64::from(self.users));
        let (connections, lost) = (count(self.connections as u64), self.lost);
        let remark = match self.left_open {
            0 => String::new(),
            open => format!("  ({open} not closed by the broker)"),
        };
        format!(
            "{users:>8} {connections:>12} {connect:>18.1} {publish:>9.1} {processor:>10} {disconnect:>11.1} {lost:>7} {resident:>10}{remark}"
        )
    }

    fn json(&self) -> Value {
        json!({
            "users": self.users,
            "connections": self.connections,
            "connect_us_per_user": self.per_user(self.connect),
            "publish_us_per_user": self.per_user(self.publish),
            "publish_cpu_us_per_user": self.publish_cpu.map(|cpu| self.per_user(cpu)),
            "disconnect_us_per_user": self.per_user(self.disconnect),
            "connect_seconds": self.connect,
            "publish_seconds": self.publish,
            "disconnect_seconds": self.disconnect,
            "lost": self.lost,
            "left_open": self.left_open,
            "broker_resident_bytes_before": self.resident.map(|(before, _)| before),
            "broker_resident_bytes": self.resident.map(|(_, after)| after),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;

    #[test]
    fn the_ring_closes() {
        for each in [1, 3] {
            let plan = ring(&target_at(([127, 0, 0, 1], 1883).into()), 3, each, 1);
            for (number, (seat, topics)) in plan.publishers.iter().enumerate() {
                let reader = (number + 1) % 3;
                let filters = plan.clients[reader].subscriptions.iter().map(|(filter, _)| filter);
                assert!(filters.eq(topics) && topics.len() == each as usize);
                assert_eq!((*seat, plan.ears[reader]), (number, Ear::From(number as u32)));
            }
        }
    }
}
