//! `bench groups`: group chat over ordinary topics. Everybody is in some groups and writes to one of them.

use anyhow::{Result, bail};
use clap::Args;

use super::load::{self, LoadArgs};
use super::plan::{Ear, PayloadForm, Plan};
use super::target::{Target, TargetArgs};

/// `bench groups`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    hubbub bench groups --rate 1000 (20,000 deliveries a second, since every message reaches 20)\n  \
    hubbub bench groups --p99-within 100 --seconds 2")]
pub struct GroupArgs {
    /// Users; all of them write
    #[arg(long, value_name = "COUNT", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    users: u32,
    /// Groups, each with a topic
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    groups: u32,
    /// Members of each group, all of whom hear each message, its writer too; they divide the users evenly
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
    /// Quality of service of messages and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Everybody writes to one group and hears all of theirs.
pub fn run(args: &GroupArgs) -> Result<()> {
    let target = args.target.check()?;
    let circles = Circles::new(args.users, args.groups, args.members)?;
    load::run(&target, &plan(&target, circles, args.qos), &args.load, args.qos)
}

fn plan(target: &Target, circles: Circles, qos: u8) -> Plan {
    let topic = |group: u32| target.topic(format_args!("group/{group}"));
    let client = |user: u32| {
        let client = target.client(user as usize);
        circles.groups_of(user).fold(client, |client, group| client.subscribing(topic(group), qos))
    };
    Plan {
        title: format!("groups, {} of {}", circles.groups, circles.members),
        clients: (0..circles.users).map(client).collect(),
        ears: (0..circles.users).map(|user| Ear::Member(circles, user)).collect(),
        publishers: (0..circles.users).map(|user| (user as usize, vec![topic(circles.home(user))])).collect(),
        copies: u64::from(circles.members),
        form: PayloadForm::Raw,
    }
}

/// Who is in which group.
///
/// Groups come in *rounds*, in each of which everybody is in one group: in even rounds neighbours share one, in odd rounds
/// users at equal distances do. So the groups of one user have no other member in common, as among people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circles {
    users: u32,
    groups: u32,
    members: u32,
}

impl Circles {
    /// Fails if the numbers leave a group short of members.
    fn new(users: u32, groups: u32, members: u32) -> Result<Self> {
        if !users.is_multiple_of(members) || !groups.is_multiple_of(users / members) {
            let per_round = users / members.max(1);
            bail!(
                "{users} users do not fill {groups} groups of {members} evenly; take a number of users that {members} divides, and a multiple of {per_round} groups"
            );
        }
        Ok(Self { users, groups, members })
    }

    fn groups_per_round(self) -> u32 {
        self.users / self.members
    }

    fn rounds(self) -> u32 {
        self.groups / self.groups_per_round()
    }

    fn groups_of(self, user: u32) -> impl Iterator<Item = u32> {
        (0..self.rounds()).map(move |round| self.group(user, round))
    }

    fn group(self, user: u32, round: u32) -> u32 {
        let in_round =
            if round.is_multiple_of(2) { user / self.members } else { user % self.groups_per_round() };
        round * self.groups_per_round() + in_round
    }

    /// The round in which a user writes; each group has about as many writers as the others.
    fn round_of(self, writer: u32) -> u32 {
        (writer / self.members + writer % self.members) % self.rounds()
    }

    /// The group to which a user writes.
    fn home(self, writer: u32) -> u32 {
        self.group(writer, self.round_of(writer))
    }

    /// The number of the stream from `writer` to `user`, or `None` if they write to a group in which the user is not.
    pub fn stream(self, user: u32, writer: u32) -> Option<usize> {
        let place = self.place(user, writer)?;
        Some(writer as usize * self.members as usize + place as usize)
    }

    /// The place of `user` among the members of the group to which `writer` writes.
    fn place(self, user: u32, writer: u32) -> Option<u32> {
        let round = self.round_of(writer);
        let shared = self.group(user, round) == self.group(writer, round);
        let place =
            if round.is_multiple_of(2) { user % self.members } else { user / self.groups_per_round() };
        shared.then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_message_has_as_many_hearers_as_a_group_has_members_each_at_a_place_of_its_own() {
        let circles = Circles::new(60, 30, 4).unwrap();
        for writer in 0..60 {
            let places: BTreeSet<u32> = (0..60).filter_map(|user| circles.place(user, writer)).collect();
            assert_eq!(places, (0..4).collect(), "writer {writer}");
        }
    }

    #[test]
    fn who_hears_a_writer_is_subscribed_to_where_they_write() {
        let circles = Circles::new(2000, 200, 20).unwrap();
        let plan = plan(&target_at(([127, 0, 0, 1], 1883).into()), circles, 0);
        for (writer, (_, topics)) in plan.publishers.iter().enumerate() {
            for (seat, client) in plan.clients.iter().enumerate().step_by(7) {
                let subscribed = client.subscriptions.iter().any(|(filter, _)| *filter == topics[0]);
                assert_eq!(plan.ears[seat].stream(writer as u32).is_some(), subscribed);
            }
        }
    }

    #[test]
    fn the_usual_circles_have_two_groups_a_user_and_ten_writers_a_group() {
        let circles = Circles::new(2000, 200, 20).unwrap();
        assert_eq!(circles.groups_of(1999).collect::<Vec<_>>(), [99, 199]);
        let mut writers = BTreeMap::new();
        (0..2000).for_each(|user| *writers.entry(circles.home(user)).or_insert(0) += 1);
        assert!(writers.len() == 200 && writers.values().all(|&count| count == 10), "{writers:?}");
    }

    #[test]
    fn numbers_that_do_not_fit_say_which_would() {
        let refused = Circles::new(2000, 150, 20).err().unwrap().to_string();
        assert!(refused.contains("a multiple of 100 groups"), "{refused}");
        assert!(Circles::new(2001, 200, 20).is_err());
    }
}
