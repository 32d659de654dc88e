//! MQTT over WebSocket (MQTT 5 §6): the same bytes in binary frames.

use hubbub_tests::RawClient;

use crate::line::{frame, upgrade};
use crate::talk::{Talk, all, hub};
use hubbub_tests::wire::VERSIONS;

#[test]
fn the_same_conversation_goes_over_websocket() {
    all("b@ws persists
         b@ws subscribes <%/t> 02
         a@ws connects
         a@ws > 34 ~ <%/t> 0001 {} 'x'
         a@ws < 50 02 0001
         a@ws > 62 02 0001
         a@ws < 70 02 0001
         b@ws < 34 ~ <%/t> $p {} 'x'
         b@ws > 50 02 $p
         b@ws < 62 02 $p
         b@ws gone
         b@ws resumes
         b@ws < 62 02 $p
         b@ws > 70 02 $p
         b@ws quiet
         c connects
         c > 30 ~ <%/t> {} 'over TCP'
         b@ws < 30 ~ <%/t> {} 'over TCP'
         a@ws > CONNECT 02 0000 {} <again%>
         a@ws ends 82");
}

#[test]
fn a_large_message_goes_over_websocket() {
    let payload = "x".repeat(60_000);
    all(&format!(
        "b@ws connects
         b@ws subscribes <%/t> 01
         a@ws connects
         a@ws > 32 ~ <%/t> 0001 {{}} '{payload}'
         b@ws < 32 ~ <%/t> $p {{}} '{payload}'"
    ));
}

#[test]
fn frames_and_packets_need_not_agree() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        let connect = crate::notation::bytes("CONNECT 02 0000 {} <x> ; c0 00", version, &Default::default());
        for byte in connect {
            talk.line("a@ws").sends(&[byte]);
        }
        talk.goes("a@ws < 20 ~ 00 00 {*} \n a@ws < d0 00");
        // One message in two frames, with a ping of WebSocket between them.
        let line = talk.line("a@ws");
        line.sends_raw(&frame(0x02, &[0xc0, 0, 0xc0]));
        line.sends_raw(&frame(0x80, &[0]));
        talk.goes("a@ws < d0 00 \n a@ws < d0 00");
    }
}

#[test]
fn a_text_frame_ends_the_connection() {
    for version in VERSIONS {
        let mut talk = Talk::new(version);
        talk.goes("a@ws connects");
        talk.line("a@ws").sends_raw(&frame(0x81, &[0xc0, 0]));
        let rest = talk.line("a@ws").rest();
        assert!(!rest.contains(&0xd0), "no answer to the PINGREQ in it: {rest:02x?}");
    }
}

#[test]
fn the_subprotocol_that_is_chosen_is_mqtt() {
    let hub = hub();
    for offered in ["mqtt", "chat, mqtt", "mqtt, mqttv3.1", "mqttv3.1, mqtt"] {
        let mut socket = RawClient::connect(hub.websocket());
        let mut answer = Vec::new();
        socket.sends(upgrade(&hub, offered));
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(socket.takes(1));
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(
            answer.starts_with("http/1.1 101") && answer.contains("sec-websocket-protocol: mqtt\r\n"),
            "{answer}"
        );
    }
}
