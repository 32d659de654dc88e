//! Notifications for people who are away: the durable outbox, its timing, and the calls.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use hubbub_broker::clock::Millis;
use hubbub_broker::counters::Counters;
use hubbub_config::Notify;

use crate::inbox::{self, InboxEntry};
use crate::notify::{Call, Outbox, Outcome, Pending, Retry, Sent, Verdict, Webhook};
use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::Transaction;

/// A badge beyond this says nothing more.
const MOST_UNREAD: usize = 1000;

/// Outcomes that wait for the committer; there are never more calls under way than workers can hold.
const OUTCOMES: usize = 1024;

/// When a message becomes a notification.
#[derive(Debug, Clone)]
pub struct PushRules {
    /// Whether there is anybody to call.
    pub enabled: bool,
    /// How long a device has time to take the message (R26).
    pub ack_timeout: Duration,
    /// Whether the text of the message is in the call (R35).
    pub include_body: bool,
    /// Retries.
    pub retry: Retry,
}

impl Default for PushRules {
    fn default() -> PushRules {
        PushRules::new(&Notify::default())
    }
}

impl PushRules {
    /// From the section `notify` of the configuration.
    pub fn new(notify: &Notify) -> PushRules {
        let millis = |duration: Duration| duration.as_millis() as u64;
        PushRules {
            enabled: notify.webhook.is_some(),
            ack_timeout: notify.ack_timeout,
            include_body: notify.include_body,
            retry: Retry {
                first_ms: millis(notify.retry_first),
                max_ms: millis(notify.retry_max),
                attempts: notify.attempts,
            },
        }
    }
}

/// The outbox and its caller.
pub struct Push {
    rules: PushRules,
    outbox: Outbox,
    webhook: Option<Webhook>,
    outcomes: Option<mpsc::Receiver<Outcome>>,
    counters: Arc<Counters>,
}

impl Push {
    /// Without anybody to call yet.
    pub fn new(rules: PushRules, counters: Arc<Counters>) -> Push {
        let outbox = Outbox::new(rules.retry);
        Push { rules, outbox, webhook: None, outcomes: None, counters }
    }

    /// Loads what an earlier run left, and starts the workers.
    pub fn start(notify: &Notify, store: &dyn Store, counters: Arc<Counters>) -> Result<Push, PushError> {
        let mut push = Push::new(PushRules::new(notify), counters);
        if let (Some(url), Some(secret)) = (&notify.webhook, &notify.secret) {
            let (report, outcomes) = mpsc::sync_channel(OUTCOMES);
            let report = move |outcome| drop(report.send(outcome));
            push.webhook = Some(Webhook::new(url, secret, notify.timeout, notify.workers, report)?);
            push.outcomes = Some(outcomes);
            push.outbox.load(load(store)?);
        }
        Ok(push)
    }

    /// A message was stored for somebody: unless a device takes it in time, there will be a call. Written in the batch
    /// of the message, so that neither exists without the other.
    #[allow(clippy::too_many_arguments)]
    pub fn expect(
        &mut self,
        tx: &mut Transaction<'_>,
        user: &str,
        n: u64,
        entry: &InboxEntry,
        mid: &str,
        ts: Millis,
        text: Option<&str>,
    ) {
        if !self.rules.enabled {
            return;
        }
        let due_ms = tx.now + self.rules.ack_timeout.as_millis() as Millis;
        let pending = Pending {
            cid: entry.cid.clone(),
            seq: entry.seq,
            mid: mid.to_owned(),
            from: entry.from.clone(),
            ts,
            due_ms,
            attempts: 0,
            body: text.filter(|_| self.rules.include_body).map(str::to_owned),
        };
        tx.put(keys::pending(user, n), pending.encode());
        self.outbox.add(user, n, due_ms);
    }

    /// A device of the user took everything up to `n`: no call for any of it.
    pub fn taken(&mut self, tx: &mut Transaction<'_>, user: &str, n: u64) {
        for n in self.outbox.taken(user, n) {
            tx.delete(keys::pending(user, n));
            self.counters.notifications_cancelled_total.add(1);
        }
    }

    /// When [`Push::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.outbox.poll_timeout()
    }

    /// Takes in what the calls came to, and makes those that are due.
    pub fn handle_timeout(&mut self, tx: &mut Transaction<'_>, store: &dyn Store) -> Result<(), StoreError> {
        let outcomes: Vec<Outcome> = self.outcomes.iter().flat_map(mpsc::Receiver::try_iter).collect();
        for outcome in outcomes {
            self.finish(tx, outcome)?;
        }
        self.outbox.handle_timeout(tx.now);
        while let Some((user, n)) = self.outbox.next_due() {
            if !self.call(tx, store, &user, n)? {
                break;
            }
        }
        Ok(())
    }

    /// `false` if every worker is busy.
    fn call(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
        user: &str,
        n: u64,
    ) -> Result<bool, StoreError> {
        let pending = tx.get(&keys::pending(user, n))?.and_then(|bytes| Pending::decode(&bytes));
        let (Some(pending), Some(webhook)) = (pending, &self.webhook) else {
            self.outbox.finished(user, n);
            return Ok(true);
        };
        let unread = inbox::unread(store, user, MOST_UNREAD)?;
        let call = Call { uid: user.to_owned(), n, pending, unread, now_ms: tx.now };
        if webhook.send(call).is_err() {
            self.outbox.not_sent(user, n);
            return Ok(false);
        }
        Ok(true)
    }

    fn finish(&mut self, tx: &mut Transaction<'_>, outcome: Outcome) -> Result<(), StoreError> {
        let Outcome { uid, n, result } = outcome;
        let key = keys::pending(&uid, n);
        match result {
            Sent::Done => {
                self.counters.notifications_sent_total.add(1);
                tracing::info!(user = uid, n, "notification sent");
                self.outbox.finished(&uid, n);
                tx.delete(key);
            }
            Sent::Refused(why) => {
                self.counters.notifications_abandoned_total.add(1);
                tracing::warn!(user = uid, n, why, "notification refused");
                self.outbox.finished(&uid, n);
                tx.delete(key);
            }
            Sent::Failed(why) => self.retry(tx, &uid, n, key, &why)?,
        }
        Ok(())
    }

    fn retry(
        &mut self,
        tx: &mut Transaction<'_>,
        user: &str,
        n: u64,
        key: Vec<u8>,
        why: &str,
    ) -> Result<(), StoreError> {
        match self.outbox.failed(user, n, tx.now) {
            Verdict::Retry { at, attempts } => {
                self.counters.notifications_retried_total.add(1);
                tracing::warn!(user, n, attempts, why, "notification failed, will be tried again");
                if let Some(pending) = tx.get(&key)?.and_then(|bytes| Pending::decode(&bytes)) {
                    tx.put(key, Pending { due_ms: at, attempts, ..pending }.encode());
                }
            }
            Verdict::GaveUp => {
                self.counters.notifications_abandoned_total.add(1);
                tracing::error!(user, n, why, "notification given up");
                tx.delete(key);
            }
            Verdict::Taken => tx.delete(key),
        }
        Ok(())
    }

    /// Waits for the calls under way.
    pub fn stop(self) {
        if let Some(webhook) = self.webhook {
            webhook.stop();
        }
    }
}

/// Why notifications cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No threads for the calls.
    #[error("cannot start a thread for notifications: {0}")]
    Thread(#[from] std::io::Error),
}

fn load(store: &dyn Store) -> Result<Vec<(String, u64, u64, u32)>, StoreError> {
    let entries = store.scan(keys::all_pending(), Order::Forward, usize::MAX)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let mut fields = keys::Fields::of(key)?;
        let (user, n) = (fields.text()?, fields.number()?);
        let pending = Pending::decode(value)?;
        Some((user, n, pending.due_ms, pending.attempts))
    };
    Ok(entries.iter().filter_map(read).collect())
}
