//! `hubbub chat`: a conversation at the terminal.

mod screen;

use crate::args::ConnectArgs;
use crate::client::message::PublishProperties;
use crate::client::options::Session;
use crate::client::{
    self, Connection, Draft, Event, Key, Message, Qos, Receipt, Refusal, Shutdown, Subscription,
};
use crate::conversation::{Envelope, HistoryCall, Transcript, check_name, direct};
use crate::exit::{Exit, Failure, help_tail};
use anyhow::Context;
use clap::Args;
use screen::{Line, Screen};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

/// A conversation with one person: lines typed are sent, lines received are printed.
///
/// A ✓ with the number of the message says that the server has stored it. Lines that were not stored when the connection broke are sent
/// again, once, when it is back. Works in a pipe too: at the end of the input it waits for the last ✓ and leaves.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct ChatArgs {
    /// The other person
    peer: String,
    /// Earlier messages to show at the beginning
    #[arg(long, default_value_t = 20)]
    history: u32,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const EXAMPLES: &str = "
    hubbub chat -u alice bob
    echo 'the build is green' | hubbub chat -u ci alice
    hubbub chat -u alice --json bob < /dev/null";

/// How long the conversation waits for its earlier messages.
const HISTORY_LIMIT: Duration = Duration::from_secs(3);
/// How long the server keeps what arrives while the connection is broken, in seconds.
const SESSION_EXPIRY_SECONDS: u32 = 300;
/// Earlier messages asked for after a broken connection.
const CATCH_UP: u32 = 100;

/// Talks until the end of the input, or until told to stop.
pub fn run(args: ChatArgs) -> anyhow::Result<()> {
    let me = args.connect.me()?.to_owned();
    check_name(&me)?;
    check_name(&args.peer)?;
    let mut options = args.connect.options("chat")?;
    options.session = Session::Resume;
    options.properties.session_expiry_interval = Some(SESSION_EXPIRY_SECONDS);
    let call = HistoryCall::new(&me);
    let filters = vec![format!("u/{me}/inbox"), format!("p/{}", args.peer), call.reply_topic().to_owned()];
    let subscription = Subscription::to(filters, Qos::AtLeastOnce);
    let mut chat = Chat {
        connection: Connection::new(options, Some(subscription), args.connect.retry()),
        cid: direct(&me, &args.peer),
        call,
        screen: Screen::new(&args.peer, args.json),
        transcript: Transcript::default(),
        unstored: HashMap::new(),
        catching_up: Some(CatchUp { limit: args.history, early: Vec::new(), until: None }),
        refused: None,
        args,
    };
    client::run(async move {
        let ended = chat.talk().await;
        chat.connection.close().await;
        ended
    })?
}

struct Chat {
    args: ChatArgs,
    connection: Connection,
    cid: String,
    call: HistoryCall,
    screen: Screen,
    transcript: Transcript,
    unstored: HashMap<Key, Line>,
    catching_up: Option<CatchUp>,
    refused: Option<Failure>,
}

/// Earlier messages are on their way; what comes in meanwhile waits for them.
struct CatchUp {
    limit: u32,
    early: Vec<Envelope>,
    until: Option<Instant>,
}

impl Chat {
    async fn talk(&mut self) -> anyhow::Result<()> {
        let mut shutdown = Shutdown::listen()?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut typing = true;
        while typing || self.catching_up.is_some() || self.connection.unanswered() > 0 {
            let patience = self.catching_up.as_ref().and_then(|catch_up| catch_up.until);
            let listening = typing && self.catching_up.is_none() && self.connection.has_room();
            tokio::select! {
                event = self.connection.next() => self.hear(event.map_err(|failure| self.with_unsent(failure))?)?,
                line = lines.next_line(), if listening => match line.context("standard input")? {
                    Some(line) => self.say(line.trim_end()),
                    None => typing = false,
                },
                () = until(patience) => self.caught_up(Vec::new())?,
                () = shutdown.wanted() => break,
            }
        }
        let unsent = self.unstored.len();
        match self.refused.take() {
            Some(failure) => Err(failure.into()),
            None if unsent > 0 => Err(self.with_unsent(Failure::new(Exit::Failed, "interrupted")).into()),
            None => Ok(()),
        }
    }

    fn say(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let cmid = ulid::Ulid::new().to_string();
        self.transcript.typed(&cmid);
        let key = self.connection.publish(Draft {
            topic: format!("dm/{}", self.args.peer),
            payload: text.to_owned().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: PublishProperties {
                payload_format_indicator: Some(1),
                user_properties: vec![("cmid".to_owned(), cmid.clone())],
                ..PublishProperties::default()
            },
        });
        self.unstored.insert(key, Line { cmid, text: text.to_owned() });
    }

    fn hear(&mut self, event: Event) -> anyhow::Result<()> {
        client::announce(&event);
        match event {
            Event::Up => {
                let catch_up = self.catching_up.get_or_insert(CatchUp {
                    limit: CATCH_UP,
                    early: Vec::new(),
                    until: None,
                });
                catch_up.until = Some(Instant::now() + HISTORY_LIMIT);
            }
            Event::Down(..) => {}
            Event::Subscribed(grants) => {
                client::check_granted(&grants)?;
                self.ask_for_history()?;
            }
            Event::Settled(key, answer) => self.settled(key, answer)?,
            Event::Message(message) => {
                self.take(&message)?;
                self.connection.acknowledge(&message);
            }
        }
        Ok(())
    }

    fn ask_for_history(&mut self) -> anyhow::Result<()> {
        match self.catching_up.as_ref().map(|catch_up| catch_up.limit) {
            Some(0) => Ok(self.caught_up(Vec::new())?),
            Some(limit) => {
                self.connection.publish(self.call.request(&self.cid, None, limit));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn settled(&mut self, key: Key, answer: Result<Receipt, Refusal>) -> anyhow::Result<()> {
        match (self.unstored.remove(&key), answer) {
            (Some(line), Ok(receipt)) => self.screen.stored(&line, &receipt)?,
            (Some(line), Err(refusal)) => {
                self.screen.refused(&line, &refusal)?;
                self.refused = Some(client::refused("not everything was sent", &refusal));
            }
            (None, Ok(_)) => {}
            (None, Err(refusal)) => {
                eprintln!("hubbub: no history: {refusal}");
                self.caught_up(Vec::new())?;
            }
        }
        Ok(())
    }

    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        if let Some(answer) = self.call.answer(message) {
            let page = answer.map(|page| page.messages).unwrap_or_else(|failure| {
                eprintln!("hubbub: {failure}");
                Vec::new()
            });
            return Ok(self.caught_up(page)?);
        }
        if message.topic.starts_with("p/") {
            return Ok(self.screen.presence(message)?);
        }
        let Some(envelope) = Envelope::parse(&message.payload) else { return Ok(()) };
        match &mut self.catching_up {
            _ if envelope.cid() != self.cid => Ok(self.screen.elsewhere(&envelope)?),
            Some(catch_up) => {
                catch_up.early.push(envelope);
                Ok(())
            }
            None => Ok(self.print_message(&envelope, false)?),
        }
    }

    /// Earlier messages first, then those that came in meanwhile.
    fn caught_up(&mut self, page: Vec<Envelope>) -> io::Result<()> {
        let Some(catch_up) = self.catching_up.take() else { return Ok(()) };
        for envelope in &page {
            self.print_message(envelope, true)?;
        }
        for envelope in &catch_up.early {
            self.print_message(envelope, false)?;
        }
        Ok(())
    }

    fn print_message(&mut self, envelope: &Envelope, earlier: bool) -> io::Result<()> {
        match self.transcript.is_new(envelope) {
            true => self.screen.message(envelope, earlier),
            false => Ok(()),
        }
    }

    fn with_unsent(&self, failure: Failure) -> Failure {
        match self.unstored.len() {
            0 => failure,
            1 => Failure::new(failure.exit, format!("{failure}; one line was not confirmed")),
            count => Failure::new(failure.exit, format!("{failure}; {count} lines were not confirmed")),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
