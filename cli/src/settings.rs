//! `hubbub config`: check or print the configuration.

use crate::exit::{Exit, Failure, help_tail};
use crate::serve;
use clap::{Args, Subcommand};
use hubbub_bridge::login::Login;
use hubbub_config::{Config, DEFAULT_FILE, Mistakes};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Checks or prints the configuration: the file, then variables HUBBUB_SECTION_KEY, then the defaults.
#[derive(Debug, Args)]
#[command(after_help = help_tail("
    hubbub config check
    hubbub config print --default > hubbub.toml"))]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name every mistake at once, with its place
    #[command(after_help = help_tail("
        hubbub config check
        hubbub config check /etc/hubbub.toml && systemctl restart hubbub"))]
    Check {
        /// The file [default: hubbub.toml, if there is one]
        #[arg(env = "HUBBUB_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print every setting with its value, secrets masked
    #[command(after_help = help_tail("
        hubbub config print
        hubbub config print --default > hubbub.toml"))]
    Print {
        /// The file [default: hubbub.toml, if there is one]
        #[arg(env = "HUBBUB_CONFIG")]
        file: Option<PathBuf>,
        /// The commented file with every setting at its default, to begin with
        #[arg(long)]
        default: bool,
    },
}

/// Checks or prints.
pub fn run(args: ConfigArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check { file } => {
            let config = load(file.as_deref())?;
            serve::certificates::read(&config)?;
            Login::check_files(&config).map_err(|mistakes| {
                Failure::new(Exit::Configuration, format!("the configuration has mistakes:\n{mistakes}"))
            })?;
            writeln!(out, "the configuration is fine")?;
        }
        Action::Print { default: true, .. } => out.write_all(DEFAULT_FILE.as_bytes())?,
        Action::Print { file, .. } => out.write_all(load(file.as_deref())?.describe().as_bytes())?,
    }
    Ok(out.flush()?)
}

/// The configuration of this machine.
pub fn load(file: Option<&Path>) -> Result<Config, Mistakes> {
    Config::load(file, hubbub_config::environment(), &[])
}
