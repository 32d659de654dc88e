//! The clients of a run, and the steps that they take.

use std::fmt::Write;

use hubbub_tests::wire::{VERSIONS, Value};
use hubbub_tests::{Client, Connect, Hub, Props, Publish, Settings, Version};

use super::model::{Copy, Model, Session, Subscribed};

const CLIENTS: usize = 12;
const TOPICS: [&str; 5] = ["r/a", "r/b", "r/a/x", "r/b/x", "s"];
const FILTERS: [&str; 7] = ["r/a", "r/+", "r/#", "r/+/x", "+/a", "s", "+"];
/// Below `session.inflight`, with room for what one step brings.
const MOST_IN_FLIGHT: usize = 60;
const GROUPS: [&str; 2] = ["g", "h"];

/// What every client follows, so that one that has this has everything before it: live, and through the queue of a kept
/// session.
const LIVE: &str = "sync/live";
const QUEUE: &str = "sync/queue";

/// A hub, its clients, and what the model knows of them.
pub struct World {
    hub: Hub,
    dice: Dice,
    players: Vec<Player>,
    model: Model,
    published: u32,
    marks: u32,
    history: String,
}

struct Player {
    version: Version,
    client: Option<Client>,
    /// Takes messages without an acknowledgement for now.
    lazy: bool,
    unacknowledged: Vec<Publish>,
    /// The payload of the will of its connection, on [`QUEUE`].
    will: String,
}

/// Numbers that depend on the seed only (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    fn one_of<T: std::marker::Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

impl World {
    /// Twelve clients, of all versions, half of them with a session that is kept.
    pub fn new(seed: u64) -> World {
        let hub = Settings::dev().set("server.edges", "2").set("store.engine", "memory").start();
        let player = |who| Player {
            version: VERSIONS[who % VERSIONS.len()],
            client: None,
            lazy: false,
            unacknowledged: Vec::new(),
            will: String::new(),
        };
        let mut world = World {
            hub,
            dice: Dice(seed),
            players: (0..CLIENTS).map(player).collect(),
            model: Model::default(),
            published: 0,
            marks: 0,
            history: format!("seed {seed}"),
        };
        world.model.sessions.extend((0..CLIENTS).map(|_| Session::default()));
        (0..CLIENTS).for_each(|who| world.begins(who, who % 2 == 0));
        world
    }

    /// Somebody does something.
    pub fn steps(&mut self) {
        let waits_for_long = |session: &Session| !session.here && session.expected.len() > MOST_IN_FLIGHT;
        if let Some(who) = self.model.sessions.iter().position(waits_for_long) {
            return self.resumes(who, "resumes");
        }
        let who = self.dice.below(CLIENTS);
        let Session { here, kept, .. } = self.model.sessions[who];
        match self.dice.below(20) {
            0..=5 if here => self.subscribes(who),
            6 if here => self.unsubscribes(who),
            7 if here && kept => self.is_gone(who),
            8 if here && kept => self.resumes(who, "takes over"),
            9 => self.ends(who),
            10 => self.players[who].lazy ^= true,
            _ if here => self.publishes(who),
            _ => self.resumes(who, "resumes"),
        }
    }

    /// Everybody comes back and acknowledges everything.
    pub fn comes_to_rest(&mut self) {
        for who in 0..CLIENTS {
            self.players[who].lazy = false;
            if !self.model.sessions[who].here {
                self.resumes(who, "resumes");
            }
        }
        self.is_settled(0, None);
        self.model.all_is_paid();
    }

    fn subscribes(&mut self, who: usize) {
        let group = self.dice.one_of(&[None, None, Some(GROUPS[0]), Some(GROUPS[1])]);
        let subscribed = (group, self.dice.one_of(&FILTERS));
        let qos = self.dice.below(3) as u8;
        self.note(format_args!("{who} subscribes {} at {qos}", text(subscribed)));
        self.client(who).subscribe(&text(subscribed), qos);
        self.model.sessions[who].granted.insert(subscribed, qos);
    }

    fn unsubscribes(&mut self, who: usize) {
        let all: Vec<_> = self.model.sessions[who].granted.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let subscribed = self.dice.one_of(&all);
        self.note(format_args!("{who} unsubscribes {}", text(subscribed)));
        self.client(who).unsubscribe(&text(subscribed));
        self.model.sessions[who].granted.remove(&subscribed);
    }

    fn publishes(&mut self, who: usize) {
        self.published += 1;
        let (number, topic, qos) = (self.published, self.dice.one_of(&TOPICS), self.dice.below(3) as u8);
        self.note(format_args!("{who} publishes {number} on {topic} at {qos}"));
        self.model.publish(number, topic, qos);
        self.client(who).publish(Publish::new(topic, number.to_string()).qos(qos));
        self.is_settled(who, Some(number));
    }

    /// Without a word; its session stays.
    fn is_gone(&mut self, who: usize) {
        self.note(format_args!("{who} is gone"));
        self.players[who].client.take().unwrap().vanishes();
        self.model.sessions[who].here = false;
        // Whoever has its will has it from those who know that it is gone.
        let will = self.players[who].will.clone();
        self.everybody_here_hears(QUEUE, &will);
    }

    /// With its session, while an earlier connection may still be there. What was not acknowledged comes again, in its
    /// order, with DUP and the packet identifiers that it had.
    fn resumes(&mut self, who: usize, how: &str) {
        self.note(format_args!("{who} {how}"));
        let client = self.connects(who, true, false);
        assert!(client.session_present || client.version() == Version::V31);
        self.players[who].client = Some(client);
        self.model.sessions[who].here = true;
        for known in std::mem::take(&mut self.players[who].unacknowledged) {
            let again = self.client(who).receives_without_ack();
            assert_eq!((again.id, again.text(), again.dup), (known.id, known.text(), true), "client {who}");
            self.players[who].unacknowledged.push(again);
        }
        self.is_settled(who, None);
    }

    /// Its session is over, with it or behind its back, and another one begins.
    fn ends(&mut self, who: usize) {
        let kept = self.dice.below(2) == 0;
        self.note(format_args!("{who} begins anew, kept: {kept}"));
        if self.dice.below(2) == 0 {
            self.players[who].client.take().into_iter().for_each(Client::leaves);
        }
        let unacknowledged: Vec<_> = self.players[who].unacknowledged.drain(..).map(|m| copy(&m)).collect();
        self.model.ends(who, &unacknowledged);
        self.begins(who, kept);
        self.is_settled(who, None);
    }

    fn begins(&mut self, who: usize, kept: bool) {
        let mut client = self.connects(who, kept, true);
        if kept && client.version() != Version::V5 {
            // In 3.x a session that is kept cannot begin anew.
            client.leaves();
            client = self.connects(who, true, false);
        }
        assert!(!client.session_present);
        client.subscribe(LIVE, 0);
        client.subscribe(QUEUE, 1);
        self.players[who].client = Some(client);
        self.model.sessions[who] = Session { kept, here: true, ..Session::default() };
    }

    fn connects(&mut self, who: usize, kept: bool, clean: bool) -> Client {
        self.marks += 1;
        let will = format!("will {}", self.marks);
        let connect = Connect::new(self.players[who].version, format!("client{who}"));
        let connect = connect.will(Publish::new(QUEUE, will.clone()).qos(1));
        self.players[who].will = will;
        let five = connect.version == Version::V5;
        let props =
            if five && kept { Props::default().with(0x11, Value::Long(3600)) } else { Props::default() };
        // A connection of 3.x that is not clean has a session that is kept.
        let clean = if five { clean } else { clean || !kept };
        self.hub.client(Connect { clean, props, ..connect })
    }

    /// Brings about that everybody has everything, by messages that come after it on all roads, and looks at it.
    fn is_settled(&mut self, actor: usize, number: Option<u32>) {
        self.marks += 1;
        let mark = self.marks.to_string();
        self.client(actor).publish(Publish::new(QUEUE, mark.clone()).qos(1));
        self.client(actor).publish(Publish::new(LIVE, mark.clone()));
        for topic in [LIVE, QUEUE] {
            self.everybody_here_hears(topic, &mark);
        }
        // What is retained is acknowledged by the bridge: then its lane to the edge of each has been read. Twice, for what
        // one edge hands on to another by way of the bridge.
        for _ in 0..2 {
            for who in self.all_here() {
                self.client(who).publish(Publish::new("sync/kept", mark.clone()).qos(1).retained());
            }
        }
        for who in self.all_here() {
            for message in self.client(who).takes_waiting() {
                self.receives(who, message);
            }
            let Player { client: Some(client), lazy, unacknowledged, .. } = &mut self.players[who] else {
                continue;
            };
            // Nobody is so lazy that nothing more may be in flight.
            *lazy &= unacknowledged.len() < MOST_IN_FLIGHT;
            if !*lazy && !unacknowledged.is_empty() {
                unacknowledged.drain(..).for_each(|message| client.acknowledges(&message));
                // Then the acknowledgements have arrived.
                client.pings();
            }
        }
        self.model.is_paid(number);
    }

    fn everybody_here_hears(&mut self, topic: &str, payload: &str) {
        for who in self.all_here() {
            while self.client(who).receives_on(topic).text() != payload {}
        }
    }

    fn all_here(&self) -> Vec<usize> {
        (0..CLIENTS).filter(|who| self.model.sessions[*who].here).collect()
    }

    fn receives(&mut self, who: usize, message: Publish) {
        assert!(!message.dup, "client {who} got {message:?}");
        self.model.receives(who, copy(&message));
        if message.qos > 0 {
            self.players[who].unacknowledged.push(message);
        }
    }

    fn client(&mut self, who: usize) -> &mut Client {
        self.players[who].client.as_mut().expect("it is connected")
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        write!(self.history, "\n{what}").unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- what happened ----\n{}", self.history);
        }
    }
}

fn text((group, filter): Subscribed) -> String {
    group.map_or(filter.to_owned(), |group| format!("$share/{group}/{filter}"))
}

fn copy(message: &Publish) -> Copy {
    Copy { number: message.text().parse().unwrap(), qos: message.qos }
}
