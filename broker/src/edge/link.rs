//! One connection of a session: its socket, what is in front of MQTT, and the bytes in both directions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;

use super::authenticate::Agreed;
use crate::codec::{CodecError, Decoder, Packet, decode};
use crate::gate::Seat;
use crate::layers::{LayerError, Layers};
use crate::limit::Pace;
use crate::outbuffer::{OutBuffer, SLICES};
use crate::tally::Sent;

/// How long the last bytes of a connection may take to leave, and to be read by the client.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// A connection after its login.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells this connection from an earlier one of the same session.
    pub number: u64,
    /// The half that is written to.
    pub stream: OwnedWriteHalf,
    /// Where from.
    pub peer: SocketAddr,
    /// The tasks that work for it.
    pub tasks: [Option<JoinHandle<()>>; 2],
    pub out: OutBuffer,
    /// Queued for the flush at the end of the turn.
    pub dirty: bool,
    /// The socket takes nothing more; a task waits until it does.
    pub blocked: bool,
    /// Nothing is written before what this stands for is on disk: a client may rely on CONNACK for its will, and for the end of a
    /// session that it wants no more.
    pub held: Option<u64>,
    /// How its client proves who it is, if CONNECT named a method (MQTT 5 §4.12).
    pub agreed: Option<Box<Agreed>>,
    /// Its place among those of its address and of its user, if they are counted.
    pub seat: Option<Box<Seat>>,
    /// How much its client has sent lately, if that is bounded.
    pub pace: Option<Box<Pace>>,
    layers: Option<Box<Layers>>,
    decoder: Decoder,
    partial: BytesMut,
}

/// What a task of a connection does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Reads.
    Read,
    /// Waits until a socket that was full takes bytes again.
    Write,
}

/// What came out of the bytes.
pub(super) enum Next {
    Packet(Packet),
    Incomplete,
}

impl Link {
    pub fn new(
        number: u64,
        stream: OwnedWriteHalf,
        peer: SocketAddr,
        layers: Option<Box<Layers>>,
        decoder: Decoder,
        rest: BytesMut,
    ) -> Link {
        Link {
            number,
            stream,
            peer,
            tasks: [None, None],
            out: OutBuffer::default(),
            dirty: false,
            blocked: false,
            held: None,
            agreed: None,
            seat: None,
            pace: None,
            layers,
            decoder,
            partial: rest,
        }
    }

    /// Bytes from the socket; gives back the MQTT bytes that can be decoded now.
    pub fn receive(&mut self, raw: Bytes) -> Result<Bytes, LayerError> {
        if let Some(layers) = &mut self.layers {
            layers.receive(&raw, &mut self.partial)?;
        } else if self.partial.is_empty() {
            return Ok(raw);
        } else {
            self.partial.extend_from_slice(&raw);
        }
        Ok(self.take_partial())
    }

    /// What was left over, if there is a whole packet in it or the decoder has to see what is wrong.
    pub fn take_partial(&mut self) -> Bytes {
        // A large packet is put together first: looking at it again with each piece would cost the square of its size.
        let whole = decode::needs(&self.partial)
            .is_none_or(|size| self.partial.len() >= size || self.too_large(size));
        if whole { self.partial.split().freeze() } else { Bytes::new() }
    }

    /// Whether a whole packet was left over.
    pub fn has_packet(&self) -> bool {
        decode::needs(&self.partial).is_some_and(|size| self.partial.len() >= size || self.too_large(size))
    }

    fn too_large(&self, size: usize) -> bool {
        size > self.decoder.limits().packet_bytes
    }

    /// The next packet.
    pub fn next(&mut self, bytes: &mut Bytes) -> Result<Next, CodecError> {
        match self.decoder.decode(bytes)? {
            Some(packet) => Ok(Next::Packet(packet)),
            None => {
                self.keep(bytes);
                Ok(Next::Incomplete)
            }
        }
    }

    /// Keeps bytes for later.
    pub fn keep(&mut self, bytes: &mut Bytes) {
        let rest = std::mem::take(bytes);
        if rest.is_empty() {
            return;
        }
        if self.partial.is_empty() {
            self.partial = BytesMut::from(&rest[..]);
        } else {
            let mut all = BytesMut::with_capacity(rest.len() + self.partial.len());
            all.extend_from_slice(&rest);
            all.extend_from_slice(&self.partial);
            self.partial = all;
        }
    }

    /// Writes as much as the socket takes; `false` if bytes are left.
    pub fn flush(&mut self) -> io::Result<bool> {
        let out = match &mut self.layers {
            Some(layers) => layers.wrap(&mut self.out),
            None => &mut self.out,
        };
        write(self.stream.as_ref(), out)
    }

    /// What was sent since this was last asked: packets, and the bytes in which they stood on the socket.
    pub fn take_sent(&mut self) -> Sent {
        let packets = self.out.take_sent();
        match &mut self.layers {
            Some(layers) => Sent { bytes: layers.out().take_sent().bytes, ..packets },
            None => packets,
        }
    }

    /// Bytes that wait, encrypted and framed ones included.
    pub fn waiting(&self) -> usize {
        self.out.len() + self.layers.as_ref().map_or(0, |layers| layers.waiting())
    }

    /// The last bytes of a connection, for a socket that does not take them at once.
    pub fn into_rest(mut self) -> (OwnedWriteHalf, OutBuffer) {
        self.tasks.iter().flatten().for_each(|task| task.abort());
        let Some(mut layers) = self.layers else { return (self.stream, self.out) };
        layers.wrap(&mut self.out);
        layers.close();
        (self.stream, layers.into_out())
    }
}

/// Writes until the socket takes nothing more; `true` if nothing is left.
pub(super) fn write(stream: &TcpStream, out: &mut OutBuffer) -> io::Result<bool> {
    while !out.is_empty() {
        match write_once(stream, out) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => out.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    out.release();
    Ok(true)
}

fn write_once(stream: &TcpStream, out: &OutBuffer) -> io::Result<usize> {
    if let Some(only) = out.only_slice() {
        return stream.try_write(only);
    }
    let mut slices = [io::IoSlice::new(&[]); SLICES];
    let count = out.slices(&mut slices);
    stream.try_write_vectored(&slices[..count])
}

/// Reads and drops what still comes, until the client has closed its side.
pub(super) async fn drain(stream: &TcpStream) {
    let mut dropped = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut dropped) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
