//! What is sent again when a session is resumed (MQTT 5 §4.4, §3.3.1.1).

use std::collections::BTreeSet;

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Connect, Publish};

use crate::talk::{self, Talk, all, five};

#[test]
fn an_unacknowledged_message_comes_again_with_dup_and_the_same_identifier() {
    all("b persists
         b subscribes <%/t> 02
         a connects
         a > 32 ~ <%/t> 0001 {} 'one'
         b < 32 ~ <%/t> $one {} 'one'
         a > 34 ~ <%/t> 0002 {} 'two'
         b < 34 ~ <%/t> $two {} 'two'
         b gone
         b resumes
         b < 3a ~ <%/t> $one {} 'one'
         b < 3c ~ <%/t> $two {} 'two'
         b > 40 02 $one
         b > 50 02 $two
         b < 62 02 $two
         b > 70 02 $two
         b quiet
         b gone
         b resumes
         b quiet");
}

#[test]
fn what_comes_again_comes_in_its_order_and_before_anything_new() {
    all("b persists
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} '1'
         a > 32 ~ <%/t> 0002 {} '2'
         a > 32 ~ <%/t> 0003 {} '3'
         b < 32 ~ <%/t> $one {} '1'
         b < 32 ~ <%/t> $two {} '2'
         b < 32 ~ <%/t> $three {} '3'
         b > 40 02 $two
         b quiet
         b > e0 00
         b closed
         a > 32 ~ <%/t> 0004 {} '4'
         a < 40 02 0001
         a < 40 02 0002
         a < 40 02 0003
         a < 40 02 0004
         b resumes
         b < 3a ~ <%/t> $one {} '1'
         b < 3a ~ <%/t> $three {} '3'
         b < 32 ~ <%/t> $four {} '4'");
}

#[test]
fn after_pubrec_the_release_comes_again_and_the_message_does_not() {
    all("b persists
         b subscribes <%/t> 02
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         b < 34 ~ <%/t> $p {} 'x'
         b > 50 02 $p
         b < 62 02 $p
         b gone
         b resumes
         b < 62 02 $p
         b > 70 02 $p
         b quiet
         b gone
         b resumes
         b quiet");
}

#[test]
fn a_clean_start_is_sent_nothing_again() {
    all("b persists
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} 'x'
         b < 32 ~ <%/t> $p {} 'x'
         b gone
         b connects
         b subscribes <%/t> 01
         a > 30 ~ <%/t> {} 'new'
         b < 30 ~ <%/t> {} 'new'
         b quiet");
}

#[test]
fn a_take_over_resumes_as_well() {
    all("b persists
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} 'x'
         b < 32 ~ <%/t> $p {} 'x'
         c > CONNECT 00 0000 {11 00000e10} <b%>
         b ends 8e");
    five(
        "b persists
          b subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {} 'x'
          b < 32 ~ <%/t> $p {} 'x'
          c > CONNECT 00 0000 {11 00000e10} <b%>
          c < 20 ~ 01 00 {*}
          b ends 8e
          c < 3a ~ <%/t> $p {} 'x'
          c > 40 02 $p
          c quiet",
    );
}

/// Nothing is acknowledged on the connection that ends, so all of it comes on the next one, in order.
#[test]
fn a_take_over_in_the_midst_of_messages_loses_none_and_keeps_their_order() {
    let hub = talk::hub();
    for version in VERSIONS {
        let mark = Talk::new(version).mark();
        let connect = || Connect::new(version, format!("b{mark}")).persistent();
        let mut alice = hub.client(Connect::new(version, format!("a{mark}")));
        let mut bob = hub.client(connect());
        bob.subscribe(&mark, 2);
        for round in 0..8 {
            let message =
                |id: u16| Publish::new(&mark, format!("{round} {id}")).qos(1 + (id % 2) as u8).id(id);
            let messages: Vec<Publish> = (1..=20).map(message).collect();
            alice.sends_all(&messages);
            bob = hub.client(connect());
            alice.finishes_all(&messages);
            bob.receives_all(&messages);
            bob.has_nothing_more();
        }
    }
}

/// The publisher reads none of the answers on the connection that ends, so it says all of it again on the next one.
#[test]
fn a_publisher_that_is_taken_over_in_the_midst_of_its_messages_is_heard_once() {
    let hub = talk::hub();
    for version in VERSIONS {
        let mark = Talk::new(version).mark();
        let connect = || Connect::new(version, format!("a{mark}")).persistent();
        let mut alice = hub.client(connect());
        let mut bob = hub.client(Connect::new(version, format!("b{mark}")).persistent());
        bob.subscribe(&mark, 2);
        for round in 0..8 {
            let message = |id: u16| Publish::new(&mark, format!("{round} {id}")).qos(2).id(id);
            let messages: Vec<Publish> = (1..=20).map(message).collect();
            alice.sends_all(&messages);
            alice = hub.client(connect());
            let again: Vec<Publish> = messages.iter().cloned().map(Publish::again).collect();
            alice.sends_all(&again);
            alice.finishes_all(&again);
            bob.receives_all(&messages);
            bob.has_nothing_more();
        }
    }
}

#[test]
fn a_resumed_session_keeps_to_a_smaller_receive_maximum() {
    five(
        "b persists
          b subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {} '1'
          a > 32 ~ <%/t> 0002 {} '2'
          b < 32 ~ <%/t> $one {} '1'
          b < 32 ~ <%/t> $two {} '2'
          b gone
          b > CONNECT 00 0000 {11 00000e10 21 0001} <b%>
          b < 20 ~ 01 00 {*}
          b < 3a ~ <%/t> $one {} '1'
          b quiet
          b > 40 02 $one
          b < 3a ~ <%/t> $two {} '2'",
    );
}

#[test]
fn no_receive_maximum_holds_back_a_release() {
    five(
        "b persists
          b subscribes <%/t> 02
          a connects
          a > 32 ~ <%/t> 0001 {} 'one'
          b < 32 ~ <%/t> $one {} 'one'
          a > 34 ~ <%/t> 0002 {} 'two'
          b < 34 ~ <%/t> $two {} 'two'
          b > 50 02 $two
          b < 62 02 $two
          b gone
          b > CONNECT 00 0000 {11 00000e10 21 0001} <b%>
          b < 20 ~ 01 00 {*}
          b < 62 02 $two
          b < 3a ~ <%/t> $one {} 'one'
          b quiet",
    );
}

#[test]
fn a_session_that_is_to_end_with_its_connection_gets_what_it_is_owed_before_what_is_new() {
    five(
        "c persists
          c subscribes <%/t> 01
          c gone
          a connects
          a > 32 ~ <%/t> 0001 {} '1'
          a > 32 ~ <%/t> 0002 {} '2'
          a < 40 02 0001
          a < 40 02 0002
          c > CONNECT 00 0000 {21 0001} <c%>
          c < 20 ~ 01 00 {*}
          c < 32 ~ <%/t> $one {} '1'
          a > 32 ~ <%/t> 0003 {} 'new'
          a < 40 02 0003
          c subscribes <%/u> 01
          a > 32 ~ <%/u> 0004 {} 'of the new subscription'
          a < 40 02 0004
          c > 40 02 $one
          c < 32 ~ <%/t> $two {} '2'
          c > 40 02 $two
          c < 32 ~ <%/t> $new {} 'new'
          c > 40 02 $new
          c < 32 ~ <%/u> $other {} 'of the new subscription'
          c gone
          c persists
          c quiet",
    );
}

/// The identifier of a PUBLISH on the topic of these conversations.
fn identifier(packet: &[u8]) -> u16 {
    let at = 4 + usize::from(packet[3]);
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

#[test]
fn identifiers_in_flight_are_not_used_for_what_comes_after_a_resume() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        // Retained and queued messages have their identifiers from different places.
        talk.goes(
            "a connects
             a > 35 ~ <%/r> 0001 {} 'x'
             a < 50 02 0001
             b persists
             b subscribes <%/t> 02
             b subscribes <%/r> 02",
        );
        let mut in_flight = BTreeSet::from([identifier(&talk.line("b").packet())]);
        for round in 0..3u16 {
            for number in 1..=4u16 {
                let id = round * 10 + number + 1;
                let first = if number % 2 == 0 { "34" } else { "32" };
                talk.goes(&format!("a > {first} ~ <%/t> {id:04x} {{}} 'x'"));
                talk.line("a").packet();
                assert!(in_flight.insert(identifier(&talk.line("b").packet())), "{version:?}");
            }
            talk.goes("b gone \n b resumes");
            let again: BTreeSet<u16> =
                (0..in_flight.len()).map(|_| identifier(&talk.line("b").packet())).collect();
            assert_eq!(again, in_flight, "{version:?}: all that is in flight comes again");
            talk.goes("b > 82 ~ 0009 {} <%/r> 02 \n b < 90 ~ 0009 {} 02");
            assert!(in_flight.insert(identifier(&talk.line("b").packet())), "{version:?}");
        }
    }
}

#[test]
fn a_release_after_a_resume_is_answered_and_frees_the_identifier() {
    all("b connects
         b subscribes <%/t> 02
         a persists
         a > 34 ~ <%/t> 0001 {} 'once'
         a < 50 02 0001
         b < 34 ~ <%/t> $p {} 'once'
         a gone
         a resumes
         a > 3c ~ <%/t> 0001 {} 'once'
         a < 50 02 0001
         a > 62 02 0001
         a < 70 02 0001
         a gone
         a resumes
         a > 62 02 0001
         a < 70 ~ 0001 [92]
         a > 34 ~ <%/t> 0001 {} 'another'
         a < 50 02 0001
         b < 34 ~ <%/t> $q {} 'another'
         b quiet");
}

#[test]
fn acknowledgements_with_properties_count_as_without() {
    five(
        "b persists
          b subscribes <%/t> 02
          a persists
          a > 34 ~ <%/t> 0001 {} 'x'
          a < 50 02 0001
          a > 62 ~ 0001 00 {1f <why> 26 <k> <v>}
          a < 70 02 0001
          b < 34 ~ <%/t> $p {} 'x'
          b > 50 ~ $p 00 {1f <why> 26 <k> <v>}
          b < 62 02 $p
          b gone
          b resumes
          b < 62 02 $p
          b > 70 ~ $p 00 {1f <why> 26 <k> <v>}
          a > 32 ~ <%/t> 0002 {} 'y'
          b < 32 ~ <%/t> $q {} 'y'
          b > 40 ~ $q 00 {26 <k> <v>}
          b quiet
          b gone
          b resumes
          b quiet",
    );
}

#[test]
fn a_pubrec_that_is_repeated_is_answered_with_the_release_and_nothing_else() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <%/t> 02
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'x'
             b < 34 ~ <%/t> $p {{}} 'x'
             b > 50 02 $p
             b < 62 02 $p
             b > 50 02 $p
             b < 62 02 $p
             b > 70 02 $p
             b > 70 02 $p
             b quiet"
        ));
    }
}
