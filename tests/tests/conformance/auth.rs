//! Enhanced authentication, of which the server offers no method yet (MQTT 5 §4.12).

use crate::talk::five;

#[test]
fn a_method_that_is_not_offered_is_refused() {
    five("a > CONNECT 02 0000 {15 <NONE>} <a%> \n a refused 8c");
    five("a > CONNECT 02 0000 {15 <NONE> 16 <data>} <a%> \n a refused 8c");
}

#[test]
fn auth_without_a_method_is_a_protocol_error() {
    for auth in ["f0 00", "f0 ~ 18 {15 <NONE>}", "f0 ~ 19 {15 <NONE>}"] {
        five(&format!("a connects \n a > {auth} \n a ends 82"));
    }
}

#[test]
fn a_client_that_names_no_method_is_sent_none() {
    let mut talk = crate::talk::Talk::new(hubbub_tests::Version::V5);
    talk.goes("a > CONNECT 02 0000 {} <a%>");
    let connack = talk.line("a").packet();
    assert_eq!(connack[0], 0x20, "CONNACK and not AUTH: {connack:02x?}");
    assert!(!connack[5..].contains(&0x15), "no authentication method: {connack:02x?}");
}

#[test]
fn reserved_flags_of_auth_are_malformed() {
    for flags in 1..16 {
        five(&format!("a connects \n a > f{flags:x} 00 \n a ends 81"));
    }
}
