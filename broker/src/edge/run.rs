//! The thread of an edge: its runtime, and the tasks that wake it.

use std::cell::{RefCell, RefMut};
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::ebb::Ebb;
use super::handshake::Carried;
use super::lifecycle::Adopted;
use super::link::Work;
use super::revoke::{Dismissal, Dismissed, Round, Seen};
use super::sample::Sample;
use super::slots::Slots;
use super::sys::SysTopics;
use super::{Arrival, Batches, Edge, Turn, authenticate, handshake};
use crate::gate::Ticket;
use crate::goodbye::Goodbye;
use crate::lane::Device;
use crate::limit::Recent;
use crate::policy::Door;
use crate::routes::Route;
use crate::session::RestoredSession;
use crate::shared::Shared;
use crate::spine::{End, SpineError, SpineRx};
use crate::tally::Tally;
use crate::trie::Trie;

/// How exact keep-alive, expiry and will delay are; all of them count in seconds.
const TICK: Duration = Duration::from_millis(100);

/// Batches of the spine in one turn, so that a busy spine cannot freeze the sockets.
const BATCHES_A_TURN: usize = 16;

/// Connections that are accepted in one turn.
const ACCEPTS_A_TURN: usize = 64;

/// How long to rest after the machine refused a connection (no more file descriptors, say).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long somebody who will be refused may take to say who they are.
const COURTESY: Duration = Duration::from_secs(2);

/// Where clients come in.
pub struct Listener {
    /// Bound and listening, not blocking.
    pub socket: std::net::TcpListener,
    /// What is spoken there.
    pub door: Door,
}

/// What others send to an edge.
pub enum Mail {
    /// A client whose home this edge is.
    Arrival(Box<Arrival>),
    /// Somebody has logged in and has the place of this device.
    Outdone(Device),
    /// These have to go; answered when they are gone.
    Dismiss(Dismissal, oneshot::Sender<Dismissed>),
    /// Which sessions there are of a user, or of all.
    WhoIsThere(Option<ByteString>, oneshot::Sender<Vec<Seen>>),
    /// Stop accepting, say this to everybody, flush, and end.
    Stop(Goodbye),
}

/// The mail boxes of all edges.
type Edges = Rc<[mpsc::Sender<Mail>]>;

/// All that an edge is made of.
pub struct EdgeParts {
    /// Its number.
    pub id: u8,
    /// What all share.
    pub shared: Arc<Shared>,
    /// Its end of the spine.
    pub spine: End,
    /// Its mail.
    pub mail: mpsc::Receiver<Mail>,
    /// The mail boxes of all edges.
    pub edges: Vec<mpsc::Sender<Mail>>,
    /// Where it accepts.
    pub listeners: Vec<Listener>,
    /// Sessions of an earlier run whose home it is.
    pub restored: Vec<RestoredSession>,
    /// Where the edges wait for each other: nobody may publish before all restored sessions are routable.
    pub all_restored: Arc<Barrier>,
    /// What it tells of the server, if it is the one that does.
    pub sys: Option<SysTopics>,
}

/// Runs an edge on this thread until it is stopped or the spine is dead.
pub fn run(parts: EdgeParts) -> Result<(), SpineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| SpineError::Start(error.to_string()))?;
    runtime.block_on(live(parts))
}

/// Takes an edge for a turn: it looks at the clock once, and not again for each message.
pub(super) fn turn(edge: &RefCell<Edge>) -> RefMut<'_, Edge> {
    let mut edge = edge.borrow_mut();
    edge.now = edge.shared.clock.now();
    edge
}

async fn live(parts: EdgeParts) -> Result<(), SpineError> {
    let EdgeParts { id, shared, spine, mut mail, edges, listeners, restored, all_restored, sys } = parts;
    let edges = Edges::from(edges);
    let edge = Rc::new(RefCell::new(Edge::new(id, shared.clone(), spine.tx, sys)));
    restored.into_iter().for_each(|session| edge.borrow_mut().restore(session));
    all_restored.wait();
    // A will that is due is published before its client can be back.
    turn(&edge).tick();
    let dead = Rc::new(Notify::new());
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        tasks.spawn_local(accept(listener, edge.clone(), shared.clone(), edges.clone()));
    }
    spawn_local(flush(edge.clone(), dead.clone()));
    spawn_local(tick(edge.clone()));
    let spine = spawn_local(read_spine(edge.clone(), spine.rx));
    tokio::pin!(spine);
    let goodbye = loop {
        tokio::select! {
            mail = mail.recv() => match mail {
                Some(Mail::Arrival(arrival)) => take_in(&edge, arrival, &edges),
                Some(Mail::Outdone(device)) => turn(&edge).outdone(&device),
                Some(Mail::Dismiss(dismissal, answer)) => {
                    spawn_local(dismiss(edge.clone(), dismissal, answer));
                }
                Some(Mail::WhoIsThere(user, answer)) => {
                    spawn_local(look_round(edge.clone(), user, answer));
                }
                Some(Mail::Stop(goodbye)) => break goodbye,
                None => break Goodbye::ShuttingDown,
            },
            ended = &mut spine => return ended.unwrap_or(Err(SpineError::Dead)),
            () = dead.notified() => return Err(edge.borrow_mut().fatal.take().unwrap_or(SpineError::Dead)),
        }
    };
    tasks.shutdown().await;
    turn(&edge).end_all(goodbye);
    // What the last sessions said still has to reach the bridge.
    edge.borrow_mut().send_batches();
    tokio::time::sleep(TICK).await;
    Ok(())
}

async fn accept(listener: Listener, edge: Rc<RefCell<Edge>>, shared: Arc<Shared>, edges: Edges) {
    let socket = match watched(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "listener unusable"),
    };
    loop {
        for _ in 0..ACCEPTS_A_TURN {
            // What is accepted belongs to no runtime yet: whoever stays is registered once, where it stays.
            let accepted = socket.async_io(Interest::READABLE, |socket| socket.accept()).await;
            match accepted {
                Ok((stream, peer)) => {
                    let stream = Carried::Loose(stream.into());
                    let newcomer = Newcomer { stream, peer, door: listener.door };
                    spawn_local(welcome(newcomer, edge.clone(), shared.clone(), edges.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for owners that may close the socket; this one does not"
)]
fn watched(listener: std::net::TcpListener) -> std::io::Result<AsyncFd<mio::net::TcpListener>> {
    AsyncFd::with_interest(mio::net::TcpListener::from_std(listener), Interest::READABLE)
}

struct Newcomer {
    stream: Carried,
    peer: SocketAddr,
    door: Door,
}

/// Whoever has not logged in counts as well: a flood of half open connections is bounded like one of clients. Somebody over
/// a limit is heard out, since only a CONNECT can be answered, but not for long.
async fn welcome(newcomer: Newcomer, edge: Rc<RefCell<Edge>>, shared: Arc<Shared>, edges: Edges) {
    shared.counters.sockets_total.add(1);
    let address = newcomer.peer.ip();
    let known = (!shared.settings.proxies.trusts(address)).then_some(address);
    let Some(ticket) = shared.gate.knock(known, shared.clock.now()) else {
        return shared.counters.connections_refused_total.add(1);
    };
    if let Some(arrival) = receive(newcomer, ticket, &shared).await {
        send_home(arrival, &edge, &shared, &edges).await;
    }
}

/// Reads the CONNECT within the deadline.
async fn receive(newcomer: Newcomer, ticket: Ticket, shared: &Arc<Shared>) -> Option<Arrival> {
    let Newcomer { stream, peer, door } = newcomer;
    let usual = shared.settings.connect_deadline;
    let deadline = if ticket.refusal().is_some() { usual.min(COURTESY) } else { usual };
    let received =
        tokio::time::timeout(deadline, handshake::receive(stream, peer, door, ticket, shared.clone())).await;
    if received.is_err() {
        shared.counters.connections_refused_total.add(1);
        tracing::debug!(%peer, "no CONNECT within the deadline");
    }
    received.ok().flatten()
}

async fn send_home(arrival: Arrival, edge: &Rc<RefCell<Edge>>, shared: &Arc<Shared>, edges: &Edges) {
    let home = shared.home_of(&arrival.connect.client_id);
    let id = edge.borrow().id;
    if home == id {
        return take_in(edge, Box::new(arrival), edges);
    }
    if let (Some(home), Some(arrival)) = (edges.get(usize::from(home)), arrival.pack()) {
        // An edge that is gone takes nobody; the socket closes.
        let _ = home.send(Mail::Arrival(Box::new(arrival))).await;
    }
}

/// What a connect tells the bridge counts like anything else: while the bridge does not keep up, nobody comes in. Who has
/// waited for that as long as a CONNECT may take is told to come back later.
fn take_in(edge: &Rc<RefCell<Edge>>, arrival: Box<Arrival>, edges: &Edges) {
    if edge.borrow().bridge_keeps_up() {
        return adopt(edge, arrival, edges);
    }
    let (edge, edges, resume) = (edge.clone(), edges.clone(), edge.borrow().resume.clone());
    spawn_local(async move {
        let patience = edge.borrow().shared.settings.connect_deadline;
        let keeps_up = async {
            while !edge.borrow().bridge_keeps_up() {
                resume.notified().await;
            }
        };
        // If it still does not keep up, that is what `adopt` says.
        let _ = tokio::time::timeout(patience, keeps_up).await;
        adopt(&edge, arrival, &edges);
    });
}

fn adopt(edge: &Rc<RefCell<Edge>>, arrival: Box<Arrival>, edges: &Edges) {
    let adopted = turn(edge).adopt(*arrival);
    let Some(Adopted { slot, number, reader, outdone }) = adopted else { return };
    let reader = spawn_local(read(edge.clone(), slot, number, reader));
    edge.borrow_mut().is_served_by(slot, number, Work::Read, reader);
    let Some(device) = outdone else { return };
    let home = edge.borrow().shared.home_of(&device.client);
    let edges = edges.clone();
    spawn_local(async move {
        if let Some(home) = edges.get(usize::from(home)) {
            // An edge that is gone has nobody any more.
            let _ = home.send(Mail::Outdone(device)).await;
        }
    });
}

/// Ends what has to end, some of it in each turn.
async fn dismiss(edge: Rc<RefCell<Edge>>, dismissal: Dismissal, answer: oneshot::Sender<Dismissed>) {
    let (mut all, mut next) = (Dismissed::default(), Some(0));
    while let Some(from) = next {
        let (some, then) = turn(&edge).dismiss(&dismissal, from);
        all += some;
        next = then;
        tokio::task::yield_now().await;
    }
    // Who asked may have lost interest.
    let _ = answer.send(all);
}

/// Looks at all sessions, some of them in each turn.
async fn look_round(edge: Rc<RefCell<Edge>>, user: Option<ByteString>, answer: oneshot::Sender<Vec<Seen>>) {
    let (mut all, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let (some, then) = edge.borrow().seen(user.as_ref(), from);
        all.extend(some);
        next = then;
        tokio::task::yield_now().await;
    }
    // Who asked may have lost interest.
    let _ = answer.send(all);
}

/// There is one of these for each connection, mostly doing nothing: what it holds while it waits should be little.
pub(super) async fn read(edge: Rc<RefCell<Edge>>, slot: u32, number: u64, mut stream: OwnedReadHalf) {
    loop {
        let turn = poll_fn(|context| turn(&edge).read_turn(slot, number, &mut stream, context)).await;
        match turn {
            Turn::More => {}
            Turn::Again => tokio::task::yield_now().await,
            Turn::Paused => {
                let resume = edge.borrow().resume.clone();
                Box::pin(async move { resume.notified().await }).await;
            }
            Turn::Rest(time) => Box::pin(tokio::time::sleep(Duration::from_millis(time))).await,
            Turn::Over => return,
        }
    }
}

async fn flush(edge: Rc<RefCell<Edge>>, dead: Rc<Notify>) {
    let wake = edge.borrow().flush.clone();
    loop {
        wake.notified().await;
        let blocked = turn(&edge).flush_all();
        for (slot, number) in blocked {
            let writer = spawn_local(write(edge.clone(), slot, number));
            edge.borrow_mut().is_served_by(slot, number, Work::Write, writer);
        }
        let checks = std::mem::take(&mut edge.borrow_mut().checks);
        for check in checks {
            spawn_local(authenticate::carry_out(edge.clone(), check));
        }
        if edge.borrow().fatal.is_some() {
            dead.notify_one();
        }
    }
}

/// Waits for a socket that was full.
async fn write(edge: Rc<RefCell<Edge>>, slot: u32, number: u64) {
    while poll_fn(|context| turn(&edge).write_turn(slot, number, context)).await {}
}

async fn tick(edge: Rc<RefCell<Edge>>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        let mut edge = turn(&edge);
        edge.tick();
        edge.go_round();
        edge.count();
    }
}

async fn read_spine(edge: Rc<RefCell<Edge>>, mut spine: SpineRx) -> Result<(), SpineError> {
    loop {
        for _ in 0..BATCHES_A_TURN {
            let batch = spine.next().await?;
            let mut left = turn(&edge).handle_batch(batch);
            while !left.is_empty() {
                tokio::task::yield_now().await;
                left = turn(&edge).handle_frames(left);
            }
        }
        tokio::task::yield_now().await;
    }
}

impl Edge {
    fn new(id: u8, shared: Arc<Shared>, spine: crate::spine::SpineTx, sys: Option<SysTopics>) -> Edge {
        let edges = usize::from(shared.settings.edges);
        Edge {
            id,
            now: shared.clock.now(),
            slots: Slots::default(),
            ebb: Ebb::default(),
            clients: HashMap::default(),
            subscribers: Trie::default(),
            groups: HashMap::default(),
            timers: BinaryHeap::new(),
            timers_max: super::lifecycle::MANY_TIMERS,
            expiring: super::Expiring::default(),
            dirty: Vec::new(),
            delivered: 0,
            batches: Batches {
                bridge: BytesMut::new(),
                edges: vec![BytesMut::new(); edges],
                sent: 0,
                worked_off: 0,
                forgotten: 0,
            },
            spine,
            read_buffer: BytesMut::with_capacity(shared.settings.read_buffer),
            last_link: 0,
            last_generation: 0,
            route: Route::default(),
            found: Vec::new(),
            turns: HashMap::default(),
            takeovers: shared
                .settings
                .takeovers
                .map(|rate| Recent::new(rate, shared.settings.gate.entrance.remembered, shared.clock.now())),
            spare_commands: Vec::new(),
            flush: Rc::new(Notify::new()),
            resume: Rc::new(Notify::new()),
            checks: Vec::new(),
            sample: Sample::default(),
            fatal: None,
            tally: Tally::default(),
            sys: sys.map(Box::new),
            stopping: false,
            round: Round::default(),
            shared,
        }
    }
}
