//! `hubbub pub`: a message, or a message per line.

use crate::args::{ConnectArgs, ProtocolArgs};
use crate::client::message::check_topic;
use crate::client::properties::{self, Packet};
use crate::client::{self, Connection, Draft, Event, Qos, Receipt, Retry, Shutdown};
use crate::exit::{Exit, Failure, help_tail};
use crate::print::print_json;
use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Split, Stdin};

/// Publishes, waits until the server has taken everything, and leaves. With -q 1 or 2 a Hubbub server has stored what it took.
///
/// The first refusal ends the command, with the server's reason. With -l, lines without an answer are sent again after a lost connection.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct PubArgs {
    /// Topic to publish to
    #[arg(short = 't', long)]
    topic: String,
    #[command(flatten)]
    source: SourceArgs,
    /// Quality of service
    #[arg(short = 'q', long, default_value = "0", value_name = "0-2")]
    qos: Qos,
    /// Let the server keep the message as the last value of its topic
    #[arg(short = 'r', long)]
    retain: bool,
    /// Give up after so many seconds
    #[arg(short = 'W', long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print a JSON object for each message that the server took
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
}

const EXAMPLES: &str = "
    hubbub pub -t sensors/kitchen -m 21.5 -r
    hubbub pub -u alice -t dm/bob -q 1 -m 'see you at six'
    tail -f log | hubbub pub -t log/web1 -q 1 -l
    hubbub pub -t files/photo -f photo.jpg -D publish content-type image/jpeg
    hubbub pub -t sensors/kitchen -r -n";

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// The message
    #[arg(short = 'm', long, allow_hyphen_values = true)]
    message: Option<String>,
    /// A message per line of the standard input
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// The whole standard input as one message
    #[arg(short = 's', long)]
    stdin_file: bool,
    /// The contents of a file
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// An empty message, which with -r removes the retained one
    #[arg(short = 'n', long)]
    null_message: bool,
}

/// Publishes what the arguments say.
pub fn run(args: PubArgs) -> anyhow::Result<()> {
    check_topic(&args.topic).map_err(Failure::usage)?;
    args.protocol.refuse_properties_of(Packet::Subscribe)?;
    let mut options = args.connect.options("pub")?;
    args.protocol.apply(&args.connect, &mut options)?;
    let retry = match (args.connect.retry, args.source.stdin_line) {
        (true, _) => Retry::Always,
        (false, true) => Retry::OnceUp,
        (false, false) => Retry::Never,
    };
    let source = args.source.once()?;
    let connection = Connection::new(options, None, retry);
    let limit = args.timeout.map(Duration::from_secs);
    client::run(async {
        let source = source.map_or_else(Source::lines, Source::Once);
        Publisher { connection, source, args, refused: None }.publish_all(limit).await
    })?
}

impl SourceArgs {
    /// The one message, or `None` when it is lines.
    fn once(&self) -> anyhow::Result<Option<Bytes>> {
        if self.stdin_line {
            return Ok(None);
        }
        let payload = match (&self.message, &self.file) {
            (Some(message), _) => message.clone().into_bytes(),
            (None, Some(path)) => std::fs::read(path).with_context(|| path.display().to_string())?,
            (None, None) if self.stdin_file => read_stdin()?,
            (None, None) => Vec::new(),
        };
        Ok(Some(payload.into()))
    }
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut payload = Vec::new();
    std::io::stdin().read_to_end(&mut payload).context("standard input")?;
    Ok(payload)
}

/// Where messages come from.
enum Source {
    Once(Bytes),
    Lines(Box<Split<BufReader<Stdin>>>),
    Dry,
}

impl Source {
    fn lines() -> Source {
        Source::Lines(Box::new(BufReader::new(tokio::io::stdin()).split(b'\n')))
    }

    /// The next payload, or `None` when there is no more. May be abandoned and called again.
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        match self {
            Source::Once(payload) => {
                let payload = std::mem::take(payload);
                *self = Source::Dry;
                Ok(Some(payload))
            }
            Source::Lines(lines) => Ok(lines.next_segment().await?.map(Bytes::from)),
            Source::Dry => Ok(None),
        }
    }
}

struct Publisher {
    connection: Connection,
    source: Source,
    args: PubArgs,
    refused: Option<Failure>,
}

impl Publisher {
    async fn publish_all(mut self, limit: Option<Duration>) -> anyhow::Result<()> {
        let mut shutdown = Shutdown::listen()?;
        let mut timeout = std::pin::pin!(client::time_limit(limit));
        let mut dry = false;
        while self.refused.is_none() && !(dry && self.connection.unanswered() == 0) {
            tokio::select! {
                event = self.connection.next() => self.hear(event?)?,
                payload = self.source.next(), if !dry && self.connection.is_up() && self.connection.has_room() => {
                    match payload.context("standard input")? {
                        Some(payload) => self.publish(payload),
                        None => dry = true,
                    }
                }
                () = &mut timeout => return self.leave(Some(client::timed_out())).await,
                () = shutdown.wanted() => {
                    let message = format!("interrupted with {} messages unanswered", self.connection.unanswered());
                    return self.leave(Some(Failure::new(Exit::Failed, message))).await;
                }
            }
        }
        let failure = self.refused.take();
        self.leave(failure).await
    }

    fn publish(&mut self, payload: Bytes) {
        self.connection.publish(Draft {
            topic: self.args.topic.clone(),
            payload,
            qos: self.args.qos,
            retain: self.args.retain,
            properties: properties::for_publish(&self.args.protocol.properties),
        });
    }

    fn hear(&mut self, event: Event) -> anyhow::Result<()> {
        client::announce(&event);
        match event {
            Event::Settled(_, Ok(receipt)) if self.args.json => {
                let taken = receipt_json(&self.args.topic, self.args.qos, &receipt);
                print_json(&mut std::io::stdout().lock(), &taken)?;
            }
            Event::Settled(_, Err(refusal)) => {
                self.refused = Some(client::refused("not published", &refusal))
            }
            Event::Message(message) => self.connection.acknowledge(&message),
            _ => {}
        }
        Ok(())
    }

    async fn leave(self, failure: Option<Failure>) -> anyhow::Result<()> {
        self.connection.close().await;
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// What the server said about a message that it took.
fn receipt_json(topic: &str, qos: Qos, receipt: &Receipt) -> Value {
    let mut taken = json!({ "topic": topic, "qos": qos as u8, "user-property": receipt.user_properties });
    if receipt.nobody_listens {
        taken["nobody-listens"] = true.into();
    }
    taken
}
