//! What a signed token says: who, until when, and what for.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use hubbub_broker::clock::Millis;
use hubbub_broker::topic::{TopicLimits, check_id};

use crate::login::{Accepted, grant};

/// What tokens have to say to count here.
pub(super) struct Rules {
    pub issuer: Option<String>,
    /// Any of these; if there are none, tokens for an audience do not count.
    pub audience: Vec<String>,
    /// The claim that holds the user name.
    user: String,
    leeway: Millis,
    topics: TopicLimits,
}

/// The claims that have the same name everywhere.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    class: Option<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
}

impl Rules {
    pub fn new(settings: &hubbub_config::Login, topics: TopicLimits) -> Rules {
        Rules {
            issuer: settings.token_issuer.clone(),
            audience: settings.token_audience.clone(),
            user: settings.token_user.clone(),
            leeway: settings.token_leeway.as_millis() as Millis,
            topics,
        }
    }

    /// Who comes in with these claims, whose signature was right, and until when: as long as the token counts, the
    /// difference between the clocks included. Also when it was made, if it says so.
    pub fn accept(
        &self,
        claims: Map<String, Value>,
        now: Millis,
    ) -> Result<(Accepted, Option<Millis>), &'static str> {
        let user = claims.get(&self.user).and_then(Value::as_str).filter(|name| check_id(name).is_ok());
        let user = ByteString::from(user.ok_or("the token names nobody who can be a user")?);
        let claims: Claims = serde_json::from_value(Value::Object(claims))
            .map_err(|_| "a claim of the token cannot be read")?;
        let exp = grant::millis(claims.exp).ok_or("the end of the token is no time")?;
        let until = exp.saturating_add(self.leeway);
        if until <= now {
            return Err("the token has expired");
        }
        if claims
            .nbf
            .is_some_and(|nbf| grant::millis(nbf).is_none_or(|nbf| nbf > now.saturating_add(self.leeway)))
        {
            return Err("the token does not count yet");
        }
        let class =
            grant::class(claims.class).map_err(|_| "the class in the token is no level of a topic")?;
        let rights = grant::rights(claims.publish, claims.subscribe, &self.topics)
            .map_err(|_| "the token grants topics that cannot be granted")?;
        let made = claims.iat.and_then(grant::millis);
        Ok((Accepted { user, class, until: Some(until), rights }, made))
    }
}
