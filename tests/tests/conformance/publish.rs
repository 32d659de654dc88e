//! PUBLISH from a client, at each quality of service (MQTT 5 §3.3, §4.3).

use crate::talk::{SINCE_311, all, five, versions};

#[test]
fn qos_0_is_delivered_and_not_acknowledged() {
    all("b connects
         b subscribes <%/t> 02
         a connects
         a > 30 ~ <%/t> {} 'x'
         b < 30 ~ <%/t> {} 'x'
         a quiet");
}

#[test]
fn qos_1_is_acknowledged_with_its_identifier() {
    all("b connects
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 1234 {} 'x'
         a < 40 02 1234
         b < 32 ~ <%/t> $p {} 'x'");
}

#[test]
fn qos_2_is_acknowledged_in_its_four_steps() {
    all("b connects
         b subscribes <%/t> 02
         a connects
         a > 34 ~ <%/t> ffff {} 'x'
         a < 50 02 ffff
         a > 62 02 ffff
         a < 70 02 ffff
         b < 34 ~ <%/t> $p {} 'x'
         b > 50 02 $p
         b < 62 02 $p
         b > 70 02 $p
         b quiet");
}

#[test]
fn qos_2_is_delivered_once_until_it_is_released() {
    all("b connects
         b subscribes <%/t> 02
         a connects
         a > 34 ~ <%/t> 0007 {} 'once'
         a < 50 02 0007
         a > 3c ~ <%/t> 0007 {} 'once'
         a < 50 02 0007
         a > 34 ~ <%/t> 0007 {} 'once'
         a < 50 02 0007
         a > 62 02 0007
         a < 70 02 0007
         a > 34 ~ <%/t> 0007 {} 'a new one'
         a < 50 02 0007
         b < 34 ~ <%/t> $p {} 'once'
         b < 34 ~ <%/t> $q {} 'a new one'");
}

#[test]
fn qos_2_is_delivered_once_over_a_reconnect_too() {
    all("b connects
         b subscribes <%/t> 02
         a persists
         a > 34 ~ <%/t> 0007 {} 'once'
         a < 50 02 0007
         a gone
         a resumes
         a > 3c ~ <%/t> 0007 {} 'once'
         a < 50 02 0007
         a > 62 02 0007
         a < 70 02 0007
         a > 34 ~ <%/t> 0007 {} 'a new one'
         a < 50 02 0007
         b < 34 ~ <%/t> $p {} 'once'
         b < 34 ~ <%/t> $q {} 'a new one'");
}

#[test]
fn after_puback_the_identifier_is_a_new_message_whatever_dup_says() {
    all("b connects
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0007 {} 'one'
         a < 40 02 0007
         a > 3a ~ <%/t> 0007 {} 'two'
         a < 40 02 0007
         b < 32 ~ <%/t> $p {} 'one'
         b < 32 ~ <%/t> $q {} 'two'");
}

#[test]
fn dup_of_the_sender_is_not_passed_on() {
    all("b connects
         b subscribes <%/t> 02
         a connects
         a > 3a ~ <%/t> 0001 {} 'x'
         a < 40 02 0001
         b < 32 ~ <%/t> $p {} 'x'
         a > 3c ~ <%/t> 0002 {} 'y'
         a < 50 02 0002
         b < 34 ~ <%/t> $q {} 'y'");
}

#[test]
fn a_publish_that_cannot_be_ends_the_connection() {
    let table = [
        ("QoS 3", "36 ~ <t> 0001 {} 'x'", "81"),
        ("DUP at QoS 0", "38 ~ <t> {} 'x'", "81"),
        ("packet identifier 0", "32 ~ <t> 0000 {} 'x'", "81"),
        ("a topic that is not UTF-8", "30 ~ <t\\xff> {} 'x'", "81"),
        ("a surrogate", "30 ~ <t\\xed\\xbf\\xbf> {} 'x'", "81"),
        ("U+0000 in the topic", "30 ~ <t\\0> {} 'x'", "81"),
        ("+ in the topic", "30 ~ <t/+> {} 'x'", "90"),
        ("# in the topic", "30 ~ <#> {} 'x'", "90"),
        ("an empty topic", "30 ~ <> {} 'x'", "(90)[82]"),
        ("no topic", "30 00", "81"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends {code}"));
    }
}

#[test]
fn properties_of_publish_have_to_be_valid() {
    let table = [
        ("a subscription identifier", "0b 01", "82"),
        ("payload format 2", "01 02", "82"),
        ("payload format twice", "01 00 01 00", "82"),
        ("a response topic with a wildcard", "08 <a/#>", "90"),
        ("a response topic that is not UTF-8", "08 <\\xff>", "81"),
        ("a content type that is not UTF-8", "03 <\\xff>", "81"),
        ("a user property that is not UTF-8", "26 <\\xff> <v>", "81"),
        ("a property of CONNECT", "11 00000001", "81"),
    ];
    for (what, properties, code) in table {
        println!("{what}");
        five(&format!("a connects \n a > 30 ~ <t> {{{properties}}} 'x' \n a ends {code}"));
    }
    five("a connects \n a > 30 ~ <t> 82 00 'x' \n a ends 81"); // a property length longer than needed or than the packet
}

#[test]
fn a_release_of_nothing_is_answered() {
    all("a connects
         a > 62 02 0099
         a < 70 ~ 0099 [92]
         a quiet");
}

#[test]
fn acknowledgements_of_nothing_are_ignored() {
    all("a connects
         a > 40 02 0099
         a > 70 02 0099
         a quiet");
}

#[test]
fn a_pubrec_of_nothing_is_answered_with_a_release() {
    all("a connects
         a > 50 02 0099
         a < 62 ~ 0099 [92]
         a quiet");
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_publishes() {
    all("p persists
         p subscribes <%/stored> 02
         a connects
         a > 32 ~ <%/stored> 0001 {} 'x' ; 32 ~ <%/transient> 0002 {} 'x'
         a < 40 02 0001
         a < 40 ~ 0002 [10]
         a > 34 ~ <%/stored> 0003 {} 'x' ; 34 ~ <%/transient> 0004 {} 'x'
         a < 50 02 0003
         a < 50 ~ 0004 [10]");
}

#[test]
fn a_publish_that_is_denied_has_a_code_in_5_and_ends_the_connection_in_3_x() {
    five(
        "a connects
          a > 32 ~ <u/somebody/inbox> 0001 {} 'x'
          a < 40 ~ 0001 87 {*}
          a > 34 ~ <u/somebody/inbox> 0002 {} 'x'
          a < 50 ~ 0002 87 {*}
          a > 34 ~ <%/t> 0002 {} 'the identifier is free again'
          a < 50 ~ 0002 10",
    );
    versions(crate::talk::THREE, "a connects \n a > 32 ~ <u/somebody/inbox> 0001 'x' \n a closed");
}
