//! The lockout as the methods of login use it: asked before a password is looked at, told what came of it. Tokens are not
//! counted: nobody guesses one, and one that has expired is no attack.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;

use hubbub_broker::clock::Clock;
use hubbub_broker::policy::{LoginRefusal, LoginRequest};

use super::lockout::{Attempt, Lockout, LockoutLimits, Ruling};

/// What somebody hears who is not heard. The same for names that exist and names that do not.
const PAUSED: LoginRefusal = LoginRefusal::NotAuthorized("too many failed logins: try again later");

/// One for all methods whose secrets can be guessed.
pub(crate) struct Guard {
    lockout: Mutex<Lockout>,
    clock: Clock,
}

/// Who tries.
#[derive(Debug, Clone)]
pub(crate) struct Trier {
    /// The user name; empty if there was none.
    pub user: ByteString,
    pub address: IpAddr,
    pub client: ByteString,
}

impl Trier {
    /// As a CONNECT says it.
    pub fn of(request: &LoginRequest) -> Trier {
        let user = request.username.clone().unwrap_or_default();
        Trier { user, address: request.peer.ip(), client: request.client.clone() }
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt { user: &self.user, address: self.address, client: &self.client }
    }
}

impl Guard {
    pub fn new(limits: LockoutLimits, clock: Clock) -> Guard {
        Guard { lockout: Mutex::new(Lockout::new(limits)), clock }
    }

    /// With the usual settings, for tests.
    #[cfg(test)]
    pub fn usual() -> Guard {
        Guard::new(super::lockout_limits(&hubbub_config::Login::default()), Clock::start())
    }

    /// Whether the secret of this one is looked at.
    pub fn ask(&self, who: &Trier) -> Result<(), LoginRefusal> {
        match self.lockout().ask(who.attempt(), self.clock.now()) {
            Ruling::Go => Ok(()),
            Ruling::Wait(_) | Ruling::Locked => Err(PAUSED),
        }
    }

    /// Whether it was wrong the last time already.
    pub fn is_repeat(&self, who: &Trier, guess: &[u8]) -> bool {
        self.lockout().is_repeat(who.attempt(), guess, self.clock.now())
    }

    /// It was wrong.
    pub fn failed(&self, who: &Trier, guess: &[u8]) {
        let now = self.clock.now();
        let ruling = self.lockout().failed(who.attempt(), guess, now);
        let (user, address) = (&who.user, who.address);
        match ruling {
            Ruling::Go => {}
            Ruling::Wait(until) => {
                tracing::info!(%user, %address, seconds = (until - now) / 1000, "failed logins, pause");
            }
            Ruling::Locked => tracing::warn!(%user, %address, "failed logins, user locked at this address"),
        }
    }

    /// It was right.
    pub fn succeeded(&self, who: &Trier) {
        self.lockout().succeeded(who.attempt(), self.clock.now());
    }

    /// Forgets the failures of a user; whether there were any.
    pub fn unlock(&self, user: &str) -> bool {
        self.lockout().unlock(user)
    }

    pub fn unlock_all(&self) {
        self.lockout().unlock_all();
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
