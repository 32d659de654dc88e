//! The event loop: thousands of connections on one thread.
//!
//! A turn waits once, reads each ready socket once, hands every packet to a [`Handler`], and then writes each
//! connection that has something to say once. That is what keeps the benchmark cheaper than the broker.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::codec::{self, DISCONNECT, Packet};
use super::links::{Links, Reading, begin_connect};
use super::target::Target;

/// Bytes read at once from one socket; the bound of what one chatty connection can do in a turn.
const READ_CHUNK: usize = 64 * 1024;

/// Sockets handled in one turn.
const EVENTS_PER_TURN: usize = 1024;

/// What a scenario does with what happens. Called in this order for each connection: connected, packets, closed.
pub trait Handler {
    /// The TCP connection stands.
    fn on_connected(&mut self, _links: &mut Links, _who: usize) {}
    /// A packet arrived; `now_ns` is when its bytes were read.
    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, now_ns: u64);
    /// The connection is gone, or never came to be.
    fn on_closed(&mut self, links: &mut Links, who: usize, reason: &str);
    /// Everything that was ready has been handled; what is put out now leaves at once.
    fn on_turn_end(&mut self, _links: &mut Links) {}
}

/// A set of connections to one broker.
pub struct Swarm {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// Sockets that filled the buffer: the kernel does not announce them a second time.
    unfinished: VecDeque<usize>,
    /// Rest before each turn: more happens in one turn, and each costs less.
    pub pause: Duration,
    /// The connections.
    pub links: Links,
}

impl Swarm {
    /// No connections yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("cannot create an event queue")?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            buffer: vec![0; READ_CHUNK],
            unfinished: VecDeque::new(),
            pause: Duration::ZERO,
            links: Links::new(),
        })
    }

    /// Begins one more connection; its number is one higher than that of the one before.
    pub fn open(&mut self, target: &Target, source: Option<IpAddr>) -> Result<usize> {
        let address = target.address;
        let mut stream =
            begin_connect(address, source).with_context(|| format!("cannot connect to {address}"))?;
        let veil = target.tls.as_ref().map(|tls| tls.begin()).transpose()?;
        let token = Token(self.links.all().end);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest).context("cannot watch a socket")?;
        Ok(self.links.add(stream, veil))
    }

    /// One turn of the loop; returns after `wait` at the latest.
    pub fn turn(&mut self, handler: &mut impl Handler, wait: Duration) -> Result<()> {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
        let wait = if self.unfinished.is_empty() { wait } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(error).context("cannot wait for events");
            }
            _ => {}
        }
        let mut reader =
            Reader { links: &mut self.links, buffer: &mut self.buffer, unfinished: &mut self.unfinished };
        for _ in 0..reader.unfinished.len() {
            if let Some(who) = reader.unfinished.pop_front() {
                reader.read(handler, who, false);
            }
        }
        for event in &self.events {
            reader.handle_event(handler, event);
        }
        handler.on_turn_end(&mut self.links);
        self.flush(handler);
        Ok(())
    }

    /// Says goodbye on every connection and waits until the broker has closed them. Returns how many it left open.
    pub fn leave(&mut self, patience: Duration) -> Result<usize> {
        for who in self.links.all() {
            if self.links.is_open(who) {
                self.links.out(who).extend_from_slice(&DISCONNECT);
            }
        }
        let give_up_ns = self.links.now_ns() + patience.as_nanos() as u64;
        while self.links.open_count() > 0 && self.links.now_ns() < give_up_ns {
            self.turn(&mut Leaving, Duration::from_millis(10))?;
        }
        Ok(self.links.open_count())
    }

    fn flush(&mut self, handler: &mut impl Handler) {
        let dirty = self.links.take_dirty();
        for &who in &dirty {
            if let Err(error) = self.links.get(who).flush() {
                close(&mut self.links, handler, who, &error.to_string());
            }
        }
        self.links.clean(dirty);
    }
}

/// After the goodbye nothing matters but the end.
struct Leaving;

impl Handler for Leaving {
    fn on_packet(&mut self, _: &mut Links, _: usize, _: Packet<'_>, _: u64) {}
    fn on_closed(&mut self, _: &mut Links, _: usize, _: &str) {}
}

struct Reader<'a> {
    links: &'a mut Links,
    buffer: &'a mut Vec<u8>,
    unfinished: &'a mut VecDeque<usize>,
}

impl Reader<'_> {
    fn handle_event(&mut self, handler: &mut impl Handler, event: &Event) {
        let who = event.token().0;
        if !self.links.is_open(who) || !self.ensure_connected(handler, who) {
            return;
        }
        if event.is_writable() && self.links.get(who).unblock() {
            self.links.out(who);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(handler, who, event.is_read_closed());
        }
    }

    fn ensure_connected(&mut self, handler: &mut impl Handler, who: usize) -> bool {
        let link = self.links.get(who);
        if link.connected {
            return true;
        }
        match link.check_connected() {
            Ok(true) => handler.on_connected(self.links, who),
            Ok(false) => return false,
            Err(error) => close(self.links, handler, who, &error.to_string()),
        }
        self.links.is_open(who)
    }

    /// Reads once, or again on a later turn if there is more. After a short read the kernel has nothing left, unless
    /// the stream has ended, which it announces only once.
    fn read(&mut self, handler: &mut impl Handler, who: usize, ended: bool) {
        let link = self.links.get(who);
        let kept = link.partial.len();
        if self.buffer.len() < kept + READ_CHUNK {
            self.buffer.resize(kept + READ_CHUNK, 0);
        }
        match link.read(&mut self.buffer[kept..]) {
            Ok(Reading::Empty) => {}
            Ok(Reading::Bytes { count, more }) => {
                self.buffer[..kept].copy_from_slice(&link.partial);
                link.partial.clear();
                if ended || more {
                    self.unfinished.push_back(who);
                }
                if link.veil.as_ref().is_some_and(|veil| veil.wants_write()) {
                    self.links.out(who);
                }
                self.deliver(handler, who, kept + count);
            }
            Err(error) => close(self.links, handler, who, &error.to_string()),
        }
    }

    fn deliver(&mut self, handler: &mut impl Handler, who: usize, end: usize) {
        let now_ns = self.links.now_ns();
        let mut rest = &self.buffer[..end];
        loop {
            match codec::decode(rest) {
                Ok(Some((packet, length))) => {
                    handler.on_packet(self.links, who, packet, now_ns);
                    rest = &rest[length..];
                }
                Ok(None) => break,
                Err(error) => return close(self.links, handler, who, &error.to_string()),
            }
        }
        self.links.get(who).partial.extend_from_slice(rest);
    }
}

fn close(links: &mut Links, handler: &mut impl Handler, who: usize, reason: &str) {
    if links.close(who) {
        handler.on_closed(links, who, reason);
    }
}
