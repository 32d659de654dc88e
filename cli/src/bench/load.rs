//! One measured load: join, warm up, measure, drain, leave, report.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::join::{forget_sessions, join};
use super::outcome::Outcome;
use super::plan::Plan;
use super::publisher::{Pace, Rules};
use super::search;
use super::swarm::Swarm;
use super::target::Target;
use super::traffic::{Losses, Traffic};
use super::usage::{Spent, Usage};

/// Longest sleep of the loop; stalls and ends are noticed that late at worst.
const LOOP_WAIT: Duration = Duration::from_millis(100);

/// After the last message has come, duplicates get so long to show up.
const DUPLICATE_WAIT: Duration = Duration::from_millis(200);

/// A drain that still makes progress is cut off here.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// A broker that does not close connections after DISCONNECT is not waited for longer.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

/// Options of every scenario that measures messages for some time.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Messages of one publisher under way: sent, but not received (and acknowledged) yet
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub window: u16,
    /// Messages a second over all publishers; 0: as fast as the window allows
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub rate: u32,
    /// First see how much goes through as fast as the window allows, then measure at this part of it, 0.01 to 1
    #[arg(long, value_name = "PART", conflicts_with = "rate", value_parser = parse_part)]
    pub of_saturation: Option<f64>,
    /// Look for the highest rate whose p99 from end to end stays within this; begins at the rate
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "of_saturation", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub p99_within: Option<u32>,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub payload: u32,
    /// Measured time
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub seconds: Duration,
    /// Time before measuring
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub warmup: Duration,
    /// Time without any arrival after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub drain: Duration,
    /// Rest between two turns of the benchmark. Makes it cheaper and its batches larger, and latencies longer
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub pause: u32,
}

/// A number of seconds, perhaps with a fraction, up to an hour.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0 to 3600, such as 5 or 0.5".into()),
    }
}

fn parse_part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.01..=1.0).contains(&part) => Ok(part),
        _ => Err("expected a part from 0.01 to 1, such as 0.5".into()),
    }
}

/// Carries out `plan` and prints the report.
pub fn run(target: &Target, plan: &Plan, load: &LoadArgs, qos: u8) -> Result<()> {
    check_payload(plan, load)?;
    let mut swarm = Swarm::new()?;
    let joined = join(&mut swarm, target, &plan.clients)?;
    swarm.pause = Duration::from_micros(u64::from(load.pause));
    let mut bed = Bed { swarm, target, plan, load, qos, stretches: 0 };
    let (measured, remark) = match (load.of_saturation, load.p99_within) {
        (Some(part), _) => search::part_of_saturation(part, |rate| bed.measure(rate))?,
        (_, Some(bound)) => search::most_within(bound, load.rate, |rate| bed.measure(rate))?,
        _ => (bed.measure(load.rate)?, None),
    };
    bed.swarm.leave(LEAVE_PATIENCE)?;
    forget_sessions(target, &plan.clients)?;
    let load = LoadArgs { rate: measured.rate, ..load.clone() };
    Outcome { plan, load: &load, qos, target, joined, measured, remark }.print();
    Ok(())
}

/// Connections that stand, on which one stretch after the other is measured.
struct Bed<'a> {
    swarm: Swarm,
    target: &'a Target,
    plan: &'a Plan,
    load: &'a LoadArgs,
    qos: u8,
    stretches: u32,
}

/// What one stretch came to.
pub struct Measured {
    /// Messages a second that were asked for; 0: as many as possible.
    pub rate: u32,
    /// What was counted.
    pub traffic: Traffic,
    /// What did not arrive as it should.
    pub losses: Losses,
    /// What it cost.
    pub spent: Spent,
}

impl Measured {
    /// Messages a second handed to the broker.
    pub fn published_per_second(&self) -> f64 {
        self.traffic.meter.published as f64 / self.spent.seconds
    }
}

impl Bed<'_> {
    /// Warms up, measures, and waits for what is under way.
    fn measure(&mut self, rate: u32) -> Result<Measured> {
        let Self { swarm, target, plan, qos, .. } = self;
        let load = LoadArgs { rate, ..self.load.clone() };
        let mut rules = rules(target, plan, &load, *qos, swarm.links.now_ns());
        // What an earlier stretch left under way is not of this run.
        rules.run = target.run.wrapping_add(self.stretches);
        self.stretches += 1;
        let mut traffic = Traffic::new(plan, rules, load.payload as usize);
        traffic.start();
        drive(swarm, &mut traffic, load.warmup)?;
        let usage = Usage::begin(target.broker)?;
        traffic.meter.on = true;
        drive(swarm, &mut traffic, load.seconds)?;
        traffic.meter.on = false;
        let spent = usage.end()?;
        traffic.stop();
        drain(swarm, &mut traffic, load.drain)?;
        Ok(Measured { rate, losses: traffic.losses(), traffic, spent })
    }
}

/// Fails for payloads in which no stamp has room.
pub fn check_payload(plan: &Plan, load: &LoadArgs) -> Result<()> {
    let shortest = plan.form.stamp_form().length();
    if (load.payload as usize) < shortest {
        bail!("--payload {}: the shortest that can be measured here is {shortest} bytes", load.payload);
    }
    Ok(())
}

/// The rules of a load that begins now.
pub fn rules(target: &Target, plan: &Plan, load: &LoadArgs, qos: u8, start_ns: u64) -> Rules {
    let pace = match load.rate {
        0 => Pace::Window,
        rate => Pace::Rate { gap_ns: 1e9 / f64::from(rate), start_ns },
    };
    Rules {
        run: target.run,
        qos,
        window: load.window,
        copies: plan.copies,
        publishers: plan.publishers.len() as u64,
        form: plan.form,
        pace,
        limit: None,
    }
}

/// Keeps the traffic going for some time.
pub fn drive(swarm: &mut Swarm, traffic: &mut Traffic, time: Duration) -> Result<()> {
    let end_ns = swarm.links.now_ns() + time.as_nanos() as u64;
    let longest_wait = if traffic.is_paced() { Duration::from_millis(1) } else { LOOP_WAIT };
    let mut stall_check_ns = 0;
    let mut wait = Duration::ZERO;
    loop {
        swarm.turn(traffic, wait)?;
        let now_ns = swarm.links.now_ns();
        if now_ns >= end_ns {
            return Ok(());
        }
        if swarm.links.open_count() == 0 {
            bail!(
                "the broker closed all connections: {}",
                traffic.faults.first.as_deref().unwrap_or("no reason")
            );
        }
        if now_ns >= stall_check_ns {
            traffic.check_stalls(now_ns);
            stall_check_ns = now_ns + LOOP_WAIT.as_nanos() as u64;
        }
        wait = longest_wait.min(Duration::from_nanos(end_ns - now_ns));
    }
}

/// Waits for what is under way, and a little longer for duplicates.
pub fn drain(swarm: &mut Swarm, traffic: &mut Traffic, patience: Duration) -> Result<()> {
    let began_ns = swarm.links.now_ns();
    loop {
        swarm.turn(traffic, Duration::from_millis(20))?;
        let now_ns = swarm.links.now_ns();
        let quiet_ns = now_ns - traffic.last_arrival_ns.clamp(began_ns, now_ns);
        let patience = if traffic.is_at_rest() { DUPLICATE_WAIT } else { patience };
        let expired = now_ns - began_ns > LONGEST_DRAIN.as_nanos() as u64;
        if quiet_ns >= patience.as_nanos() as u64 || expired || swarm.links.open_count() == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_have_a_bound() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["-1", "4000", "NaN", "soon"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
