//! MQTT over WebSocket (MQTT 5 §6) without sockets: raw bytes in, MQTT bytes out, and back.
//!
//! tungstenite speaks RFC 6455 over a pipe in memory, so that a WebSocket connection lives in the same turn of an edge
//! as a plain one and can move from one edge to another.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::http::{HeaderValue, StatusCode, header};
use tungstenite::protocol::{Message, WebSocket as Frames, WebSocketConfig};

/// The name under which the library logs what is in frames, passwords included, for filters.
pub const LOG_TARGET: &str = "tungstenite";

/// What an upgrade has to satisfy.
#[derive(Debug, Clone)]
pub struct Door {
    /// Path of the request.
    pub path: String,
    /// Origins that browsers may come from; if empty, the host of the request itself.
    pub origins: Vec<String>,
    /// Bytes of a frame and of a message.
    pub max_bytes: usize,
}

/// Why a WebSocket connection has to end; all are the peer's fault, except the last.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WebSocketError {
    /// The upgrade was refused; the answer is in the output.
    #[error("the websocket upgrade was refused")]
    Refused,
    /// MQTT travels in binary frames only (§6.0.0-1).
    #[error("a websocket frame that is not binary")]
    NotBinary,
    /// The peer closed.
    #[error("the websocket was closed")]
    Closed,
    /// RFC 6455 was not kept.
    #[error("websocket: {0}")]
    Protocol(String),
}

/// One WebSocket connection.
pub struct WebSocket {
    state: State,
    /// The upgrade request as far as it has come.
    request: BytesMut,
    /// For whom a proxy asked.
    forwarded_for: Option<Box<str>>,
}

/// Bytes of an upgrade request; browsers with large cookies need a few thousand.
const MAX_REQUEST: usize = 16 * 1024;

enum State {
    Upgrading(Box<MidHandshake<ServerHandshake<Pipe, Door>>>),
    Open(Box<Frames<Pipe>>),
    /// With what is still to be written.
    Over(BytesMut),
}

#[derive(Debug, Default)]
struct Pipe {
    input: BytesMut,
    output: BytesMut,
}

impl WebSocket {
    /// Waits for the upgrade request.
    pub fn new(door: Door) -> WebSocket {
        let config = WebSocketConfig::default()
            .max_frame_size(Some(door.max_bytes))
            .max_message_size(Some(door.max_bytes))
            .read_buffer_size(4096)
            .write_buffer_size(0);
        let state = match tungstenite::accept_hdr_with_config(Pipe::default(), door, Some(config)) {
            Err(HandshakeError::Interrupted(waiting)) => State::Upgrading(Box::new(waiting)),
            Ok(frames) => State::Open(Box::new(frames)),
            Err(HandshakeError::Failure(_)) => State::Over(BytesMut::new()),
        };
        WebSocket { state, request: BytesMut::new(), forwarded_for: None }
    }

    /// Bytes from the socket; appends what they carry of MQTT.
    pub fn receive(&mut self, raw: &[u8], plain: &mut BytesMut) -> Result<(), WebSocketError> {
        match &mut self.state {
            State::Upgrading(waiting) => {
                self.request.extend_from_slice(raw);
                let Some(end) = self.request.windows(4).position(|end| end == b"\r\n\r\n") else {
                    return self.request_fits();
                };
                self.forwarded_for = forwarded_for(&self.request[..end]);
                // Frames that a hasty client sent along must not be seen by the handshake.
                waiting.get_mut().get_mut().input = self.request.split_to(end + 4);
                self.upgrade()?;
                let early = std::mem::take(&mut self.request);
                self.receive(&early, plain)
            }
            State::Open(frames) => {
                frames.get_mut().input.extend_from_slice(raw);
                self.receive_open(plain)
            }
            State::Over(_) => Err(WebSocketError::Closed),
        }
    }

    fn request_fits(&self) -> Result<(), WebSocketError> {
        if self.request.len() > MAX_REQUEST {
            return Err(WebSocketError::Protocol("the upgrade request is too long".to_owned()));
        }
        Ok(())
    }

    fn upgrade(&mut self) -> Result<(), WebSocketError> {
        let State::Upgrading(waiting) = std::mem::replace(&mut self.state, State::Over(BytesMut::new()))
        else {
            return Ok(());
        };
        match waiting.handshake() {
            Ok(frames) => self.state = State::Open(Box::new(frames)),
            Err(HandshakeError::Interrupted(waiting)) => self.state = State::Upgrading(Box::new(waiting)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let line = format!(
                    "HTTP/1.1 {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    response.status()
                );
                self.state = State::Over(line.as_bytes().into());
                return Err(WebSocketError::Refused);
            }
            Err(HandshakeError::Failure(error)) => {
                self.state = State::Over(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..].into());
                return Err(WebSocketError::Protocol(error.to_string()));
            }
        }
        Ok(())
    }

    fn receive_open(&mut self, plain: &mut BytesMut) -> Result<(), WebSocketError> {
        let State::Open(frames) = &mut self.state else { return Ok(()) };
        loop {
            match frames.read() {
                Ok(Message::Binary(bytes)) => plain.extend_from_slice(&bytes),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Text(_)) => return Err(WebSocketError::NotBinary),
                Ok(Message::Close(_)) => return Err(WebSocketError::Closed),
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Err(WebSocketError::Closed);
                }
                Err(error) => return Err(WebSocketError::Protocol(error.to_string())),
            }
        }
        // Pongs that were queued while reading; writing to memory never blocks.
        let _ = frames.flush();
        Ok(())
    }

    /// Another bound for frames and messages, once it is known who sends them.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        if let State::Open(frames) = &mut self.state {
            frames.set_config(|config| {
                *config = config.max_frame_size(Some(max_bytes)).max_message_size(Some(max_bytes));
            });
        }
    }

    /// Takes what the upgrade says in X-Forwarded-For, all of them in their order.
    pub fn take_forwarded_for(&mut self) -> Option<Box<str>> {
        self.forwarded_for.take()
    }

    /// Puts MQTT bytes into one binary frame.
    pub fn send(&mut self, plain: Bytes) {
        if let State::Open(frames) = &mut self.state {
            // Writing to memory fails only after a close; then there is nobody to hear it.
            let _ = frames.write(Message::Binary(plain));
            let _ = frames.flush();
        }
    }

    /// Says goodbye in the manner of RFC 6455.
    pub fn close(&mut self) {
        if let State::Open(frames) = &mut self.state {
            let _ = frames.close(None);
            let _ = frames.flush();
        }
    }

    /// Takes the bytes that have to go to the socket.
    pub fn take_output(&mut self) -> Bytes {
        let output = match &mut self.state {
            State::Upgrading(waiting) => &mut waiting.get_mut().get_mut().output,
            State::Open(frames) => &mut frames.get_mut().output,
            State::Over(output) => output,
        };
        output.split().freeze()
    }

    /// Whether the upgrade is done.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }
}

fn forwarded_for(request: &[u8]) -> Option<Box<str>> {
    let lines = request.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let fields = lines.filter_map(|line| line.split_once(':'));
    let values = fields.filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
    let values: Vec<&str> = values.map(|(_, value)| value.trim()).collect();
    (!values.is_empty()).then(|| values.join(",").into())
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.input.len());
        buffer[..count].copy_from_slice(&self.input[..count]);
        self.input.advance(count);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Callback for Door {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if request.uri().path() != self.path {
            return Err(refuse(StatusCode::NOT_FOUND));
        }
        if !self.admits(request) {
            return Err(refuse(StatusCode::FORBIDDEN));
        }
        if let Some(offered) = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL) {
            let offered = offered.to_str().unwrap_or_default();
            let is_offered = |known: &&str| offered.split(',').any(|name| name.trim() == *known);
            // The one of the specification (§6), or what clients of 3.1 say.
            let Some(chosen) = ["mqtt", "mqttv3.1"].into_iter().find(is_offered) else {
                return Err(refuse(StatusCode::BAD_REQUEST));
            };
            let chosen = HeaderValue::from_static(chosen);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        Ok(response)
    }
}

impl Door {
    /// Browsers send where their page came from; programs send nothing.
    fn admits(&self, request: &Request) -> bool {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        if !self.origins.is_empty() {
            return self.origins.contains(&origin);
        }
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let own = origin.split_once("://").map_or("", |(_, host)| host);
        !own.is_empty() && without_port(own) == without_port(&host.to_ascii_lowercase())
    }
}

/// A page and its chat server often share the host and not the port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn refuse(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(origins: &[&str]) -> Door {
        let origins = origins.iter().map(|o| (*o).to_owned()).collect();
        Door { path: "/mqtt".into(), origins, max_bytes: 1000 }
    }

    fn upgrade(path: &str, more: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: chat.example:8083\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    }

    fn answer(door: Door, request: &str) -> String {
        let mut socket = WebSocket::new(door);
        let _ = socket.receive(request.as_bytes(), &mut BytesMut::new());
        String::from_utf8(socket.take_output().to_vec()).unwrap()
    }

    /// A masked binary frame with the mask 0, so that it reads as it stands.
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80 | kind, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn the_upgrade_chooses_mqtt() {
        let reply = answer(door(&[]), &upgrade("/mqtt", "Sec-WebSocket-Protocol: foo, mqtt\r\n"));
        assert!(reply.starts_with("HTTP/1.1 101"), "{reply}");
        assert!(reply.to_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{reply}");
    }

    #[test]
    fn wrong_path_protocol_or_origin_is_refused() {
        for (request, status) in [
            (upgrade("/other", ""), "404"),
            (upgrade("/mqtt", "Sec-WebSocket-Protocol: chat\r\n"), "400"),
            (upgrade("/mqtt", "Origin: https://evil.example\r\n"), "403"),
        ] {
            let reply = answer(door(&[]), &request);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {reply}");
        }
        let own = upgrade("/mqtt", "Origin: https://chat.example\r\n");
        assert!(answer(door(&[]), &own).starts_with("HTTP/1.1 101"));
        assert!(answer(door(&["https://app.example"]), &own).starts_with("HTTP/1.1 403"));
    }

    #[test]
    fn for_whom_a_proxy_asks_is_kept() {
        let told = |more: &str| {
            let mut socket = WebSocket::new(door(&[]));
            socket.receive(upgrade("/mqtt", more).as_bytes(), &mut BytesMut::new()).unwrap();
            socket.take_forwarded_for()
        };
        assert_eq!(told(""), None);
        assert_eq!(told("x-forwarded-FOR: 192.0.2.7\r\n").as_deref(), Some("192.0.2.7"));
        let two = "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n";
        assert_eq!(told(two).as_deref(), Some("1.1.1.1, 2.2.2.2,3.3.3.3"));
    }

    #[test]
    fn packets_cut_anywhere_arrive_whole() {
        let bytes = [upgrade("/mqtt", "").into_bytes(), frame(2, b"abc"), frame(2, b"def")].concat();
        for cut in 0..bytes.len() {
            let (mut socket, mut plain) = (WebSocket::new(door(&[])), BytesMut::new());
            socket.receive(&bytes[..cut], &mut plain).unwrap();
            socket.receive(&bytes[cut..], &mut plain).unwrap();
            assert_eq!(&plain[..], b"abcdef", "cut at {cut}");
        }
    }

    #[test]
    fn text_frames_and_frames_beyond_the_limit_end_it() {
        let open = |frame: &[u8]| {
            let mut socket = WebSocket::new(door(&[]));
            socket.receive(upgrade("/mqtt", "").as_bytes(), &mut BytesMut::new()).unwrap();
            socket.receive(frame, &mut BytesMut::new())
        };
        assert_eq!(open(&frame(1, b"abc")), Err(WebSocketError::NotBinary));
        assert_eq!(open(&frame(8, b"")), Err(WebSocketError::Closed));
        let huge = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert!(matches!(open(&huge), Err(WebSocketError::Protocol(_))));
    }
}
