//! What is sent again when a session is resumed (MQTT 5 §4.4, §3.3.1.1).

use crate::talk::{all, five};

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
         b gone
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
