//! One connection of a device: packets out, packets in, and whether it still stands.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hubbub_tests::wire::{self, Packet, take_packet};
use hubbub_tests::{Connect, PATIENCE, Version};

/// How long a device looks for packets before it sends the next ones.
const GLANCE: Duration = Duration::from_millis(5);

/// A connection after its CONNACK.
pub struct Line {
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// What came together with something that was waited for.
    early: Vec<Packet>,
    /// Whether the hub had a session.
    pub session_present: bool,
}

/// The hub is gone.
#[derive(Debug)]
pub struct Broken;

impl Line {
    /// Connects.
    ///
    /// # Panics
    /// If the hub is there and refuses.
    pub fn open(address: SocketAddr, connect: &Connect) -> Result<Line, Broken> {
        let stream = TcpStream::connect(address).map_err(|_| Broken)?;
        stream.set_nodelay(true).map_err(|_| Broken)?;
        stream.set_read_timeout(Some(GLANCE)).map_err(|_| Broken)?;
        let version = connect.version;
        let mut line = Line {
            stream,
            version,
            buffer: Vec::new(),
            out: Vec::new(),
            early: Vec::new(),
            session_present: false,
        };
        line.put(&connect.bytes());
        match line.wait_for(|packet| matches!(packet, Packet::ConnAck { .. }))? {
            Packet::ConnAck { session_present, code: 0, .. } => line.session_present = session_present,
            other => panic!("{} is not let in: {other:?}", connect.client_id),
        }
        Ok(line)
    }

    /// Bytes that leave with the next [`Line::flush`].
    pub fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Sends what was put.
    pub fn flush(&mut self) -> Result<(), Broken> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        sent.map_err(|_| Broken)
    }

    /// Packets that are there, or come within a moment.
    pub fn glance(&mut self) -> Result<Vec<Packet>, Broken> {
        self.flush()?;
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Broken),
            Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Err(Broken),
        }
        Ok(std::iter::from_fn(|| take_packet(&mut self.buffer, self.version)).collect())
    }

    /// Waits for a packet; those that come with it are seen by the next [`Line::glance`].
    ///
    /// # Panics
    /// If the hub stays and says nothing.
    pub fn wait_for(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<Packet, Broken> {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            assert!(Instant::now() < deadline, "the hub says nothing");
            let mut packets = self.glance()?;
            let found = packets.iter().position(&wanted).map(|at| packets.remove(at));
            others.append(&mut packets);
            if let Some(packet) = found {
                self.early = others;
                return Ok(packet);
            }
        }
    }

    /// DISCONNECT.
    pub fn leave(mut self) {
        self.put(&wire::disconnect());
        // If the hub is gone it needs no goodbye.
        self.flush().ok();
    }
}
