//! Topic names and filters (MQTT 5 §4.7).

use std::sync::Arc;

use crate::talk::{Talk, all, five, versions};
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Settings, Version};

#[test]
fn wildcards_match_what_the_specification_says() {
    let table = [
        ("%/sport/#", "%/sport", true),
        ("%/sport/#", "%/sport/player/score", true),
        ("%/sport/#", "%/sports", false),
        ("%/+", "%/sport", true),
        ("%/+", "%/sport/player", false),
        ("%/+", "%", false),
        ("%/+", "%/", true),
        ("%/+/player", "%/sport/player", true),
        ("%/+/player", "%//player", true),
        ("+/%/+", "/%/x", true),
        ("/+", "/%", true),
        ("+/%", "/%", true),
        ("%/a/", "%/a", false),
        ("%//a", "%/a", false),
        ("%/A", "%/a", false),
        ("%/ä", "%/a\u{308}", false),
        ("%/ ", "%/ ", true),
        ("%/#", "%/\u{10ffff}/聊天/🚕", true),
    ];
    for (filter, topic, matches) in table {
        println!("{filter} {topic}");
        let heard = if matches { format!("b < 30 ~ <{topic}> {{}} 'x'\n") } else { String::new() };
        all(&format!(
            "b connects
             b > 82 ~ 0001 {{}} <{filter}> 00 <last/%> 00
             b < 90 ~ 0001 {{}} 00 00
             a connects
             a > 30 ~ <{topic}> {{}} 'x' ; 30 ~ <last/%> {{}} 'last'
             {heard} b < 30 ~ <last/%> {{}} 'last'"
        ));
    }
}

#[test]
fn filters_with_a_misplaced_wildcard_are_refused() {
    for filter in ["a#", "a/#/b", "#/a", "a+", "+a", "a/+b/c", "##", "++", "a/b#"] {
        five(&format!("a connects \n a > 82 ~ 0001 {{}} <{filter}> 00 \n a < 90 ~ 0001 {{*}} 8f"));
        let script = format!("a connects \n a > 82 ~ 0001 <{filter}> 00 \n a < 90 ~ 0001 80");
        versions(&[Version::V311], &script);
    }
}

#[test]
fn an_empty_filter_is_refused() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        talk.goes("a connects \n a > 82 ~ 0001 {} <> 00");
        if version == Version::V5 {
            let answer = talk.line("a").packet();
            assert!(answer.ends_with(&[0x8f]) || answer[..3] == [0xe0, answer[1], 0x8f], "{answer:02x?}");
        } else {
            talk.goes("a closed");
        }
    }
}

#[test]
fn a_wildcard_in_front_does_not_match_a_dollar() {
    let rules = "topic readwrite #\ntopic readwrite $SYS/#\n";
    for version in VERSIONS {
        // One edge, so that what comes later was sent later.
        let settings = Settings::dev().set("store.engine", "memory").set("server.edges", "1");
        let hub = Arc::new(settings.rules(rules).start());
        let mut talk = Talk::with(hub.clone(), version);
        talk.goes(
            "b connects
             b subscribes <#> 00
             b subscribes <+/#> 00
             c connects
             c subscribes <+/canary/#> 00
             s connects
             s subscribes <$SYS/#> 00",
        );
        // There are retained ones, and the health check publishes another.
        assert_eq!(hub.get("/healthz").status(), 200);
        let probe = b"$SYS/canary/probe";
        while !talk.line("s").packet().windows(probe.len()).any(|text| text == probe) {}
        talk.goes(
            "a connects
             a > 30 ~ <%/canary/last> {} 'x'
             b < 30 ~ <%/canary/last> {} 'x'
             c < 30 ~ <%/canary/last> {} 'x'
             d connects
             d subscribes <+/broker/uptime> 00
             d quiet",
        );
    }
}

#[test]
fn topics_and_filters_of_the_greatest_length_that_is_taken_are_whole() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        let topic = format!("{}/{}", talk.mark(), "x".repeat(1024 - 1 - talk.mark().len()));
        talk.goes(&format!(
            "b connects
             b subscribes <{topic}> 00
             a connects
             a > 30 ~ <{topic}> {{}} 'x'
             b < 30 ~ <{topic}> {{}} 'x'"
        ));
    }
}
