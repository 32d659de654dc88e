//! The scenarios that measure messages: who talks to whom.

use anyhow::{Result, bail};
use clap::Args;

use super::load::{self, LoadArgs};
use super::plan::{Ear, PayloadForm, Plan};
use super::target::{Target, TargetArgs};

/// Options of scenarios whose quality of service may be chosen.
#[derive(Args, Debug)]
struct ServiceArgs {
    /// Quality of service of publishers and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Subscribers keep their sessions (clean session off); they are removed after the run
    #[arg(long)]
    persistent: bool,
}

/// `bench p2p`
#[derive(Args, Debug)]
#[command(
    after_help = "Example: hubbub bench p2p --pairs 100 --window 20 --qos 1 --broker-pid $(pidof mosquitto)"
)]
pub struct PairArgs {
    /// Pairs of one publisher and one subscriber
    #[arg(long, alias = "users", value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: u32,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// `bench fanout`
#[derive(Args, Debug)]
#[command(after_help = "Example: hubbub bench fanout --users 1000 --window 5 --seconds 10")]
pub struct FanoutArgs {
    /// Subscribers of the one publisher's topic
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// `bench fanin`
#[derive(Args, Debug)]
#[command(after_help = "Example: hubbub bench fanin --users 100 --rate 50000 --qos 1 --json")]
pub struct FaninArgs {
    /// Publishers to the one subscriber's topic
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// `bench chat`
#[derive(Args, Debug)]
#[command(after_help = "Example: hubbub bench chat --pairs 50 --rate 2000 --seconds 10\n\n\
    Needs a hubbub whose users exist, or `hubbub serve --dev`.")]
pub struct ChatArgs {
    /// Pairs of users who write to each other
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pairs: u32,
    /// Only the first user of each pair writes
    #[arg(long)]
    one_way: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Publisher `i` to topic `i` to subscriber `i`.
pub fn pairs(args: &PairArgs) -> Result<()> {
    let (target, pairs) = (args.target.check()?, args.pairs as usize);
    let subscribers = (0..pairs).map(|pair| {
        let client = target.client(pair).persistent(args.service.persistent);
        client.subscribing(target.topic(pair), args.service.qos)
    });
    let plan = Plan {
        title: format!("p2p, {pairs} pairs"),
        clients: subscribers.chain((pairs..2 * pairs).map(|number| target.client(number))).collect(),
        ears: ears((0..args.pairs).map(Ear::From), 2 * pairs),
        publishers: (0..pairs).map(|pair| (pairs + pair, vec![target.topic(pair)])).collect(),
        copies: 1,
        form: PayloadForm::Raw,
    };
    load::run(&target, &plan, &args.load, args.service.qos)
}

/// One publisher to all subscribers.
pub fn fanout(args: &FanoutArgs) -> Result<()> {
    let (target, users) = (args.target.check()?, args.users as usize);
    let subscribers = (0..users).map(|number| {
        let client = target.client(number).persistent(args.service.persistent);
        client.subscribing(target.topic("out"), args.service.qos)
    });
    let plan = Plan {
        title: format!("fanout, 1 to {users}"),
        clients: subscribers.chain([target.client(users)]).collect(),
        ears: ears((0..args.users).map(Ear::Copy), users + 1),
        publishers: vec![(users, vec![target.topic("out")])],
        copies: u64::from(args.users),
        form: PayloadForm::Raw,
    };
    load::run(&target, &plan, &args.load, args.service.qos)
}

/// All publishers to one subscriber.
pub fn fanin(args: &FaninArgs) -> Result<()> {
    let (target, users) = (args.target.check()?, args.users as usize);
    let subscriber = target.client(0).persistent(args.service.persistent);
    let subscriber = subscriber.subscribing(target.topic("in"), args.service.qos);
    let plan = Plan {
        title: format!("fanin, {users} to 1"),
        clients: std::iter::once(subscriber).chain((1..=users).map(|number| target.client(number))).collect(),
        ears: ears([Ear::Everybody].into_iter(), users + 1),
        publishers: (1..=users).map(|seat| (seat, vec![target.topic("in")])).collect(),
        copies: 1,
        form: PayloadForm::Raw,
    };
    load::run(&target, &plan, &args.load, args.service.qos)
}

/// Users `2i` and `2i + 1` write direct messages to each other and read their inboxes.
pub fn chat(args: &ChatArgs) -> Result<()> {
    let target = args.target.check()?;
    if target.user(0).is_empty() {
        bail!("chat needs user names, but --user-prefix is empty");
    }
    load::run(&target, &chat_plan(&target, args.pairs as usize, args.one_way), &args.load, 1)
}

/// Everybody of these pairs writes to the other one, or only the first.
pub fn chat_plan(target: &Target, pairs: usize, one_way: bool) -> Plan {
    let users = 2 * pairs;
    let writers: Vec<usize> = (0..users).step_by(if one_way { 2 } else { 1 }).collect();
    let mut ears = vec![Ear::Nobody; users];
    for (publisher, &writer) in writers.iter().enumerate() {
        ears[peer(writer)] = Ear::From(publisher as u32);
    }
    let inbox = |number| format!("u/{}/inbox", target.user(number));
    Plan {
        title: format!("chat, {pairs} pairs{}", if one_way { ", one way" } else { "" }),
        clients: (0..users).map(|number| target.client(number).subscribing(inbox(number), 1)).collect(),
        ears,
        publishers: writers
            .iter()
            .map(|&writer| (writer, vec![format!("dm/{}", target.user(peer(writer)))]))
            .collect(),
        copies: 1,
        form: PayloadForm::Envelope,
    }
}

fn peer(user: usize) -> usize {
    user ^ 1
}

/// The first seats' ears, and deaf ones up to `seats`.
fn ears(first: impl Iterator<Item = Ear>, seats: usize) -> Vec<Ear> {
    first.chain(std::iter::repeat(Ear::Nobody)).take(seats).collect()
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;

    fn plan(one_way: bool) -> Plan {
        chat_plan(&target_at(([127, 0, 0, 1], 1883).into()), 2, one_way)
    }

    #[test]
    fn both_users_of_a_pair_write_to_the_other() {
        let plan = plan(false);
        let topics: Vec<_> =
            plan.publishers.iter().map(|(seat, topics)| (*seat, topics[0].as_str())).collect();
        assert_eq!(topics, [(0, "dm/u1"), (1, "dm/u0"), (2, "dm/u3"), (3, "dm/u2")]);
        assert_eq!(plan.ears, [Ear::From(1), Ear::From(0), Ear::From(3), Ear::From(2)]);
        assert_eq!(plan.clients[3].subscriptions, [("u/u3/inbox".into(), 1)]);
    }

    #[test]
    fn one_way_only_the_even_users_write() {
        let plan = plan(true);
        let topics: Vec<_> =
            plan.publishers.iter().map(|(seat, topics)| (*seat, topics[0].as_str())).collect();
        assert_eq!(topics, [(0, "dm/u1"), (2, "dm/u3")]);
        assert_eq!(plan.ears, [Ear::Nobody, Ear::From(0), Ear::Nobody, Ear::From(1)]);
    }
}
