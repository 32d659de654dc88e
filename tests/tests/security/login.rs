//! Passwords that are guessed, and back ends of the login that fail: T39, and what of T30 concerns them.

use std::net::TcpListener;

use hubbub_tests::client::Refused;
use hubbub_tests::tool::{eventually, succeeds};
use hubbub_tests::{App, Client, Connect, Hub, RawClient, Settings, Signer, Version, Way};

use crate::{MIB, grows};

const BAD: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const UNAVAILABLE: u8 = 0x88;
const BUSY: u8 = 0x89;

/// The code of a refusal, and everything that is said with it.
fn refusal(way: &Way, connect: Connect) -> Option<(u8, String)> {
    match Client::over(way, connect).err()? {
        Refused::Code(code, props) => Some((code, format!("{props:?}"))),
        Refused::Closed => panic!("closed without a word"),
    }
}

fn code(way: &Way, connect: Connect) -> Option<u8> {
    refusal(way, connect).map(|(code, _)| code)
}

fn guess(user: &str, client: &str, password: &str) -> Connect {
    Connect::new(Version::V5, client).user(user).password(password)
}

/// Somebody at this address, as the proxy in front of the hub says.
fn at(hub: &Hub, address: &str) -> Way {
    Way::tcp(hub.mqtt()).behind(format!("PROXY TCP4 {address} 127.0.0.1 4711 1883\r\n").as_bytes())
}

/// Guards: `Turnstile::enter` refuses beyond `login.hash_queue`, and lets `login.hash_concurrency` work (bridge login/turnstile.rs).
#[test]
fn t39_a_flood_of_logins_is_refused_early_and_costs_the_memory_of_those_at_work() {
    let settings = Settings::with_login().set("login.hash_concurrency", "1").set("login.hash_queue", "1");
    let hub = settings.start();
    hub.adds_user("alice", "correct horse");
    let mut codes = Vec::new();
    let growth = grows(&hub, || {
        let mut flood: Vec<RawClient> = (0..40).map(|_| hub.socket()).collect();
        for (number, socket) in flood.iter_mut().enumerate() {
            socket.sends(guess(&format!("name{number}"), "d", "guess").bytes());
        }
        codes = flood.iter_mut().map(|socket| socket.rest()[3]).collect();
    });
    let count = |code: u8| codes.iter().filter(|one| **one == code).count();
    assert_eq!(count(BAD) + count(BUSY), 40, "{codes:02x?}");
    assert!(count(BUSY) > 0 && count(BAD) > 0, "{codes:02x?}");
    // 40 hashes at once would take 760 MiB.
    assert!(growth < 200 * MIB, "{} MiB", growth / MIB);
    assert_eq!(code(&Way::tcp(hub.mqtt()), guess("alice", "phone", "correct horse")), None);
}

/// Guards: `Guard::ask` before and `Guard::failed` after each look at a password (bridge login/accounts.rs; that SCRAM does
/// the same its own tests show);
/// `users::check` hashes for names that do not exist, which its own tests show.
#[test]
fn t39_guessing_ends_after_a_few_times_and_tells_nothing_about_who_exists() {
    let hub = Settings::with_login().set("listen.proxy_from", "127.0.0.1").start();
    hub.adds_user("alice", "correct horse");
    let way = at(&hub, "192.0.2.1");
    let tries = |name: &str| {
        let guesses = ["one", "two", "three", "correct horse", "correct horse"];
        guesses.map(|password| refusal(&way, guess(name, "burglar", password)))
    };
    let (known, unknown) = (tries("alice"), tries("nobody"));
    assert_eq!(known, unknown, "the same words for both");
    let codes = known.map(|refused| refused.map(|(code, _)| code));
    assert_eq!(codes, [BAD, BAD, BAD, NOT_AUTHORIZED, NOT_AUTHORIZED].map(Some));
    for old in [Version::V31, Version::V311] {
        let connect = Connect::new(old, "burglar").user("alice").password("correct horse");
        assert_eq!(code(&way, connect), Some(5), "{old:?}");
    }
    // The owner, elsewhere, hears nothing of it.
    assert_eq!(code(&at(&hub, "192.0.2.2"), guess("alice", "phone", "correct horse")), None);
}

/// Guards: `Lockout` knows addresses and devices from which a user has logged in, does not lock those, and counts the same
/// guess once (bridge login/lockout.rs).
#[test]
fn t39_nobody_locks_a_user_out_of_where_they_have_been() {
    let settings = Settings::with_login().set("listen.proxy_from", "127.0.0.1");
    let settings = settings.set("login.cooldown_after", "5").set("login.lock_after", "5");
    let hub = settings.set("login.cooldown_step", "1s").start();
    hub.adds_user("alice", "correct horse");
    let (home, elsewhere) = (at(&hub, "192.0.2.1"), at(&hub, "198.51.100.1"));
    let owner = |device: &str| guess("alice", device, "correct horse");
    assert_eq!(code(&home, owner("phone")), None);
    for way in [&home, &elsewhere] {
        for number in 0..20 {
            let refused = code(way, guess("alice", "burglar", &format!("guess {number}")));
            assert!(matches!(refused, Some(BAD | NOT_AUTHORIZED)), "{number}: {refused:02x?}");
        }
    }
    assert_eq!(code(&home, owner("phone")), None, "at home, with others guessing there");
    assert_eq!(code(&elsewhere, owner("phone")), Some(NOT_AUTHORIZED), "where nobody knows them");
    eventually("another device comes in at home after a pause", || code(&home, owner("tablet")).is_none());
    assert_eq!(code(&elsewhere, owner("phone")), Some(NOT_AUTHORIZED), "which no pause opens");
    succeeds(&mut hub.command(&["user", "unlock", "alice"]));
    assert_eq!(code(&elsewhere, owner("phone")), None);
    // A device that was left with an old password, and tries again and again.
    let cafe = at(&hub, "203.0.113.1");
    (0..20).for_each(|_| assert_eq!(code(&cafe, guess("alice", "tablet", "the old one")), Some(BAD)));
    assert_eq!(code(&cafe, owner("phone")), None);
}

/// Guards: a method whose back end fails says `Verdict::Refuse`, and `Login::ask` asks nobody after that (bridge login/mod.rs); the
/// hook takes nothing but an answer that makes sense (login/hook), tokens need keys that were fetched (login/token/remote.rs).
#[test]
fn t30_a_back_end_that_is_down_lets_nobody_in_and_leaves_nobody_to_the_next_method() {
    let app = App::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let hook = |url: &str| {
        Settings::with_login()
            .set("login.hook", url)
            .set("login.hook_secret", App::SECRET)
            .set("login.hook_timeout", "1s")
            .set("login.order", "hook,users")
    };
    for (url, status, body) in [
        (gone.clone(), 0, ""),
        (app.url("/silent"), 0, ""),
        (app.url("/1"), 503, r#"{"allow":true}"#),
        (app.url("/2"), 200, "<html>welcome</html>"),
        (app.url("/3"), 200, r#"{"allow":1}"#),
    ] {
        if status > 0 {
            app.answers(&url[url.rfind('/').unwrap()..], status, body);
        }
        let hub = hook(&url).start();
        hub.adds_user("alice", "correct horse");
        for password in ["correct horse", "guess"] {
            let refused = code(&Way::tcp(hub.mqtt()), guess("alice", "phone", password));
            assert_eq!(refused, Some(UNAVAILABLE), "{url} {body}");
        }
        let old = Connect::new(Version::V311, "d").user("alice").password("correct horse");
        assert_eq!(code(&Way::tcp(hub.mqtt()), old), Some(3), "{url}");
    }
    let token = Signer::es256().lets_in("alice");
    let hub = Settings::with_login().set("login.token_jwks", gone).start();
    hub.adds_user("alice", &token);
    eventually("it is tried", || {
        assert_eq!(code(&Way::tcp(hub.mqtt()), guess("alice", "phone", &token)), Some(UNAVAILABLE));
        hub.log().contains("keys of tokens cannot be fetched")
    });
    assert_eq!(hub.get("/healthz").status(), 200);
}
