//! Requests over MQTT: `rpc/{method}` with a Response Topic (MQTT 5), or `rpc/{method}/{id}` for 3.x.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use hubbub_broker::codec::{Properties, QoS};
use hubbub_broker::message::Message;
use hubbub_broker::topic::direct_conversation;

use crate::inbox::PAGE_BYTES;
use crate::store::{Order, Store, StoreError, keys};

/// Messages in one answer at most.
const MOST: usize = 200;

/// Bytes of a request: more than any of them needs.
const REQUEST_BYTES: usize = 4096;

/// Messages in one answer if the request says nothing.
const USUAL: usize = 50;

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    user: ByteString,
    payload: bytes::Bytes,
    answer_to: ByteString,
    correlation: Properties,
}

impl Request {
    /// Reads a request; the error is a sentence for the client.
    pub fn read(user: &ByteString, message: &Message) -> Result<Request, &'static str> {
        let mut levels = message.topic.splitn(3, '/').skip(1);
        let method = levels.next().unwrap_or_default().to_owned();
        let answer_to = match (message.properties.response_topic(), levels.next()) {
            (Some(topic), _) => topic,
            (None, Some(id)) => format!("u/{user}/reply/{id}").into(),
            (None, None) => {
                return Err("a request needs a response topic, or an id as the last level of its topic");
            }
        };
        if message.payload.len() > REQUEST_BYTES {
            return Err("a request has at most 4096 bytes");
        }
        let own = format!("u/{user}/");
        if !answer_to.starts_with(&own) || *answer_to == format!("{own}inbox") {
            return Err("the response topic has to lie under u/{your user name}/");
        }
        let correlation = match message.properties.correlation_data() {
            Some(data) => Properties::builder().correlation_data(&data).build(),
            None => Properties::default(),
        };
        // Copied, so that it does not keep the batch that it came in.
        let payload = bytes::Bytes::copy_from_slice(&message.payload);
        let (user, answer_to) = (ByteString::from(&**user), ByteString::from(&*answer_to));
        Ok(Request { method, user, payload, answer_to, correlation })
    }

    /// Who asks.
    pub fn user(&self) -> &ByteString {
        &self.user
    }

    /// The answer, from what is on disk.
    pub fn answer(&self, store: &dyn Store) -> Result<Message, StoreError> {
        let result = match self.method.as_str() {
            "history" => self.history(store)?,
            method => Err(format!("there is no method {method}; there is: history")),
        };
        let json = result.unwrap_or_else(|error| json!({"ok": false, "error": error}).to_string());
        Ok(Message {
            topic: self.answer_to.clone(),
            qos: QoS::AtLeastOnce,
            properties: self.correlation.clone(),
            payload: json.into(),
            ..Message::default()
        })
    }

    fn history(&self, store: &dyn Store) -> Result<Result<String, String>, StoreError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            cid: Option<String>,
            peer: Option<String>,
            before: Option<u64>,
            limit: Option<usize>,
        }
        let asked: Asked = match serde_json::from_slice(&self.payload) {
            Ok(asked) => asked,
            Err(error) => {
                return Ok(Err(format!(
                    "the request is not {{\"cid\":…,\"before\":…,\"limit\":…}}: {error}"
                )));
            }
        };
        let cid = match (asked.cid, asked.peer) {
            (Some(cid), None) => cid,
            (None, Some(peer)) => direct_conversation(&self.user, &peer),
            _ => return Ok(Err("name one of cid and peer".to_owned())),
        };
        if !is_member(&self.user, &cid) {
            return Ok(Err(format!("you are not in the conversation {cid}")));
        }
        let limit = asked.limit.unwrap_or(USUAL).clamp(1, MOST);
        let last = asked.before.map_or(u64::MAX, |before| before.saturating_sub(1));
        let mut found = store.scan(keys::messages_of(&cid, 0..=last), Order::Backward, limit + 1)?;
        let stored = found.len();
        let mut bytes = 0;
        found.truncate(limit);
        found.retain(|(_, value)| {
            bytes += value.len();
            // At least one, whatever its size: else a client would ask for the same page for ever.
            bytes <= PAGE_BYTES || bytes == value.len()
        });
        let more = found.len() < stored;
        let messages =
            found.iter().rev().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect();
        // Text, numbers and stored JSON always have a JSON form.
        Ok(Ok(serde_json::to_string(&History { ok: true, cid: &cid, messages, more }).unwrap_or_default()))
    }
}

/// The stored messages stand in it as they lie on disk.
#[derive(Serialize)]
struct History<'a> {
    ok: bool,
    cid: &'a str,
    messages: Vec<&'a RawValue>,
    more: bool,
}

fn is_member(user: &str, cid: &str) -> bool {
    cid.split_once('~').is_some_and(|(a, b)| a == user || b == user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};
    use serde_json::Value;

    fn store_with(count: u64) -> MemoryStore {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        for seq in 1..=count {
            batch.put(keys::message("alice~bob", seq), format!("{{\"seq\":{seq}}}"));
        }
        store.commit(batch).unwrap();
        store
    }

    fn ask(user: &str, topic: &str, payload: &str, properties: Properties) -> Result<Request, &'static str> {
        let payload = bytes::Bytes::copy_from_slice(payload.as_bytes());
        Request::read(
            &user.into(),
            &Message { topic: topic.into(), payload, properties, ..Message::default() },
        )
    }

    fn history(user: &str, payload: &str) -> Value {
        let answer = ask(user, "rpc/history/1", payload, Properties::default())
            .unwrap()
            .answer(&store_with(6))
            .unwrap();
        assert_eq!(*answer.topic, format!("u/{user}/reply/1"));
        serde_json::from_slice(&answer.payload).unwrap()
    }

    #[test]
    fn history_pages_backwards_by_seq() {
        let first = history("bob", r#"{"cid":"alice~bob","limit":4}"#);
        assert_eq!(first["messages"], json!([{"seq":3},{"seq":4},{"seq":5},{"seq":6}]));
        assert_eq!(first["more"], true);
        let second = history("bob", r#"{"peer":"alice","limit":4,"before":3}"#);
        assert_eq!(second["messages"], json!([{"seq":1},{"seq":2}]));
        assert_eq!(second["more"], false);
    }

    #[test]
    fn only_members_read_and_mistakes_are_named() {
        for (user, payload, part) in [
            ("eve", r#"{"cid":"alice~bob"}"#, "not in the conversation"),
            ("bob", r#"{"cid":"alice~bob","limt":1}"#, "limt"),
            ("bob", "{}", "one of cid and peer"),
        ] {
            let answer = history(user, payload);
            assert!(answer["ok"] == false && answer["error"].as_str().unwrap().contains(part), "{answer}");
        }
    }

    #[test]
    fn answers_go_to_oneself_only() {
        let to = |topic: &str| Properties::builder().response_topic(topic).correlation_data(b"7").build();
        assert!(ask("bob", "rpc/history", "{}", to("u/alice/x")).is_err());
        assert!(ask("bob", "rpc/history", "{}", to("u/bob/inbox")).is_err());
        assert!(ask("bob", "rpc/history", "{}", Properties::default()).is_err());
        let request = ask("bob", "rpc/nonsense", "{}", to("u/bob/x")).unwrap();
        let answer = request.answer(&store_with(0)).unwrap();
        assert_eq!(answer.properties.correlation_data().as_deref(), Some(&b"7"[..]));
        assert!(String::from_utf8_lossy(&answer.payload).contains("no method nonsense"));
    }
}
