//! `hubbub history`: earlier messages of a conversation.

use crate::args::ConnectArgs;
use crate::client::{self, Connection, Event, Qos, Shutdown, Subscription};
use crate::conversation::{HistoryCall, Page, check_name, direct};
use crate::exit::{Exit, Failure, help_tail};
use crate::print::print_json;
use clap::Args;
use std::io::Write;
use std::time::Duration;

/// Prints the last messages of a conversation, the oldest first.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct HistoryArgs {
    /// The other person, or a conversation like alice~bob
    #[arg(value_name = "PEER|CONVERSATION")]
    whom: String,
    /// The name is that of a group or room
    #[arg(short = 'g', long)]
    group: bool,
    /// At most so many messages
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only messages before this number
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// Give up after so many seconds, with status 27
    #[arg(short = 'W', value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// Print one JSON object per message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const EXAMPLES: &str = "
    hubbub history -u alice bob
    hubbub history -u alice alice~bob --before 120 --limit 50
    hubbub history -u alice -g lounge --json | jq -r .body";

/// Asks once and prints the answer.
pub fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let me = args.connect.me()?;
    let cid = conversation(me, &args)?;
    let call = HistoryCall::new(me);
    let subscription = Subscription::to(vec![call.reply_topic().to_owned()], Qos::AtLeastOnce);
    let retry = if args.connect.retry { client::Retry::Always } else { client::Retry::Never };
    let mut connection = Connection::new(args.connect.options("history")?, Some(subscription), retry);
    client::run(async move {
        let answer = ask(&mut connection, call, &cid, &args).await;
        connection.close().await;
        print(&answer?, args.json)
    })?
}

fn conversation(me: &str, args: &HistoryArgs) -> Result<String, Failure> {
    if args.group || args.whom.contains('~') {
        return Ok(args.whom.clone());
    }
    check_name(&args.whom)?;
    Ok(direct(me, &args.whom))
}

async fn ask(
    connection: &mut Connection,
    mut call: HistoryCall,
    cid: &str,
    args: &HistoryArgs,
) -> anyhow::Result<Page> {
    let mut shutdown = Shutdown::listen()?;
    let mut timeout = std::pin::pin!(client::time_limit(Some(Duration::from_secs(args.timeout))));
    loop {
        let event = tokio::select! {
            event = connection.next() => event?,
            () = &mut timeout => {
                return Err(Failure::new(Exit::TimedOut, "timed out: nobody answers requests for history there").into());
            }
            () = shutdown.wanted() => return Err(Failure::new(Exit::Failed, "interrupted").into()),
        };
        client::announce(&event);
        match event {
            Event::Subscribed(grants) => {
                client::check_granted(&grants)?;
                connection.publish(call.request(cid, args.before, args.limit));
            }
            Event::Settled(_, Err(refusal)) => return Err(client::refused("no history", &refusal).into()),
            Event::Message(message) => {
                connection.acknowledge(&message);
                if let Some(answer) = call.answer(&message) {
                    return Ok(answer?);
                }
            }
            _ => {}
        }
    }
}

fn print(page: &Page, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for envelope in &page.messages {
        match json {
            true => print_json(&mut out, envelope.json())?,
            false => writeln!(out, "{}", envelope.dated_line())?,
        }
    }
    out.flush()?;
    if let (true, Some(oldest)) = (page.more, page.messages.first().and_then(|envelope| envelope.seq())) {
        eprintln!("hubbub: there are older messages: --before {oldest}");
    }
    Ok(())
}
