//! Shared subscriptions (MQTT 5 §4.8.2).

use crate::talk::{Talk, all, five};
use hubbub_tests::Version;

#[test]
fn a_message_goes_to_one_member_of_a_group() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b connects
         b subscribes <$share/g%/%/t> 01
         b subscribes <%/last> 00
         c connects
         c subscribes <$share/g%/%/t> 01
         c subscribes <%/last> 00
         other connects
         other subscribes <$share/h%/%/t> 01
         a connects",
    );
    for number in 1..=10 {
        talk.goes(&format!("a > 32 ~ <%/t> {number:04x} {{}} 'x' \n a < 40 02 {number:04x}"));
        talk.goes(&format!("other < 32 ~ <%/t> $o{number} {{}} 'x'"));
    }
    talk.goes("a > 30 ~ <%/last> {} 'last'");
    let mut counts = [0, 0];
    for (who, count) in ["b", "c"].iter().zip(&mut counts) {
        while talk.line(who).packet()[0] == 0x32 {
            *count += 1;
        }
    }
    assert_eq!(counts[0] + counts[1], 10, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "both have their part: {counts:?}");
}

#[test]
fn a_member_is_sent_no_more_than_its_granted_quality() {
    all("b connects
         b subscribes <$share/g%/%/t> 00
         c persists
         c subscribes <$share/h%/%/t> 01
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         b < 30 ~ <%/t> {} 'x'
         c < 32 ~ <%/t> $p {} 'x'");
}

#[test]
fn a_share_name_is_one_level_without_wildcards_and_a_filter_follows() {
    for filter in ["$share/g", "$share/g/", "$share//t", "$share/", "$share", "$share/g+/t", "$share/#/t"] {
        five(&format!("a connects \n a > 82 ~ 0001 {{}} <{filter}> 00 \n a < 90 ~ 0001 {{*}} 8f"));
    }
}

#[test]
fn a_message_in_flight_is_completed_by_the_member_that_comes_back() {
    five(
        "b persists
          b subscribes <$share/g%/%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'x'
          b < 34 ~ <%/t> $p {} 'x'
          c persists
          c subscribes <$share/g%/%/t> 02
          b gone
          b resumes
          b < 3c ~ <%/t> $p {} 'x'
          b > 50 02 $p
          b < 62 02 $p
          b > 70 02 $p
          b quiet
          c quiet",
    );
}

#[test]
fn a_message_in_flight_at_qos_2_to_a_member_whose_session_ends_goes_to_nobody_else() {
    five(
        "b connects
          b subscribes <$share/g%/%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'x'
          b < 34 ~ <%/t> $p {} 'x'
          c connects
          c subscribes <$share/g%/%/t> 02
          b > e0 00
          b closed
          a > 34 ~ <%/t> 0002 {} 'next'
          c < 34 ~ <%/t> $q {} 'next'
          c quiet",
    );
}

#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b subscribes <$share/g%/%/t> 02
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'two'
             b < 34 ~ <%/t> $p {{}} 'two'
             a > 32 ~ <%/t> 0002 {{}} 'one'
             b < 32 ~ <%/t> $q {{}} 'one'
             c {comes}
             c subscribes <$share/g%/%/t> 02
             b > 50 ~ $p 80 ; 40 ~ $q 97 ; a2 ~ 0001 {{}} <$share/g%/%/t>
             b < b0 ~ 0001 {{}} 00
             a > 34 ~ <%/t> 0003 {{}} 'next'
             c < 34 ~ <%/t> $r {{}} 'next'
             c quiet"
        ));
    }
}

#[test]
fn retained_messages_are_not_sent_for_a_shared_subscription() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b subscribes <$share/g%/%/t> 00
          b quiet",
    );
}

#[test]
fn shared_and_plain_subscriptions_of_one_client_each_bring_a_copy() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b connects
         b > 82 ~ 0001 {0b 07} <$share/g%/%/t> 00
         b < 90 ~ 0001 {} 00
         b > 82 ~ 0002 {0b 09} <%/t> 00
         b < 90 ~ 0002 {} 00
         a connects
         a > 30 ~ <%/t> {} 'x'",
    );
    let mut copies = [talk.line("b").packet(), talk.line("b").packet()];
    copies.sort();
    let identifiers = copies.map(|packet| packet[packet.len() - 4..].to_vec());
    assert_eq!(identifiers, [b"\x02\x0b\x07x", b"\x02\x0b\x09x"]);
    talk.goes(
        "b > a2 ~ 0003 {} <%/t>
         b < b0 ~ 0003 {} 00
         a > 30 ~ <%/t> {} 'y'
         b < 30 ~ <%/t> {0b 07} 'y'",
    );
}
