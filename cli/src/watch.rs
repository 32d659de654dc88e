//! `hubbub watch`: who is online, and where.

use crate::args::ConnectArgs;
use crate::client::{self, Connection, Event, Message, Qos, Shutdown, Subscription};
use crate::clock::now_ms;
use crate::conversation::check_name;
use crate::exit::help_tail;
use crate::people::{location_line, presence_line};
use crate::print::{message_json, print_json};
use clap::Args;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;

/// Prints presence and location of people as they change, beginning with what is known.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct WatchArgs {
    /// Whom to watch
    #[arg(value_name = "USER", required = true)]
    users: Vec<String>,
    /// Leave after so many seconds, with status 27
    #[arg(short = 'W', value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print one JSON object per report
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const EXAMPLES: &str = "
    hubbub watch -u alice bob
    hubbub watch -u alice --json bob carol | jq .payload";

/// Watches until told to stop.
pub fn run(args: WatchArgs) -> anyhow::Result<()> {
    args.users.iter().try_for_each(|user| check_name(user))?;
    let filters =
        args.users.iter().flat_map(|user| [format!("p/{user}"), format!("owntracks/{user}/+")]).collect();
    let subscription = Subscription::to(filters, Qos::AtLeastOnce);
    let mut connection =
        Connection::new(args.connect.options("watch")?, Some(subscription), args.connect.retry());
    client::run(async move {
        let ended = watch(&mut connection, &args).await;
        connection.close().await;
        ended
    })?
}

async fn watch(connection: &mut Connection, args: &WatchArgs) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let mut timeout = std::pin::pin!(client::time_limit(args.timeout.map(Duration::from_secs)));
    loop {
        let event = tokio::select! {
            event = connection.next() => event?,
            () = &mut timeout => return Err(client::timed_out().into()),
            () = shutdown.wanted() => return Ok(()),
        };
        client::announce(&event);
        match event {
            Event::Subscribed(grants) => client::check_granted(&grants)?,
            Event::Message(message) => {
                print(&message, args.json)?;
                connection.acknowledge(&message);
            }
            _ => {}
        }
    }
}

fn print(message: &Message, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let mut object = message_json(message, now_ms());
        if let Ok(report) = serde_json::from_slice(&message.payload) {
            object["payload"] = report;
        }
        return print_json(&mut out, &object);
    }
    if let Some(line) = line(message) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// One line about one report; nothing about an empty one, which only says that there is no report any more.
fn line(message: &Message) -> Option<String> {
    if message.payload.is_empty() {
        return None;
    }
    let report: Value = serde_json::from_slice(&message.payload)
        .unwrap_or_else(|_| String::from_utf8_lossy(&message.payload).into_owned().into());
    match message.topic.split('/').collect::<Vec<_>>().as_slice() {
        ["p", user] => Some(presence_line(user, &report)),
        ["owntracks", user, device] => Some(location_line(user, device, &report)),
        _ => None,
    }
}
