//! A key set at a URL.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ureq::Agent;

use hubbub_broker::clock::{Clock, Millis};
use hubbub_broker::policy::LoginRefusal;

use super::keys::KeySet;
use super::schedule::Schedule;
use crate::notify;

/// Bytes of a key set.
const SET_MAX: u64 = 256 * 1024;

/// The keys as they were fetched last. Whoever needs them newer waits for one fetch, all for the same.
pub(super) struct Remote {
    url: String,
    agent: Agent,
    clock: Clock,
    state: Mutex<State>,
    fetching: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    keys: Arc<KeySet>,
    schedule: Schedule,
}

impl Remote {
    pub fn new(url: &str, settings: &hubbub_config::Login, clock: Clock) -> Remote {
        let millis = |time: std::time::Duration| time.as_millis() as Millis;
        let schedule = Schedule::new(
            millis(settings.token_jwks_refresh),
            millis(settings.token_jwks_pause),
            millis(settings.token_jwks_keep),
        );
        Remote {
            url: url.to_owned(),
            agent: notify::agent(settings.token_jwks_timeout),
            clock,
            state: Mutex::new(State { keys: Arc::default(), schedule }),
            fetching: Arc::default(),
        }
    }

    /// The keys, fetched first if they are old, or if one is missing. Without any that count nobody can be checked.
    pub async fn keys(self: &Arc<Self>, missing: bool) -> Result<Arc<KeySet>, LoginRefusal> {
        if self.is_due(missing) {
            let one = self.fetching.clone().lock_owned().await;
            // Another login may have fetched them meanwhile.
            if self.is_due(missing) {
                let remote = self.clone();
                // The lock goes along: a login that gives up does not let a second fetch begin.
                let fetch = tokio::task::spawn_blocking(move || {
                    remote.fetch();
                    drop(one);
                });
                fetch.await.map_err(|_| LoginRefusal::Unavailable)?;
            }
        }
        let state = self.state();
        match state.schedule.counts(self.clock.now()) {
            true => Ok(state.keys.clone()),
            false => Err(LoginRefusal::Unavailable),
        }
    }

    fn is_due(&self, missing: bool) -> bool {
        self.state().schedule.is_due(self.clock.now(), missing)
    }

    fn fetch(&self) {
        let fetched = self.get();
        let now = self.clock.now();
        let mut state = self.state();
        state.schedule.tried(fetched.is_ok(), now);
        match fetched {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "keys of tokens fetched");
                state.keys = Arc::new(keys);
            }
            Err(why) => {
                let last_good = state.schedule.counts(now);
                tracing::warn!(why, last_good, "keys of tokens cannot be fetched");
            }
        }
    }

    fn get(&self) -> Result<KeySet, String> {
        let mut answer = self.agent.get(&self.url).call().map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let body = answer.body_mut().with_config().limit(SET_MAX).read_to_vec();
        KeySet::from_json(&body.map_err(|error| error.to_string())?).map_err(str::to_owned)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
