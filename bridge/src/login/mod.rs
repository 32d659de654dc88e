//! Who is this? The methods of login, asked one after the other.
//!
//! Each method accepts, refuses for good, or says that it is not concerned, and only then the next is asked; if none is
//! concerned, nobody comes in. A method whose back end is down refuses: it never leaves the decision to something weaker.
//!
//! | method | is concerned by | back end |
//! |---|---|---|
//! | `certificate` | whoever shows a certificate that names a user | none: TLS has checked it |
//! | `token` | a password that is a JWT by its form | keys in files, or at a URL |
//! | `users` | a password for a name that has an account; as the last method for every name | the store |
//! | `hook` | whoever gives a user name or a password | the application |
//!
//! Whoever shows a certificate that names a user is that user by every method. A name that has no account goes on to the
//! next method without hashing: where `users` is not the last, time tells which back end knows a name, and no more.

mod accounts;
mod certificate;
mod grant;
mod guard;
mod hook;
mod known;
mod lockout;
mod token;
mod turnstile;

use std::sync::Arc;

use bytestring::ByteString;
use thiserror::Error;

use hubbub_broker::clock::{Clock, Millis};
use hubbub_broker::lane::Device;
use hubbub_broker::policy::{Door, Exchange, Identity, LoginRefusal, LoginRequest, TopicRights};
use hubbub_broker::topic::{TopicLimits, check_id};
use hubbub_config::{Config, LoginMethod};

use crate::scram::{self, Scram};
use crate::store::{Store, StoreError};

use accounts::Accounts;
use hook::Hook;
use lockout::LockoutLimits;
use token::Tokens;
use turnstile::Turnstile;

pub(crate) use guard::{Guard, Trier};
pub use token::{KeyMistake, KeyMistakes};

/// The user of a client that named none, where that is allowed. `~` stands in no id, so nobody can be called so.
pub(crate) const ANONYMOUS: &str = "~anonymous";

/// The user of the health check.
pub(crate) const CANARY: &str = "~canary";

/// Everything that decides who comes in.
pub struct Login {
    /// The user name is believed.
    dev: bool,
    methods: Vec<Method>,
    accounts: Arc<Accounts>,
    guard: Arc<Guard>,
    scram: Option<Scram>,
    store: Arc<dyn Store>,
    /// The password of the health check, made anew at each start.
    canary: ByteString,
}

/// Why there is no login.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The keys of tokens.
    #[error(transparent)]
    Keys(#[from] KeyMistakes),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

enum Method {
    Certificate,
    Token(Box<Tokens>),
    Users,
    Hook(Arc<Hook>),
}

/// What a method says.
#[derive(Debug)]
enum Verdict {
    /// It is this user.
    Accept(Accepted),
    /// Nobody else is asked.
    Refuse(LoginRefusal),
    /// The next method is asked.
    NotMine,
}

/// Who somebody is, and what comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    user: ByteString,
    /// What the device is called, if the method says so.
    class: Option<ByteString>,
    until: Option<Millis>,
    rights: Option<Arc<TopicRights>>,
}

impl Accepted {
    /// Without an end and without rights of its own.
    fn lasting(user: ByteString) -> Accepted {
        Accepted { user, class: None, until: None, rights: None }
    }
}

impl Login {
    /// As the settings say. Reads the files with keys; nothing is fetched or called yet.
    pub fn open(config: &Config, store: Arc<dyn Store>, clock: Clock) -> Result<Login, LoginError> {
        let settings = &config.login;
        let topics = TopicLimits { levels: config.limits.topic_levels, bytes: config.limits.topic_bytes };
        let scram = settings.scram_rounds().map(|rounds| Scram::open(&*store, rounds)).transpose()?;
        let methods = settings.methods(&config.tls).into_iter().map(|method| {
            Ok(match method {
                LoginMethod::Certificate => Method::Certificate,
                LoginMethod::Token => {
                    Method::Token(Box::new(Tokens::open(settings, store.clone(), topics, clock)?))
                }
                LoginMethod::Users => Method::Users,
                LoginMethod::Hook => Method::Hook(Arc::new(Hook::new(settings, topics, clock))),
            })
        });
        let methods = methods.collect::<Result<_, LoginError>>()?;
        warn_of_clear_text("login.hook", settings.hook.as_deref());
        warn_of_clear_text("login.token_jwks", settings.token_jwks.as_deref());
        let hashing = Turnstile::new(settings.hash_concurrency, settings.hash_queue);
        let accounts = Arc::new(Accounts::new(store.clone(), hashing, settings.scram_rounds()));
        let guard = Arc::new(Guard::new(lockout_limits(settings), clock));
        let canary = format!("{:032x}", ulid::Ulid::new().random()).into();
        Ok(Login { dev: settings.dev, methods, accounts, guard, scram, store, canary })
    }

    /// Reads the files with keys, and forgets them.
    ///
    /// # Errors
    /// Every mistake in them at once.
    pub fn check_files(config: &Config) -> Result<(), KeyMistakes> {
        token::check_files(&config.login)
    }

    /// Reads the files with keys again; gives back whether there are any. With a mistake in any of them all keys stay.
    ///
    /// # Errors
    /// Every mistake in them at once.
    pub fn reload_keys(&self, settings: &hubbub_config::Login) -> Result<bool, KeyMistakes> {
        let tokens = self.methods.iter().find_map(|method| match method {
            Method::Token(tokens) => Some(tokens),
            _ => None,
        });
        let has_files = settings.token_secret_file.is_some() || !settings.token_keys.is_empty();
        match tokens.filter(|_| has_files) {
            Some(tokens) => tokens.reload(settings).map(|()| true),
            None => Ok(false),
        }
    }

    /// Accounts and certificates, with the usual settings.
    pub fn plain(store: Arc<dyn Store>, dev: bool) -> Login {
        let settings = hubbub_config::Login::default();
        let hashing = Turnstile::new(settings.hash_concurrency, settings.hash_queue);
        Login {
            dev,
            methods: vec![Method::Certificate, Method::Users],
            accounts: Arc::new(Accounts::new(store.clone(), hashing, None)),
            guard: Arc::new(Guard::new(lockout_limits(&settings), Clock::start())),
            scram: None,
            store,
            canary: format!("{:032x}", ulid::Ulid::new().random()).into(),
        }
    }

    /// User name and password with which the health check may come in.
    pub fn canary(&self) -> (ByteString, ByteString) {
        (ByteString::from_static(CANARY), self.canary.clone())
    }

    /// Whether everybody who can come in by a password has an account: no tokens, no hook.
    pub fn knows_all_users(&self) -> bool {
        !self.methods.iter().any(|method| matches!(method, Method::Token(_) | Method::Hook(_)))
    }

    /// PBKDF2 rounds with which passwords are to be stored for SCRAM; nothing if they are not.
    pub fn scram_rounds(&self) -> Option<u32> {
        self.accounts.scram_rounds()
    }

    /// Changes accounts. What was known about passwords counts no longer.
    pub fn change_accounts<T>(&self, change: impl FnOnce(&dyn Store) -> T) -> T {
        self.accounts.change(change)
    }

    /// What was found out about passwords counts no longer, nor what the application answered.
    pub fn forget(&self) {
        self.accounts.forget();
        self.methods.iter().for_each(|method| {
            if let Method::Hook(hook) = method {
                hook.forget();
            }
        });
    }

    /// Forgets the failed logins of a user; whether there were any.
    pub fn unlock(&self, user: &str) -> bool {
        self.guard.unlock(user)
    }

    /// Forgets the failed logins of everybody.
    pub fn unlock_all(&self) {
        self.guard.unlock_all();
    }

    /// Begins an authentication of MQTT 5 by this method, if it is offered.
    pub(crate) fn exchange(&self, method: &str, request: LoginRequest) -> Option<Box<dyn Exchange>> {
        let scram = self.scram.filter(|_| method == scram::METHOD && request.door != Door::BareClientId)?;
        Some(Box::new(scram::Login::new(self.store.clone(), scram, self.guard.clone(), request)))
    }

    /// Who is this?
    pub(crate) async fn check(&self, request: LoginRequest) -> Result<Identity, LoginRefusal> {
        let accepted = match self.without_methods(&request)? {
            Some(user) => Accepted::lasting(user),
            None => self.ask(&request).await?,
        };
        let LoginRequest { door, client, class, certificate, .. } = request;
        if door != Door::BareClientId && certificate.is_some_and(|named| named != accepted.user) {
            return Err(LoginRefusal::NotAuthorized("the client certificate is that of another user"));
        }
        Ok(identity(accepted, client, class, door))
    }

    /// Those for whom no method counts: at the demo door, the health check, and everybody where names are believed.
    fn without_methods(&self, request: &LoginRequest) -> Result<Option<ByteString>, LoginRefusal> {
        if request.door == Door::BareClientId {
            return at_the_demo_door(&request.client).map(Some);
        }
        match (&request.certificate, &request.username) {
            (Some(named), username) if self.dev => certificate::bearer(named, username.as_ref()).map(Some),
            (Some(_), _) => Ok(None),
            (None, Some(name)) if **name == *CANARY => {
                let shown = request.password.as_deref() == Some(self.canary.as_bytes());
                let right = shown && request.peer.ip().is_loopback();
                if right { Ok(Some(name.clone())) } else { Err(LoginRefusal::BadCredentials) }
            }
            (None, None) if self.dev => Ok(Some(ByteString::from_static(ANONYMOUS))),
            (None, Some(name)) if self.dev => match check_id(name) {
                Ok(()) => Ok(Some(name.clone())),
                Err(_) => Err(LoginRefusal::BadCredentials),
            },
            _ => Ok(None),
        }
    }

    async fn ask(&self, request: &LoginRequest) -> Result<Accepted, LoginRefusal> {
        // An empty name is none: MQTT 3.1.1 has no password without a name (§3.1.2.9).
        if request.username.as_ref().is_some_and(|name| !name.is_empty() && check_id(name).is_err()) {
            return Err(LoginRefusal::BadCredentials);
        }
        for (at, method) in self.methods.iter().enumerate() {
            let last = at + 1 == self.methods.len();
            let verdict = match method {
                Method::Certificate => certificate::ask(request),
                Method::Token(tokens) => tokens.ask(request).await,
                Method::Users => self.accounts.ask(request, &self.guard, last).await,
                Method::Hook(hook) => hook.ask(request, &self.guard).await,
            };
            match verdict {
                Verdict::Accept(accepted) => return Ok(accepted),
                Verdict::Refuse(refusal) => return Err(refusal),
                Verdict::NotMine => {}
            }
        }
        Err(LoginRefusal::BadCredentials)
    }
}

/// The client id is a topic there, so it has to be one level that stands for itself. Nobody else can be called like this user,
/// because of the ~.
fn at_the_demo_door(client: &str) -> Result<ByteString, LoginRefusal> {
    if client.contains(['/', '+', '#']) || client.starts_with('$') {
        return Err(LoginRefusal::NotAuthorized("the client id cannot be a topic"));
    }
    Ok(format!("~bare:{client}").into())
}

/// Of a user who was checked by a password.
pub(crate) fn identity_of(
    user: ByteString,
    client: ByteString,
    class: Option<ByteString>,
    door: Door,
) -> Identity {
    identity(Accepted::lasting(user), client, class, door)
}

/// The class of the device is what the login says, else what the client says, else what its id says.
fn identity(accepted: Accepted, client: ByteString, said: Option<ByteString>, door: Door) -> Identity {
    let Accepted { user, class, until, rights } = accepted;
    // Copied, so that it does not keep the read buffer.
    let user = ByteString::from(&*user);
    let kind = class.or(said).unwrap_or_else(|| device_class(&user, &client));
    Identity { until, rights, ..Identity::new(Device { user, client }, kind, door) }
}

/// The class of a device that does not say it: `bob-phone` of the user `bob` is a `phone`.
pub(crate) fn device_class(user: &str, client: &str) -> ByteString {
    let rest = client.strip_prefix(user).and_then(|rest| rest.strip_prefix(['-', '/', '_', '.', ':']));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(client).into()
}

/// Passwords that others can read on the way, and keys that they can replace, deserve a word.
fn warn_of_clear_text(setting: &str, url: Option<&str>) {
    let host = url.and_then(|url| url.strip_prefix("http://"));
    let here = ["localhost", "127.", "[::1]"];
    if host.is_some_and(|host| !here.iter().any(|here| host.starts_with(here))) {
        tracing::warn!(
            setting,
            "what is said there travels unencrypted, and nothing proves who answers; use https"
        );
    }
}

fn lockout_limits(settings: &hubbub_config::Login) -> LockoutLimits {
    let millis = |time: std::time::Duration| time.as_millis() as Millis;
    LockoutLimits {
        cooldown_after: settings.cooldown_after,
        cooldown_step: millis(settings.cooldown_step),
        lock_after: settings.lock_after,
        of_address: settings.failures_of_address,
        forgotten: millis(settings.failures_forgotten),
        kept: settings.failures_kept,
    }
}

#[cfg(test)]
mod tests;
