//! Login by a token (JWT, RFC 7519) that the application's own server signed, given as the password.
//!
//! A key counts for one algorithm, whatever the token says (RFC 8725 §3.1): a public key is never taken for a secret, and
//! there is no `none`. What a token says about where to find its key is not looked at.

mod claims;
mod keys;
mod remote;
mod schedule;
mod signature;

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use hubbub_broker::clock::{Clock, Millis};
use hubbub_broker::policy::{LoginRefusal, LoginRequest};
use hubbub_broker::topic::TopicLimits;

use self::claims::Rules;
use self::keys::{Key, KeySet};
use self::remote::Remote;
use super::{Accepted, Verdict};
use crate::store::Store;
use crate::users;

pub use keys::{KeyMistake, KeyMistakes};

/// Reads the files with keys, and forgets them.
pub(super) fn check_files(settings: &hubbub_config::Login) -> Result<(), KeyMistakes> {
    keys::read(settings).map(|_| ())
}

/// Whose tokens count, and for what.
pub(super) struct Tokens {
    files: RwLock<Arc<KeySet>>,
    remote: Option<Arc<Remote>>,
    rules: Rules,
    /// Knows which tokens were revoked.
    store: Arc<dyn Store>,
    clock: Clock,
}

/// What came of trying keys.
enum Tried {
    /// One of them signed it, and this is what it says.
    Signed(Map<String, Value>),
    /// None of them signed it.
    NotSigned,
    /// One of them signed it, and it does not count here.
    Refused(&'static str),
}

/// None of our keys, or none for this algorithm: which of them, nobody is told.
const FOREIGN: LoginRefusal =
    LoginRefusal::NotAuthorized("the token is not signed by a key that counts here");

impl Tokens {
    /// Reads the files.
    ///
    /// # Errors
    /// Every mistake in them at once.
    pub fn open(
        settings: &hubbub_config::Login,
        store: Arc<dyn Store>,
        topics: TopicLimits,
        clock: Clock,
    ) -> Result<Tokens, KeyMistakes> {
        signature::install();
        let files = RwLock::new(Arc::new(keys::read(settings)?));
        let remote = settings.token_jwks.as_ref().map(|url| Arc::new(Remote::new(url, settings, clock)));
        Ok(Tokens { files, remote, rules: Rules::new(settings, topics), store, clock })
    }

    /// Reads the files again: with a mistake in any of them the keys stay as they are. Connections that stand stay.
    ///
    /// # Errors
    /// Every mistake in them at once.
    pub fn reload(&self, settings: &hubbub_config::Login) -> Result<(), KeyMistakes> {
        let files = Arc::new(keys::read(settings)?);
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
        Ok(())
    }

    /// Judges what looks like a token; other passwords are for other methods.
    pub async fn ask(&self, request: &LoginRequest) -> Verdict {
        let password = request.password.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some(token) = password.filter(|password| is_token(password)) else { return Verdict::NotMine };
        let judged = self.judge(token).await.and_then(|accepted| match request.username.as_deref() {
            Some(other) if !other.is_empty() && *other != *accepted.user => {
                Err(LoginRefusal::NotAuthorized("the token is that of another user"))
            }
            _ => Ok(accepted),
        });
        judged.map_or_else(Verdict::Refuse, Verdict::Accept)
    }

    async fn judge(&self, token: &str) -> Result<Accepted, LoginRefusal> {
        let header = decode_header(token).map_err(|_| FOREIGN)?;
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let claims = match self.attempt(token, &header, &files) {
            Tried::NotSigned => self.judge_by_remote(token, &header).await?,
            tried => tried.claims()?,
        };
        let (accepted, made) =
            self.rules.accept(claims, self.clock.now()).map_err(LoginRefusal::NotAuthorized)?;
        self.is_revoked(&accepted.user, made)?;
        Ok(accepted)
    }

    /// Tokens that were made before a user's were revoked count no longer, nor those that do not say when they were made.
    fn is_revoked(&self, user: &str, made: Option<Millis>) -> Result<(), LoginRefusal> {
        match users::tokens_not_before(&*self.store, user) {
            Ok(None) => Ok(()),
            Ok(Some(revoked)) if made.is_some_and(|made| made > revoked) => Ok(()),
            Ok(Some(_)) => Err(LoginRefusal::NotAuthorized("the tokens of this user were revoked")),
            Err(error) => {
                tracing::error!(%error, "revoked tokens could not be read, login refused");
                Err(LoginRefusal::Unavailable)
            }
        }
    }

    /// A key that is not in the set may be a new one: then the set is fetched again, if that is not too soon.
    async fn judge_by_remote(
        &self,
        token: &str,
        header: &Header,
    ) -> Result<Map<String, Value>, LoginRefusal> {
        let Some(remote) = &self.remote else { return Err(FOREIGN) };
        let keys = remote.keys(false).await?;
        let tried = self.attempt(token, header, &keys);
        let may_be_new = header.kid.is_none() || keys.candidates(header).next().is_none();
        match tried {
            Tried::NotSigned if may_be_new => {
                let keys = remote.keys(true).await?;
                self.attempt(token, header, &keys).claims()
            }
            tried => tried.claims(),
        }
    }

    fn attempt(&self, token: &str, header: &Header, keys: &KeySet) -> Tried {
        for key in keys.candidates(header) {
            match decode(token, &key.key, &self.validation(key)) {
                Ok(data) => return Tried::Signed(data.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidAudience => return Tried::Refused("the token is for another audience"),
                    ErrorKind::InvalidIssuer => return Tried::Refused("the token is by another issuer"),
                    ErrorKind::MissingRequiredClaim(_) => {
                        return Tried::Refused(
                            "the token lacks exp, or the issuer or audience that is asked for",
                        );
                    }
                    ErrorKind::InvalidSignature => {}
                    _ => return Tried::Refused("the token cannot be read"),
                },
            }
        }
        Tried::NotSigned
    }

    /// Times are judged by our own clock, which goes forward only.
    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !self.rules.audience.is_empty() {
            validation.set_audience(&self.rules.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl Tried {
    fn claims(self) -> Result<Map<String, Value>, LoginRefusal> {
        match self {
            Tried::Signed(claims) => Ok(claims),
            Tried::NotSigned => Err(FOREIGN),
            Tried::Refused(why) => Err(LoginRefusal::NotAuthorized(why)),
        }
    }
}

/// Three parts, the first of which is JSON that names an algorithm, also one that is none of ours: what claims to be a token
/// is not tried as a password elsewhere.
fn is_token(password: &str) -> bool {
    let Some((header, rest)) = password.split_once('.') else { return false };
    let json = URL_SAFE_NO_PAD.decode(header).ok();
    let header = json.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    rest.matches('.').count() == 1 && header.is_some_and(|header| header.contains_key("alg"))
}

#[cfg(test)]
mod tests;
