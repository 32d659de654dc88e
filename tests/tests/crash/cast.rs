//! Who publishes what to whom.

use hubbub_tests::{Connect, Version};

use crate::device::{Device, Stream};

/// Everybody of one story.
pub struct Cast {
    /// There in every round.
    pub present: Vec<Device>,
    /// Persistent sessions that come at the beginning and at the end only.
    pub away: Vec<Device>,
}

/// Topics of the retained stream.
pub const RETAINED: &str = "state/now";

/// Topic of the last message for everybody who subscribed to `feed/#`.
pub const END: &str = "feed/end";

/// The people. `ballast` is added to each payload of ordinary topics.
pub fn cast(seed: u64, ballast: usize) -> Cast {
    let five = |user: &str, client: &str| Device::new(Connect::new(Version::V5, client).user(user), seed);
    let old = |user: &str, client: &str| Device::new(Connect::new(Version::V311, client).user(user), seed);
    let present = vec![
        five("ann", "ann-phone").reads_inbox().publishes(&[
            chat("ann>ben:1", "ben", 1).with_cmid(),
            chat("ann>ben:2", "ben", 2),
            chat("ann>zoe:1", "zoe", 1).with_cmid(),
        ]),
        five("ben", "ben-phone")
            .reads_inbox()
            .publishes(&[chat("ben>ann:2", "ann", 2), chat("ben>ann:1", "ann", 1)]),
        five("ann", "ann-tablet").reads_inbox(),
        old("ben", "ben-tablet").reads_inbox().coming_and_going(),
        old("cid", "cid-old").reads_inbox().publishes(&[chat("cid>ann:2", "ann", 2), feed("cid:2", 2)]),
        five("feeder", "feeder").publishes(&[feed("feed:1", 1), feed("feed:2", 2)]).with_ballast(ballast),
        five("keeper", "keeper").publishes(&[Stream { retain: true, ..stream("now", RETAINED, 1) }]),
        five("reader", "reader-five").reads("feed/#", 2),
        old("reader", "reader-old").reads("feed/#", 1).coming_and_going(),
        old("reader", "reader-restless").reads("feed/+", 2).coming_and_going(),
    ];
    let away = vec![five("zoe", "zoe-phone").reads_inbox(), old("reader", "reader-away").reads("feed/#", 2)];
    Cast { present, away }
}

impl Cast {
    /// Everybody.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Device> {
        self.present.iter_mut().chain(&mut self.away)
    }
}

impl Device {
    fn reads_inbox(self) -> Device {
        let filter = format!("u/{}/inbox", self.user());
        self.reads(&filter, 1)
    }

    fn reads(mut self, filter: &str, qos: u8) -> Device {
        self.subscriptions.push((filter.to_owned(), qos));
        self
    }

    fn publishes(mut self, streams: &[Stream]) -> Device {
        self.streams.extend_from_slice(streams);
        self
    }

    fn coming_and_going(mut self) -> Device {
        self.restless = true;
        self
    }

    fn with_ballast(mut self, bytes: usize) -> Device {
        self.ballast = bytes;
        self
    }

    /// The user name.
    pub fn user(&self) -> &str {
        self.connect.user.as_deref().unwrap_or_default()
    }

    /// Whether it reads the inbox of its user.
    pub fn has_inbox(&self) -> bool {
        self.subscriptions.iter().any(|(filter, _)| filter.starts_with("u/"))
    }

    /// Whether it reads the ordinary topics.
    pub fn has_feed(&self) -> bool {
        self.subscriptions.iter().any(|(filter, _)| filter.starts_with("feed/"))
    }
}

fn stream(name: &str, topic: &str, qos: u8) -> Stream {
    Stream {
        name: name.to_owned(),
        topic: topic.to_owned(),
        qos,
        retain: false,
        cmid: false,
        sent: 0,
        acknowledged: Default::default(),
    }
}

fn chat(name: &str, peer: &str, qos: u8) -> Stream {
    stream(name, &format!("dm/{peer}"), qos)
}

fn feed(name: &str, qos: u8) -> Stream {
    stream(name, &format!("feed/{}", name.replace(':', "-")), qos)
}

impl Stream {
    fn with_cmid(mut self) -> Stream {
        self.cmid = true;
        self
    }
}
