//! `hubbub bench`: drives any MQTT broker with its own small MQTT 3.1.1 client, on one thread, and says what it saw.
//!
//! The road of a message: [`traffic`] tops up each [`publisher`]'s window, [`swarm`] writes once per turn and
//! connection, the broker does its work, [`swarm`] reads, [`codec`] decodes in place, [`track`] books the sequence
//! number. A scenario is a [`plan`] (who talks to whom) carried out by [`load`] and told by [`outcome`].

mod away;
mod burst;
mod codec;
mod connect;
mod drain;
mod envelope;
mod groups;
mod in_flight;
mod join;
mod links;
mod load;
mod outcome;
mod peruser;
mod plan;
mod presence;
mod process;
mod publisher;
mod report;
mod restart;
mod scenarios;
mod search;
mod soak;
mod stamp;
mod swarm;
mod target;
mod tls;
mod track;
mod traffic;
mod usage;
mod watchers;

use clap::{Args, Subcommand};

/// Measure a broker: throughput, latency, losses, connections
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    hubbub bench p2p --qos 1\n  \
    hubbub bench fanout --address 127.0.0.1:1884 --broker-pid 4711 --json\n\n\
    Figures are taken between warm-up and end; losses and duplicates cover the whole run.")]
pub struct BenchArgs {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand, Debug)]
enum Scenario {
    /// Pairs: publisher i to topic i to subscriber i
    P2p(scenarios::PairArgs),
    /// One publisher to many subscribers
    Fanout(scenarios::FanoutArgs),
    /// Many publishers to one subscriber
    Fanin(scenarios::FaninArgs),
    /// Group chat over ordinary topics: every message reaches all members of a group
    Groups(groups::GroupArgs),
    /// One writer fills a large room again and again, while the latency of a pair beside it is measured
    Burst(burst::BurstArgs),
    /// Users with a retained state and a will watch each other; some vanish
    Presence(presence::PresenceArgs),
    /// Absent sessions for which messages wait return
    Drain(drain::DrainArgs),
    /// The same, but the broker is killed and started again before they return: what is left of what it acknowledged?
    Survive(drain::SurviveArgs),
    /// Many clients connect, subscribe, stay idle, disconnect
    Connect(connect::ConnectArgs),
    /// Growing numbers of users, each with a topic: does the cost per user stay flat?
    Peruser(peruser::PeruserArgs),
    /// Direct messages at QoS 1 between users of a hubbub, stored before they are acknowledged
    Chat(scenarios::ChatArgs),
    /// Direct messages at a steady rate for a long time: latency, memory and disk over time, every message counted
    Soak(soak::SoakArgs),
}

/// Runs one scenario on this thread and prints its report on standard output.
///
/// Fails when the broker cannot be reached or refuses a client; losses are reported, and fail a soak only.
pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.scenario {
        Scenario::P2p(args) => scenarios::pairs(&args),
        Scenario::Fanout(args) => scenarios::fanout(&args),
        Scenario::Fanin(args) => scenarios::fanin(&args),
        Scenario::Groups(args) => groups::run(&args),
        Scenario::Burst(args) => burst::run(&args),
        Scenario::Presence(args) => presence::run(&args),
        Scenario::Drain(args) => drain::drain(&args),
        Scenario::Survive(args) => drain::survive(&args),
        Scenario::Connect(args) => connect::run(&args),
        Scenario::Peruser(args) => peruser::run(&args),
        Scenario::Chat(args) => scenarios::chat(&args),
        Scenario::Soak(args) => soak::run(&args),
    }
}
