//! The bridge: one committer that drains the lane from the edges, makes one batch of all that is waiting, flushes it
//! once, and only then says what was asked to be said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

use hubbub_broker::clock::{Clock, Deadline, Millis, Stopwatch};
use hubbub_broker::counters::Counters;
use hubbub_broker::lane::{self, Errand, Place, Source, ToBridge, ToEdge};
use hubbub_broker::message::{Message, Unreadable};
use hubbub_broker::retained::Retained;
use hubbub_broker::session::RestoredSession;
use hubbub_broker::share::Search;
use hubbub_broker::spine::{Batch, End, Lane, SpineError};
use hubbub_config::Config;

use crate::acl::{Acl, AclMistake};
use crate::chat::{self, Chat, ChatRules, Sender};
use crate::devices;
use crate::inbox::{self, Inboxes};
use crate::later::{Backlog, Later, Page};
use crate::login::{Login, LoginError};
use crate::people::People;
use crate::policy::House;
use crate::push::{Push, PushError};
use crate::queue::{self, Queues};
use crate::retained::RetainedKeeper;
use crate::rpc::Request;
use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::{Frames, Reply, Transaction};
use crate::trim::Trimmer;
use crate::wills::{self, Terms};

/// How long the committer sleeps when nothing happens; also how fast it notices that it has to stop.
const IDLE: Duration = Duration::from_millis(100);

/// Expired message ids that are swept in one go, so that sweeping never delays acknowledgements for long.
const SWEEP: usize = 256;

/// What is read from disk goes on in the next turn behind this, so that a storm of returning clients does not fill the
/// memory and delays acknowledgements by one turn only.
const LATER_BYTES: usize = 8 * 1024 * 1024;

/// A turn in which there is more to say than this takes in nothing further, so that what is handed on without being stored does
/// not fill the memory either.
const SAID_BYTES: usize = 8 * 1024 * 1024;

/// Milliseconds between two looks at the size on disk.
const WEIGH_EVERY: Millis = 1_000;

/// Milliseconds between two sweeps.
const SWEEP_EVERY: Millis = 5_000;

/// Why the bridge cannot start or go on. The process has to end: nothing unacknowledged was promised.
#[derive(Debug, Error)]
pub enum BridgeError {
    /// The disk.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The spine.
    #[error("{0}")]
    Spine(#[from] SpineError),
    /// The outbox.
    #[error("{0}")]
    Push(#[from] PushError),
    /// The rights.
    #[error("the ACL file {file} cannot be used:\n{mistakes}")]
    Acl {
        /// Which file.
        file: String,
        /// All mistakes, one a line.
        mistakes: String,
    },
    /// The ways of logging in.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// Edges and bridge are of one process, so this is a fault of ours.
    #[error("a frame from an edge cannot be read: {0}")]
    Frame(#[from] Unreadable),
    /// Credit bounds what edges may send, so this is a fault of ours.
    #[error("the lane to the bridge lost {0} batches")]
    Lost(u64),
}

/// The bridge before it runs, and what others need from it.
pub struct Opened {
    /// Has to be run by a thread of its own.
    pub bridge: Bridge,
    /// Sessions of an earlier run, for the edges.
    pub sessions: Vec<RestoredSession>,
    /// The places of device classes of which a user has one, and which device has them.
    pub places: Vec<(lane::Device, ByteString)>,
    /// The rules.
    pub house: Arc<House>,
}

/// Spine to store and people.
pub struct Bridge {
    store: Arc<dyn Store>,
    clock: Clock,
    counters: Arc<Counters>,
    retained: RetainedKeeper,
    commit_max: usize,
    queues: Queues,
    inboxes: Inboxes,
    chat: Chat,
    people: People,
    push: Push,
    trimmer: Trimmer,
    swept_at: Millis,
    /// In front of this time there is nothing left to sweep.
    swept_to: Millis,
    weighed_at: Millis,
    /// Bytes on disk at which nothing more is taken in.
    max_bytes: Option<u64>,
    dedupe_window: Millis,
    /// What is read from disk after the commit: pages and answers.
    later: Backlog,
    credit: Credit,
}

impl Bridge {
    /// Reads what an earlier run left on disk.
    pub fn open(
        config: &Config,
        store: Arc<dyn Store>,
        clock: Clock,
        counters: Arc<Counters>,
        retained: Arc<Retained>,
    ) -> Result<Opened, BridgeError> {
        let keeper = RetainedKeeper::load(&*store, retained.clone(), clock.now())?;
        let mut queues = Queues::of(config, counters.clone());
        let mut sessions = queues.restore(&*store, clock.now())?;
        let places = devices::places(&*store, &sessions)?;
        wills::restore(&*store, &mut sessions, clock.now())?;
        let people = People::start(&config.presence, &*store, &retained, clock.now())?;
        let push = Push::start(&config.notify, &*store, counters.clone())?;
        let rules =
            ChatRules { dedupe_window: config.chat.dedupe_window, body_max: config.chat.body_max_bytes };
        let acl = read_acl(&config.acl)?;
        let (dev, location) = (config.login.dev, config.location.enabled);
        let house = House::new(store.clone(), dev, acl, location);
        let house = house.with_login(Login::open(config, store.clone(), clock)?);
        let house = house.with_admins(config.acl.admins.clone());
        let house = Arc::new(house.with_barred(devices::barred(&*store)?));
        let bridge = Bridge {
            store,
            clock,
            counters,
            retained: keeper,
            commit_max: config.store.commit_max,
            queues,
            inboxes: Inboxes::new(config.keep.inbox_entries),
            trimmer: Trimmer::new(&config.keep),
            chat: Chat::new(rules),
            people,
            push,
            swept_at: 0,
            swept_to: 0,
            weighed_at: 0,
            max_bytes: config.store.max_bytes,
            dedupe_window: config.chat.dedupe_window.as_millis() as Millis,
            later: Backlog::new(config.limits.requests_per_user),
            credit: Credit::default(),
        };
        Ok(Opened { bridge, sessions, places, house })
    }

    /// Runs until told to stop and nothing more comes, or until the disk or the spine fails.
    pub fn run(mut self, mut spine: End, stop: &AtomicBool) -> Result<(), BridgeError> {
        loop {
            let first = spine.rx.next_before(Deadline::after(self.patience()))?;
            if first.is_none() && stop.load(Ordering::Relaxed) {
                self.push.stop();
                return Ok(());
            }
            let mut frames = self.turn(first, || spine.rx.next_before(Deadline::after(Duration::ZERO)))?;
            spine.tx.send(frames.batches())?;
        }
    }

    /// One turn: what came first and everything else that waits, which `more` hands out, becomes one batch. What there is
    /// to say about it is given back once the batch is on disk; after an error there is nothing to say, and no other turn.
    pub fn turn(
        &mut self,
        first: Option<Batch>,
        mut more: impl FnMut() -> Result<Option<Batch>, SpineError>,
    ) -> Result<Frames, BridgeError> {
        let store = self.store.clone();
        let mut tx = Transaction::new(&*store, self.clock.now());
        let idle = first.is_none();
        let mut waiting = first;
        while let Some(batch) = waiting {
            self.credit.add(&batch);
            self.apply_batch(&mut tx, batch)?;
            let has_room = tx.len() < self.commit_max && tx.bytes_to_say() < SAID_BYTES;
            waiting = if has_room { more()? } else { None };
        }
        self.handle_time(&mut tx)?;
        let mut frames = self.commit(tx)?;
        self.read_later(&*store, &mut frames)?;
        if !idle {
            self.credit.give_back(&mut frames);
        }
        Ok(frames)
    }

    /// How long the committer may wait for something to happen.
    fn patience(&self) -> Duration {
        if !self.later.is_empty() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let due = [self.people.poll_timeout(), self.push.poll_timeout(), Some(self.trimmer.poll_timeout())];
        let due = due.into_iter().flatten().min();
        due.map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(now)).min(IDLE))
    }

    fn commit(&mut self, tx: Transaction<'_>) -> Result<Frames, StoreError> {
        let (operations, started) = (tx.len(), Stopwatch::start());
        let frames = tx.commit()?;
        if operations > 0 {
            self.counters.commit_operations.add(operations as u64);
            self.counters.commit_seconds.add(started.micros());
        }
        Ok(frames)
    }

    fn apply_batch(&mut self, tx: &mut Transaction<'_>, batch: Batch) -> Result<(), BridgeError> {
        if batch.lost > 0 {
            return Err(BridgeError::Lost(batch.lost));
        }
        let mut frames: Bytes = batch.frames;
        loop {
            match lane::take::<ToBridge>(&mut frames) {
                Ok(Some((head, message))) => self.apply(tx, head, message)?,
                Ok(None) => return Ok(()),
                // Whoever sent it would wait for ever, and what it asked for would never be stored.
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn apply(
        &mut self,
        tx: &mut Transaction<'_>,
        head: ToBridge,
        message: Option<Message>,
    ) -> Result<(), BridgeError> {
        let store = self.store.clone();
        match head {
            ToBridge::Publish { at, token, errand, from, store_retained, remember, shares } => {
                let Some(message) = message else { return Ok(()) };
                if let Some(packet_id) = remember
                    && tx.get(&keys::inbound(&from.client, packet_id))?.is_some()
                {
                    // The answer was lost, and the client sent it again (§4.3.3): it is stored already.
                    tx.reply(at, token, Reply::default());
                    return Ok(());
                }
                self.share_out(tx, &message, shares, at.edge)?;
                let reply = match errand {
                    Errand::Queue => self.queue(tx, &message, store_retained)?,
                    Errand::Share => Reply::default(),
                    Errand::Chat => self.chat(tx, &from, &message)?,
                    Errand::Rpc => self.request(&from.user, &message),
                    Errand::Presence => self.people.wish(&from.user, &message.payload, tx.now),
                };
                if let (Some(packet_id), 0..0x80) = (remember, reply.code) {
                    tx.put(keys::inbound(&from.client, packet_id), Vec::new());
                }
                tx.reply(at, token, reply);
            }
            ToBridge::Open { at, device, kind, expiry, fresh } => {
                self.queues.open(tx, &*store, &device, expiry, fresh)?;
                self.people.connected(&device, at, kind, tx.now);
            }
            ToBridge::Settled { loan } => queue::settle(tx, loan),
            ToBridge::Close { at, device, how, expiry } => {
                self.inboxes.detach(&device);
                self.queues.close(tx, &device, expiry);
                self.people.disconnected(&device, at, how, tx.now);
            }
            ToBridge::Forget { at, device, begun } => {
                self.queues.end(tx, &*store, &device.client, &begun, at.edge)?;
            }
            ToBridge::Barrier { at, token } => tx.reply(at, Some(token), Reply::default()),
            ToBridge::Subscribe { at, token, device, filters, id } => {
                self.queues.subscribe(tx, &device.client, &filters, id);
                tx.reply(at, Some(token), Reply::default());
            }
            ToBridge::Unsubscribe { at, token, device, filters } => {
                self.queues.unsubscribe(tx, &device.client, &filters);
                tx.reply(at, Some(token), Reply::default());
            }
            ToBridge::Attach { at, device, source: Source::Queue, .. } => {
                self.queues.attach(&device.client, at);
                self.page_later(at, Source::Queue, device.client, 0, inbox_page());
            }
            ToBridge::Attach { at, device, source: Source::Inbox, qos, persistent } => {
                let from = self.inboxes.attach(tx, at, &device, qos, persistent)?;
                self.page_later(at, Source::Inbox, device.user, from, inbox_page());
            }
            ToBridge::Detach { device, source: Source::Inbox, .. } => drop(self.inboxes.detach(&device)),
            ToBridge::Fetch { at, device, source, from, max } => {
                let owner = if source == Source::Queue { device.client } else { device.user };
                self.page_later(at, source, owner, from, max as usize);
            }
            ToBridge::Taken { device, source: Source::Queue, position, .. } => {
                self.queues.taken(tx, &device.client, position)?;
            }
            ToBridge::Taken { device, source: Source::Inbox, position, persistent } => {
                if self.inboxes.taken(tx, &device, position, persistent)? {
                    self.push.taken(tx, &device.user, position);
                }
            }
            ToBridge::Received { at, device, position, packet_id } => {
                self.queues.received(tx, &device.client, position, packet_id)?;
                tx.tell(at.edge, &ToEdge::Released { at, packet_id }, None);
            }
            ToBridge::Completed { device, packet_id } => tx.delete(keys::released(&device.client, packet_id)),
            ToBridge::Forgotten { at, token, device, packet_id } => {
                tx.delete(keys::inbound(&device.client, packet_id));
                tx.reply(at, Some(token), Reply::default());
            }
            ToBridge::Will { at, token, device, kind, door, delay, expiry } => {
                let Some(message) = message else { return Ok(()) };
                wills::keep(tx, &device, Terms { kind, door, delay, expiry }, &message);
                tx.reply(at, Some(token), Reply::default());
            }
            ToBridge::WillDue { device, due } => wills::wait(tx, &device, due)?,
            ToBridge::WillOver { device } => tx.delete(keys::will(&device.client)),
            ToBridge::LoggedIn { device, class } => devices::log_in(tx, &device, &class),
            ToBridge::LoggedOut { device, class } => devices::log_out(tx, &device, &class)?,
            ToBridge::Detach { source: Source::Queue, .. } | ToBridge::Heartbeat => {}
        }
        Ok(())
    }

    fn queue(
        &mut self,
        tx: &mut Transaction<'_>,
        message: &Message,
        stamp: Option<u64>,
    ) -> Result<Reply, StoreError> {
        if let Some(stamp) = stamp {
            self.retained.store(tx, message, stamp);
        }
        self.queues.enqueue(tx, message)?;
        Ok(Reply::default())
    }

    fn share_out(
        &mut self,
        tx: &mut Transaction<'_>,
        message: &Message,
        shares: Vec<(Search, Option<u8>)>,
        home: u8,
    ) -> Result<(), StoreError> {
        for (search, edge) in shares {
            match edge {
                Some(edge) => self.queues.lend(tx, message, search, edge),
                None => self.queues.share_out(tx, message, search, home)?,
            }
        }
        Ok(())
    }

    fn chat(
        &mut self,
        tx: &mut Transaction<'_>,
        from: &lane::Device,
        message: &Message,
    ) -> Result<Reply, StoreError> {
        let kind = self.people.kind_of(from);
        let sender = Sender { device: from, kind: &kind };
        self.chat.accept(tx, &mut self.inboxes, &mut self.push, &self.counters, &sender, message)
    }

    fn request(&mut self, user: &ByteString, message: &Message) -> Reply {
        match Request::read(user, message) {
            Ok(request) => match self.later.request(request) {
                true => Reply::default(),
                false => Reply::refused(0x97, "too many requests of this user wait for an answer"),
            },
            Err(why) => Reply::refused(0x83, why),
        }
    }

    fn page_later(&mut self, at: Place, source: Source, owner: ByteString, from: u64, max: usize) {
        self.later.page(Page { at, source, owner, from, max });
    }

    fn handle_time(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        let store = self.store.clone();
        self.push.handle_timeout(tx, &*store)?;
        self.people.handle_timeout(tx.now);
        while let Some(message) = self.people.next_publish() {
            self.counters.presence_changes_total.add(1);
            // The retained limits are for clients; if presence does not fit, it is still delivered.
            let _ = self.retained.set(tx, &message);
            tx.broadcast(&message);
        }
        self.trimmer.handle_timeout(tx, &*store)?;
        if tx.now >= self.weighed_at + WEIGH_EVERY {
            self.weighed_at = tx.now;
            self.weigh(&*store)?;
        }
        self.retained.sweep(tx);
        if tx.now >= self.swept_at + SWEEP_EVERY {
            // A full sweep is followed by another one in the next turn.
            match sweep(tx, &*store, self.swept_to, self.dedupe_window)? {
                Some(more) => self.swept_to = more,
                None => (self.swept_to, self.swept_at) = (tx.now, tx.now),
            }
        }
        Ok(())
    }

    /// Looks how full the disk is. A store that was full takes in again when a twentieth is free.
    fn weigh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let bytes = store.size_on_disk()?;
        self.counters.store_bytes.set(bytes);
        let Some(max) = self.max_bytes else { return Ok(()) };
        let was_full = self.counters.store_full.get() > 0;
        let is_full = bytes >= if was_full { max - max / 20 } else { max };
        if is_full != was_full {
            self.counters.store_full.set(u64::from(is_full));
            tracing::warn!(
                bytes,
                max,
                "store {}",
                if is_full { "full, messages are refused" } else { "has room again" }
            );
        }
        Ok(())
    }

    fn read_later(&mut self, store: &dyn Store, frames: &mut Frames) -> Result<(), BridgeError> {
        let mut tx = Transaction::new(store, self.clock.now());
        let before = frames.bytes();
        while frames.bytes() - before < LATER_BYTES
            && let Some(later) = self.later.next()
        {
            match later {
                Later::Page(Page { at, source: Source::Queue, owner, from, max }) => {
                    self.queues.page(store, frames, queue::Page { at, client: &owner, from, max })?;
                }
                Later::Page(Page { at, source: Source::Inbox, owner, from, max }) => {
                    inbox::page(store, frames, at, &owner, from, max)?;
                }
                Later::Answer(request) => {
                    // Live, and queued for persistent sessions.
                    let answer = request.answer(store)?;
                    frames.put(Lane::All, &ToEdge::Broadcast, Some(&answer));
                    self.queues.enqueue(&mut tx, &answer)?;
                }
            }
        }
        frames.append(self.commit(tx)?);
        Ok(())
    }
}

/// Entries in the first page after attaching.
fn inbox_page() -> usize {
    hubbub_broker::session::BUFFERED
}

/// Bytes that each sender has sent since the start.
#[derive(Default)]
struct Credit(Vec<(u8, u64)>);

impl Credit {
    fn add(&mut self, batch: &Batch) {
        match self.0.iter_mut().find(|(sender, _)| *sender == batch.sender) {
            Some((_, total)) => *total += batch.frames.len() as u64,
            None => self.0.push((batch.sender, batch.frames.len() as u64)),
        }
    }

    fn give_back(&self, frames: &mut Frames) {
        // Edge n sends as n + 1; the watchdog has no credit.
        for (sender, total) in self.0.iter().filter(|(sender, _)| (1..u8::MAX).contains(sender)) {
            frames.put(Lane::Edge(sender - 1), &ToEdge::Credit { total: *total }, None);
        }
    }
}

/// Forgets senders' message ids whose time is over, from this time on. Gives back from which time there may be more.
fn sweep(
    tx: &mut Transaction<'_>,
    store: &dyn Store,
    from: Millis,
    window: Millis,
) -> Result<Option<Millis>, StoreError> {
    let due = store.scan(keys::expiries(from..=tx.now), Order::Forward, SWEEP)?;
    let is_full = due.len() == SWEEP;
    let mut last = from;
    for (key, _) in due {
        let ids = keys::Fields::of(&key)
            .and_then(|mut fields| Some((fields.number()?, fields.text()?, fields.text()?)));
        if let Some((time, user, cmid)) = ids {
            last = time;
            chat::forget_answer(tx, &user, &cmid, window)?;
        }
        tx.delete(key);
    }
    Ok(is_full.then_some(last))
}

/// Reads the rules on topics that are not chat, or says what is wrong with them, all of it.
pub fn read_acl(settings: &hubbub_config::Acl) -> Result<Option<Acl>, BridgeError> {
    let Some(path) = &settings.file else { return Ok(None) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| BridgeError::Acl { file: file.clone(), mistakes: error.to_string() })?;
    Acl::parse(&text).map(Some).map_err(|mistakes| {
        let line = |mistake: &AclMistake| format!("{file}:{}: {}", mistake.line, mistake.message);
        BridgeError::Acl {
            file: file.clone(),
            mistakes: mistakes.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    })
}
