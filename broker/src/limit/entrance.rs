//! Who may come in, as far as numbers go.

use std::net::IpAddr;

use bytestring::ByteString;

use super::{Crowd, Rate, Recent, Source};
use crate::clock::Millis;
use crate::limit::Bucket;

/// The bounds; what is not given has none.
#[derive(Debug, Clone, Copy)]
pub struct EntranceLimits {
    /// Connections at the same time from one address.
    pub per_address: Option<u32>,
    /// Connections at the same time of one user.
    pub per_user: Option<u32>,
    /// New connections of everybody.
    pub all: Option<Rate>,
    /// New connections from one address.
    pub each: Option<Rate>,
    /// Addresses whose pace is remembered.
    pub remembered: usize,
    /// Whether loopback is an address like any other.
    pub loopback: bool,
}

/// Why somebody has to stay outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crowded {
    /// There are as many connections as there may be.
    Full,
    /// There are as many from this address.
    Address,
    /// There are as many of this user.
    User,
    /// Too many have come lately.
    Rate,
    /// Too many have come from this address.
    AddressRate,
}

impl Crowded {
    /// Reason code of MQTT 5 (§3.2.2.2).
    pub fn code(self) -> u8 {
        match self {
            Crowded::Full => 0x89,
            Crowded::Address | Crowded::User => 0x97,
            Crowded::Rate | Crowded::AddressRate => 0x9f,
        }
    }

    /// One sentence for logs and reason strings.
    pub fn text(self) -> &'static str {
        match self {
            Crowded::Full => "too many connections",
            Crowded::Address => "too many connections from this address",
            Crowded::User => "too many connections of this user",
            Crowded::Rate => "too many new connections, come back later",
            Crowded::AddressRate => "too many new connections from this address, come back later",
        }
    }
}

/// The machine at the entrance.
#[derive(Debug)]
pub struct Entrance {
    limits: EntranceLimits,
    all: Option<Bucket>,
    each: Option<Recent<Source>>,
    addresses: Crowd<Source>,
    users: Crowd<ByteString>,
}

impl Entrance {
    /// Nobody has come yet.
    pub fn new(limits: EntranceLimits, now: Millis) -> Entrance {
        Entrance {
            all: limits.all.map(|rate| Bucket::full(&rate, now)),
            each: limits.each.map(|rate| Recent::new(rate, limits.remembered, now)),
            addresses: Crowd::default(),
            users: Crowd::default(),
            limits,
        }
    }

    /// Somebody comes from this address; as what they are counted until [`Entrance::leave`], if at all.
    ///
    /// What is one address's own fault is asked first: whoever is refused for that takes nothing from the others.
    pub fn come(&mut self, address: IpAddr, now: Millis) -> Result<Option<Source>, Crowded> {
        if address.to_canonical().is_loopback() && !self.limits.loopback {
            return Ok(None);
        }
        let source = Source::of(address);
        let most = self.limits.per_address;
        if most.is_some_and(|most| self.addresses.count(&source) >= most) {
            return Err(Crowded::Address);
        }
        if self.each.as_mut().is_some_and(|each| !each.take(source, now)) {
            return Err(Crowded::AddressRate);
        }
        if let (Some(all), Some(rate)) = (&mut self.all, &self.limits.all)
            && !all.take(rate, now)
        {
            return Err(Crowded::Rate);
        }
        Ok(most.filter(|most| self.addresses.enter(source, *most)).map(|_| source))
    }

    /// Somebody who was counted goes.
    pub fn leave(&mut self, source: Source) {
        self.addresses.leave(&source);
    }

    /// A user has another connection; whether it is counted until [`Entrance::stand_up`]. Those whose names begin with `~`
    /// are many, or the server itself.
    pub fn sit_down(&mut self, user: &ByteString) -> Result<bool, Crowded> {
        match self.limits.per_user {
            None => Ok(false),
            _ if user.starts_with('~') => Ok(false),
            // Copied, so that it does not keep a read buffer.
            Some(most) if self.users.enter(ByteString::from(&**user), most) => Ok(true),
            Some(_) => Err(Crowded::User),
        }
    }

    /// A connection that was counted goes.
    pub fn stand_up(&mut self, user: &ByteString) {
        self.users.leave(user);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: EntranceLimits = EntranceLimits {
        per_address: Some(3),
        per_user: Some(2),
        all: None,
        each: None,
        remembered: 1000,
        loopback: false,
    };

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_and_each_user_has_so_many_places() {
        let mut entrance = Entrance::new(LIMITS, 0);
        let came: Vec<_> = (0..4).map(|_| entrance.come(at("192.0.2.7"), 0)).collect();
        let source = Source::of(at("192.0.2.7"));
        assert_eq!(came, [Ok(Some(source)), Ok(Some(source)), Ok(Some(source)), Err(Crowded::Address)]);
        assert!(entrance.come(at("192.0.2.8"), 0).is_ok());
        entrance.leave(source);
        assert!(entrance.come(at("192.0.2.7"), 0).is_ok());
        let alice = ByteString::from("alice");
        assert_eq!((0..3).map(|_| entrance.sit_down(&alice)).filter(Result::is_ok).count(), 2);
        assert_eq!(
            entrance.sit_down(&"~anonymous".into()),
            Ok(false),
            "nameless clients are nobody in particular"
        );
        entrance.stand_up(&alice);
        assert_eq!(entrance.sit_down(&alice), Ok(true));
    }

    #[test]
    fn this_machine_is_free_of_it_unless_it_is_to_be_held_to_it() {
        let strict = EntranceLimits { each: Some(Rate::per_second(1, 1000)), ..LIMITS };
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let mut entrance = Entrance::new(strict, 0);
            assert!((0..100).all(|_| entrance.come(at(address), 0) == Ok(None)), "{address}");
            let mut entrance = Entrance::new(EntranceLimits { loopback: true, ..strict }, 0);
            assert!(entrance.come(at(address), 0).is_ok());
            assert_eq!(entrance.come(at(address), 0), Err(Crowded::AddressRate), "{address}");
        }
    }

    #[test]
    fn a_flood_from_one_address_takes_nothing_from_the_others() {
        let (all, each) = (Some(Rate::per_second(50, 1000)), Some(Rate::per_second(10, 1000)));
        let mut entrance = Entrance::new(EntranceLimits { all, each, per_address: None, ..LIMITS }, 0);
        let flood = (0..10_000).filter(|_| entrance.come(at("192.0.2.7"), 0).is_ok()).count();
        assert_eq!(flood, 10);
        let others = (0..=255).filter(|last| entrance.come(at(&format!("198.51.100.{last}")), 0).is_ok());
        assert_eq!(others.count(), 40);
        assert_eq!(entrance.come(at("198.51.101.1"), 0), Err(Crowded::Rate));
    }

    proptest! {
        #[test]
        fn whoever_came_and_left_leaves_nothing(steps in prop::collection::vec((0u8..4, any::<bool>()), 1..200)) {
            let mut entrance = Entrance::new(EntranceLimits { loopback: true, ..LIMITS }, 0);
            let mut here: Vec<Source> = Vec::new();
            for (last, comes) in steps {
                let source = Source::of(at(&format!("127.0.0.{last}")));
                let same = here.iter().filter(|one| **one == source).count();
                if comes {
                    let came = entrance.come(at(&format!("127.0.0.{last}")), 0);
                    prop_assert_eq!(came.is_ok(), same < 3);
                    here.extend(came.ok().flatten());
                } else if let Some(place) = here.iter().position(|one| *one == source) {
                    here.remove(place);
                    entrance.leave(source);
                }
            }
            here.into_iter().for_each(|source| entrance.leave(source));
            prop_assert_eq!(entrance.addresses.kinds(), 0);
        }
    }
}
