//! MQTT over TLS without sockets: raw bytes in, plain bytes out, and back.
//!
//! rustls keeps the state of the connection and nothing of the socket, so a TLS connection lives in the same turn of an
//! edge as a plain one and can move from one edge to another.

mod acceptor;
mod client_name;
mod mistake;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use hubbub_config::ClientUser;
use rustls::{ServerConfig, ServerConnection};
use thiserror::Error;

use crate::outbuffer::{OutBuffer, SLICES};

pub use acceptor::{Expiring, TlsAcceptor};
pub use client_name::ClientName;
pub use mistake::{TlsMistake, TlsMistakes};

/// Why a TLS connection has to end; all are the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsError {
    /// The peer said goodbye (close_notify, RFC 8446 §6.1).
    #[error("the tls connection was closed")]
    Closed,
    /// The handshake failed, or a record is wrong; an alert that says so is in the output.
    #[error("tls: {0}")]
    Failed(String),
}

/// One TLS connection.
pub struct Tls {
    connection: ServerConnection,
    client_user: ClientUser,
    /// It failed: what else is to be sent finds no ear.
    failed: bool,
}

/// The library reads this much at once, and keeps a larger buffer after a larger record until it reads again.
const READ_SIZE: usize = 4096;

impl Tls {
    fn new(config: Arc<ServerConfig>, client_user: ClientUser) -> Result<Tls, TlsError> {
        let connection = ServerConnection::new(config).map_err(|error| failed(&error))?;
        Ok(Tls { connection, client_user, failed: false })
    }

    /// Bytes from the socket; appends what they carry, and what has to be answered. What came before an error is
    /// appended as well.
    pub fn receive(&mut self, raw: &[u8], plain: &mut BytesMut, out: &mut OutBuffer) -> Result<(), TlsError> {
        let received = self.read(raw, plain);
        self.failed |= matches!(received, Err(TlsError::Failed(_)));
        if raw.len() > READ_SIZE {
            // There is nothing to read: this is how the library is made to give memory back.
            let _ = self.connection.read_tls(&mut Nothing);
        }
        self.take_output(out);
        received
    }

    fn read(&mut self, mut raw: &[u8], plain: &mut BytesMut) -> Result<(), TlsError> {
        while !raw.is_empty() {
            let count = self.connection.read_tls(&mut raw).map_err(|error| failed(&error))?;
            let state = self.connection.process_new_packets();
            self.take_plain(plain);
            // Nothing is read behind a close_notify.
            if state.map_err(|error| failed(&error))?.peer_has_closed() || count == 0 {
                return Err(TlsError::Closed);
            }
        }
        Ok(())
    }

    fn take_plain(&mut self, plain: &mut BytesMut) {
        let mut reader = self.connection.reader();
        while let Ok(chunk) = reader.fill_buf() {
            let count = chunk.len();
            if count == 0 {
                return;
            }
            plain.extend_from_slice(chunk);
            reader.consume(count);
        }
    }

    /// Encrypts everything in `plain`. What the library has encrypted is taken out at once, so that it counts against
    /// the bound of the connection and the library's own bound is never met.
    pub fn send(&mut self, plain: &mut OutBuffer, out: &mut OutBuffer) {
        while !plain.is_empty() && !self.failed {
            let mut slices = [io::IoSlice::new(&[]); SLICES];
            let count = plain.slices(&mut slices);
            match self.connection.writer().write_vectored(&slices[..count]) {
                Ok(written) if written > 0 => plain.advance(written),
                _ => self.failed = true,
            }
            self.take_output(out);
        }
        // Behind an error nobody hears it.
        *plain = OutBuffer::default();
    }

    /// Says goodbye in the manner of TLS.
    pub fn close(&mut self, out: &mut OutBuffer) {
        self.connection.send_close_notify();
        self.take_output(out);
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whom the client's certificate names, once the handshake is done.
    pub fn client_name(&self) -> ClientName {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        client_name::of(self.client_user, certificates.first())
    }

    fn take_output(&mut self, out: &mut OutBuffer) {
        let mut tail = out.raw().writer();
        while self.connection.wants_write() {
            // Writing to memory does not fail.
            if self.connection.write_tls(&mut tail).is_err() {
                return;
            }
        }
    }
}

fn failed(error: &impl ToString) -> TlsError {
    TlsError::Failed(error.to_string())
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// A socket on which nothing has arrived.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
