//! The broker as a whole: bound listeners, one thread for each edge, and a way to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::mpsc;

use crate::edge::{self, EdgeParts, Listener, Mail};
use crate::goodbye::Goodbye;
use crate::policy::Door;
use crate::session::RestoredSession;
use crate::shared::Shared;
use crate::spine::{End, SpineError};

/// Clients on their way to one edge.
const MAILBOX: usize = 1024;

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 4096;

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
        let mqtt = settings.mqtt.iter().map(|address| (Door::Mqtt, *address));
        let websocket = settings.websocket.iter().map(|address| (Door::WebSocket, *address));
        let bare = settings.bare_client_id.iter().map(|address| (Door::BareClientId, *address));
        let bind = |(door, address)| match listen(address) {
            Ok(socket) => Ok((door, socket)),
            Err(error) => Err(StartError::Bind { address, error }),
        };
        Ok(Doors { open: mqtt.chain(websocket).chain(bare).map(bind).collect::<Result<_, _>>()? })
    }

    /// The addresses that are really listened on.
    pub fn addresses(&self) -> Vec<(Door, SocketAddr)> {
        self.open.iter().filter_map(|(door, socket)| Some((*door, socket.local_addr().ok()?))).collect()
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it. Our own coalescing decides what goes into one segment.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A running broker.
pub struct Broker {
    mail: Vec<mpsc::Sender<Mail>>,
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
            };
            let died = died.clone();
            let body = move || edge::run(parts).inspect_err(|error| died(error.clone()));
            let thread = std::thread::Builder::new().name(format!("edge-{id}"));
            threads.push(thread.spawn(body).map_err(StartError::Thread)?);
        }
        Ok(Broker { mail, threads })
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
