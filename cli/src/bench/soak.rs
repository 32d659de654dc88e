//! `bench soak`: a steady load for a long time. Does the server keep the pace, its memory, and every message?

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::join::{forget_sessions, join};
use super::load::{self, LEAVE_PATIENCE, LoadArgs, parse_seconds};
use super::plan::Plan;
use super::report::{Histogram, count, latency_json, latency_text, nanoseconds, new_histogram, table};
use super::scenarios::chat_plan;
use super::swarm::Swarm;
use super::target::{Target, TargetArgs};
use super::traffic::{Losses, Traffic};
use super::usage::{Spent, Usage};

/// Time without any arrival after which what is missing at the end counts as lost.
const DRAIN: Duration = Duration::from_secs(10);

/// `bench soak`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench soak --duration 1800 --broker-pid $(pidof hubbub) --data data\n\n\
    Needs a hubbub whose users exist, or `hubbub serve --dev`. Ends with status 1 if a message was lost or came twice."
)]
pub struct SoakArgs {
    /// Pairs of users who write direct messages to each other at QoS 1, with sessions that are kept
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pairs: u32,
    /// Messages a second over all users
    #[arg(long, value_name = "COUNT", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    payload: u32,
    /// Messages of one user under way; so many that the rate alone decides
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    window: u16,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = parse_seconds)]
    duration: Duration,
    /// A line after each of these
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    interval: Duration,
    /// The folder in which the broker keeps its data, to measure what it takes on the disk
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

/// One line of the report.
struct Sample {
    /// Seconds since the start.
    at: f64,
    delivered: u64,
    latency: Histogram,
    acknowledged: Histogram,
    spent: Spent,
    stored: Option<u64>,
}

/// Keeps the load up, says after each interval how it goes, and at the end whether every message came once.
pub fn run(args: &SoakArgs) -> Result<()> {
    let target = args.target.check()?;
    if target.user(0).is_empty() {
        bail!("soak needs user names, but --user-prefix is empty");
    }
    if args.interval.is_zero() {
        bail!("--interval 0: there has to be some time between two lines");
    }
    let plan = plan(&target, args.pairs as usize);
    let load = args.load();
    load::check_payload(&plan, &load)?;
    let stored_before = args.stored()?;
    let mut swarm = Swarm::new()?;
    join(&mut swarm, &target, &plan.clients)?;
    let rules = load::rules(&target, &plan, &load, 1, swarm.links.now_ns());
    let mut traffic = Traffic::new(&plan, rules, args.payload as usize);
    if !target.json {
        println!("{}\n{}", args.title(&target), Sample::heading());
    }
    let whole = Usage::begin(target.broker)?;
    let samples = keep_up(args, &target, &mut swarm, &mut traffic)?;
    let spent = whole.end()?;
    traffic.stop();
    load::drain(&mut swarm, &mut traffic, DRAIN)?;
    let stored = args.stored()?.zip(stored_before).map(|(after, before)| after.saturating_sub(before));
    swarm.leave(LEAVE_PATIENCE)?;
    forget_sessions(&target, &plan.clients)?;
    Summary { args, target: &target, samples, spent, stored, losses: traffic.losses(), traffic: &traffic }
        .tell()
}

/// The same as `bench chat`, but for sessions that are kept.
fn plan(target: &Target, pairs: usize) -> Plan {
    let plan = chat_plan(target, pairs, false);
    let clients = plan.clients.into_iter().map(|client| client.persistent(true)).collect();
    Plan { title: format!("soak, {pairs} pairs"), clients, ..plan }
}

fn keep_up(
    args: &SoakArgs,
    target: &Target,
    swarm: &mut Swarm,
    traffic: &mut Traffic,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut left = args.duration;
    traffic.start();
    traffic.meter.on = true;
    while !left.is_zero() {
        let usage = Usage::begin(target.broker)?;
        let interval = args.interval.min(left);
        load::drive(swarm, traffic, interval)?;
        left -= interval;
        let meter = &mut traffic.meter;
        let sample = Sample {
            at: (args.duration - left).as_secs_f64(),
            delivered: std::mem::take(&mut meter.delivered),
            latency: std::mem::replace(&mut meter.latency, new_histogram()),
            acknowledged: std::mem::replace(&mut meter.acknowledged, new_histogram()),
            spent: usage.end()?,
            stored: args.stored()?,
        };
        if !target.json {
            println!("{}", sample.line());
        }
        samples.push(sample);
    }
    Ok(samples)
}

impl SoakArgs {
    fn load(&self) -> LoadArgs {
        LoadArgs {
            window: self.window,
            rate: self.rate,
            of_saturation: None,
            p99_within: None,
            payload: self.payload,
            seconds: self.duration,
            warmup: Duration::ZERO,
            drain: DRAIN,
            pause: 0,
        }
    }

    fn title(&self, target: &Target) -> String {
        let SoakArgs { pairs, payload, duration, .. } = self;
        let (rate, seconds) = (count(u64::from(self.rate)), duration.as_secs_f64());
        format!(
            "soak, {pairs} pairs, {payload} B, {rate} msgs/s asked for {seconds:.0} s, at {}",
            target.address
        )
    }

    /// Bytes that the broker's data takes.
    fn stored(&self) -> Result<Option<u64>> {
        let Some(folder) = &self.data else { return Ok(None) };
        bytes_in(folder).map(Some).with_context(|| format!("--data {}", folder.display()))
    }
}

/// Blocks that the files of a folder take on the disk, in bytes; a file may be longer than that. What is deleted meanwhile
/// takes nothing.
fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes_in(&path).unwrap_or(0),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

impl Sample {
    fn heading() -> String {
        format!(
            "{:>7} {:>10} {:>29} {:>29} {:>9} {:>10} {:>11}",
            "seconds",
            "msgs/s",
            "end to end p50/p99/max",
            "acknowledged p50/p99/max",
            "broker",
            "memory",
            "on disk"
        )
    }

    fn per_second(&self) -> f64 {
        self.delivered as f64 / self.spent.seconds
    }

    fn line(&self) -> String {
        let broker = self.spent.broker.as_ref();
        let dash = || "-".to_owned();
        let share = broker.map_or_else(dash, |it| format!("{:.0} %", it.cpu / self.spent.seconds * 100.0));
        format!(
            "{:>7.0} {:>10} {:>29} {:>29} {share:>9} {:>10} {:>11}",
            self.at,
            count(self.per_second() as u64),
            brief(&self.latency),
            brief(&self.acknowledged),
            broker.map_or_else(dash, |it| megabytes(it.resident)),
            self.stored.map_or_else(dash, megabytes),
        )
    }

    fn json(&self) -> Value {
        json!({
            "seconds": self.at,
            "delivered": self.delivered,
            "delivered_per_second": self.per_second(),
            "latency": latency_json(&self.latency),
            "acknowledged": latency_json(&self.acknowledged),
            "usage": self.spent.json(self.delivered),
            "store_bytes": self.stored,
        })
    }
}

fn brief(histogram: &Histogram) -> String {
    let at = |quantile| nanoseconds(histogram.value_at_quantile(quantile));
    format!("{} / {} / {}", at(0.5), at(0.99), nanoseconds(histogram.max()))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// How it went in all.
struct Summary<'a> {
    args: &'a SoakArgs,
    target: &'a Target,
    samples: Vec<Sample>,
    spent: Spent,
    /// Bytes on disk that were not there before.
    stored: Option<u64>,
    losses: Losses,
    traffic: &'a Traffic,
}

impl Summary<'_> {
    /// Prints it, and fails if a message was lost or came twice.
    fn tell(&self) -> Result<()> {
        if self.target.json {
            println!("{}", self.json());
        } else {
            print!("{}", table("in all", &self.rows()));
        }
        let Losses { lost, duplicated, .. } = self.losses;
        let errors = self.traffic.faults.errors + self.traffic.faults.misrouted;
        if lost + duplicated + errors > 0 {
            bail!("{lost} lost, {duplicated} duplicated, {errors} errors");
        }
        Ok(())
    }

    fn sent(&self) -> u64 {
        self.traffic.sent()
    }

    fn sum(&self, of: impl Fn(&Sample) -> &Histogram) -> Histogram {
        let mut sum = new_histogram();
        for sample in &self.samples {
            // Same bounds, so it fits.
            let _ = sum.add(of(sample));
        }
        sum
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Losses { lost, duplicated, late } = self.losses;
        let (sent, faults) = (self.sent(), &self.traffic.faults);
        let mut rows = vec![
            ("sent", format!("{} messages", count(sent))),
            ("arrived once", format!("{} messages", count(sent - lost.min(sent)))),
            (
                "faults",
                format!("{lost} lost, {duplicated} duplicated, {late} late, {} errors", faults.errors),
            ),
            ("end to end", latency_text(&self.sum(|sample| &sample.latency))),
            ("acknowledged", latency_text(&self.sum(|sample| &sample.acknowledged))),
        ];
        if let Some(first) = &faults.first {
            rows.push(("first error", first.clone()));
        }
        if let Some(stored) = self.stored {
            let each = stored as f64 / sent.max(1) as f64;
            rows.push(("on disk", format!("{} more, {each:.0} bytes a message", megabytes(stored))));
        }
        rows.extend(self.spent.rows(sent));
        rows
    }

    fn json(&self) -> Value {
        json!({
            "scenario": "soak",
            "address": self.target.address.to_string(),
            "pairs": self.args.pairs,
            "rate": self.args.rate,
            "payload_bytes": self.args.payload,
            "seconds": self.spent.seconds,
            "sent": self.sent(),
            "lost": self.losses.lost,
            "duplicated": self.losses.duplicated,
            "late": self.losses.late,
            "errors": self.traffic.faults.errors,
            "first_error": self.traffic.faults.first,
            "latency": latency_json(&self.sum(|sample| &sample.latency)),
            "acknowledged": latency_json(&self.sum(|sample| &sample.acknowledged)),
            "store_bytes_added": self.stored,
            "usage": self.spent.json(self.sent()),
            "samples": self.samples.iter().map(Sample::json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;

    #[test]
    fn everybody_keeps_the_session_and_hears_one_other() {
        let plan = plan(&target_at(([127, 0, 0, 1], 1883).into()), 2);
        assert!(plan.clients.iter().all(|client| !client.clean));
        assert_eq!(plan.publishers.len(), 4);
    }

    #[test]
    fn what_a_folder_takes_is_its_blocks_and_not_its_length() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/full"), vec![1; 100_000]).unwrap();
        std::fs::File::create(folder.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let bytes = bytes_in(folder.path()).unwrap();
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
        assert!(bytes_in(&folder.path().join("nowhere")).is_err());
    }
}
