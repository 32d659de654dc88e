//! Messages on the standard output, for people and for machines.

use crate::client::Message;
use crate::client::message::PublishProperties;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// How messages are printed.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The topic before the payload.
    pub verbose: bool,
    /// A line end after the payload.
    pub newline: bool,
    /// One JSON object per message.
    pub json: bool,
}

impl Style {
    /// Prints one message as `mosquitto_sub` does: an empty one without topic is nothing at all.
    pub fn print(&self, out: &mut impl Write, message: &Message, now_ms: u64) -> io::Result<()> {
        if self.json {
            return print_json(out, &message_json(message, now_ms));
        }
        if self.verbose {
            write!(out, "{} ", message.topic)?;
        } else if message.payload.is_empty() {
            return Ok(());
        }
        match message.payload.is_empty() {
            true => out.write_all(b"(null)")?,
            false => out.write_all(&message.payload)?,
        }
        if self.newline {
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// One object on one line, at once.
pub fn print_json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value}")?;
    out.flush()
}

/// A message as JSON: topic, payload (text, or base64 with `enc`), qos, retain, properties if there are any, time of arrival.
pub fn message_json(message: &Message, now_ms: u64) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), message.topic.clone().into());
    insert_bytes(&mut object, "payload", &message.payload);
    object.insert("qos".to_owned(), (message.qos as u8).into());
    object.insert("retain".to_owned(), message.retain.into());
    let properties = properties_json(&message.properties);
    if !properties.is_empty() {
        object.insert("properties".to_owned(), properties.into());
    }
    object.insert("ts".to_owned(), now_ms.into());
    object.into()
}

/// Text as text; anything else as base64, which `enc` says.
fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            object.insert(name.to_owned(), text.into());
        }
        Err(_) => {
            object.insert(name.to_owned(), STANDARD.encode(bytes).into());
            object.insert("enc".to_owned(), "base64".into());
        }
    }
}

fn properties_json(given: &PublishProperties) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    put("content-type", given.content_type.clone().map(Value::from));
    put("correlation-data", given.correlation_data.as_ref().map(|data| text_or_base64(data)));
    put("message-expiry-interval", given.message_expiry_interval.map(Value::from));
    put("payload-format-indicator", given.payload_format_indicator.map(Value::from));
    put("response-topic", given.response_topic.clone().map(Value::from));
    let identifiers = &given.subscription_identifiers;
    put("subscription-identifier", (!identifiers.is_empty()).then(|| json!(identifiers)));
    put("topic-alias", given.topic_alias.map(Value::from));
    let pairs = &given.user_properties;
    put("user-property", (!pairs.is_empty()).then(|| json!(pairs)));
    object
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "enc": "base64", "data": STANDARD.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Qos;

    fn message(topic: &str, payload: &'static [u8]) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: PublishProperties::default(),
            packet_id: 1,
        }
    }

    fn printed(verbose: bool, newline: bool, payload: &'static [u8]) -> String {
        let mut out = Vec::new();
        Style { verbose, newline, json: false }.print(&mut out, &message("a/b", payload), 0).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_what_mosquitto_sub_shows() {
        assert_eq!(printed(false, true, b"hi"), "hi\n");
        assert_eq!(printed(true, true, b"hi"), "a/b hi\n");
        assert_eq!(printed(true, false, b"hi"), "a/b hi");
        assert_eq!(printed(true, true, b""), "a/b (null)\n");
        assert_eq!(printed(false, true, b""), "");
    }

    #[test]
    fn machines_see_one_object() {
        let mut message = message("聊天/大厅", "grüß".as_bytes());
        message.properties.user_properties = vec![("k".into(), "v".into()), ("k".into(), "w".into())];
        message.properties.content_type = Some("text/plain".into());
        assert_eq!(
            message_json(&message, 5),
            json!({
                "topic": "聊天/大厅", "payload": "grüß", "qos": 1, "retain": false, "ts": 5,
                "properties": { "content-type": "text/plain", "user-property": [["k", "v"], ["k", "w"]] },
            })
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let object = message_json(&message("t", &[0xff, 0x00]), 5);
        assert_eq!((&object["payload"], &object["enc"]), (&json!("/wA="), &json!("base64")));
        assert!(object.get("properties").is_none());
    }
}
