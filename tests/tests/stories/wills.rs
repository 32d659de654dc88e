//! Wills.

use hubbub_tests::wire::{VERSIONS, Value};
use hubbub_tests::{Connect, Hub, Publish, Settings, Version};

#[test]
fn a_vanished_client_has_its_will_published_and_a_goodbye_has_not() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/+", 2);
    for version in VERSIONS {
        for qos in 0..=2 {
            let will = |text: &str| Publish::new(format!("wills/{qos}"), text).qos(qos);
            let dora = |text| hub.person("dora").speaking(version).with_will(will(text)).connects();
            dora("said goodbye").leaves();
            dora("vanished").vanishes();
            let read = heir.receives();
            assert_eq!(
                (read.text().as_str(), read.qos, read.retain),
                ("vanished", qos, false),
                "{version:?}"
            );
        }
    }
}

#[test]
fn a_retained_will_stays() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/1", 1);
    let will = Publish::new("wills/1", "gone").qos(1).retained();
    hub.person("dora").with_will(will).connects().vanishes();
    assert_eq!(heir.receives().text(), "gone");
    let mut late = hub.person("late").connects();
    late.subscribe("wills/1", 1);
    assert!(late.receives().retain);
}

#[test]
fn a_protocol_error_is_no_goodbye() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/1", 1);
    let mut dora = hub.person("dora").with_will(Publish::new("wills/1", "broken")).connects();
    dora.send(&Connect::new(Version::V5, "twice").bytes());
    assert_eq!(dora.is_closed().map(|(code, _)| code), Some(0x82), "a second CONNECT is a protocol error");
    assert_eq!(heir.receives().text(), "broken");
}

#[test]
fn a_client_that_falls_silent_has_its_will_published() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/1", 1);
    let dora = Connect::new(Version::V311, "dora").user("dora").keep_alive(1);
    let mut dora = hub.client(dora.will(Publish::new("wills/1", "silent")));
    assert_eq!(heir.receives().text(), "silent");
    assert_eq!(dora.is_closed(), None);
}

#[test]
fn disconnect_with_will_publishes_it() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/1", 1);
    let will = Publish::new("wills/1", "on purpose").user("why", "04");
    let mut dora = hub.person("dora").with_will(will).connects();
    dora.send(b"\xe0\x01\x04");
    assert_eq!(dora.is_closed(), None);
    let read = heir.receives();
    assert_eq!((read.text().as_str(), read.props.user("why")), ("on purpose", Some("04")));
}

#[test]
fn a_delayed_will_is_not_published_when_the_client_is_back_in_time() {
    let hub = Hub::start();
    let mut heir = hub.person("heir").connects();
    heir.subscribe("wills/+", 1);
    let delayed =
        |topic: &str, seconds| Publish::new(topic, "delayed").qos(1).prop(0x18, Value::Long(seconds));
    let back = hub.person("back").keeping_the_session().with_will(delayed("wills/back", 1)).connects();
    let away = hub.person("away").keeping_the_session().with_will(delayed("wills/away", 2)).connects();
    let _back = back.vanishes().connects();
    away.vanishes();
    assert_eq!(heir.receives().topic, "wills/away", "the will of somebody who came back is not published");
}

#[test]
fn wills_of_connections_that_died_with_the_server_are_published_by_the_next_run() {
    // With one edge, what the heir has stored stands behind what the polite one said.
    let mut hub = Settings::dev().set("server.edges", "1").start();
    let mut heir = hub.person("heir").keeping_the_session().connects();
    heir.subscribe("wills/+", 1);
    let will = |topic: &str| Publish::new(topic, "died with the server").qos(1);
    let _clean = hub.person("clean").with_will(will("wills/clean")).connects();
    let _kept = hub.person("kept").keeping_the_session().with_will(will("wills/kept").retained()).connects();
    let mut polite = hub.person("polite").with_will(will("wills/polite")).connects();
    polite.send(b"\xe0\x00");
    assert_eq!(polite.is_closed(), None);
    heir.publish(Publish::new("fence", "stored").qos(1).retained());
    let heir = heir.vanishes();
    hub.kill9();
    hub.restart();
    let mut heir = heir.connects();
    let mut topics = [heir.receives().topic, heir.receives().topic];
    topics.sort();
    assert_eq!(topics, ["wills/clean", "wills/kept"], "somebody who said goodbye has no will");
    heir.has_nothing_more();
    let heir = heir.vanishes();
    hub.kill9();
    hub.restart();
    heir.connects().has_nothing_more();
    let mut late = hub.person("late").connects();
    late.subscribe("wills/kept", 1);
    assert!(late.receives().retain);
}

#[test]
fn a_delayed_will_outlives_a_stop_of_the_server() {
    let mut hub = Hub::start();
    let mut heir = hub.person("heir").keeping_the_session().connects();
    heir.subscribe("wills/+", 1);
    let delayed =
        |topic: &str, seconds| Publish::new(topic, "delayed").qos(1).prop(0x18, Value::Long(seconds));
    let away = hub.person("away").keeping_the_session().with_will(delayed("wills/away", 1)).connects();
    let back = hub.person("back").keeping_the_session().with_will(delayed("wills/back", 3)).connects();
    away.vanishes();
    let back = back.vanishes();
    let heir = heir.vanishes();
    hub.stop();
    hub.restart();
    let _back = back.connects();
    let mut heir = heir.connects();
    assert_eq!(heir.receives().topic, "wills/away");
    heir.stays_for(std::time::Duration::from_secs(3));
    heir.has_nothing_more();
}
