//! Everything a person types: the server, the clients, the benchmark.

mod admin;
mod args;
mod bench;
mod chat;
mod client;
mod clock;
mod conversation;
mod device;
mod exit;
mod history;
mod memory;
mod people;
mod print;
mod publish;
mod serve;
mod settings;
mod store;
mod subscribe;
mod user;
mod watch;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use exit::Exit;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let words = client::words::join_words(std::env::args_os());
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    // The one place that chooses a TLS library; a second attempt would find the same one.
    rustls::crypto::ring::default_provider().install_default().ok();
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    if let Some(connect) = command.connect_args() {
        log_to_stderr(connect.debug);
    }
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Pub(args) => publish::run(args),
        Command::Sub(args) => subscribe::run(args),
        Command::Chat(args) => chat::run(args),
        Command::History(args) => history::run(args),
        Command::Watch(args) => watch::run(args),
        Command::User(args) => user::run(args),
        Command::Device(args) => device::run(args),
        Command::Store(args) => store::run(args),
        Command::Config(args) => settings::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

/// Our own words only: what the library has to say comes back to us as errors.
fn log_to_stderr(debug: bool) {
    let filter = EnvFilter::new(if debug { "off,hubbub=debug" } else { "off,hubbub=warn" });
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_target(false).init();
}

/// Help and version are answers; anything else is a command line that makes no sense.
fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if printed.is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::from(Exit::Usage as u8),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if exit::is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<hubbub_config::Mistakes>() {
        Some(mistakes) => eprintln!("hubbub: the configuration has mistakes:\n{mistakes}"),
        None => eprintln!("hubbub: {error:#}"),
    }
    ExitCode::from(exit::status_of(error) as u8)
}
