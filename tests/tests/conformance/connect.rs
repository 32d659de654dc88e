//! CONNECT and CONNACK (MQTT 5 §3.1, §3.2).

use std::sync::Arc;

use crate::talk::{SINCE_311, THREE, Talk, all, five, versions};
use hubbub_tests::{Settings, Version};

#[test]
fn the_first_packet_has_to_be_connect() {
    for first in ["c0 00", "30 ~ <a> {}", "82 ~ 0001 {} <a> 00", "62 02 0001", "e0 00", "f0 00", "20 02 0000"]
    {
        all(&format!("a > {first}\n a closed"));
    }
}

#[test]
fn a_second_connect_ends_the_connection() {
    all("a connects
         a > CONNECT 02 0000 {} <a%>
         a ends 82");
}

#[test]
fn connack_comes_first_and_once_whatever_follows_connect_in_the_same_write() {
    all("a > CONNECT 02 0000 {} <a%> ; c000 ; c000
         a < 20 ~ 00 00 {*}
         a < d0 00
         a < d0 00
         a > e0 00
         a closed");
}

#[test]
fn a_client_may_publish_without_waiting_for_connack() {
    all("b connects
         b subscribes <%/t> 01
         a > CONNECT 02 0000 {} <a%>
         a > 32 ~ <%/t> 0001 {} 'early'
         a < 20 ~ 00 00 {*}
         a < 40 02 0001
         b < 32 ~ <%/t> $p {} 'early'");
}

#[test]
fn another_protocol_name_is_not_let_in() {
    for name in ["MQTX", "mqtt", "MQTT ", "MQisdp", ""] {
        versions(&[Version::V311], &format!("a > 10 ~ <{name}> 04 02 0000 <a%> \n a closed"));
        five(&format!("a > 10 ~ <{name}> 05 02 0000 00 <a%> \n a closed"));
        versions(&[Version::V31], &format!("a > 10 ~ <{name}> 03 02 0000 <a%> \n a closed"));
    }
}

#[test]
fn an_unknown_level_is_named_as_such() {
    five(
        "a > 10 ~ <MQTT> 06 02 0000 00 <a%>
          a < 20 ~ 00 84 {*}
          a closed",
    );
    for level in ["00", "03", "ff"] {
        versions(
            &[Version::V311],
            &format!("a > 10 ~ <MQTT> {level} 02 0000 <a%> \n a < 20 02 00 01 \n a closed"),
        );
    }
}

#[test]
fn flags_of_connect_and_its_fields_have_to_agree() {
    let table = [
        ("reserved flag", "CONNECT 03 0000 {} <a%>"),
        ("will QoS without will", "CONNECT 0a 0000 {} <a%>"),
        ("will retain without will", "CONNECT 22 0000 {} <a%>"),
        ("will QoS 3", "CONNECT 1e 0000 {} <a%> {} <w> <x>"),
        ("will without fields", "CONNECT 06 0000 {} <a%>"),
        ("will without payload", "CONNECT 06 0000 {} <a%> {} <w>"),
        ("user name without flag", "CONNECT 02 0000 {} <a%> <user>"),
        ("flag without user name", "CONNECT 82 0000 {} <a%>"),
        ("password without flag", "CONNECT 82 0000 {} <a%> <user> <pass>"),
        ("flag without password", "CONNECT c2 0000 {} <a%> <user>"),
        ("will without flag", "CONNECT 02 0000 {} <a%> {} <w> <x>"),
        ("no client id", "CONNECT 02 0000 {}"),
    ];
    for (what, packet) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a > {packet} \n a refused 81"));
    }
}

#[test]
fn fields_of_connect_come_in_their_order() {
    all("a > CONNECT c6 0000 {} <a%> {} <%/will> <gone> <alice%> <secret>
         a < 20 ~ 00 00 {*}
         a subscribes <u/alice%/inbox> 01
         b connects
         b subscribes <%/will> 00
         a gone
         b < 30 ~ <%/will> {} 'gone'");
}

#[test]
fn strings_of_connect_are_utf_8_without_null() {
    let table = [
        ("client id", "CONNECT 02 0000 {} <a\\xff>"),
        ("client id with a surrogate", "CONNECT 02 0000 {} <a\\xed\\xa0\\x80>"),
        ("client id with null", "CONNECT 02 0000 {} <a\\0>"),
        ("will topic", "CONNECT 06 0000 {} <a%> {} <w\\xc0\\x80> <x>"),
        ("user name", "CONNECT 82 0000 {} <a%> <\\xf8>"),
    ];
    for (what, packet) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a > {packet} \n a refused 81"));
    }
}

#[test]
fn a_password_needs_a_user_name_in_3_1_1_and_not_in_5() {
    versions(&[Version::V311], "a > CONNECT 42 0000 <a%> <secret> \n a closed");
    five("a > CONNECT 42 0000 {} <a%> <secret> \n a < 20 ~ 00 00 {*}");
}

#[test]
fn properties_of_connect_are_there_once_and_in_their_range() {
    let table = [
        ("receive maximum 0", "21 0000"),
        ("maximum packet size 0", "27 00000000"),
        ("session expiry twice", "11 00000001 11 00000001"),
        ("request problem information 2", "17 02"),
        ("request response information 2", "19 02"),
        ("authentication data without method", "16 <x>"),
    ];
    for (what, properties) in table {
        println!("{what}");
        five(&format!("a > CONNECT 02 0000 {{{properties}}} <a%> \n a refused 82"));
    }
    five("a > CONNECT 02 0000 {23 0001} <a%> \n a refused 81"); // a topic alias has no place here
    five("a > CONNECT 02 0000 {7f 00} <a%> \n a refused 81");
}

#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    versions(
        SINCE_311,
        "b connects
         b subscribes <%/t> 00
         a > CONNECT 03 0000 {} <a%> ; 31 ~ <%/t> {} 'x'
         a refused 81
         c connects
         c > 30 ~ <%/t> {} 'first'
         b < 30 ~ <%/t> {} 'first'",
    );
}

#[test]
fn response_information_is_given_only_to_who_asks() {
    let has = |properties: &str| {
        let mut talk = Talk::new(Version::V5);
        talk.goes(&format!("a > CONNECT 82 0000 {{{properties}}} <a%> <alice>"));
        let connack = talk.line("a").packet();
        connack.windows(2).any(|pair| pair == b"u/")
    };
    assert!(has("19 01"));
    assert!(!has("19 00"));
    assert!(!has(""));
}

#[test]
fn an_unknown_user_is_refused_with_the_code_of_the_version() {
    let hub = Arc::new(Settings::with_login().set("store.engine", "memory").start());
    let connect = "a > CONNECT c2 0000 {} <a%> <nobody> <wrong>";
    let mut talk = Talk::with(hub.clone(), Version::V5);
    talk.goes(&format!("{connect} \n a refused 86"));
    for version in THREE {
        let mut talk = Talk::with(hub.clone(), *version);
        talk.goes(&format!("{connect} \n a < 20 02 00 04 \n a closed"));
    }
}

#[test]
fn the_server_may_set_the_keep_alive_of_a_client_of_5() {
    let settings = Settings::dev().set("store.engine", "memory").set("session.keep_alive_max", "1s");
    let mut talk = Talk::with(Arc::new(settings.start()), Version::V5);
    for keep_alive in ["003c", "0000"] {
        talk.goes(&format!("a{keep_alive} > CONNECT 02 {keep_alive} {{}} <{keep_alive}>"));
        let connack = talk.line(&format!("a{keep_alive}")).packet();
        assert!(connack.windows(3).any(|part| part == [0x13, 0, 1]), "a server keep-alive: {connack:02x?}");
    }
    talk.goes("a003c ends 8d \n a0000 ends 8d");
}
