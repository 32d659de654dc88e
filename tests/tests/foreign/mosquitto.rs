//! `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`.

use std::process::Command;

use hubbub_tests::tool::{Tool, run, succeeds};
use hubbub_tests::{Authority, Hub, PATIENCE, Settings};
use serde_json::Value;

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

#[test]
fn every_version_publishes_and_subscribes_at_every_quality_of_service() {
    let hub = Hub::start();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let line = format!("%q %r {version} %p");
            let mut bob =
                subscriber(&hub, &["-u", "bob", "-V", version, "-q", qos, "-t", "room/+", "-F", &line]);
            publish(&hub, &["-u", "alice", "-V", version, "-q", qos, "-t", "room/1", "-m", "hi 你好"]);
            assert_eq!(bob.says("hi"), format!("{qos} 0 {version} hi 你好"));
        }
    }
}

#[test]
fn retained_messages_are_kept_replaced_and_cleared() {
    let hub = Hub::start();
    for version in VERSIONS {
        let publish = |message: &[&str]| {
            let common = ["-u", "alice", "-V", version, "-q", "1", "-r", "-t", "news/today"];
            publish(&hub, &[&common[..], message].concat());
        };
        publish(&["-m", "old"]);
        publish(&["-m", "new"]);
        let read = ["-u", "bob", "-V", version, "-t", "news/today", "-F", "%r %p", "-C", "1"];
        assert_eq!(succeeds(&mut sub(&hub, &read)), "1 new\n", "{version}");
        publish(&["-n"]);
        publish(&["-m", "another"]);
        assert_eq!(succeeds(&mut sub(&hub, &read)), "1 another\n", "{version}: the cleared one is gone");
        publish(&["-n"]);
    }
}

#[test]
fn a_killed_client_has_its_will_published() {
    let hub = Hub::start();
    for version in VERSIONS {
        let mut heir = subscriber(&hub, &["-u", "heir", "-V", version, "-q", "1", "-t", "wills/+"]);
        let will = ["--will-topic", "wills/dora", "--will-payload", "gone", "--will-qos", "1"];
        let dora = subscriber(&hub, &[&["-u", "dora", "-V", version, "-t", "any"], &will[..]].concat());
        dora.kill9();
        heir.says("gone");
    }
}

#[test]
fn a_session_that_is_kept_gets_what_it_missed() {
    let hub = Hub::start();
    for version in VERSIONS {
        let id = format!("phone-{version}");
        let kept = ["-u", "bob", "-V", version, "-c", "-i", &id, "-q", "2", "-t", "room/1"];
        subscriber(&hub, &kept).kill9();
        for (qos, text) in [("1", "one"), ("2", "two")] {
            publish(&hub, &["-u", "alice", "-q", qos, "-t", "room/1", "-m", text]);
        }
        let read = succeeds(&mut sub(&hub, &[&kept[..], &["-C", "2", "-F", "%q %p"]].concat()));
        assert_eq!(read, "1 one\n2 two\n", "{version}");
    }
}

#[test]
fn a_group_shares_what_is_published() {
    let hub = Hub::start();
    let member = |name| {
        subscriber(&hub, &["-u", name, "-V", "mqttv5", "-q", "1", "-t", "$share/g/jobs/+", "-C", "10"])
    };
    let members = [member("one"), member("two")];
    let jobs: String = (0..20).map(|number| format!("job {number:02}\n")).collect();
    let mut publisher =
        Tool::start(&mut client(&hub, "mosquitto_pub", &["-u", "a", "-q", "1", "-t", "jobs/1", "-l"]));
    publisher.types(&jobs);
    assert!(publisher.ends().status.success());
    // Each ends after ten messages: taken in turns, that is all twenty.
    let mut done: Vec<String> =
        members.into_iter().flat_map(|member| jobs_in(&member.ends().stdout)).collect();
    done.sort();
    assert_eq!(done.concat(), jobs.replace('\n', ""));
}

#[test]
fn a_message_to_bob_is_a_chat_message() {
    let hub = Hub::start();
    for (number, version) in (1..).zip(VERSIONS) {
        let mut bob = subscriber(&hub, &["-u", "bob", "-V", version, "-q", "1", "-t", "u/bob/inbox"]);
        publish(&hub, &["-u", "alice", "-V", version, "-t", "dm/bob", "-m", "hi"]);
        let envelope: Value = serde_json::from_str(&bob.says("\"hi\"")).unwrap();
        assert_eq!(envelope["seq"], number, "{version}: {envelope}");
        assert_eq!(envelope["cid"], "alice~bob", "{version}: {envelope}");
    }
}

#[test]
fn bob_who_was_away_gets_exactly_three_in_order_after_kill_9() {
    let mut hub = Hub::start();
    let phone = ["-u", "bob", "-i", "bob-phone", "-c", "-q", "1", "-t", "u/bob/inbox"];
    subscriber(&hub, &phone).kill9();
    for text in ["one", "two", "three"] {
        publish(&hub, &["-u", "alice", "-t", "dm/bob", "-q", "1", "-m", text]);
    }
    hub.kill9();
    hub.restart();
    // They come before the answer to SUBSCRIBE: the session has its subscription already.
    let mut bob = Tool::start(&mut sub(&hub, &phone));
    publish(&hub, &["-u", "alice", "-t", "dm/bob", "-q", "1", "-m", "four"]);
    for (seq, text) in (1..).zip(["one", "two", "three", "four"]) {
        let envelope: Value = serde_json::from_str(&bob.line()).unwrap();
        assert_eq!((&envelope["seq"], &envelope["body"]), (&seq.into(), &text.into()), "{envelope}");
    }
}

#[test]
fn a_request_for_history_is_answered() {
    let hub = Hub::start();
    for text in ["one", "two"] {
        publish(&hub, &["-u", "alice", "-q", "1", "-t", "dm/bob", "-m", text]);
    }
    let seconds = PATIENCE.as_secs().to_string();
    let wanted = r#"{"cid":"alice~bob","limit":10}"#;
    let call =
        ["-u", "bob", "-V", "mqttv5", "-q", "1", "-t", "rpc/history", "-e", "u/bob/reply/1", "-m", wanted];
    let mut command = client(&hub, "mosquitto_rr", &[&call[..], &["-W", &seconds]].concat());
    let answer: Value = serde_json::from_str(&succeeds(&mut command)).unwrap();
    assert_eq!(answer["messages"][0]["body"], "one", "{answer}");
    assert_eq!(answer["messages"][1]["seq"], 2, "{answer}");
}

#[test]
fn nobody_reads_the_inbox_of_somebody_else() {
    let hub = Hub::start();
    // 3.1 has no code for a refusal.
    for version in ["mqttv311", "mqttv5"] {
        let ended = run(&mut sub(&hub, &["-u", "mallory", "-V", version, "-q", "1", "-t", "u/bob/inbox"]));
        // Its status is 0 all the same.
        assert!(ended.stderr.contains("denied"), "{version}: {ended:?}");
    }
}

#[test]
fn tls_with_and_without_a_certificate_of_the_client() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]);
    let settings = settings.set("tls.client_ca", clients.file().to_str().unwrap());
    let hub = settings.set("tls.client_auth", "optional").set("tls.client_user", "cn").start();
    let shown = clients.certifies_client("bob", "bob@chat.example");
    let port = hub.mqtts().port().to_string();
    let (file, other) = (authority.file(), clients.file());
    let believe = ["-p", &port, "--cafile", file.to_str().unwrap()];
    let show = ["--cert", shown.certificate.to_str().unwrap(), "--key", shown.key.to_str().unwrap()];
    for tls in ["tlsv1.2", "tlsv1.3"] {
        for version in VERSIONS {
            let how = ["-V", version, "--tls-version", tls, "-q", "1"];
            let mut bob = subscriber(&hub, &[&believe[..], &show, &how, &["-t", "u/bob/inbox"]].concat());
            let text = format!("over {tls} in {version}");
            let message = ["-u", "alice", "-t", "dm/bob", "-m", &text];
            publish(&hub, &[&believe[..], &how, &message].concat());
            bob.says(&text);
        }
    }
    let doubtful = ["-p", &port, "--cafile", other.to_str().unwrap(), "-t", "a", "-m", "x"];
    let ended = run(&mut client(&hub, "mosquitto_pub", &doubtful));
    assert!(!ended.status.success(), "{ended:?}");
}

#[test]
fn topics_in_any_script_leave_everything_running() {
    let hub = Hub::start();
    for topic in ["聊天/大厅", "🚕/上海"] {
        let mut bob = subscriber(&hub, &["-u", "bob", "-t", topic, "-F", "%t %p"]);
        publish(&hub, &["-u", "alice", "-t", topic, "-m", "hi"]);
        bob.says(&format!("{topic} hi"));
    }
    hub.is_healthy();
}

fn jobs_in(output: &str) -> Vec<String> {
    output.lines().filter(|line| line.starts_with("job")).map(str::to_owned).collect()
}

/// A subscriber that has its SUBACK.
fn subscriber(hub: &Hub, arguments: &[&str]) -> Tool {
    let mut tool = Tool::start(sub(hub, arguments).arg("-d"));
    tool.says("Subscribed (");
    tool
}

fn publish(hub: &Hub, arguments: &[&str]) {
    succeeds(&mut client(hub, "mosquitto_pub", arguments));
}

fn sub(hub: &Hub, arguments: &[&str]) -> Command {
    client(hub, "mosquitto_sub", arguments)
}

fn client(hub: &Hub, program: &str, arguments: &[&str]) -> Command {
    if let Err(error) = Command::new(program).arg("--help").output() {
        panic!("{program} does not start: {error}. Install it with `apt-get install mosquitto-clients`.");
    }
    // It keeps its lines back when nobody looks at a terminal.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program, "-h", "127.0.0.1", "-p", &hub.mqtt().port().to_string()]).args(arguments);
    command
}
