//! `hubbub user`: who may log in.
//!
//! With the server stopped the accounts are changed in its store; while it runs it holds the store, and is asked to do it.

use crate::admin::Admin;
use crate::exit::{Exit, Failure, help_tail};
use crate::settings;
use anyhow::Context;
use clap::{Args, Subcommand};
use hubbub_bridge::devices;
use hubbub_bridge::store::{self, Store, StoreError};
use hubbub_bridge::users::{self, UserError};
use hubbub_broker::clock::Clock;
use hubbub_broker::edge::Whose;
use hubbub_config::{Config, Engine};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Adds, lists and removes the people who may log in. Works with the server stopped or running.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct UserArgs {
    /// The configuration file, which says where the store is [default: hubbub.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "HUBBUB_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "
    hubbub user add alice
    pwgen 20 1 | tee alice.password | hubbub user add alice --password-stdin
    hubbub user passwd alice
    hubbub user import /etc/mosquitto/passwd
    hubbub user unlock alice
    hubbub user list";

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user; asks for the password
    ///
    /// With `login.scram` on, what SCRAM-SHA-256 has to know is stored as well.
    #[command(after_help = help_tail("
        hubbub user add alice
        hubbub user add build-robot --password-stdin < password.txt
        HUBBUB_LOGIN_SCRAM=true hubbub user add alice       (the server stopped)"))]
    Add(Account),
    /// Give a user another password
    ///
    /// What is stored for SCRAM-SHA-256 goes with the old password, and is made of the new one if `login.scram` is on.
    #[command(after_help = help_tail("
        hubbub user passwd alice
        hubbub user passwd build-robot --password-stdin < password.txt"))]
    Passwd(Account),
    /// Make the accounts of a password file of Mosquitto
    ///
    /// Their passwords stay as they are; each is hashed anew, with argon2id, at the first login. With any mistake in the file
    /// all of them are named and nothing is imported.
    #[command(after_help = help_tail("hubbub user import /etc/mosquitto/passwd"))]
    Import {
        /// The file, as `mosquitto_passwd` writes it
        file: PathBuf,
    },
    /// Forget the failed logins of a user, at every address
    ///
    /// They are counted by the running server; a new password does the same.
    #[command(after_help = help_tail("hubbub user unlock alice"))]
    Unlock {
        /// Name of the user
        name: String,
    },
    /// List the names of all users
    #[command(after_help = help_tail("hubbub user list | wc -l"))]
    List,
    /// Remove a user: connections, sessions and what waits for them end; messages stay
    #[command(after_help = help_tail("hubbub user remove alice"))]
    Remove {
        /// Name of the user
        name: String,
    },
    /// Let no token count that was made for a user up to now, and end the user's connections
    #[command(after_help = help_tail("hubbub user revoke-tokens alice"))]
    RevokeTokens {
        /// Name of the user
        name: String,
    },
}

#[derive(Debug, Args)]
struct Account {
    /// Name of the user
    name: String,
    /// Read the password from the first line of the standard input
    #[arg(long)]
    password_stdin: bool,
    /// The password. Others on this machine can see it: better let the command ask, or use --password-stdin
    #[arg(short = 'P', long = "password", conflicts_with = "password_stdin")]
    password: Option<String>,
}

/// Changes or lists the accounts.
pub fn run(args: UserArgs) -> anyhow::Result<()> {
    let config = settings::load(args.config.as_deref())?;
    // Asked before the store is opened: nobody else can have it while somebody thinks about a password.
    let password = args.action.password()?;
    let place = Place::find(&config)?;
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Add(account) => {
            place.add(&account.name, &password)?;
            writeln!(out, "added {}", account.name)?;
        }
        Action::Passwd(account) => {
            place.passwd(&account.name, &password)?;
            writeln!(out, "changed the password of {}", account.name)?;
        }
        Action::Remove { name } => {
            place.remove(&config, &name)?;
            writeln!(out, "removed {name}")?;
        }
        Action::RevokeTokens { name } => {
            place.revoke_tokens(&name)?;
            writeln!(out, "revoked the tokens of {name}")?;
        }
        Action::Import { file } => {
            let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let count = place.import(&text).with_context(|| file.display().to_string())?;
            writeln!(out, "accounts imported: {count}")?;
        }
        Action::Unlock { name } => match place.unlock(&name)? {
            true => writeln!(out, "unlocked {name}")?,
            false => writeln!(out, "there were no failed logins of {name}")?,
        },
        Action::List => {
            for name in place.list()? {
                writeln!(out, "{name}")?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Where accounts are changed.
enum Place {
    /// With the PBKDF2 rounds of what is stored for SCRAM, if anything is.
    Store(Arc<dyn Store>, Option<u32>),
    Server(Admin),
}

impl Place {
    fn find(config: &Config) -> anyhow::Result<Place> {
        if config.store.engine == Engine::Memory {
            return Ok(Place::Server(Admin::find(config)?));
        }
        match store::open(&config.store) {
            Ok(store) => Ok(Place::Store(store, config.login.scram_rounds())),
            Err(StoreError::Locked(_)) => Ok(Place::Server(Admin::find(config)?)),
            Err(other) => Err(other.into()),
        }
    }

    fn add(&self, name: &str, password: &str) -> anyhow::Result<()> {
        match self {
            Place::Store(store, scram) => Ok(users::add(store.as_ref(), name, password, *scram)?),
            Place::Server(admin) => admin.change("add", name, Some(password)),
        }
    }

    fn passwd(&self, name: &str, password: &str) -> anyhow::Result<()> {
        match self {
            Place::Store(store, scram) => Ok(users::passwd(store.as_ref(), name, password, *scram)?),
            Place::Server(admin) => admin.change("passwd", name, Some(password)),
        }
    }

    fn remove(&self, config: &Config, name: &str) -> anyhow::Result<()> {
        match self {
            Place::Store(store, _) => {
                let now = Clock::start().now();
                users::remove(store.as_ref(), name, now)?;
                devices::end_sessions(store.as_ref(), config, &Whose::User(name.into()), now)?;
                Ok(())
            }
            Place::Server(admin) => admin.change("remove", name, None),
        }
    }

    fn revoke_tokens(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Place::Store(store, _) => Ok(users::revoke_tokens(store.as_ref(), name, Clock::start().now())?),
            Place::Server(admin) => admin.change("revoke-tokens", name, None),
        }
    }

    fn import(&self, file: &[u8]) -> anyhow::Result<u64> {
        match (self, std::str::from_utf8(file)) {
            (Place::Store(store, _), _) => Ok(users::import(store.as_ref(), file)? as u64),
            (Place::Server(admin), Ok(text)) => admin.import(text),
            (Place::Server(_), Err(error)) => {
                let line = 1 + file[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                let message = format!("nothing was imported:\nline {line}: not UTF-8");
                Err(Failure::new(Exit::Failed, message).into())
            }
        }
    }

    /// Without a server nothing is counted.
    fn unlock(&self, name: &str) -> anyhow::Result<bool> {
        match self {
            Place::Store(..) => Ok(false),
            Place::Server(admin) => admin.unlock(name),
        }
    }

    fn list(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Place::Store(store, _) => Ok(users::list(store.as_ref())?),
            Place::Server(admin) => admin.list(),
        }
    }
}

impl Action {
    /// The password, for actions that need one.
    fn password(&self) -> anyhow::Result<String> {
        match self {
            Action::Add(account) | Action::Passwd(account) => {
                users::check_name(&account.name)?;
                account.password()
            }
            Action::List
            | Action::Remove { .. }
            | Action::RevokeTokens { .. }
            | Action::Import { .. }
            | Action::Unlock { .. } => Ok(String::new()),
        }
    }
}

impl Account {
    fn password(&self) -> anyhow::Result<String> {
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => first_line()?,
            None if std::io::stdin().is_terminal() => ask_twice(&self.name)?,
            None => {
                return Err(
                    Failure::usage("no terminal to ask for the password: use --password-stdin").into()
                );
            }
        };
        if password.is_empty() {
            return Err(UserError::EmptyPassword.into());
        }
        Ok(password)
    }
}

fn first_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask_twice(name: &str) -> anyhow::Result<String> {
    let password = rpassword::prompt_password(format!("New password for {name}: "))?;
    if rpassword::prompt_password("Once more: ")? != password {
        return Err(Failure::new(Exit::Failed, "the two passwords differ").into());
    }
    Ok(password)
}
