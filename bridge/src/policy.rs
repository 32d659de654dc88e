//! The one decision function: who is this, and may they do that.
//!
//! The chat namespaces have built-in rules that follow from who somebody is; every other topic is decided by the ACL
//! file, and without one by nobody: deny by default.

mod changes;
mod decide;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use ahash::RandomState;
use hubbub_broker::clock::Millis;
use hubbub_broker::lane::Device;
use hubbub_broker::policy::{Answer, Exchange, Identity, LoginRefusal, LoginRequest, Policy, PublishVerdict};
use hubbub_broker::topic::TopicFilter;

use crate::acl::Acl;
use crate::devices;
use crate::login::{ANONYMOUS, CANARY, Login};
use crate::store::{Store, StoreError};

use changes::Changes;
pub use decide::Action;

/// The rules of this server.
pub struct House {
    store: Arc<dyn Store>,
    /// The user name is believed, and ordinary topics are open.
    dev: bool,
    acl: RwLock<Option<Acl>>,
    /// Who may read `$SYS`, whatever the rules say.
    admins: Vec<String>,
    location: bool,
    login: Login,
    changes: Changes,
    /// Devices that are kept out.
    barred: RwLock<HashSet<Device, RandomState>>,
}

impl House {
    /// With these settings; its accounts let people in.
    pub fn new(store: Arc<dyn Store>, dev: bool, acl: Option<Acl>, location: bool) -> House {
        let login = Login::plain(store.clone(), dev);
        House {
            store,
            dev,
            acl: RwLock::new(acl),
            admins: Vec::new(),
            location,
            login,
            changes: Changes::default(),
            barred: RwLock::default(),
        }
    }

    /// Lets people in in other ways.
    pub fn with_login(self, login: Login) -> House {
        House { login, ..self }
    }

    /// With users who may read what the server tells of itself.
    pub fn with_admins(self, admins: Vec<String>) -> House {
        House { admins, ..self }
    }

    /// Without these devices.
    pub fn with_barred(self, barred: HashSet<Device, RandomState>) -> House {
        House { barred: RwLock::new(barred), ..self }
    }

    /// Other rights on topics that are not chat, from now on and as a whole. The edges have to hear of it.
    pub fn set_acl(&self, acl: Option<Acl>) {
        *self.acl.write().unwrap_or_else(PoisonError::into_inner) = acl;
    }

    /// An account was removed, or its password or its tokens count no longer: whoever was checked before does not come in.
    /// The edges have to hear who is to go.
    pub fn account_changed(&self, user: &str) {
        self.login.forget();
        self.changes.note(user);
    }

    /// Keeps a device out until it is allowed again. The edges have to hear that it is to go.
    pub fn bar(&self, device: &Device, now: Millis) -> Result<(), StoreError> {
        devices::bar(&*self.store, device, now)?;
        self.barred.write().unwrap_or_else(PoisonError::into_inner).insert(device.clone());
        Ok(())
    }

    /// Lets a device in again; gives back whether it was kept out.
    pub fn allow(&self, device: &Device) -> Result<bool, StoreError> {
        let was_barred = devices::allow(&*self.store, device)?;
        self.barred.write().unwrap_or_else(PoisonError::into_inner).remove(device);
        Ok(was_barred)
    }

    /// Who comes in.
    pub fn logins(&self) -> &Login {
        &self.login
    }
}

impl Policy for House {
    fn login(&self, request: LoginRequest) -> Answer<'_, Result<Identity, LoginRefusal>> {
        Box::pin(self.login.check(request))
    }

    fn exchange(&self, method: &str, request: LoginRequest) -> Option<Box<dyn Exchange>> {
        self.login.exchange(method, request)
    }

    fn changes(&self) -> u64 {
        self.changes.count()
    }

    fn admit(&self, who: &Identity, changes: u64) -> Result<(), LoginRefusal> {
        if self.changes.happened(&who.device.user, changes) {
            return Err(LoginRefusal::BadCredentials);
        }
        let barred = self.barred.read().unwrap_or_else(PoisonError::into_inner);
        if barred.contains(&who.device) { Err(LoginRefusal::Barred) } else { Ok(()) }
    }

    fn publish(&self, who: &Identity, topic: &str, payload: &[u8]) -> PublishVerdict {
        self.decide(who, Action::Publish(payload), topic)
    }

    fn subscribe(&self, who: &Identity, filter: &TopicFilter) -> Result<(), &'static str> {
        match self.decide(who, Action::Subscribe, &filter.filter) {
            PublishVerdict::Denied(why) => Err(why),
            _ => Ok(()),
        }
    }

    fn receive(&self, who: &Identity, topic: &str) -> bool {
        !matches!(self.decide(who, Action::Receive, topic), PublishVerdict::Denied(_))
    }
}

#[cfg(test)]
mod tests {
    use hubbub_broker::policy::{Door, RetainRule, TopicRights};

    use super::*;
    use crate::store::MemoryStore;

    fn house(dev: bool) -> House {
        House::new(Arc::new(MemoryStore::default()), dev, None, true)
    }

    fn who(user: &str, door: Door) -> Identity {
        let device = Device { user: user.into(), client: format!("{user}-phone").into() };
        Identity::new(device, "phone".into(), door)
    }

    fn alice() -> Identity {
        who("alice", Door::Mqtt)
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter { share: None, filter: text.into() }
    }

    #[test]
    fn nobody_reads_the_inbox_of_another_or_speaks_for_the_server() {
        for dev in [true, false] {
            let house = house(dev);
            for denied in [
                "u/bob/inbox",
                "u/alice/inbox",
                "p/alice",
                "p/bob/set",
                "$SYS/x",
                "owntracks/bob/phone",
                "c/x/send",
            ] {
                let verdict = house.publish(&alice(), denied, b"");
                assert!(matches!(verdict, PublishVerdict::Denied(_)), "{denied}");
            }
            for denied in ["u/bob/inbox", "u/+/inbox", "u/#", "$other/#", "dm/#"] {
                assert!(house.subscribe(&alice(), &filter(denied)).is_err(), "{denied}");
            }
            assert!(house.subscribe(&alice(), &filter("u/alice/inbox")).is_ok());
            assert!(!house.receive(&alice(), "u/bob/notice") && house.receive(&alice(), "u/alice/notice"));
        }
    }

    #[test]
    fn what_the_server_tells_of_itself_is_for_admins_and_for_whom_a_rule_that_names_it_lets() {
        let rules = Acl::parse("topic readwrite #\nuser carol\ntopic read $SYS/broker/uptime\n").unwrap();
        let house = House::new(Arc::new(MemoryStore::default()), false, Some(rules), true)
            .with_admins(vec!["alice".into()]);
        let reads = |name: &str, topic: &str| {
            let who = who(name, Door::Mqtt);
            let direct = house.subscribe(&who, &filter(topic)).is_ok();
            assert_eq!(direct, house.receive(&who, topic), "{name} and {topic}");
            direct
        };
        assert!(reads("alice", "$SYS/broker/uptime") && reads("alice", "$SYS/broker/version"));
        assert!(reads("carol", "$SYS/broker/uptime") && !reads("carol", "$SYS/broker/version"));
        assert!(!reads("bob", "$SYS/broker/uptime") && !reads("alice", "$other/x"));
        // As wide as asked for; what it brings is decided for each message.
        let wide = |name| house.subscribe(&who(name, Door::Mqtt), &filter("$SYS/#")).is_ok();
        assert!(wide("alice") && wide("carol") && !wide("bob"));
        for name in ["alice", "carol"] {
            let verdict = house.publish(&who(name, Door::Mqtt), "$SYS/broker/uptime", b"0 seconds");
            assert!(matches!(verdict, PublishVerdict::Denied(_)), "{name}");
        }
    }

    #[test]
    fn in_dev_mode_everybody_reads_it_unless_there_are_rules() {
        let alice = alice();
        let subscribe = |house: &House| house.subscribe(&alice, &filter("$SYS/#")).is_ok();
        let receive = |house: &House| house.receive(&alice, "$SYS/broker/uptime");
        let rules = House::new(Arc::new(MemoryStore::default()), true, Some(Acl::default()), true);
        assert!(subscribe(&house(true)) && receive(&house(true)));
        for closed in [house(false), rules] {
            assert!(!subscribe(&closed) && !receive(&closed));
        }
        let bare = who("alice", Door::BareClientId);
        assert!(!house(true).receive(&bare, "$SYS/broker/uptime"));
    }

    #[test]
    fn topics_that_begin_with_dollar_are_opened_by_rules_that_name_them_only() {
        let rules = |text: &str| {
            House::new(Arc::new(MemoryStore::default()), true, Some(Acl::parse(text).unwrap()), true)
        };
        let named = rules("topic readwrite $app/#\ntopic readwrite $share/#\ntopic write $SYS/#");
        for (house, open) in [(house(true), false), (rules("topic readwrite #"), false), (named, true)] {
            let verdict = house.publish(&alice(), "$app/1", b"");
            assert_eq!(verdict == PublishVerdict::Plain(RetainRule::AsSent), open);
            assert_eq!(house.subscribe(&alice(), &filter("$app/+")).is_ok(), open);
            assert_eq!(house.receive(&alice(), "$app/1"), open);
            for never in ["$SYS/x", "$share/g/t", "$other"] {
                assert!(matches!(house.publish(&alice(), never, b""), PublishVerdict::Denied(_)), "{never}");
            }
        }
    }

    #[test]
    fn ordinary_topics_are_open_in_dev_mode_only() {
        let open = |dev| {
            house(dev).subscribe(&alice(), &filter("a/#")).is_ok() && house(dev).receive(&alice(), "a/b")
        };
        assert!(open(true) && !open(false));
        assert_eq!(house(true).publish(&alice(), "a/b", b""), PublishVerdict::Plain(RetainRule::AsSent));
        assert!(matches!(house(false).publish(&alice(), "a/b", b""), PublishVerdict::Denied(_)));
    }

    #[test]
    fn the_bare_door_knows_client_ids_only() {
        let (house, phone) = (house(false), who("~x", Door::BareClientId));
        assert!(house.subscribe(&phone, &filter("~x-phone")).is_ok());
        assert!(house.subscribe(&phone, &filter("other")).is_err());
        assert!(matches!(house.publish(&phone, "other", b""), PublishVerdict::Plain(_)));
        assert!(matches!(house.publish(&phone, "dm/alice", b""), PublishVerdict::Denied(_)));
    }

    #[test]
    fn a_login_that_was_checked_before_the_account_changed_does_not_come_in_after_it() {
        let house = house(false);
        let before = house.changes();
        assert_eq!(house.admit(&alice(), before), Ok(()));
        house.account_changed("alice");
        assert_eq!(house.admit(&alice(), before), Err(LoginRefusal::BadCredentials));
        assert_eq!(house.admit(&alice(), house.changes()), Ok(()));
        assert_eq!(house.admit(&who("bob", Door::Mqtt), before), Ok(()));
    }

    #[test]
    fn a_device_that_is_barred_does_not_come_in_and_others_of_the_user_do() {
        let house = house(false);
        house.bar(&alice().device, 7).unwrap();
        assert_eq!(house.admit(&alice(), 0), Err(LoginRefusal::Barred));
        let other = Device { client: "alice-web".into(), ..alice().device };
        assert_eq!(house.admit(&Identity { device: other, ..alice() }, 0), Ok(()));
        assert!(house.allow(&alice().device).unwrap());
        assert_eq!(house.admit(&alice(), 0), Ok(()));
    }

    #[test]
    fn what_a_login_opened_adds_to_the_rules_and_a_denial_still_wins() {
        let rights =
            TopicRights { publish: vec!["room/#".into()], subscribe: vec!["room/+".into(), "#".into()] };
        let with = |who: Identity| Identity { rights: Some(Arc::new(rights.clone())), ..who };
        let rules = Acl::parse("topic deny room/secret\nuser bob\ntopic write bob\n").unwrap();
        let store = || Arc::new(MemoryStore::default());
        for house in [house(false), House::new(store(), false, Some(rules.clone()), true)] {
            let (plain, opened) = (alice(), with(alice()));
            let publishes = |who: &Identity, topic: &str| {
                house.publish(who, topic, b"") == PublishVerdict::Plain(RetainRule::AsSent)
            };
            let subscribes = |who: &Identity, topic: &str| house.subscribe(who, &filter(topic)).is_ok();
            assert!(
                publishes(&opened, "room/1")
                    && subscribes(&opened, "room/1")
                    && house.receive(&opened, "room/1")
            );
            assert!(
                !publishes(&plain, "room/1")
                    && !subscribes(&plain, "room/1")
                    && !house.receive(&plain, "room/1")
            );
            assert!(!publishes(&opened, "hall") && subscribes(&opened, "hall") && subscribes(&opened, "#"));
            for closed in ["u/bob/inbox", "$SYS/broker/uptime", "dm/bob", "c/x/msg"] {
                assert!(!subscribes(&opened, closed) && !house.receive(&opened, closed), "{closed}");
                assert!(!publishes(&opened, closed), "{closed}");
            }
        }
        let house = House::new(store(), false, Some(rules), true);
        let (alice, bob) = (with(alice()), with(who("bob", Door::Mqtt)));
        for who in [&alice, &bob] {
            assert!(matches!(house.publish(who, "room/secret", b""), PublishVerdict::Denied(_)));
            assert!(
                !house.receive(who, "room/secret") && house.subscribe(who, &filter("room/secret")).is_err()
            );
        }
        assert_eq!(
            house.publish(&bob, "bob", b""),
            PublishVerdict::Plain(RetainRule::AsSent),
            "the rules still give"
        );
    }
}
