//! Rules and accounts that change at random while everything goes on: T13 at every moment, and on every road.
//!
//! Between two changes everything that was on its way has arrived, so each message that is received in between was handed out
//! under the rules of that moment, and is measured by them.

use std::collections::BTreeMap;
use std::fmt::Write;

use hubbub_tests::tool::{eventually, succeeds};
use hubbub_tests::wire::{VERSIONS, Value};
use hubbub_tests::{Client, Connect, Hub, Props, Publish, Settings, Version};

use crate::bytes::Random;
use crate::rights::{User, filter_of_chance, is_match, quiet};

const STEPS: usize = 150;
const USERS: usize = 5;
const DEVICES: usize = 10;

/// A message on each of these comes after everything else that is on its way to a client. No rule made of chance reaches them.
const MARKS: [&str; 2] = ["$sync/live", "$sync/queue"];

/// Above this a client acknowledges what it left: nothing else is to wait for it.
const MOST_UNACKNOWLEDGED: usize = 40;

/// Guards: `Edge::catch_up_with_rights` before anything is handed to a session and `Edge::wants` for each live message
/// (edge/revoke.rs, edge/publish.rs), `Edge::for_owner` (edge/spine_in.rs), `Session::withhold` (session/withhold.rs),
/// `Edge::dismiss` (edge/revoke.rs). Further seeds: `HUBBUB_SEEDS=100 cargo test -p hubbub-tests --test security t13_`.
#[test]
fn t13_every_message_on_any_road_was_allowed_at_that_moment() {
    let seeds = std::env::var("HUBBUB_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut roads = BTreeMap::new();
    for seed in 1..=seeds {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.steps());
        world.is_settled();
        for (road, count) in std::mem::take(&mut world.roads) {
            *roads.entry(road).or_insert(0) += count;
        }
    }
    for road in ["inbox", "live", "queued", "resent", "retained", "shared", "will", "withheld"] {
        assert!(roads.get(road).is_some_and(|count| *count > 0), "nothing {road}: {roads:?}");
    }
}

struct World {
    hub: Hub,
    random: Random,
    users: Vec<User>,
    devices: Vec<Device>,
    alice: Client,
    count: usize,
    /// How many messages came by which road, and how many were subscribed to and not allowed.
    roads: BTreeMap<&'static str, usize>,
    history: String,
}

struct Device {
    user: usize,
    version: Version,
    kept: bool,
    client: Option<Client>,
    /// Filters, with those of share groups apart; also those that have ended.
    wanted: Vec<String>,
    unacknowledged: Vec<Publish>,
    /// Back since the last look, so that what comes was queued.
    is_back: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let users: Vec<User> = (0..USERS).map(|number| user_of_chance(number, &mut random)).collect();
        let hub = settings(&users).start();
        let alice = hub.client(Connect::new(Version::V5, "alice").user("alice"));
        let device = |number: usize| Device {
            user: number % USERS,
            version: VERSIONS[number % VERSIONS.len()],
            kept: !number.is_multiple_of(3),
            client: None,
            wanted: Vec::new(),
            unacknowledged: Vec::new(),
            is_back: false,
        };
        let devices = (0..DEVICES).map(device).collect();
        let history = format!("seed {seed}");
        let mut world =
            World { hub, random, users, devices, alice, count: 0, roads: BTreeMap::new(), history };
        (0..DEVICES).for_each(|which| world.comes(which));
        world
    }

    fn steps(&mut self) {
        let which = self.random.below(DEVICES);
        match self.random.below(16) {
            0..=5 => self.publishes(),
            6 => self.says_to(which),
            7..=9 if self.devices[which].client.is_some() => self.subscribes(which),
            10..=11 if self.devices[which].client.is_some() => self.vanishes(which),
            12..=13 => self.changes_the_rules(),
            15 if self.random.below(4) == 0 => self.is_removed(self.devices[which].user),
            _ if self.devices[which].client.is_none() => self.comes(which),
            _ => self.publishes(),
        }
    }

    fn publishes(&mut self) {
        self.count += 1;
        let shared = if self.random.below(4) == 0 { "s/" } else { "" };
        let topic = format!("{shared}{}", filter_of_chance(&mut self.random, false));
        let (qos, retain) = (self.random.below(2) as u8, self.random.below(5) == 0);
        let count = self.count;
        self.note(format_args!("{count} on {topic} at {qos}, retained: {retain}"));
        let refused = |device: &&Device| {
            device.wanted.iter().any(|filter| is_match(filter, &topic))
                && !self.users[device.user].reads(&topic)
        };
        *self.roads.entry("withheld").or_default() += self.devices.iter().filter(refused).count();
        let message = Publish { retain, ..Publish::new(topic, self.count.to_string()).qos(qos) };
        self.alice.publish(message);
    }

    fn says_to(&mut self, which: usize) {
        let topic = format!("dm/{}", self.name(which));
        self.alice.publish(Publish::new(topic, "hi").qos(1));
    }

    fn subscribes(&mut self, which: usize) {
        let filter = match self.random.below(3) {
            0 => format!("s/{}", filter_of_chance(&mut self.random, true)),
            _ => filter_of_chance(&mut self.random, true),
        };
        let group = if filter.starts_with("s/") { "$share/g/" } else { "" };
        let qos = self.random.below(2) as u8;
        self.note(format_args!("{which} subscribes {group}{filter} at {qos}"));
        let device = &mut self.devices[which];
        if let Some(client) = &mut device.client {
            client.try_subscribe(&format!("{group}{filter}"), qos);
            device.wanted.push(filter);
        }
    }

    /// Back to its session, or with a new one.
    fn comes(&mut self, which: usize) {
        self.note(format_args!("{which} comes"));
        let (name, device) = (self.name(which), &self.devices[which]);
        let will = Publish::new(format!("will/{name}"), name.clone()).qos(1);
        let mut connect = Connect::new(device.version, format!("{name}-{which}")).user(&name);
        if self.users[device.user].writes_will() {
            connect = connect.will(will);
        }
        if device.kept {
            let five = device.version == Version::V5;
            let props = if five { Props::default().with(0x11, Value::Long(3600)) } else { Props::default() };
            connect = Connect { clean: false, props, ..connect };
        }
        let mut client = self.hub.client(connect);
        let inbox = format!("u/{name}/inbox");
        MARKS.iter().chain([&&*inbox]).for_each(|filter| client.subscribe(filter, 1));
        let device = &mut self.devices[which];
        if !client.session_present {
            // As wide as can be: then only the rights decide.
            for filter in ["#", "$share/g/s/#"] {
                client.try_subscribe(filter, 1);
            }
            device.wanted = vec!["#".into()];
        }
        (device.client, device.is_back) = (Some(client), device.kept);
        // What was not acknowledged comes again, as far as it is allowed.
        device.unacknowledged.clear();
    }

    fn vanishes(&mut self, which: usize) {
        self.is_settled();
        self.note(format_args!("{which} vanishes"));
        let open = self.hub.counter("connections");
        self.devices[which].client.take().unwrap().vanishes();
        eventually("the link is lost", || self.hub.counter("connections") == open - 1);
    }

    fn changes_the_rules(&mut self) {
        self.is_settled();
        let number = self.random.below(USERS);
        self.users[number] = user_of_chance(number, &mut self.random);
        let rules = rules(&self.users);
        self.note(format_args!("other rules:\n{}", self.users[number].rules()));
        self.hub.reloads_rules(&rules);
    }

    fn is_removed(&mut self, user: usize) {
        self.is_settled();
        let name = self.users[user].name.clone();
        self.note(format_args!("{name} is removed"));
        self.hub.adds_user(&name, "correct horse");
        succeeds(&mut self.hub.command(&["user", "remove", &name]));
        for device in self.devices.iter_mut().filter(|device| device.user == user) {
            if let Some(mut client) = device.client.take() {
                client.is_closed();
                // The last words for those who hear them in no other way.
                let last = client.takes_waiting();
                assert!(last.iter().all(|message| message.topic.ends_with("/notice")), "{last:?}");
            }
            device.wanted.clear();
        }
    }

    /// Has everything arrive that is on its way, and looks at it.
    fn is_settled(&mut self) {
        self.count += 1;
        let mark = self.count.to_string();
        for (qos, topic) in (0..).zip(MARKS) {
            self.alice.publish(Publish::new(topic, mark.clone()).qos(qos));
        }
        for which in 0..DEVICES {
            let Some(mut client) = self.devices[which].client.take() else { continue };
            for topic in MARKS {
                while client.receives_on(topic).text() != mark {}
            }
            for message in client.takes_waiting() {
                self.is_allowed(which, &message);
                self.devices[which].unacknowledged.extend((message.qos > 0).then_some(message));
            }
            let device = &mut self.devices[which];
            if device.unacknowledged.len() > MOST_UNACKNOWLEDGED {
                device.unacknowledged.drain(..).for_each(|message| client.acknowledges(&message));
                client.pings();
            }
            (device.client, device.is_back) = (Some(client), false);
        }
    }

    fn is_allowed(&mut self, which: usize, message: &Publish) {
        let (topic, name) = (&*message.topic, self.name(which));
        let inbox = format!("u/{name}/inbox");
        let allowed = topic == inbox || self.users[self.devices[which].user].reads(topic);
        assert!(allowed, "{name} on device {which} got {message:?}");
        if let Some(sender) = topic.strip_prefix("will/") {
            let sender = self.users.iter().find(|user| user.name == sender).unwrap();
            assert!(message.dup || self.devices[which].is_back || sender.writes_will(), "{message:?}");
        }
        let road = match message {
            _ if message.dup => "resent",
            _ if topic == inbox => "inbox",
            _ if message.retain => "retained",
            _ if topic.starts_with("will/") => "will",
            _ if topic.starts_with("s/") => "shared",
            _ if self.devices[which].is_back => "queued",
            _ => "live",
        };
        *self.roads.entry(road).or_default() += 1;
    }

    fn name(&self, which: usize) -> String {
        self.users[self.devices[which].user].name.clone()
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.history, "{what}").unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- what happened ----\n{}", self.history);
        }
    }
}

/// Reads some ordinary topics and some of share groups, and may or may not leave a will.
fn user_of_chance(number: usize, random: &mut Random) -> User {
    let mut user = User::of_chance(number, random);
    user.read.push(format!("s/{}", filter_of_chance(random, true)));
    user.write.extend((random.below(2) == 0).then(|| format!("will/{}", user.name)));
    user
}

fn rules(users: &[User]) -> String {
    let theirs: String = users.iter().map(User::rules).collect();
    // Everybody who has a name reads the marks.
    format!("topic read $sync/#\nuser alice\ntopic write #\ntopic write $sync/#\n{theirs}")
}

fn settings(users: &[User]) -> Settings {
    quiet().set("server.edges", "2").rules(&rules(users))
}
