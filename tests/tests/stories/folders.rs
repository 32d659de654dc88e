//! Data folders of earlier versions, which open with everything in them, and damaged ones, which are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use hubbub_tests::binary::repository;
use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::{run, succeeds};
use hubbub_tests::wire::{ack, puback};
use hubbub_tests::{Hub, Person, Publish, Settings, Version, message};
use serde_json::Value;

/// Folders as they were when the server was killed, with the engine that wrote them. `format-1-sled` was written by the
/// version before `store.engine` knew another one (commit 4f474b6), `format-1-fjall` by the first that did.
const FIXTURES: [(&str, &str); 2] = [("format-1-sled", "sled"), ("format-1-fjall", "fjall")];
const ENGINES: [&str; 2] = ["sled", "fjall"];

/// What it is, and what does it to a data folder.
type Damage<'a> = (&'static str, &'a dyn Fn(&Path));

/// The packet identifier that bob used for a publish at QoS 2 which he has yet to complete.
const UNRELEASED: u16 = 77;
/// Position 2 in bob's queue, which he has received and not completed.
const RELEASED: u16 = 3;

#[test]
fn a_folder_of_an_earlier_version_opens_with_everything_in_it() {
    for (name, engine) in FIXTURES {
        let folder = new_folder();
        let packed = repository().join(format!("tests/fixture/{name}.tar.gz"));
        succeeds(Command::new("tar").arg("-xzSf").arg(packed).arg("-C").arg(folder.path()));
        let checked = succeeds(&mut settings(engine).command(folder.path(), &["store", "check"]));
        assert!(checked.contains("is whole"), "{name}: {checked}");
        let mut hub = settings(engine).start_in(folder);
        finds_everything(&hub);
        hub.stop();
        succeeds(&mut hub.command(&["store", "check"]));
    }
}

/// How the fixtures were made: `HUBBUB_BIN=… HUBBUB_ENGINE=sled HUBBUB_FIXTURE=….tar.gz cargo test … -- --ignored`.
#[test]
#[ignore = "writes a fixture for later versions"]
fn write_a_fixture() {
    let wish = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} says how"));
    let folder = new_folder();
    let (engine, data) = (wish("HUBBUB_ENGINE"), folder.path().join("data"));
    let mut hub = settings(&engine).set("store.path", data.to_str().unwrap()).start();
    leaves_everything_behind(&mut hub);
    std::fs::remove_file(data.join("admin.token")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-czSf", &wish("HUBBUB_FIXTURE"), "--owner=0", "--group=0", "-C"])
        .arg(folder.path())
        .arg("data");
    succeeds(&mut tar);
}

#[test]
fn a_folder_that_lost_part_of_its_data_is_refused_each_time_and_nothing_begins_anew() {
    for engine in ENGINES {
        let original = folder_with_data(engine);
        let log = log_of(engine);
        let damages: [Damage<'_>; 6] = [
            ("the log is cut off in its middle", &|data| cut(&data.join(log), |written| written / 2)),
            ("the log is empty", &|data| cut(&data.join(log), |_| 0)),
            ("the log is gone", &|data| std::fs::remove_file(data.join(log)).unwrap()),
            ("the log is scribbled on", &|data| scribble(&data.join(log))),
            ("only the marker is left", &|data| {
                forget_all_but(data, &["hubbub-format"]);
            }),
            ("only marker and number of commits are left", &|data| {
                forget_all_but(data, &["hubbub-format", "hubbub-commits"]);
            }),
        ];
        for (what, damage) in damages {
            let folder = copy_of(original.path());
            damage(&folder.path().join("data"));
            for round in 1..=2 {
                let said = is_refused(engine, folder.path());
                assert!(said.contains(folder.path().to_str().unwrap()), "{engine}, {what}, {round}: {said}");
            }
        }
    }
}

#[test]
fn damage_in_a_table_is_found_by_the_check_and_a_table_that_is_gone_at_the_start() {
    let original = new_folder();
    let data = original.path().join("data");
    let mut hub = small_tables().set("store.path", data.to_str().unwrap()).start();
    let mut alice = hub.person("alice").arrives();
    (0..300).for_each(|_| drop(alice.says("bob", &noise(20_000))));
    hub.stop();
    let table = |folder: &Path| {
        let tables = contents(&folder.join("data/fjall/keyspaces/1/tables"));
        tables.into_iter().max_by_key(|(_, bytes)| bytes.len()).expect("there is a table").0
    };
    let scribbled = copy_of(original.path());
    scribble(&table(scribbled.path()));
    let check = run(&mut small_tables().command(scribbled.path(), &["store", "check"]));
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(check.stderr.contains("reading ended behind the record"), "{check:?}");
    let gone = copy_of(original.path());
    std::fs::remove_file(table(gone.path())).unwrap();
    for _ in 0..2 {
        is_refused("fjall", gone.path());
    }
}

#[test]
fn a_folder_of_another_format_or_engine_is_refused_and_left_as_it_is() {
    for (engine, other) in [("sled", "fjall"), ("fjall", "sled")] {
        let folder = folder_with_data(engine);
        let before = contents(folder.path());
        let said = is_refused(other, folder.path());
        assert!(said.contains(&format!("store.engine = \"{engine}\"")), "{said}");
        assert_eq!(before, contents(folder.path()), "{engine}");
        let marker = folder.path().join("data/hubbub-format");
        let text = std::fs::read_to_string(&marker).unwrap().replace("format 1", "format 7");
        std::fs::write(&marker, text.replace(engine, "rocks")).unwrap();
        let before = contents(folder.path());
        let said = is_refused(engine, folder.path());
        assert!(said.contains("rocks"), "{said}");
        assert_eq!(before, contents(folder.path()), "{engine}");
    }
}

#[test]
fn one_process_has_a_folder_at_a_time() {
    for engine in ENGINES {
        let mut hub = Settings::dev().set("store.engine", engine).start();
        let second = run(&mut hub.command(&["serve", "--dev"]));
        assert_eq!(second.status.code(), Some(1), "{second:?}");
        assert!(second.stderr.contains("in use by another process"), "{second:?}");
        hub.is_healthy();
        hub.kill9();
        hub.restart();
        hub.is_healthy();
    }
}

/// So that little data fills one.
fn small_tables() -> Settings {
    Settings::dev().set("store.engine", "fjall").set("store.cache_bytes", "1MiB")
}

/// Text that does not compress to nothing.
fn noise(length: usize) -> String {
    let mut state = 7u64;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + (state >> 33) as u8 % 26)
    });
    letters.take(length).collect()
}

fn settings(engine: &str) -> Settings {
    let rules = "topic readwrite news/#\ntopic readwrite board\n";
    Settings::with_login().set("store.engine", engine).rules(rules)
}

/// Accounts, a conversation of which bob has taken two messages, three queued messages of which he has received one, a
/// retained message, and packet identifiers of both directions.
fn leaves_everything_behind(hub: &mut Hub) {
    hub.adds_user("alice", "wonderland");
    hub.adds_user("bob", "builder");
    let mut bob = bob_arrives(hub);
    let mut alice = hub.person("alice").with_password("wonderland").connects();
    for number in 1..=5 {
        alice.says("bob", &format!("message {number}"));
    }
    bob.sees(message("message 1"));
    bob.sees(message("message 2"));
    for (number, qos) in [(1, 1), (2, 2), (3, 1)] {
        alice.publish(Publish::new(format!("news/{number}"), format!("news {number}")).qos(qos));
    }
    alice.publish(Publish::new("board", "pinned").qos(1).retained());
    let news = bob.receives_on_without_ack("news/2");
    assert_eq!(news.id, RELEASED);
    bob.send(&puback(ack::PUBREC, news.id));
    bob.is_released(news.id);
    // Acknowledged behind the rest, so that is on the disk as well.
    bob.says("alice", "message 6");
    bob.send_publish(Publish::new("dm/alice", "exactly once").qos(2).id(UNRELEASED));
    bob.receipt(2, UNRELEASED);
    // Connected, so that the session begins to expire when the folder is opened.
    hub.kill9();
}

fn bob_arrives(hub: &Hub) -> Person {
    let mut bob = hub.person("bob").on("bob-phone").with_password("builder").keeping_the_session().arrives();
    bob.subscribe("news/#", 2);
    bob
}

fn finds_everything(hub: &Hub) {
    assert_eq!(
        bodies(hub),
        ["message 1", "message 2", "message 3", "message 4", "message 5", "message 6", "exactly once"]
    );
    let mut bob = hub.person("bob").on("bob-phone").with_password("builder").keeping_the_session().connects();
    assert!(bob.session_present, "the session is there");
    bob.is_released(RELEASED);
    bob.send(&puback(ack::PUBCOMP, RELEASED));
    for (number, seq) in [(3, 3), (4, 4), (5, 5)] {
        bob.sees(message(&format!("message {number}")).seq(seq).from("alice"));
    }
    assert_eq!(bob.receives_on("news/1").text(), "news 1");
    assert_eq!(bob.receives_on("news/3").text(), "news 3");
    assert!(bob.waiting_on("news/2").is_empty(), "it was received");
    bob.send_publish(Publish::new("dm/alice", "exactly once").qos(2).id(UNRELEASED).again());
    bob.receipt(2, UNRELEASED);
    bob.send(&puback(ack::PUBREL, UNRELEASED));
    bob.is_completed(UNRELEASED);
    let mut alice = hub.person("alice").with_password("wonderland").connects();
    alice.subscribe("board", 1);
    assert_eq!(alice.receives_on("board").text(), "pinned");
    let receipt = alice.says("bob", "goes on");
    assert_eq!(receipt.props.user("seq"), Some("8"), "nothing twice: {receipt:?}");
    bob.sees(message("goes on").seq(8));
}

fn bodies(hub: &Hub) -> Vec<String> {
    let mut history =
        hub.command(&["history", "--json", "-u", "alice", "-P", "wonderland", "-h", "127.0.0.1", "bob"]);
    let printed = succeeds(history.args(["-p", &hub.mqtt().port().to_string()]));
    let body = |line: &str| serde_json::from_str::<Value>(line).unwrap()["body"].as_str().unwrap().to_owned();
    printed.lines().map(body).collect()
}

/// With a few hundred messages in it, written by a server that was killed.
fn folder_with_data(engine: &str) -> tempfile::TempDir {
    let folder = new_folder();
    let data = folder.path().join("data");
    let mut hub =
        Settings::dev().set("store.engine", engine).set("store.path", data.to_str().unwrap()).start();
    let mut alice = hub.person("alice").arrives();
    (0..200).for_each(|number| drop(alice.says("bob", &format!("message {number}"))));
    hub.kill9();
    std::fs::remove_file(data.join("admin.token")).unwrap();
    folder
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = new_folder();
    succeeds(Command::new("cp").args(["-r", "--sparse=always"]).arg(folder.join("data")).arg(copy.path()));
    copy
}

/// What it said, one sentence.
fn is_refused(engine: &str, folder: &Path) -> String {
    let ended = run(&mut Settings::dev().set("store.engine", engine).command(folder, &["serve", "--dev"]));
    assert_eq!(ended.status.code(), Some(1), "{engine}: {ended:?}");
    let said = ended.stderr.lines().filter(|line| line.starts_with("hubbub: "));
    let said: Vec<&str> = said.collect();
    assert_eq!(said.len(), 1, "{engine}: {ended:?}");
    said[0].to_owned()
}

fn log_of(engine: &str) -> &'static str {
    if engine == "sled" { "db" } else { "fjall/0.jnl" }
}

fn cut(file: &Path, length: impl Fn(usize) -> usize) {
    let bytes = std::fs::read(file).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(file, &bytes[..length(written)]).unwrap();
}

fn scribble(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2..written / 2 + 500].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(file, &bytes).unwrap();
}

fn forget_all_but(data: &Path, kept: &[&str]) {
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        match kept.contains(&path.file_name().unwrap().to_str().unwrap()) {
            true => {}
            false if path.is_dir() => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }
}

/// Every file with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => drop(files.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files
}

/// They are on the disk and not in memory, then and after a restart.
#[test]
fn what_waits_for_somebody_who_is_away_costs_the_disk_and_not_the_memory() {
    const MIB: u64 = 1024 * 1024;
    const MORE: u64 = 192;
    // The lanes of the spine keep what passed last, whatever is stored: small ones are full soon.
    let lanes = [("spine.segment_bytes", "256KiB"), ("spine.segments", "8"), ("spine.credit_bytes", "1MiB")];
    let settings = lanes.into_iter().fold(small_tables(), |settings, (key, value)| settings.set(key, value));
    let mut hub = settings.start();
    hub.person("bob").keeping_the_session().arrives().leaves();
    // Receive Maximum does not stop her in 3.1.1.
    let mut alice = hub.person("alice").speaking(Version::V311).connects();
    let message = Publish::new("dm/bob", noise(32 * 1024)).qos(1);
    let mut says = |mebibytes: u64| {
        for _ in 0..mebibytes {
            let sent: Vec<u16> = (0..32).map(|n| alice.send_publish(message.clone().id(n + 1))).collect();
            sent.into_iter().for_each(|id| drop(alice.receipt(1, id)));
        }
    };
    // What the first of them cost is not what they cost each: the engine keeps some, and never more.
    says(128);
    let few = hub.resident_bytes();
    says(MORE);
    let many = hub.resident_bytes();
    let grown = many.saturating_sub(few) / MIB;
    assert!(grown < MORE / 2, "{} MiB with 128 MiB stored, {grown} MiB more with {MORE} MiB more", few / MIB);
    hub.stop();
    hub.restart();
    let started = hub.resident_bytes();
    println!(
        "{} MiB with few, {} MiB with many, {} MiB after a restart",
        few / MIB,
        many / MIB,
        started / MIB
    );
    let more = started.saturating_sub(few) / MIB;
    assert!(more < MORE / 4, "{} MiB before, {more} MiB more after the start", few / MIB);
}
