//! An edge: one thread that owns its sockets, its sessions and its subscriptions. Nothing here is locked.
//!
//! A turn reads a socket once, handles every packet in it and marks receivers dirty; at the end of the turn each dirty
//! socket gets one write, and each lane of the spine one batch. What wakes an edge: a readable socket, a batch from the
//! spine, mail from another edge or from the server, and the clock.

mod authenticate;
mod ebb;
mod expiring;
mod handshake;
mod lifecycle;
mod link;
mod owed;
mod pace;
mod publish;
mod revoke;
mod run;
mod sample;
mod share;
#[cfg(test)]
mod sizes;
mod slots;
mod spine_in;
mod subscribe;
mod sys;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;

use crate::clock::Millis;
use crate::codec::QoS;
use crate::goodbye::Goodbye;
use crate::lane::{self, Place, ToBridge, ToEdge};
use crate::limit::Recent;
use crate::message::Message;
use crate::outbuffer::OutBuffer;
use crate::policy::Identity;
use crate::routes::Route;
use crate::session::{Command, Outcome, Session, Wire};
use crate::share::Share;
use crate::shared::Shared;
use crate::spine::{Lane, SpineError, SpineTx};
use crate::tally::Tally;
use crate::trie::Trie;

pub use handshake::Arrival;
pub use revoke::{Dismissal, Dismissed, Seen, Sessions, Whose};
pub use run::{EdgeParts, Listener, Mail, run};
pub use sys::SysTopics;

use authenticate::Check;
use ebb::Ebb;
use expiring::Expiring;
use link::{Link, Next};
use owed::Owed;
use publish::Waiter;
use revoke::Round;
use sample::Sample;
use slots::Slots;

/// Packets of one socket in one turn, so that a busy client cannot freeze the others.
const MAX_PACKETS_A_TURN: usize = 1000;

/// Deliveries after which a turn ends although more packets or frames are there: one writer to a large room cannot freeze
/// everybody else. So many cost a few milliseconds, and are enough for one write to carry several messages.
const DELIVERIES_A_TURN: usize = 8192;

/// One edge.
pub(crate) struct Edge {
    id: u8,
    shared: Arc<Shared>,
    /// The time of this turn.
    now: Millis,
    slots: Slots,
    ebb: Ebb,
    clients: HashMap<ByteString, u32, RandomState>,
    subscribers: Trie<u32, Subscriber>,
    groups: HashMap<Share, Group, RandomState>,
    /// What is due when: slot and generation of the session.
    timers: BinaryHeap<Reverse<(Millis, u32, u32, Timer)>>,
    /// So many timers are worth a look for those that are of no use any more.
    timers_max: usize,
    expiring: Expiring,
    dirty: Vec<u32>,
    /// Deliveries since sockets were written last.
    delivered: usize,
    batches: Batches,
    spine: SpineTx,
    read_buffer: BytesMut,
    /// Connections of this edge are told apart by number.
    last_link: u64,
    last_generation: u32,
    route: Route,
    found: Vec<(u32, Subscriber)>,
    /// Goes round the members of each share group, wherever they are.
    turns: HashMap<Share, usize, RandomState>,
    /// How often client ids were taken over lately.
    takeovers: Option<Recent<ByteString>>,
    spare_commands: Vec<Vec<Command>>,
    /// Wakes the task that flushes.
    flush: Rc<Notify>,
    /// Wakes the readers that wait for acknowledgements or for credit.
    resume: Rc<Notify>,
    /// Messages of authentications on their way to the policy.
    checks: Vec<Check>,
    sample: Sample,
    fatal: Option<SpineError>,
    tally: Tally,
    /// On one edge, which speaks for the server.
    sys: Option<Box<SysTopics>>,
    /// The server stops: sessions that end now leave nothing to others.
    stopping: bool,
    round: Round,
}

/// A session and, while there is one, its connection.
struct Slot {
    generation: u32,
    identity: Identity,
    /// The change of rights up to which its subscriptions were looked at; nothing before its first connection in this run.
    rights: Option<u64>,
    session: Session,
    link: Option<Link>,
    /// When it connected, or its last connection ended.
    since: Millis,
    /// When the will of the last connection is due, if it is delayed.
    will_due: Option<Millis>,
    /// The bridge keeps the will, and has to hear when it is over.
    will_kept: bool,
    /// When the session ends, while it has no connection.
    ends_at: Option<Millis>,
    /// Whether it is kept, so that QoS 1 and 2 come by the bridge.
    durable: bool,
    /// Since when the socket has not taken all that was there for it.
    blocked_since: Option<Millis>,
    /// Whether the bridge keeps something for it.
    stored: bool,
    /// When a timer of each kind is due, so that there is one of each kind however often the client reconnects; 0 if there is
    /// none.
    armed: [Millis; 5],
    /// Retained messages on their way to new subscriptions.
    owed: Owed,
    /// Messages in flight when they were last counted.
    in_flight: u32,
}

/// A retained message on its way to a new subscription.
type ForSubscriber = (Arc<Message>, Subscriber);

/// A subscription as this edge delivers to it.
#[derive(Debug, Clone, Copy)]
struct Subscriber {
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    id: Option<u32>,
    /// What is published at QoS 1 and 2 comes by the bridge.
    durable: bool,
    /// The filter has wildcards, so what it lets through is checked.
    wild: bool,
}

/// The members of a share group on this edge.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(u32, Subscriber)>,
    next: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    KeepAlive,
    Will,
    Expiry,
    SlowReader,
    Login,
}

/// Frames that leave at the end of the turn.
#[derive(Debug, Default)]
struct Batches {
    bridge: BytesMut,
    edges: Vec<BytesMut>,
    /// Bytes that went to the bridge since the start, and those of them that it has worked off.
    sent: u64,
    worked_off: u64,
    /// What was sent when the bridge was last told to forget a session.
    forgotten: u64,
}

/// What the reader of a socket does next.
enum Turn {
    /// Look whether there is more: all that was there is read.
    More,
    /// Let others have their turn, then go on.
    Again,
    /// Wait until there is room for answers.
    Paused,
    /// Read nothing for so many milliseconds.
    Rest(Millis),
    /// The connection is over.
    Over,
}

impl Edge {
    /// The time at which this turn began.
    fn now(&self) -> Millis {
        self.now
    }

    fn place(&self, slot: u32) -> Place {
        Place { edge: self.id, slot, generation: self.slots[slot as usize].generation, reader: 0 }
    }

    /// Where nobody waits: for wills, and for what was published at QoS 0.
    fn nobody(&self) -> Place {
        Place { edge: self.id, slot: u32::MAX, generation: 0, reader: 0 }
    }

    /// The slot of an answer, if it is still the session that asked.
    fn slot_at(&self, place: Place) -> Option<u32> {
        let slot = self.slots.get(place.slot as usize)?;
        (slot.generation == place.generation).then_some(place.slot)
    }

    /// One turn of a socket; pending until it is readable.
    fn read_turn(
        &mut self,
        slot: u32,
        number: u64,
        stream: &mut OwnedReadHalf,
        context: &mut Context<'_>,
    ) -> Poll<Turn> {
        match self.shared.settings.pace {
            None => self.read_once(slot, number, stream, context),
            Some(limits) => self.read_measured((slot, number), stream, &limits, context),
        }
    }

    fn read_once(
        &mut self,
        slot: u32,
        number: u64,
        stream: &mut OwnedReadHalf,
        context: &mut Context<'_>,
    ) -> Poll<Turn> {
        let may_read = self.may_read(slot);
        let Some(link) = self.link(slot, number) else { return Poll::Ready(Turn::Over) };
        if !may_read {
            return Poll::Ready(Turn::Paused);
        }
        // What an earlier turn left, or what came along with the CONNECT, comes before anything new.
        if link.has_packet() {
            let left = link.take_partial();
            self.handle_bytes(slot, number, left);
            return Poll::Ready(Turn::Again);
        }
        if self.read_buffer.capacity() - self.read_buffer.len() < self.shared.settings.read_buffer / 4 {
            self.read_buffer.reserve(self.shared.settings.read_buffer);
        }
        let room = self.read_buffer.capacity() - self.read_buffer.len();
        match ready!(pin!(stream.read_buf(&mut self.read_buffer)).poll(context)) {
            Ok(0) | Err(_) => {
                self.end(slot, Goodbye::LinkLost);
                Poll::Ready(Turn::Over)
            }
            Ok(count) => {
                self.tally.bytes_received += count as u64;
                let raw = self.read_buffer.split().freeze();
                self.handle_raw(slot, number, raw);
                Poll::Ready(if count < room { Turn::More } else { Turn::Again })
            }
        }
    }

    /// Reading pauses while too many answers are owed to this client, or too many bytes by the bridge, or while it does
    /// not read what it has been sent.
    fn may_read(&self, slot: u32) -> bool {
        let Some(entry) = self.slots.get(slot as usize) else { return true };
        let Slot { session, link: Some(link), .. } = entry else { return true };
        let reads = link.waiting() <= self.shared.settings.outbound_bytes;
        reads && session.wants_packets() && self.bridge_keeps_up()
    }

    /// Whether the sockets have to be written before anything else is handled.
    fn has_done_enough(&self) -> bool {
        self.delivered >= DELIVERIES_A_TURN
    }

    fn bridge_keeps_up(&self) -> bool {
        self.batches.sent - self.batches.worked_off < self.shared.settings.credit_bytes
    }

    fn link(&mut self, slot: u32, number: u64) -> Option<&mut Link> {
        self.slots.get_mut(slot as usize)?.link.as_mut().filter(|link| link.number == number)
    }

    fn handle_raw(&mut self, slot: u32, number: u64, raw: Bytes) {
        let Some(link) = self.link(slot, number) else { return };
        match link.receive(raw) {
            Ok(bytes) => self.handle_bytes(slot, number, bytes),
            Err(error) => {
                // What came before the end still counts: often it is the DISCONNECT.
                let last = link.take_partial();
                self.handle_bytes(slot, number, last);
                self.shared.count_layer_error(&error);
                tracing::debug!(%error, "connection ended below MQTT");
                self.end_link(slot, number, Goodbye::LinkLost);
            }
        }
        self.mark_dirty(slot);
    }

    /// Ends this connection, if it is still there.
    fn end_link(&mut self, slot: u32, number: u64, goodbye: Goodbye) {
        if self.link(slot, number).is_some() {
            self.end(slot, goodbye);
        }
    }

    fn handle_bytes(&mut self, slot: u32, number: u64, mut bytes: Bytes) {
        let now = self.now();
        for _ in 0..self.packets_a_turn(slot) {
            let Some(link) = self.link(slot, number) else { return };
            match link.next(&mut bytes) {
                Ok(Next::Packet(packet)) => {
                    self.tally.received(&packet);
                    self.with_session(slot, |session, wire| session.handle_packet(packet, now, wire));
                }
                Ok(Next::Incomplete) => return,
                Err(error) => {
                    let goodbye = Goodbye::Malformed(error.reason_code(), error.what());
                    return self.end(slot, goodbye);
                }
            }
            if !self.may_read(slot) || self.has_done_enough() {
                break;
            }
        }
        if let Some(link) = self.link(slot, number) {
            link.keep(&mut bytes);
        }
    }

    /// Lets a session act, then carries out what it wants done.
    fn with_session(&mut self, slot: u32, act: impl FnOnce(&mut Session, &mut Wire<'_>)) {
        self.catch_up_with_rights(slot);
        let mut commands = self.spare_commands.pop().unwrap_or_default();
        let Some(Slot { session, link, .. }) = self.slots.get_mut(slot as usize) else { return };
        // Without a connection nobody hears it.
        let mut nowhere = OutBuffer::default();
        let out = link.as_mut().map_or(&mut nowhere, |link| &mut link.out);
        act(session, &mut Wire { out, commands: &mut commands });
        self.mark_dirty(slot);
        for command in commands.drain(..) {
            self.execute(slot, command);
        }
        self.spare_commands.push(commands);
    }

    fn execute(&mut self, slot: u32, command: Command) {
        if !self.slots.contains(slot as usize) {
            return;
        }
        match command {
            Command::Publish { message, token, remember } => {
                self.publish(slot, message, token.map(|token| Waiter { slot, token, remember }));
            }
            Command::Subscribe { packet, filters } => self.subscribe(slot, packet, filters),
            Command::Unsubscribe(packet) => self.unsubscribe(slot, packet),
            Command::Authenticate { begins, data } => self.authenticate(slot, begins, data),
            Command::Close(goodbye) => self.end(slot, goodbye),
            command => self.tell_bridge_of(slot, command),
        }
    }

    fn tell_bridge_of(&mut self, slot: u32, command: Command) {
        let at = self.place(slot);
        let session = &self.slots[slot as usize].session;
        let (device, persistent) = (session.device.clone(), session.is_persistent());
        let frame = match command {
            Command::Fetch { source, from } => {
                let at = Place { reader: session.reader_number(source), ..at };
                ToBridge::Fetch { at, device, source, from, max: crate::session::BUFFERED as u32 }
            }
            Command::Taken { source, position } => ToBridge::Taken { device, source, position, persistent },
            Command::Received { position, packet_id } => {
                ToBridge::Received { at, device, position, packet_id }
            }
            Command::Settled(loan) => ToBridge::Settled { loan },
            Command::Completed(packet_id) => ToBridge::Completed { device, packet_id },
            Command::Forgotten { packet_id, token } => ToBridge::Forgotten { at, token, device, packet_id },
            Command::Publish { .. }
            | Command::Subscribe { .. }
            | Command::Unsubscribe(_)
            | Command::Authenticate { .. }
            | Command::Close(_) => return,
        };
        self.tell_bridge(&frame, None);
    }

    fn done(&mut self, slot: u32, token: u64, outcome: Outcome) {
        if let Some(Slot { link: Some(link), .. }) = self.slots.get_mut(slot as usize)
            && link.held == Some(token)
        {
            link.held = None;
            return self.mark_dirty(slot);
        }
        let now = self.now();
        self.with_session(slot, |session, wire| session.done(token, outcome, now, wire));
    }

    fn tell_bridge(&mut self, head: &ToBridge, message: Option<&Message>) {
        self.sample.begin(head);
        let before = self.batches.bridge.len();
        lane::put(&mut self.batches.bridge, head, message);
        self.batches.sent += (self.batches.bridge.len() - before) as u64;
        self.flush.notify_one();
    }

    fn tell_edge(&mut self, edge: u8, head: &ToEdge, message: &Message) {
        if let Some(batch) = self.batches.edges.get_mut(usize::from(edge)) {
            lane::put(batch, head, Some(message));
            self.flush.notify_one();
        }
    }

    fn mark_dirty(&mut self, slot: u32) {
        if let Some(Slot { link: Some(link), .. }) = self.slots.get_mut(slot as usize)
            && !link.dirty
            && !link.blocked
        {
            link.dirty = true;
            self.dirty.push(slot);
            self.flush.notify_one();
        }
    }

    /// The end of a turn: one write for each dirty socket, one batch for each lane. Gives back the connections whose
    /// socket takes nothing more now.
    fn flush_all(&mut self) -> Vec<(u32, u64)> {
        self.delivered = 0;
        let mut blocked = Vec::new();
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            blocked.extend(self.flush_one(slot));
        }
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        self.send_batches();
        blocked
    }

    fn flush_one(&mut self, slot: u32) -> Option<(u32, u64)> {
        let limit = self.shared.settings.outbound_bytes;
        let entry = self.slots.get_mut(slot as usize)?;
        let link = entry.link.as_mut()?;
        link.dirty = false;
        if link.held.is_some() {
            return None;
        }
        let was_full = link.waiting() > limit;
        let flushed = link.flush();
        self.tally.sent(link.take_sent());
        self.tally.in_flight(&mut entry.in_flight, entry.session.in_flight());
        match flushed {
            Ok(true) => {
                if was_full {
                    // It was not read from for as long.
                    self.resume.notify_waiters();
                }
                self.drained(slot);
                None
            }
            // Twice what deliveries may fill: a client that lets answers pile up as well is not reading at all.
            Ok(false) if link.waiting() > 2 * limit => {
                self.end_slow_reader(slot);
                None
            }
            Ok(false) => {
                link.blocked = true;
                let blocked = (slot, link.number);
                self.set_blocked(slot);
                Some(blocked)
            }
            Err(_) => {
                self.end(slot, Goodbye::LinkLost);
                None
            }
        }
    }

    /// Pending until the socket of a blocked connection takes bytes again; `false` once there is nothing left to do.
    fn write_turn(&mut self, slot: u32, number: u64, context: &mut Context<'_>) -> Poll<bool> {
        let Some(link) = self.link(slot, number) else { return Poll::Ready(false) };
        let waited = ready!(link.stream.as_ref().poll_write_ready(context));
        Poll::Ready(waited.is_ok() && self.write_on(slot, number))
    }

    fn write_on(&mut self, slot: u32, number: u64) -> bool {
        let Some(link) = self.link(slot, number) else { return false };
        let (flushed, sent) = (link.flush(), link.take_sent());
        link.blocked &= !matches!(flushed, Ok(true));
        self.tally.sent(sent);
        match flushed {
            Ok(true) => {
                self.slots[slot as usize].blocked_since = None;
                self.resume.notify_waiters();
                self.drained(slot);
                false
            }
            Ok(false) => true,
            Err(_) => {
                self.end(slot, Goodbye::LinkLost);
                false
            }
        }
    }

    /// Nothing waits in the out buffer: what was held back goes on.
    fn drained(&mut self, slot: u32) {
        let Some(entry) = self.slots.get(slot as usize) else { return };
        let now = self.now();
        if entry.session.is_held_back() {
            self.with_session(slot, |session, wire| session.drained(now, wire));
        }
        self.deliver_retained(slot);
    }

    fn send_batches(&mut self) {
        let batches = &mut self.batches;
        let edges = batches.edges.iter_mut().enumerate();
        let edges = edges.map(|(edge, batch)| (Lane::Edge(edge as u8), batch));
        let all = std::iter::once((Lane::Bridge, &mut batches.bridge)).chain(edges);
        if let Err(error) = self.spine.send(all.filter(|(_, batch)| !batch.is_empty())) {
            self.fatal = Some(error);
        }
    }
}
