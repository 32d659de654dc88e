use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;

use hubbub_broker::policy::Policy;

use super::*;
use crate::policy::House;
use crate::store::{Batch, MemoryStore, Order, Pair, Visit};
use crate::users;

fn house(dev: bool) -> House {
    House::new(Arc::new(MemoryStore::default()), dev, None, true)
}

/// With the accounts of alice, whose password is wonderland, and these settings.
fn login(settings: &str) -> Login {
    let store = MemoryStore::default();
    users::add(&store, "alice", "wonderland", None).unwrap();
    login_with(settings, Arc::new(store))
}

fn login_with(settings: &str, store: Arc<dyn Store>) -> Login {
    let config = Config::parse("hubbub.toml", &format!("[login]\n{settings}")).unwrap();
    Login::open(&config, store, Clock::start()).unwrap()
}

fn request(user: &str, password: &str) -> LoginRequest {
    LoginRequest {
        door: Door::Mqtt,
        peer: ([192, 0, 2, 1], 1).into(),
        client: "phone".into(),
        class: None,
        certificate: None,
        username: Some(user.into()),
        password: Some(Bytes::copy_from_slice(password.as_bytes())),
    }
}

fn from(address: &str, request: LoginRequest) -> LoginRequest {
    LoginRequest { peer: SocketAddr::new(address.parse().unwrap(), 1), ..request }
}

async fn refusal(login: &Login, request: LoginRequest) -> LoginRefusal {
    login.check(request).await.unwrap_err()
}

/// An application that nobody reaches: port 1 of this machine refuses.
const HOOK: &str = "hook = 'http://127.0.0.1:1/login'\nhook_secret = 'sesame'";

/// A disk that cannot be read.
struct Broken;

impl Store for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Failed("the disk is gone".into()))
    }

    fn scan(&self, _: Range<Vec<u8>>, _: Order, _: usize) -> Result<Vec<Pair>, StoreError> {
        Err(StoreError::Failed("the disk is gone".into()))
    }

    fn commit(&self, _: Batch) -> Result<(), StoreError> {
        Err(StoreError::Failed("the disk is gone".into()))
    }

    fn walk(&self, _: &mut Visit<'_>) -> Result<(), StoreError> {
        Err(StoreError::Failed("the disk is gone".into()))
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Err(StoreError::Failed("the disk is gone".into()))
    }
}

#[tokio::test]
async fn an_account_decides_for_its_name_and_a_back_end_that_is_down_for_all_that_come_to_it() {
    let login = login(HOOK);
    assert!(login.check(request("alice", "wonderland")).await.is_ok());
    assert_eq!(refusal(&login, request("alice", "guess")).await, LoginRefusal::BadCredentials);
    assert_eq!(refusal(&login, request("bob", "builder")).await, LoginRefusal::Unavailable);
}

#[tokio::test]
async fn a_back_end_that_is_down_leaves_nothing_to_the_next_method() {
    let hook_first = login(&format!("order = ['hook', 'users']\n{HOOK}"));
    assert_eq!(refusal(&hook_first, request("alice", "wonderland")).await, LoginRefusal::Unavailable);
    for settings in ["", HOOK] {
        let login = login_with(settings, Arc::new(Broken));
        assert_eq!(refusal(&login, request("alice", "wonderland")).await, LoginRefusal::Unavailable);
    }
}

#[tokio::test]
async fn without_a_name_or_a_password_there_is_nothing_to_ask_about() {
    let login = login("");
    let nameless = LoginRequest { username: None, ..request("", "wonderland") };
    let silent = LoginRequest { password: None, ..request("alice", "") };
    for empty in [nameless, silent, request("", ""), request("", "wonderland")] {
        assert_eq!(refusal(&login, empty).await, LoginRefusal::BadCredentials);
    }
}

#[tokio::test]
async fn after_three_wrong_passwords_even_the_right_one_waits_and_unknown_names_hear_the_same() {
    let login = login("");
    for name in ["alice", "nobody"] {
        for guess in ["one", "two", "three"] {
            assert_eq!(refusal(&login, request(name, guess)).await, LoginRefusal::BadCredentials, "{name}");
        }
        let paused = LoginRefusal::NotAuthorized("too many failed logins: try again later");
        assert_eq!(refusal(&login, request(name, "wonderland")).await, paused, "{name}");
    }
    assert!(login.check(from("192.0.2.2", request("alice", "wonderland"))).await.is_ok());
    assert!(login.unlock("alice") && login.check(request("alice", "wonderland")).await.is_ok());
}

#[tokio::test]
async fn a_name_in_a_certificate_holds_for_every_method() {
    let login = login("");
    let with = |named: &'static str| LoginRequest {
        certificate: Some(named.into()),
        ..request("alice", "wonderland")
    };
    assert_eq!(&*login.check(with("alice")).await.unwrap().device.user, "alice");
    let other = LoginRefusal::NotAuthorized("the client certificate is that of another user");
    assert_eq!(refusal(&login, with("bob")).await, other);
}

#[tokio::test]
async fn an_imported_password_is_hashed_anew_at_the_first_login() {
    let store = Arc::new(MemoryStore::default());
    let file = "alice:$7$101$SAsILZEMUIMNoe+i$az9ycI21leJR/II8XDp/qDmbm6CIVx2eO7xocH2GYzo0jjq8Oj3Q4omccw8XXZM2Z9wm2JSdg9iQ+PZUKljuyg==";
    users::import(&*store, file.as_bytes()).unwrap();
    let login = login_with("", store.clone());
    assert_eq!(refusal(&login, request("alice", "guess")).await, LoginRefusal::BadCredentials);
    assert_eq!(
        users::check(&*store, "alice", "wonderland").unwrap(),
        users::Check::RightButOld(file[6..].into())
    );
    assert!(login.check(request("alice", "wonderland")).await.is_ok());
    assert_eq!(users::check(&*store, "alice", "wonderland").unwrap(), users::Check::Right);
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
fn devices_are_named_by_what_follows_the_user() {
    assert_eq!(&*device_class("bob", "bob-phone"), "phone");
    assert_eq!(&*device_class("bob", "bob/Mac Book"), "Mac Book");
    assert_eq!(&*device_class("bob", "bob"), "bob");
    assert_eq!(&*device_class("bob", "mosq-1"), "mosq-1");
    assert_eq!(&*device_class("al", "alpha"), "alpha");
}
