//! What travels with a message unchanged (MQTT 5 §3.3.2.3).

use crate::talk::{all, five};

#[test]
fn each_property_of_a_message_is_forwarded_as_it_came() {
    for property in [
        "01 00",
        "01 01",
        "03 <text/plain>",
        "08 <answers/to/me>",
        "09 <\\0\\xff\\x80>",
        "26 <k> <v>",
        "26 <> <>",
    ] {
        five(&format!(
            "b connects
             b subscribes <%/t> 01
             a connects
             a > 32 ~ <%/t> 0001 {{{property}}} 'x'
             b < 32 ~ <%/t> $p {{{property}}} 'x'"
        ));
    }
}

#[test]
fn user_properties_keep_their_order_and_their_repeats() {
    five(
        "b connects
          b subscribes <%/t> 00
          c persists
          c subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {26 <z> <1> 26 <a> <2> 26 <z> <1> 26 <m> <3>} 'x'
          b < 30 ~ <%/t> {26 <z> <1> 26 <a> <2> 26 <z> <1> 26 <m> <3>} 'x'
          c < 32 ~ <%/t> $p {26 <z> <1> 26 <a> <2> 26 <z> <1> 26 <m> <3>} 'x'",
    );
}

#[test]
fn properties_of_a_retained_message_are_kept_with_it() {
    five(
        "a connects
          a > 33 ~ <%/t> 0001 {01 01 03 <text/plain> 08 <r> 09 <id> 26 <k> <v>} 'x'
          a < 40 02 0001
          b connects
          b subscribes <%/t> 01
          b < 33 ~ <%/t> $p {01 01 03 <text/plain> 08 <r> 09 <id> 26 <k> <v>} 'x'",
    );
}

#[test]
fn clients_of_3_x_get_the_message_without_properties() {
    five(
        "b@311 connects
          b@311 subscribes <%/t> 01
          c@31 connects
          c@31 subscribes <%/t> 01
          a connects
          a > 32 ~ <%/t> 0001 {01 01 26 <k> <v>} 'x'
          b@311 < 32 ~ <%/t> $p 'x'
          c@31 < 32 ~ <%/t> $q 'x'",
    );
}

#[test]
fn a_message_of_3_x_comes_to_5_with_a_property_length_of_zero() {
    five(
        "b connects
          b subscribes <%/t> 01
          a@31 connects
          a@31 > 32 ~ <%/t> 0001 'x'
          b < 32 ~ <%/t> $p 00 'x'",
    );
}

#[test]
fn a_payload_may_be_empty_and_any_bytes() {
    all("b connects
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {}
         b < 32 ~ <%/t> $p {}
         a > 32 ~ <%/t> 0002 {} '\\0\\xff\\xfe'
         b < 32 ~ <%/t> $q {} '\\0\\xff\\xfe'");
}

#[test]
fn a_byte_order_mark_is_a_character_like_others() {
    all("b connects
         b subscribes <\\xef\\xbb\\xbf%/t> 00
         c connects
         c subscribes <%/t> 00
         a connects
         a > 30 ~ <\\xef\\xbb\\xbf%/t> {} 'with'
         b < 30 ~ <\\xef\\xbb\\xbf%/t> {} 'with'
         a > 30 ~ <%/t> {} 'without'
         c < 30 ~ <%/t> {} 'without'
         b quiet");
}
