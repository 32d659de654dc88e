//! The audit log: one structured line for everything that concerns who may be here and what they may do.
//!
//! The lines go through `tracing` under the target [`TARGET`], which the server always writes, however little else
//! `log.level` lets through. Fields, each left out where there is nothing to say: `event` (one of [`Action`]), `user`,
//! `client` (its client id), `address` (where from, with the port), `method` (how they proved who they are), `reason`
//! (one sentence). Never a secret: no password, token, key or payload.

use std::net::SocketAddr;

use crate::codec::Connect;
use crate::counters::Counters;

/// Under which these lines are written.
pub const TARGET: &str = "audit";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Somebody logged in.
    Login,
    /// Somebody who is logged in proved again who they are; a `login` as well.
    Again,
    /// Somebody was not let in, or could not prove it again.
    Failure,
    /// A connection was ended by somebody else's decision.
    Kick,
    /// Rights changed.
    Rights,
    /// An account was made, changed or removed.
    Account,
    /// Certificates were read again.
    Certificates,
    /// The keys of tokens were read again.
    Keys,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What happened.
    pub action: Action,
    /// Whom it concerns.
    pub user: Option<&'a str>,
    /// Which device of theirs.
    pub client: Option<&'a str>,
    /// Where from.
    pub address: Option<SocketAddr>,
    /// How they proved who they are.
    pub method: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
}

impl Action {
    /// Its name in the log, and how the line begins for people.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Action::Login => ("login", "client connected"),
            Action::Again => ("login", "authenticated again"),
            Action::Failure => ("failure", "client refused"),
            Action::Kick => ("kick", "client kicked"),
            Action::Rights => ("rights", "rights changed"),
            Action::Account => ("account", "account changed"),
            Action::Certificates => ("certificates", "certificates read again"),
            Action::Keys => ("keys", "keys of tokens read again"),
        }
    }
}

impl Entry<'_> {
    /// With nothing said yet: `Entry { user: Some("alice"), ..Entry::of(Action::Kick) }.write()`.
    pub fn of(action: Action) -> Entry<'static> {
        Entry { action, user: None, client: None, address: None, method: None, reason: None }
    }

    /// Writes it. What peers chose is written as text that is quoted, so that nobody's client id can look like a line.
    pub fn write(self) {
        let Entry { action, user, client, address, method, reason } = self;
        let address = address.map(tracing::field::display);
        let (event, words) = action.words();
        tracing::info!(target: TARGET, event, user, client, address, method, reason, "{words}");
    }
}

/// Somebody was not let in, after this CONNECT. Counted as well.
pub fn failure(counters: &Counters, connect: &Connect, peer: SocketAddr, method: &str, reason: &str) {
    counters.logins_refused_total.add(1);
    Entry {
        user: connect.username.as_deref(),
        client: Some(&connect.client_id),
        address: Some(peer),
        method: Some(method),
        reason: Some(reason),
        ..Entry::of(Action::Failure)
    }
    .write();
}
