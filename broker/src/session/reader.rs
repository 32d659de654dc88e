//! Stored messages on their way to one client: a cursor, and a page that is filled from the store when it runs dry.
//!
//! New messages are pushed by the bridge as they are committed. As long as they arrive in sequence they are taken as
//! they come; whatever does not fit or was lost on the way is read from the store later. So memory is bounded by
//! [`BUFFERED`] and [`BUFFERED_BYTES`], whatever waits on disk.

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

use super::outbound::Entry;
use super::{Command, Wire};
use crate::codec::QoS;
use crate::lane::Source;

/// Entries that a reader holds in memory; also the size of a page.
pub const BUFFERED: usize = 64;

/// Payload bytes beyond which a reader holds no further entry.
const BUFFERED_BYTES: usize = 1024 * 1024;

/// Packet identifiers that queue entries share: 1 to 32,767.
const QUEUE_IDS: u64 = 0x7fff;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) qos: QoS,
    /// Tells it from the readers before it: a page that was asked for by one of those is not for this one.
    pub(super) number: u32,
    source: Source,
    /// The next position that is not in the buffer yet; 0 until the first page has told where to begin.
    expected: u64,
    pub(super) buffered: VecDeque<Entry>,
    buffered_bytes: usize,
    /// Subscription identifiers of whatever comes out of an inbox; entries of a queue bring their own.
    pub(super) ids: SmallVec<[u32; 1]>,
    /// Positions handed out, and whether they were taken. One that was is forgotten when all before it are taken too and
    /// no page is on its way that was read while it was still there.
    handed_out: BTreeMap<u64, bool>,
    /// Up to where nothing is missing, as far as the bridge has heard.
    told: u64,
    fetching: bool,
    more: bool,
}

impl Reader {
    /// The bridge is sending the first page. `in_flight` are positions that an earlier connection left unacknowledged.
    pub(super) fn new(source: Source, qos: QoS, number: u32, in_flight: impl Iterator<Item = u64>) -> Reader {
        let handed_out =
            in_flight.filter(|position| *position > 0).map(|position| (position, false)).collect();
        Reader {
            qos,
            number,
            source,
            expected: 0,
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            ids: SmallVec::new(),
            handed_out,
            told: 0,
            fetching: true,
            more: false,
        }
    }

    pub(super) fn entry(&mut self, entry: Entry, fetched: bool) {
        if entry.position < self.expected {
            return;
        }
        // A page of an inbox brings what was taken as well, if it was in flight when the reader began.
        let known = entry.position <= self.told || self.handed_out.contains_key(&entry.position);
        // A page may skip what was trimmed; a push must follow on what is there.
        let follows = fetched || (!self.fetching && !self.more && entry.position == self.expected);
        // A page is bounded by who reads it from the store.
        let full = self.buffered.len() >= 2 * BUFFERED || (!fetched && self.buffered_bytes >= BUFFERED_BYTES);
        if !follows || full {
            self.more = true;
            return;
        }
        self.expected = entry.position.saturating_add(1);
        if !known {
            let qos = entry.qos.min(self.qos);
            self.buffered_bytes += entry.message.payload.len();
            self.buffered.push_back(Entry { qos, ..entry });
        }
    }

    pub(super) fn page(&mut self, next: u64, more: bool) {
        self.fetching = false;
        // What was pushed meanwhile and did not follow has set `more` already.
        self.more |= more;
        self.expected = self.expected.max(next);
        self.forget_taken();
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
        self.buffered_bytes = self.buffered_bytes.saturating_sub(entry.message.payload.len());
        // At QoS 0 nothing will be acknowledged.
        if entry.qos != QoS::AtMostOnce {
            self.handed_out.insert(entry.position, false);
        }
        Some(entry)
    }

    /// The packet identifier of the entry in front; none while an entry that has the same is still on its way.
    pub(super) fn packet_id(&self) -> Option<u16> {
        let position = self.buffered.front()?.position;
        let oldest = self.handed_out.first_key_value().map_or(position, |(oldest, _)| position.min(*oldest));
        let newest = self.handed_out.last_key_value().map_or(position, |(newest, _)| position.max(*newest));
        (newest - oldest < QUEUE_IDS).then_some((position % QUEUE_IDS + 1) as u16)
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
        if let Some(taken) = self.handed_out.get_mut(&position) {
            *taken = true;
        }
        let (upto, _) = self.handed_out.iter().take_while(|(_, taken)| **taken).last()?;
        let moved = (*upto > self.told).then_some(*upto);
        self.told = self.told.max(*upto);
        self.forget_taken();
        moved
    }

    fn forget_taken(&mut self) {
        while let (false, Some(first)) = (self.fetching, self.handed_out.first_entry())
            && *first.get()
        {
            first.remove();
        }
    }

    pub(super) fn want_more(&mut self, wire: &mut Wire<'_>) {
        let has_room = self.buffered.len() < BUFFERED / 2 && self.buffered_bytes < BUFFERED_BYTES / 2;
        if self.more && !self.fetching && has_room {
            (self.fetching, self.more) = (true, false);
            wire.commands.push(Command::Fetch { source: self.source, from: self.expected });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Message;
    use crate::outbuffer::OutBuffer;

    fn entry(position: u64) -> Entry {
        let message = Arc::new(Message::default());
        Entry { position, message, qos: QoS::AtLeastOnce, retain: false, ids: SmallVec::new() }
    }

    fn taken(reader: &mut Reader, position: u64) -> Vec<Command> {
        let (mut out, mut commands) = (OutBuffer::default(), Vec::new());
        reader.taken(position, &mut Wire { out: &mut out, commands: &mut commands });
        commands
    }

    #[test]
    fn an_entry_acknowledged_while_its_page_was_on_the_way_is_not_sent_again() {
        let mut reader = Reader::new(Source::Queue, QoS::ExactlyOnce, 1, [1, 2].into_iter());
        taken(&mut reader, 1);
        for position in 1..=3 {
            reader.entry(entry(position), true);
        }
        reader.page(4, false);
        assert_eq!((reader.take().map(|entry| entry.position), reader.take()), (Some(3), None));
    }

    #[test]
    fn an_entry_acknowledged_between_two_pages_is_not_sent_again() {
        let mut reader = Reader::new(Source::Inbox, QoS::AtMostOnce, 1, 1..=3);
        reader.entry(entry(1), true);
        reader.page(2, true);
        for position in 1..=3 {
            taken(&mut reader, position);
        }
        for position in 2..=4 {
            reader.entry(entry(position), true);
        }
        reader.page(5, false);
        assert_eq!((reader.take().map(|entry| entry.position), reader.take()), (Some(4), None));
    }

    #[test]
    fn large_entries_wait_on_disk() {
        let mut reader = Reader::new(Source::Queue, QoS::ExactlyOnce, 1, [].into_iter());
        let large = |position| Entry {
            message: Arc::new(Message { payload: vec![0; 400_000].into(), ..Message::default() }),
            ..entry(position)
        };
        reader.page(1, false);
        (1..=9).for_each(|position| reader.entry(large(position), false));
        let (mut out, mut commands) = (OutBuffer::default(), Vec::new());
        let fetched = |reader: &mut Reader, commands: &mut Vec<Command>, out: &mut OutBuffer| {
            reader.want_more(&mut Wire { out, commands });
            std::mem::take(commands)
        };
        assert_eq!(fetched(&mut reader, &mut commands, &mut out), [], "there are enough");
        let taken: Vec<_> = std::iter::from_fn(|| reader.take()).map(|entry| entry.position).collect();
        assert_eq!(taken, [1, 2, 3]);
        let next = Command::Fetch { source: Source::Queue, from: 4 };
        assert_eq!(fetched(&mut reader, &mut commands, &mut out), [next]);
    }

    #[test]
    fn an_inbox_cursor_does_not_pass_an_older_entry_that_was_handed_out_later() {
        let mut reader = Reader::new(Source::Inbox, QoS::AtLeastOnce, 1, [1, 3].into_iter());
        for position in 1..=3 {
            reader.entry(entry(position), true);
        }
        reader.page(4, false);
        assert_eq!(reader.take().map(|entry| entry.position), Some(2));
        let upto = |position| vec![Command::Taken { source: Source::Inbox, position }];
        assert_eq!(taken(&mut reader, 1), upto(1));
        assert_eq!(taken(&mut reader, 3), []);
        assert_eq!(taken(&mut reader, 2), upto(3));
    }
}
