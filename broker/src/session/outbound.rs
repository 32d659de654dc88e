//! Deliveries to the client: the window of QoS 1 and 2 messages in flight, what waits behind it, and stored messages.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::aliases::Aliases;
use super::fanout::{Copy, Fanout, shape};
use super::reader::Reader;
use super::{Command, Delivery, SessionLimits, Wire};
use crate::clock::Millis;
use crate::codec::encode::{self, AckKind, AckNotes, Shape};
use crate::codec::{QoS, Version};
use crate::lane::Source;
use crate::message::Message;
use crate::share::Search;

/// Packet identifiers of queue entries follow from their position, so they are the same after a crash; all other
/// messages take the upper half.
const FIRST_FREE_ID: u16 = 0x8000;

/// Where a message was stored of which only the packet identifier is left.
const LEFT_OVER: Option<(Source, u64)> = Some((Source::Queue, 0));

/// What became of a message for this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// In the out buffer.
    Sent,
    /// In flight is full: it waits.
    Waits,
    /// Too many wait already.
    Dropped,
    /// Larger than the client takes (§3.1.2.11.4).
    TooLarge,
}

/// A stored message on its way to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in its source.
    pub position: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Lower of publish and grant.
    pub qos: QoS,
    /// The retain flag to show.
    pub retain: bool,
    /// Subscription identifiers that matched.
    pub ids: SmallVec<[u32; 1]>,
}

/// What a session that is over leaves to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Entries of its queue that were sent and not acknowledged.
    pub begun: Vec<u64>,
    /// What it had in the name of a share group and others may have in its place: not what was sent at QoS 2 (§4.8.2).
    pub abandoned: Vec<(Arc<Message>, Search)>,
}

#[derive(Debug, Default)]
pub(super) struct Outbound {
    line: Line,
    aliases: Aliases,
    window: usize,
    /// Whether messages in flight are kept to be sent again.
    keep: bool,
    last_id: u16,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Payload bytes of those that may have to be sent again.
    in_flight_bytes: usize,
    /// How many of those, from the front, this connection has been sent if they are to be sent: after a resume it catches up.
    pub(super) caught_up: usize,
    /// Something waits only because the out buffer is full.
    held_back: bool,
    /// Counts the readers that there were.
    readers: u32,
    pub(super) waiting: VecDeque<Parcel>,
    pub(super) waiting_bytes: usize,
    pub(super) queue: Option<Box<Reader>>,
    pub(super) inbox: Option<Box<Reader>>,
    may_repeat: MayRepeat,
}

/// Stored messages below these positions may have been sent before the server was started: nobody remembers, so they are
/// sent with DUP (§3.3.1.1, "might be re-delivery").
#[derive(Debug, Default)]
struct MayRepeat {
    queue: u64,
    inbox: u64,
}

/// Before the first pages have told where it ends.
const ALL: u64 = u64::MAX;

impl MayRepeat {
    fn of(&mut self, source: Source) -> &mut u64 {
        if source == Source::Queue { &mut self.queue } else { &mut self.inbox }
    }
}

/// What one connection takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub version: Version,
    /// Bytes of a packet.
    pub max_packet: usize,
    /// Bytes that may wait in the out buffer before nothing more is put there.
    pub max_out: usize,
    /// Topic aliases.
    pub max_aliases: u16,
    /// Payload bytes in flight beyond which nothing more is sent.
    pub max_in_flight: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            version: Version::V311,
            max_packet: usize::MAX,
            max_out: usize::MAX,
            max_aliases: 0,
            max_in_flight: usize::MAX,
        }
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub packet_id: u16,
    pub stage: Stage,
    /// Where it is stored, if it is.
    pub stored: Option<(Source, u64)>,
    /// The message, if it may have to be sent again.
    pub parcel: Option<Parcel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBLISH sent.
    Sent,
    /// PUBREC came; the bridge is asked to remember it.
    Recording,
    /// PUBREL sent.
    Released,
}

impl InFlight {
    /// PUBREC came, or counts as if it had: gives back what was kept to be sent again.
    fn is_received(&mut self, version: Version, wire: &mut Wire<'_>) -> Option<Parcel> {
        let in_queue = matches!(self.stored, Some((Source::Queue, _)));
        self.stage = if in_queue { Stage::Recording } else { Stage::Released };
        self.release(version, wire);
        self.parcel.take()
    }

    /// The next word after PUBREC, which the bridge has to hear first of a message that is in the queue.
    fn release(&self, version: Version, wire: &mut Wire<'_>) {
        let packet_id = self.packet_id;
        match (self.stage, self.stored) {
            (Stage::Recording, Some((_, position))) => {
                wire.commands.push(Command::Received { position, packet_id });
            }
            (Stage::Released, _) => send_pubrel(version, packet_id, wire),
            _ => {}
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub message: Arc<Message>,
    pub qos: QoS,
    pub retain: bool,
    pub ids: SmallVec<[u32; 1]>,
    /// The share group in whose name it is delivered.
    pub search: Option<Box<Search>>,
}

impl Outbound {
    pub(super) fn begin(&mut self, line: Line, window: u16, keep: bool) {
        self.line = line;
        self.aliases = Aliases::new(line.max_aliases);
        self.window = usize::from(window);
        self.keep = keep;
        self.caught_up = 0;
    }

    pub(super) fn suspend(&mut self) {
        self.queue = None;
        self.inbox = None;
        // Answers of the bridge still come: without a connection nothing counts as sent.
        self.window = 0;
    }

    pub(super) fn end(&mut self) -> Left {
        let mut left = Left::default();
        self.in_flight_bytes = 0;
        let sent = self.in_flight.drain(..).filter(|flight| flight.stage == Stage::Sent);
        for InFlight { stored, parcel, .. } in sent {
            match (stored, parcel) {
                (Some((Source::Queue, position)), _) => left.begun.push(position),
                (None, Some(Parcel { message, qos: QoS::AtLeastOnce, search: Some(search), .. })) => {
                    left.abandoned.push((message, *search));
                }
                _ => {}
            }
        }
        let waiting = self.waiting.drain(..);
        left.abandoned.extend(waiting.filter_map(|parcel| Some((parcel.message, *parcel.search?))));
        left
    }

    /// Says PUBREL again, in the order of the PUBRECs (§4.4, §4.6): no window holds it back (§3.3.4), nor is it more than a few bytes.
    pub(super) fn release_again(&mut self, wire: &mut Wire<'_>) {
        let version = self.line.version;
        self.in_flight.iter().for_each(|flight| flight.release(version, wire));
    }

    /// Sends again what is in flight and was not received, in the order in which it was sent (§4.4, §4.6), as far as window and
    /// out buffer of this connection go; `true` once it has caught up.
    fn catch_up(&mut self, now: Millis, wire: &mut Wire<'_>) -> bool {
        while self.caught_up < self.in_flight.len() && self.caught_up < self.window && self.has_room(wire) {
            let flight = &self.in_flight[self.caught_up];
            let packet_id = flight.packet_id;
            let parcel = flight.parcel.clone().filter(|_| flight.stage == Stage::Sent);
            self.caught_up += 1;
            if let Some(parcel) = parcel
                && !self.write_parcel(&parcel, packet_id, true, now, wire)
            {
                // This connection does not take the size (§3.1.2.11.4).
                self.count_as_sent(self.caught_up - 1, wire);
            }
        }
        self.caught_up >= self.in_flight.len()
    }

    /// What an earlier connection was sent and this one is not. At QoS 1 it counts as acknowledged. At QoS 2 it counts as received:
    /// PUBREL follows, so that the identifier comes free on both sides whether the client has the message or not (§4.3.3).
    pub(super) fn count_as_sent(&mut self, at: usize, wire: &mut Wire<'_>) {
        let InFlight { packet_id, parcel, .. } = &self.in_flight[at];
        if parcel.as_ref().is_some_and(|parcel| parcel.qos == QoS::ExactlyOnce) {
            self.is_received(at, wire);
        } else {
            let packet_id = *packet_id;
            self.acknowledged(packet_id, wire);
        }
    }

    fn is_received(&mut self, at: usize, wire: &mut Wire<'_>) {
        let parcel = self.in_flight[at].is_received(self.line.version, wire);
        self.let_go(parcel, wire);
    }

    /// A message that was kept to be sent again is the client's.
    fn let_go(&mut self, parcel: Option<Parcel>, wire: &mut Wire<'_>) {
        let Some(parcel) = parcel else { return };
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(parcel.message.payload.len());
        settle(parcel.loan(), wire);
    }

    /// Nothing is put into an out buffer that is full; what waits goes on when it is drained.
    fn has_room(&mut self, wire: &Wire<'_>) -> bool {
        self.held_back = wire.out.len() >= self.line.max_out;
        !self.held_back
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something waits only for the out buffer to be drained.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back
    }

    pub(super) fn deliver(
        &mut self,
        limits: &SessionLimits,
        fan: &mut Fanout<'_>,
        to: Delivery<'_>,
        wire: &mut Wire<'_>,
    ) -> Delivered {
        let shape = shape(self.line.version.is_v5(), to.qos, to.retain);
        if to.qos == QoS::AtMostOnce {
            let sent = self.write(fan, shape, 0, false, to.ids, wire);
            return if sent { Delivered::Sent } else { Delivered::TooLarge };
        }
        let in_turn = self.waiting.is_empty() && self.caught_up >= self.in_flight.len() && !self.is_full();
        let id = if in_turn && self.has_room(wire) { self.free_id() } else { None };
        let Some(packet_id) = id else { return self.wait(limits, fan, to) };
        if !self.write(fan, shape, packet_id, false, to.ids, wire) {
            return Delivered::TooLarge;
        }
        self.last_id = packet_id;
        let parcel = (self.keep || to.search.is_some()).then(|| parcel(fan, to));
        self.fly(InFlight { packet_id, stage: Stage::Sent, stored: None, parcel });
        Delivered::Sent
    }

    /// Appends a PUBLISH, with an alias for its topic where the client takes one and the size that goes with it.
    fn write(
        &mut self,
        fan: &mut Fanout<'_>,
        shape: Shape,
        packet_id: u16,
        dup: bool,
        ids: &[u32],
        wire: &mut Wire<'_>,
    ) -> bool {
        let (topic, max) = (&fan.message().topic, self.line.max_packet);
        if let Some(alias) = self.aliases.offer(topic)
            && fan.write(wire.out, shape, &Copy { packet_id, dup, ids, alias: Some(alias), max })
        {
            self.aliases.keep(topic, alias);
            return true;
        }
        fan.write(wire.out, shape, &Copy { packet_id, dup, ids, alias: None, max })
    }

    fn write_parcel(
        &mut self,
        parcel: &Parcel,
        packet_id: u16,
        dup: bool,
        now: Millis,
        wire: &mut Wire<'_>,
    ) -> bool {
        let shape = shape(self.line.version.is_v5(), parcel.qos, parcel.retain);
        let mut fan = Fanout::of_shared(&parcel.message, now);
        self.write(&mut fan, shape, packet_id, dup, &parcel.ids, wire)
    }

    fn fly(&mut self, flight: InFlight) {
        self.in_flight_bytes += flight.parcel.as_ref().map_or(0, |parcel| parcel.message.payload.len());
        self.in_flight.push_back(flight);
        self.caught_up += 1;
    }

    fn land(&mut self, at: usize) -> Option<InFlight> {
        self.caught_up -= usize::from(at < self.caught_up);
        self.in_flight.remove(at)
    }

    fn wait(&mut self, limits: &SessionLimits, fan: &mut Fanout<'_>, to: Delivery<'_>) -> Delivered {
        let bytes = self.waiting_bytes + fan.message().payload.len();
        let full = self.waiting.len() >= limits.waiting_messages || bytes > limits.waiting_bytes;
        if full {
            return Delivered::Dropped;
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(parcel(fan, to));
        Delivered::Waits
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() >= self.window || self.in_flight_bytes >= self.line.max_in_flight
    }

    /// The next packet identifier of the upper half. They go round, so only the oldest one in flight can be in the way.
    fn free_id(&self) -> Option<u16> {
        let id = if self.last_id < FIRST_FREE_ID || self.last_id == u16::MAX {
            FIRST_FREE_ID
        } else {
            self.last_id + 1
        };
        let oldest = self.in_flight.iter().find(|flight| flight.packet_id >= FIRST_FREE_ID);
        (oldest.map(|flight| flight.packet_id) != Some(id)).then_some(id)
    }

    /// Fills the window: first what an earlier connection left, then what waited, then stored messages.
    pub(super) fn pump(&mut self, me: &str, now: Millis, wire: &mut Wire<'_>) {
        if !self.catch_up(now, wire) {
            return;
        }
        while !self.is_full() && !self.waiting.is_empty() && self.has_room(wire) {
            let Some(packet_id) = self.free_id() else { break };
            let Some(next) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(next.message.payload.len());
            let loan = next.loan();
            if next.message.is_expired(now) {
                settle(loan, wire);
                continue;
            }
            self.last_id = packet_id;
            if !self.send(packet_id, next, None, false, now, wire) {
                settle(loan, wire);
            }
        }
        self.pump_reader(Source::Queue, me, now, wire);
        self.pump_reader(Source::Inbox, me, now, wire);
    }

    fn pump_reader(&mut self, source: Source, me: &str, now: Millis, wire: &mut Wire<'_>) {
        let Some(mut reader) = self.reader_mut(source).take() else { return };
        while let (Some(entry), true) = (reader.peek(), self.has_room(wire)) {
            let tracked = entry.qos != QoS::AtMostOnce;
            let mine = source == Source::Inbox && *entry.message.publisher == *me;
            let packet_id = match source {
                _ if !tracked || mine => Some(0),
                _ if self.is_full() => None,
                Source::Queue => reader.packet_id().filter(|id| !self.is_left_over(*id)),
                Source::Inbox => self.free_id(),
            };
            let Some(packet_id) = packet_id else { break };
            let Some(entry) = reader.take() else { break };
            let position = entry.position;
            let Entry { message, qos, retain, ids, .. } = entry;
            let ids = if source == Source::Inbox { reader.ids.clone() } else { ids };
            let parcel = Parcel { message, qos, retain, ids, search: None };
            let skip = mine || parcel.message.is_expired(now);
            let dup = position < *self.may_repeat.of(source);
            if packet_id >= FIRST_FREE_ID {
                self.last_id = packet_id;
            }
            let (half_done, stored) = (dup && qos == QoS::ExactlyOnce, Some((source, position)));
            // What is not sent counts as taken: it is the sender's own, has expired, is not for them any more, or is larger
            // than the client takes. What an earlier run may have sent at QoS 2 counts as received, as after a resume.
            if skip || !self.send(packet_id, parcel, stored, dup, now, wire) {
                if half_done {
                    self.fly(InFlight { packet_id, stage: Stage::Sent, stored, parcel: None });
                    self.is_received(self.in_flight.len() - 1, wire);
                } else {
                    reader.taken(position, wire);
                }
            }
        }
        reader.want_more(wire);
        *self.reader_mut(source) = Some(reader);
    }

    fn send(
        &mut self,
        packet_id: u16,
        parcel: Parcel,
        stored: Option<(Source, u64)>,
        dup: bool,
        now: Millis,
        wire: &mut Wire<'_>,
    ) -> bool {
        let sent = self.write_parcel(&parcel, packet_id, dup && parcel.qos != QoS::AtMostOnce, now, wire);
        if sent && parcel.qos != QoS::AtMostOnce {
            let parcel = (self.keep || parcel.search.is_some()).then_some(parcel);
            self.fly(InFlight { packet_id, stage: Stage::Sent, stored, parcel });
        }
        sent
    }

    /// PUBACK, or a PUBREC that refuses: the message is done with.
    pub(super) fn acknowledged(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        let Some(at) = self.position(packet_id, Stage::Sent) else { return };
        let Some(InFlight { stored, parcel, .. }) = self.land(at) else { return };
        self.let_go(parcel, wire);
        self.taken(stored, wire);
    }

    /// PUBREC: the message is the client's now.
    pub(super) fn received(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        let version = self.line.version;
        let Some(at) = self.position(packet_id, Stage::Sent) else {
            if self.position(packet_id, Stage::Recording).is_none() {
                // Known or not, PUBREL is the answer; an unknown one says so in MQTT 5 (§3.6.2.1).
                let known = self.position(packet_id, Stage::Released).is_some();
                let code = if known { 0 } else { 0x92 };
                encode::ack(
                    wire.out.packet(),
                    version,
                    AckKind::PubRel,
                    packet_id,
                    code,
                    &AckNotes::default(),
                );
            }
            return;
        };
        self.is_received(at, wire);
    }

    pub(super) fn released(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        let version = self.line.version;
        if let Some(at) = self.position(packet_id, Stage::Recording) {
            self.in_flight[at].stage = Stage::Released;
            send_pubrel(version, packet_id, wire);
        }
    }

    /// PUBCOMP.
    pub(super) fn completed(&mut self, packet_id: u16, wire: &mut Wire<'_>) {
        let Some(at) = self.position(packet_id, Stage::Released) else { return };
        let stored = self.land(at).and_then(|flight| flight.stored);
        if let Some((Source::Queue, position)) = stored {
            if let Some(reader) = &mut self.queue {
                reader.free(position);
            }
            wire.commands.push(Command::Completed(packet_id));
        } else {
            self.taken(stored, wire);
        }
    }

    /// Whether an earlier run of the server left this identifier between PUBREC and PUBCOMP; those are in front of all others.
    fn is_left_over(&self, packet_id: u16) -> bool {
        let left = self.in_flight.iter().take_while(|flight| flight.stored == LEFT_OVER);
        left.map(|flight| flight.packet_id).any(|id| id == packet_id)
    }

    /// Which identifiers of the upper half a client had when the server died is not known, at QoS 2 perhaps some that it has
    /// still to hear a PUBREL for: so they do not begin where they always begin.
    pub(super) fn begin_identifiers_at(&mut self, somewhere: Millis) {
        self.last_id = FIRST_FREE_ID + (somewhere % Millis::from(FIRST_FREE_ID)) as u16;
    }

    /// The session is of an earlier run: packet identifiers that stood on disk between PUBREC and PUBCOMP.
    pub(super) fn restore_released(&mut self, packet_ids: impl IntoIterator<Item = u16>) {
        let flight =
            |packet_id| InFlight { packet_id, stage: Stage::Released, stored: LEFT_OVER, parcel: None };
        self.in_flight.extend(packet_ids.into_iter().map(flight));
        self.may_repeat = MayRepeat { queue: ALL, inbox: ALL };
    }

    fn taken(&mut self, stored: Option<(Source, u64)>, wire: &mut Wire<'_>) {
        let Some((source, position)) = stored else { return };
        match self.reader_mut(source) {
            Some(reader) => reader.taken(position, wire),
            None if source == Source::Queue => wire.commands.push(Command::Taken { source, position }),
            None => {
                // Of an inbox "up to here" is taken, so nothing in front may be on its way; the next reader tells the rest.
                let ahead = self.in_flight.iter().filter_map(|flight| flight.stored);
                if ahead.filter(|(from, _)| *from == source).all(|(_, other)| other > position) {
                    wire.commands.push(Command::Taken { source, position });
                }
            }
        }
    }

    fn position(&self, packet_id: u16, stage: Stage) -> Option<usize> {
        self.in_flight.iter().position(|flight| flight.packet_id == packet_id && flight.stage == stage)
    }

    pub(super) fn attach(&mut self, source: Source, qos: QoS) -> u32 {
        self.readers = self.readers.wrapping_add(1);
        let number = self.readers;
        let in_flight = self.in_flight.iter().filter_map(|flight| flight.stored);
        let positions = in_flight.filter(|(from, _)| *from == source).map(|(_, position)| position);
        let reader = Reader::new(source, qos, number, positions);
        *self.reader_mut(source) = Some(Box::new(reader));
        number
    }

    /// The reader of a source, if it is the one with this number.
    fn reader_if(&mut self, source: Source, number: u32) -> Option<&mut Reader> {
        self.reader_mut(source).as_deref_mut().filter(|reader| reader.number == number)
    }

    pub(super) fn reader_number(&self, source: Source) -> u32 {
        let reader = if source == Source::Queue { &self.queue } else { &self.inbox };
        reader.as_ref().map_or(0, |reader| reader.number)
    }

    /// The subscription identifiers of deliveries out of the inbox.
    pub(super) fn label_inbox(&mut self, ids: SmallVec<[u32; 1]>) {
        if let Some(reader) = &mut self.inbox {
            reader.ids = ids;
        }
    }

    pub(super) fn detach(&mut self, source: Source) {
        *self.reader_mut(source) = None;
    }

    pub(super) fn attached(&self, source: Source) -> Option<QoS> {
        let reader = if source == Source::Queue { &self.queue } else { &self.inbox };
        reader.as_ref().map(|reader| reader.qos)
    }

    pub(super) fn entry(&mut self, source: Source, number: u32, entry: Entry, fetched: bool) {
        if let Some(reader) = self.reader_if(source, number) {
            reader.entry(entry, fetched);
        }
    }

    pub(super) fn page(&mut self, source: Source, number: u32, next: u64, more: bool) {
        let Some(reader) = self.reader_if(source, number) else { return };
        reader.page(next, more);
        let may_repeat = self.may_repeat.of(source);
        if !more && *may_repeat == ALL {
            *may_repeat = next;
        }
    }

    pub(super) fn behind(&mut self, wire: &mut Wire<'_>) {
        let version = self.line.version;
        let recording = self.in_flight.iter().filter(|flight| flight.stage == Stage::Recording);
        recording.for_each(|flight| flight.release(version, wire));
        [&mut self.queue, &mut self.inbox].into_iter().flatten().for_each(|reader| reader.behind());
    }

    fn reader_mut(&mut self, source: Source) -> &mut Option<Box<Reader>> {
        match source {
            Source::Queue => &mut self.queue,
            Source::Inbox => &mut self.inbox,
        }
    }
}

impl super::Session {
    /// Packet identifiers that stood on disk between PUBREC and PUBCOMP.
    pub fn restore_released(&mut self, packet_ids: impl IntoIterator<Item = u16>) {
        self.outbound.restore_released(packet_ids);
    }

    /// Where the packet identifiers begin that do not follow from a position; any number will do.
    pub fn begin_identifiers_at(&mut self, somewhere: Millis) {
        self.outbound.begin_identifiers_at(somewhere);
    }
}

impl Parcel {
    fn loan(&self) -> Option<u64> {
        self.search.as_ref()?.loan
    }
}

fn parcel(fan: &mut Fanout<'_>, to: Delivery<'_>) -> Parcel {
    let Delivery { qos, retain, ids, search } = to;
    let search = search.cloned().map(Box::new);
    Parcel { message: fan.shared(), qos, retain, ids: SmallVec::from_slice(ids), search }
}

fn settle(loan: Option<u64>, wire: &mut Wire<'_>) {
    wire.commands.extend(loan.map(Command::Settled));
}

fn send_pubrel(version: Version, packet_id: u16, wire: &mut Wire<'_>) {
    encode::ack(wire.out.packet(), version, AckKind::PubRel, packet_id, 0, &AckNotes::default());
}
