//! `hubbub sub`: subscribe and print.

use crate::args::{ConnectArgs, ProtocolArgs};
use crate::client::message::check_filter;
use crate::client::properties::{self, Packet};
use crate::client::{self, Connection, Event, Message, Qos, Shutdown, Subscription};
use crate::clock::now_ms;
use crate::exit::{Failure, help_tail};
use crate::print::Style;
use clap::Args;
use std::time::Duration;

/// Subscribes and prints what comes in. A message is acknowledged after it was printed.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct SubArgs {
    /// Topic filter to subscribe to; may be given several times
    #[arg(short = 't', long = "topic", required = true)]
    topics: Vec<String>,
    /// Highest quality of service wanted
    #[arg(short = 'q', long, default_value = "0", value_name = "0-2")]
    qos: Qos,
    /// Print the topic before each message
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Leave after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Leave after so many seconds, with status 27
    #[arg(short = 'W', value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print no retained messages
    #[arg(short = 'R')]
    no_retained: bool,
    /// Print only retained messages
    #[arg(long, conflicts_with = "no_retained")]
    retained_only: bool,
    /// Keep the retain flag as it was published (MQTT 5)
    #[arg(long)]
    retain_as_published: bool,
    /// Print no line end after a message
    #[arg(short = 'N')]
    no_newline: bool,
    /// Leave as soon as the server has granted the subscription, to prepare a session (-c)
    #[arg(short = 'E')]
    exit_once_subscribed: bool,
    /// Print one JSON object per message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    protocol: ProtocolArgs,
}

const EXAMPLES: &str = "
    hubbub sub -t 'sensors/#' -v
    hubbub sub -u bob -i bob-phone -c -q 1 -t u/bob/inbox
    hubbub sub -t p/alice -C 1 -W 5 --json
    hubbub sub -h chat.example.org --cafile ca.pem -u bob -t 'c/+/msg'";

/// Subscribes until told to stop, or until count or time are reached.
pub fn run(args: SubArgs) -> anyhow::Result<()> {
    for filter in &args.topics {
        check_filter(filter).map_err(Failure::usage)?;
    }
    args.protocol.refuse_properties_of(Packet::Publish)?;
    let mut options = args.connect.options("sub")?;
    args.protocol.apply(&args.connect, &mut options)?;
    let subscription = Subscription {
        filters: args.topics.clone(),
        qos: args.qos,
        retain_as_published: args.retain_as_published,
        no_retained: args.no_retained,
        properties: properties::for_subscribe(&args.protocol.properties),
    };
    let limit = args.timeout.map(Duration::from_secs);
    let mut subscriber = Subscriber {
        connection: Connection::new(options, Some(subscription), args.connect.retry()),
        style: Style { verbose: args.verbose, newline: !args.no_newline, json: args.json },
        left: args.count,
        args,
    };
    client::run(async move {
        let ended = subscriber.print_all(limit).await;
        subscriber.connection.close().await;
        ended
    })?
}

struct Subscriber {
    connection: Connection,
    style: Style,
    left: Option<u64>,
    args: SubArgs,
}

impl Subscriber {
    async fn print_all(&mut self, limit: Option<Duration>) -> anyhow::Result<()> {
        let mut shutdown = Shutdown::listen()?;
        let mut timeout = std::pin::pin!(client::time_limit(limit));
        loop {
            let event = tokio::select! {
                event = self.connection.next() => event?,
                () = &mut timeout => return Err(client::timed_out().into()),
                () = shutdown.wanted() => return Ok(()),
            };
            client::announce(&event);
            match event {
                Event::Subscribed(grants) => {
                    client::check_granted(&grants)?;
                    if self.args.exit_once_subscribed {
                        return Ok(());
                    }
                }
                Event::Message(message) => {
                    self.take(&message)?;
                    if self.left == Some(0) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    /// Prints, then acknowledges: what was not seen is not gone.
    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        let hidden =
            (self.args.no_retained && message.retain) || (self.args.retained_only && !message.retain);
        if !hidden {
            self.style.print(&mut std::io::stdout().lock(), message, now_ms())?;
            self.left = self.left.map(|left| left - 1);
        }
        self.connection.acknowledge(message);
        Ok(())
    }
}
