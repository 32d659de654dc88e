//! What a person does with the data folder: `hubbub store check`, `stats`, `export`, `import`, `backup`.

use std::path::{Path, PathBuf};
use std::process::Command;

use hubbub_tests::hub::new_folder;
use hubbub_tests::person::Arrival;
use hubbub_tests::tool::{Ended, run, succeeds};
use hubbub_tests::{Hub, Person, Publish, Settings, message};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn an_export_of_a_running_server_becomes_the_folder_of_another_engine() {
    for (from, to) in [("sled", "fjall"), ("fjall", "sled")] {
        let mut hub = Settings::dev().set("store.engine", from).start();
        let phone = says_three_things_to_bob_who_is_away(&hub);
        let elsewhere = new_folder();
        let file = elsewhere.path().join("all.hubbub");
        succeeds(&mut store(&hub, &["export", path(&file)]));
        hub.stop();
        let while_stopped = elsewhere.path().join("stopped.hubbub");
        succeeds(&mut store(&hub, &["export", path(&while_stopped)]));
        let data = elsewhere.path().join("data");
        let settings = Settings::dev().set("store.engine", to).set("store.path", path(&data));
        let said = succeeds(&mut settings.command(elsewhere.path(), &["store", "import", path(&file)]));
        assert!(said.contains("imported") && said.contains(to), "{said}");
        let other = settings.start();
        bob_gets_three_things(&other, phone);
        let newest = std::fs::read(&while_stopped).unwrap();
        assert!(newest.starts_with(b"hubbub records 1, store format 1\n"));
    }
}

#[test]
fn a_backup_of_a_running_server_can_be_started_from() {
    for engine in ["sled", "fjall"] {
        let mut hub = Settings::dev().set("store.engine", engine).start();
        let phone = says_three_things_to_bob_who_is_away(&hub);
        let elsewhere = new_folder();
        let backup = elsewhere.path().join("backup");
        succeeds(&mut store(&hub, &["backup", path(&backup)]));
        hub.person("alice").arrives().says("bob", "said after the backup");
        let again = run(&mut store(&hub, &["backup", path(&backup)]));
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        assert!(again.stderr.contains("not empty"), "{again:?}");
        hub.stop();
        let stopped = elsewhere.path().join("stopped");
        succeeds(&mut store(&hub, &["backup", path(&stopped)]));
        let settings = Settings::dev().set("store.engine", engine).set("store.path", path(&backup));
        let copy = settings.start();
        let mut bob = bob_gets_three_things(&copy, phone);
        copy.person("alice").arrives().says("bob", "said to the copy");
        bob.sees(message("said to the copy").seq(4));
    }
}

#[test]
fn an_export_is_of_one_moment_while_messages_are_stored() {
    for engine in ["sled", "fjall"] {
        let hub = Settings::dev().set("store.engine", engine).start();
        let _phone = hub.person("bob").keeping_the_session().arrives().leaves();
        let elsewhere = new_folder();
        let files: Vec<PathBuf> = (0..5).map(|n| elsewhere.path().join(format!("{n}.hubbub"))).collect();
        std::thread::scope(|scope| {
            let exports = scope.spawn(|| {
                files.iter().for_each(|file| drop(succeeds(&mut store(&hub, &["export", path(file)]))));
            });
            let mut alice = hub.person("alice").arrives();
            let mut said = 0;
            while !exports.is_finished() || said < 100 {
                said += 1;
                alice.says("bob", "and on");
            }
        });
        for file in files {
            let data = elsewhere.path().join("data");
            let settings = Settings::dev().set("store.path", path(&data));
            succeeds(&mut settings.command(elsewhere.path(), &["store", "import", path(&file)]));
            // Dense numbers, and an inbox entry for a message or neither: half of a batch would show.
            let said = succeeds(&mut settings.command(elsewhere.path(), &["store", "check"]));
            assert!(said.contains("the store is whole"), "{said}");
            std::fs::remove_dir_all(&data).unwrap();
        }
    }
}

#[test]
fn check_and_stats_say_the_same_of_a_running_and_of_a_stopped_server() {
    let mut hub = Settings::with_login().start();
    hub.adds_user("alice", "wonderland");
    hub.adds_user("bob", "builder");
    let mut alice = hub.person("alice").with_password("wonderland").keeping_the_session().arrives();
    (0..7).for_each(|_| drop(alice.says("bob", "hello")));
    alice.leaves();
    for running in [true, false] {
        if !running {
            hub.stop();
        }
        let said = succeeds(&mut store(&hub, &["check"]));
        assert!(said.contains("7  a message of a conversation") && said.contains("is whole"), "{said}");
        let stats = succeeds(&mut store(&hub, &["stats", "--json"]));
        let stats: Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(stats["kinds"]["a message of a conversation"]["records"], 7, "{stats}");
        assert_eq!(stats["kinds"]["an account"]["records"], 2, "{stats}");
        assert_eq!(stats["conversations"][0][0], "alice~bob", "{stats}");
        assert!(stats["bytes_on_disk"].as_u64().unwrap() > 1000, "{stats}");
        let table = succeeds(&mut store(&hub, &["stats"]));
        assert!(table.contains("largest conversations") && table.contains("alice~bob"), "{table}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_can_be_moved_out_of_the_way() {
    let folder = new_folder();
    let settings = Settings::dev();
    let file = folder.path().join("spoiled.hubbub");
    let message = |seq: u8| key(b'm', "a~b", &[0, 0, 0, 0, 0, 0, 0, seq]);
    let json = |seq: u8| format!(r#"{{"cid":"a~b","seq":{seq}}}"#).into_bytes();
    let records = [
        (key(b'c', "a~b", &[]), vec![0, 0, 0, 0, 0, 0, 0, 3]),
        (message(1), json(1)),
        (message(2), b"scribble".to_vec()),
        (message(3), json(3)),
        (b"z/what is this".to_vec(), vec![]),
    ];
    std::fs::write(&file, export_of(&records)).unwrap();
    let store =
        |arguments: &[&str]| run(&mut settings.command(folder.path(), &[&["store"], arguments].concat()));
    assert!(store(&["import", path(&file)]).status.success());
    let found = store(&["check"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert!(found.stdout.contains(r#"m/"a~b"/2: the message is not JSON"#), "{found:?}");
    assert!(found.stdout.contains("z/what is this: the key cannot be read"), "{found:?}");
    assert_eq!(found.stdout.lines().count(), 2, "one line each: {found:?}");
    let moved = store(&["check", "--quarantine", "out.hubbub"]);
    assert_eq!(moved.status.code(), Some(1), "{moved:?}");
    assert!(moved.stdout.contains("a message of a conversation is missing now"), "{moved:?}");
    let kept = std::fs::read(folder.path().join("out.hubbub")).unwrap();
    assert_eq!(kept, export_of(&[records[2].clone(), records[4].clone()]), "nothing is thrown away");
    let after = store(&["check"]);
    assert!(after.stdout.contains(r#"m/"a~b"/2: message 2 is missing"#), "{after:?}");
    assert_eq!(after.stdout.lines().count(), 1, "{after:?}");
}

#[test]
fn quarantine_does_not_take_records_away_from_a_running_server() {
    let hub = Hub::start();
    let ended = run(&mut store(&hub, &["check", "--quarantine", "out.hubbub"]));
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert!(ended.stderr.contains("needs the server stopped"), "{ended:?}");
}

#[test]
fn a_truncated_or_foreign_file_is_refused_and_leaves_nothing_behind() {
    let folder = new_folder();
    let settings = Settings::dev();
    let whole = export_of(&[(b"u/alice\0\x01".to_vec(), vec![7; 1000])]);
    let mut damaged = whole.clone();
    damaged[500] ^= 1;
    for (bytes, why) in [
        (&whole[..whole.len() - 1], "cut off"),
        (&whole[..500], "cut off"),
        (&damaged, "checksum"),
        (b"something else", "does not begin as an export"),
        (b"hubbub records 9, store format 1\n", "hubbub records 9"),
    ] {
        let file = folder.path().join("export");
        std::fs::write(&file, bytes).unwrap();
        let ended = run(&mut settings.command(folder.path(), &["store", "import", path(&file)]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(why) && ended.stderr.lines().count() == 1, "{ended:?}");
        assert!(!folder.path().join("data").exists(), "{why}");
    }
}

#[test]
fn import_leaves_a_folder_with_data_alone() {
    let mut hub = Hub::start();
    let phone = says_three_things_to_bob_who_is_away(&hub);
    let elsewhere = new_folder();
    let file = elsewhere.path().join("empty.hubbub");
    std::fs::write(&file, export_of(&[])).unwrap();
    for running in [true, false] {
        if !running {
            hub.stop();
        }
        let ended: Ended = run(&mut store(&hub, &["import", path(&file)]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("not empty"), "{ended:?}");
    }
    hub.restart();
    bob_gets_three_things(&hub, phone);
}

#[test]
fn there_is_nothing_to_copy_where_there_is_no_data_and_no_folder_is_made() {
    let folder = new_folder();
    for words in [&["check"][..], &["stats"], &["export", "x"], &["backup", "y"]] {
        let ended = run(&mut Settings::dev().command(folder.path(), &[&["store"], words].concat()));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("no data"), "{ended:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_export_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let hub = Hub::start();
    let elsewhere = new_folder();
    let file = elsewhere.path().join("all.hubbub");
    succeeds(&mut store(&hub, &["export", path(&file)]));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
    let asked = hubbub_tests::http::get(hub.http(), "/admin/records");
    assert_eq!(asked.status(), 401, "without the token");
}

fn store(hub: &Hub, arguments: &[&str]) -> Command {
    hub.command(&[&["store"], arguments].concat())
}

fn says_three_things_to_bob_who_is_away(hub: &Hub) -> Arrival {
    let phone = hub.person("bob").keeping_the_session().arrives();
    let mut phone = phone;
    phone.subscribe("news/#", 2);
    let phone = phone.leaves();
    let mut alice = hub.person("alice").arrives();
    for text in ["one", "two", "three"] {
        alice.says("bob", text);
    }
    alice.publish(Publish::new("news/today", "read all about it").qos(2));
    alice.publish(Publish::new("board", "pinned").qos(1).retained());
    phone
}

/// On another hub than before, perhaps.
fn bob_gets_three_things(hub: &Hub, phone: Arrival) -> Person {
    let mut bob = phone.at(hub).connects();
    assert!(bob.session_present, "the session is there");
    for (text, seq) in [("one", 1), ("two", 2), ("three", 3)] {
        bob.sees(message(text).seq(seq).from("alice"));
    }
    assert_eq!(bob.receives_on("news/today").text(), "read all about it");
    bob.subscribe("board", 1);
    assert_eq!(bob.receives_on("board").text(), "pinned");
    bob
}

/// A key of this kind with one text, as `bridge/src/store/keys.rs` describes it.
fn key(kind: u8, text: &str, rest: &[u8]) -> Vec<u8> {
    [&[kind, b'/'], text.as_bytes(), &[0, 1], rest].concat()
}

/// The form of an export, as `bridge/src/store/dump.rs` describes it.
fn export_of(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"hubbub records 1, store format 1\n".to_vec();
    for (key, value) in records {
        bytes.extend((key.len() as u32).to_be_bytes());
        bytes.extend((value.len() as u32).to_be_bytes());
        bytes.extend(key.iter().chain(value));
    }
    bytes.extend([0xFF; 4]);
    bytes.extend((records.len() as u64).to_be_bytes());
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
