//! Wills (MQTT 5 §3.1.2.5, §3.1.3.2).

use crate::talk::{SINCE_311, all, five, versions};

#[test]
fn a_lost_connection_publishes_the_will() {
    for (flags, first, id) in [("06", "30", ""), ("0e", "32", "$p"), ("16", "34", "$p")] {
        all(&format!(
            "b connects
             b subscribes <%/will> 02
             a > CONNECT {flags} 0000 {{}} <a%> {{}} <%/will> <gone>
             a < 20 ~ 00 00 {{*}}
             a gone
             b < {first} ~ <%/will> {id} {{}} 'gone'"
        ));
    }
}

#[test]
fn a_goodbye_discards_the_will() {
    all("b connects
         b subscribes <%/will> 01
         a > CONNECT 0e 0000 {} <a%> {} <%/will> <never>
         a < 20 ~ 00 00 {*}
         a > e0 00
         a closed
         c > CONNECT 0e 0000 {} <c%> {} <%/will> <of c>
         c < 20 ~ 00 00 {*}
         c gone
         b < 32 ~ <%/will> $p {} 'of c'");
}

#[test]
fn a_session_without_a_will_leaves_none_behind() {
    versions(
        SINCE_311,
        "b connects
         b subscribes <%/will> 00
         a > CONNECT 04 0000 {11 00000e10} <a%> {} <%/will> <first>
         a < 20 ~ 00 00 {*}
         a gone
         b < 30 ~ <%/will> {} 'first'
         a resumes
         a gone
         a > CONNECT 04 0000 {11 00000e10} <a%> {} <%/will> <third>
         a < 20 ~ 01 00 {*}
         a gone
         b < 30 ~ <%/will> {} 'third'",
    );
}

#[test]
fn a_will_is_gone_with_its_publication_or_a_goodbye_although_the_session_stays() {
    // The end of the session would publish what is left of it, and the last message comes from where it would come from.
    let rest = "z > CONNECT 02 0000 {} <a%>
         z < 20 ~ 00 00 {*}
         z > 30 ~ <%/will> {} 'next'
         b < 30 ~ <%/will> {} 'next'
         b quiet";
    versions(
        SINCE_311,
        &format!(
            "b connects
             b subscribes <%/will> 00
             a > CONNECT 04 0000 {{11 00000e10}} <a%> {{}} <%/will> <gone>
             a < 20 ~ 00 00 {{*}}
             a gone
             b < 30 ~ <%/will> {{}} 'gone'
             {rest}"
        ),
    );
    five(&format!(
        "b connects
         b subscribes <%/will> 00
         a > CONNECT 04 0000 {{11 00000e10}} <a%> {{18 00000e10}} <%/will> <never>
         a < 20 ~ 00 00 {{*}}
         a > e0 00
         a closed
         {rest}"
    ));
}

#[test]
fn a_goodbye_with_will_publishes_it() {
    five(
        "b connects
          b subscribes <%/will> 00
          a > CONNECT 06 0000 {} <a%> {} <%/will> <on purpose>
          a < 20 ~ 00 00 {*}
          a > e0 01 04
          a closed
          b < 30 ~ <%/will> {} 'on purpose'",
    );
}

#[test]
fn a_goodbye_for_an_error_publishes_the_will() {
    for code in ["80", "81", "82", "83", "93", "95", "98"] {
        five(&format!(
            "b connects
             b subscribes <%/will> 00
             a > CONNECT 06 0000 {{}} <a%> {{}} <%/will> <broken>
             a < 20 ~ 00 00 {{*}}
             a > e0 01 {code}
             a closed
             b < 30 ~ <%/will> {{}} 'broken'"
        ));
    }
}

#[test]
fn a_protocol_error_publishes_the_will() {
    versions(
        SINCE_311,
        "b connects
         b subscribes <%/will> 00
         a > CONNECT 06 0000 {} <a%> {} <%/will> <broken>
         a < 20 ~ 00 00 {*}
         a > 36 ~ <t> 0001 {}
         a ends 81
         b < 30 ~ <%/will> {} 'broken'",
    );
}

#[test]
fn a_will_is_retained_if_it_says_so_and_not_otherwise() {
    all("b connects
         b subscribes <%/will> 00
         a > CONNECT 26 0000 {} <a%> {} <%/will> <kept>
         a < 20 ~ 00 00 {*}
         a gone
         b < 30 ~ <%/will> {} 'kept'
         c > CONNECT 06 0000 {} <c%> {} <%/will> <not kept>
         c < 20 ~ 00 00 {*}
         c gone
         b < 30 ~ <%/will> {} 'not kept'
         d connects
         d subscribes <%/will> 00
         d < 31 ~ <%/will> {} 'kept'");
}

#[test]
fn a_will_has_its_properties() {
    five("b connects
          b subscribes <%/will> 00
          a > CONNECT 06 0000 {} <a%> {01 01 03 <text> 08 <r> 09 <c> 26 <k> <1> 26 <a> <2> 26 <k> <3>} <%/will> <gone>
          a < 20 ~ 00 00 {*}
          a gone
          b < 30 ~ <%/will> {01 01 03 <text> 08 <r> 09 <c> 26 <k> <1> 26 <a> <2> 26 <k> <3>} 'gone'");
}

#[test]
fn the_expiry_of_a_will_begins_when_it_is_published() {
    five(
        "b connects
          b subscribes <%/will> 00
          a > CONNECT 06 0000 {11 00000e10} <a%> {18 00000001 02 0000003c} <%/will> <gone>
          a < 20 ~ 00 00 {*}
          a gone
          b < 30 ~ <%/will> {02 0000003c} 'gone'",
    );
}

#[test]
fn a_delayed_will_is_not_published_when_the_client_is_back_in_time() {
    five(
        "b connects
          b subscribes <%/will> 00
          a > CONNECT 04 0000 {11 00000e10} <a%> {18 00000002} <%/will> <never>
          a < 20 ~ 00 00 {*}
          c > CONNECT 04 0000 {11 00000e10} <c%> {18 00000002} <%/will> <of c>
          c < 20 ~ 00 00 {*}
          a gone
          a resumes
          c gone
          b < 30 ~ <%/will> {} 'of c'
          b quiet",
    );
}

#[test]
fn a_delayed_will_is_published_when_its_session_ends_before() {
    five(
        "b connects
          b subscribes <%/will> 00
          a > CONNECT 04 0000 {11 00000e10} <a%> {18 00000e10} <%/will> <the session was discarded>
          a < 20 ~ 00 00 {*}
          a gone
          a connects
          b < 30 ~ <%/will> {} 'the session was discarded'
          c > CONNECT 06 0000 {} <c%> {18 00000e10} <%/will> <there was no session to wait for>
          c < 20 ~ 00 00 {*}
          c gone
          b < 30 ~ <%/will> {} 'there was no session to wait for'",
    );
}

#[test]
fn a_take_over_publishes_a_will_that_has_no_delay_and_no_other() {
    five(
        "b connects
          b subscribes <%/will> 00
          a > CONNECT 04 0000 {11 00000e10} <a%> {18 00000001} <%/will> <delayed>
          a < 20 ~ 00 00 {*}
          c > CONNECT 04 0000 {11 00000e10} <a%> {} <%/will> <at once>
          c < 20 ~ 01 00 {*}
          a ends 8e
          d > CONNECT 00 0000 {11 00000e10} <a%>
          d < 20 ~ 01 00 {*}
          c ends 8e
          b < 30 ~ <%/will> {} 'at once'
          e > CONNECT 04 0000 {11 00000e10} <e%> {18 00000001} <%/will> <a second later>
          e < 20 ~ 00 00 {*}
          e gone
          b < 30 ~ <%/will> {} 'a second later'",
    );
}

#[test]
fn a_will_that_cannot_be_is_refused_with_its_connect() {
    let table = [
        ("a wildcard in its topic", "CONNECT 06 0000 {} <a%> {} <w/#> <x>", "90"),
        ("an empty topic", "CONNECT 06 0000 {} <a%> {} <> <x>", "90"),
        ("a property of PUBLISH only", "CONNECT 06 0000 {} <a%> {23 0001} <w> <x>", "81"),
        ("a delay twice", "CONNECT 06 0000 {} <a%> {18 00000001 18 00000001} <w> <x>", "82"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        five(&format!("a > {packet} \n a refused {code}"));
    }
}

#[test]
fn silence_beyond_the_keep_alive_ends_the_connection_and_publishes_the_will() {
    five(
        "b connects
          b subscribes <%/#> 00
          a > CONNECT 06 0001 {} <a%> {} <%/will> <silent>
          a < 20 ~ 00 00 {*}
          c@311 > CONNECT 02 0001 <c%>
          c@311 < 20 02 00 00
          d@31 > CONNECT 02 0001 <d%>
          d@31 < 20 02 00 00
          a ends 8d
          b < 30 ~ <%/will> {} 'silent'
          c@311 closed
          d@31 closed",
    );
}
