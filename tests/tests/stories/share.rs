//! Shared subscriptions.

use hubbub_tests::tool::eventually;
use hubbub_tests::{Hub, Person, Publish, Settings};

#[test]
fn a_group_shares_the_work_and_each_message_goes_to_one_member() {
    let hub = Hub::start();
    let mut members: Vec<Person> = ["one", "two", "three"].map(|name| member(&hub, name)).into();
    let mut alice = hub.person("alice").connects();
    for number in 0..300 {
        alice.publish(Publish::new("jobs/1", number.to_string()).qos(1));
    }
    let mut shares = [vec![], vec![], vec![]];
    eventually("300 messages are delivered", || {
        for (member, share) in members.iter_mut().zip(&mut shares) {
            share.extend(member.receives_if_any().map(|message| message.text()));
        }
        shares.iter().map(Vec::len).sum::<usize>() >= 300
    });
    let mut all: Vec<usize> = shares.iter().flatten().map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>(), "each message once");
    let counts = shares.map(|share| share.len());
    assert!(counts.iter().all(|count| *count >= 30), "every member has a fair part of 300: {counts:?}");
}

#[test]
fn two_groups_and_a_plain_subscriber_each_get_everything() {
    let hub = Hub::start();
    let mut plain = hub.person("plain").connects();
    plain.subscribe("jobs/#", 1);
    let mut red = hub.person("red").connects();
    red.subscribe("$share/red/jobs/+", 1);
    let mut blue = hub.person("blue").connects();
    blue.subscribe("$share/blue/jobs/+", 1);
    hub.person("alice").connects().publish(Publish::new("jobs/1", "x").qos(1));
    for somebody in [&mut plain, &mut red, &mut blue] {
        assert_eq!(somebody.receives().text(), "x");
        somebody.has_nothing_more();
    }
}

#[test]
fn the_last_member_vanishing_with_a_message_in_flight_leaves_everything_running() {
    let hub = Hub::start();
    for round in 0..3 {
        let mut last = hub.person("last").on(&format!("last{round}")).keeping_the_session().connects();
        last.subscribe("$share/group/jobs/+", 1);
        let mut alice = hub.person("alice").connects();
        alice.publish(Publish::new("jobs/1", "in flight").qos(1));
        last.receives_without_ack();
        let device = last.vanishes();
        alice.publish(Publish::new("jobs/1", "nobody there").qos(1));
        hub.is_healthy();
        let mut last = device.connects();
        last.subscribe("$share/group/jobs/+", 1);
        let mut texts = [last.receives().text(), last.receives().text()];
        texts.sort();
        assert_eq!(texts, ["in flight", "nobody there"]);
        last.unsubscribe("$share/group/jobs/+");
        last.leaves();
    }
    hub.is_healthy();
}

#[test]
fn the_last_clean_member_vanishing_leaves_everything_running() {
    let hub = Hub::start();
    for _ in 0..3 {
        let mut last = member(&hub, "last");
        let mut alice = hub.person("alice").connects();
        alice.publish(Publish::new("jobs/1", "in flight").qos(1));
        last.receives_without_ack();
        last.vanishes();
        alice.publish(Publish::new("jobs/1", "nobody there").qos(1));
        hub.is_healthy();
    }
}

#[test]
fn retained_messages_are_not_for_groups() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    alice.publish(Publish::new("jobs/1", "old").qos(1).retained());
    let mut one = member(&hub, "one");
    alice.publish(Publish::new("jobs/1", "new").qos(1));
    assert_eq!(one.receives().text(), "new");
}

#[test]
fn a_kept_member_gets_what_another_one_had_not_acknowledged_when_the_hub_died() {
    let mut hub = Hub::start();
    let mut kept = hub.person("kept").keeping_the_session().connects();
    kept.subscribe("$share/group/jobs/+", 1);
    let kept = kept.leaves();
    let mut passing = member(&hub, "passing");
    let mut alice = hub.person("alice").connects();
    for job in ["done", "in hand", "waiting"] {
        alice.publish(Publish::new("jobs/1", job).qos(1));
    }
    assert_eq!(passing.receives().text(), "done");
    // Answered when the hub has stored it, and with it what came before.
    passing.publish(Publish::new("sync", "x").qos(1).retained());
    let jobs = [(); 2].map(|()| passing.receives_without_ack().text());
    assert_eq!(jobs, ["in hand", "waiting"]);
    hub.kill9();
    hub.restart();
    let mut kept = kept.connects();
    let jobs = [(); 2].map(|()| kept.receives().text());
    assert_eq!(jobs, ["in hand", "waiting"], "and not the one that was acknowledged");
    kept.publish(Publish::new("sync", "x").qos(1).retained());
    hub.kill9();
    hub.restart();
    hub.person("alice").connects().publish(Publish::new("jobs/1", "next").qos(1));
    assert_eq!(kept.vanishes().connects().receives().text(), "next", "each was given once");
}

#[test]
fn what_a_kept_member_was_given_is_its_own_after_the_hub_died() {
    let mut hub = Settings::dev().set("server.edges", "1").start();
    let mut passing = hub.person("passing").connects();
    passing.subscribe("$share/group/jobs/+", 2);
    let mut kept = hub.person("kept").keeping_the_session().connects();
    kept.subscribe("$share/group/jobs/+", 2);
    let mut alice = hub.person("alice").connects();
    let mut given = Vec::new();
    for job in 0..12 {
        alice.publish(Publish::new("jobs/1", job.to_string()).qos(2));
        passing.pings();
        if passing.takes_waiting().is_empty() {
            given.push(kept.receives_without_ack().text());
        }
    }
    assert_eq!(given.len(), 6, "both have their part: {given:?}");
    hub.kill9();
    hub.restart();
    let mut kept = kept.vanishes().connects();
    let again: Vec<String> = given.iter().map(|_| kept.receives().text()).collect();
    assert_eq!(again, given);
    kept.has_nothing_more();
}

#[test]
fn a_kept_member_whose_time_is_over_leaves_its_queue_to_the_others() {
    let mut hub = Hub::start();
    let mut first = hub.person("first").keeping_the_session().connects();
    first.subscribe("$share/group/jobs/+", 2);
    let first = first.leaves();
    let mut alice = hub.person("alice").connects();
    for (qos, job) in [(1, "at least once"), (2, "exactly once")] {
        alice.publish(Publish::new("jobs/1", job).qos(qos));
    }
    let mut second = hub.person("second").keeping_the_session().connects();
    second.subscribe("$share/group/jobs/+", 2);
    second.has_nothing_more();
    let second = second.leaves();
    // A clean start is the end of the session that was there.
    first.clone().starting_anew().connects().leaves();
    let mut second = second.connects();
    assert_eq!([second.receives().text(), second.receives().text()], ["at least once", "exactly once"]);
    let second = second.leaves();
    // What may have been on its way at QoS 2 before the hub died is nobody else's.
    for (qos, job) in [(1, "at least once"), (2, "exactly once")] {
        alice.publish(Publish::new("jobs/1", job).qos(qos));
    }
    hub.kill9();
    hub.restart();
    let mut third = member(&hub, "third");
    second.starting_anew().connects().leaves();
    assert_eq!(third.receives().text(), "at least once");
    third.publish(Publish::new("jobs/1", "next").qos(1));
    assert_eq!(third.receives().text(), "next");
}

#[test]
fn what_the_hub_itself_has_to_say_reaches_one_member() {
    let hub = Hub::start();
    let mut members = ["one", "two"].map(|name| hub.person(name).on(&format!("{name}-watch")).connects());
    for member in &mut members {
        member.subscribe("$share/group/p/alice", 1);
    }
    let _alice = hub.person("alice").connects();
    let mut seen = Vec::new();
    eventually("somebody hears of alice", || {
        seen.extend(members.iter_mut().filter_map(|member| member.receives_if_any()));
        !seen.is_empty()
    });
    members.iter_mut().for_each(|member| member.has_nothing_more());
    assert_eq!((seen.len(), &*seen[0].topic), (1, "p/alice"));
}

fn member(hub: &Hub, name: &str) -> Person {
    let mut member = hub.person(name).connects();
    member.subscribe("$share/group/jobs/+", 1);
    member
}
