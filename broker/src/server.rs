//! The broker as a whole: bound listeners, one thread for each edge, and a way to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;

use crate::edge::{self, EdgeParts, Listener, Mail, SysTopics};
use crate::edges::Edges;
use crate::goodbye::Goodbye;
use crate::policy::Door;
use crate::session::RestoredSession;
use crate::shared::Shared;
use crate::spine::{End, SpineError};

/// Clients on their way to one edge.
const MAILBOX: usize = 1024;

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 4096;

/// Silence on a connection after which the system asks whether its other end is still there, and between two such questions.
/// A client without keep-alive behind a NAT that has forgotten it would be there for ever; carriers forget after minutes.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// The broker cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Listeners that are bound and not yet served: binding comes first, so that a taken address is found before anything
/// else happens.
pub struct Doors {
    open: Vec<(Door, std::net::TcpListener)>,
}

impl Doors {
    /// Binds every address of the settings.
    pub fn bind(settings: &crate::settings::Settings) -> Result<Doors, StartError> {
        let lists = [
            (Door::Mqtt, &settings.mqtt[..]),
            (Door::WebSocket, &settings.websocket),
            (Door::Mqtts, &settings.mqtts),
            (Door::Wss, &settings.wss),
            (Door::BareClientId, settings.bare_client_id.as_slice()),
        ];
        let all = lists.into_iter().flat_map(|(door, list)| list.iter().map(move |address| (door, *address)));
        let bind = |(door, address)| match listen(address) {
            Ok(socket) => Ok((door, socket)),
            Err(error) => Err(StartError::Bind { address, error }),
        };
        Ok(Doors { open: all.map(bind).collect::<Result<_, _>>()? })
    }

    /// The addresses that are really listened on.
    pub fn addresses(&self) -> Vec<(Door, SocketAddr)> {
        self.open.iter().filter_map(|(door, socket)| Some((*door, socket.local_addr().ok()?))).collect()
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit both. Our own coalescing decides what goes into one segment.
    socket.set_tcp_nodelay(true)?;
    let (idle, between) = KEEPALIVE;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(between))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A running broker.
pub struct Broker {
    mail: Vec<mpsc::Sender<Mail>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<(), SpineError>>>,
}

impl Broker {
    /// Starts the edges. `died` is called by an edge whose spine is dead.
    pub fn start(
        doors: &Doors,
        shared: &Arc<Shared>,
        spine: Vec<End>,
        restored: Vec<RestoredSession>,
        died: impl Fn(SpineError) + Clone + Send + 'static,
    ) -> Result<Broker, StartError> {
        let (mail, boxes): (Vec<_>, Vec<_>) = spine.iter().map(|_| mpsc::channel(MAILBOX)).unzip();
        let mut homes: Vec<Vec<RestoredSession>> = spine.iter().map(|_| Vec::new()).collect();
        for session in restored {
            homes[usize::from(shared.home_of(&session.device.client))].push(session);
        }
        // One edge speaks for all.
        let mut sys = SysTopics::start(shared);
        let all_restored = Arc::new(Barrier::new(spine.len()));
        let mut threads = Vec::new();
        for (id, ((spine, inbox), restored)) in spine.into_iter().zip(boxes).zip(homes).enumerate() {
            let listeners = doors.open.iter().map(|(door, socket)| {
                Ok(Listener { door: *door, socket: socket.try_clone().map_err(StartError::Thread)? })
            });
            let parts = EdgeParts {
                id: id as u8,
                shared: shared.clone(),
                spine,
                mail: inbox,
                edges: mail.clone(),
                listeners: listeners.collect::<Result<_, _>>()?,
                restored,
                all_restored: all_restored.clone(),
                sys: sys.take(),
            };
            let died = died.clone();
            let body = move || edge::run(parts).inspect_err(|error| died(error.clone()));
            let thread = std::thread::Builder::new().name(format!("edge-{id}"));
            threads.push(thread.spawn(body).map_err(StartError::Thread)?);
        }
        Ok(Broker { mail, shared: shared.clone(), threads })
    }

    /// The way to the edges while they run.
    pub fn edges(&self) -> Edges {
        Edges::new(self.mail.clone(), self.shared.clone())
    }

    /// Stops accepting, says this to every client, and waits for the edges to end.
    pub fn stop(self, goodbye: Goodbye) {
        for mail in &self.mail {
            // An edge that has ended already needs no mail.
            let _ = mail.blocking_send(Mail::Stop(goodbye));
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an edge ended by a panic");
            }
        }
    }
}
