//! The thread of an edge: its runtime, and the tasks that wake it.

use std::cell::RefCell;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use slab::Slab;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::lifecycle::Adopted;
use super::revoke::{Dismissal, Dismissed, Round, Seen};
use super::sample::Sample;
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
        .build()
        .map_err(|error| SpineError::Start(error.to_string()))?;
    LocalSet::new().block_on(&runtime, live(parts))
}

async fn live(parts: EdgeParts) -> Result<(), SpineError> {
    let EdgeParts { id, shared, spine, mut mail, edges, listeners, restored, all_restored, sys } = parts;
    let edge = Rc::new(RefCell::new(Edge::new(id, shared.clone(), spine.tx, sys)));
    restored.into_iter().for_each(|session| edge.borrow_mut().restore(session));
    all_restored.wait();
    // A will that is due is published before its client can be back.
    edge.borrow_mut().tick();
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
                Some(Mail::Arrival(arrival)) => {
                    spawn_local(adopt(edge.clone(), *arrival, shared.clone(), edges.clone()));
                }
                Some(Mail::Outdone(device)) => edge.borrow_mut().outdone(&device),
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
    edge.borrow_mut().end_all(goodbye);
    // What the last sessions said still has to reach the bridge.
    edge.borrow_mut().send_batches();
    tokio::time::sleep(TICK).await;
    Ok(())
}

async fn accept(
    listener: Listener,
    edge: Rc<RefCell<Edge>>,
    shared: Arc<Shared>,
    edges: Vec<mpsc::Sender<Mail>>,
) {
    let socket = match TcpListener::from_std(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "listener unusable"),
    };
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                let newcomer = Newcomer { stream, peer, door: listener.door };
                spawn_local(welcome(newcomer, edge.clone(), shared.clone(), edges.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

struct Newcomer {
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
}

/// Whoever has not logged in counts as well: a flood of half open connections is bounded like one of clients. Somebody over
/// a limit is heard out, since only a CONNECT can be answered, but not for long.
async fn welcome(
    newcomer: Newcomer,
    edge: Rc<RefCell<Edge>>,
    shared: Arc<Shared>,
    edges: Vec<mpsc::Sender<Mail>>,
) {
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

async fn send_home(
    arrival: Arrival,
    edge: &Rc<RefCell<Edge>>,
    shared: &Arc<Shared>,
    edges: &[mpsc::Sender<Mail>],
) {
    let home = shared.home_of(&arrival.connect.client_id);
    let id = edge.borrow().id;
    if home == id {
        spawn_local(adopt(edge.clone(), arrival, shared.clone(), edges.to_vec()));
        return;
    }
    if let (Some(home), Some(arrival)) = (edges.get(usize::from(home)), arrival.pack()) {
        // An edge that is gone takes nobody; the socket closes.
        let _ = home.send(Mail::Arrival(Box::new(arrival))).await;
    }
}

/// What a connect tells the bridge counts like anything else: while the bridge does not keep up, nobody comes in. Who has
/// waited for that as long as a CONNECT may take is told to come back later.
async fn adopt(
    edge: Rc<RefCell<Edge>>,
    arrival: Arrival,
    shared: Arc<Shared>,
    edges: Vec<mpsc::Sender<Mail>>,
) {
    let resume = edge.borrow().resume.clone();
    let keeps_up = async {
        while !edge.borrow().bridge_keeps_up() {
            resume.notified().await;
        }
    };
    // If it still does not keep up, that is what `adopt` says.
    let _ = tokio::time::timeout(shared.settings.connect_deadline, keeps_up).await;
    let adopted = edge.borrow_mut().adopt(arrival);
    let Some(Adopted { slot, number, stream, outdone }) = adopted else { return };
    if let Some(device) = outdone
        && let Some(home) = edges.get(usize::from(shared.home_of(&device.client)))
    {
        // An edge that is gone has nobody any more.
        let _ = home.send(Mail::Outdone(device)).await;
    }
    drop((shared, edges));
    read(edge, slot, number, stream).await;
}

/// Ends what has to end, some of it in each turn.
async fn dismiss(edge: Rc<RefCell<Edge>>, dismissal: Dismissal, answer: oneshot::Sender<Dismissed>) {
    let (mut all, mut next) = (Dismissed::default(), Some(0));
    while let Some(from) = next {
        let (some, then) = edge.borrow_mut().dismiss(&dismissal, from);
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

async fn read(edge: Rc<RefCell<Edge>>, slot: u32, number: u64, stream: Rc<TcpStream>) {
    let resume = edge.borrow().resume.clone();
    // Most clients wait for CONNACK before they say more.
    if !edge.borrow_mut().has_packet(slot, number) && stream.readable().await.is_err() {
        return;
    }
    loop {
        let turn = edge.borrow_mut().read_turn(slot, number, &stream);
        match turn {
            Turn::Idle => {
                if stream.readable().await.is_err() {
                    return;
                }
            }
            Turn::Again => tokio::task::yield_now().await,
            Turn::Paused => resume.notified().await,
            Turn::Rest(time) => tokio::time::sleep(Duration::from_millis(time)).await,
            Turn::Over => return,
        }
    }
}

async fn flush(edge: Rc<RefCell<Edge>>, dead: Rc<Notify>) {
    let wake = edge.borrow().flush.clone();
    loop {
        wake.notified().await;
        let blocked = edge.borrow_mut().flush_all();
        for (slot, number, stream) in blocked {
            spawn_local(write(edge.clone(), slot, number, stream));
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
async fn write(edge: Rc<RefCell<Edge>>, slot: u32, number: u64, stream: Rc<TcpStream>) {
    while stream.writable().await.is_ok() {
        if !edge.borrow_mut().write_turn(slot, number) {
            return;
        }
    }
}

async fn tick(edge: Rc<RefCell<Edge>>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        let mut edge = edge.borrow_mut();
        edge.tick();
        edge.go_round();
        edge.count();
    }
}

async fn read_spine(edge: Rc<RefCell<Edge>>, mut spine: SpineRx) -> Result<(), SpineError> {
    loop {
        for _ in 0..BATCHES_A_TURN {
            let batch = spine.next().await?;
            let mut left = edge.borrow_mut().handle_batch(batch);
            while !left.is_empty() {
                tokio::task::yield_now().await;
                left = edge.borrow_mut().handle_frames(left);
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
            slots: Slab::new(),
            clients: HashMap::default(),
            subscribers: Trie::default(),
            groups: HashMap::default(),
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            delivered: 0,
            batches: Batches {
                bridge: BytesMut::new(),
                edges: vec![BytesMut::new(); edges],
                sent: 0,
                worked_off: 0,
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
