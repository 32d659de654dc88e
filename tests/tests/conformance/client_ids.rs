//! Client ids: which are taken, given and refused, and who takes over (MQTT 5 §3.1.3.1, §3.1.4).

use crate::talk::{THREE, Talk, all, five, versions};
use hubbub_tests::Version;

#[test]
fn client_ids_of_every_demanded_kind_are_taken() {
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for id in
        ["x", &alphabet[..23], &alphabet[23..46], &alphabet[39..], "longer than twenty-three bytes", "聊天"]
    {
        all(&format!("a > CONNECT 02 0000 {{}} <{id}> \n a < 20 ~ 00 00 {{*}} \n a > e000 \n a closed"));
    }
}

#[test]
fn a_client_without_an_id_is_given_one() {
    let mut given = Vec::new();
    for _ in 0..2 {
        let mut talk = Talk::new(Version::V5);
        talk.goes("a > CONNECT 02 0000 {} <>");
        let connack = talk.line("a").packet();
        assert_eq!(connack[2..4], [0, 0], "{connack:02x?}");
        let at =
            connack.windows(2).position(|pair| pair == [0x12, 0]).expect("an assigned client identifier");
        let length = usize::from(connack[at + 2]);
        given.push(String::from_utf8(connack[at + 3..at + 3 + length].to_vec()).unwrap());
        talk.goes(&format!(
            "b > CONNECT 02 0000 {{}} <{}> \n b < 20 ~ 00 00 {{*}} \n a ends 8e",
            given.last().unwrap()
        ));
    }
    assert_ne!(given[0], given[1]);
    versions(&[Version::V311], "a > CONNECT 02 0000 <> \n a < 20 02 00 00 \n a quiet");
}

#[test]
fn without_an_id_there_is_no_session_to_keep_in_3_1_1_and_no_connection_in_3_1() {
    versions(THREE, "a > CONNECT 00 0000 <> \n a < 20 02 00 02 \n a closed");
    versions(&[Version::V31], "a > CONNECT 02 0000 <> \n a < 20 02 00 02 \n a closed");
}

#[test]
fn an_id_that_is_given_counts_like_ones_own_even_without_clean_start() {
    five("a > CONNECT 00 0000 {} <> \n a < 20 ~ 00 00 {*} \n a quiet");
}

#[test]
fn a_client_id_of_somebody_else_is_refused() {
    let script = "a > CONNECT 82 0000 {} <a%> <alice%>
                  a < 20 ~ 00 00 {*}
                  b > CONNECT 82 0000 {} <a%> <bob%>
                  b < 20 ~ 00 [85](02) {*}
                  b closed
                  a quiet";
    all(script);
}

/// It stands in every frame about the session, so it has a bound.
#[test]
fn a_client_id_of_up_to_a_thousand_and_twenty_four_bytes_is_taken() {
    let (longest, longer) = ("x".repeat(1024), "x".repeat(1025));
    all(&format!("a > CONNECT 02 0000 {{}} <{longest}> \n a < 20 ~ 00 00 {{*}} \n a > e000 \n a closed"));
    all(&format!("a > CONNECT 02 0000 {{}} <{longer}> \n a < 20 ~ 00 [85](02) {{*}} \n a closed"));
}

#[test]
fn the_same_client_id_again_takes_over() {
    all("a connects
         b > CONNECT 02 0000 {} <a%>
         b < 20 ~ 00 00 {*}
         a ends 8e
         b quiet");
}
