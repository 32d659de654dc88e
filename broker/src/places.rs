//! Single sign-on: of a device class named in `devices.single`, one device of a user is logged in.
//!
//! The place of a class belongs to the device that logged in last, for as long as its session lives, connected or not. To log
//! in is to begin a session: that takes the place, and whoever had it is ended. To resume a session is no login: it keeps the
//! place, or takes one that is free, and is refused while another device has it. So a login ends the other device and an
//! automatic reconnect never does, neither by coming first after a link was lost nor after a restart of the server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use bytestring::ByteString;

use crate::lane::Device;
use crate::policy::Identity;

/// Who has which place. All edges share it: the devices of a user have different homes. It is locked when a client of such a
/// class connects and when a session ends, never for a message.
#[derive(Debug, Default)]
pub struct Places {
    single: Vec<String>,
    users: Mutex<HashMap<ByteString, Vec<Place>, RandomState>>,
}

/// The place of one class of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    class: ByteString,
    client: ByteString,
}

/// What became of a device that wants the place of its class.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// There may be any number of this class.
    Any,
    /// It had the place.
    Kept,
    /// It has the place now; this device had it before.
    Taken(Option<Device>),
    /// Another device has it.
    Refused,
}

impl Places {
    /// For these classes.
    pub fn new(single: Vec<String>) -> Places {
        Places { single, users: Mutex::default() }
    }

    /// Somebody logs in, or comes back to a session.
    pub fn claim(&self, who: &Identity, logs_in: bool) -> Claim {
        let Identity { device: Device { user, client }, kind, .. } = who;
        // Names with a ~ are nobody's: many share them.
        if user.starts_with('~') || !self.single.iter().any(|class| *class == **kind) {
            return Claim::Any;
        }
        let mut users = self.lock();
        let places = users.entry(user.clone()).or_default();
        let other = match places.iter_mut().find(|place| place.class == *kind) {
            Some(place) if place.client == *client => return Claim::Kept,
            Some(_) if !logs_in => return Claim::Refused,
            Some(place) => Some(std::mem::replace(&mut place.client, client.clone())),
            None => {
                places.push(Place { class: kind.clone(), client: client.clone() });
                None
            }
        };
        Claim::Taken(other.map(|other| Device { user: user.clone(), client: other }))
    }

    /// A session is over, or its client is of another class now: the classes whose place is free again.
    pub fn release(&self, device: &Device, but: Option<&str>) -> Vec<ByteString> {
        if self.single.is_empty() {
            return Vec::new();
        }
        let mut users = self.lock();
        let Some(places) = users.get_mut(&device.user) else { return Vec::new() };
        let is_free = |place: &mut Place| place.client == device.client && but != Some(&*place.class);
        let free = places.extract_if(.., is_free).map(|place| place.class).collect();
        if places.is_empty() {
            users.remove(&device.user);
        }
        free
    }

    /// Who has the place of a class.
    pub fn holder(&self, user: &str, class: &str) -> Option<ByteString> {
        let users = self.lock();
        let place = users.get(user)?.iter().find(|place| *place.class == *class)?;
        Some(place.client.clone())
    }

    /// The places of an earlier run.
    pub fn restore(&self, places: impl IntoIterator<Item = (Device, ByteString)>) {
        let mut users = self.lock();
        for (Device { user, client }, class) in places {
            users.entry(user).or_default().push(Place { class, client });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ByteString, Vec<Place>, RandomState>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Door;

    fn device(client: &str) -> Device {
        Device { user: "bob".into(), client: client.into() }
    }

    fn who(client: &str, class: &str) -> Identity {
        Identity::new(device(client), class.into(), Door::Mqtt)
    }

    fn places() -> Places {
        Places::new(vec!["phone".into(), "desktop".into()])
    }

    #[test]
    fn a_login_takes_the_place_and_a_reconnect_never_does() {
        let places = places();
        let (old, new) = (who("old", "phone"), who("new", "phone"));
        assert_eq!(places.claim(&old, true), Claim::Taken(None));
        assert_eq!(places.claim(&new, true), Claim::Taken(Some(device("old"))));
        assert_eq!(places.claim(&old, false), Claim::Refused);
        assert_eq!(places.claim(&new, false), Claim::Kept);
        assert_eq!(places.claim(&old, true), Claim::Taken(Some(device("new"))));
    }

    #[test]
    fn a_place_is_free_when_the_session_of_its_device_is_over_and_only_of_that_one() {
        let places = places();
        let (old, new) = (who("old", "phone"), who("new", "phone"));
        places.claim(&old, true);
        places.claim(&new, true);
        assert_eq!(places.release(&device("old"), None), [""; 0]);
        assert_eq!(places.holder("bob", "phone").as_deref(), Some("new"));
        assert_eq!(places.release(&device("new"), None), ["phone"]);
        assert_eq!(places.claim(&old, false), Claim::Taken(None));
    }

    #[test]
    fn classes_users_and_those_without_a_name_are_apart() {
        let places = places();
        assert_eq!(places.claim(&who("a", "phone"), true), Claim::Taken(None));
        assert_eq!(places.claim(&who("b", "desktop"), true), Claim::Taken(None));
        assert_eq!(places.claim(&who("c", "tablet"), true), Claim::Any);
        let eve = Device { user: "eve".into(), client: "d".into() };
        assert_eq!(places.claim(&Identity { device: eve, ..who("d", "phone") }, true), Claim::Taken(None));
        let nobody = Device { user: "~anonymous".into(), client: "e".into() };
        assert_eq!(places.claim(&Identity { device: nobody, ..who("e", "phone") }, true), Claim::Any);
    }

    #[test]
    fn a_device_that_changes_its_class_leaves_the_place_of_the_other() {
        let places = places();
        places.claim(&who("a", "phone"), true);
        places.claim(&who("a", "desktop"), false);
        assert_eq!(places.release(&device("a"), Some("desktop")), ["phone"]);
        assert_eq!(places.holder("bob", "desktop").as_deref(), Some("a"));
    }

    #[test]
    fn places_outlive_the_server() {
        let places = places();
        places.restore([(device("new"), "phone".into())]);
        assert_eq!(places.claim(&who("old", "phone"), false), Claim::Refused);
        assert_eq!(places.claim(&who("new", "phone"), false), Claim::Kept);
    }
}
