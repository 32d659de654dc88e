//! What is asked, and what may be answered.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::policy::{Door, LoginRequest};
use hubbub_broker::topic::{TopicLimits, check_id};

use crate::login::{Accepted, device_class, grant};

/// A question, as it is sent. It holds the password: not for logs.
pub(super) struct Question {
    pub body: String,
    /// The user name, if there was one.
    user: Option<ByteString>,
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// In place of a password that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_base64: Option<String>,
    client: &'a str,
    class: ByteString,
    address: IpAddr,
    door: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
}

/// What the application decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Allow(Accepted),
    Deny,
}

/// An answer with a word that is not known here may mean anything, so it means nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    allow: bool,
    user: Option<String>,
    class: Option<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    /// Seconds since the Unix epoch.
    until: Option<f64>,
    /// Seconds from now.
    ttl: Option<f64>,
}

impl Question {
    pub fn of(request: &LoginRequest) -> Question {
        let user = request.username.clone().filter(|name| !name.is_empty());
        let (bytes, class) = (request.password.as_deref(), request.class.clone());
        let password = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let asked = Asked {
            user: user.as_deref(),
            password,
            password_base64: bytes.filter(|_| password.is_none()).map(|bytes| STANDARD.encode(bytes)),
            client: &request.client,
            class: class
                .unwrap_or_else(|| device_class(user.as_deref().unwrap_or_default(), &request.client)),
            address: request.peer.ip(),
            door: door(request.door),
            certificate: request.certificate.as_deref(),
        };
        // Text and numbers always have a JSON form.
        let body = serde_json::to_string(&asked).unwrap_or_default();
        Question { body, user }
    }
}

impl Decision {
    /// Reads an answer.
    ///
    /// # Errors
    /// Why it makes no sense, without anything that stands in it.
    pub fn read(
        body: &[u8],
        question: &Question,
        topics: &TopicLimits,
        now: Millis,
    ) -> Result<Decision, &'static str> {
        let answered: Answered = serde_json::from_slice(body)
            .map_err(|_| "the answer is not {\"allow\": true or false, …} with the fields that are known")?;
        if !answered.allow {
            return Ok(Decision::Deny);
        }
        let user = answered.user.map(ByteString::from).or_else(|| question.user.clone());
        let user = user.filter(|name| check_id(name).is_ok()).ok_or("it allows nobody who can be a user")?;
        let class = grant::class(answered.class)?;
        let rights = grant::rights(answered.publish, answered.subscribe, topics)?;
        let time =
            |seconds: Option<f64>| seconds.map(|seconds| grant::millis(seconds).ok_or("a time is no time"));
        let (until, ttl) = (time(answered.until).transpose()?, time(answered.ttl).transpose()?);
        let until = until.into_iter().chain(ttl.map(|ttl| now.saturating_add(ttl))).min();
        match until {
            Some(until) if until <= now => Ok(Decision::Deny),
            until => Ok(Decision::Allow(Accepted { user, class, until, rights })),
        }
    }

    /// Whether it can be said again at this time.
    pub fn holds(&self, now: Millis) -> bool {
        match self {
            Decision::Allow(accepted) => accepted.until.is_none_or(|until| until > now),
            Decision::Deny => true,
        }
    }
}

fn door(door: Door) -> &'static str {
    match door {
        Door::Mqtt => "mqtt",
        Door::WebSocket => "websocket",
        Door::Mqtts => "mqtts",
        Door::Wss => "wss",
        Door::BareClientId => "compat",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LIMITS: TopicLimits = TopicLimits { levels: 8, bytes: 64 };
    const NOW: Millis = 1_000_000;

    fn request(user: Option<&'static str>, password: Option<&'static [u8]>) -> LoginRequest {
        LoginRequest {
            door: Door::Wss,
            peer: ([192, 0, 2, 1], 4711).into(),
            client: "alice-phone".into(),
            class: None,
            certificate: None,
            username: user.map(Into::into),
            password: password.map(Bytes::from_static),
        }
    }

    fn read(answer: &str) -> Result<Decision, &'static str> {
        Decision::read(answer.as_bytes(), &Question::of(&request(Some("alice"), None)), &LIMITS, NOW)
    }

    fn accepted(answer: &str) -> Accepted {
        match read(answer) {
            Ok(Decision::Allow(accepted)) => accepted,
            other => panic!("{answer}: {other:?}"),
        }
    }

    #[test]
    fn the_question_says_who_where_and_how_and_nothing_that_changes_by_itself() {
        let body = |user, password| Question::of(&request(user, password)).body;
        assert_eq!(
            body(Some("alice"), Some(b"wonder\"land")),
            r#"{"user":"alice","password":"wonder\"land","client":"alice-phone","class":"phone","address":"192.0.2.1","door":"wss"}"#
        );
        assert_eq!(
            body(Some(""), Some(&[0xff, 0x00])),
            r#"{"password_base64":"/wA=","client":"alice-phone","class":"alice-phone","address":"192.0.2.1","door":"wss"}"#
        );
    }

    #[test]
    fn an_answer_allows_or_denies() {
        assert_eq!(read(r#"{"allow":false,"user":"alice"}"#), Ok(Decision::Deny));
        assert_eq!(accepted(r#"{"allow":true}"#), Accepted::lasting("alice".into()));
        let whole =
            r#"{"allow":true,"user":"al","class":"tablet","publish":["a"],"subscribe":["b/#"],"until":2000}"#;
        let Accepted { user, class, until, rights } = accepted(whole);
        assert_eq!((&*user, class.as_deref(), until), ("al", Some("tablet"), Some(2_000_000)));
        assert_eq!(rights.unwrap().subscribe, ["b/#"]);
    }

    #[test]
    fn the_earlier_end_counts() {
        for (answer, until) in [
            (r#"{"allow":true,"ttl":60}"#, 1_060_000),
            (r#"{"allow":true,"ttl":60,"until":1001}"#, 1_001_000),
            (r#"{"allow":true,"ttl":0.5,"until":9999}"#, 1_000_500),
        ] {
            assert_eq!(accepted(answer).until, Some(until), "{answer}");
        }
        assert_eq!(read(r#"{"allow":true,"until":1000}"#), Ok(Decision::Deny), "over already");
    }

    #[test]
    fn what_makes_no_sense_allows_nobody() {
        for nonsense in [
            "",
            "ok",
            "true",
            "{}",
            r#"{"allow":"yes"}"#,
            r#"{"allow":1}"#,
            r#"{"allow":null}"#,
            r#"{"allow":true,"allow":false}"#,
            r#"{"allow":true,"untill":5}"#,
            r#"{"allow":true,"user":"a/b"}"#,
            r#"{"allow":true,"user":""}"#,
            r#"{"allow":true,"user":"~canary"}"#,
            r#"{"allow":true,"class":""}"#,
            r#"{"allow":true,"publish":["a#"]}"#,
            r#"{"allow":true,"subscribe":["$SYS/#"]}"#,
            r#"{"allow":true,"ttl":-1}"#,
            r#"{"allow":true} and more"#,
        ] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
        let nameless = Question::of(&request(None, Some(b"opaque")));
        assert!(Decision::read(br#"{"allow":true}"#, &nameless, &LIMITS, NOW).is_err());
    }
}
