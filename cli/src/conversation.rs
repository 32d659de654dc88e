//! Conversations as a client sees them: names, envelopes, and the call for earlier messages.

use crate::client::message::PublishProperties;
use crate::client::options::fresh_token;
use crate::client::{Draft, Message, Qos};
use crate::clock::utc;
use crate::exit::{Exit, Failure};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The conversation of two people: their names in order.
pub fn direct(one: &str, other: &str) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    format!("{first}~{second}")
}

/// Checks a user's name: one topic level of 1 to 64 bytes without characters that mean something.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let fits = (1..=64).contains(&name.len());
    let clean =
        !name.contains(['/', '+', '#', '~']) && !name.chars().any(char::is_control) && !name.starts_with('$');
    if fits && clean {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{name:?} is no user name: 1 to 64 bytes without / + # ~ and control characters, not beginning with $"
    )))
}

/// A message of a conversation as the server wraps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope(Value);

impl Envelope {
    /// Reads an envelope. What is not a JSON object is not one.
    pub fn parse(payload: &[u8]) -> Option<Envelope> {
        serde_json::from_slice(payload).ok().filter(Value::is_object).map(Envelope)
    }

    /// The envelope as it came, with fields that this program does not know.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The conversation.
    pub fn cid(&self) -> &str {
        self.text("cid")
    }

    /// Who wrote it.
    pub fn from(&self) -> &str {
        self.text("from")
    }

    /// Its number in the conversation.
    pub fn seq(&self) -> Option<u64> {
        self.0["seq"].as_u64()
    }

    /// The writer's own name for it.
    pub fn cmid(&self) -> Option<&str> {
        self.0["cmid"].as_str()
    }

    /// `bob: hi`.
    pub fn line(&self) -> String {
        format!("{}: {}", self.from(), self.body())
    }

    /// `#7 2025-11-20 14:46:40Z bob: hi`.
    pub fn dated_line(&self) -> String {
        let seq = self.seq().map(|seq| format!("#{seq} ")).unwrap_or_default();
        let when = self.0["ts"].as_u64().map(|ms| utc(ms) + " ").unwrap_or_default();
        format!("{seq}{when}{}", self.line())
    }

    fn body(&self) -> String {
        match &self.0["body"] {
            _ if self.0["enc"] == "base64" => "(not text)".to_owned(),
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }
}

/// What of a conversation was shown, so that nothing is shown twice when history and the live stream overlap.
#[derive(Debug, Default)]
pub struct Transcript {
    shown: HashSet<u64>,
    mine: HashSet<String>,
}

impl Transcript {
    /// Shall this message be shown? True once; never for a line that was typed here.
    pub fn is_new(&mut self, envelope: &Envelope) -> bool {
        if envelope.cmid().is_some_and(|cmid| self.mine.contains(cmid)) {
            return false;
        }
        envelope.seq().is_none_or(|seq| self.shown.insert(seq))
    }

    /// A line was typed here.
    pub fn typed(&mut self, cmid: &str) {
        self.mine.insert(cmid.to_owned());
    }
}

/// The request for earlier messages: MQTT 5 request and response (section 4.10).
#[derive(Debug)]
pub struct HistoryCall {
    reply_topic: String,
    correlation: Bytes,
}

/// One answer: messages in order, the oldest first.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Envelope>,
    /// Are there older ones?
    pub more: bool,
}

impl HistoryCall {
    /// A call with a reply topic of its own, below our own name.
    pub fn new(me: &str) -> HistoryCall {
        HistoryCall { reply_topic: format!("u/{me}/reply/{}", fresh_token()), correlation: Bytes::new() }
    }

    /// Subscribe to this before the request is sent.
    pub fn reply_topic(&self) -> &str {
        &self.reply_topic
    }

    /// The request for up to `limit` messages before number `before`. An answer to an earlier request no longer counts.
    pub fn request(&mut self, cid: &str, before: Option<u64>, limit: u32) -> Draft {
        self.correlation = fresh_token().into();
        let mut wanted = json!({ "cid": cid, "limit": limit });
        if let Some(before) = before {
            wanted["before"] = before.into();
        }
        Draft {
            topic: "rpc/history".to_owned(),
            payload: wanted.to_string().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: PublishProperties {
                response_topic: Some(self.reply_topic.clone()),
                correlation_data: Some(self.correlation.clone()),
                payload_format_indicator: Some(1),
                ..PublishProperties::default()
            },
        }
    }

    /// The answer to the last request, if this message is it.
    pub fn answer(&self, message: &Message) -> Option<Result<Page, Failure>> {
        let ours = message.topic == self.reply_topic
            && message.properties.correlation_data.as_ref() == Some(&self.correlation);
        ours.then(|| read_page(&message.payload))
    }
}

fn read_page(payload: &[u8]) -> Result<Page, Failure> {
    let unreadable = |what: &str| Failure::new(Exit::Failed, format!("the answer about the history {what}"));
    let mut answer: Value = serde_json::from_slice(payload).map_err(|_| unreadable("is not JSON"))?;
    if answer["ok"] != true {
        let error = answer["error"].as_str().unwrap_or("the server gave no reason");
        return Err(Failure::new(Exit::Failed, format!("no history: {error}")));
    }
    let more = answer["more"] == true;
    match answer["messages"].take() {
        Value::Array(messages) => Ok(Page { messages: messages.into_iter().map(Envelope).collect(), more }),
        _ => Err(unreadable("has no messages in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(text: &str) -> Envelope {
        Envelope::parse(text.as_bytes()).unwrap()
    }

    fn reply_to(draft: &Draft, payload: &str) -> Message {
        Message {
            topic: draft.properties.response_topic.clone().unwrap(),
            payload: payload.to_owned().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: PublishProperties {
                correlation_data: draft.properties.correlation_data.clone(),
                ..PublishProperties::default()
            },
            packet_id: 1,
        }
    }

    #[test]
    fn a_conversation_has_one_name_from_both_sides() {
        assert_eq!(direct("bob", "alice"), "alice~bob");
        assert_eq!(direct("alice", "bob"), "alice~bob");
    }

    #[test]
    fn names_are_one_topic_level() {
        assert!(check_name("爱丽丝").is_ok());
        for bad in ["", "a/b", "+", "a#", "a~b", "$sys", "a\nb", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn envelopes_read_well() {
        let said =
            envelope(r#"{"cid":"alice~bob","seq":7,"from":"bob","ts":1763650000000,"body":"hi","extra":1}"#);
        assert_eq!(said.dated_line(), "#7 2025-11-20 14:46:40Z bob: hi");
        assert_eq!(said.json()["extra"], 1);
        assert_eq!(envelope(r#"{"from":"bob","body":{"a":1}}"#).line(), r#"bob: {"a":1}"#);
        assert_eq!(envelope(r#"{"from":"bob","body":"/w==","enc":"base64"}"#).line(), "bob: (not text)");
    }

    #[test]
    fn nothing_is_shown_twice_and_own_lines_not_at_all() {
        let mut transcript = Transcript::default();
        let theirs = envelope(r#"{"seq":7,"from":"bob","body":"hi"}"#);
        assert!(transcript.is_new(&theirs));
        assert!(!transcript.is_new(&theirs));
        transcript.typed("c1");
        assert!(!transcript.is_new(&envelope(r#"{"seq":8,"from":"alice","cmid":"c1"}"#)));
        assert!(
            transcript.is_new(&envelope(r#"{"seq":9,"from":"alice","cmid":"c2"}"#)),
            "from another device"
        );
    }

    #[test]
    fn only_the_answer_to_the_last_request_counts() {
        let mut call = HistoryCall::new("alice");
        let first = call.request("alice~bob", None, 20);
        let second = call.request("alice~bob", Some(5), 20);
        let page = r#"{"ok":true,"messages":[{"seq":4}],"more":true}"#;
        assert!(call.answer(&reply_to(&first, page)).is_none());
        let answer = call.answer(&reply_to(&second, page)).unwrap().unwrap();
        assert_eq!((answer.messages[0].seq(), answer.more), (Some(4), true));
        let asked: Value = serde_json::from_slice(&second.payload).unwrap();
        assert_eq!(asked, json!({ "cid": "alice~bob", "before": 5, "limit": 20 }));
    }

    #[test]
    fn a_refusal_is_a_sentence() {
        let mut call = HistoryCall::new("alice");
        let request = call.request("bob~carol", None, 20);
        let refusal = reply_to(&request, r#"{"ok":false,"error":"you are not in this conversation"}"#);
        let failure = call.answer(&refusal).unwrap().unwrap_err();
        assert_eq!(failure.message, "no history: you are not in this conversation");
    }
}
