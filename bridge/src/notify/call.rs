//! What a webhook call says, and its signature.

use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::Pending;

/// Largest body of a call in bytes: what push gateways take (R35). The text of a message is left out above it.
pub const CALL_MAX: usize = 4096;
/// Milliseconds in a second.
const SECOND_MS: u64 = 1000;

/// One call to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The absent recipient.
    pub uid: String,
    /// Position in the recipient's inbox.
    pub n: u64,
    /// The outbox entry.
    pub pending: Pending,
    /// Messages that the recipient has not read.
    pub unread: u64,
    /// The time of the call, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    user: &'a str,
    cid: &'a str,
    seq: u64,
    mid: &'a str,
    from: &'a str,
    ts: u64,
    unread: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

impl Call {
    /// Names the notification, the same in every retry: the receiver can tell a repeat by it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.uid, self.n)
    }

    /// The time of the call in seconds since the Unix epoch, as signed.
    pub fn timestamp(&self) -> String {
        (self.now_ms / SECOND_MS).to_string()
    }

    /// The JSON text, with the text of the message only if all of it fits.
    pub fn body(&self) -> String {
        let whole = self.json(self.pending.body.as_deref());
        if whole.len() <= CALL_MAX { whole } else { self.json(None) }
    }

    fn json(&self, body: Option<&str>) -> String {
        let Pending { cid, seq, mid, from, ts, .. } = &self.pending;
        let (user, unread) = (self.uid.as_str(), self.unread);
        let body = Body { id: self.id(), user, cid, seq: *seq, mid, from, ts: *ts, unread, body };
        // Text and numbers always have a JSON form.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// `v1=` and the hexadecimal HMAC-SHA256 of `{timestamp}.{body}`: the receiver can check who calls, and when.
pub(crate) fn signature(secret: &str, timestamp: &str, body: &str) -> String {
    // An HMAC takes keys of every length, so there is always one.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .ok()
        .map(|mac| mac.chain_update(timestamp).chain_update(".").chain_update(body).finalize().into_bytes());
    mac.into_iter().flatten().fold(String::from("v1="), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::notify) fn call(body: Option<&str>) -> Call {
        let pending = Pending {
            cid: "alice~bob".into(),
            seq: 7,
            mid: "01JMID".into(),
            from: "alice".into(),
            ts: 1_763_650_000_000,
            due_ms: 0,
            attempts: 0,
            body: body.map(Into::into),
        };
        Call { uid: "bob".into(), n: 42, pending, unread: 3, now_ms: 1_763_650_015_999 }
    }

    #[test]
    fn the_body_says_what_the_contract_says() {
        assert_eq!(
            call(None).body(),
            r#"{"id":"bob/42","user":"bob","cid":"alice~bob","seq":7,"mid":"01JMID","from":"alice","ts":1763650000000,"unread":3}"#
        );
        assert!(call(Some("hi \"bob\"")).body().ends_with(r#","unread":3,"body":"hi \"bob\""}"#));
        assert_eq!(call(None).timestamp(), "1763650015");
    }

    #[test]
    fn a_text_that_does_not_fit_is_left_out() {
        let overhead = call(Some("")).body().len();
        let fits = call(Some(&"x".repeat(CALL_MAX - overhead))).body();
        assert_eq!(fits.len(), CALL_MAX);
        let escapes = call(Some(&"\"".repeat(CALL_MAX - overhead))).body();
        assert!(!escapes.contains("body") && escapes.contains("unread"));
    }

    #[test]
    fn the_signature_is_the_one_that_other_tools_make() {
        // printf '%s' '1763650015.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "v1=9acf77a1fa7a49f41b9e89b1379ac654e15690c2040f7ebb40bf933dee67e9ba";
        assert_eq!(signature("secret", "1763650015", r#"{"a":1}"#), expected);
    }
}
