//! Conversations: who sends which bytes, and what they hear.
//!
//! One line for each step, `#` begins a comment, `%` is a number that no other conversation has:
//!
//! | step | means |
//! |---|---|
//! | `a > BYTES` | a sends this; see [`crate::notation`] |
//! | `a < BYTES` | the next packet for a is exactly this |
//! | `a connects` | CONNECT with clean start, without anything; client id `a%` |
//! | `a persists` | CONNECT with a session of an hour; the server has none yet |
//! | `a resumes` | the same; the server has one |
//! | `a subscribes <t> 01` | SUBSCRIBE, granted as asked for |
//! | `a quiet` | nothing came for a before the answer to a PINGREQ |
//! | `a ends 82` | a hears a DISCONNECT with this code in MQTT 5, nothing in 3.x, then the end |
//! | `a refused 81` | a hears a CONNACK with this code in MQTT 5, nothing in 3.x, then the end |
//! | `a closed` | the connection ends without another byte |
//! | `a gone` | a closes the connection without a word |
//!
//! A name may say what it speaks and how: `a@311`, `a@5`, `a@ws`, `a@tls`, `a@wss`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Authority, Hub, Settings, Version};

use crate::line::Line;
use crate::notation::{self, Ids};

/// 3.1 and 3.1.1.
pub const THREE: &[Version] = &[Version::V31, Version::V311];

/// 3.1.1 and 5: what 3.1 leaves open.
pub const SINCE_311: &[Version] = &[Version::V311, Version::V5];

/// A conversation that goes on.
pub struct Talk {
    hub: Arc<Hub>,
    version: Version,
    number: u32,
    lines: HashMap<String, Line>,
    ids: Ids,
}

/// The conversation in MQTT 5.
pub fn five(script: &str) {
    versions(&[Version::V5], script);
}

/// The conversation in each version.
pub fn all(script: &str) {
    versions(&VERSIONS, script);
}

/// The conversation in each of these versions.
pub fn versions(versions: &[Version], script: &str) {
    for version in versions {
        Talk::new(*version).goes(script);
    }
}

impl Talk {
    /// A new conversation with the hub that all of them share.
    pub fn new(version: Version) -> Talk {
        Talk::with(hub(), version)
    }

    /// A new conversation with this hub.
    pub fn with(hub: Arc<Hub>, version: Version) -> Talk {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        Talk { hub, version, number, lines: HashMap::new(), ids: Ids::new() }
    }

    /// Goes through these steps.
    pub fn goes(&mut self, script: &str) -> &mut Talk {
        let script = script.replace('%', &format!("n{}", self.number));
        let steps = script.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
        for step in steps.filter(|step| !step.is_empty() && !step.starts_with('#')) {
            let (who, what) = step.split_once(' ').unwrap_or_else(|| panic!("no step: {step}"));
            self.step(who, what.trim());
        }
        self
    }

    /// The number that stands for `%`.
    pub fn mark(&self) -> String {
        format!("n{}", self.number)
    }

    /// What this name holds on to.
    pub fn line(&mut self, who: &str) -> &mut Line {
        let hub = self.hub.clone();
        let how = who.split_once('@').map(|(_, how)| how);
        self.lines.entry(who.into()).or_insert_with(|| match how {
            Some("ws") => Line::websocket(&hub),
            Some("tls") => Line::tls(&hub),
            Some("wss") => Line::wss(&hub),
            _ => Line::tcp(&hub),
        })
    }

    fn step(&mut self, who: &str, what: &str) {
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        match verb {
            ">" => self.says(who, rest),
            "<" => self.hears(who, rest),
            "connects" => self.comes(who, "CONNECT 02 0000 {}", "00"),
            "persists" => self.comes(who, "CONNECT 00 0000 {11 00000e10}", "00"),
            // 3.1 has no flag for it.
            "resumes" if version_of(who, self.version) == Version::V31 => {
                self.comes(who, "CONNECT 00 0000", "00");
            }
            "resumes" => self.comes(who, "CONNECT 00 0000 {11 00000e10}", "01"),
            "subscribes" => {
                let grant = rest.rsplit(' ').next().unwrap_or_default();
                self.says(who, &format!("82 ~ 7f01 {{}} {rest}"));
                self.hears(who, &format!("90 ~ 7f01 {{}} {grant}"));
            }
            "quiet" => {
                self.says(who, "c0 00");
                self.hears(who, "d0 00");
            }
            "ends" => self.ends(who, &format!("e0 ~ {rest} {{*}}")),
            "refused" => self.ends(who, &format!("20 ~ 00 {rest} {{*}}")),
            "closed" => {
                let rest = self.line(who).rest();
                assert!(rest.is_empty(), "{:?}, {who} {what}: {rest:02x?}", self.version);
                self.lines.remove(who);
            }
            "gone" => drop(self.lines.remove(who)),
            _ => panic!("no step: {who} {what}"),
        }
    }

    fn says(&mut self, who: &str, text: &str) {
        let bytes = notation::bytes(text, version_of(who, self.version), &self.ids);
        self.line(who).sends(&bytes);
    }

    fn hears(&mut self, who: &str, text: &str) {
        let packet = self.line(who).packet();
        let version = version_of(who, self.version);
        let as_expected = notation::matches(text, version, &packet, &mut self.ids);
        assert!(as_expected, "{version:?}: {who} expects {text}, hears {packet:02x?}");
    }

    fn comes(&mut self, who: &str, connect: &str, present: &str) {
        let name = who.split('@').next().unwrap_or(who);
        self.says(who, &format!("{connect} <{name}n{}>", self.number));
        self.hears(who, &format!("20 ~ {present} 00 {{*}}"));
    }

    /// The end, after this packet in MQTT 5.
    fn ends(&mut self, who: &str, packet: &str) {
        if version_of(who, self.version) == Version::V5 {
            self.hears(who, packet);
        }
        self.step(who, "closed");
    }
}

fn version_of(who: &str, version: Version) -> Version {
    match who.split_once('@').map(|(_, how)| how) {
        Some("31") => Version::V31,
        Some("311") => Version::V311,
        Some("5") => Version::V5,
        _ => version,
    }
}

/// The hub of all conversations: one process as long as any of them goes on.
pub fn hub() -> Arc<Hub> {
    static HUB: Mutex<Weak<Hub>> = Mutex::new(Weak::new());
    let mut shared = HUB.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let authority = Authority::new();
        let settings = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]);
        let hub = Arc::new(settings.set("store.engine", "memory").start());
        *shared = Arc::downgrade(&hub);
        hub
    })
}
