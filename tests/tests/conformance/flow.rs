//! Deliveries to a client: identifiers, acknowledgements, order, Receive Maximum (MQTT 5 §3.3.4, §4.3, §4.6, §4.9).

use crate::talk::{Talk, all, five, versions};
use hubbub_tests::Version;
use hubbub_tests::wire::VERSIONS;

#[test]
fn identifiers_of_messages_in_flight_are_all_different() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        talk.goes("b connects \n b subscribes <%/t> 02 \n a connects");
        let mut used = std::collections::HashSet::new();
        for number in 0..100 {
            talk.goes(match number % 2 {
                0 => "a > 32 ~ <%/t> 0001 {} 'x' \n a < 40 02 0001",
                _ => "a > 34 ~ <%/t> 0002 {} 'x' \n a < 50 02 0002 \n a > 62 02 0002 \n a < 70 02 0002",
            });
            let packet = talk.line("b").packet();
            let at = 4 + usize::from(packet[3]);
            let id = u16::from_be_bytes([packet[at], packet[at + 1]]);
            assert!(id != 0 && used.insert(id), "identifier {id} of message {number}, {version:?}");
        }
    }
}

#[test]
fn an_acknowledged_identifier_may_come_again_and_nothing_else_is_owed() {
    all("b connects
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} 'x'
         b < 32 ~ <%/t> $p {} 'x'
         b > 40 02 $p
         b quiet");
}

#[test]
fn a_message_is_not_sent_again_while_the_connection_lasts() {
    all("b persists
         b subscribes <%/t> 02
         a connects
         a > 32 ~ <%/t> 0001 {} 'one'
         b < 32 ~ <%/t> $p {} 'one'
         a > 34 ~ <%/t> 0002 {} 'two'
         b < 34 ~ <%/t> $q {} 'two'
         b > 50 02 $q
         b < 62 02 $q
         a > 30 ~ <%/t> {} 'three'
         b < 30 ~ <%/t> {} 'three'
         b quiet");
}

#[test]
fn a_pubrec_with_an_error_ends_the_message() {
    five(
        "b connects
          b subscribes <%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'x'
          b < 34 ~ <%/t> $p {} 'x'
          b > 50 ~ $p 97
          b quiet",
    );
}

#[test]
fn a_refused_message_is_not_sent_again_to_a_session_that_is_resumed() {
    five(
        "b persists
          b subscribes <%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'refused'
          b < 34 ~ <%/t> $p {} 'refused'
          b > 50 ~ $p 97
          a > 32 ~ <%/t> 0002 {} 'refused too'
          b < 32 ~ <%/t> $q {} 'refused too'
          b > 40 ~ $q 80
          b quiet
          b gone
          b resumes
          a > 30 ~ <%/t> {} 'next'
          b < 30 ~ <%/t> {} 'next'
          b quiet",
    );
}

#[test]
fn messages_of_a_topic_keep_their_order() {
    for (qos, first) in [(0, "30"), (1, "32"), (2, "34")] {
        for version in VERSIONS {
            let mut talk = Talk::new(version);
            talk.goes(&format!("b connects \n b subscribes <%/#> 0{qos} \n a connects"));
            let id = |number: u16| if qos == 0 { String::new() } else { format!("{number:04x}") };
            let burst: Vec<String> =
                (1..=50).map(|n| format!("{first} ~ <%/{}> {} {{}} '{n}'", n % 3, id(n))).collect();
            burst.iter().for_each(|packet| {
                talk.goes(&format!("a > {packet}"));
            });
            for n in 1..=50 {
                let id = if qos == 0 { String::new() } else { format!("$m{n}") };
                talk.goes(&format!("b < {first} ~ <%/{}> {id} {{}} '{n}'", n % 3));
            }
        }
    }
}

#[test]
fn no_more_is_in_flight_than_the_receive_maximum_of_the_client() {
    five(
        "b > CONNECT 02 0000 {21 0002} <b%>
          b < 20 ~ 00 00 {*}
          b subscribes <%/t> 02
          a connects
          a > 32 ~ <%/t> 0001 {} 'one'
          a > 34 ~ <%/t> 0002 {} 'two'
          a > 32 ~ <%/t> 0003 {} 'three'
          a > 34 ~ <%/t> 0004 {} 'four'
          a > 32 ~ <%/t> 0005 {} 'five'
          b < 32 ~ <%/t> $one {} 'one'
          b < 34 ~ <%/t> $two {} 'two'
          a > 30 ~ <%/t> {} 'what is not acknowledged does not wait'
          b < 30 ~ <%/t> {} 'what is not acknowledged does not wait'
          b quiet
          b > 40 02 $one
          b < 32 ~ <%/t> $three {} 'three'
          b > 50 02 $two
          b < 62 02 $two
          b quiet
          b > 70 02 $two
          b < 34 ~ <%/t> $four {} 'four'
          b quiet
          b > 50 ~ $four 80
          b < 32 ~ <%/t> $five {} 'five'",
    );
}

#[test]
fn the_receive_maximum_counts_for_stored_messages_too() {
    five(
        "b > CONNECT 00 0000 {11 00000e10 21 0001} <b%>
          b < 20 ~ 00 00 {*}
          b subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {} 'one'
          a < 40 02 0001
          a > 32 ~ <%/t> 0002 {} 'two'
          a < 40 02 0002
          b < 32 ~ <%/t> $one {} 'one'
          b quiet
          b > 82 ~ 0009 {} <%/u> 00
          b < 90 ~ 0009 {} 00
          b > 40 02 $one
          b < 32 ~ <%/t> $two {} 'two'",
    );
}

#[test]
fn a_client_that_exceeds_the_receive_maximum_of_the_server_is_told() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("a > CONNECT 02 0000 {} <a%>");
    let connack = talk.line("a").packet();
    let at = connack.iter().skip(5).position(|byte| *byte == 0x21).expect("a receive maximum") + 5;
    let maximum = u16::from_be_bytes([connack[at + 1], connack[at + 2]]);
    for id in 1..=maximum {
        talk.goes(&format!("a > 34 ~ <%/t> {id:04x} {{}} 'x'"));
    }
    for id in 1..=maximum {
        talk.goes(&format!("a < 50 ~ {id:04x} 10"));
    }
    talk.goes(&format!(
        "a quiet
         a > 30 ~ <%/t> {{}} 'does not count'
         a > 34 ~ <%/t> {:04x} {{}} 'one too many'
         a ends 93",
        maximum + 1
    ));
}

#[test]
fn other_packets_are_answered_while_nothing_more_may_be_sent() {
    five(
        "b > CONNECT 02 0000 {21 0001} <b%>
          b < 20 ~ 00 00 {*}
          b subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {} 'one'
          a > 32 ~ <%/t> 0002 {} 'two'
          b < 32 ~ <%/t> $p {} 'one'
          b > c0 00
          b < d0 00
          b > 34 ~ <%/u> 0001 {} 'from b'
          b < 50 ~ 0001 10
          b > 62 02 0001
          b < 70 02 0001
          b > a2 ~ 0003 {} <%/t>
          b < b0 ~ 0003 {} 00",
    );
}

#[test]
fn a_client_may_be_late_with_its_acknowledgements_and_out_of_order() {
    versions(
        &VERSIONS,
        "b connects
         b subscribes <%/t> 02
         a connects
         a > 32 ~ <%/t> 0001 {} 'one'
         a > 34 ~ <%/t> 0002 {} 'two'
         a > 32 ~ <%/t> 0003 {} 'three'
         b < 32 ~ <%/t> $one {} 'one'
         b < 34 ~ <%/t> $two {} 'two'
         b < 32 ~ <%/t> $three {} 'three'
         b > 40 02 $three
         b > 50 02 $two
         b < 62 02 $two
         b > 40 02 $one
         b > 70 02 $two
         b quiet",
    );
}
