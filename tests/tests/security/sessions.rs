//! How long sessions last, and what becomes of wills: T26, T33.

use hubbub_tests::{Hub, Publish, Version};

use crate::talk::{SINCE_311, THREE, all, five, versions};

/// Guards: `Edge::expiry_of`, `Edge::make_room`, `Edge::end` and `schedule_expiry` (edge/lifecycle.rs),
/// `Session::handle_disconnect` (session/mod.rs).
#[test]
fn t26_a_session_lasts_as_long_as_was_agreed() {
    // How it begins, how it ends, and whether it is there afterwards.
    let goodbye = "a > e0 00 \n a closed";
    let table = [
        ("02 0000 {}", "a gone", "00"),
        ("02 0000 {11 00000000}", "a gone", "00"),
        ("00 0000 {}", "a gone", "00"),
        ("00 0000 {}", goodbye, "00"),
        ("02 0000 {11 00000e10}", "a gone", "01"),
        ("02 0000 {11 00000e10}", goodbye, "01"),
        ("00 0000 {11 ffffffff}", "a gone", "01"),
        ("00 0000 {11 ffffffff}", "a > e0 ~ 00 {11 00000000} \n a closed", "00"),
        ("00 0000 {11 00000e10}", "a > e0 ~ 04 {11 00000000} \n a closed", "00"),
        ("00 0000 {11 00000001}", "a > e0 ~ 00 {11 00000e10} \n a closed", "01"),
        ("00 0000 {11 00000e10}", "a > e0 ~ 00 {11 ffffffff} \n a closed", "01"),
        ("00 0000 {}", "a > e0 ~ 00 {11 00000e10} \n a ends 82", "00"),
    ];
    for (begins, ends, present) in table {
        println!("{begins}: {ends}");
        five(&format!(
            "a > CONNECT {begins} <a%>
             a < 20 ~ 00 00 {{*}}
             a subscribes <%/t> 01
             {ends}
             a > CONNECT 00 0000 {{11 00000e10}} <a%>
             a < 20 ~ {present} 00 {{*}}"
        ));
    }
    // 3.x: clean or not.
    versions(THREE, "a connects \n a gone \n a persists \n a gone \n a connects \n a gone \n a persists");
    versions(&[Version::V311], "a persists \n a gone \n a > CONNECT 00 0000 <a%> \n a < 20 02 01 00");
    // A take-over goes on with it, a clean start does not.
    five(
        "a persists
          a subscribes <%/t> 01
          b > CONNECT 00 0000 {11 00000e10} <a%>
          b < 20 ~ 01 00 {*}
          a ends 8e
          c > CONNECT 02 0000 {11 00000e10} <a%>
          c < 20 ~ 00 00 {*}
          b ends 8e
          d connects
          d > 32 ~ <%/t> 0001 {} 'x'
          d < 40 ~ 0001 10",
    );
    // A second, and it is over; with the end its will is published.
    five(
        "heir connects
          heir subscribes <%/will> 00
          a > CONNECT 04 0000 {11 00000001} <a%> {18 00000e10} <%/will> <the session has ended>
          a < 20 ~ 00 00 {*}
          a gone
          heir < 30 ~ <%/will> {} 'the session has ended'
          a persists",
    );
}

/// Guards: `Goodbye::fires_will` (goodbye.rs), `Edge::schedule_will`, `fire_will` and `resume` (edge/lifecycle.rs).
#[test]
fn t33_a_will_is_published_when_it_should_and_only_then() {
    let row = |begins: &str, ends: &str, will: bool| {
        five(&format!(
            "b connects
             b subscribes <%/will> 00
             a > CONNECT {begins} <%/will> <gone>
             a < 20 ~ 00 00 {{*}}
             {ends}
             {}
             z > CONNECT 02 0000 {{}} <a%>  # The end of the session publishes what is left.
             z < 20 ~ 00 00 {{*}}
             z > 30 ~ <%/will> {{}} 'next'
             b < 30 ~ <%/will> {{}} 'next'",
            if will { "b < 30 ~ <%/will> {} 'gone'" } else { "" }
        ));
    };
    let (now, later) = ("06 0000 {} <a%> {}", "04 0000 {11 00000e10} <a%> {18 00000e10}");
    let ended = "06 0000 {11 00000000} <a%> {18 00000e10}";
    let again = "c > CONNECT 00 0000 {11 00000e10} <a%> \n c < 20 ~";
    for (begins, ends, will) in [
        (now, "a gone", true),
        (now, "a > e0 00 \n a closed", false),
        (now, "a > e0 01 04 \n a closed", true),
        (now, "a > e0 01 81 \n a closed", true),
        (now, "a > 36 ~ <t> 0001 {} \n a ends 81", true),
        (later, "a > e0 00 \n a closed", false),
        // A delay waits, but not longer than the session.
        (later, &format!("a gone \n {again} 01 00 {{*}} \n c gone"), false),
        (later, "a gone \n c > CONNECT 02 0000 {} <a%> \n c < 20 ~ 00 00 {*}", true),
        (later, "a > e0 ~ 04 {11 00000000} \n a closed", true),
        (ended, "a gone", true),
        // A take-over is an end for a will without delay, and a return for one with.
        (later, &format!("{again} 01 00 {{*}} \n a ends 8e"), false),
        ("04 0000 {11 00000e10} <a%> {}", &format!("{again} 01 00 {{*}} \n a ends 8e"), true),
    ] {
        println!("{begins}: {ends}");
        row(begins, ends, will);
    }
    versions(
        SINCE_311,
        "b connects
         b subscribes <%/will> 00
         a > CONNECT 06 0001 {} <a%> {} <%/will> <silent>
         a < 20 ~ 00 00 {*}
         b < 30 ~ <%/will> {} 'silent'",
    );
    all("a > CONNECT 26 0000 {} <a%> {} <%/kept> <kept>
         a < 20 ~ 00 00 {*}
         b connects
         b subscribes <%/kept> 00
         a gone
         b < 30 ~ <%/kept> {} 'kept'
         c connects
         c subscribes <%/kept> 00
         c < 31 ~ <%/kept> {} 'kept'");
    at_the_end_of_the_server();
}

/// The server ends the connections itself, so their wills are published, and those who are away have them afterwards.
fn at_the_end_of_the_server() {
    let mut hub = Hub::start();
    let mut heir = hub.person("heir").keeping_the_session().connects();
    heir.subscribe("wills/+", 1);
    let heir = heir.leaves();
    let will = |topic: &str| Publish::new(topic, "the server stopped").qos(1);
    let mut dora = hub.person("dora").with_will(will("wills/dora")).connects();
    hub.stop();
    assert_eq!(dora.is_closed().map(|(code, _)| code), Some(0x8b));
    hub.restart();
    assert_eq!(heir.connects().receives().topic, "wills/dora");
}
