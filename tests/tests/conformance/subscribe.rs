//! SUBSCRIBE and SUBACK (MQTT 5 §3.8, §3.9), and which copies of a message they bring (§3.3.4).

use std::sync::Arc;

use crate::talk::{self, SINCE_311, Talk, all, five, versions};
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Connect, Publish, Settings, Version};

#[test]
fn each_filter_is_answered_in_its_place() {
    all("a connects
         a > 82 ~ abcd {} <%/a> 02 <%/b> 00 <%/c> 01 <%/a> 01
         a < 90 ~ abcd {} 02 00 01 01");
    five(
        "a connects
          a > 82 ~ 0001 {} <%/a> 01 <u/somebody/inbox> 01 <a/#/b> 02 <%/#> 02
          a < 90 ~ 0001 {*} 01 87 8f 02",
    );
    // 3.1 has no code for a failure.
    for (version, failure) in [(Version::V31, "00"), (Version::V311, "80")] {
        versions(
            &[version],
            &format!(
                "a connects
                 a > 82 ~ 0001 <%/a> 01 <u/somebody/inbox> 01 <a/#/b> 01 <%/#> 02
                 a < 90 ~ 0001 01 {failure} {failure} 02"
            ),
        );
    }
}

#[test]
fn a_refused_filter_is_named_with_the_reason() {
    let deep = "/".repeat(32);
    for comes in ["connects", "persists"] {
        five(&format!(
            "a {comes}
             a > 82 ~ 0001 {{}} <%/a> 01 <u/bob> 01 <{deep}> 02
             a < 90 ~ 0001 {{1f <u/bob: this topic is not yours\\x3b {deep}: the topic has more than 32 levels>}} 01 87 8f
             a > 82 ~ 0002 {{}} <u/bob> 00
             a < 90 ~ 0002 {{1f <u/bob: this topic is not yours>}} 87
             a > 82 ~ 0003 {{}} <%/b> 00
             a < 90 ~ 0003 {{}} 00"
        ));
    }
}

#[test]
fn many_filters_in_one_packet_count_like_many_packets() {
    all("b connects
         b > 82 ~ 0001 {} <%/a> 00 <%/b> 01
         b < 90 ~ 0001 {} 00 01
         a connects
         a > 32 ~ <%/a> 0001 {} 'x' ; 32 ~ <%/b> 0002 {} 'y'
         b < 30 ~ <%/a> {} 'x'
         b < 32 ~ <%/b> $p {} 'y'");
}

#[test]
fn the_lower_of_publish_and_grant_is_delivered() {
    for grant in 0..3 {
        for sent in 0..3 {
            let (first, id) = [("30", ""), ("32", "$p"), ("34", "$p")][grant.min(sent)];
            let out = ["30 ~ <%/t> {} 'x'", "32 ~ <%/t> 0001 {} 'x'", "34 ~ <%/t> 0001 {} 'x'"][sent];
            all(&format!(
                "b connects
                 b subscribes <%/t> 0{grant}
                 p persists
                 p subscribes <%/t> 0{grant}
                 a connects
                 a > {out}
                 b < {first} ~ <%/t> {id} {{}} 'x'
                 p < {first} ~ <%/t> {} {{}} 'x'",
                id.replace("$p", "$q")
            ));
        }
    }
}

#[test]
fn a_server_may_keep_to_itself_that_a_right_is_missing() {
    let settings = Settings::dev().set("store.engine", "memory").set("acl.say_why", "false");
    let hub = Arc::new(settings.start());
    for version in SINCE_311 {
        Talk::with(hub.clone(), *version).goes(
            "a connects
             a > 82 ~ 0001 {} <u/somebody/inbox> 01
             a < 90 ~ 0001 {} 80
             a > 82 ~ 0002 {} <%/t> 01 <dm/bob> 00 <a#> 01
             a < 90 ~ 0002 {*} 01 80 [8f](80)",
        );
    }
}

#[test]
fn a_subscribe_that_cannot_be_ends_the_connection() {
    let table = [
        ("reserved flags 0", "80 ~ 0001 {} <t> 00", "81"),
        ("reserved flags 3", "83 ~ 0001 {} <t> 00", "81"),
        ("no filter", "82 ~ 0001 {}", "82"),
        ("packet identifier 0", "82 ~ 0000 {} <t> 00", "81"),
        ("reserved bits of the options", "82 ~ 0001 {} <t> 40", "81"),
        ("more reserved bits", "82 ~ 0001 {} <t> [80](04)", "81"),
        ("a filter that is not UTF-8", "82 ~ 0001 {} <\\xff> 00", "81"),
        ("U+0000 in a filter", "82 ~ 0001 {} <t\\0> 00", "81"),
        ("no options", "82 ~ 0001 {} <t>", "81"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends {code}"));
    }
    five("a connects \n a > 82 ~ 0001 {} <t> 30 \n a ends 82"); // retain handling 3
    five("a connects \n a > 82 ~ 0001 {0b 00} <t> 00 \n a ends 82"); // subscription identifier 0
    five("a connects \n a > 82 ~ 0001 {0b 01 0b 02} <t> 00 \n a ends 82");
    five("a connects \n a > 82 ~ 0001 {} <$share/g/t> 04 \n a ends 82"); // no local on a shared subscription
}

#[test]
fn a_subscription_at_qos_3_ends_the_connection() {
    versions(SINCE_311, "a connects \n a > 82 ~ 0001 {} <t> 03 \n a ends 82");
}

#[test]
fn the_same_filter_again_replaces_the_subscription() {
    all("b connects
         b subscribes <%/t> 02
         b subscribes <%/t> 00
         a connects
         a > 32 ~ <%/t> 0001 {} 'one copy'
         a > 32 ~ <%/t> 0002 {} 'then the next'
         b < 30 ~ <%/t> {} 'one copy'
         b < 30 ~ <%/t> {} 'then the next'");
}

#[test]
fn replacing_a_subscription_loses_nothing_and_sends_what_is_retained_again() {
    all("a connects
         a > 31 ~ <%/t> {} 'kept' ; c0 00
         a < d0 00
         b connects
         b subscribes <%/t> 01
         b < 31 ~ <%/t> {} 'kept'
         a > 32 ~ <%/t> 0001 {} 'one'
         b < 32 ~ <%/t> $p {} 'one'
         b subscribes <%/t> 02
         b < 31 ~ <%/t> {} 'kept'
         a > 34 ~ <%/t> 0002 {} 'two'
         b < 34 ~ <%/t> $q {} 'two'
         b > 40 02 $p
         b quiet");
}

/// From whichever QoS to whichever other, while messages are on their way between the edges of two clients.
#[test]
fn a_subscription_that_is_replaced_in_the_midst_of_messages_loses_none() {
    let hub = talk::hub();
    for (version, durable) in VERSIONS.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        for share in ["", "$share/g/"] {
            let topic = Talk::new(version).mark();
            let filter = format!("{share}{topic}");
            println!("{version:?}, {durable}, {filter}");
            let bob = Connect::new(version, format!("b{topic}"));
            let mut bob = hub.client(if durable { bob.persistent() } else { bob });
            let mut alice = hub.client(Connect::new(version, format!("a{topic}")));
            bob.subscribe(&filter, 0);
            for round in 0..30 {
                let message = |id: u16| Publish::new(&topic, format!("{round} {id}")).qos(1).id(id);
                let messages: Vec<Publish> = (1..=20).map(message).collect();
                alice.sends_all(&messages);
                bob.subscribe(&filter, [1, 0, 2, 1, 2, 0][round % 6]);
                alice.finishes_all(&messages);
                let mut heard: Vec<String> = messages.iter().map(|_| bob.receives().text()).collect();
                let mut said: Vec<String> = messages.iter().map(Publish::text).collect();
                if !share.is_empty() {
                    // §4.6 promises an order to all other subscriptions.
                    heard.sort();
                    said.sort();
                }
                assert_eq!(heard, said, "{version:?}, {durable}, {filter}");
            }
            bob.has_nothing_more();
        }
    }
}

#[test]
fn no_local_keeps_away_what_the_client_published_and_nothing_else() {
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b > 82 ~ 0001 {{}} <%/t> 05
             b < 90 ~ 0001 {{}} 01
             b > 32 ~ <%/t> 0001 {{}} 'my own'
             b < 40 02 0001
             a connects
             a > 32 ~ <%/t> 0001 {{}} 'of a'
             b < 32 ~ <%/t> $p {{}} 'of a'
             b quiet"
        ));
    }
}

#[test]
fn no_local_holds_for_retained_messages_as_well() {
    five(
        "b connects
          b > 31 ~ <%/1> {} 'my own'
          a connects
          a > 31 ~ <%/2> {} 'of a' ; c0 00
          a < d0 00
          b > 82 ~ 0001 {} <%/+> 05
          b < 90 ~ 0001 {} 01
          b < 31 ~ <%/2> {} 'of a'
          b quiet",
    );
}

#[test]
fn without_no_local_a_client_hears_itself() {
    all("b connects
         b subscribes <%/t> 01
         b > 30 ~ <%/t> {} 'my own'
         b < 30 ~ <%/t> {} 'my own'");
}
