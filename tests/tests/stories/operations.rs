//! What the person who runs a hub sees.

use hubbub_tests::{Hub, Publish, Version};

#[test]
fn healthz_is_a_real_round_trip_and_metrics_are_text() {
    let hub = Hub::start();
    let health = hub.get("/healthz");
    assert_eq!(health.status(), 200, "{}", health.text());
    let mut bob = hub.person("bob").arrives();
    hub.person("alice").arrives().says("bob", "hi");
    bob.takes_envelope();
    let metrics = hub.get("/metrics");
    assert_eq!(metrics.status(), 200);
    let kind = metrics.headers.get("content-type").map(String::as_str).unwrap_or_default();
    assert!(kind.starts_with("text/plain"), "Content-Type is {kind:?}");
    let text = metrics.text();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(samples.iter().any(|line| line.starts_with("hubbub_")), "{text}");
    for sample in samples {
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "`{sample}` does not end in a number");
    }
    assert_eq!(hub.get("/no/such/page").status(), 404);
}

#[test]
fn metrics_tell_batches_flushes_and_the_time_to_the_acknowledgement() {
    let hub = Hub::start();
    hub.person("alice").arrives().says("bob", "hi");
    let text = hub.get("/metrics").text();
    for name in ["hubbub_commit_operations", "hubbub_commit_seconds", "hubbub_acknowledgement_seconds"] {
        let value = |of: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{of} ")));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name}{of}: {text}"))
        };
        assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{text}");
        assert!(value("_count") >= 1.0 && value("_sum") > 0.0, "{name}: {text}");
        assert_eq!(value("_bucket{le=\"+Inf\"}"), value("_count"), "{name}");
    }
}

#[test]
fn sigterm_says_goodbye_to_everybody_and_ends_with_0() {
    let mut hub = Hub::start();
    let mut new = hub.person("alice").connects();
    let mut old = hub.person("bob").speaking(Version::V311).connects();
    hub.is_told_to_stop();
    assert_eq!(new.is_closed().map(|(code, _)| code), Some(0x8b), "server shutting down");
    assert_eq!(old.is_closed(), None);
    assert_eq!(hub.ends().code(), Some(0));
    // Nothing listens any more.
    assert!(std::net::TcpStream::connect(hub.mqtt()).is_err());
}

#[test]
fn a_hub_that_is_stopped_publishes_wills_of_nobody_who_will_be_back() {
    let mut hub = Hub::start();
    let mut heir = hub.person("heir").keeping_the_session().connects();
    heir.subscribe("after", 1);
    let heir = heir.leaves();
    hub.person("alice").connects().publish(Publish::new("after", "before the stop").qos(1));
    hub.stop();
    hub.restart();
    assert_eq!(heir.connects().receives().text(), "before the stop");
}

#[test]
fn a_second_hub_on_the_same_folder_is_refused_with_a_sentence() {
    let hub = Hub::start();
    let ended = hubbub_tests::tool::run(&mut hub.command(&["serve", "--dev"]));
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("data"), "names the folder: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    hub.is_healthy();
}

#[test]
fn a_port_in_use_is_refused_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = hubbub_tests::Settings::dev().set("listen.mqtt", &address).is_refused();
    assert!(!ended.status.success());
    assert!(ended.stderr.contains(&address), "names the address: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
