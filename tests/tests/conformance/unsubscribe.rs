//! UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.10, §3.11).

use crate::talk::{SINCE_311, all, five, versions};

#[test]
fn each_filter_is_answered_in_its_place_whether_it_existed_or_not() {
    all("a connects
         a subscribes <%/t> 01
         a > a2 ~ abcd {} <%/none> <%/t> <%/T> <%/t>
         a < b0 ~ abcd {} [11 00 11 11]");
    all("a persists
         a > a2 ~ 0001 {} <%/none>
         a < b0 ~ 0001 {} [11]");
}

#[test]
fn filters_are_compared_character_by_character() {
    all("b connects
         b subscribes <%/+> 00
         b > a2 ~ 0001 {} <%/t> <%/#> <%/+/>
         b < b0 ~ 0001 {} [11 11 11]
         a connects
         a > 30 ~ <%/t> {} 'x'
         b < 30 ~ <%/t> {} 'x'
         b > a2 ~ 0002 {} <%/+>
         b < b0 ~ 0002 {} [00]");
}

#[test]
fn nothing_new_comes_after_an_unsubscribe() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b > 82 ~ 0001 {{}} <%/t> 01 <%/u> 01 <%/last> 01
             b < 90 ~ 0001 {{}} 01 01 01
             b > a2 ~ 0002 {{}} <%/t> <%/u>
             b < b0 ~ 0002 {{}} [00 00]
             a connects
             a > 32 ~ <%/t> 0001 {{}} 'x' ; 32 ~ <%/u> 0002 {{}} 'x' ; 32 ~ <%/last> 0003 {{}} 'last'
             b < 32 ~ <%/last> $p {{}} 'last'"
        ));
    }
}

#[test]
fn a_delivery_that_began_is_completed_after_an_unsubscribe() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <%/t> 02
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'two'
             b < 34 ~ <%/t> $two {{}} 'two'
             a > 32 ~ <%/t> 0002 {{}} 'one'
             b < 32 ~ <%/t> $one {{}} 'one'
             b > a2 ~ 0003 {{}} <%/t>
             b < b0 ~ 0003 {{}} [00]
             b > 40 02 $one
             b > 50 02 $two
             b < 62 02 $two
             b > 70 02 $two
             b quiet"
        ));
    }
}

#[test]
fn what_was_in_flight_at_an_unsubscribe_comes_again_on_resume() {
    all("b persists
         b subscribes <%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} 'x'
         b < 32 ~ <%/t> $p {} 'x'
         b > a2 ~ 0003 {} <%/t>
         b < b0 ~ 0003 {} [00]
         b gone
         b resumes
         b < 3a ~ <%/t> $p {} 'x'");
}

#[test]
fn an_unsubscribe_that_cannot_be_ends_the_connection() {
    let table = [
        ("reserved flags 0", "a0 ~ 0001 {} <t>", "81"),
        ("reserved flags f", "af ~ 0001 {} <t>", "81"),
        ("no filter", "a2 ~ 0001 {}", "82"),
        ("packet identifier 0", "a2 ~ 0000 {} <t>", "81"),
        ("a filter that is not UTF-8", "a2 ~ 0001 {} <\\xc3>", "81"),
        ("a filter cut off", "a2 ~ 0001 {} 0005 'x'", "81"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends {code}"));
    }
    five("a connects \n a > a2 ~ 0001 {0b 01} <t> \n a ends 81");
}
