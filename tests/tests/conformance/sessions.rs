//! Sessions: clean start, session present, expiry (MQTT 5 §3.1.2.4, §3.1.2.11.2, §4.1).

use crate::talk::{SINCE_311, all, five, versions};

#[test]
fn a_session_is_resumed_with_its_subscriptions_and_messages() {
    all("a persists
         a subscribes <%/t> 01
         a gone
         b connects
         b > 32 ~ <%/t> 0001 {} 'missed'
         b < 40 02 0001
         a resumes
         a < 32 ~ <%/t> $p {} 'missed'
         a > 40 02 $p
         b > 32 ~ <%/t> 0002 {} 'live'
         b < 40 02 0002
         a < 32 ~ <%/t> $q {} 'live'");
}

#[test]
fn clean_start_discards_the_session() {
    all("a persists
         a subscribes <%/t> 01
         a > e0 00
         a closed
         b connects
         b > 32 ~ <%/t> 0001 {} 'missed'
         b < 40 02 0001
         a connects
         a subscribes <%/u> 01
         b > 32 ~ <%/t> 0002 {} 'nobody listens'
         b < 40 ~ 0002 [10]
         b > 32 ~ <%/u> 0003 {} 'new'
         b < 40 02 0003
         a < 32 ~ <%/u> $p {} 'new'
         a > e0 00
         a closed
         a persists"); // nothing of either session is left
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    all("a connects
         a subscribes <%/t> 01
         a > e0 00
         a closed
         b connects
         b > 32 ~ <%/t> 0001 {} 'x'
         b < 40 ~ 0001 [10]
         a persists");
}

#[test]
fn an_expiry_of_zero_ends_the_session_with_its_connection_even_without_clean_start() {
    for properties in ["", "11 00000000"] {
        five(&format!(
            "a > CONNECT 00 0000 {{{properties}}} <a%>
             a < 20 ~ 00 00 {{*}}
             a > e0 00
             a closed
             a persists"
        ));
    }
}

#[test]
fn a_session_ends_when_its_expiry_has_passed() {
    five(
        "heir connects
          heir subscribes <%/will> 00
          a > CONNECT 04 0000 {11 00000001} <a%> {18 00000e10} <%/will> <the session has ended>
          a < 20 ~ 00 00 {*}
          a gone
          heir < 30 ~ <%/will> {} 'the session has ended'
          a persists",
    );
}

#[test]
fn disconnect_may_shorten_the_expiry() {
    five(
        "a persists
          a > e0 ~ 00 {11 00000000}
          a closed
          a persists",
    );
}

#[test]
fn disconnect_may_lengthen_the_expiry() {
    five(
        "heir connects
          heir subscribes <%/will> 00
          a > CONNECT 00 0000 {11 00000001} <a%>
          a < 20 ~ 00 00 {*}
          a > e0 ~ 00 {11 00000e10}
          a closed
          b > CONNECT 06 0000 {11 00000002} <b%> {18 00000002} <%/will> <two seconds later>
          b < 20 ~ 00 00 {*}
          b gone
          heir < 30 ~ <%/will> {} 'two seconds later'
          a resumes",
    );
}

#[test]
fn disconnect_cannot_keep_a_session_that_was_to_end() {
    five(
        "a connects
          a > e0 ~ 00 {11 00000e10}
          a ends 82
          a persists",
    );
}

#[test]
fn a_session_may_go_on_in_another_version() {
    five(
        "a persists
          a subscribes <%/t> 02
          a gone
          b connects
          b > 34 ~ <%/t> 0001 {26 <k> <v>} 'x'
          b < 50 02 0001
          b > 62 02 0001
          b < 70 02 0001
          c@311 > CONNECT 00 0000 <a%>
          c@311 < 20 02 01 00
          c@311 < 34 ~ <%/t> $p 'x'",
    );
}

#[test]
fn retained_messages_do_not_end_with_a_session() {
    all("a connects
         a > 33 ~ <%/t> 0001 {} 'stays'
         a < 40 02 0001
         a > e0 00
         a closed
         b connects
         b subscribes <%/t> 01
         b < 33 ~ <%/t> $p {} 'stays'");
}

#[test]
fn a_session_is_not_discarded_while_its_connection_is_open() {
    five(
        "heir connects
          heir subscribes <%/will> 00
          a > CONNECT 02 0000 {11 00000001} <a%>
          a < 20 ~ 00 00 {*}
          a subscribes <%/t> 01
          b > CONNECT 06 0000 {11 00000002} <b%> {18 00000002} <%/will> <two seconds later>
          b < 20 ~ 00 00 {*}
          b gone
          heir < 30 ~ <%/will> {} 'two seconds later'
          heir > 32 ~ <%/t> 0001 {} 'still there'
          heir < 40 02 0001
          a < 32 ~ <%/t> $p {} 'still there'",
    );
}

#[test]
fn a_client_id_of_somebody_else_is_refused_although_there_is_a_session() {
    versions(
        SINCE_311,
        "a > CONNECT 80 0000 {11 00000e10} <a%> <alice%>
         a < 20 ~ 00 00 {*}
         a gone
         m > CONNECT 80 0000 {11 00000e10} <a%> <mallory%>
         m < 20 ~ 00 [85](02) {*}
         m closed
         b > CONNECT 80 0000 {11 00000e10} <a%> <alice%>
         b < 20 ~ 01 00 {*}",
    );
}
