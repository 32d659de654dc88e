//! Message Expiry Interval (MQTT 5 §3.3.2.3.3).

use crate::talk::{Talk, five};
use hubbub_tests::Version;

/// Lets a second pass, measured by the hub: a will with that delay.
const A_SECOND: &str = "heir connects
    heir subscribes <%/second> 00
    dying > CONNECT 06 0000 {11 00000e10} <dying%> {18 00000001} <%/second> <later>
    dying < 20 ~ 00 00 {*}
    dying gone
    heir < 30 ~ <%/second> {} 'later'
    heir gone";

#[test]
fn what_is_left_of_the_expiry_is_forwarded() {
    five(
        "b connects
          b subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {02 0000ffff} 'x'
          b < 32 ~ <%/t> $p {02 0000ffff} 'x'
          a > 32 ~ <%/t> 0002 {} 'y'
          b < 32 ~ <%/t> $q {} 'y'",
    );
}

#[test]
fn the_time_that_a_message_waited_is_taken_off() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b subscribes <%/t> 01
         b gone
         a connects
         a > 32 ~ <%/t> 0001 {02 0000003c} 'x'
         a < 40 02 0001
         a > 33 ~ <%/kept> 0002 {02 0000003c} 'x'
         a < 40 02 0002",
    );
    talk.goes(A_SECOND).goes("b > CONNECT 00 0000 {11 00000e10} <b%> \n b < 20 ~ 01 00 {*}");
    let left = |packet: &[u8]| {
        let at = packet.iter().rposition(|byte| *byte == 2).expect("an expiry");
        u32::from_be_bytes(packet[at + 1..at + 5].try_into().unwrap())
    };
    let queued = talk.line("b").packet();
    talk.goes("c connects \n c subscribes <%/kept> 01");
    let kept = talk.line("c").packet();
    for packet in [queued, kept] {
        assert!((40..60).contains(&left(&packet)), "{packet:02x?}");
    }
}

/// One message is in flight, one waits for its acknowledgement, and the others wait for that one.
#[test]
fn what_is_retained_expires_while_its_subscriber_is_busy() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("a connects");
    for name in ["lasts {}", "x/1 {02 00000001}", "x/2 {02 00000001}", "x/3 {02 00000001}"] {
        let (topic, expiry) = name.split_once(' ').unwrap();
        talk.goes(&format!("a > 33 ~ <%/{topic}> 0001 {expiry} 'x' \n a < 40 02 0001"));
    }
    talk.goes(
        "b > CONNECT 02 0000 {21 0001} <b%>
         b < 20 ~ 00 00 {*}
         b subscribes <%/lasts> 01
         b < 33 ~ <%/lasts> $p {} 'x'
         b subscribes <%/x/+> 01
         b quiet",
    );
    talk.goes(A_SECOND).goes(
        "b > 40 02 $p
         b quiet
         a > 32 ~ <%/x/1> 0001 {} 'new'
         b < 32 ~ <%/x/1> $q {} 'new'",
    );
}

#[test]
fn a_message_that_has_expired_is_not_delivered() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b subscribes <%/t> 02
         b gone
         slow > CONNECT 02 0000 {21 0001} <slow%>
         slow < 20 ~ 00 00 {*}
         slow subscribes <%/t> 02
         a connects
         a > 32 ~ <%/t> 0001 {} 'lasts'
         a < 40 02 0001
         a > 32 ~ <%/t> 0002 {02 00000001} 'expires'
         a < 40 02 0002
         a > 33 ~ <%/kept> 0003 {02 00000001} 'expires'
         a < 40 02 0003",
    );
    talk.goes(A_SECOND).goes(
        "b resumes
         b < 32 ~ <%/t> $p {} 'lasts'
         b quiet
         slow < 32 ~ <%/t> $q {} 'lasts'
         slow > 40 02 $q
         slow quiet
         c connects
         c subscribes <%/kept> 01
         c quiet
         a > 32 ~ <%/t> 0004 {} 'last'
         b < 32 ~ <%/t> $r {} 'last'
         slow < 32 ~ <%/t> $s {} 'last'",
    );
}

#[test]
fn a_message_that_was_sent_is_completed_although_it_expired() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b subscribes <%/t> 02
         a connects
         a > 34 ~ <%/t> 0001 {02 00000001} 'x'
         b < 34 ~ <%/t> $p {02 00000001} 'x'
         b gone",
    );
    talk.goes(A_SECOND).goes("b > CONNECT 00 0000 {11 00000e10} <b%> \n b < 20 ~ 01 00 {*}");
    let again = talk.line("b").packet();
    assert_eq!(again[0], 0x3c, "{again:02x?}");
    talk.goes("b > 50 02 $p \n b < 62 02 $p \n b > 70 02 $p \n b quiet");
}

#[test]
fn the_handshake_goes_on_for_a_message_that_expired() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b subscribes <%/t> 02
         b gone
         a connects
         a > 34 ~ <%/t> 0001 {02 00000001} 'x'
         a < 50 02 0001",
    );
    talk.goes(A_SECOND).goes("a > 62 02 0001 \n a < 70 02 0001 \n b resumes \n b quiet");
}

#[test]
fn an_expiry_of_zero_is_an_expiry() {
    five(
        "b persists
          b subscribes <%/t> 01
          b gone
          c persists
          c subscribes <%/t> 00
          a connects
          a > 32 ~ <%/t> 0001 {02 00000000} 'x' ; 32 ~ <%/t> 0002 {} 'y'
          a < 40 02 0001
          a < 40 02 0002
          b resumes
          b < 32 ~ <%/t> $p {} 'y'
          c < 30 ~ <%/t> {} 'y'",
    );
}
