//! Maximum Packet Size and Request Problem Information (MQTT 5 §3.1.2.11.4, §3.1.2.11.7).

use crate::talk::{Talk, five, versions};
use hubbub_tests::{Hub, RawClient, Version};

#[test]
fn a_packet_larger_than_the_client_takes_counts_as_sent() {
    for comes in ["02", "00"] {
        five(&format!(
            "b > CONNECT {comes} 0000 {{11 00000e10 27 00000028}} <b%>
             b < 20 ~ 00 00 {{*}}
             b subscribes <%/t> 01
             wide persists
             wide subscribes <%/t> 01
             a connects
             a > 32 ~ <%/t> 0001 {{}} 'more than forty bytes, whatever the topic is called'
             a < 40 02 0001
             wide < 32 ~ <%/t> $w {{}} 'more than forty bytes, whatever the topic is called'
             a > 32 ~ <%/t> 0002 {{}} 'small'
             b < 32 ~ <%/t> $p {{}} 'small'
             b quiet"
        ));
    }
}

#[test]
fn a_retained_message_larger_than_the_client_takes_is_not_sent() {
    five("a connects
          a > 31 ~ <%/1> {} 'more than forty bytes, whatever the topic is called' ; 31 ~ <%/2> {} 'small' ; c0 00
          a < d0 00
          b > CONNECT 02 0000 {27 00000028} <b%>
          b < 20 ~ 00 00 {*}
          b subscribes <%/#> 00
          b < 31 ~ <%/2> {} 'small'
          b quiet");
}

#[test]
fn reasons_are_left_out_where_the_packet_would_become_too_large() {
    five(
        "a > CONNECT 02 0000 {27 00000018} <a%>
          a < 20 ~ 00 00 {*}
          a > 32 ~ <u/somebody/inbox> 0001 {} 'x'
          a < 40 03 0001 87
          a > 34 ~ <u/somebody/inbox> 0002 {} 'x'
          a < 50 03 0002 87
          a > 82 ~ 0001 {} <u/somebody/inbox> 00
          a < 90 04 0001 00 87
          a > a2 ~ 0001 {} <none>
          a < b0 04 0001 00 11
          a > 36 00
          a < e0 01 81
          a closed",
    );
    five("a > CONNECT 02 0000 {27 0000000c 15 <NONE>} <a%> \n a < 20 03 00 8c 00 \n a closed");
}

#[test]
fn what_a_server_has_to_say_about_a_message_is_left_out_where_the_packet_would_become_too_large() {
    five(
        "a > CONNECT 82 0000 {} <a%> <alice%>
          a < 20 ~ 00 00 {*}
          a > 32 ~ <dm/bob%> 0001 {} 'hi'
          a < 40 ~ 0001 00 {*}
          b > CONNECT 82 0000 {27 00000018} <b%> <bob%>
          b < 20 ~ 00 00 {*}
          b > 32 ~ <dm/alice%> 0001 {} 'hi'
          b < 40 02 0001",
    );
}

#[test]
fn what_a_later_connection_does_not_take_at_qos_2_is_released() {
    five(
        "b persists
          b subscribes <%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'more than forty bytes, whatever the topic is called'
          b < 34 ~ <%/t> $p {} 'more than forty bytes, whatever the topic is called'
          b gone
          b > CONNECT 00 0000 {11 00000e10 27 00000028} <b%>
          b < 20 ~ 01 00 {*}
          b < 62 02 $p
          b > 70 02 $p
          b quiet
          b gone
          b resumes
          b quiet",
    );
}

#[test]
fn a_connack_that_is_too_large_leaves_who_is_there_alone() {
    five(
        "a persists
          b > CONNECT 02 0000 {27 0000000c} <a%>
          b < 20 03 00 95 00
          b closed
          a quiet
          a gone
          a resumes",
    );
}

#[test]
fn a_refusal_of_a_connect_that_cannot_be_read_to_its_end_is_no_larger_either() {
    five("a > CONNECT 06 0000 {27 0000000c} <a%> {} <w/#> <x> \n a < 20 03 00 90 00 \n a closed");
    five("a > CONNECT 06 0000 {27 00000004} <a%> {} <w/#> <x> \n a closed");
}

#[test]
fn connack_is_no_larger_than_the_client_takes() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("a > CONNECT 02 0000 {27 0000000c} <a%> ; e0 00");
    let answer = talk.line("a").rest();
    assert!(answer.len() <= 12, "{answer:02x?}");
    // Not even the shortest there is.
    five("a > CONNECT 02 0000 {27 00000004} <a%> \n a closed");
    five("a > CONNECT 02 0000 {27 00000004 15 <NONE>} <a%> \n a closed");
}

#[test]
fn suback_is_no_larger_than_the_client_takes() {
    let mut talk = Talk::new(Version::V5);
    let filters: Vec<String> = (0..40).map(|number| format!("<%/{number}> 00")).collect();
    talk.goes(&format!(
        "a > CONNECT 02 0000 {{27 00000018}} <a%>
         a < 20 ~ 00 00 {{*}}
         a > 82 ~ 0001 {{}} {} ; e0 00",
        filters.join(" ")
    ));
    let answer = talk.line("a").rest();
    assert!(answer.len() <= 24, "{answer:02x?}");
}

#[test]
fn a_suback_that_is_too_large_ends_the_connection_and_nothing_else() {
    // A session that ends with its connection is gone before the answer is dealt with.
    let hub = Hub::start();
    let mut raw = RawClient::connect(hub.mqtt());
    let filters: Vec<u8> = (0..30).flat_map(|_| [0, 1, b'a', 0]).collect();
    raw.sends([0x10, 0x13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 5, 0x27, 0, 0, 0, 20, 0, 1, b'a']);
    raw.sends([&[0x82, 3 + filters.len() as u8, 0, 1, 0][..], &filters].concat());
    raw.ends();
    hub.is_healthy();
    assert!(!hub.log().contains("panicked"), "{}", hub.log());
}

#[test]
fn a_packet_larger_than_the_server_takes_ends_the_connection() {
    let mut talk = Talk::new(Version::V5);
    talk.goes("a > CONNECT 02 0000 {} <a%>");
    let connack = talk.line("a").packet();
    let at = connack.iter().position(|byte| *byte == 0x27).expect("a maximum packet size");
    let maximum = u32::from_be_bytes(connack[at + 1..at + 5].try_into().unwrap()) as usize;
    let head = |size: usize| [vec![0x30], hubbub_tests::wire::varint(size - 4), vec![0, 1, b't', 0]].concat();
    let whole = [head(maximum), vec![b'x'; maximum - 8]].concat();
    assert_eq!(whole.len(), maximum);
    talk.line("a").sends(&whole);
    talk.goes("a quiet");
    talk.line("a").sends(&head(maximum + 1)[..4]); // told by the header alone
    talk.goes("a ends 95");
    versions(&[Version::V311], "a connects \n a > 30 ff ff ff 7f \n a closed");
}

#[test]
fn a_client_that_wants_no_problem_information_gets_bare_codes() {
    five(
        "a > CONNECT 02 0000 {17 00} <a%>
          a < 20 ~ 00 00 {*}
          a > 32 ~ <u/somebody/inbox> 0001 {} 'x'
          a < 40 03 0001 87
          a > 34 ~ <u/somebody/inbox> 0002 {} 'x'
          a < 50 03 0002 87
          a > 62 02 0009
          a < 70 03 0009 92
          a > 50 02 0009
          a < 62 03 0009 92
          a > 82 ~ 0001 {} <u/somebody/inbox> 00
          a < 90 04 0001 00 87
          a > a2 ~ 0001 {} <none>
          a < b0 04 0001 00 11",
    );
    // Nor what the server adds to the receipt of a message.
    five(
        "a > CONNECT 82 0000 {17 00} <a%> <alice%>
          a < 20 ~ 00 00 {*}
          a > 32 ~ <dm/bob%> 0001 {} 'hi'
          a < 40 02 0001",
    );
}

#[test]
fn every_refusal_says_why() {
    five(
        "a > CONNECT 02 0000 {15 <NONE>} <a%>
          a < 20 ~ 00 8c {1f <this authentication method is not offered>}
          a closed
          b connects
          b > 32 ~ <u/somebody/inbox> 0001 {} 'x'
          b < 40 ~ 0001 87 {1f <this topic is not yours>}
          b > 34 ~ <u/somebody/inbox> 0002 {} 'x'
          b < 50 ~ 0002 87 {1f <this topic is not yours>}
          b > 82 ~ 0001 {} <u/somebody/inbox> 00
          b < 90 ~ 0001 {1f <u/somebody/inbox: this topic is not yours>} 87
          b > CONNECT 02 0000 {} <b%>
          b < e0 ~ 82 {1f <second CONNECT>}
          b closed",
    );
}

#[test]
fn a_client_that_wants_no_problem_information_gets_the_user_properties_of_messages() {
    five(
        "b > CONNECT 02 0000 {17 00} <b%>
          b < 20 ~ 00 00 {*}
          b subscribes <%/t> 00
          a connects
          a > 30 ~ <%/t> {26 <k> <v>} 'x'
          b < 30 ~ <%/t> {26 <k> <v>} 'x'",
    );
}
