//! The gate: every connection holds a ticket from the moment it is accepted, and a seat once it has logged in. Both give
//! back what they took when they are dropped, wherever that happens.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;

use crate::clock::Millis;
use crate::counters::Counters;
use crate::limit::{Crowded, Entrance, EntranceLimits, Source};

/// The bounds of the gate.
#[derive(Debug, Clone, Copy)]
pub struct GateLimits {
    /// Connections in all, those that have not logged in yet included.
    pub connections: usize,
    /// Connections over a limit that are heard out at the same time.
    pub refusals: usize,
    /// By address, by user, in a time.
    pub entrance: EntranceLimits,
}

/// One for all edges.
pub struct Gate {
    limits: GateLimits,
    counters: Arc<Counters>,
    entrance: Mutex<Entrance>,
}

/// Somebody who has not logged in yet.
pub struct Ticket {
    gate: Arc<Gate>,
    source: Option<Source>,
    /// Why they will be refused once they have said who they are: a CONNACK answers a CONNECT.
    refusal: Option<Crowded>,
}

/// Somebody who has.
pub struct Seat {
    gate: Arc<Gate>,
    source: Option<Source>,
    user: Option<ByteString>,
}

impl Gate {
    /// Open.
    pub fn new(limits: GateLimits, counters: Arc<Counters>, now: Millis) -> Arc<Gate> {
        let entrance = Mutex::new(Entrance::new(limits.entrance, now));
        Arc::new(Gate { limits, counters, entrance })
    }

    /// Somebody knocks; nothing if there is not even room to tell them why they cannot come in. The address is given as
    /// soon as it is known: what a proxy says comes later, by [`Ticket::is_from`].
    pub fn knock(self: &Arc<Self>, address: Option<IpAddr>, now: Millis) -> Option<Ticket> {
        let counters = &self.counters;
        let open = counters.connections.get() + counters.handshakes.get();
        counters.handshakes.add(1);
        let mut ticket = Ticket { gate: self.clone(), source: None, refusal: None };
        let heard = match open >= self.limits.connections as u64 {
            true => ticket.refuse(Crowded::Full),
            false => address.is_none_or(|address| ticket.is_from(address, now)),
        };
        heard.then_some(ticket)
    }

    fn entrance(&self) -> MutexGuard<'_, Entrance> {
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, crowded: Crowded) {
        let counters = &self.counters;
        let counter = match crowded {
            Crowded::Full => &counters.connections_over_limit_total,
            Crowded::Address => &counters.connections_over_address_limit_total,
            Crowded::User => &counters.connections_over_user_limit_total,
            Crowded::Rate => &counters.connections_over_rate_total,
            Crowded::AddressRate => &counters.connections_over_address_rate_total,
        };
        counter.add(1);
    }
}

impl Ticket {
    /// Where they are from; `false` if they are to be sent away without a word.
    pub fn is_from(&mut self, address: IpAddr, now: Millis) -> bool {
        if self.refusal.is_some() {
            return true;
        }
        let came = self.gate.entrance().come(address, now);
        match came {
            Ok(source) => {
                self.source = source;
                true
            }
            Err(crowded) => self.refuse(crowded),
        }
    }

    /// Why they cannot come in.
    pub fn refusal(&self) -> Option<Crowded> {
        self.refusal
    }

    /// They have logged in as this user. Who takes over a connection takes over its place among those of the user.
    pub fn sit_down(
        mut self,
        user: &ByteString,
        taken_over: Option<&mut Seat>,
    ) -> Result<Option<Box<Seat>>, Crowded> {
        let user = match taken_over.and_then(|seat| seat.user.take()) {
            Some(user) => Some(user),
            None => {
                let counted = self.gate.entrance().sit_down(user);
                counted.inspect_err(|crowded| self.gate.count(*crowded))?.then(|| user.clone())
            }
        };
        let (gate, source) = (self.gate.clone(), self.source.take());
        let counts = user.is_some() || source.is_some();
        Ok(counts.then(|| Box::new(Seat { gate, source, user })))
    }

    /// They will be told so, if there is room for one more of those who are.
    fn refuse(&mut self, crowded: Crowded) -> bool {
        self.gate.count(crowded);
        let counters = &self.gate.counters;
        counters.handshakes.sub(1);
        self.refusal = Some(crowded);
        counters.refusals.add(1);
        let heard = counters.refusals.get() <= self.gate.limits.refusals as u64;
        counters.refusals_unsaid_total.add(u64::from(!heard));
        heard
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seat { source, user, .. } = self;
        f.debug_struct("Seat").field("source", source).field("user", user).finish_non_exhaustive()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let counters = &self.gate.counters;
        match self.refusal {
            Some(_) => counters.refusals.sub(1),
            None => counters.handshakes.sub(1),
        }
        if let Some(source) = self.source.take() {
            self.gate.entrance().leave(source);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut entrance = self.gate.entrance();
        if let Some(source) = self.source.take() {
            entrance.leave(source);
        }
        if let Some(user) = self.user.take() {
            entrance.stand_up(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize, refusals: usize) -> (Arc<Gate>, Arc<Counters>) {
        let entrance = EntranceLimits {
            per_address: Some(2),
            per_user: Some(1),
            all: None,
            each: None,
            remembered: 16,
            loopback: true,
        };
        let counters = Arc::new(Counters::default());
        (Gate::new(GateLimits { connections, refusals, entrance }, counters.clone(), 0), counters)
    }

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn whoever_is_over_a_limit_is_heard_out_and_so_many_only() {
        let (gate, counters) = gate(10, 2);
        let mut held: Vec<Ticket> = (0..6).filter_map(|_| gate.knock(HOME, 0)).collect();
        let refusals: Vec<_> = held.iter().map(Ticket::refusal).collect();
        assert_eq!(refusals, [None, None, Some(Crowded::Address), Some(Crowded::Address)]);
        assert_eq!((counters.handshakes.get(), counters.refusals.get()), (2, 2));
        assert_eq!(counters.connections_over_address_limit_total.get(), 4);
        assert_eq!(counters.refusals_unsaid_total.get(), 2);
        held.remove(0);
        assert_eq!(
            gate.knock(HOME, 0).map(|ticket| ticket.refusal()),
            Some(None),
            "a ticket gives its place back"
        );
        drop(held);
        assert_eq!((counters.handshakes.get(), counters.refusals.get()), (0, 0));
    }

    #[test]
    fn whoever_is_too_many_in_all_is_told_as_well() {
        let (gate, counters) = gate(1, 1);
        let _first = gate.knock(None, 0);
        assert_eq!(gate.knock(None, 0).map(|ticket| ticket.refusal()), Some(Some(Crowded::Full)));
        assert_eq!(counters.connections_over_limit_total.get(), 1);
        assert_eq!(counters.handshakes.get(), 1, "who is refused takes no place from those who are not");
    }

    #[test]
    fn a_take_over_inherits_the_place_of_its_user() {
        let (gate, counters) = gate(10, 2);
        let knock = || gate.knock(HOME, 0).unwrap();
        let alice = ByteString::from("alice");
        let mut first = knock().sit_down(&alice, None).unwrap().unwrap();
        assert_eq!(knock().sit_down(&alice, None).err(), Some(Crowded::User));
        let second = knock().sit_down(&alice, Some(&mut first)).unwrap();
        drop(first);
        assert_eq!(knock().sit_down(&alice, None).err(), Some(Crowded::User), "it is counted once");
        drop(second);
        let third = knock().sit_down(&alice, None);
        assert!(third.is_ok_and(|seat| seat.is_some()));
        assert_eq!(counters.connections_over_user_limit_total.get(), 2);
        assert_eq!(counters.handshakes.get(), 0);
        assert_eq!(
            gate.knock(HOME, 0).map(|ticket| ticket.refusal()),
            Some(None),
            "addresses are given back too"
        );
    }
}
