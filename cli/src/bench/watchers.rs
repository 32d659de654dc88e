//! Who watches whom, and what each has heard of the others.

use anyhow::{Result, ensure};

/// What a state says; the number is its sequence number in the stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connected.
    There = 0,
    /// The will.
    Gone = 1,
}

/// Everybody watches as many others before them as behind them in the order of coming, far apart. So one half of the
/// states is retained already when a watcher subscribes, and the other half comes later.
pub struct Watchers {
    users: u32,
    watch: u32,
    stride: u32,
    /// Two bits for each watcher and watched: heard that they are there, heard that they are gone.
    heard: Vec<[bool; 2]>,
    absent: Vec<bool>,
    missing: [u64; 2],
    /// States that somebody had heard before.
    pub duplicated: u64,
    /// When the last news came.
    pub last_ns: u64,
}

impl Watchers {
    /// Nobody has heard anything. Fails if there are too few users to watch.
    pub fn new(users: u32, watch: u32) -> Result<Self> {
        ensure!(watch.is_multiple_of(2), "--watch: an even number, one half before and one behind each user");
        ensure!(watch < users, "--watch: {users} users cannot watch {watch} others each");
        let pairs = u64::from(users) * u64::from(watch);
        Ok(Self {
            users,
            watch,
            stride: users / (watch + 1),
            heard: vec![[false; 2]; pairs as usize],
            absent: vec![false; users as usize],
            missing: [pairs, 0],
            duplicated: 0,
            last_ns: 0,
        })
    }

    /// Whom a user watches.
    pub fn watched_by(&self, user: u32) -> impl Iterator<Item = u32> + use<> {
        let (users, watch, stride) = (self.users, self.watch, self.stride);
        (0..watch).map(move |place| {
            let distance = (place / 2 + 1) * stride;
            let distance = if place % 2 == 0 { distance } else { users - distance };
            (user + distance) % users
        })
    }

    /// Pairs of a watcher and a watched.
    pub fn pairs(&self) -> u64 {
        self.heard.len() as u64
    }

    /// So many users vanish, at equal distances.
    pub fn cut_evenly(&mut self, count: u32) {
        for turn in 0..u64::from(count) {
            let user = turn * u64::from(self.users) / u64::from(count);
            self.absent[user as usize] = true;
        }
        let is_absent = |user: u32| self.absent[user as usize];
        let left = (0..self.users).filter(|user| !is_absent(*user));
        let news = left.map(|user| self.watched_by(user).filter(|other| is_absent(*other)).count() as u64);
        self.missing[State::Gone as usize] = news.sum();
    }

    /// Who vanished.
    pub fn absent(&self) -> Vec<u32> {
        (0..self.users).filter(|user| self.absent[*user as usize]).collect()
    }

    /// Pairs of which the watcher should have heard, and has not.
    pub fn missing(&self, state: State) -> u64 {
        self.missing[state as usize]
    }

    /// `watcher` hears of `other`. Returns whether it is news.
    pub fn note(&mut self, watcher: u32, other: u32, state: State, now_ns: u64) -> bool {
        let Some(place) = self.place(watcher, other) else { return false };
        let heard = &mut self.heard[(watcher * self.watch + place) as usize][state as usize];
        if std::mem::replace(heard, true) {
            self.duplicated += 1;
            return false;
        }
        self.missing[state as usize] = self.missing[state as usize].saturating_sub(1);
        self.last_ns = now_ns;
        true
    }

    /// The place of `other` among those whom `watcher` watches.
    fn place(&self, watcher: u32, other: u32) -> Option<u32> {
        let ahead = (other + self.users - watcher) % self.users;
        let find = |distance: u32, odd: u32| {
            let steps = distance / self.stride;
            let watched = distance.is_multiple_of(self.stride) && (1..=self.watch / 2).contains(&steps);
            watched.then(|| (steps - 1) * 2 + odd)
        };
        find(ahead, 0).or_else(|| find(self.users - ahead, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_watches_others_and_each_has_a_place() {
        for (users, watch) in [(5000, 50), (7, 6), (101, 4)] {
            let watchers = Watchers::new(users, watch).unwrap();
            for user in 0..users {
                let watched: Vec<u32> = watchers.watched_by(user).collect();
                let places: Vec<_> = watched.iter().map(|other| watchers.place(user, *other)).collect();
                assert!(places.into_iter().eq((0..watch).map(Some)), "{users} {watch} {user}");
                let different: BTreeSet<u32> = watched.into_iter().collect();
                assert!(different.len() == watch as usize && !different.contains(&user));
            }
        }
    }

    #[test]
    fn who_is_not_watched_has_no_place() {
        let watchers = Watchers::new(101, 4).unwrap();
        let watched: Vec<u32> = watchers.watched_by(0).collect();
        assert_eq!((0..101).filter(|other| watchers.place(0, *other).is_some()).count(), 4);
        assert_eq!(watched, [20, 81, 40, 61]);
    }

    #[test]
    fn news_is_counted_once_and_only_for_those_who_are_left() {
        let mut watchers = Watchers::new(9, 2).unwrap();
        assert_eq!(watchers.missing(State::There), 18);
        assert!(watchers.note(0, 3, State::There, 5) && !watchers.note(0, 3, State::There, 6));
        assert_eq!((watchers.missing(State::There), watchers.duplicated, watchers.last_ns), (17, 1, 5));
        watchers.cut_evenly(2);
        assert_eq!(watchers.absent(), [0, 4]);
        assert_eq!(watchers.missing(State::Gone), 4, "3 and 6 watch 0, 1 and 7 watch 4");
    }
}
