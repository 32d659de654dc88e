//! Who is online: authored by the hub, per user over all devices, with a grace time.

use hubbub_tests::{Hub, Person, Publish, Settings};

/// Short enough to wait for, long enough to reconnect within.
const CLEAN: &str = "200ms";
const LOST: &str = "600ms";

#[test]
fn somebody_who_arrives_is_online_at_once() {
    let hub = hub();
    let mut alice = hub.person("alice").connects();
    let bob = hub.person("bob").arrives();
    alice.watches("bob");
    let online = alice.sees_presence("bob", "online");
    assert!(online["since"].is_u64(), "{online}");
    assert_eq!(online["devices"].as_array().map(Vec::len), Some(1), "{online}");
    drop(bob);
}

#[test]
fn presence_is_retained_and_says_so_only_to_new_watchers() {
    let hub = hub();
    let mut early = hub.person("alice").connects();
    early.watches("bob");
    let _bob = hub.person("bob").arrives();
    let mut late = hub.person("carol").connects();
    assert!(!online(&mut early).1, "news for somebody who was already watching is not flagged as retained");
    late.watches("bob");
    assert!(online(&mut late).1, "what a new watcher gets is flagged as retained");
}

#[test]
fn a_goodbye_is_offline_after_the_clean_grace_and_a_vanished_link_after_the_lost_grace() {
    let hub = hub();
    let mut alice = hub.person("alice").connects();
    for user in ["bob", "carol"] {
        alice.watches(user);
    }
    hub.person("bob").arrives().leaves();
    hub.person("carol").arrives().vanishes();
    for user in ["bob", "carol"] {
        let online = alice.sees_presence(user, "online");
        let offline = alice.sees_presence(user, "offline");
        assert!(offline["since"].as_u64() >= online["since"].as_u64(), "{online} {offline}");
        assert!(offline["last_seen"].is_u64(), "when {user} was last seen: {offline}");
    }
}

#[test]
fn a_user_may_be_away_with_a_word_about_it() {
    let hub = hub();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    let mut bob = hub.person("bob").arrives();
    alice.sees_presence("bob", "online");
    let lunch = r#"{"state":"away","text":"lunch"}"#;
    assert!(bob.publish(Publish::new("p/bob/set", lunch).qos(1)).code < 0x80);
    assert_eq!(alice.sees_presence("bob", "away")["status"], "lunch");
}

#[test]
fn a_lost_link_is_given_longer_than_a_goodbye() {
    let hub = Settings::dev().set("presence.clean_grace", "100ms").set("presence.lost_grace", "1h").start();
    let mut alice = hub.person("alice").connects();
    alice.watches("+");
    let lost = hub.person("lost").arrives();
    let polite = hub.person("polite").arrives();
    alice.sees_presence("lost", "online");
    alice.sees_presence("polite", "online");
    lost.vanishes();
    polite.leaves();
    alice.sees_presence("polite", "offline");
    hub.person("polite").arrives();
    let news = alice.receives_on("p/polite");
    assert!(news.text().contains("online"), "{}", news.text());
    alice.has_nothing_about("lost");
}

#[test]
fn a_reconnect_within_the_grace_changes_nothing() {
    let hub = hub();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    alice.watches("carol");
    let bob = hub.person("bob").arrives();
    let carol = hub.person("carol").arrives();
    alice.sees_presence("bob", "online");
    alice.sees_presence("carol", "online");
    let _bob = bob.vanishes().arrives();
    carol.vanishes();
    // Carol's grace ends after the one that bob's return stopped.
    alice.sees_presence("carol", "offline");
    alice.has_nothing_about("bob");
}

#[test]
fn a_user_is_online_while_any_device_is() {
    let hub = hub();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    alice.watches("carol");
    let phone = hub.person("bob").on("phone").arrives();
    let laptop = hub.person("bob").on("laptop").arrives();
    alice.sees_presence("bob", "online");
    phone.leaves();
    hub.person("carol").arrives().leaves();
    alice.sees_presence("carol", "online");
    alice.sees_presence("carol", "offline");
    alice.has_no_such_news("bob", "offline");
    laptop.leaves();
    while !alice.receives_on("p/bob").text().contains("offline") {}
}

#[test]
fn everybody_who_was_online_at_a_crash_and_stays_away_goes_offline() {
    let mut hub = hub();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    let bob = hub.person("bob").arrives();
    alice.sees_presence("bob", "online");
    hub.kill9();
    hub.restart();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    // Whatever is retained first: it ends with offline.
    while !alice.receives_on("p/bob").text().contains("offline") {}
    drop(bob);
}

trait Watcher {
    fn has_nothing_about(&mut self, user: &str);
    fn has_no_such_news(&mut self, user: &str, state: &str);
}

impl Watcher for Person {
    fn has_nothing_about(&mut self, user: &str) {
        self.pings();
        let waiting = self.waiting_on(&format!("p/{user}"));
        assert!(waiting.is_empty(), "news about {user} that nobody expected: {waiting:?}");
    }

    fn has_no_such_news(&mut self, user: &str, state: &str) {
        self.pings();
        let waiting = self.waiting_on(&format!("p/{user}"));
        assert!(waiting.iter().all(|news| !news.contains(state)), "{user} is not {state}: {waiting:?}");
    }
}

fn online(alice: &mut Person) -> (String, bool) {
    let news = alice.receives_on("p/bob");
    assert!(news.text().contains("online"), "{}", news.text());
    (news.text(), news.retain)
}

fn hub() -> Hub {
    Settings::dev().set("presence.clean_grace", CLEAN).set("presence.lost_grace", LOST).start()
}
