//! Overlapping subscriptions and subscription identifiers (MQTT 5 §3.3.4, §3.8.2.1.2).

use crate::talk::{Talk, all, five};
use hubbub_tests::Version;
use hubbub_tests::wire::{Packet, Value, take_packet};

#[test]
fn overlapping_subscriptions_bring_one_copy_at_the_highest_quality() {
    all("b connects
         b subscribes <%/+> 00
         b subscribes <%/t> 02
         b subscribes <%/#> 01
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         a > 32 ~ <%/u> 0002 {} 'next'
         b < 34 ~ <%/t> $p {} 'x'
         b < 32 ~ <%/u> $q {} 'next'");
}

#[test]
fn overlapping_subscriptions_of_a_kept_session_do_so_too() {
    all("b persists
         b subscribes <%/t> 02
         b subscribes <%/#> 01
         b gone
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         a < 50 02 0001
         a > 62 02 0001
         a < 70 02 0001
         a > 32 ~ <%/u> 0002 {} 'next'
         a < 40 02 0002
         b resumes
         b < 34 ~ <%/t> $p {} 'x'
         b < 32 ~ <%/u> $q {} 'next'");
}

#[test]
fn a_message_names_the_subscriptions_that_it_matches() {
    five(
        "b connects
          b > 82 ~ 0001 {0b 07} <%/+> 00
          b < 90 ~ 0001 {} 00
          b > 82 ~ 0002 {0b ff ff ff 7f} <%/large> 00
          b < 90 ~ 0002 {} 00
          b subscribes <%/#> 00
          a connects
          a > 30 ~ <%/t> {} 'x'
          b < 30 ~ <%/t> {0b 07} 'x'
          a > 30 ~ <%/t/u> {} 'y'
          b < 30 ~ <%/t/u> {} 'y'
          b > a2 ~ 0003 {} <%/+>
          b < b0 ~ 0003 {} 00
          a > 30 ~ <%/large> {} 'z'
          b < 30 ~ <%/large> {0b ff ff ff 7f} 'z'",
    );
}

#[test]
fn one_copy_names_all_subscriptions_that_have_an_identifier() {
    for (comes, id) in [("connects", ""), ("persists", "$p")] {
        let first = if id.is_empty() { "30" } else { "32" };
        let mut talk = Talk::new(Version::V5);
        talk.goes(&format!(
            "b {comes}
             b > 82 ~ 0001 {{0b 07}} <%/+> 01 <%/t> 01
             b < 90 ~ 0001 {{}} 01 01
             b > 82 ~ 0002 {{0b 09}} <%/#> 01
             b < 90 ~ 0002 {{}} 01
             b subscribes <%/+/#> 01
             a connects
             a > {first} ~ <%/t> {} {{}} 'x'",
            id.replace("$p", "0001")
        ));
        let packet = talk.line("b").packet();
        let count = |id: u8| packet.windows(2).filter(|pair| *pair == [0x0b, id]).count();
        assert!((1..=2).contains(&count(7)) && count(9) == 1, "{packet:02x?}");
        talk.goes("b quiet");
    }
}

#[test]
fn a_kept_session_gets_one_copy_although_one_of_its_subscriptions_has_qos_0() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b > 82 ~ 0001 {0b 07} <%/t> 01
         b < 90 ~ 0001 {} 01
         b > 82 ~ 0002 {0b 09} <%/#> 00
         b < 90 ~ 0002 {} 00
         a connects
         a > 32 ~ <%/t> 0001 {} 'x'",
    );
    let packet = talk.line("b").packet();
    let identifiers = &packet[packet.len() - 6..packet.len() - 1];
    assert_eq!(packet[0], 0x32, "{packet:02x?}");
    assert!(
        [b"\x04\x0b\x07\x0b\x09", b"\x04\x0b\x09\x0b\x07"].contains(&identifiers.try_into().unwrap()),
        "{packet:02x?}"
    );
    talk.goes("a > 30 ~ <%/u> {} 'next' \n b < 30 ~ <%/u> {0b 09} 'next'");
}

#[test]
fn replacing_a_subscription_replaces_its_identifier() {
    five(
        "b connects
          b > 82 ~ 0001 {0b 07} <%/t> 00
          b < 90 ~ 0001 {} 00
          b > 82 ~ 0002 {0b 08} <%/t> 00
          b < 90 ~ 0002 {} 00
          a connects
          a > 30 ~ <%/t> {} 'x'
          b < 30 ~ <%/t> {0b 08} 'x'
          b subscribes <%/t> 00
          a > 30 ~ <%/t> {} 'y'
          b < 30 ~ <%/t> {} 'y'",
    );
}

#[test]
fn a_retained_message_names_the_subscription_that_brought_it() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b subscribes <%/#> 00
          b < 31 ~ <%/t> {} 'x'
          b > 82 ~ 0001 {0b 07} <%/+> 00
          b < 90 ~ 0001 {} 00
          b < 31 ~ <%/t> {0b 07} 'x'",
    );
}

#[test]
fn one_subscription_without_own_messages_takes_nothing_from_another() {
    // No local at QoS 2 with retain as published, and beside it QoS 1 and QoS 0.
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b > 82 ~ 0001 {{0b 07}} <%/+> 0e
             b < 90 ~ 0001 {{}} 02
             b > 82 ~ 0002 {{0b 09}} <%/t> 01 <%/u> 00
             b < 90 ~ 0002 {{}} 01 00
             b > 34 ~ <%/t> 0001 {{}} 'own'
             b < 32 ~ <%/t> $p {{0b 09}} 'own'
             b < 50 02 0001
             b > 40 02 $p
             b > 62 02 0001
             b < 70 02 0001
             b > 35 ~ <%/u> 0002 {{}} 'own'
             b < 30 ~ <%/u> {{0b 09}} 'own'
             b < 50 02 0002
             b > 34 ~ <%/v> 0003 {{}} 'for nobody'
             b < 50 02 0003
             b quiet"
        ));
    }
}

#[test]
fn a_message_keeps_its_retain_flag_if_one_of_the_subscriptions_wants_that() {
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b > 82 ~ 0001 {{}} <%/+> 09 <%/t> 01 <%/u/#> 01
             b < 90 ~ 0001 {{}} 01 01 01
             a connects
             a > 33 ~ <%/t> 0001 {{}} 'x'
             b < 33 ~ <%/t> $p {{}} 'x'
             a > 33 ~ <%/u/v> 0002 {{}} 'y'
             b < 32 ~ <%/u/v> $q {{}} 'y'
             b quiet"
        ));
    }
}

#[test]
fn the_quality_of_an_overlap_is_neither_above_the_grant_nor_above_the_publish() {
    for comes in ["connects", "persists"] {
        for (published, narrow, wide) in [(0, 2, 1), (1, 2, 0), (1, 0, 2), (2, 0, 1), (2, 1, 0), (2, 0, 0)] {
            let delivered = published.min(narrow.max(wide));
            let first = |qos: u8| format!("{:02x}", 0x30 | qos << 1);
            let id = |qos: u8, id: &'static str| if qos == 0 { "" } else { id };
            all(&format!(
                "b {comes}
                 b subscribes <%/t> 0{narrow}
                 b subscribes <%/#> 0{wide}
                 a connects
                 a > {} ~ <%/t> {} {{}} 'x'
                 b < {} ~ <%/t> {} {{}} 'x'
                 a > 30 ~ <%/t> {{}} 'last'
                 b < 30 ~ <%/t> {{}} 'last'",
                first(published),
                id(published, "0001"),
                first(delivered),
                id(delivered, "$p"),
            ));
        }
    }
}

#[test]
fn what_comes_out_of_an_inbox_names_all_that_cover_it() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "a > CONNECT 82 0000 {} <a%> <alice%>
         a < 20 ~ 00 00 {*}
         a > 82 ~ 0001 {0b 07} <u/alice%/inbox> 01
         a < 90 ~ 0001 {} 01
         b > CONNECT 82 0000 {} <b%> <bob%>
         b < 20 ~ 00 00 {*}
         b > 32 ~ <dm/alice%> 0001 {} 'one'
         b < 40 ~ 0001 00 {*}",
    );
    assert_eq!(ids_of(&talk.line("a").packet()), [7]);
    talk.goes(
        "a > 82 ~ 0002 {0b 08} <u/alice%/+> 01
         a < 90 ~ 0002 {} 01
         b > 32 ~ <dm/alice%> 0002 {} 'two'
         b < 40 ~ 0002 00 {*}",
    );
    assert_eq!(ids_of(&talk.line("a").packet()), [7, 8]);
    talk.goes(
        "a > a2 ~ 0003 {} <u/alice%/inbox>
         a < b0 ~ 0003 {} 00
         b > 32 ~ <dm/alice%> 0003 {} 'three'
         b < 40 ~ 0003 00 {*}",
    );
    assert_eq!(ids_of(&talk.line("a").packet()), [8]);
}

/// The subscription identifiers of a PUBLISH, in order of their size.
fn ids_of(packet: &[u8]) -> Vec<u32> {
    let Some(Packet::Publish(publish)) = take_packet(&mut packet.to_vec(), Version::V5) else {
        panic!("no PUBLISH: {packet:02x?}");
    };
    let id = |(id, value): &(u8, Value)| match value {
        Value::Var(number) if *id == 0x0b => Some(*number),
        _ => None,
    };
    let mut ids: Vec<u32> = publish.props.0.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids
}
