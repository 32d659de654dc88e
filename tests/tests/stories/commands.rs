//! What a person types: `hubbub pub`, `sub`, `chat`, `history`, `watch`.

use std::process::Command;

use hubbub_tests::tool::{Tool, run, succeeds};
use hubbub_tests::{Authority, Hub, Publish, Settings, message};
use serde_json::Value;

#[test]
fn what_pub_publishes_sub_prints() {
    let hub = Hub::start();
    hub.person("alice").connects().publish(Publish::new("room/1", "the topic of today").qos(1).retained());
    for version in ["mqttv311", "mqttv5"] {
        let mut sub =
            Tool::start(&mut hubbub(&hub, "bob", &["sub", "-V", version, "-v", "-q", "2", "-t", "room/+"]));
        // What is retained says that the subscription stands.
        assert_eq!(sub.line(), "room/1 the topic of today");
        succeeds(&mut hubbub(
            &hub,
            "alice",
            &["pub", "-V", version, "-q", "2", "-t", "room/2", "-m", "hi 你好"],
        ));
        assert_eq!(sub.line(), "room/2 hi 你好");
    }
}

#[test]
fn sub_ends_after_enough_messages_or_enough_time() {
    let hub = Hub::start();
    succeeds(&mut hubbub(&hub, "alice", &["pub", "-q", "1", "-r", "-t", "news", "-m", "one"]));
    assert_eq!(succeeds(&mut hubbub(&hub, "bob", &["sub", "-t", "news", "-C", "1"])), "one\n");
    let ended = run(&mut hubbub(&hub, "bob", &["sub", "-t", "nothing/here", "-W", "1"]));
    assert_eq!(ended.status.code(), Some(27), "{ended:?}");
}

#[test]
fn pub_sends_every_line_as_a_message() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut publisher = Tool::start(&mut hubbub(&hub, "alice", &["pub", "-q", "1", "-t", "dm/bob", "-l"]));
    publisher.types("one\ntwo\nthree\n");
    assert!(publisher.ends().status.success());
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three")] {
        bob.sees(message(text).seq(seq).from("alice"));
    }
}

#[test]
fn the_exit_status_says_why() {
    let hub = Hub::start();
    let status = |command: &mut Command| run(command).status.code();
    assert_eq!(
        status(&mut hubbub(&hub, "alice", &["pub", "-q", "1", "-t", "p/bob", "-m", "x"])),
        Some(77),
        "no right"
    );
    assert_eq!(status(&mut hubbub(&hub, "alice", &["sub", "-t", "u/bob/inbox"])), Some(77), "no right");
    assert_eq!(status(&mut hubbub(&hub, "alice", &["pub", "-t", "a/#", "-m", "x"])), Some(64), "no topic");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nobody_there =
        hub.command(&["pub", "-h", "127.0.0.1", "-p", &closed.port().to_string(), "-t", "a", "-m", "x"]);
    assert_eq!(status(&mut nobody_there), Some(69), "nobody there");
    let strict = Settings::with_login().start();
    assert_eq!(
        status(&mut hubbub(&strict, "alice", &["pub", "-P", "guess", "-t", "a", "-m", "x"])),
        Some(77),
        "password"
    );
}

#[test]
fn a_line_typed_into_chat_is_a_message_with_a_mark_once_it_is_stored() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut chat = Tool::start(&mut hubbub(&hub, "alice", &["chat", "bob"]));
    chat.types("hi\n");
    bob.sees(message("hi").seq(1).from("alice"));
    chat.says("✓");
    bob.says("alice", "hello alice");
    chat.says("bob: hello alice");
}

#[test]
fn chat_in_a_pipe_waits_for_the_mark_and_leaves() {
    let hub = Hub::start();
    let mut chat = Tool::start(&mut hubbub(&hub, "ci", &["chat", "--json", "bob"]));
    chat.types("the build is green\n");
    let ended = chat.ends();
    assert!(ended.status.success(), "{ended:?}");
    let receipt = hub.person("ci").arrives().says("bob", "next");
    assert_eq!(receipt.props.user("seq"), Some("2"), "{receipt:?}");
}

#[test]
fn history_prints_what_was_said_the_oldest_first() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").arrives();
    for number in 1..=30 {
        alice.says("bob", &format!("message {number}"));
    }
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let printed = succeeds(&mut hubbub(&hub, "bob", &[&["history", "--json"], arguments].concat()));
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let seqs =
        |lines: &[Value]| -> Vec<u64> { lines.iter().filter_map(|line| line["seq"].as_u64()).collect() };
    assert_eq!(seqs(&lines(&["alice"])), (11..=30).collect::<Vec<_>>());
    let page = lines(&["alice~bob", "--before", "11", "--limit", "5"]);
    assert_eq!(seqs(&page), [6, 7, 8, 9, 10]);
    assert_eq!((&page[0]["body"], &page[0]["from"]), (&"message 6".into(), &"alice".into()));
    let ended = run(&mut hubbub(&hub, "mallory", &["history", "alice~bob"]));
    assert!(
        !ended.status.success() && ended.stdout.is_empty(),
        "mallory is in no conversation of theirs: {ended:?}"
    );
}

#[test]
fn watch_prints_who_comes_and_goes() {
    let hub = Settings::dev().set("presence.clean_grace", "0ms").start();
    let _bob = hub.person("bob").arrives();
    let mut watch = Tool::start(&mut hubbub(&hub, "alice", &["watch", "--json", "bob", "carol"]));
    assert!(watch.says("p/bob").contains("online"));
    let carol = hub.person("carol").arrives();
    assert!(watch.says("p/carol").contains("online"));
    carol.leaves();
    assert!(watch.says("p/carol").contains("offline"));
}

#[test]
fn the_configuration_can_be_printed_and_checked() {
    let hub = Hub::start();
    let printed = succeeds(&mut hub.command(&["config", "print"]));
    assert!(printed.contains("[presence]") && printed.contains("lost_grace"), "{printed}");
    succeeds(&mut hub.command(&["config", "check"]));
}

#[test]
fn every_command_speaks_tls_and_believes_only_whom_it_is_told_to() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]);
    let settings = settings.set("tls.client_ca", clients.file().to_str().unwrap());
    let hub = settings.set("tls.client_auth", "optional").set("tls.client_user", "cn").start();
    let secure = |arguments: &[&str], more: &[&str]| {
        let mut command = hub.command(arguments);
        command.args(["--address", &format!("mqtts://{}", hub.mqtts())]).args(more);
        command
    };
    let (ours, others) = (authority.file(), clients.file());
    let [ours, others] = [&ours, &others].map(|file| file.to_str().unwrap());
    let publish = ["pub", "-u", "alice", "-q", "1", "-t", "dm/bob", "-m", "hi"];
    for version in ["mqttv311", "mqttv5"] {
        for belief in [&["--ca", ours][..], &["--insecure"]] {
            succeeds(secure(&publish, belief).args(["-V", version]));
        }
        // Neither the machine's authorities nor others vouch for this certificate.
        for belief in [&[][..], &["--ca", others]] {
            let ended = run(secure(&publish, belief).args(["-V", version]));
            assert_eq!(ended.status.code(), Some(69), "{ended:?}");
            assert!(ended.stderr.contains("no secure connection"), "{ended:?}");
        }
    }
    let printed = succeeds(&mut secure(&["history", "-u", "bob", "alice"], &["--ca", ours]));
    assert_eq!(printed.lines().count(), 4, "{printed}");
    // The certificate says who it is.
    let shown = clients.certifies_client("carol", "carol@chat.example");
    let [certificate, key] = [&shown.certificate, &shown.key].map(|file| file.to_str().unwrap());
    let show = ["--ca", ours, "--cert", certificate, "--key", key];
    let mut carol = Tool::start(&mut secure(&["sub", "-t", "u/carol/inbox", "-q", "1", "-d"], &show));
    carol.says("Subscribed");
    succeeds(&mut hubbub(&hub, "alice", &["pub", "-q", "1", "-t", "dm/carol", "-m", "hello carol"]));
    carol.says("hello carol");
    assert_eq!(run(&mut secure(&publish, &show)).status.code(), Some(77), "carol is not alice");
    let bench = ["bench", "p2p", "--pairs", "3", "--seconds", "1", "--qos", "1"];
    let report = succeeds(&mut secure(&bench, &["--ca", ours]));
    assert!(report.contains("lost"), "{report}");
}

/// `hubbub` with these arguments, as this user of this hub.
fn hubbub(hub: &Hub, user: &str, arguments: &[&str]) -> Command {
    let mut command = hub.command(arguments);
    command.args(["-h", "127.0.0.1", "-p", &hub.mqtt().port().to_string(), "-u", user]);
    command
}
