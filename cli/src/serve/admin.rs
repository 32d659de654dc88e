//! The administrative side: accounts, for whoever can read the token file in the data folder.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use hubbub_bridge::policy::House;
use hubbub_bridge::store::Store;
use hubbub_bridge::users::{self, UserError};
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
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
enum Change {
    Add { name: String, password: String },
    Passwd { name: String, password: String },
    Remove { name: String },
    RevokeTokens { name: String },
    Unlock { name: String },
    Import { file: String },
}

/// The names of all users.
pub fn list(store: &dyn Store) -> (StatusCode, Value) {
    match users::list(store) {
        Ok(names) => (StatusCode::OK, json!({ "users": names })),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
    }
}

/// Adds, changes, removes, unlocks or imports accounts; gives back who has to go then. Hashing is slow: not for a thread that
/// serves others.
pub fn change(house: &House, body: &[u8]) -> (StatusCode, Value, Option<Dismissal>) {
    let change: Change = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => return (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() }), None),
    };
    match carry_out(house, change) {
        Ok((done, dismissal)) => (StatusCode::OK, done, dismissal),
        Err(error) => (StatusCode::CONFLICT, json!({ "error": error.to_string() }), None),
    }
}

fn carry_out(house: &House, change: Change) -> Result<(Value, Option<Dismissal>), UserError> {
    let login = house.logins();
    let (scram, now) = (login.scram_rounds(), Clock::start().now());
    let (op, name) = match change {
        Change::Add { name, password } => {
            login.change_accounts(|store| users::add(store, &name, password, scram))?;
            login.unlock(&name);
            ("add", name)
        }
        Change::Passwd { name, password } => {
            login.change_accounts(|store| users::passwd(store, &name, password, scram))?;
            // What was guessed before is of no use any more.
            login.unlock(&name);
            ("passwd", name)
        }
        Change::Remove { name } => {
            login.change_accounts(|store| users::remove(store, &name, now))?;
            ("remove", name)
        }
        Change::RevokeTokens { name } => {
            login.change_accounts(|store| users::revoke_tokens(store, &name, now))?;
            ("revoke-tokens", name)
        }
        Change::Unlock { name } => {
            let unlocked = login.unlock(&name);
            told(Some(&name), "unlock");
            return Ok((json!({ "ok": true, "unlocked": unlocked }), None));
        }
        Change::Import { file } => {
            let count = login.change_accounts(|store| users::import(store, file.as_bytes()))?;
            login.unlock_all();
            told(None, "import");
            return Ok((json!({ "ok": true, "imported": count }), None));
        }
    };
    house.account_changed(&name);
    told(Some(&name), op);
    Ok((json!({ "ok": true }), rights::dismissal(op, &name)))
}

/// For the audit log: what was done to whose account.
fn told(user: Option<&str>, op: &str) {
    Entry { user, reason: Some(op), ..Entry::of(Action::Account) }.write();
}
