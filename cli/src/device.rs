//! `hubbub device`: on which devices users are, and which of them have to go.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use hubbub_bridge::devices::{self, DeviceState};
use hubbub_bridge::store::{self, Store, StoreError};
use hubbub_broker::clock::Clock;
use hubbub_broker::edge::Whose;
use hubbub_broker::lane::Device;
use hubbub_config::{Config, Engine};
use serde_json::json;

use crate::admin::Admin;
use crate::clock::utc;
use crate::exit::{Exit, Failure, help_tail};
use crate::settings;

/// Shows on which devices users are, and ends or bars them. Works with the server stopped or running.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct DeviceArgs {
    /// The configuration file, which says where the store is [default: hubbub.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "HUBBUB_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "
    hubbub device list
    hubbub device list alice
    hubbub device kick alice alice-phone
    hubbub device revoke alice alice-phone";

#[derive(Debug, Subcommand)]
enum Action {
    /// List devices: client id, class, since when connected or last seen, subscriptions, and what waits
    ///
    /// Those that are connected, those with a session that is kept, and those that are barred.
    #[command(after_help = help_tail("
        hubbub device list
        hubbub device list alice"))]
    List {
        /// Only those of this user
        user: Option<String>,
    },
    /// End the connection of a device; it may come back
    ///
    /// The client hears DISCONNECT with reason 0x98, or a 3.x client a message on `u/{me}/notice` if it listens to that.
    #[command(after_help = help_tail("
        hubbub device kick alice alice-phone
        hubbub device kick --forget alice alice-phone"))]
    Kick {
        /// End its session as well: subscriptions, and what waits for it
        #[arg(long)]
        forget: bool,
        #[command(flatten)]
        which: Which,
    },
    /// End the connection of a device and let it in no more, until it is allowed again
    #[command(after_help = help_tail("hubbub device revoke alice alice-phone"))]
    Revoke(Which),
    /// Let a device in again
    #[command(after_help = help_tail("hubbub device allow alice alice-phone"))]
    Allow(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Name of the user
    user: String,
    /// Client id of the device
    client: String,
}

/// Lists, ends, bars or allows devices.
pub fn run(args: DeviceArgs) -> anyhow::Result<()> {
    let config = settings::load(args.config.as_deref())?;
    let place = Place::find(&config)?;
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::List { user } => {
            for device in place.list(user.as_deref())? {
                writeln!(out, "{}", line(&device))?;
            }
        }
        Action::Kick { forget, which } => {
            place.kick(&config, &which, forget)?;
            writeln!(out, "ended {} of {}", which.client, which.user)?;
        }
        Action::Revoke(which) => {
            place.revoke(&which)?;
            writeln!(out, "barred {} of {}", which.client, which.user)?;
        }
        Action::Allow(which) => {
            place.allow(&which)?;
            writeln!(out, "allowed {} of {}", which.client, which.user)?;
        }
    }
    Ok(out.flush()?)
}

/// Where the devices are.
enum Place {
    Store(Arc<dyn Store>),
    Server(Admin),
}

impl Place {
    fn find(config: &Config) -> anyhow::Result<Place> {
        if config.store.engine == Engine::Memory {
            return Ok(Place::Server(Admin::find(config)?));
        }
        match store::open(&config.store) {
            Ok(store) => Ok(Place::Store(store)),
            Err(StoreError::Locked(_)) => Ok(Place::Server(Admin::find(config)?)),
            Err(other) => Err(other.into()),
        }
    }

    fn list(&self, user: Option<&str>) -> anyhow::Result<Vec<DeviceState>> {
        match self {
            Place::Store(store) => Ok(devices::describe(&**store, devices::stored(&**store, user)?, user)?),
            Place::Server(admin) => {
                let answer = admin.devices(&json!({ "op": "list", "user": user }))?;
                let devices = serde_json::from_value(answer["devices"].clone());
                devices.map_err(|_| Failure::new(Exit::Failed, "the server's list cannot be read").into())
            }
        }
    }

    fn kick(&self, config: &Config, which: &Which, forget: bool) -> anyhow::Result<()> {
        let ended = match self {
            Place::Store(store) if forget => {
                let whose = Whose::Device(which.device());
                devices::end_sessions(&**store, config, &whose, Clock::start().now())? as u64
            }
            // Without a server nobody is connected.
            Place::Store(_) => 0,
            Place::Server(admin) => {
                let Which { user, client } = which;
                let request = json!({ "op": "kick", "user": user, "client": client, "forget": forget });
                let answer = admin.devices(&request)?;
                let ended = |what: &str| answer[what].as_u64().unwrap_or(0);
                ended("connections") + if forget { ended("sessions") } else { 0 }
            }
        };
        match ended {
            0 => Err(which.is_not_there(forget).into()),
            _ => Ok(()),
        }
    }

    fn revoke(&self, which: &Which) -> anyhow::Result<()> {
        match self {
            Place::Store(store) => Ok(devices::bar(&**store, &which.device(), Clock::start().now())?),
            Place::Server(admin) => {
                let Which { user, client } = which;
                admin.devices(&json!({ "op": "revoke", "user": user, "client": client })).map(drop)
            }
        }
    }

    fn allow(&self, which: &Which) -> anyhow::Result<()> {
        let was_barred = match self {
            Place::Store(store) => devices::allow(&**store, &which.device())?,
            Place::Server(admin) => {
                let Which { user, client } = which;
                let answer = admin.devices(&json!({ "op": "allow", "user": user, "client": client }))?;
                answer["barred"] == true
            }
        };
        match was_barred {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, format!("{which} is not barred")).into()),
        }
    }
}

impl Which {
    fn device(&self) -> Device {
        Device { user: self.user.as_str().into(), client: self.client.as_str().into() }
    }

    fn is_not_there(&self, forget: bool) -> Failure {
        let what = if forget { "has no session" } else { "is not connected" };
        Failure::new(Exit::Failed, format!("{self} {what}"))
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?} of {:?}", self.client, self.user)
    }
}

/// `alice  alice-phone  phone  connected since 2026-11-20 14:46:40Z from 127.0.0.1:40312, 2 subscriptions`. Names that others made
/// up cannot make a line look like another.
fn line(device: &DeviceState) -> String {
    let DeviceState { user, client, class, address, since, subscriptions, queued, inbox, barred } = device;
    let mut words = Vec::new();
    match (address, since.map(utc)) {
        (Some(address), Some(since)) => words.push(format!("connected since {since} from {address}")),
        (_, Some(since)) => words.push(format!("last seen {since}")),
        _ => {}
    }
    for (count, one, many) in [
        (*subscriptions as u64, "subscription", "subscriptions"),
        (*queued, "queued", "queued"),
        (*inbox, "in the inbox", "in the inbox"),
    ] {
        if count > 0 {
            words.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    }
    if *barred {
        words.push("barred".to_owned());
    }
    let names = [user, client, class].map(|name| name.escape_debug().to_string());
    format!("{}  {}", names.join("  "), words.join(", ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceState {
        DeviceState {
            user: "alice".into(),
            client: "alice-phone".into(),
            class: "phone".into(),
            address: None,
            since: Some(1_763_650_000_000),
            subscriptions: 1,
            queued: 0,
            inbox: 0,
            barred: false,
        }
    }

    #[test]
    fn a_device_reads_as_a_line() {
        let here = DeviceState { address: Some("127.0.0.1:4".into()), subscriptions: 2, ..device() };
        let since = "alice  alice-phone  phone  connected since 2025-11-20 14:46:40Z from 127.0.0.1:4";
        assert_eq!(line(&here), format!("{since}, 2 subscriptions"));
        let away = DeviceState { queued: 3, inbox: 1, barred: true, ..device() };
        assert_eq!(
            line(&away),
            "alice  alice-phone  phone  last seen 2025-11-20 14:46:40Z, 1 subscription, 3 queued, 1 in the inbox, barred"
        );
        let unknown = DeviceState { since: None, subscriptions: 0, ..device() };
        assert_eq!(line(&unknown), "alice  alice-phone  phone");
    }

    #[test]
    fn a_client_id_stays_in_its_line() {
        let odd = DeviceState { client: "a\nroot  b".into(), since: None, subscriptions: 0, ..device() };
        assert_eq!(line(&odd), "alice  a\\nroot  b  phone");
    }
}
