//! One non-blocking connection: what is half read, and what is not yet written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::tls::Veil;

/// Encrypted bytes read at once; what they carry fits into the buffer of the swarm together with a whole record.
const VEILED_CHUNK: usize = 16 * 1024;

/// All connections of a run, by number, and the clock they share.
pub struct Links {
    links: Vec<Link>,
    dirty: Vec<usize>,
    open: usize,
    started: Instant,
}

/// What reading once from a socket brought.
pub enum Reading {
    /// So many bytes are in the buffer.
    Bytes {
        count: usize,
        /// Perhaps more wait in the kernel.
        more: bool,
    },
    /// Nothing for now.
    Empty,
}

pub(super) struct Link {
    pub(super) stream: Option<TcpStream>,
    /// The head of a packet whose tail has not arrived.
    pub(super) partial: Vec<u8>,
    pub(super) connected: bool,
    pub(super) veil: Option<Box<Veil>>,
    out: Vec<u8>,
    dirty: bool,
    /// The kernel's buffer is full: the next attempt waits for an event.
    blocked: bool,
}

impl Links {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), dirty: Vec::new(), open: 0, started: Instant::now() }
    }

    /// Nanoseconds since these connections were begun; the one clock of a run.
    pub fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Connections that are open or being opened.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// Is this connection open or being opened?
    pub fn is_open(&self, who: usize) -> bool {
        self.links[who].stream.is_some()
    }

    /// All numbers given out so far, open or not.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.links.len()
    }

    /// Where to put packets for `who`; they leave together at the end of the turn.
    pub fn out(&mut self, who: usize) -> &mut Vec<u8> {
        let link = &mut self.links[who];
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(who);
        }
        &mut link.out
    }

    pub(super) fn add(&mut self, stream: TcpStream, veil: Option<Box<Veil>>) -> usize {
        self.links.push(Link {
            stream: Some(stream),
            veil,
            partial: Vec::new(),
            connected: false,
            out: Vec::new(),
            dirty: false,
            blocked: false,
        });
        self.open += 1;
        self.links.len() - 1
    }

    pub(super) fn get(&mut self, who: usize) -> &mut Link {
        &mut self.links[who]
    }

    /// Returns whether it was open.
    pub(super) fn close(&mut self, who: usize) -> bool {
        let link = &mut self.links[who];
        link.out = Vec::new();
        link.partial = Vec::new();
        let was_open = link.stream.take().is_some();
        self.open -= usize::from(was_open);
        was_open
    }

    pub(super) fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives the list back, so that its memory is used again.
    pub(super) fn clean(&mut self, mut flushed: Vec<usize>) {
        flushed.clear();
        self.dirty = flushed;
    }
}

impl Link {
    /// After the first event of a new socket: is it connected, still under way, or refused?
    pub(super) fn check_connected(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => self.connected = true,
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => return Err(error),
        }
        Ok(self.connected)
    }

    /// Reads once into `buffer`. The end of the stream is an error: nothing good follows.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        let Some(veil) = &mut self.veil else { return read_once(&mut self.stream, buffer) };
        let mut raw = [0; VEILED_CHUNK];
        match read_once(&mut self.stream, &mut raw)? {
            Reading::Empty => Ok(Reading::Empty),
            Reading::Bytes { count, more } => {
                Ok(Reading::Bytes { count: veil.receive(&raw[..count], buffer)?, more })
            }
        }
    }

    /// The kernel takes more; returns whether that was waited for.
    pub(super) fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// Writes as much as the kernel takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.dirty = false;
        if self.blocked || !self.connected {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let out = match &mut self.veil {
            Some(veil) => {
                veil.encrypt(&mut self.out)?;
                &mut veil.out
            }
            None => &mut self.out,
        };
        let mut written = 0;
        while written < out.len() && !self.blocked {
            match stream.write(&out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.drain(..written);
        Ok(())
    }
}

fn read_once(stream: &mut Option<TcpStream>, buffer: &mut [u8]) -> io::Result<Reading> {
    let Some(stream) = stream else { return Ok(Reading::Empty) };
    loop {
        match stream.read(buffer) {
            Ok(0) => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker closed the connection"));
            }
            Ok(count) => return Ok(Reading::Bytes { count, more: count == buffer.len() }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Reading::Empty),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Begins to connect. `source` spreads many connections over several local addresses, since one address has fewer
/// than 30,000 free ports towards one broker.
pub(super) fn begin_connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// EINPROGRESS has a kind only in newer toolchains' unstable list, so its number (115 on Linux) is compared.
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(115)
}
