//! Stored messages on their way to one client: a cursor, and a page that is filled from the store when it runs dry.
//!
//! New messages are pushed by the bridge as they are committed. As long as they arrive in sequence they are taken as
//! they come; whatever does not fit or was lost on the way is read from the store later. So memory is bounded by
//! [`BUFFERED`], whatever waits on disk.

use std::collections::VecDeque;

use super::outbound::Entry;
use super::{Command, Wire};
use crate::codec::QoS;
use crate::lane::Source;

/// Entries that a reader holds in memory; also the size of a page.
pub const BUFFERED: usize = 64;

/// Packet identifiers that queue entries share: 1 to 32,767.
const QUEUE_IDS: u64 = 0x7fff;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) qos: QoS,
    source: Source,
    /// The next position that is not in the buffer yet; 0 until the first page has told where to begin.
    expected: u64,
    buffered: VecDeque<Entry>,
    /// Positions handed out and not taken yet, in order, with those taken out of turn marked.
    handed_out: VecDeque<(u64, bool)>,
    fetching: bool,
    more: bool,
}

impl Reader {
    /// The bridge is sending the first page. `in_flight` are positions that an earlier connection left unacknowledged.
    pub(super) fn new(source: Source, qos: QoS, mut in_flight: VecDeque<u64>) -> Reader {
        in_flight.make_contiguous().sort_unstable();
        let handed_out = in_flight.into_iter().filter(|position| *position > 0).map(|position| (position, false)).collect();
        Reader { qos, source, expected: 0, buffered: VecDeque::new(), handed_out, fetching: true, more: false }
    }

    pub(super) fn entry(&mut self, entry: Entry, fetched: bool) {
        if entry.position < self.expected {
            return;
        }
        // A page may skip what was trimmed; a push must follow on what is there.
        let follows = fetched || (!self.fetching && !self.more && entry.position == self.expected);
        if !follows || self.buffered.len() >= 2 * BUFFERED {
            self.more = true;
            return;
        }
        self.expected = entry.position + 1;
        if !self.handed_out.iter().any(|(position, _)| *position == entry.position) {
            let qos = entry.qos.min(self.qos);
            self.buffered.push_back(Entry { qos, ..entry });
        }
    }

    pub(super) fn page(&mut self, next: u64, more: bool) {
        self.fetching = false;
        // What was pushed meanwhile and did not follow has set `more` already.
        self.more |= more;
        self.expected = self.expected.max(next);
    }

    pub(super) fn behind(&mut self) {
        self.fetching = false;
        self.more = true;
    }

    pub(super) fn peek(&self) -> Option<&Entry> {
        self.buffered.front()
    }

    /// Takes the entry in front for sending.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.buffered.pop_front()?;
        // At QoS 0 nothing will be acknowledged.
        if entry.qos != QoS::AtMostOnce {
            self.handed_out.push_back((entry.position, false));
        }
        Some(entry)
    }

    /// The packet identifier of the entry in front; none while an entry that has the same is still on its way.
    pub(super) fn packet_id(&self) -> Option<u16> {
        let position = self.buffered.front()?.position;
        let oldest = self.handed_out.front().map_or(position, |(position, _)| *position);
        (position - oldest < QUEUE_IDS).then_some((position % QUEUE_IDS + 1) as u16)
    }

    /// An entry is done with: the bridge hears of it, for an inbox up to where nothing is missing.
    pub(super) fn taken(&mut self, position: u64, wire: &mut Wire<'_>) {
        if self.source == Source::Queue {
            self.free(position);
            return wire.commands.push(Command::Taken { source: self.source, position });
        }
        if let Some(upto) = self.mark(position) {
            wire.commands.push(Command::Taken { source: self.source, position: upto });
        }
    }

    /// An entry is done with, and the bridge knows.
    pub(super) fn free(&mut self, position: u64) {
        self.mark(position);
    }

    /// Marks a position and gives back up to where nothing is missing, if that moved.
    fn mark(&mut self, position: u64) -> Option<u64> {
        if let Some(entry) = self.handed_out.iter_mut().find(|(p, _)| *p == position) {
            entry.1 = true;
        }
        let mut upto = None;
        while let Some(&(position, true)) = self.handed_out.front() {
            upto = Some(position);
            self.handed_out.pop_front();
        }
        upto
    }

    pub(super) fn want_more(&mut self, wire: &mut Wire<'_>) {
        if self.more && !self.fetching && self.buffered.len() < BUFFERED / 2 {
            (self.fetching, self.more) = (true, false);
            wire.commands.push(Command::Fetch { source: self.source, from: self.expected });
        }
    }
}
