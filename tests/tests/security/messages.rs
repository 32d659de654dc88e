//! What is delivered, once, to whom, and for how long: T34 to T37.

use hubbub_tests::wire::{VERSIONS, Value};
use hubbub_tests::{Connect, Publish, Settings, Version};

use crate::talk::{SINCE_311, Talk, all, five, versions};

/// Guards: `Retained::set` (retained.rs), `Edge::retained_for` (edge/subscribe.rs), `Edge::deliver_retained` and `deliver_all`
/// (edge/publish.rs).
#[test]
fn t34_retained_messages() {
    // Taken away by an empty retained message, and by nothing else.
    all("a connects
         a > 31 ~ <%/t> {} 'kept' ; 30 ~ <%/t> {} ; 30 ~ <%/t> {} 'passes' ; c0 00
         a < d0 00
         b connects
         b subscribes <%/t> 01
         b < 31 ~ <%/t> {} 'kept'
         a > 31 ~ <%/t> {} ; c0 00
         a < d0 00
         b < 30 ~ <%/t> {}
         c connects
         c subscribes <%/t> 01
         c quiet");
    // Retain handling 0, 1, 2: at the first SUBSCRIBE and at the second.
    for (options, first, second) in [("00", true, true), ("10", true, false), ("20", false, false)] {
        let kept = |comes| if comes { "b < 31 ~ <%/t> {} 'kept'" } else { "b quiet" };
        five(&format!(
            "a connects
             a > 31 ~ <%/t> {{}} 'kept' ; c0 00
             a < d0 00
             b connects
             b > 82 ~ 0001 {{}} <%/t> {options}
             b < 90 ~ 0001 {{}} 00
             {}
             b > 82 ~ 0002 {{}} <%/t> {options}
             b < 90 ~ 0002 {{}} 00
             {}",
            kept(first),
            kept(second)
        ));
    }
    // Retain as published, which a retained message that comes with a SUBSCRIBE does not ask for.
    five(
        "b connects
          b > 82 ~ 0001 {} <%/t> 08
          b < 90 ~ 0001 {} 00
          c connects
          c subscribes <%/t> 00
          a connects
          a > 31 ~ <%/t> {} 'x' ; 30 ~ <%/t> {} 'y'
          b < 31 ~ <%/t> {} 'x'
          b < 30 ~ <%/t> {} 'y'
          c < 30 ~ <%/t> {} 'x'
          c < 30 ~ <%/t> {} 'y'",
    );
    // Never at a higher quality than it was published at or granted.
    for (sent, granted, first) in
        [("35", "00", "31"), ("35", "01", "33 id"), ("31", "02", "31"), ("33", "02", "33 id")]
    {
        let (first, id) = first.split_once(' ').map_or((first, ""), |(first, _)| (first, "$p"));
        let ids = if sent == "31" { "" } else { "0001" };
        all(&format!(
            "a connects
             a > {sent} ~ <%/t> {ids} {{}} 'x' ; c0 00
             b connects
             b subscribes <%/none> 00
             {}
             b subscribes <%/t> {granted}
             b < {first} ~ <%/t> {id} {{}} 'x'",
            match sent {
                "35" => "a < d0 00 \n a < 50 02 0001",
                "33" => "a < d0 00 \n a < 40 02 0001",
                _ => "a < d0 00",
            }
        ));
    }
    more_than_any_window_arrive();
}

fn more_than_any_window_arrive() {
    let settings = Settings::dev().set("store.engine", "memory").set("session.queue_messages", "10");
    let hub = settings.set("session.inflight", "4").start();
    let mut alice = hub.client(Connect::new(Version::V5, "a"));
    (0..600).for_each(|number| {
        drop(alice.publish(Publish::new(format!("shelf/{number}"), "x").qos(1).retained()))
    });
    for version in VERSIONS {
        let mut connect = Connect::new(version, "b");
        if version == Version::V5 {
            connect.props = connect.props.with(0x21, Value::Short(2));
        }
        let mut bob = hub.client(connect);
        bob.subscribe("shelf/+", 1);
        let seen: std::collections::BTreeSet<String> = (0..600).map(|_| bob.receives().topic).collect();
        assert_eq!(seen.len(), 600, "{version:?}");
        bob.has_nothing_more();
    }
}

/// A second passes for the hub: a will with that delay.
const A_SECOND: &str = "heir connects
    heir subscribes <%/second> 00
    dying > CONNECT 06 0000 {11 00000e10} <dying%> {18 00000001} <%/second> <later>
    dying < 20 ~ 00 00 {*}
    dying gone
    heir < 30 ~ <%/second> {} 'later'
    heir gone";

/// Guards: `Message::is_expired` in `Outbound::pump`, `pump_reader` and `Retained::matching`, `Message::remaining` (message.rs);
/// what is in flight is sent again whatever its age (`Outbound::catch_up`).
#[test]
fn t35_a_message_expires_once_wherever_it_waits_and_not_in_flight() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b subscribes <%/t> 02
         full > CONNECT 02 0000 {21 0001} <full%>
         full < 20 ~ 00 00 {*}
         full subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {02 00000001} 'in flight'
         a < 40 02 0001
         b < 32 ~ <%/t> $p {02 00000001} 'in flight'
         b > e0 00
         b closed
         full < 32 ~ <%/t> $f {02 00000001} 'in flight'
         a > 32 ~ <%/t> 0002 {02 00000001} 'too late'
         a < 40 02 0002
         a > 33 ~ <%/kept> 0003 {02 00000001} 'too late'
         a < 40 02 0003
         a > 32 ~ <%/t> 0004 {02 0000003c} 'in time'
         a < 40 02 0004",
    );
    talk.goes(A_SECOND).goes("b resumes");
    let again = talk.line("b").packet();
    assert!(again[0] == 0x3a && again.ends_with(b"in flight"), "{again:02x?}");
    for who in ["b", "full"] {
        if who == "full" {
            talk.goes("full > 40 02 $f");
        }
        let next = talk.line(who).packet();
        assert!(next.ends_with(b"in time"), "{who}: {next:02x?}");
        // Seconds are taken off once: one has passed, and not much more.
        let at = next.windows(2).position(|pair| pair == [5, 2]).expect("an expiry and nothing else") + 2;
        let left = u32::from_be_bytes(next[at..at + 4].try_into().unwrap());
        assert!((40..60).contains(&left), "{who}: {left} s left");
    }
    talk.goes("c connects \n c subscribes <%/kept> 01 \n c quiet \n b quiet");
}

/// Guards: `Edge::deliver_all` (edge/publish.rs) and `Queues::enqueue` (bridge/queue.rs): one copy, the lower quality, all
/// identifiers; `Edge::is_own` and `Queues::matches` for no-local.
#[test]
fn t36_overlapping_subscriptions_bring_one_copy() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <%/+> 00
             b subscribes <%/t> 02
             b subscribes <%/#> 01
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'x'
             b < 34 ~ <%/t> $p {{}} 'x'
             a > 32 ~ <%/u> 0002 {{}} 'y'
             b < 32 ~ <%/u> $q {{}} 'y'
             a > 30 ~ <%/t> {{}} 'z'
             b < 30 ~ <%/t> {{}} 'z'
             b > 50 02 $p
             b < 62 02 $p
             b quiet"
        ));
    }
    for (granted, sent, first, id) in
        [("00", "34", "30", ""), ("01", "34", "32", "$p"), ("02", "32", "32", "$p"), ("02", "30", "30", "")]
    {
        let ids = if sent == "30" { "" } else { "0001" };
        for comes in ["connects", "persists"] {
            all(&format!(
                "b {comes}
                 b subscribes <%/t> {granted}
                 a connects
                 a > {sent} ~ <%/t> {ids} {{}} 'x'
                 b < {first} ~ <%/t> {id} {{}} 'x'"
            ));
        }
    }
    ["connects", "persists"].into_iter().for_each(one_copy_has_all_identifiers);
    for comes in ["connects", "persists"] {
        five(
            &format!(
                "b {comes}
             b > 82 ~ 0001 {{}} <%/t> 05
             b < 90 ~ 0001 {{}} 01
             b > 32 ~ <%/t> 0001 {{}} 'mine'
             b < 40 ~ 0001 {{*}}
             a connects
             a > 32 ~ <%/t> 0002 {{}} 'theirs'
             b < 32 ~ <%/t> $p {{}} 'theirs'
             b quiet"
            )
            .replace(
                "b < 40 ~ 0001 {*}",
                if comes == "connects" { "b < 40 ~ 0001" } else { "b < 40 02 0001" },
            ),
        );
    }
}

fn one_copy_has_all_identifiers(comes: &str) {
    let mut talk = Talk::new(Version::V5);
    talk.goes(&format!(
        "b {comes}
         b > 82 ~ 0001 {{0b 07}} <%/+> 01
         b < 90 ~ 0001 {{}} 01
         b > 82 ~ 0002 {{}} <%/u> 01
         b < 90 ~ 0002 {{}} 01
         b > 82 ~ 0003 {{0b ffffff7f}} <%/t> 01
         b < 90 ~ 0003 {{}} 01
         a connects
         a > 32 ~ <%/u> 0001 {{}} 'x'
         b < 32 ~ <%/u> $p {{0b 07}} 'x'
         b > 82 ~ 0004 {{0b 09}} <%/+> 01
         b < 90 ~ 0004 {{}} 01
         a > 32 ~ <%/u> 0002 {{}} 'x'
         b < 32 ~ <%/u> $q {{0b 09}} 'x'
         a > 32 ~ <%/t> 0003 {{}} 'x'"
    ));
    let packet = talk.line("b").packet();
    let has = |id: &[u8]| packet.windows(id.len()).any(|part| part == id);
    assert!(has(&[0x0b, 9]) && has(b"\x0b\xff\xff\xff\x7f"), "{comes}: {packet:02x?}");
    talk.goes("b quiet");
}

/// Guards: `Edge::subscribe` and `Edge::unsubscribe` (edge/subscribe.rs).
#[test]
fn t37_each_filter_has_its_own_code_in_one_answer() {
    all("a connects
         a subscribes <%/t> 01
         a > a2 ~ abcd {} <%/none> <%/t> <%/T> <%/t>
         a < b0 ~ abcd {} [11 00 11 11]
         a > a2 ~ abce {} <%/t>
         a < b0 ~ abce {} [11]
         a quiet");
    for comes in ["connects", "persists"] {
        versions(
            SINCE_311,
            &format!(
                "a {comes}
                 a > 82 ~ 1234 {{}} <%/t> 01 <u/somebody/inbox> 01 <%/a#> 02 <%/u> 02 <rpc/x> 00 <%/v> 00 <$share/g> 00
                 a < 90 ~ 1234 {{*}} 01 [87] (80) [8f] (80) 02 [87] (80) 00 [8f] (80)
                 a quiet
                 b connects
                 b > 30 ~ <%/v> {{}} 'granted'
                 a < 30 ~ <%/v> {{}} 'granted'
                 a > a2 ~ 1235 {{}} <%/t> <u/somebody/inbox> <%/u> <%/v> <$share/g>
                 a < b0 ~ 1235 {{}} [00 11 00 00 11]
                 a quiet"
            ),
        );
    }
    // Nothing granted is an answer as well, and no filter at all is none.
    versions(
        SINCE_311,
        "a connects \n a > 82 ~ 0001 {} <u/x/inbox> 01 \n a < 90 ~ 0001 {*} [87] (80) \n a quiet",
    );
    versions(SINCE_311, "a connects \n a > 82 ~ 0001 {} \n a ends 82");
    versions(SINCE_311, "a connects \n a > a2 ~ 0001 {} \n a ends 82");
}
