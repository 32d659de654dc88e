//! `bench burst`: one writer fills a large room again and again. Do two others who write to each other notice?

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::join::join;
use super::load::{self, LEAVE_PATIENCE, LoadArgs, parse_seconds};
use super::plan::{Ear, PayloadForm, Plan};
use super::publisher::{Pace, Rules};
use super::report::{Histogram, count, latency_json, latency_text, new_histogram, table};
use super::swarm::Swarm;
use super::target::{Target, TargetArgs};
use super::traffic::{Losses, Traffic};
use super::usage::{Spent, Usage};

/// Messages of a pair that are under way at most; so many that the rate decides.
const PAIR_WINDOW: u16 = 100;

/// `bench burst`
#[derive(Args, Debug)]
#[command(after_help = "Example: hubbub bench burst --users 5000 --burst 10 --every 1 --seconds 10\n\n\
    The pair is measured on a thread of its own, first alone and then beside the bursts.")]
pub struct BurstArgs {
    /// Members of the room
    #[arg(long, value_name = "COUNT", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// Messages to the room at once
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    burst: u16,
    /// Time from one burst to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    every: Duration,
    /// Messages a second of the pair
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pair_rate: u32,
    /// Quality of service of all of them
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(24..=1_048_576))]
    payload: u32,
    /// Measured time, alone and beside the bursts
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,
    #[command(flatten)]
    target: TargetArgs,
}

/// The pair alone, then the pair beside the room.
pub fn run(args: &BurstArgs) -> Result<()> {
    let target = args.target.check()?;
    ensure!(!args.every.is_zero(), "--every 0: there has to be some time between two bursts");
    let alone = pair(args, &target, 1)?;
    let plan = room(&target, args.users, args.qos);
    let mut swarm = Swarm::new()?;
    join(&mut swarm, &target, &plan.clients)?;
    let usage = Usage::begin(target.broker)?;
    let (room, beside) = thread::scope(|scope| {
        let pair = scope.spawn(|| pair(args, &target, 2));
        let room = fill(args, &target, &mut swarm, &plan);
        (room, pair.join().unwrap_or_else(|_| Err(anyhow!("the thread of the pair panicked"))))
    });
    let spent = usage.end()?;
    swarm.leave(LEAVE_PATIENCE)?;
    Outcome { args, target: &target, alone, beside: beside?, room: room?, spent }.print();
    Ok(())
}

fn room(target: &Target, users: u32, qos: u8) -> Plan {
    let topic = target.topic("room");
    let member = |number: u32| target.client(number as usize).subscribing(topic.clone(), qos);
    Plan {
        title: format!("burst, 1 to {users}"),
        clients: (0..users).map(member).chain([target.client(users as usize)]).collect(),
        ears: (0..users).map(Ear::Copy).chain([Ear::Nobody]).collect(),
        publishers: vec![(users as usize, vec![topic])],
        copies: u64::from(users),
        form: PayloadForm::Raw,
    }
}

/// What was seen of the room, or of the pair.
struct Seen {
    latency: Histogram,
    delivered: u64,
    losses: Losses,
    errors: u64,
}

/// One burst after the other, each when the one before has arrived and its time has come.
fn fill(args: &BurstArgs, target: &Target, swarm: &mut Swarm, plan: &Plan) -> Result<Seen> {
    let mut seen = Seen {
        latency: new_histogram(),
        delivered: 0,
        losses: Losses { lost: 0, duplicated: 0, late: 0 },
        errors: 0,
    };
    let bursts = (args.seconds.as_secs_f64() / args.every.as_secs_f64()).ceil().max(1.0) as u32;
    for burst in 0..bursts {
        let rules = Rules {
            run: target.run.wrapping_add(burst),
            qos: args.qos,
            window: args.burst,
            copies: plan.copies,
            publishers: 1,
            form: plan.form,
            pace: Pace::Window,
            limit: Some(u64::from(args.burst)),
        };
        let mut traffic = Traffic::new(plan, rules, args.payload as usize);
        let next_ns = swarm.links.now_ns() + args.every.as_nanos() as u64;
        traffic.meter.on = true;
        traffic.start();
        load::drive(swarm, &mut traffic, args.every)?;
        if !traffic.is_finished() {
            load::drain(swarm, &mut traffic, Duration::from_secs(2))?;
        }
        seen.add(&traffic);
        let left_ns = next_ns.saturating_sub(swarm.links.now_ns());
        load::drive(swarm, &mut traffic, Duration::from_nanos(left_ns))?;
    }
    Ok(seen)
}

impl Seen {
    fn add(&mut self, traffic: &Traffic) {
        let Losses { lost, duplicated, late } = traffic.losses();
        self.losses.lost += lost;
        self.losses.duplicated += duplicated;
        self.losses.late += late;
        self.delivered += traffic.meter.delivered;
        self.errors += traffic.faults.errors;
        // Same bounds, so it fits.
        let _ = self.latency.add(&traffic.meter.latency);
    }
}

/// Two users, of whom one writes at a steady rate. `number` tells its runs apart.
fn pair(args: &BurstArgs, target: &Target, number: usize) -> Result<Seen> {
    let topic = target.topic(format_args!("pair/{number}"));
    // Behind those of the room.
    let first = args.users as usize + 2 * number;
    let clients = vec![target.client(first).subscribing(topic.clone(), args.qos), target.client(first + 1)];
    let plan = Plan {
        title: "pair".into(),
        clients,
        ears: vec![Ear::From(0), Ear::Nobody],
        publishers: vec![(1, vec![topic])],
        copies: 1,
        form: PayloadForm::Raw,
    };
    let load = LoadArgs {
        window: PAIR_WINDOW,
        rate: args.pair_rate,
        of_saturation: None,
        p99_within: None,
        payload: args.payload,
        seconds: args.seconds,
        warmup: Duration::ZERO,
        drain: Duration::from_secs(2),
        pause: 0,
    };
    let mut swarm = Swarm::new()?;
    join(&mut swarm, target, &plan.clients)?;
    let rules = load::rules(target, &plan, &load, args.qos, swarm.links.now_ns());
    let mut traffic = Traffic::new(&plan, rules, args.payload as usize);
    traffic.meter.on = true;
    traffic.start();
    load::drive(&mut swarm, &mut traffic, load.seconds)?;
    traffic.stop();
    load::drain(&mut swarm, &mut traffic, load.drain)?;
    swarm.leave(LEAVE_PATIENCE)?;
    let meter = &traffic.meter;
    Ok(Seen {
        latency: meter.latency.clone(),
        delivered: meter.delivered,
        losses: traffic.losses(),
        errors: traffic.faults.errors,
    })
}

struct Outcome<'a> {
    args: &'a BurstArgs,
    target: &'a Target,
    alone: Seen,
    beside: Seen,
    room: Seen,
    spent: Spent,
}

impl Outcome<'_> {
    fn print(&self) {
        if self.target.json {
            println!("{}", self.json());
        } else {
            let BurstArgs { users, burst, every, qos, .. } = self.args;
            let users = count(u64::from(*users));
            let title = format!(
                "burst, {burst} messages to {users} users every {:.1} s, QoS {qos}, at {}",
                every.as_secs_f64(),
                self.target.address
            );
            print!("{}", table(&title, &self.rows()));
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let faults = |seen: &Seen| {
            let Losses { lost, duplicated, late } = seen.losses;
            format!("{lost} lost, {duplicated} duplicated, {late} late, {} errors", seen.errors)
        };
        let mut rows = vec![
            ("pair alone", latency_text(&self.alone.latency)),
            ("pair beside", latency_text(&self.beside.latency)),
            ("room", latency_text(&self.room.latency)),
            ("faults, pair", faults(&self.beside)),
            ("faults, room", faults(&self.room)),
        ];
        rows.extend(self.spent.rows(self.room.delivered + self.beside.delivered));
        rows
    }

    fn json(&self) -> Value {
        let seen = |seen: &Seen| {
            json!({
                "latency": latency_json(&seen.latency),
                "delivered": seen.delivered,
                "lost": seen.losses.lost,
                "duplicated": seen.losses.duplicated,
                "late": seen.losses.late,
                "errors": seen.errors,
            })
        };
        json!({
            "scenario": "burst",
            "address": self.target.address.to_string(),
            "users": self.args.users,
            "burst": self.args.burst,
            "every_seconds": self.args.every.as_secs_f64(),
            "qos": self.args.qos,
            "pair_alone": seen(&self.alone),
            "pair_beside": seen(&self.beside),
            "room": seen(&self.room),
            "usage": self.spent.json(self.room.delivered + self.beside.delivered),
        })
    }
}
