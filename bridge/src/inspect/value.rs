//! Whether a value is what records of its kind hold.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use hubbub_broker::lane;
use hubbub_broker::message::Message;
use hubbub_broker::share::Share;
use hubbub_broker::topic::{TopicFilter, TopicLimits};

use crate::chat::Answer;
use crate::inbox::InboxEntry;
use crate::notify::Pending;
use crate::queue::{QueuedHead, SessionRecord, SubscriptionRecord};
use crate::scram::Verifier;
use crate::store::keys::Key;
use crate::users;
use crate::wills::WillHead;

/// Any that MQTT can carry: the limits of today are no measure for what was stored yesterday.
const ANY_TOPIC: TopicLimits = TopicLimits { levels: usize::MAX, bytes: usize::MAX };

/// What the value of a record says to others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A number: the head or the cursor that it is.
    Number(u64),
    /// An inbox entry: the conversation and the message in it.
    Entry(String, u64),
    /// Nothing that other records depend on.
    Nothing,
}

/// The beginning of a stored envelope.
#[derive(Deserialize)]
struct Place {
    cid: String,
    seq: u64,
}

/// Reads a value as those of its kind are written; kinds that are not named here may hold anything.
pub(super) fn read(key: &Key, value: &[u8]) -> Result<Said, &'static str> {
    match key.kind.letter {
        'a' => retained(key, value),
        'b' => subscription(key, value),
        'c' | 'd' | 'f' | 'h' | 'n' | 't' | 'w' | 'x' => number(value),
        'e' | 'j' | 'r' => {
            if value.is_empty() {
                Ok(Said::Nothing)
            } else {
                Err("a value where none belongs")
            }
        }
        'i' => {
            let InboxEntry { cid, seq, .. } = record(value).ok_or("the inbox entry cannot be read")?;
            Ok(Said::Entry(cid, seq))
        }
        'g' => framed::<Share>(value, "the message on loan cannot be read"),
        'k' => nothing(record::<Answer>(value), "the answer cannot be read"),
        'l' => framed::<WillHead>(value, "the will cannot be read"),
        'm' => message(key, value),
        'o' => nothing(record::<Pending>(value), "the notification cannot be read"),
        'p' => nothing(std::str::from_utf8(value).ok(), "the client id cannot be read"),
        'q' => framed::<QueuedHead>(value, "the queue entry is not one message"),
        's' => nothing(record::<SessionRecord>(value), "the session cannot be read"),
        'u' => nothing(users::is_hash(value).then_some(()), "the password hash cannot be read"),
        'v' => nothing(record::<Verifier>(value), "what SCRAM has to know cannot be read"),
        _ => Ok(Said::Nothing),
    }
}

/// The value of a `meta/…` key.
pub(super) fn read_meta(key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let expected = match key {
        b"meta/version" => 4,
        b"meta/commits" | b"meta/epoch" => 8,
        _ => return Ok(()),
    };
    if value.len() == expected { Ok(()) } else { Err("the number has the wrong length") }
}

fn retained(key: &Key, value: &[u8]) -> Result<Said, &'static str> {
    let mut rest = Bytes::copy_from_slice(value);
    let message = Message::decode(&mut rest).map_err(|error| error.0)?;
    match rest.is_empty() && &*message.topic == key.text(0) {
        true => Ok(Said::Nothing),
        false => Err("the retained message is of another topic, or has something behind it"),
    }
}

fn subscription(key: &Key, value: &[u8]) -> Result<Said, &'static str> {
    if TopicFilter::parse(&key.text(1).into(), &ANY_TOPIC).is_err() {
        return Err("its topic filter is none");
    }
    nothing(record::<SubscriptionRecord>(value), "the subscription cannot be read")
}

fn message(key: &Key, value: &[u8]) -> Result<Said, &'static str> {
    let place: Place =
        serde_json::from_slice(value).map_err(|_| "the message is not JSON with cid and seq")?;
    match place.cid == key.text(0) && place.seq == key.number {
        true => Ok(Said::Nothing),
        false => Err("the message says that it belongs elsewhere"),
    }
}

/// One message behind a head.
fn framed<H: DeserializeOwned>(value: &[u8], why: &'static str) -> Result<Said, &'static str> {
    let mut rest = Bytes::copy_from_slice(value);
    match lane::take::<H>(&mut rest) {
        Ok(Some((_, Some(_)))) if rest.is_empty() => Ok(Said::Nothing),
        Err(error) => Err(error.0),
        Ok(_) => Err(why),
    }
}

fn number(value: &[u8]) -> Result<Said, &'static str> {
    let bytes = value.try_into().map_err(|_| "the number has the wrong length")?;
    Ok(Said::Number(u64::from_be_bytes(bytes)))
}

/// A record in postcard, with nothing behind it.
fn record<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    postcard::take_from_bytes(value).ok().filter(|(_, rest)| rest.is_empty()).map(|(record, _)| record)
}

fn nothing<T>(read: Option<T>, why: &'static str) -> Result<Said, &'static str> {
    read.map(|_| Said::Nothing).ok_or(why)
}
