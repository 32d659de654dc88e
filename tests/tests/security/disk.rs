//! What a crash or a damaged folder leaves: T27, T28, T29. Each shows the heart of its row; the long forms are the stories
//! of reconnects and folders, the crash suite and the faults of the store.

use std::process::Command;

use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::{run, succeeds};
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Connect, Hub, Publish, Settings, Version};

/// Guards: `Edge::restore` puts the subscriptions of restored sessions into the routes (edge/lifecycle.rs), and
/// `all_restored` lets nobody in before every edge has done so (edge/run.rs).
#[test]
fn t27_a_restored_session_gets_what_is_published_before_its_client_returns() {
    let mut hub = Settings::dev().set("server.edges", "2").start();
    for version in VERSIONS {
        let away = hub.person("bob").on(&format!("{version:?}")).speaking(version).keeping_the_session();
        let mut bob = away.connects();
        bob.subscribe("room/+", 1);
        bob.subscribe("$share/g/work/+", 1);
        let away = bob.leaves();
        hub.kill9();
        hub.restart();
        let mut alice = hub.person("alice").connects();
        alice.publish(Publish::new("room/1", "in between").qos(1));
        alice.publish(Publish::new("work/1", "for the group").qos(1));
        alice.leaves();
        // And not only in memory.
        hub.kill9();
        hub.restart();
        let mut bob = away.connects();
        assert_eq!(bob.receives_on("room/1").text(), "in between", "{version:?}");
        assert_eq!(bob.receives_on("work/1").text(), "for the group", "{version:?}");
        bob.unsubscribe("room/+");
        bob.unsubscribe("$share/g/work/+");
        bob.leaves();
    }
}

/// Guards: the bridge answers after the commit (`Transaction`, bridge/src/transaction.rs), which syncs to the disk; an edge
/// acknowledges what somebody is owed when the bridge says so (edge/spine_in.rs).
#[test]
fn t28_what_was_acknowledged_is_there_after_a_crash() {
    let mut hub = Hub::start();
    let mut bob = hub.person("bob").keeping_the_session().connects();
    bob.subscribe("room/1", 1);
    let inbox = bob.inbox();
    bob.subscribe(&inbox, 1);
    let mut away = bob.leaves();
    for round in 0..5 {
        let mut alice = hub.person("alice").connects();
        let mut acknowledged = Vec::new();
        for number in 0..20 {
            let text = format!("{round}-{number}");
            let qos = 1 + number % 2;
            assert_eq!(alice.publish(Publish::new("room/1", text.clone()).qos(qos)).code, 0);
            alice.says("bob", &text);
            alice.publish(Publish::new("state", text.clone()).qos(1).retained());
            acknowledged.push(text);
        }
        // With publishes on their way.
        for _ in 0..10 {
            alice.send_publish(Publish::new("room/1", "never mind").qos(1));
        }
        hub.kill9();
        hub.restart();
        let mut bob = away.connects();
        let mut rest: Vec<String> = Vec::new();
        for text in &acknowledged {
            assert_eq!(&bob.receives_on("room/1").text(), text);
            assert_eq!(bob.takes_envelope()["body"], **text);
        }
        while let Some(message) = bob.receives_if_any() {
            rest.push(message.text());
        }
        assert!(rest.iter().all(|text| text == "never mind"), "{rest:?}");
        let mut witness = hub.client(Connect::new(Version::V5, "witness"));
        witness.subscribe("state", 0);
        assert_eq!(&witness.receives().text(), acknowledged.last().unwrap());
        witness.leaves();
        away = bob.leaves();
    }
}

/// Guards: the number of commits that `counted.rs` keeps beside the data, the marker of format and engine (bridge/src/store),
/// and no `unwrap` on what the disk says.
#[test]
fn t29_a_damaged_or_foreign_folder_is_refused_with_a_sentence_and_left_alone() {
    let folder = new_folder();
    let data = folder.path().join("data");
    let mut hub = Settings::dev().set("store.path", data.to_str().unwrap()).start();
    let mut alice = hub.person("alice").connects();
    (0..100).for_each(|number| drop(alice.says("bob", &format!("message {number}"))));
    hub.kill9();
    std::fs::remove_file(data.join("admin.token")).unwrap();
    let whole = std::fs::read(data.join("fjall/0.jnl")).unwrap();
    let format = std::fs::read_to_string(data.join("hubbub-format")).unwrap();
    let written = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut scribbled = whole.clone();
    scribbled[written / 2..written / 2 + 100].iter_mut().for_each(|byte| *byte ^= 0x55);
    let foreign = format.replace("fjall", "rocks");
    let damages: [(&str, &[u8], &[u8]); 4] = [
        ("cut off", &whole[..written / 2], format.as_bytes()),
        ("empty", &[], format.as_bytes()),
        ("scribbled on", &scribbled, format.as_bytes()),
        ("of another engine", &whole, foreign.as_bytes()),
    ];
    for (what, log, marker) in damages {
        let copy = new_folder();
        succeeds(Command::new("cp").args(["-r", "--sparse=always"]).arg(&data).arg(copy.path()));
        let data = copy.path().join("data");
        std::fs::write(data.join("fjall/0.jnl"), log).unwrap();
        std::fs::write(data.join("hubbub-format"), marker).unwrap();
        for _ in 0..2 {
            let ended = run(&mut Settings::dev().command(copy.path(), &["serve", "--dev"]));
            assert_eq!(ended.status.code(), Some(1), "{what}: {ended:?}");
            let said: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("hubbub: ")).collect();
            assert_eq!(said.len(), 1, "{what}: {}", ended.stderr);
            assert!(said[0].contains(data.to_str().unwrap()), "{what}: {}", said[0]);
            assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
        }
        assert_eq!(std::fs::read(data.join("hubbub-format")).unwrap(), marker, "{what}: nothing begins anew");
    }
    // Undamaged, and nothing was lost.
    let hub = Settings::dev().start_in(folder);
    let mut bob = hub.person("bob").arrives();
    (0..100).for_each(|number| assert_eq!(bob.takes_envelope()["body"], format!("message {number}")));
}
