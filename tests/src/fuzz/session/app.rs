//! The application behind the client: what a person would have seen.

use std::collections::{BTreeMap, HashSet};

use super::parcel;
use crate::wire::Publish;

/// Messages by their numbers.
#[derive(Debug, Default)]
pub(super) struct App {
    /// QoS 2 packet identifiers from PUBLISH to PUBREL.
    unreleased: BTreeMap<u16, u32>,
    got: HashSet<u32>,
    /// What the client refused, or acknowledged in a way that the specification does not know.
    excused: HashSet<u32>,
}

impl App {
    /// The client has read a PUBLISH.
    pub fn gets(&mut self, publish: &Publish) {
        let number = parcel::number(&publish.payload);
        if publish.qos < 2 {
            self.got.insert(number);
        } else if let Some(known) = self.unreleased.insert(publish.id, number) {
            assert_eq!(known, number, "a new message looks like a repeat");
        } else {
            let first = self.got.insert(number) || self.excused.contains(&number);
            assert!(first, "{number} came twice at QoS 2");
        }
    }

    /// PUBREL: the packet identifier may be used for another message.
    pub fn is_released(&mut self, packet_id: u16) {
        self.unreleased.remove(&packet_id);
    }

    /// Nothing is promised any more about this message.
    pub fn excuses(&mut self, number: u32) {
        self.excused.insert(number);
    }

    /// Whether it came, or the client has only itself to blame.
    pub fn got(&self, number: u32) -> bool {
        self.got.contains(&number) || self.excused.contains(&number)
    }

    /// The server will not finish this one.
    pub fn goes_without(&mut self, number: u32) {
        self.unreleased.retain(|_, known| *known != number);
    }

    /// The server will not finish what has a packet identifier from here on.
    pub fn forget_from(&mut self, first: u16) {
        self.unreleased.retain(|packet_id, _| *packet_id < first);
    }

    /// What is left when the session is over.
    pub fn forgotten(self) -> App {
        App { excused: self.excused, ..App::default() }
    }
}
