//! Order is a matter of numbers, never of the clock.

use std::fs::write;

use hubbub_tests::hub::new_folder;
use hubbub_tests::{Hub, Person, Publish, Settings, message};
use serde_json::{Value, json};

/// Ordinary messages of one burst have the same time; pages go by `seq` and miss none.
#[test]
fn a_hundred_messages_in_a_moment_page_without_gap_or_repeat() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    let sent: Vec<u16> = (1..=100u16)
        .map(|n| alice.send_publish(Publish::new("dm/bob", format!("{n}")).qos(1).id(n)))
        .collect();
    sent.into_iter().for_each(|id| drop(alice.receipt(1, id)));
    let (mut seen, mut times) = (Vec::new(), Vec::new());
    let mut before = json!(null);
    loop {
        let page = page(&mut alice, 7, &before);
        let Some(first) = page.first() else { break };
        before = first["seq"].clone();
        seen.splice(0..0, page.iter().map(|message| message["body"].as_str().unwrap().to_owned()));
        times.extend(page.iter().map(|message| message["ts"].as_u64().unwrap()));
    }
    assert_eq!(seen, (1..=100).map(|n| n.to_string()).collect::<Vec<_>>());
    times.sort_unstable();
    times.dedup();
    assert!(times.len() < 100, "some of them share a millisecond");
}

/// While the hub runs, and while it does not.
#[test]
fn a_clock_that_jumps_back_reorders_nothing() {
    let folder = new_folder();
    let clock = folder.path().join("clock");
    write(&clock, "+2d").unwrap();
    let mut hub = Settings::dev().clock(&clock).start();
    let bob = hub.person("bob").keeping_the_session().arrives().leaves();
    says(&hub, 1..=3);
    write(&clock, "+1d").unwrap();
    says(&hub, 4..=6);
    hub.kill9();
    write(&clock, "-1d").unwrap();
    hub.restart();
    says(&hub, 7..=9);
    let mut bob = bob.connects();
    let times: Vec<_> = (1..=9)
        .map(|n| {
            let envelope = bob.sees(message(&n.to_string()).seq(n).with("n", n.into()));
            envelope["ts"].as_u64().unwrap()
        })
        .collect();
    assert!(times[..6].is_sorted(), "time goes forward while it runs: {times:?}");
    assert!(times[6] < times[0], "the clock did jump: {times:?}");
    let history = page(&mut bob, 50, &json!(null));
    let numbers: Vec<_> = history.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
}

fn says(hub: &Hub, numbers: std::ops::RangeInclusive<u64>) {
    let mut alice = hub.person("alice").connects();
    numbers.for_each(|n| drop(alice.says("bob", &n.to_string())));
    alice.leaves();
}

/// A page of what alice and bob said, the oldest first.
fn page(who: &mut Person, limit: usize, before: &Value) -> Vec<Value> {
    let mut asked = json!({ "cid": "alice~bob", "limit": limit });
    if !before.is_null() {
        asked["before"] = before.clone();
    }
    let inbox = who.inbox();
    let answer = inbox.replace("inbox", "reply/1");
    who.subscribe(&answer, 1);
    who.publish(Publish::new("rpc/history/1", asked.to_string()).qos(1));
    let answer: Value = serde_json::from_str(&who.receives_on(&answer).text()).unwrap();
    answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}
