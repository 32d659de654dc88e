//! What a conversation looks like: a line per event for people, an object per event for machines.

use crate::client::{Message, Receipt, Refusal};
use crate::conversation::Envelope;
use crate::people::presence_line;
use crate::print::print_json;
use serde_json::{Value, json};
use std::io::{self, Write};

/// A line that was typed.
pub(super) struct Line {
    /// Our own name for it, which makes sending it again harmless.
    pub(super) cmid: String,
    pub(super) text: String,
}

/// The screen of a conversation.
pub(super) struct Screen {
    peer: String,
    json: bool,
    /// State and status text that were shown last.
    presence: Option<Value>,
}

impl Screen {
    pub(super) fn new(peer: &str, json: bool) -> Screen {
        Screen { peer: peer.to_owned(), json, presence: None }
    }

    /// A message of this conversation.
    pub(super) fn message(&self, envelope: &Envelope, earlier: bool) -> io::Result<()> {
        let line = if earlier { envelope.dated_line() } else { envelope.line() };
        self.print(&line, || json!({ "event": "message", "earlier": earlier, "message": envelope.json() }))
    }

    /// A hint that somebody wrote in another conversation.
    pub(super) fn elsewhere(&self, envelope: &Envelope) -> io::Result<()> {
        let line = format!("({} wrote in {})", envelope.from(), envelope.cid());
        self.print(&line, || json!({ "event": "elsewhere", "cid": envelope.cid(), "from": envelope.from() }))
    }

    /// The presence of the other person, when there is something new in it.
    pub(super) fn presence(&mut self, message: &Message) -> io::Result<()> {
        let Ok(presence) = serde_json::from_slice::<Value>(&message.payload) else { return Ok(()) };
        let news = json!([presence["state"], presence["status"]]);
        if self.presence.as_ref() == Some(&news) {
            return Ok(());
        }
        self.presence = Some(news);
        let line = format!("— {}", presence_line(&self.peer, &presence));
        self.print(&line, || json!({ "event": "presence", "presence": presence }))
    }

    /// The server has stored a line.
    pub(super) fn stored(&self, line: &Line, receipt: &Receipt) -> io::Result<()> {
        let seq = receipt.get("seq").map(|seq| format!("#{seq} ")).unwrap_or_default();
        let number = |name: &str| receipt.get(name).and_then(|value| value.parse::<u64>().ok());
        self.print(&format!("✓ {seq}{}", line.text), || {
            let (mid, dup) = (receipt.get("mid"), receipt.get("dup").is_some());
            json!({ "event": "stored", "cmid": line.cmid, "seq": number("seq"), "mid": mid, "ts": number("ts"), "dup": dup })
        })
    }

    /// The server will not have a line.
    pub(super) fn refused(&self, line: &Line, refusal: &Refusal) -> io::Result<()> {
        self.print(&format!("✗ {} ({refusal})", line.text), || {
            json!({ "event": "refused", "cmid": line.cmid, "body": line.text, "error": refusal.to_string() })
        })
    }

    fn print(&self, line: &str, object: impl FnOnce() -> Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.json {
            true => print_json(&mut out, &object()),
            false => {
                writeln!(out, "{line}")?;
                out.flush()
            }
        }
    }
}
