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

/// Bytes of the one message of each user.
const PAYLOAD: usize = 64;

/// `bench peruser`
#[derive(Args, Debug)]
#[command(after_help = "Example: hubbub bench peruser --users 1000,2000,4000,8000\n\n\
    The time per user should stay flat from step to step.")]
pub struct PeruserArgs {
    /// Users of each step
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1000,2000,4000,8000", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    users: Vec<u32>,
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
    connect: f64,
    publish: f64,
    disconnect: f64,
    lost: u64,
    left_open: usize,
    resident: Option<u64>,
}

/// Runs one step after the other; people see each as it ends.
pub fn run(args: &PeruserArgs) -> Result<()> {
    let target = args.target.check()?;
    if !target.json {
        println!("peruser, QoS {}, one message each, µs per user at {}", args.qos, target.address);
        println!(
            "{:>8} {:>18} {:>9} {:>11} {:>7} {:>10}",
            "users", "connect+subscribe", "publish", "disconnect", "lost", "broker"
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
    let plan = ring(target, users, args.qos);
    let mut swarm = Swarm::new()?;
    let connect = join(&mut swarm, target, &plan.clients)?.seconds;
    let resident = target.broker.and_then(|broker| broker.resident_bytes().ok());

    let mut traffic = Traffic::new(&plan, rules(target, users, args.qos), PAYLOAD);
    let publish = publish_once(&mut swarm, &mut traffic, args.patience)?;
    let lost = traffic.losses().lost;

    let began_ns = swarm.links.now_ns();
    let left_open = swarm.leave(args.patience)?;
    let disconnect = (swarm.links.now_ns() - began_ns) as f64 / 1e9;
    Ok(Step { users, connect, publish, disconnect, lost, left_open, resident })
}

/// Every user subscribes to their own topic and writes to the next one's.
fn ring(target: &Target, users: u32, qos: u8) -> Plan {
    let next = |number: u32| (number + 1) % users;
    let previous = |number: u32| (number + users - 1) % users;
    let client = |number: u32| target.client(number as usize).subscribing(target.topic(number), qos);
    Plan {
        title: format!("peruser, {users}"),
        clients: (0..users).map(client).collect(),
        ears: (0..users).map(|number| Ear::From(previous(number))).collect(),
        publishers: (0..users).map(|number| (number as usize, target.topic(next(number)))).collect(),
        copies: 1,
        form: PayloadForm::Raw,
    }
}

fn rules(target: &Target, users: u32, qos: u8) -> Rules {
    Rules {
        run: target.run,
        qos,
        window: 1,
        copies: 1,
        publishers: u64::from(users),
        form: PayloadForm::Raw,
        pace: Pace::Window,
        limit: Some(1),
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
        let resident = self.resident.map_or("-".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        let users = count(u64::from(self.users));
        let lost = self.lost;
        let remark = match self.left_open {
            0 => String::new(),
            open => format!("  ({open} not closed by the broker)"),
        };
        format!(
            "{users:>8} {connect:>18.1} {publish:>9.1} {disconnect:>11.1} {lost:>7} {resident:>10}{remark}"
        )
    }

    fn json(&self) -> Value {
        json!({
            "users": self.users,
            "connect_us_per_user": self.per_user(self.connect),
            "publish_us_per_user": self.per_user(self.publish),
            "disconnect_us_per_user": self.per_user(self.disconnect),
            "connect_seconds": self.connect,
            "publish_seconds": self.publish,
            "disconnect_seconds": self.disconnect,
            "lost": self.lost,
            "left_open": self.left_open,
            "broker_resident_bytes": self.resident,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;

    #[test]
    fn the_ring_closes() {
        let plan = ring(&target_at(([127, 0, 0, 1], 1883).into()), 3, 1);
        for (number, (seat, topic)) in plan.publishers.iter().enumerate() {
            let reader = plan
                .clients
                .iter()
                .position(|client| client.subscription.as_ref().unwrap().0 == *topic)
                .unwrap();
            assert_eq!((*seat, reader), (number, (number + 1) % 3));
            assert_eq!(plan.ears[reader], Ear::From(number as u32));
        }
    }
}
