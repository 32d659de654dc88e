//! Login by asking the application: one signed POST of JSON for each login that it has not answered just before.

mod cache;
mod words;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ureq::Agent;

use hubbub_broker::clock::Clock;
use hubbub_broker::policy::{LoginRefusal, LoginRequest};
use hubbub_broker::topic::TopicLimits;

use self::cache::Cache;
use self::words::{Decision, Question};
use super::Verdict;
use super::guard::{Guard, Trier};
use super::turnstile::Turnstile;
use crate::notify;

/// Bytes of an answer.
const ANSWER_MAX: u64 = 64 * 1024;
/// Milliseconds in a second.
const SECOND: u64 = 1000;

/// The application, and what it said.
pub(super) struct Hook {
    url: String,
    secret: String,
    agent: Agent,
    calls: Turnstile,
    cache: Mutex<Cache>,
    topics: TopicLimits,
    clock: Clock,
    /// It did not answer the last time.
    down: AtomicBool,
}

impl Hook {
    pub fn new(settings: &hubbub_config::Login, topics: TopicLimits, clock: Clock) -> Hook {
        let ttl = settings.hook_cache.as_millis() as u64;
        Hook {
            url: settings.hook.clone().unwrap_or_default(),
            secret: settings.hook_secret.clone().unwrap_or_default(),
            agent: notify::agent(settings.hook_timeout),
            calls: Turnstile::new(settings.hook_concurrency, settings.hook_queue),
            cache: Mutex::new(Cache::new(ttl, settings.hook_cache_entries)),
            topics,
            clock,
            down: AtomicBool::new(false),
        }
    }

    /// What the application says about this one; if it says nothing that makes sense, nobody can be checked now.
    pub async fn ask(self: &Arc<Self>, request: &LoginRequest, guard: &Guard) -> Verdict {
        let named = request.username.as_ref().is_some_and(|name| !name.is_empty());
        if !named && request.password.is_none() {
            return Verdict::NotMine;
        }
        let who = Trier::of(request);
        match self.decide(request, guard, &who).await {
            Ok(Decision::Allow(accepted)) => {
                guard.succeeded(&who);
                Verdict::Accept(accepted)
            }
            Ok(Decision::Deny) => {
                guard.failed(&who, request.password.as_deref().unwrap_or_default());
                Verdict::Refuse(LoginRefusal::BadCredentials)
            }
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    async fn decide(
        self: &Arc<Self>,
        request: &LoginRequest,
        guard: &Guard,
        who: &Trier,
    ) -> Result<Decision, LoginRefusal> {
        guard.ask(who)?;
        let question = Question::of(request);
        if let Some(known) = self.known(&question) {
            return Ok(known);
        }
        let turn = self.calls.enter().await?;
        // Others may have guessed, or asked the same, meanwhile.
        guard.ask(who)?;
        if let Some(known) = self.known(&question) {
            return Ok(known);
        }
        let hook = self.clone();
        let called = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hook.call(&question)
        });
        called.await.map_err(|_| LoginRefusal::Unavailable)?
    }

    /// Every login is asked about again.
    pub fn forget(&self) {
        self.cache().clear();
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, question: &Question) -> Option<Decision> {
        self.cache().get(&question.body, self.clock.now())
    }

    fn call(&self, question: &Question) -> Result<Decision, LoginRefusal> {
        let asked = self.cache().cleared();
        match self.answer(question) {
            Ok(decision) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("the login hook answers again");
                }
                self.cache().put(&question.body, decision.clone(), asked, self.clock.now());
                Ok(decision)
            }
            Err(why) => {
                match self.down.swap(true, Ordering::Relaxed) {
                    false => {
                        tracing::warn!(why, "the login hook does not answer: nobody can be checked by it")
                    }
                    true => tracing::debug!(why, "the login hook does not answer"),
                }
                Err(LoginRefusal::Unavailable)
            }
        }
    }

    fn answer(&self, question: &Question) -> Result<Decision, String> {
        let timestamp = (self.clock.now() / SECOND).to_string();
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("X-Hubbub-Signature", notify::signature(&self.secret, &timestamp, &question.body))
            .header("X-Hubbub-Timestamp", timestamp);
        let mut answer = request.send(&question.body).map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        let body = body.map_err(|error| error.to_string())?;
        Decision::read(&body, question, &self.topics, self.clock.now()).map_err(str::to_owned)
    }
}
