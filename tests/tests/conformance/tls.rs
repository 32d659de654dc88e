//! MQTT over TLS, and over WebSocket over TLS: the same bytes.

use crate::talk::{Talk, all};
use hubbub_tests::wire::VERSIONS;

#[test]
fn the_same_conversation_goes_over_tls() {
    for (one, other) in [("a@tls", "b@tls"), ("a@wss", "b@wss"), ("a@wss", "b"), ("a", "b@tls")] {
        all(&"B persists
             B subscribes <%/t> 02
             A connects
             A > 34 ~ <%/t> 0001 {} 'x'
             A < 50 02 0001
             A > 62 02 0001
             A < 70 02 0001
             B < 34 ~ <%/t> $p {} 'x'
             B > 50 02 $p
             B < 62 02 $p
             B gone
             B resumes
             B < 62 02 $p
             B > 70 02 $p
             B quiet
             A > 30 ~ <%/t> {} 'more' ; e0 00
             A closed
             B < 30 ~ <%/t> {} 'more'
             B > CONNECT 02 0000 {} <again%>
             B ends 82"
            .replace('A', one)
            .replace('B', other));
    }
}

#[test]
fn a_large_message_goes_over_tls() {
    let payload = "x".repeat(60_000);
    for how in ["tls", "wss"] {
        all(&format!(
            "b@{how} connects
             b@{how} subscribes <%/t> 01
             a@{how} connects
             a@{how} > 32 ~ <%/t> 0001 {{}} '{payload}'
             b@{how} < 32 ~ <%/t> $p {{}} '{payload}'"
        ));
    }
}

#[test]
fn whatever_is_refused_is_refused_over_tls_with_the_same_words() {
    for version in VERSIONS {
        for how in ["a@tls", "a@wss"] {
            let mut talk = Talk::new(version);
            // Another packet first; a server's packet; a topic with a wildcard.
            talk.goes(&format!("{how} > c0 00 \n {how} closed"));
            talk.goes(&format!("{how} connects \n {how} > d0 00 \n {how} ends 82"));
            talk.goes(&format!("{how} connects \n {how} > 30 ~ <a/#> {{}} 'x' \n {how} ends 90"));
        }
    }
}
