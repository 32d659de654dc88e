//! The JSON envelope of a chat message, from whatever the sender published.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use hubbub_broker::clock::Millis;

/// What a sender said, read from the payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Kind of the message: what the sender says, else `text`, `json` or `binary` by its looks.
    pub kind: String,
    /// Text or JSON.
    pub body: Value,
    /// Whether the body is base64.
    pub base64: bool,
    /// The sender's own id of the message, for idempotence.
    pub cmid: Option<String>,
    /// Fields that we do not know travel along.
    pub more: Map<String, Value>,
}

/// Names that only the server fills in.
const RESERVED: [&str; 8] = ["n", "cid", "seq", "mid", "from", "device", "ts", "enc"];

impl Content {
    /// Reads a payload: a JSON object with a `body` is an envelope in the making, other JSON objects and arrays are a
    /// body themselves, text is text, and everything else goes as base64.
    pub fn read(payload: &[u8]) -> Content {
        let Ok(text) = std::str::from_utf8(payload) else {
            return Content::plain("binary", STANDARD.encode(payload).into(), true);
        };
        if !text.trim_start().starts_with(['{', '[']) {
            return Content::plain("text", text.into(), false);
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) if fields.contains_key("body") => Content::of_fields(fields),
            Ok(Value::Object(mut fields)) if fields.contains_key("cmid") => {
                let cmid = take_text(&mut fields, "cmid");
                Content { cmid, ..Content::plain("json", Value::Object(fields), false) }
            }
            Ok(json) => Content::plain("json", json, false),
            Err(_) => Content::plain("text", text.into(), false),
        }
    }

    fn plain(kind: &str, body: Value, base64: bool) -> Content {
        Content { kind: kind.to_owned(), body, base64, cmid: None, more: Map::new() }
    }

    fn of_fields(mut fields: Map<String, Value>) -> Content {
        let base64 = fields.get("enc").is_some_and(|enc| enc == "base64");
        RESERVED.iter().for_each(|name| drop(fields.remove(*name)));
        let body = fields.remove("body").unwrap_or_default();
        let looks = if body.is_string() { "text" } else { "json" };
        let kind = take_text(&mut fields, "type").unwrap_or_else(|| looks.to_owned());
        Content { kind, body, base64, cmid: take_text(&mut fields, "cmid"), more: fields }
    }

    /// The text, if it is one: for notifications that may show it.
    pub fn text(&self) -> Option<&str> {
        self.body.as_str().filter(|_| !self.base64)
    }
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A stored message. Its JSON without the inbox position `n`, which differs for each receiver, is what lies on disk.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    /// Conversation.
    pub cid: &'a str,
    /// Dense position in the conversation, from 1.
    pub seq: u64,
    /// Unique id of the message.
    pub mid: &'a str,
    /// Sender.
    pub from: &'a str,
    /// The sender's device.
    pub device: &'a str,
    /// When it was stored.
    pub ts: Millis,
    /// Kind.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Body.
    pub body: &'a Value,
    /// How the body is encoded, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc: Option<&'a str>,
    /// The sender's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmid: Option<&'a str>,
    /// What else the sender said.
    #[serde(flatten)]
    pub more: &'a Map<String, Value>,
}

impl Envelope<'_> {
    /// The JSON text.
    pub fn json(&self) -> String {
        // Text, numbers and JSON values always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Bytes of the longest position, with its name.
const NUMBER: usize = 26;

/// Puts the position in somebody's inbox in front of a stored message.
pub fn with_position(n: u64, stored: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(stored.len() + NUMBER);
    // Writing to memory cannot fail.
    let _ = write!(json, "{{\"n\":{n},");
    json.extend_from_slice(stored.get(1..).unwrap_or_default());
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn payloads_of_every_kind() {
        for (payload, kind, body) in [
            (&b"hi"[..], "text", json!("hi")),
            (b"42", "text", json!("42")),
            (b"", "text", json!("")),
            (b"{broken", "text", json!("{broken")),
            (b"{\"lat\":1}", "json", json!({"lat":1})),
            (b"[1]", "json", json!([1])),
            (b"{\"body\":\"yo\"}", "text", json!("yo")),
            (b"{\"body\":{\"a\":1},\"type\":\"poll\"}", "poll", json!({"a":1})),
            (b"\xff\x00", "binary", json!("/wA=")),
        ] {
            let content = Content::read(payload);
            assert_eq!((content.kind.as_str(), &content.body), (kind, &body), "{payload:?}");
            assert_eq!(content.base64, kind == "binary");
        }
    }

    #[test]
    fn senders_cannot_fill_in_what_is_the_servers() {
        let content = Content::read(br#"{"body":"x","cmid":"7","seq":99,"from":"eve","reply_to":3}"#);
        assert_eq!(content.cmid.as_deref(), Some("7"));
        assert_eq!(Value::Object(content.more), json!({"reply_to":3}));
    }

    #[test]
    fn the_position_comes_in_front() {
        let content = Content::read(b"hi");
        let envelope = Envelope {
            cid: "a~b",
            seq: 1,
            mid: "M",
            from: "a",
            device: "phone",
            ts: 5,
            kind: &content.kind,
            body: &content.body,
            enc: None,
            cmid: None,
            more: &content.more,
        };
        assert_eq!(
            String::from_utf8(with_position(3, envelope.json().as_bytes())).unwrap(),
            r#"{"n":3,"cid":"a~b","seq":1,"mid":"M","from":"a","device":"phone","ts":5,"type":"text","body":"hi"}"#
        );
    }
}
