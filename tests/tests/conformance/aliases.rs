//! Topic aliases (MQTT 5 §3.3.2.3.4, §3.1.2.11.5, §3.2.2.3.8).

use crate::talk::{Talk, five};
use hubbub_tests::Version;

#[test]
fn an_alias_stands_for_the_topic_that_it_was_given_with() {
    five("b connects
          b subscribes <%/#> 00
          a connects
          a > 30 ~ <%/t> {23 0001} 'one' ; 30 ~ <> {23 0001} 'two' ; 30 ~ <%/u> {23 0001} 'three' ; 30 ~ <> {23 0001} 'four'
          b < 30 ~ <%/t> {} 'one'
          b < 30 ~ <%/t> {} 'two'
          b < 30 ~ <%/u> {} 'three'
          b < 30 ~ <%/u> {} 'four'");
}

#[test]
fn every_alias_up_to_the_maximum_is_taken_and_none_above() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("b connects \n b subscribes <%/#> 00 \n a > CONNECT 02 0000 {} <a%>");
    let connack = talk.line("a").packet();
    let at = connack.iter().rposition(|byte| *byte == 0x22).expect("a topic alias maximum");
    let maximum = u16::from_be_bytes([connack[at + 1], connack[at + 2]]);
    assert!(maximum > 0);
    for alias in 1..=maximum {
        talk.goes(&format!("a > 30 ~ <%/{alias}> {{23 {alias:04x}}} ; 30 ~ <> {{23 {alias:04x}}} 'again'"));
        talk.goes(&format!("b < 30 ~ <%/{alias}> {{}} \n b < 30 ~ <%/{alias}> {{}} 'again'"));
    }
    talk.goes(&format!("a > 30 ~ <%/t> {{23 {:04x}}} 'x' \n a ends 94", maximum + 1));
}

#[test]
fn aliases_that_cannot_be_end_the_connection() {
    five("a connects \n a > 30 ~ <t> {23 0000} 'x' \n a ends 94");
    five("a connects \n a > 30 ~ <t> {23 ffff} 'x' \n a ends 94");
    five("a connects \n a > 30 ~ <> {23 0001} 'x' \n a ends 82");
    five("a connects \n a > 30 ~ <t> {23 0001 23 0001} 'x' \n a ends 82");
}

#[test]
fn aliases_end_with_their_connection() {
    five(
        "a persists
          a > 32 ~ <%/t> 0001 {23 0001} 'x'
          a < 40 ~ 0001 10
          a gone
          a resumes
          a > 30 ~ <> {23 0001} 'x'
          a ends 82",
    );
}

#[test]
fn each_client_has_its_own_aliases() {
    five(
        "a connects
          a > 30 ~ <%/t> {23 0001} 'x'
          b connects
          b > 30 ~ <> {23 0001} 'x'
          b ends 82",
    );
}

#[test]
fn a_client_without_a_maximum_is_sent_no_alias() {
    for properties in ["", "22 0000"] {
        five(&format!(
            "b > CONNECT 02 0000 {{{properties}}} <b%>
             b < 20 ~ 00 00 {{*}}
             b subscribes <%/t> 00
             a connects
             a > 30 ~ <%/t> {{23 0001}} 'one' ; 30 ~ <> {{23 0001}} 'two'
             b < 30 ~ <%/t> {{}} 'one'
             b < 30 ~ <%/t> {{}} 'two'"
        ));
    }
}

#[test]
fn an_alias_of_the_server_stands_for_the_topic_that_it_was_given_with() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b > CONNECT 02 0000 {22 0001} <b%>
         b < 20 ~ 00 00 {*}
         b subscribes <%/#> 00
         a connects",
    );
    let mut known = String::new();
    for number in [0, 0, 0, 1, 2, 0, 1] {
        talk.goes(&format!("a > 30 ~ <%/{number}> {{}} 'x'"));
        let packet = talk.line("b").packet();
        let (topic, properties) = packet[4..].split_at(usize::from(packet[3]));
        let mut topic = String::from_utf8(topic.to_vec()).unwrap();
        if properties[0] > 0 {
            assert_eq!(properties[..4], [3, 0x23, 0, 1], "an alias up to 1 and nothing else: {packet:02x?}");
            known = if topic.is_empty() { known } else { topic };
            topic = known.clone();
        }
        assert_eq!(topic, format!("{}/{number}", talk.mark()), "{packet:02x?}");
    }
}
