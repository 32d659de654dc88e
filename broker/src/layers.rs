//! What is in front of MQTT on a connection that is not plain TCP: TLS, WebSocket, or WebSocket in TLS. No sockets: raw
//! bytes in, MQTT bytes out, and back.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::outbuffer::OutBuffer;
use crate::tls::{ClientName, Tls, TlsError};
use crate::websocket::{WebSocket, WebSocketError};

/// The layers of one connection. Plain TCP has none, and pays nothing for those who have.
#[derive(Debug)]
pub struct Layers {
    tls: Option<Tls>,
    websocket: Option<WebSocket>,
    /// Bytes for the socket.
    out: OutBuffer,
}

/// Why a connection ends below MQTT.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayerError {
    /// In TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// In WebSocket.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

impl LayerError {
    /// Whether TLS failed, as opposed to a goodbye.
    pub fn is_tls_failure(&self) -> bool {
        matches!(self, LayerError::Tls(TlsError::Failed(_)))
    }
}

impl Layers {
    /// These layers; nothing if there are none.
    pub fn new(tls: Option<Tls>, websocket: Option<WebSocket>) -> Option<Box<Layers>> {
        let any = tls.is_some() || websocket.is_some();
        any.then(|| Box::new(Layers { tls, websocket, out: OutBuffer::default() }))
    }

    /// Bytes from the socket; appends what they carry of MQTT. What has to be answered is in [`Layers::out`]. What came
    /// before an error is appended as well.
    pub fn receive(&mut self, raw: &[u8], plain: &mut BytesMut) -> Result<(), LayerError> {
        let Layers { tls, websocket, out } = self;
        match (tls, websocket) {
            (None, None) => plain.extend_from_slice(raw),
            (Some(tls), None) => tls.receive(raw, plain, out)?,
            (None, Some(websocket)) => {
                let received = websocket.receive(raw, plain);
                out.push(&websocket.take_output());
                received?;
            }
            (Some(tls), Some(websocket)) => {
                let mut inner = BytesMut::new();
                let decrypted = tls.receive(raw, &mut inner, out);
                let received = websocket.receive(&inner, plain);
                encrypt(tls, websocket.take_output(), out);
                // An end of TLS explains that of WebSocket.
                decrypted?;
                received?;
            }
        }
        Ok(())
    }

    /// Wraps everything in `plain` and takes it out; gives back the bytes for the socket.
    pub fn wrap(&mut self, plain: &mut OutBuffer) -> &mut OutBuffer {
        let Layers { tls, websocket, out } = self;
        match (tls, websocket) {
            _ if plain.is_empty() => {}
            (Some(tls), None) => tls.send(plain, out),
            (tls, Some(websocket)) => {
                websocket.send(plain.take());
                match tls {
                    Some(tls) => encrypt(tls, websocket.take_output(), out),
                    None => out.push(&websocket.take_output()),
                }
            }
            (None, None) => out.push(&plain.take()),
        }
        out
    }

    /// Says goodbye in the manner of each layer, the inner one first.
    pub fn close(&mut self) -> &mut OutBuffer {
        let Layers { tls, websocket, out } = self;
        let last_words = websocket.as_mut().map(|websocket| {
            websocket.close();
            websocket.take_output()
        });
        match (tls, last_words) {
            (Some(tls), last_words) => {
                encrypt(tls, last_words.unwrap_or_default(), out);
                tls.close(out);
            }
            (None, last_words) => out.push(&last_words.unwrap_or_default()),
        }
        out
    }

    /// Bytes for the socket.
    pub fn out(&mut self) -> &mut OutBuffer {
        &mut self.out
    }

    /// Bytes that wait for the socket.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Takes what waits for the socket.
    pub fn into_out(self) -> OutBuffer {
        self.out
    }

    /// Another bound for WebSocket frames and messages, once it is known who sends them.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        if let Some(websocket) = &mut self.websocket {
            websocket.set_max_bytes(max_bytes);
        }
    }

    /// Takes what the WebSocket upgrade says in X-Forwarded-For.
    pub fn take_forwarded_for(&mut self) -> Option<Box<str>> {
        self.websocket.as_mut().and_then(WebSocket::take_forwarded_for)
    }

    /// Whom the client's certificate names.
    pub fn client_name(&self) -> ClientName {
        self.tls.as_ref().map_or(ClientName::Unasked, Tls::client_name)
    }
}

fn encrypt(tls: &mut Tls, plain: Bytes, out: &mut OutBuffer) {
    let mut buffer = OutBuffer::default();
    buffer.push(&plain);
    tls.send(&mut buffer, out);
}
