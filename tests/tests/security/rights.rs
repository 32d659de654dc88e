//! Who may say and hear what, on every path: T8, T10 to T14.

use std::collections::BTreeSet;

use hubbub_tests::client::Refused;
use hubbub_tests::tool::{eventually, succeeds};
use hubbub_tests::wire::{VERSIONS, Value, ack, puback};
use hubbub_tests::{Client, Connect, Hub, Publish, Settings, Version, message};

use crate::bytes::Random;

const NOT_AUTHORIZED: u8 = 0x87;

/// Guards: `House::publish` (bridge/policy.rs); `Trie::for_each_match` keeps wildcards off `$` (trie.rs), and behind it
/// `House::receive` does.
#[test]
fn t08_topics_of_the_server_are_written_and_matched_by_nobody() {
    // With rules of its own even --dev keeps what the server says of itself for admins.
    let settings = quiet().set("server.edges", "1").set("store.engine", "memory");
    let hub = settings.rules("topic readwrite #").start();
    let mut wide: Vec<Client> =
        VERSIONS.iter().map(|version| hub.client(Connect::new(*version, format!("w{version:?}")))).collect();
    for client in &mut wide {
        ["#", "+/#", "+/canary/#", "+/+/+", "$share/g/#", "/#"]
            .iter()
            .for_each(|filter| client.subscribe(filter, 0));
        for filter in ["$SYS/#", "$SYS/canary/probe", "$canary/#", "$share/g/$SYS/#", "$/#"] {
            assert!(client.try_subscribe(filter, 0) >= 0x80 || client.version() == Version::V31, "{filter}");
        }
    }
    for topic in ["$SYS/x", "$SYS", "$SYS/canary/probe", "$share/g/t", "$share", "$", "$x/y"] {
        for qos in [1, 2] {
            let mut mallory = hub.client(Connect::new(Version::V5, "mallory"));
            let receipt = mallory.publish(Publish::new(topic, "forged").qos(qos).retained());
            assert_eq!(receipt.code, NOT_AUTHORIZED, "{topic} at QoS {qos}");
            let will = Connect::new(Version::V5, "w").will(Publish::new(topic, "forged").qos(qos));
            assert!(
                matches!(Client::connect(hub.mqtt(), will), Err(Refused::Code(NOT_AUTHORIZED, _))),
                "{topic}"
            );
        }
    }
    // A message of the server's own, live and retained.
    assert_eq!(hub.get("/healthz").status(), 200);
    let mut late = hub.client(Connect::new(Version::V5, "late"));
    late.subscribe("#", 0);
    late.has_nothing_more();
    for client in &mut wide {
        client.pings();
        client.has_nothing_more();
    }
}

/// Guards: `Edge::admit` asks for the will (edge/lifecycle.rs), and `Edge::fire_will` asks again.
#[test]
fn t10_a_will_needs_the_right_at_connect_and_again_when_it_fires() {
    let rules = "user alice\ntopic write news/#\nuser bob\ntopic read #\n";
    let hub = quiet().rules(rules).set("store.engine", "memory").start();
    let refused_topics = ["new", "diary/bob", "u/bob/inbox", "p/bob", "$SYS/x", "c/x/send"];
    for version in VERSIONS {
        let alice = |topic: &str| Connect::new(version, "a").user("alice").will(Publish::new(topic, "gone"));
        for topic in refused_topics {
            let refused = Client::connect(hub.mqtt(), alice(topic)).err();
            let code = if version == Version::V5 { NOT_AUTHORIZED } else { 5 };
            assert!(matches!(refused, Some(Refused::Code(said, _)) if said == code), "{topic}: {refused:?}");
        }
        let mut bob = hub.client(Connect::new(Version::V5, "b").user("bob"));
        bob.subscribe("#", 0);
        hub.client(alice("news/today")).vanishes();
        assert_eq!(bob.receives().topic, "news/today", "{version:?}");
    }
    // A direct message to somebody who is no user any more when the will fires.
    let hub = Settings::with_login().start();
    ["alice", "bob"].iter().for_each(|name| hub.adds_user(name, "correct horse"));
    let will = Publish::new("dm/bob", "from the grave").qos(1);
    let alice = hub.person("alice").with_password("correct horse").with_will(will);
    let first = alice.clone().connects();
    succeeds(&mut hub.command(&["user", "remove", "bob"]));
    let denied = hub.counter("publishes_denied_total");
    first.vanishes();
    eventually("the will is denied", || hub.counter("publishes_denied_total") == denied + 1);
    hub.adds_user("bob", "correct horse");
    alice.connects().vanishes();
    let mut bob = hub.person("bob").with_password("correct horse").arrives();
    bob.sees(message("from the grave").seq(1));
}

/// Guards: `Edge::retained_for` asks `Policy::receive` (edge/subscribe.rs); `Edge::publish` decides before anything is retained
/// (edge/publish.rs).
#[test]
fn t11_what_is_retained_is_read_and_left_behind_only_by_those_who_may() {
    let before = "user alice\ntopic write #\nuser bob\ntopic read news/#\ntopic deny news/secret/#\nuser eve\ntopic read #\n";
    let mut hub = quiet().rules(before).start();
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
    for topic in ["news/today", "news/secret/today", "diary/alice"] {
        alice.publish(Publish::new(topic, "kept").qos(1).retained());
    }
    // Eve may leave nothing behind, and take nothing away.
    let mut eve = hub.client(Connect::new(Version::V5, "e").user("eve"));
    for (topic, payload) in [("news/forged", "forged"), ("news/today", "forged"), ("news/today", "")] {
        let receipt = eve.publish(Publish::new(topic, payload).qos(1).retained());
        assert_eq!(receipt.code, NOT_AUTHORIZED, "{topic} {payload:?}");
    }
    let reads = |hub: &Hub, user: &str| {
        let mut seen = BTreeSet::new();
        let mut client = hub.client(Connect::new(Version::V5, format!("{user}-reads")).user(user));
        for filter in ["#", "+/+", "news/#", "news/secret/today", "diary/#", "+/secret/+"] {
            client.try_subscribe(filter, 0);
        }
        client.pings();
        while let Some(message) = client.receives_if_any() {
            assert_eq!(message.text(), "kept", "{}", message.topic);
            seen.insert(message.topic);
        }
        seen.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(reads(&hub, "bob"), ["news/today"]);
    assert_eq!(reads(&hub, "eve"), ["diary/alice", "news/secret/today", "news/today"]);
    assert_eq!(reads(&hub, "alice"), [""; 0]);
    hub.stop();
    hub.restart_with_rules("user bob\ntopic read diary/#\n");
    assert_eq!(reads(&hub, "bob"), ["diary/alice"]);
    assert_eq!(reads(&hub, "eve"), [""; 0]);
}

/// Rights that changed while the hub was stopped.
///
/// Guards: `Edge::resume` looks at the subscriptions again (edge/lifecycle.rs), and `Edge::for_owner` at each message of a queue,
/// those that were in flight included (edge/spine_in.rs).
#[test]
fn t12_what_was_queued_or_in_flight_is_not_replayed_after_the_right_is_gone() {
    let before = "user alice\ntopic write #\nuser bob\ntopic read #\n";
    let mut hub = quiet().rules(before).start();
    let mut bobs = VERSIONS.map(|version| {
        let bob = hub.person("bob").on(&format!("phone{version:?}")).speaking(version).keeping_the_session();
        let mut bob = bob.connects();
        bob.subscribe("#", 2);
        bob.subscribe("diary/+", 1);
        bob.subscribe("diary/4", 0);
        bob
    });
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
    for topic in ["diary/1", "news/1"] {
        alice.publish(Publish::new(topic, "in flight").qos(1));
        bobs.iter_mut().for_each(|bob| assert_eq!(bob.receives_without_ack().topic, topic));
    }
    let away = bobs.map(|bob| bob.vanishes());
    for topic in ["diary/2", "news/2"] {
        alice.publish(Publish::new(topic, "queued").qos(1));
    }
    hub.stop();
    hub.restart_with_rules("user alice\ntopic write #\nuser bob\ntopic read news/#\n");
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
    let mut bobs = away.map(|phone| phone.connects());
    for bob in &mut bobs {
        assert_eq!([bob.receives().topic, bob.receives().topic], ["news/1", "news/2"]);
    }
    // The subscriptions that are not allowed any more have ended, and the wide one is as narrow as the rules.
    alice.publish(Publish::new("diary/4", "live"));
    for topic in ["diary/3", "news/3"] {
        alice.publish(Publish::new(topic, "live").qos(1));
    }
    for mut bob in bobs {
        assert_eq!(bob.receives().topic, "news/3");
        bob.has_nothing_more();
        assert_eq!(bob.try_subscribe("diary/+", 1) >= 0x80, bob.version() != Version::V31);
    }
}

/// Rights that change while the hub runs and people are away, with messages in flight that the hub still has in memory.
///
/// Guards: `Session::resume` withholds what would be sent again (session/withhold.rs); `Edge::for_owner` (edge/spine_in.rs).
#[test]
fn t12_what_was_in_flight_when_the_right_went_is_not_sent_again() {
    let rules = "user alice\ntopic write #\nuser bob\ntopic read ";
    let mut hub = quiet().rules(&format!("{rules}#")).start();
    let mut bobs = VERSIONS.map(|version| {
        let bob = hub.person("bob").on(&format!("phone{version:?}")).speaking(version).keeping_the_session();
        let mut bob = bob.connects();
        bob.subscribe("#", 2);
        bob
    });
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
    let mut ids = [0; 3];
    for (topic, qos) in [("diary/1", 1), ("news/1", 1), ("diary/2", 2), ("news/2", 2)] {
        alice.publish(Publish::new(topic, "in flight").qos(qos));
        for (bob, id) in bobs.iter_mut().zip(&mut ids) {
            let message = bob.receives_without_ack();
            assert_eq!(message.topic, topic);
            *id = if topic == "diary/2" { message.id } else { *id };
        }
    }
    let away = bobs.map(|bob| bob.vanishes());
    for topic in ["diary/3", "news/3"] {
        alice.publish(Publish::new(topic, "queued").qos(1));
    }
    hub.reloads_rules(&format!("{rules}news/#"));
    for (phone, diary) in away.into_iter().zip(ids) {
        let mut bob = phone.connects();
        let again = [bob.receives_without_ack(), bob.receives_without_ack()];
        assert_eq!([&*again[0].topic, &*again[1].topic], ["news/1", "news/2"]);
        // Whether its PUBLISH arrived or not, the identifier comes free on both sides.
        bob.is_released(diary);
        bob.send(&puback(ack::PUBCOMP, diary));
        again.iter().for_each(|message| bob.acknowledges(message));
        assert_eq!(bob.receives().topic, "news/3");
        bob.has_nothing_more();
    }
    eventually("nothing waits any more", || hub.counter("queue_messages") == 0);
}

/// Rights that change while people are connected: what waits for a window of one, live, stored and retained, and subscriptions.
///
/// Guards: `Edge::catch_up_with_rights` in `Edge::with_session`, `Session::withhold` for what waits and what is buffered
/// (edge/revoke.rs, session/withhold.rs), `Edge::wants` and `Edge::deliver_retained` (edge/publish.rs).
#[test]
fn t12_what_waits_for_somebody_who_is_connected_goes_with_the_right() {
    let rules = "user alice\ntopic write #\nuser bob\ntopic read ";
    // On one edge nobody hears late, and live, of what is retained already.
    let settings = quiet().set("store.engine", "memory").set("server.edges", "1");
    let mut hub = settings.rules(&format!("{rules}#")).start();
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
    let one_at_a_time = |connect: Connect| {
        let props = connect.props.clone().with(0x21, Value::Short(1));
        hub.client(Connect { props, ..connect.user("bob") })
    };
    let mut live = one_at_a_time(Connect::new(Version::V5, "live"));
    let mut stored = one_at_a_time(Connect::new(Version::V5, "stored").persistent());
    [&mut live, &mut stored].into_iter().for_each(|client| client.subscribe("+/+", 1));
    for number in 1..=4 {
        for topic in [format!("news/{number}"), format!("diary/{number}")] {
            alice.publish(Publish::new(topic, "waits").qos(1).retained());
        }
    }
    let firsts = [live.receives_without_ack(), stored.receives_without_ack()];
    let mut late = one_at_a_time(Connect::new(Version::V5, "late"));
    late.subscribe("#", 1);
    let retained = late.receives_without_ack();
    let mut narrow = hub.client(Connect::new(Version::V311, "narrow").user("bob"));
    narrow.subscribe("diary/1", 0);
    assert_eq!(narrow.receives().text(), "waits");

    hub.reloads_rules(&format!("{rules}news/#"));
    alice.publish(Publish::new("diary/1", "too late"));
    alice.publish(Publish::new("news/5", "last").qos(1));
    for (client, first) in [&mut live, &mut stored].into_iter().zip(&firsts) {
        client.acknowledges(first);
        for number in 2..=5 {
            assert_eq!(client.receives().topic, format!("news/{number}"));
        }
    }
    late.acknowledges(&retained);
    // One was there before. The last may wait behind what is retained, or come in between.
    let mut topics = BTreeSet::from([retained.topic]);
    while topics.iter().filter(|topic| topic.starts_with("news/")).count() < 5 {
        let topic = late.receives().topic;
        assert!(topic.starts_with("news/"), "{topic}");
        topics.insert(topic);
    }
    [live, stored, late, narrow].iter_mut().for_each(Client::has_nothing_more);
}

/// A user who is gone hears nothing more and says nothing more, with what was on its way in both directions.
///
/// Guards: `Edge::dismiss`, which ends the sessions as well, and takes the wills away (edge/revoke.rs).
#[test]
fn t12_a_user_who_is_removed_has_no_rights_from_that_moment() {
    let hub = Settings::with_login().set("server.edges", "2").rules("topic readwrite #").start();
    ["alice", "bob"].iter().for_each(|name| hub.adds_user(name, "correct horse"));
    let person = |name: &str, device: &str| hub.person(name).on(device).with_password("correct horse");
    let mut alice = person("alice", "alice").connects();
    ["news/#", "diary/#"].iter().for_each(|filter| alice.subscribe(filter, 1));
    let mut bobs = ["one", "two", "three", "four"].map(|device| {
        let bob = person("bob", device).keeping_the_session();
        let mut bob = bob.with_will(Publish::new("diary/will", "from the grave")).connects();
        bob.subscribe("news/#", 1);
        bob
    });
    alice.publish(Publish::new("news/1", "in flight").qos(1));
    bobs.iter_mut().for_each(|bob| drop(bob.receives_without_ack()));
    assert_eq!(alice.receives().topic, "news/1");
    succeeds(&mut hub.command(&["user", "remove", "bob"]));
    for mut bob in bobs {
        bob.send(&Publish::new("diary/1", "too late").bytes(Version::V5));
        assert_eq!(bob.is_closed().map(|(code, _)| code), Some(NOT_AUTHORIZED));
    }
    alice.publish(Publish::new("news/2", "last").qos(1));
    assert_eq!(alice.receives().topic, "news/2");
    alice.has_nothing_more();
    hub.adds_user("bob", "correct horse");
    let mut bob = person("bob", "one").keeping_the_session().connects();
    assert!(!bob.session_present);
    bob.has_nothing_more();
}

/// Sixty users whose rules and subscriptions are chance; retained, live at both kinds of quality, and queued: what each of them
/// gets is what a subscription matches and a rule allows, no more and no less.
///
/// Guards: `Edge::wants` and `deliver_fleeting` (edge/publish.rs), `Edge::retained_for` (edge/subscribe.rs), `Edge::for_owner`
/// (edge/spine_in.rs).
#[test]
fn t13_what_is_delivered_is_what_is_both_subscribed_and_allowed() {
    let mut random = Random(13);
    let users: Vec<User> = (0..60).map(|number| User::of_chance(number, &mut random)).collect();
    let topics: BTreeSet<String> = (0..60).map(|_| filter_of_chance(&mut random, false)).collect();
    let rules: String = users.iter().map(User::rules).collect();
    let hub = quiet().rules(&format!("user alice\ntopic write #\n{rules}")).start();
    let mut alice = hub.client(Connect::new(Version::V5, "alice").user("alice"));
    let mut says = |text: &str, qos: u8, retain: bool| {
        for topic in &topics {
            alice.publish(Publish { retain, ..Publish::new(topic, text).qos(qos) });
        }
    };
    says("retained", 1, true);
    let arrives = |user: &User, qos: u8| {
        let mut person = hub.person(&user.name).on(&user.name).keeping_the_session().connects();
        for filter in &user.wanted {
            person.try_subscribe(filter, qos);
        }
        person
    };
    let with_qos = users.iter().zip([0, 1, 1].into_iter().cycle());
    let mut there: Vec<_> = with_qos.map(|(user, qos)| (user, qos, arrives(user, qos))).collect();
    says("passing", 0, false);
    says("live", 1, false);
    for (user, _, person) in &mut there {
        let allowed = user.gets(&topics);
        let mut heard = ["retained", "passing", "live"].map(|text| (text, BTreeSet::new()));
        while heard.iter().any(|(_, topics)| topics.len() < allowed.len()) {
            let message = person.receives();
            let kind = heard.iter_mut().find(|(text, _)| *text == message.text()).expect("a known text");
            kind.1.insert(message.topic);
        }
        for (text, topics) in heard {
            assert_eq!(topics, allowed, "{text} for {} with {:?}", user.name, user.rules());
        }
        person.pings();
        while let Some(message) = person.receives_if_any() {
            // Once more, for another of the subscriptions.
            assert!(message.text() == "retained" && allowed.contains(&message.topic), "{message:?}");
        }
    }
    let away: Vec<_> = there.into_iter().map(|(user, qos, person)| (user, qos, person.leaves())).collect();
    says("queued", 1, false);
    for (user, qos, phone) in away {
        let (mut person, mut allowed) = (phone.connects(), user.gets(&topics));
        if qos == 0 {
            allowed.clear();
        }
        let heard: BTreeSet<String> = allowed.iter().map(|_| person.receives().topic).collect();
        assert_eq!(heard, allowed, "{} with {:?}", user.name, user.rules());
        person.has_nothing_more();
    }
}

/// Guards: `House::subscribe` decides on the filter behind the group (bridge/policy.rs), `Edge::wants` on each message.
#[test]
fn t14_a_share_group_is_no_way_round_the_rules() {
    let rules = "user alice\ntopic write #\nuser bob\ntopic read news/#\ntopic deny news/secret/#\n";
    let hub = quiet().rules(rules).set("store.engine", "memory").start();
    let filters = [
        "news/today",
        "news/#",
        "news/secret/today",
        "news/secret/#",
        "diary/alice",
        "diary/#",
        "#",
        "+/secret/+",
        "u/bob/x",
        "u/alice/inbox",
        "u/alice/#",
        "p/alice",
        "dm/bob",
        "dm/#",
        "rpc/#",
        "c/x/msg",
        "$SYS/#",
        "owntracks/alice/phone",
    ];
    for version in [Version::V311, Version::V5] {
        let mut bob = hub.client(Connect::new(version, format!("b{version:?}")).user("bob"));
        for filter in filters {
            let plain = bob.try_subscribe(filter, 1);
            let shared = bob.try_subscribe(&format!("$share/g/{filter}"), 1);
            assert_eq!(plain, shared, "{filter} and the same in a group");
            let is_closed = ["news/secret/today", "diary/alice", "u/alice/inbox", "$SYS/#"].contains(&filter);
            assert!(shared >= 0x80 || !is_closed, "{filter} was granted to a group");
            bob.unsubscribes_from_all(&[filter, &format!("$share/g/{filter}")]);
        }
        for group in ["$share/g/#", "$share/h/+/+/today", "$share/i/+/#"] {
            assert_eq!(bob.try_subscribe(group, 1), 1, "{group}");
        }
        let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice"));
        for topic in ["news/secret/today", "diary/alice/today", "news/world/today"] {
            alice.publish(Publish::new(topic, topic).qos(1));
        }
        let heard = [bob.receives().topic, bob.receives().topic, bob.receives().topic];
        assert_eq!(heard, ["news/world/today"; 3], "{version:?}");
        bob.has_nothing_more();
        bob.leaves();
    }
}

/// Without presence, of which everybody may read who is there.
pub fn quiet() -> Settings {
    Settings::dev().set("presence.enabled", "false")
}

/// Somebody with rules and subscriptions made of chance.
pub struct User {
    pub name: String,
    pub read: Vec<String>,
    pub write: Vec<String>,
    deny: Vec<String>,
    wanted: Vec<String>,
}

/// A topic of one to three levels, or a filter.
pub fn filter_of_chance(random: &mut Random, wild: bool) -> String {
    let words = ["x", "y", "z", "+"];
    let count = 1 + random.below(3);
    let levels: Vec<&str> = (0..count).map(|_| words[random.below(3 + usize::from(wild))]).collect();
    let end = if wild && random.below(3) == 0 { "/#" } else { "" };
    format!("{}{end}", levels.join("/"))
}

impl User {
    pub fn of_chance(number: usize, random: &mut Random) -> User {
        let mut filters = |count: usize| (0..count).map(|_| filter_of_chance(random, true)).collect();
        let name = format!("user{number}");
        User { name, read: filters(3), write: vec![], deny: filters(number % 3), wanted: filters(3) }
    }

    pub fn rules(&self) -> String {
        let lines = |word: &'static str, filters: &[String]| -> String {
            filters.iter().map(|filter| format!("topic {word} {filter}\n")).collect()
        };
        let (read, write, deny) = (&self.read, &self.write, &self.deny);
        let lines = lines("read", read) + &lines("write", write) + &lines("deny", deny);
        format!("user {}\n{lines}", self.name)
    }

    pub fn reads(&self, topic: &str) -> bool {
        is_any(&self.read, topic) && !is_any(&self.deny, topic)
    }

    pub fn writes_will(&self) -> bool {
        let topic = format!("will/{}", self.name);
        is_any(&self.write, &topic) && !is_any(&self.deny, &topic)
    }

    fn gets(&self, topics: &BTreeSet<String>) -> BTreeSet<String> {
        let gets = |topic: &&String| self.reads(topic) && is_any(&self.wanted, topic);
        topics.iter().filter(gets).cloned().collect()
    }
}

fn is_any(filters: &[String], topic: &str) -> bool {
    filters.iter().any(|filter| is_match(filter, topic))
}

/// §4.7 of MQTT 5, level by level.
pub fn is_match(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let fits = |at: usize| filter[at] == "+" || topic.get(at) == Some(&filter[at]);
    match filter.last() {
        Some(&"#") => {
            topic.len() + 1 >= filter.len() && (0..filter.len() - 1).all(|at| at < topic.len() && fits(at))
        }
        _ => filter.len() == topic.len() && (0..filter.len()).all(fits),
    }
}
