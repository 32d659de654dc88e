//! How a client gets to the hub: over TCP, TLS, WebSocket, or WebSocket over TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};

use crate::certificates::Trust;

/// A way to the hub.
#[derive(Clone)]
pub struct Way {
    address: SocketAddr,
    tls: Option<Trust>,
    websocket: bool,
    piecemeal: bool,
    first: Vec<u8>,
    fields: String,
}

/// A connection, whatever is below.
pub trait Pipe: Read + Write + Send {
    /// The socket at the bottom.
    fn socket(&self) -> &TcpStream;
}

impl Way {
    /// Plain TCP.
    pub fn tcp(address: SocketAddr) -> Way {
        Way {
            address,
            tls: None,
            websocket: false,
            piecemeal: false,
            first: Vec::new(),
            fields: String::new(),
        }
    }

    /// TLS.
    pub fn tls(address: SocketAddr, trust: &Trust) -> Way {
        Way { tls: Some(trust.clone()), ..Way::tcp(address) }
    }

    /// With WebSocket above.
    pub fn websocket(self) -> Way {
        Way { websocket: true, ..self }
    }

    /// Each byte in a write, and below TLS in a segment, of its own.
    pub fn piecemeal(self) -> Way {
        Way { piecemeal: true, ..self }
    }

    /// With these bytes in front of everything else, as a proxy sends them.
    pub fn behind(self, header: &[u8]) -> Way {
        Way { first: header.to_vec(), ..self }
    }

    /// With this field in the request of a WebSocket, as a proxy adds it.
    pub fn with_field(self, name: &str, value: &str) -> Way {
        Way { fields: format!("{}{name}: {value}\r\n", self.fields), ..self }
    }

    /// Connects. A TLS handshake happens with the first byte; that of WebSocket happens now.
    ///
    /// # Panics
    /// If nobody listens, or the hub does not upgrade.
    pub fn connect(&self) -> Box<dyn Pipe> {
        let mut socket = TcpStream::connect(self.address).expect("the hub accepts connections");
        socket.set_nodelay(true).unwrap();
        socket.write_all(&self.first).unwrap();
        let pipe: Box<dyn Pipe> = match self.piecemeal {
            true => Box::new(Piecemeal(socket)),
            false => Box::new(socket),
        };
        let pipe = match &self.tls {
            Some(trust) => Box::new(StreamOwned::new(connection(trust), pipe)),
            None => pipe,
        };
        if self.websocket { Box::new(Frames::upgrade(pipe, self)) } else { pipe }
    }

    /// The first bytes of a TLS handshake.
    pub fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        connection(self.tls.as_ref().expect("a way with TLS")).write_tls(&mut hello).unwrap();
        hello
    }

    /// Goes through the TLS handshake; the certificate that the hub shows, or why it failed.
    pub fn shakes_hands(&self) -> Result<CertificateDer<'static>, String> {
        let trust = self.tls.as_ref().expect("a way with TLS");
        let mut socket = TcpStream::connect(self.address).expect("the hub accepts connections");
        socket.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        let mut connection = connection(trust);
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(|error| error.to_string())?;
        }
        Ok(connection.peer_certificates().unwrap()[0].clone())
    }
}

fn connection(trust: &Trust) -> ClientConnection {
    ClientConnection::new(trust.config(), trust.name()).unwrap()
}

impl Pipe for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Pipe for StreamOwned<ClientConnection, Box<dyn Pipe>> {
    fn socket(&self) -> &TcpStream {
        self.sock.socket()
    }
}

/// A socket that sends each byte in a segment of its own.
struct Piecemeal(TcpStream);

impl Read for Piecemeal {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Piecemeal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Pipe for Piecemeal {
    fn socket(&self) -> &TcpStream {
        &self.0
    }
}

/// Each write in a binary frame (RFC 6455 §5.2).
struct Frames {
    below: Box<dyn Pipe>,
    /// Bytes as they came, and those out of frames that nobody took yet.
    raw: Vec<u8>,
    plain: Vec<u8>,
}

impl Frames {
    fn upgrade(mut below: Box<dyn Pipe>, way: &Way) -> Frames {
        let Way { address, fields, .. } = way;
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n{fields}\r\n"
        );
        below.socket().set_read_timeout(Some(crate::PATIENCE)).unwrap();
        below.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            below.read_exact(&mut byte).expect("the answer to the upgrade");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Frames { below, raw: Vec::new(), plain: Vec::new() }
    }

    /// Takes a whole frame out of the raw bytes; `false` once that is the one that closes.
    fn unwrap_frame(&mut self) -> Option<bool> {
        let (head, length) = match self.raw[..] {
            [_, length @ 0..126, ..] => (2, u64::from(length)),
            [_, 126, a, b, ..] => (4, u64::from(u16::from_be_bytes([a, b]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => return None,
        };
        let end = head + length as usize;
        let first = *self.raw.first()?;
        let payload = self.raw.get(head..end)?;
        if first == 0x82 {
            self.plain.extend_from_slice(payload);
        }
        self.raw.drain(..end);
        Some(first != 0x88)
    }
}

impl Read for Frames {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.plain.is_empty() {
            match self.unwrap_frame() {
                Some(true) => continue,
                Some(false) => return Ok(0),
                None => {}
            }
            let mut some = [0; 16 * 1024];
            match self.below.read(&mut some)? {
                0 => return Ok(0),
                count => self.raw.extend_from_slice(&some[..count]),
            }
        }
        let count = bytes.len().min(self.plain.len());
        bytes[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut frame = vec![0x82];
        match bytes.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        // The mask is zero, so the bytes stay as they are.
        frame.extend([0; 4]);
        frame.extend(bytes);
        self.below.write_all(&frame)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }
}

impl Pipe for Frames {
    fn socket(&self) -> &TcpStream {
        self.below.socket()
    }
}
