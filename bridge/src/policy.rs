//! The one decision function: who is this, and may they do that.
//!
//! The chat namespaces have built-in rules that follow from who somebody is; every other topic is decided by the ACL
//! file, and without one by nobody: deny by default.

mod changes;
mod decide;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ahash::RandomState;
use bytes::Bytes;
use bytestring::ByteString;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;

use hubbub_broker::clock::Millis;
use hubbub_broker::lane::Device;
use hubbub_broker::policy::{
    Answer, Door, Exchange, Identity, LoginRefusal, LoginRequest, Policy, PublishVerdict,
};
use hubbub_broker::topic::{TopicFilter, check_id};

use crate::acl::Acl;
use crate::devices;
use crate::scram::{self, Scram};
use crate::store::{Store, StoreError};
use crate::users;

use changes::Changes;
pub use decide::Action;

/// The user of a client that named none, where that is allowed. `~` stands in no id, so nobody can be called so.
const ANONYMOUS: &str = "~anonymous";

/// The user of the health check.
const CANARY: &str = "~canary";

/// The rules of this server.
pub struct House {
    store: Arc<dyn Store>,
    /// The user name is believed, and ordinary topics are open.
    dev: bool,
    acl: RwLock<Option<Acl>>,
    /// Who may read `$SYS`, whatever the rules say.
    admins: Vec<String>,
    location: bool,
    /// Hashing is slow on purpose; this many at once.
    hashing: Arc<Semaphore>,
    known: Known,
    scram: Option<Scram>,
    /// The password of the health check, made anew at each start.
    canary: ByteString,
    changes: Changes,
    /// Devices that are kept out.
    barred: RwLock<HashSet<Device, RandomState>>,
}

/// Passwords that were found right, under a key of this run, so that a storm of reconnects does not hash each one again.
struct Known {
    seen: Mutex<HashMap<ByteString, Vec<u8>, RandomState>>,
    /// Counts the changes of accounts: a check that began before one is not remembered after it.
    changes: AtomicU64,
    key: [u8; 16],
}

impl Known {
    fn proof(&self, name: &str, password: &[u8]) -> Vec<u8> {
        // An HMAC takes keys of every length, so there is always one. The name has no NUL in it.
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).ok();
        let mac = mac.map(|mac| mac.chain_update(name).chain_update([0]).chain_update(password).finalize());
        mac.map(|mac| mac.into_bytes().to_vec()).unwrap_or_default()
    }

    fn remember(&self, name: &str, proof: Vec<u8>, changes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::SeqCst) == changes {
            seen.insert(name.into(), proof);
        }
    }

    fn has(&self, name: &str, proof: &[u8]) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // No proof at all proves nothing.
        !proof.is_empty() && seen.get(name).is_some_and(|known| known == proof)
    }
}

impl House {
    /// With these settings.
    pub fn new(
        store: Arc<dyn Store>,
        dev: bool,
        acl: Option<Acl>,
        location: bool,
        hash_concurrency: usize,
    ) -> House {
        House {
            store,
            dev,
            acl: RwLock::new(acl),
            admins: Vec::new(),
            location,
            hashing: Arc::new(Semaphore::new(hash_concurrency)),
            known: Known {
                seen: Mutex::default(),
                changes: AtomicU64::new(0),
                key: ulid::Ulid::new().random().to_be_bytes(),
            },
            scram: None,
            canary: format!("{:032x}", ulid::Ulid::new().random()).into(),
            changes: Changes::default(),
            barred: RwLock::default(),
        }
    }

    /// Lets clients in by SCRAM as well.
    pub fn with_scram(self, scram: Option<Scram>) -> House {
        House { scram, ..self }
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
        self.forget_passwords();
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

    /// User name and password with which the health check may come in.
    pub fn canary(&self) -> (ByteString, ByteString) {
        (ByteString::from_static(CANARY), self.canary.clone())
    }

    /// PBKDF2 rounds with which passwords are to be stored for SCRAM; nothing if they are not.
    pub fn scram_rounds(&self) -> Option<u32> {
        self.scram.map(|scram| scram.rounds())
    }

    /// An account changed: what was known about passwords counts no longer.
    pub fn forget_passwords(&self) {
        self.known.changes.fetch_add(1, Ordering::SeqCst);
        self.known.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn check(&self, request: LoginRequest) -> Result<Identity, LoginRefusal> {
        let LoginRequest { door, peer, client, class, certificate, username, password } = request;
        let user = match (door, username) {
            // The client id is a topic here, so it has to be one level that stands for itself. Nobody else can be
            // called like this user, because of the ~.
            (Door::BareClientId, _) if client.contains(['/', '+', '#']) || client.starts_with('$') => {
                return Err(LoginRefusal::NotAuthorized("the client id cannot be a topic"));
            }
            (Door::BareClientId, _) => ByteString::from(format!("~bare:{client}")),
            (_, username) if certificate.is_some() => bearer(certificate.unwrap_or_default(), username)?,
            (_, Some(name)) if *name == *CANARY => {
                let right = peer.ip().is_loopback() && password.as_deref() == Some(self.canary.as_bytes());
                if right { name } else { return Err(LoginRefusal::BadCredentials) }
            }
            (_, None) if self.dev => ByteString::from_static(ANONYMOUS),
            (_, None) => return Err(LoginRefusal::BadCredentials),
            (_, Some(name)) if check_id(&name).is_err() => return Err(LoginRefusal::BadCredentials),
            (_, Some(name)) if self.dev => name,
            (_, Some(name)) => self.verify(name, password.unwrap_or_default()).await?,
        };
        // Copied, so that it does not keep the read buffer.
        Ok(identity(ByteString::from(&*user), client, class, door))
    }

    async fn verify(&self, name: ByteString, password: Bytes) -> Result<ByteString, LoginRefusal> {
        let proof = self.known.proof(&name, &password);
        if self.known.has(&name, &proof) {
            return Ok(name);
        }
        let Ok(_permit) = self.hashing.clone().acquire_owned().await else {
            return Err(LoginRefusal::Unavailable);
        };
        let changes = self.known.changes.load(Ordering::SeqCst);
        let (store, user) = (self.store.clone(), name.to_string());
        let verified = tokio::task::spawn_blocking(move || users::verify(&*store, &user, &password)).await;
        match verified {
            Ok(true) => {
                self.known.remember(&name, proof, changes);
                Ok(name)
            }
            Ok(false) => Err(LoginRefusal::BadCredentials),
            Err(_) => Err(LoginRefusal::Unavailable),
        }
    }
}

/// Of a user who was checked.
pub(crate) fn identity(
    user: ByteString,
    client: ByteString,
    class: Option<ByteString>,
    door: Door,
) -> Identity {
    let kind = class.unwrap_or_else(|| device_class(&user, &client));
    Identity { device: Device { user, client }, kind, door }
}

/// Who shows a certificate is the user that it names, without a password, and nobody else.
fn bearer(named: ByteString, username: Option<ByteString>) -> Result<ByteString, LoginRefusal> {
    if check_id(&named).is_err() {
        return Err(LoginRefusal::NotAuthorized("the name in the client certificate cannot be a user name"));
    }
    match username {
        Some(other) if other != named => {
            Err(LoginRefusal::NotAuthorized("the client certificate is that of another user"))
        }
        _ => Ok(named),
    }
}

/// The class of a device that does not say it: `bob-phone` of the user `bob` is a `phone`.
pub(crate) fn device_class(user: &str, client: &str) -> ByteString {
    let rest = client.strip_prefix(user).and_then(|rest| rest.strip_prefix(['-', '/', '_', '.', ':']));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(client).into()
}

impl Policy for House {
    fn login(&self, request: LoginRequest) -> Answer<'_, Result<Identity, LoginRefusal>> {
        Box::pin(self.check(request))
    }

    fn exchange(&self, method: &str, request: LoginRequest) -> Option<Box<dyn Exchange>> {
        let scram = self.scram.filter(|_| method == scram::METHOD && request.door != Door::BareClientId)?;
        Some(Box::new(scram::Login::new(self.store.clone(), scram, request)))
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
    use hubbub_broker::policy::RetainRule;

    use super::*;
    use crate::store::MemoryStore;

    fn house(dev: bool) -> House {
        House::new(Arc::new(MemoryStore::default()), dev, None, true, 1)
    }

    fn who(user: &str, door: Door) -> Identity {
        let device = Device { user: user.into(), client: format!("{user}-phone").into() };
        Identity { device, kind: "phone".into(), door }
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
        let house = House::new(Arc::new(MemoryStore::default()), false, Some(rules), true, 1)
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
        let rules = House::new(Arc::new(MemoryStore::default()), true, Some(Acl::default()), true, 1);
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
            House::new(Arc::new(MemoryStore::default()), true, Some(Acl::parse(text).unwrap()), true, 1)
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

    #[tokio::test]
    async fn the_bare_door_lets_in_only_what_can_be_a_topic_and_as_nobody_else() {
        let login = |client: &'static str| LoginRequest {
            door: Door::BareClientId,
            peer: ([127, 0, 0, 1], 1).into(),
            client: client.into(),
            class: None,
            certificate: None,
            username: Some("alice".into()),
            password: None,
        };
        let house = house(false);
        for bad in ["#", "+", "owntracks/bob/phone", "$SYS"] {
            assert!(house.login(login(bad)).await.is_err(), "{bad}");
        }
        for (client, user) in [("phone", "~bare:phone"), ("canary", "~bare:canary")] {
            assert_eq!(&*house.login(login(client)).await.unwrap().device.user, user);
        }
    }

    #[tokio::test]
    async fn the_bearer_of_a_certificate_is_the_user_that_it_names_and_nobody_else() {
        let login = |named: &'static str, username: Option<&'static str>| LoginRequest {
            door: Door::Mqtts,
            peer: ([127, 0, 0, 1], 1).into(),
            client: "phone".into(),
            class: None,
            certificate: Some(named.into()),
            username: username.map(Into::into),
            password: None,
        };
        for dev in [true, false] {
            let house = house(dev);
            for username in [None, Some("alice")] {
                assert_eq!(&*house.login(login("alice", username)).await.unwrap().device.user, "alice");
            }
            for (named, username) in [
                ("alice", Some("bob")),
                ("alice", Some("")),
                ("~canary", None),
                ("~canary", Some("~canary")),
                ("a/b", None),
                ("", None),
            ] {
                assert!(house.login(login(named, username)).await.is_err(), "{named} {username:?}");
            }
        }
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
    fn devices_are_named_by_what_follows_the_user() {
        assert_eq!(&*device_class("bob", "bob-phone"), "phone");
        assert_eq!(&*device_class("bob", "bob/Mac Book"), "Mac Book");
        assert_eq!(&*device_class("bob", "bob"), "bob");
        assert_eq!(&*device_class("bob", "mosq-1"), "mosq-1");
        assert_eq!(&*device_class("al", "alpha"), "alpha");
    }
}
