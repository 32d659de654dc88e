//! How often a password may be guessed: pauses that grow, then a lock. A pure machine; time is given.
//!
//! Failures are counted for a user *at an address*, never for a user everywhere: or whoever knows a name could lock its
//! owner out from anywhere. Three rules keep the lock from becoming a weapon at one address too, where a home, an office or
//! a carrier puts many behind one:
//!
//! - an address from which the user has logged in before is *familiar*: it is never locked, and pauses for one step at most;
//! - a device that has logged in from there has a count of its own: what others there guess, it does not notice;
//! - the same wrong password again is no new guess: a device that still has the old one locks nobody.
//!
//! Somebody who guesses at many names from one address is stopped by the count of that address, which the familiar do
//! not notice either. Names are counted whether they exist or not, so nothing here tells who does. All of it is in memory,
//! bounded, and gone after a restart: whoever can restart the server needs no guesses, and what attackers cause is not
//! worth a write to disk.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use ahash::RandomState;

use hubbub_broker::clock::Millis;

/// Devices of a user that are known at one address.
const DEVICES: usize = 8;

/// How much is allowed; see `[login]` in the settings.
#[derive(Debug, Clone, Copy)]
pub struct LockoutLimits {
    /// Failures before the first pause.
    pub cooldown_after: u32,
    /// Milliseconds of the first pause, and by which each further one is longer.
    pub cooldown_step: Millis,
    /// Failures after which there is a lock.
    pub lock_after: u32,
    /// Failures of one address before it pauses.
    pub of_address: u32,
    /// Milliseconds after which failures are forgotten.
    pub forgotten: Millis,
    /// Records of each kind.
    pub kept: usize,
}

/// Who tries to log in.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The user name; empty if there was none.
    pub user: &'a str,
    /// Where from.
    pub address: IpAddr,
    /// The client id.
    pub client: &'a str,
}

/// Whether the password is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is.
    Go,
    /// Not before this time.
    Wait(Millis),
    /// Not before somebody unlocks the user.
    Locked,
}

/// The counts.
pub struct Lockout {
    limits: LockoutLimits,
    /// Makes keys that nobody can foresee, so that no two names are made to meet.
    hasher: RandomState,
    guesses: Table<Count>,
    addresses: Table<Count>,
    familiar: Table<Vec<u64>>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// The user, for an unlock.
    user: u64,
    failures: u32,
    /// The last guess.
    guess: u64,
    last: Millis,
    until: Millis,
    locked: bool,
}

/// Where an attempt is counted.
struct Place {
    user: u64,
    /// The user at this address.
    pair: u64,
    /// The same, or the device if it is known there.
    key: u64,
    device: u64,
    address: u64,
    familiar: bool,
}

impl Lockout {
    /// Nothing has happened yet.
    pub fn new(limits: LockoutLimits) -> Lockout {
        let (guesses, addresses, familiar) =
            (Table::new(limits.kept), Table::new(limits.kept), Table::new(limits.kept));
        Lockout { limits, hasher: RandomState::new(), guesses, addresses, familiar }
    }

    /// Whether this one may try now.
    pub fn ask(&self, attempt: Attempt<'_>, now: Millis) -> Ruling {
        let place = self.place(attempt);
        let own = self.guesses.get(place.key).filter(|count| !self.is_forgotten(count, now));
        let shared = self.addresses.get(place.address).filter(|_| !place.familiar);
        match own {
            Some(count) if count.locked && !place.familiar => Ruling::Locked,
            _ => {
                let until = own.into_iter().chain(shared).map(|count| count.until).max().unwrap_or(0);
                if until > now { Ruling::Wait(until) } else { Ruling::Go }
            }
        }
    }

    /// Whether this is the password that was wrong the last time: it is wrong still, and not worth the work to find that out.
    pub fn is_repeat(&self, attempt: Attempt<'_>, password: &[u8], now: Millis) -> bool {
        let key = self.place(attempt).key;
        let count = self.guesses.get(key).filter(|count| !self.is_forgotten(count, now));
        count.is_some_and(|count| count.guess == self.hasher.hash_one((key, password)))
    }

    /// The password was wrong. Gives back what follows for the next attempt.
    pub fn failed(&mut self, attempt: Attempt<'_>, password: &[u8], now: Millis) -> Ruling {
        let place = self.place(attempt);
        // Those without a name have only their address in common.
        if attempt.user.is_empty() {
            self.count_address(place.address, now);
            return self.ask(attempt, now);
        }
        let guess = self.hasher.hash_one((place.key, password));
        let known = self.guesses.get(place.key).copied().filter(|count| !self.is_forgotten(count, now));
        let mut count = known.unwrap_or(Count { user: place.user, ..Count::default() });
        if known.is_some() && count.guess == guess {
            return self.ask(attempt, now);
        }
        (count.guess, count.last) = (guess, now);
        count.failures += 1;
        self.punish(&mut count, place.familiar, now);
        self.guesses.put(place.key, count, (count.locked, now));
        self.count_address(place.address, now);
        self.ask(attempt, now)
    }

    /// The password was right: it is this user, who is familiar from now on.
    pub fn succeeded(&mut self, attempt: Attempt<'_>, now: Millis) {
        if attempt.user.is_empty() {
            return;
        }
        let place = self.place(attempt);
        self.guesses.remove(place.key);
        let mut devices = self.familiar.get(place.pair).cloned().unwrap_or_default();
        devices.retain(|device| *device != place.device);
        devices.push(place.device);
        if devices.len() > DEVICES {
            devices.remove(0);
        }
        self.familiar.put(place.pair, devices, (false, now));
    }

    /// Forgets the failures of this user everywhere; whether there were any.
    pub fn unlock(&mut self, user: &str) -> bool {
        let user = self.hasher.hash_one(user);
        self.guesses.remove_all(|count| count.user == user)
    }

    /// Forgets the failures of all users.
    pub fn unlock_all(&mut self) {
        self.guesses.remove_all(|_| true);
    }

    /// A familiar place counts from one pause to the next, others go on to the lock.
    fn punish(&self, count: &mut Count, familiar: bool, now: Millis) {
        let LockoutLimits { cooldown_after, cooldown_step, lock_after, .. } = self.limits;
        let beyond = (count.failures + 1).saturating_sub(cooldown_after);
        if familiar && beyond > 0 {
            (count.until, count.failures) = (now + cooldown_step, 0);
        } else if beyond > 0 {
            count.until = now + cooldown_step.saturating_mul(Millis::from(beyond));
            count.locked = count.failures >= lock_after;
        }
    }

    fn count_address(&mut self, address: u64, now: Millis) {
        let known = self.addresses.get(address).copied().filter(|count| !self.is_forgotten(count, now));
        let mut count = known.unwrap_or_default();
        (count.failures, count.last) = (count.failures + 1, now);
        if count.failures >= self.limits.of_address {
            (count.until, count.failures) = (now + self.limits.cooldown_step, 0);
        }
        self.addresses.put(address, count, (false, now));
    }

    fn is_forgotten(&self, count: &Count, now: Millis) -> bool {
        let over = count.last.max(count.until) + self.limits.forgotten;
        !count.locked && over <= now
    }

    fn place(&self, Attempt { user, address, client }: Attempt<'_>) -> Place {
        let network = network(address);
        let (user, address) = (self.hasher.hash_one(user), self.hasher.hash_one(network));
        let pair = self.hasher.hash_one((user, network));
        let device = self.hasher.hash_one((pair, client));
        let devices = self.familiar.get(pair);
        let known = devices.is_some_and(|devices| devices.contains(&device));
        let key = if known { device } else { pair };
        Place { user, pair, key, device, address, familiar: devices.is_some() }
    }
}

/// One subscriber of IPv6 has a whole /64 to choose addresses from.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// A bounded map. When it is full, what goes is the oldest that is not locked, then the oldest.
struct Table<T> {
    kept: usize,
    records: HashMap<u64, (T, Age), RandomState>,
    ages: BTreeSet<(Age, u64)>,
}

/// Locked or not, and since when.
type Age = (bool, Millis);

impl<T> Table<T> {
    fn new(kept: usize) -> Table<T> {
        Table { kept, records: HashMap::default(), ages: BTreeSet::new() }
    }

    fn get(&self, key: u64) -> Option<&T> {
        self.records.get(&key).map(|(record, _)| record)
    }

    fn put(&mut self, key: u64, record: T, age: Age) {
        self.remove(key);
        while self.records.len() >= self.kept
            && let Some((_, oldest)) = self.ages.first().copied()
        {
            self.remove(oldest);
        }
        self.records.insert(key, (record, age));
        self.ages.insert((age, key));
    }

    fn remove(&mut self, key: u64) {
        if let Some((_, age)) = self.records.remove(&key) {
            self.ages.remove(&(age, key));
        }
    }

    fn remove_all(&mut self, which: impl Fn(&T) -> bool) -> bool {
        let found: Vec<u64> =
            self.records.iter().filter(|(_, (record, _))| which(record)).map(|(key, _)| *key).collect();
        found.iter().for_each(|key| self.remove(*key));
        !found.is_empty()
    }
}

#[cfg(test)]
mod tests;
