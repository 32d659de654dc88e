//! `bench drain` and `bench survive`: what waited for absent clients, and how it reaches them.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::away::{Away, AwayArgs, Filled, Returned};
use super::load::parse_seconds;
use super::report::{count, table};
use super::restart::{Restarted, kill_and_restart};
use super::target::{Target, TargetArgs};
use super::usage::{Spent, Usage};

/// `bench drain`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench drain --sessions 200 --messages 1000 --broker-pid $(pidof mosquitto)\n\n\
    A broker may need settings that let so many messages wait."
)]
pub struct DrainArgs {
    #[command(flatten)]
    away: AwayArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// `bench survive`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    hubbub bench survive --broker-pid $(pidof mosquitto) --restart-command './start > log & echo $!'\n  \
    hubbub bench survive --sessions 10000 --messages 10 --parallel 1000 --broker-pid PID --restart-command COMMAND\n\n\
    The broker is ended with SIGKILL as soon as it has acknowledged the last message.")]
pub struct SurviveArgs {
    /// Shell command that starts the broker again, in the background, and prints its process id
    #[arg(long, value_name = "COMMAND", requires = "broker_pid")]
    restart_command: String,
    /// Longest time until it listens
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    start_patience: Duration,
    #[command(flatten)]
    away: AwayArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Fills queues and has everybody come back for them.
pub fn drain(args: &DrainArgs) -> Result<()> {
    let target = args.target.check()?;
    run(&target, &args.away, None)
}

/// The same, with the end of the broker in between.
pub fn survive(args: &SurviveArgs) -> Result<()> {
    let mut target = args.target.check()?;
    let killed = target.broker.take().context("--broker-pid is needed to kill the broker")?;
    let restart = || kill_and_restart(killed, target.address, &args.restart_command, args.start_patience);
    run(&target, &args.away, Some(&restart))
}

fn run(target: &Target, args: &AwayArgs, restart: Option<&dyn Fn() -> Result<Restarted>>) -> Result<()> {
    let away = Away::begin(target, args)?;
    let filled = away.fill()?;
    let restarted = restart.map(|restart| restart()).transpose()?;
    let broker = restarted.as_ref().map(|it| it.broker).or(target.broker);
    let usage = Usage::begin(broker)?;
    let returned = away.come_back()?;
    let spent = usage.end()?;
    let peak = broker.and_then(|broker| broker.peak_bytes().ok());
    away.forget()?;
    Outcome { target, args, expected: away.total(), filled, restarted, returned, spent, peak }.print();
    Ok(())
}

struct Outcome<'a> {
    target: &'a Target,
    args: &'a AwayArgs,
    expected: u64,
    filled: Filled,
    restarted: Option<Restarted>,
    returned: Returned,
    spent: Spent,
    peak: Option<u64>,
}

impl Outcome<'_> {
    fn print(&self) {
        if self.target.json {
            println!("{}", self.json());
        } else {
            print!("{}", table(&self.title(), &self.rows()));
        }
    }

    fn name(&self) -> &'static str {
        if self.restarted.is_some() { "survive" } else { "drain" }
    }

    fn title(&self) -> String {
        let AwayArgs { sessions, messages, payload, .. } = self.args;
        let (sessions, messages) = (count(u64::from(*sessions)), count(u64::from(*messages)));
        let address = self.target.address;
        format!(
            "{}, {sessions} sessions with {messages} messages each, {payload} B, at {address}",
            self.name()
        )
    }

    fn rows(&self) -> Vec<(&str, String)> {
        let Self { filled, returned, .. } = self;
        let taken = filled.acknowledged as f64 / filled.seconds;
        let acknowledged = count(filled.acknowledged);
        let mut rows = vec![("acknowledged", format!("{acknowledged}, {} a second", count(taken as u64)))];
        if let Some(restarted) = &self.restarted {
            rows.push(("restart", format!("listens {:.2} s after the command", restarted.seconds)));
        }
        rows.push(("resumed", format!("{:.2} s", returned.resumed)));
        rows.push(("drained", format!("{:.2} s from the first connection", returned.drained)));
        rows.push(("arrived", format!("{} of {}", count(returned.arrived), count(self.expected))));
        let Returned { lost, duplicated, late, dropped, .. } = returned;
        rows.push((
            "faults",
            format!("{lost} lost, {duplicated} duplicated, {late} late, {dropped} connections lost"),
        ));
        if let Some(peak) = self.peak {
            rows.push(("peak memory", format!("{:.1} MB", peak as f64 / 1e6)));
        }
        rows.extend(self.spent.rows(returned.arrived));
        rows
    }

    fn json(&self) -> Value {
        let Self { filled, returned, .. } = self;
        json!({
            "scenario": self.name(),
            "address": self.target.address.to_string(),
            "sessions": self.args.sessions,
            "messages": self.args.messages,
            "payload_bytes": self.args.payload,
            "acknowledged": filled.acknowledged,
            "fill_seconds": filled.seconds,
            "restart_seconds": self.restarted.as_ref().map(|it| it.seconds),
            "broker_pid": self.restarted.as_ref().map(|it| it.broker.pid()),
            "resumed_seconds": returned.resumed,
            "drained_seconds": returned.drained,
            "arrived": returned.arrived,
            "lost": returned.lost,
            "duplicated": returned.duplicated,
            "late": returned.late,
            "dropped": returned.dropped,
            "peak_bytes": self.peak,
            "usage": self.spent.json(returned.arrived),
        })
    }
}
