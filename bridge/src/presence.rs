//! Who is here: one state per user over all devices, with a grace time for lost links and damping for restless ones.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use serde::{Deserialize, Serialize};

/// At most one publication per user within this time in milliseconds; what happens meanwhile is folded into the next
/// one. Without it, a device in a lift is most of a server's traffic (R54).
pub const DAMPING_MS: u64 = 1000;

/// Presence of all users, as a pure machine.
///
/// Feed it [`connected`](Presence::connected), [`disconnected`](Presence::disconnected), [`set`](Presence::set) and, when
/// [`poll_timeout`](Presence::poll_timeout) says so, [`handle_timeout`](Presence::handle_timeout). After each of these
/// take [`next_change`](Presence::next_change) until it is `None`, then ask `poll_timeout` again. Several inputs before
/// the first `next_change` are seen by others as one. [`restore`](Presence::restore) comes first, once per user.
///
/// Times are milliseconds since the Unix epoch, from a clock that never goes back; an earlier `now_ms` counts as the
/// latest one. Users who are away take no memory, so a [`Wish`] ends with the user's last device: whoever remembers wishes
/// sets them right after `connected`.
#[derive(Debug)]
pub struct Presence {
    clean_grace_ms: u64,
    lost_grace_ms: u64,
    epoch: u64,
    now_ms: u64,
    people: HashMap<Arc<str>, Box<Person>, RandomState>,
    /// When each person next needs a look; one entry per person at most.
    timers: BTreeSet<(u64, Arc<str>)>,
    /// People with something to publish now.
    ready: VecDeque<Arc<str>>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The client said goodbye.
    Clean,
    /// The link broke or fell silent.
    Lost,
    /// The server ended it, for instance because the same client id connected anew.
    Kicked,
}

/// How a user wants to be seen while connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The state to show.
    pub state: WishState,
    /// A line of text to show beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The states that a user can choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WishState {
    /// Here, and seen to be here.
    #[default]
    Online,
    /// Connected, but not looking.
    Away,
    /// Not to be disturbed.
    Busy,
    /// Seen as offline.
    Invisible,
}

/// What others see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No device, or none that wants to be seen.
    #[default]
    Offline,
    /// At least one device.
    Online,
    /// At least one device, nobody looking.
    Away,
    /// At least one device, not to be disturbed.
    Busy,
}

/// What is published, retained, to `p/{user}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The user id.
    pub user: String,
    /// What others see.
    pub state: State,
    /// Since when, milliseconds since the Unix epoch.
    pub since: u64,
    /// When the server last saw the user come, go or set something; the same unit.
    pub last_seen: u64,
    /// The devices, each once, sorted; none while offline.
    pub devices: Vec<String>,
    /// The user's own line of text; none while offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Run of the server: a change of an older epoch is out of date whatever its times say.
    pub epoch: u64,
}

impl Presence {
    /// A machine that knows nobody. Grace times in milliseconds; `epoch` is larger in each run of the server.
    pub fn new(clean_grace_ms: u64, lost_grace_ms: u64, epoch: u64) -> Presence {
        Presence {
            clean_grace_ms,
            lost_grace_ms,
            epoch,
            now_ms: 0,
            people: HashMap::default(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
        }
    }

    /// A device came. `connection` is unique among the user's connections; `device` is what others may know of it.
    pub fn connected(&mut self, user: &str, connection: u64, device: &str, now_ms: u64) {
        self.change(user, now_ms, |person, now_ms| {
            person.links.retain(|(known, _)| *known != connection);
            if person.links.is_empty() {
                person.links.reserve_exact(1);
            }
            person.links.push((connection, device.into()));
            person.fading.retain(|(fading, _)| **fading != *device);
            person.restored_until = None;
            person.last_seen = now_ms;
        });
    }

    /// A connection ended; one that is not known is ignored. The device stays visible for the grace time: the long one
    /// for a lost link, the short one otherwise.
    pub fn disconnected(&mut self, user: &str, connection: u64, how: How, now_ms: u64) {
        let grace_ms = match how {
            How::Clean | How::Kicked => self.clean_grace_ms,
            How::Lost => self.lost_grace_ms,
        };
        self.change(user, now_ms, |person, now_ms| {
            let Some(at) = person.links.iter().position(|(known, _)| *known == connection) else { return };
            let (_, device) = person.links.swap_remove(at);
            person.last_seen = now_ms;
            if grace_ms > 0 {
                person.fades(device, now_ms.saturating_add(grace_ms));
            }
        });
    }

    /// The user wants to be seen in another way, from now until the last device has gone.
    pub fn set(&mut self, user: &str, wish: Wish, now_ms: u64) {
        self.change(user, now_ms, |person, now_ms| {
            person.wish = wish;
            person.last_seen = now_ms;
        });
    }

    /// The user was published as online before the server stopped: a lost link from now on, without a publication if a
    /// device returns in time and then only for the devices.
    pub fn restore(&mut self, user: &str, since: u64, last_seen: u64, now_ms: u64) {
        let grace_ms = self.lost_grace_ms;
        self.change(user, now_ms, |person, now_ms| {
            person.restored_until = Some(now_ms.saturating_add(grace_ms));
            person.last_seen = last_seen;
            person.published = View { state: State::Online, ..View::default() };
            person.published_since = since;
        });
    }

    /// Ends the grace times and pauses that are over.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some((due, user)) = self.timers.pop_first() {
            if due > self.now_ms {
                self.timers.insert((due, user));
                break;
            }
            self.look_at(&user, Person::fade);
        }
    }

    /// When to call [`handle_timeout`](Presence::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next thing to publish.
    pub fn next_change(&mut self) -> Option<Change> {
        while let Some(user) = self.ready.pop_front() {
            let mut change = None;
            self.look_at(&user, |person, now_ms| {
                person.is_ready = false;
                change = person.publish(now_ms);
            });
            if let Some((view, since, last_seen)) = change {
                return Some(self.announce(&user, view, since, last_seen));
            }
        }
        None
    }

    /// Users held in memory: those who are here, or were a moment ago.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// True when nobody is held in memory.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn announce(&self, user: &str, view: View, since: u64, last_seen: u64) -> Change {
        let View { state, devices, status } = view;
        Change { user: user.into(), state, since, last_seen, devices, status, epoch: self.epoch }
    }

    fn change(&mut self, user: &str, now_ms: u64, input: impl FnOnce(&mut Person, u64)) {
        self.now_ms = self.now_ms.max(now_ms);
        let user: Arc<str> = user.into();
        self.people.entry(user.clone()).or_default();
        self.look_at(&user, input);
    }

    /// Changes one person, then works out what that means: publish, wait, or forget.
    fn look_at(&mut self, user: &Arc<str>, input: impl FnOnce(&mut Person, u64)) {
        let Some(person) = self.people.get_mut(user) else { return };
        let before = person.timer;
        input(person, self.now_ms);
        person.note_state(self.now_ms);
        if person.is_due(self.now_ms) && !person.is_ready {
            person.is_ready = true;
            self.ready.push_back(user.clone());
        }
        person.timer = person.next_look(self.now_ms);
        let (after, forget) = (person.timer, person.is_over());
        if before != after {
            before.map(|due| self.timers.remove(&(due, user.clone())));
            after.map(|due| self.timers.insert((due, user.clone())));
        }
        if forget {
            self.people.remove(user);
        }
    }
}

/// What can differ between two publications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    state: State,
    devices: Vec<String>,
    status: Option<String>,
}

#[derive(Debug, Default)]
struct Person {
    /// Its connections and what their devices are called: one or a few, mostly.
    links: Vec<(u64, Box<str>)>,
    /// Devices that went, each once, and until when they still count.
    fading: Vec<(Box<str>, u64)>,
    /// Until when a device from before a restart still counts.
    restored_until: Option<u64>,
    wish: Wish,
    last_seen: u64,
    /// The state as it is now, perhaps not yet published, and since when.
    state: State,
    state_since: u64,
    published: View,
    published_since: u64,
    /// When the damping of the last publication ends.
    quiet_until: u64,
    is_ready: bool,
    timer: Option<u64>,
}

impl Person {
    fn fades(&mut self, device: Box<str>, until: u64) {
        match self.fading.iter_mut().find(|(known, _)| *known == device) {
            Some((_, known)) => *known = until.max(*known),
            None => self.fading.push((device, until)),
        }
    }

    fn fade(&mut self, now_ms: u64) {
        self.fading.retain(|(_, until)| *until > now_ms);
        self.restored_until = self.restored_until.filter(|until| *until > now_ms);
    }

    fn is_present(&self) -> bool {
        !self.links.is_empty() || !self.fading.is_empty() || self.restored_until.is_some()
    }

    fn current_state(&self) -> State {
        match self.wish.state {
            _ if !self.is_present() => State::Offline,
            WishState::Invisible => State::Offline,
            WishState::Online => State::Online,
            WishState::Away => State::Away,
            WishState::Busy => State::Busy,
        }
    }

    fn view(&self) -> View {
        match self.current_state() {
            State::Offline => View::default(),
            state => View { state, devices: self.devices(), status: self.wish.text.clone() },
        }
    }

    fn devices(&self) -> Vec<String> {
        let links = self.links.iter().map(|(_, device)| device);
        let unique: BTreeSet<&str> =
            links.chain(self.fading.iter().map(|(device, _)| device)).map(|device| &**device).collect();
        unique.into_iter().map(str::to_owned).collect()
    }

    fn note_state(&mut self, now_ms: u64) {
        if !self.is_present() {
            self.wish = Wish::default();
        }
        let state = self.current_state();
        if state != self.state {
            (self.state, self.state_since) = (state, now_ms);
        }
    }

    fn has_news(&self) -> bool {
        self.restored_until.is_none() && self.view() != self.published
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.quiet_until <= now_ms && self.has_news()
    }

    fn publish(&mut self, now_ms: u64) -> Option<(View, u64, u64)> {
        if !self.is_due(now_ms) {
            return None;
        }
        let view = self.view();
        if view.state != self.published.state {
            self.published_since = self.state_since;
        }
        self.published = view.clone();
        self.quiet_until = now_ms.saturating_add(DAMPING_MS);
        Some((view, self.published_since, self.last_seen))
    }

    fn next_look(&self, now_ms: u64) -> Option<u64> {
        let quiet =
            Some(self.quiet_until).filter(|until| *until > now_ms && (self.has_news() || !self.is_present()));
        self.fading.iter().map(|(_, until)| *until).chain(self.restored_until).chain(quiet).min()
    }

    /// Nothing of this person has to be remembered.
    fn is_over(&self) -> bool {
        !self.is_present() && !self.is_ready && self.timer.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const CLEAN: u64 = 2_000;
    const LOST: u64 = 30_000;
    const START: u64 = 1_763_650_000_000;

    /// The machine, its clock, and what was published so far.
    struct Town {
        presence: Presence,
        now: u64,
        seen: Vec<(u64, Change)>,
    }

    impl Town {
        fn new() -> Town {
            Town { presence: Presence::new(CLEAN, LOST, 7), now: START, seen: Vec::new() }
        }

        fn comes(&mut self, connection: u64, device: &str) {
            self.presence.connected("alice", connection, device, self.now);
            self.publish();
        }

        fn goes(&mut self, connection: u64, how: How) {
            self.presence.disconnected("alice", connection, how, self.now);
            self.publish();
        }

        fn wishes(&mut self, state: WishState, text: Option<&str>) {
            self.presence.set("alice", Wish { state, text: text.map(Into::into) }, self.now);
            self.publish();
        }

        /// Lets time pass, with every timeout on the way at its time.
        fn passes(&mut self, ms: u64) {
            let end = self.now + ms;
            while let Some(due) = self.presence.poll_timeout().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                self.presence.handle_timeout(self.now);
                self.publish();
            }
            self.now = end;
        }

        fn publish(&mut self) {
            while let Some(change) = self.presence.next_change() {
                self.seen.push((self.now, change));
            }
        }

        /// What was published since the last call, as `state device,device "text"`.
        fn news(&mut self) -> Vec<String> {
            let line = |(_, change): (u64, Change)| {
                let text = change.status.map(|text| format!(" {text:?}")).unwrap_or_default();
                format!("{:?} {}{text}", change.state, change.devices.join(",")).trim_end().to_lowercase()
            };
            self.seen.drain(..).map(line).collect()
        }
    }

    #[test]
    fn coming_and_saying_goodbye() {
        let mut town = Town::new();
        town.comes(1, "phone");
        assert_eq!(town.news(), ["online phone"]);
        town.passes(60_000);
        town.goes(1, How::Clean);
        town.passes(CLEAN - 1);
        assert!(town.news().is_empty());
        town.passes(1);
        assert_eq!(town.news(), ["offline"]);
    }

    #[test]
    fn a_lost_link_has_the_longer_grace_and_tells_when_it_was_seen_last() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(60_000);
        town.goes(1, How::Lost);
        town.news();
        town.passes(LOST);
        let (at, change) = town.seen.pop().unwrap();
        assert_eq!((at, change.since, change.last_seen), (START + 90_000, START + 90_000, START + 60_000));
        assert_eq!((change.state, change.epoch), (State::Offline, 7));
    }

    #[test]
    fn a_device_that_reconnects_within_the_grace_says_nothing() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.news();
        for connection in 2..50 {
            town.passes(10_000);
            town.goes(connection - 1, How::Lost);
            town.passes(LOST - 1);
            town.comes(connection, "phone");
        }
        town.passes(LOST * 2);
        assert!(town.news().is_empty());
    }

    #[test]
    fn a_takeover_in_either_order_says_nothing() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.news();
        town.comes(2, "phone");
        town.goes(1, How::Kicked);
        town.passes(LOST);
        town.goes(2, How::Kicked);
        town.comes(3, "phone");
        town.goes(1, How::Lost);
        town.passes(LOST * 2);
        assert!(town.news().is_empty());
    }

    #[test]
    fn an_old_link_that_dies_late_takes_nobody_offline() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.comes(2, "phone");
        town.passes(5_000);
        town.goes(1, How::Lost);
        town.passes(LOST * 2);
        assert_eq!(town.news(), ["online phone"]);
    }

    #[test]
    fn a_second_device_is_a_change_and_its_goodbye_another() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(5_000);
        town.comes(2, "laptop");
        assert_eq!(town.news(), ["online phone", "online laptop,phone"]);
        town.passes(5_000);
        town.goes(1, How::Clean);
        town.passes(CLEAN);
        assert_eq!(town.news(), ["online laptop"]);
    }

    #[test]
    fn since_is_the_time_of_the_state_not_of_the_devices() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(5_000);
        town.comes(2, "laptop");
        town.passes(5_000);
        town.wishes(WishState::Busy, None);
        let times: Vec<u64> = town.seen.iter().map(|(_, change)| change.since - START).collect();
        assert_eq!(times, [0, 0, 10_000]);
    }

    #[test]
    fn two_devices_alternating_every_50_ms_are_damped() {
        let mut town = Town { presence: Presence::new(0, 0, 1), ..Town::new() };
        for turn in 0..400 {
            let (device, other) = if turn % 2 == 0 { (1, 2) } else { (2, 1) };
            town.comes(device, ["", "phone", "laptop"][device as usize]);
            town.goes(other, How::Lost);
            town.passes(50);
        }
        let times: Vec<u64> = town.seen.iter().map(|(at, _)| *at).collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= DAMPING_MS), "{times:?}");
        assert!(times.len() <= 21, "20 s allow 21 publications, not {}", times.len());
        town.passes(DAMPING_MS);
        assert_eq!(town.seen.last().unwrap().1.devices, ["laptop"], "the last state wins");
    }

    #[test]
    fn what_comes_back_within_the_damping_is_no_change() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.wishes(WishState::Busy, None);
        town.passes(500);
        town.wishes(WishState::Online, None);
        town.passes(60_000);
        assert_eq!(town.news(), ["online phone"]);
    }

    #[test]
    fn wishes_and_text_are_shown_until_the_last_device_goes() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(DAMPING_MS);
        town.wishes(WishState::Away, Some("lunch"));
        town.passes(DAMPING_MS);
        town.wishes(WishState::Busy, Some("talk"));
        town.goes(1, How::Clean);
        town.passes(CLEAN);
        town.passes(60_000);
        town.comes(2, "phone");
        let story =
            ["online phone", "away phone \"lunch\"", "busy phone \"talk\"", "offline", "online phone"];
        assert_eq!(town.news(), story);
    }

    #[test]
    fn invisible_looks_exactly_like_offline() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(DAMPING_MS);
        town.wishes(WishState::Invisible, Some("secret"));
        assert_eq!(town.news(), ["online phone", "offline"]);
        town.passes(5_000);
        town.comes(2, "laptop");
        town.goes(1, How::Clean);
        town.passes(60_000);
        assert!(town.news().is_empty());
        town.goes(2, How::Lost);
        town.passes(60_000);
        assert!(town.news().is_empty());
    }

    #[test]
    fn a_wish_set_together_with_the_connection_is_one_change() {
        let mut town = Town::new();
        town.presence.connected("alice", 1, "phone", START);
        town.wishes(WishState::Invisible, None);
        assert!(town.news().is_empty());
    }

    #[test]
    fn after_a_restart_nobody_blinks() {
        let mut town = Town::new();
        for user in ["alice", "bob"] {
            town.presence.restore(user, START - 500_000, START - 900, START);
        }
        town.publish();
        town.passes(LOST - 1);
        assert!(town.news().is_empty());
        town.comes(1, "phone");
        let (_, change) = town.seen.pop().unwrap();
        assert_eq!((change.state, change.since, change.epoch), (State::Online, START - 500_000, 7));
        town.passes(1);
        let (_, gone) = town.seen.pop().unwrap();
        assert_eq!((gone.user.as_str(), gone.state, gone.last_seen), ("bob", State::Offline, START - 900));
        assert!(town.seen.is_empty());
    }

    #[test]
    fn who_is_away_takes_no_memory_and_no_timer() {
        let mut town = Town::new();
        for user in 0..1000 {
            town.presence.connected(&format!("user{user}"), user, "phone", town.now);
            town.presence.disconnected(&format!("user{user}"), user, How::Lost, town.now);
            town.presence.disconnected(&format!("stranger{user}"), user, How::Lost, town.now);
            town.presence.set(&format!("stranger{user}"), Wish::default(), town.now);
        }
        town.publish();
        assert_eq!(town.presence.len(), 1000);
        town.passes(LOST + DAMPING_MS);
        assert_eq!(town.seen.len(), 2000);
        assert!(town.presence.is_empty());
        assert_eq!(town.presence.poll_timeout(), None);
    }

    #[test]
    fn without_grace_a_goodbye_is_seen_at_once() {
        let mut town = Town { presence: Presence::new(0, 0, 1), ..Town::new() };
        town.comes(1, "phone");
        town.passes(DAMPING_MS);
        town.goes(1, How::Clean);
        assert_eq!(town.news(), ["online phone", "offline"]);
    }

    #[test]
    fn a_clock_that_jumps_back_shortens_and_reorders_nothing() {
        let mut town = Town::new();
        town.comes(1, "phone");
        town.passes(5_000);
        town.presence.disconnected("alice", 1, How::Clean, START - 9_999_999);
        assert_eq!(town.presence.poll_timeout(), Some(START + CLEAN));
    }

    #[test]
    fn json_is_what_the_contract_says() {
        let mut town = Town::new();
        town.presence.connected("alice", 1, "phone", START);
        town.presence.set("alice", serde_json::from_str(r#"{"state":"away","text":"hi"}"#).unwrap(), START);
        let json = serde_json::to_string(&town.presence.next_change().unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"user":"alice","state":"away","since":1763650000000,"last_seen":1763650000000,"devices":["phone"],"status":"hi","epoch":7}"#
        );
        town.wishes(WishState::Online, None);
        town.passes(DAMPING_MS);
        assert!(!serde_json::to_string(&town.seen[0].1).unwrap().contains("status"));
    }

    /// One thing that happens to a user, and the pause behind it.
    #[derive(Clone, Debug)]
    enum Event {
        Comes(u64, usize),
        Goes(u64, How),
        Wishes(WishState),
    }

    fn event() -> impl Strategy<Value = (Event, u64)> {
        let how = prop::sample::select(vec![How::Clean, How::Lost, How::Kicked]);
        let wish = prop::sample::select(vec![WishState::Online, WishState::Away, WishState::Invisible]);
        let event = prop_oneof![
            (0..4u64, 0..3usize).prop_map(|(connection, device)| Event::Comes(connection, device)),
            (0..4u64, how).prop_map(|(connection, how)| Event::Goes(connection, how)),
            wish.prop_map(Event::Wishes),
        ];
        (event, prop::sample::select(vec![0, 1, 50, 999, 1_000, 2_000, 29_999, 40_000]))
    }

    proptest! {
        #[test]
        fn in_the_end_everyone_sees_the_truth(events in prop::collection::vec(event(), 0..60)) {
            let devices = ["phone", "laptop", "watch"];
            let (mut town, mut links) = (Town::new(), BTreeMap::new());
            for (event, pause) in events {
                match event {
                    Event::Comes(connection, device) => {
                        links.insert(connection, devices[device].to_owned());
                        town.comes(connection, devices[device]);
                    }
                    Event::Goes(connection, how) => {
                        links.remove(&connection);
                        town.goes(connection, how);
                    }
                    Event::Wishes(state) => town.wishes(state, None),
                }
                town.passes(pause);
            }
            // A wish may have ended with the last device, so ask for the one in force.
            let wish = town.presence.people.get("alice").map_or(WishState::Online, |person| person.wish.state);
            town.passes(LOST + CLEAN + DAMPING_MS);

            let shown = !links.is_empty() && wish != WishState::Invisible;
            let last = town.seen.last().map(|(_, change)| change.clone());
            let (state, seen_devices) = last.map_or((State::Offline, vec![]), |change| (change.state, change.devices));
            let names: BTreeSet<String> = if shown { links.into_values().collect() } else { BTreeSet::new() };
            prop_assert_eq!(state != State::Offline, shown);
            prop_assert_eq!(seen_devices, names.into_iter().collect::<Vec<_>>());
            for pair in town.seen.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= DAMPING_MS, "too soon after one another: {:?}", pair);
                let view = |change: &Change| (change.state, change.devices.clone(), change.status.clone());
                prop_assert_ne!(view(&pair[0].1), view(&pair[1].1), "nothing changed");
            }
            prop_assert_eq!(town.presence.poll_timeout(), None);
        }
    }
}
