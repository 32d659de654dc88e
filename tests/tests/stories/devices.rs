//! Devices: who is on which, single sign-on, and those that have to go.

use hubbub_tests::client::Refused;
use hubbub_tests::tool::{self, eventually, succeeds};
use hubbub_tests::wire::{Props, Value};
use hubbub_tests::{Connect, Hub, Publish, RawClient, Settings, Version, message};

const TAKEN_OVER: u8 = 0x8e;
const NOT_AUTHORIZED: u8 = 0x87;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;
const BANNED: u8 = 0x8a;
const ADMINISTRATIVE: u8 = 0x98;

/// Of each user one phone, on many edges, so that devices of a user have different homes.
fn single() -> Settings {
    Settings::dev().set("devices.single", "phone").set("server.edges", "4")
}

#[test]
fn a_login_ends_the_other_device_of_its_class_wherever_that_is() {
    let hub = single().start();
    let mut desktop = hub.person("bob").on("bob-desktop").arrives();
    let mut last = hub.person("bob").on("bob-phone").connects();
    for number in 0..8 {
        let phone = hub.person("bob").on(&format!("other{number}")).of_class("phone").connects();
        let (code, props) = last.is_closed().expect("a goodbye");
        let why = "the user logged in on another device of this class";
        assert_eq!((code, props.text(0x1f).as_deref()), (TAKEN_OVER, Some(why)));
        last = phone;
    }
    hub.person("alice").on("alice-phone").connects().says("bob", "hi");
    desktop.sees(message("hi"));
    last.pings();
}

#[test]
fn an_automatic_reconnect_never_ends_the_other_device() {
    let mut hub = single().start();
    let old = hub.person("bob").on("old").keeping_the_session().of_class("phone");
    let new = hub.person("bob").on("new").keeping_the_session().of_class("phone");
    let mut first = old.clone().arrives();
    let second = new.clone().arrives();
    assert_eq!(first.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    // While the other one is there, while its link is lost, and after a restart of the server.
    let is_refused = |hub: &Hub| {
        let refused = old.clone().at(hub).is_refused();
        assert!(matches!(refused, Refused::Code(NOT_AUTHORIZED, _)), "{refused:?}");
    };
    is_refused(&hub);
    second.vanishes();
    eventually("the link is lost", || hub.counter("connections") == 0);
    is_refused(&hub);
    hub.kill9();
    hub.restart();
    is_refused(&hub);
    let mut second = new.clone().at(&hub).connects();
    assert!(second.session_present);
    // Logging in anew it comes in, and the other one has to go.
    let mut first = old.starting_anew().of_class("phone").at(&hub).arrives();
    assert_eq!(second.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    hub.person("alice").connects().says("bob", "hi");
    first.sees(message("hi"));
    // When its session is over the place is free for whoever comes back.
    first.leaves();
    assert!(new.at(&hub).connects().session_present);
}

#[test]
fn a_device_that_takes_over_its_own_connection_ends_no_other() {
    let hub = single().start();
    let phone = hub.person("bob").on("bob-phone").keeping_the_session();
    let mut first = phone.clone().connects();
    let mut second = phone.clone().connects();
    assert_eq!(first.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    second.pings();
    let mut third = phone.starting_anew().connects();
    assert_eq!(second.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    third.pings();
}

#[test]
fn a_take_over_of_a_session_that_is_not_kept_is_a_login_and_keeps_the_place() {
    let hub = single().start();
    let mut first = hub.person("bob").on("bob-phone").connects();
    let mut again = hub.person("bob").on("bob-phone").resuming().connects();
    assert_eq!(first.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    let mut other = hub.person("bob").on("other").of_class("phone").connects();
    assert_eq!(again.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    other.pings();
}

#[test]
fn whoever_does_not_come_in_takes_no_place_away() {
    let hub = single().start();
    let mut old = hub.person("bob").on("bob-phone").connects();
    let mut small = RawClient::connect(hub.mqtt());
    let props = Props::default().with_user("class", "phone").with(MAXIMUM_PACKET_SIZE, Value::Long(4));
    small.sends(Connect { props, ..Connect::new(Version::V5, "other").user("bob") }.bytes());
    small.ends();
    old.pings();
    let mut new = hub.person("bob").on("new").of_class("phone").connects();
    assert_eq!(old.is_closed().map(|(code, _)| code), Some(TAKEN_OVER));
    new.pings();
}

#[test]
fn a_client_of_3_x_hears_of_it_in_a_notice() {
    let hub = single().start();
    let mut old = hub.person("bob").on("bob-phone").speaking(Version::V311).connects();
    old.subscribe("u/bob/notice", 1);
    let _new = hub.person("bob").on("new").of_class("phone").connects();
    let notice = old.receives_on("u/bob/notice");
    assert_eq!(
        notice.text(),
        r#"{"code":142,"reason":"the user logged in on another device of this class"}"#
    );
    assert_eq!(old.is_closed(), None);
}

#[test]
fn those_without_a_name_share_no_place() {
    let hub = single().start();
    let mut one = hub.person("").nameless().on("phone").connects();
    let mut two = hub.person("").nameless().on("other").of_class("phone").connects();
    one.pings();
    two.pings();
}

#[test]
fn a_class_is_what_others_see_and_one_level() {
    let hub = Hub::start();
    let mut alice = hub.person("alice").connects();
    alice.watches("bob");
    let _bob = hub.person("bob").on("x91f").of_class("telephone").connects();
    assert_eq!(alice.sees_presence("bob", "online")["devices"], serde_json::json!(["telephone"]));
    for bad in ["", "a/b", "+", "$SYS", "a~b", &"x".repeat(65)] {
        let refused = hub.person("bob").of_class(bad).is_refused();
        assert!(matches!(refused, Refused::Code(0x83, _)), "{bad:?}: {refused:?}");
    }
}

fn listed(hub: &Hub, user: &str) -> Vec<String> {
    let printed = succeeds(&mut hub.command(&["device", "list", user]));
    // Addresses and times are different each time.
    let short = |line: &str| match line.split_once(" since ").or(line.split_once(" seen ")) {
        Some((before, after)) => {
            let rest = after.split_once(", ").map_or(String::new(), |(_, rest)| format!(", {rest}"));
            format!("{before}{rest}")
        }
        None => line.to_owned(),
    };
    printed.lines().map(short).collect()
}

#[test]
fn devices_are_listed_with_what_waits_for_them_with_the_server_running_or_stopped() {
    let mut hub = Settings::dev().set("server.edges", "2").start();
    let mut away = hub.person("bob").on("bob-tablet").keeping_the_session().arrives();
    away.subscribe("news/#", 1);
    away.leaves();
    let _here = hub.person("bob").on("x1").of_class("phone").arrives();
    let mut alice = hub.person("alice").connects();
    alice.says("bob", "hi");
    (0..2).for_each(|_| drop(alice.publish(Publish::new("news/1", "x").qos(1))));
    let tablet = "bob  bob-tablet  tablet  last, 2 subscriptions, 2 queued, 1 in the inbox";
    assert_eq!(listed(&hub, "bob"), [tablet, "bob  x1  phone  connected, 1 subscription"]);
    let all = succeeds(&mut hub.command(&["device", "list"]));
    assert_eq!(all.lines().count(), 3, "{all}");
    hub.stop();
    assert_eq!(listed(&hub, "bob"), [tablet]);
}

#[test]
fn a_device_that_is_kicked_may_come_back_to_its_session_unless_that_is_forgotten() {
    let mut hub = Hub::start();
    let phone = hub.person("bob").on("bob-phone").keeping_the_session();
    let mut bob = phone.clone().arrives();
    succeeds(&mut hub.command(&["device", "kick", "bob", "bob-phone"]));
    let (code, props) = bob.is_closed().expect("a goodbye");
    assert_eq!((code, props.text(0x1f).as_deref()), (ADMINISTRATIVE, Some("ended by an operator")));
    let mut bob = phone.clone().connects();
    assert!(bob.session_present);
    succeeds(&mut hub.command(&["device", "kick", "--forget", "bob", "bob-phone"]));
    assert_eq!(bob.is_closed().map(|(code, _)| code), Some(ADMINISTRATIVE));
    let bob = phone.clone().connects();
    assert!(!bob.session_present);
    bob.leaves();

    let fails = |arguments: &[&str], why: &str| {
        let ended = tool::run(&mut hub.command(arguments));
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    };
    fails(&["device", "kick", "bob", "bob-phone"], "is not connected");
    fails(&["device", "kick", "--forget", "alice", "bob-phone"], "has no session");
    fails(&["device", "allow", "bob", "bob-phone"], "is not barred");
    hub.stop();
    succeeds(&mut hub.command(&["device", "kick", "--forget", "bob", "bob-phone"]));
    hub.restart();
    assert!(!phone.at(&hub).connects().session_present);
}

#[test]
fn a_device_that_is_revoked_stays_out_until_it_is_allowed_again() {
    let mut hub = Hub::start();
    let phone = hub.person("bob").on("bob-phone").keeping_the_session();
    let mut bob = phone.clone().arrives();
    let mut tablet = hub.person("bob").on("bob-tablet").connects();
    succeeds(&mut hub.command(&["device", "revoke", "bob", "bob-phone"]));
    assert_eq!(bob.is_closed().map(|(code, _)| code), Some(ADMINISTRATIVE));
    let is_barred = |hub: &Hub| {
        let refused = phone.clone().at(hub).is_refused();
        assert!(matches!(refused, Refused::Code(BANNED, _)), "{refused:?}");
    };
    is_barred(&hub);
    tablet.pings();
    hub.kill9();
    hub.restart();
    is_barred(&hub);
    assert!(listed(&hub, "bob")[0].ends_with("barred"), "{:?}", listed(&hub, "bob"));
    succeeds(&mut hub.command(&["device", "allow", "bob", "bob-phone"]));
    assert!(phone.clone().at(&hub).connects().session_present);
    // The same with the server stopped.
    hub.stop();
    succeeds(&mut hub.command(&["device", "revoke", "bob", "bob-phone"]));
    hub.restart();
    is_barred(&hub);
    hub.stop();
    succeeds(&mut hub.command(&["device", "allow", "bob", "bob-phone"]));
    hub.restart();
    phone.at(&hub).connects();
}
