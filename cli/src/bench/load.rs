//! One measured load: join, warm up, measure, drain, leave, report.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::join::{forget_sessions, join};
use super::outcome::Outcome;
use super::plan::Plan;
use super::publisher::{Pace, Rules};
use super::swarm::Swarm;
use super::target::Target;
use super::traffic::Traffic;
use super::usage::Usage;

/// Longest sleep of the loop; stalls and ends are noticed that late at worst.
const LOOP_WAIT: Duration = Duration::from_millis(100);

/// After the last message has come, duplicates get so long to show up.
const DUPLICATE_WAIT: Duration = Duration::from_millis(200);

/// A drain that still makes progress is cut off here.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// A broker that does not close connections after DISCONNECT is not waited for longer.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

/// Options of every scenario that measures messages for some time.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Messages of one publisher under way: sent, but not received (and acknowledged) yet
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub window: u16,
    /// Messages a second over all publishers; 0: as fast as the window allows
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub rate: u32,
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

/// Carries out `plan` and prints the report.
pub fn run(target: &Target, plan: &Plan, load: &LoadArgs, qos: u8) -> Result<()> {
    check_payload(plan, load)?;
    let mut swarm = Swarm::new()?;
    let joined = join(&mut swarm, target, &plan.clients)?;
    let rules = rules(target, plan, load, qos, swarm.links.now_ns());
    let mut traffic = Traffic::new(plan, rules, load.payload as usize);

    swarm.pause = Duration::from_micros(u64::from(load.pause));
    traffic.start();
    drive(&mut swarm, &mut traffic, load.warmup)?;
    let usage = Usage::begin(target.broker)?;
    traffic.meter.on = true;
    drive(&mut swarm, &mut traffic, load.seconds)?;
    traffic.meter.on = false;
    let spent = usage.end()?;
    traffic.stop();
    drain(&mut swarm, &mut traffic, load.drain)?;

    swarm.leave(LEAVE_PATIENCE)?;
    forget_sessions(target, &plan.clients)?;
    let losses = traffic.losses();
    Outcome { plan, load, qos, target, joined, traffic, losses, spent }.print();
    Ok(())
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
