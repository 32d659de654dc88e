//! The administrative side: accounts, for whoever can read the token file in the data folder.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use hubbub_bridge::policy::House;
use hubbub_bridge::store::Store;
use hubbub_bridge::users;
use hubbub_broker::audit::{Action, Entry};
use hubbub_broker::clock::Clock;
use hubbub_broker::edge::Dismissal;
use hubbub_config::{Config, Engine};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rights;

/// The token of this run, in a file that only its owner can read.
pub struct TokenFile {
    path: Option<PathBuf>,
    secret: String,
}

impl TokenFile {
    /// Writes a fresh token, and on a second line the address to ask.
    pub fn write(config: &Config, http: Option<SocketAddr>) -> anyhow::Result<TokenFile> {
        let secret = format!("{:032x}{:032x}", random(), random());
        let http = http.filter(|_| config.store.engine != Engine::Memory);
        let Some(http) = http else { return Ok(TokenFile { path: None, secret }) };
        let path = config.store.path.join("admin.token");
        // An older one may have been left behind by a crash, with other rights.
        let _ = std::fs::remove_file(&path);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let write = file.and_then(|mut file| writeln!(file, "{secret}\n{http}"));
        write.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(TokenFile { path: Some(path), secret })
    }

    /// The token.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Takes the file away: the token is worth nothing once the server has ended.
    pub fn remove(&self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn random() -> u128 {
    ulid::Ulid::new().random() | u128::from(ulid::Ulid::new().random() as u64) << 64
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    op: String,
    name: String,
    password: Option<String>,
}

/// The names of all users.
pub fn list(store: &dyn Store) -> (StatusCode, Value) {
    match users::list(store) {
        Ok(names) => (StatusCode::OK, json!({ "users": names })),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
    }
}

/// Adds, changes or removes an account; gives back who has to go then. Hashing is slow: not for a thread that serves others.
pub fn change(store: &dyn Store, house: &House, body: &[u8]) -> (StatusCode, Value, Option<Dismissal>) {
    let change: Change = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => return (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() }), None),
    };
    let now = Clock::start().now();
    let done = match (change.op.as_str(), change.password) {
        ("add", Some(password)) => users::add(store, &change.name, password, house.scram_rounds()),
        ("passwd", Some(password)) => users::passwd(store, &change.name, password, house.scram_rounds()),
        ("remove", None) => users::remove(store, &change.name, now),
        ("revoke-tokens", None) => users::revoke_tokens(store, &change.name, now),
        _ => {
            let error = "op is add or passwd, with a password, or remove or revoke-tokens";
            return (StatusCode::BAD_REQUEST, json!({ "error": error }), None);
        }
    };
    match done {
        Ok(()) => {
            house.account_changed(&change.name);
            let (user, reason) = (Some(&*change.name), Some(&*change.op));
            Entry { user, reason, ..Entry::of(Action::Account) }.write();
            (StatusCode::OK, json!({ "ok": true }), rights::dismissal(&change.op, &change.name))
        }
        Err(error) => (StatusCode::CONFLICT, json!({ "error": error.to_string() }), None),
    }
}
