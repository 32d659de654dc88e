//! `hubbub store`: look at the data folder, and take it from one place to another.
//!
//! With the server stopped its folder is opened; while it runs it is asked for its records over HTTP on loopback, as one
//! moment saw them.

mod check;
mod copy;
mod progress;
mod source;
mod stats;

use crate::exit::{Failure, help_tail};
use clap::{Args, Subcommand};
use hubbub_config::{Config, Engine};
use source::Source;
use std::path::PathBuf;

/// Checks, measures and copies the data folder. `import` and `--quarantine` need the server stopped, all else works with
/// it stopped or running.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct StoreArgs {
    /// The configuration file, which says where the store is [default: hubbub.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "HUBBUB_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder, instead of store.path
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "
    hubbub store check
    hubbub store stats
    hubbub store backup /backup/hubbub-monday
    hubbub store export everything.hubbub
    hubbub store --data ./new import everything.hubbub";

#[derive(Debug, Subcommand)]
enum Action {
    /// Read every record and name what is not whole, a line each; exit status 1 if there is anything
    #[command(after_help = help_tail("
        hubbub store check
        hubbub store check --quarantine unreadable.hubbub"))]
    Check {
        /// Move records that cannot be read out of the store into this new file, and say what is missing (server stopped)
        #[arg(long, value_name = "FILE")]
        quarantine: Option<PathBuf>,
    },
    /// Count records and bytes by kind, and name the largest conversations, inboxes and queues
    #[command(after_help = help_tail("
        hubbub store stats
        hubbub store stats --json | jq .all.records"))]
    Stats {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write every record into a file, the same whatever engine keeps them. It holds messages and password hashes
    #[command(after_help = help_tail("
        hubbub store export everything.hubbub
        hubbub store export | zstd > everything.hubbub.zst"))]
    Export {
        /// The file; - is the standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Make a data folder of an export; the folder has to be empty, and its engine is store.engine
    #[command(after_help = help_tail("
        hubbub store import everything.hubbub
        zstd -dc everything.hubbub.zst | hubbub store import -
        hubbub store --data ./new import everything.hubbub"))]
    Import {
        /// The file; - is the standard input
        file: PathBuf,
    },
    /// Copy the data folder into a new one, from which a server can be started
    #[command(after_help = help_tail("
        hubbub store backup /backup/hubbub-monday
        hubbub serve --set store.path=/backup/hubbub-monday"))]
    Backup {
        /// The new folder; it must not be there, or be empty
        folder: PathBuf,
    },
}

/// Does it.
pub fn run(args: StoreArgs) -> anyhow::Result<()> {
    let mut config = crate::settings::load(args.config.as_deref())?;
    if let Some(data) = args.data {
        config.store.path = data;
    }
    match args.action {
        Action::Check { quarantine: None } => check::look(&Source::find(&config)?),
        Action::Check { quarantine: Some(file) } => check::quarantine(&Source::find(&config)?, &file),
        Action::Stats { json } => stats::run(&Source::find(&config)?, &config, json),
        Action::Export { file } => copy::export(&config, &file),
        Action::Import { file } => copy::import(&config, &file),
        Action::Backup { folder } => copy::backup(&config, folder),
    }
}

/// What a copy of this folder is kept by: the engine of the original.
fn engine_of_copy(config: &Config) -> anyhow::Result<Engine> {
    let found = hubbub_bridge::store::engine_of(&config.store.path)?;
    found.ok_or_else(|| Failure::usage("there is no data to copy").into())
}
