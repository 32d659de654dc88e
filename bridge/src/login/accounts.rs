//! Login by the password of an account.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use bytestring::ByteString;

use hubbub_broker::policy::{LoginRefusal, LoginRequest};

use super::guard::{Guard, Trier};
use super::known::Known;
use super::turnstile::Turnstile;
use super::{Accepted, Verdict};
use crate::store::{Store, StoreError};
use crate::users::{self, Check};

/// The accounts of the store, and how fast their passwords are checked.
pub(super) struct Accounts {
    store: Arc<dyn Store>,
    known: Known,
    hashing: Turnstile,
    /// PBKDF2 rounds of what is stored for SCRAM, if anything is.
    scram_rounds: Option<u32>,
    /// Held while an account is written: what is read before is still true then.
    writing: Mutex<()>,
}

impl Accounts {
    pub fn new(store: Arc<dyn Store>, hashing: Turnstile, scram_rounds: Option<u32>) -> Accounts {
        Accounts { store, known: Known::new(), hashing, scram_rounds, writing: Mutex::new(()) }
    }

    pub fn scram_rounds(&self) -> Option<u32> {
        self.scram_rounds
    }

    /// Changes accounts; what was known about passwords counts no longer.
    pub fn change<T>(&self, change: impl FnOnce(&dyn Store) -> T) -> T {
        let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&*self.store);
        self.known.forget();
        changed
    }

    /// What was known about passwords counts no longer.
    pub fn forget(&self) {
        self.known.forget();
    }

    /// An account decides for its name. Without one the next method is asked; if there is none (`last`), that costs what a
    /// wrong password costs.
    pub async fn ask(self: &Arc<Self>, request: &LoginRequest, guard: &Guard, last: bool) -> Verdict {
        let name = request.username.as_ref().filter(|name| !name.is_empty());
        let (Some(name), Some(password)) = (name, &request.password) else { return Verdict::NotMine };
        if !last {
            match users::exists(&*self.store, name) {
                Ok(true) => {}
                Ok(false) => return Verdict::NotMine,
                Err(error) => return Verdict::Refuse(unreadable(&error)),
            }
        }
        match self.verify(name, password, guard, &Trier::of(request)).await {
            Ok(()) => Verdict::Accept(Accepted::lasting(name.clone())),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    async fn verify(
        self: &Arc<Self>,
        name: &ByteString,
        password: &Bytes,
        guard: &Guard,
        who: &Trier,
    ) -> Result<(), LoginRefusal> {
        guard.ask(who)?;
        let proof = self.known.proof(name, password);
        if self.known.has(name, &proof) {
            guard.succeeded(who);
            return Ok(());
        }
        // Devices with an old password try it for ever. Where an account changes, what was guessed is forgotten.
        if guard.is_repeat(who, password) {
            return Err(LoginRefusal::BadCredentials);
        }
        let turn = self.hashing.enter().await?;
        // Others may have guessed meanwhile: what waited is no way round the pause.
        guard.ask(who)?;
        let changes = self.known.changes();
        let (accounts, user, guess) = (self.clone(), name.clone(), password.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            accounts.check(&user, &guess)
        });
        match checked.await {
            Ok(Ok(true)) => {
                guard.succeeded(who);
                self.known.remember(name, proof, changes);
                Ok(())
            }
            Ok(Ok(false)) => {
                guard.failed(who, password);
                Err(LoginRefusal::BadCredentials)
            }
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(_) => Err(LoginRefusal::Unavailable),
        }
    }

    /// Slow on purpose. A hash of another program that proves right is replaced by one of ours.
    fn check(&self, name: &str, password: &[u8]) -> Result<bool, StoreError> {
        match users::check(&*self.store, name, password)? {
            Check::Right => Ok(true),
            Check::RightButOld(old) => {
                let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = users::renew(&*self.store, name, &old, password, self.scram_rounds) {
                    tracing::warn!(user = name, %error, "imported password not hashed anew");
                }
                Ok(true)
            }
            Check::Wrong => Ok(false),
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> LoginRefusal {
    tracing::error!(%error, "account could not be read, login refused");
    LoginRefusal::Unavailable
}
