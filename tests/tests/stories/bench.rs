//! `hubbub bench` counts what it claims to count. How fast it is nobody asks here.

use std::process::Command;

use hubbub_tests::Hub;
use hubbub_tests::binary;
use hubbub_tests::tool::succeeds;
use serde_json::Value;

#[test]
fn everything_that_is_published_to_groups_is_counted_for_each_member() {
    let hub = Hub::start();
    let report =
        bench(&hub, &["groups", "--users=20", "--groups=10", "--members=4", "--rate=200", "--seconds=1"]);
    assert_eq!((&report["copies"], &report["misrouted"]), (&4.into(), &0.into()), "{report}");
    assert_nothing_is_wrong(&report);
}

#[test]
fn a_part_of_what_goes_through_is_a_rate() {
    let hub = Hub::start();
    let half = ["p2p", "--pairs=2", "--seconds=0.3", "--warmup=0.1", "--of-saturation=0.1"];
    let report = bench(&hub, &half);
    let saturation = report["saturation_published_per_second"].as_f64().unwrap();
    assert!(report["rate"].as_f64().unwrap() <= saturation * 0.1, "{report}");
    assert_nothing_is_wrong(&report);
}

#[test]
fn states_and_wills_reach_everybody_who_watches_and_nothing_stays_retained() {
    let hub = Hub::start();
    for qos in ["--qos=0", "--qos=1"] {
        let report = bench(&hub, &["presence", "--users=30", "--watch=4", "--cut=6", qos]);
        assert_eq!((&report["lost"], &report["dropped"]), (&0.into(), &0.into()), "{report}");
    }
    let mut carol = hub.person("carol").connects();
    carol.subscribe("bench/#", 0);
    carol.has_nothing_more();
}

#[test]
fn queues_of_absent_sessions_are_drained_once() {
    let hub = Hub::start();
    let report = bench(&hub, &["drain", "--sessions=6", "--messages=300"]);
    assert_eq!((&report["acknowledged"], &report["arrived"]), (&1800.into(), &1800.into()), "{report}");
    assert_nothing_is_wrong(&report);
}

#[test]
fn what_was_acknowledged_survives_the_end_of_the_server() {
    let mut hub = Hub::start();
    let again = format!(
        "HUBBUB_LISTEN_MQTT={} HUBBUB_LISTEN_HTTP=off '{}' serve --dev >/dev/null 2>&1 & echo $!",
        hub.mqtt(),
        binary::hubbub().display()
    );
    let pid = hub.process_id().to_string();
    let survive =
        ["survive", "--sessions=6", "--messages=100", "--broker-pid", &pid, "--restart-command", &again];
    let report = bench(&hub, &survive);
    hub.kill9();
    succeeds(Command::new("kill").args(["-KILL", &report["broker_pid"].to_string()]));
    assert_eq!((&report["acknowledged"], &report["arrived"]), (&600.into(), &600.into()), "{report}");
    assert_nothing_is_wrong(&report);
}

#[test]
fn a_pair_is_measured_beside_a_full_room() {
    let hub = Hub::start();
    // More than an edge delivers in one turn.
    let report = bench(&hub, &["burst", "--users=400", "--burst=50", "--every=0.5", "--seconds=0.5"]);
    assert_eq!(report["room"]["delivered"], 50 * 400, "{report}");
    for who in ["pair_alone", "pair_beside", "room"] {
        assert_nothing_is_wrong(&report[who]);
    }
}

#[test]
fn more_users_than_connections_still_have_a_topic_each() {
    let hub = Hub::start();
    let report = bench(&hub, &["peruser", "--users=10,40", "--connections=10"]);
    for (step, users) in report["steps"].as_array().unwrap().iter().zip([10, 40]) {
        assert_eq!((&step["users"], &step["connections"]), (&users.into(), &10.into()), "{report}");
        assert_eq!(step["lost"], 0, "{report}");
    }
}

fn assert_nothing_is_wrong(report: &Value) {
    for key in ["lost", "duplicated", "late"] {
        assert_eq!(report[key], 0, "{key}: {report}");
    }
}

/// What `hubbub bench` reports when it drives this hub.
fn bench(hub: &Hub, arguments: &[&str]) -> Value {
    let address = hub.mqtt().to_string();
    let mut command = hub.command(&["bench"]);
    command.args(arguments).args(["--address", &address, "--json"]);
    serde_json::from_str(&succeeds(&mut command)).unwrap()
}
