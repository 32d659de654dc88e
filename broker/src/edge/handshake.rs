//! From an accepted socket to a checked CONNECT, under one total deadline.

mod exchange;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::link;
use crate::codec::encode;
use crate::codec::{CodecError, Connect, Decoder, Packet, Version};
use crate::counters::Counters;
use crate::policy::{Door, Identity, LoginRefusal, LoginRequest};
use crate::shared::Shared;
use crate::topic;
use crate::websocket::WebSocket;

/// A client that may come in, on its way to its home edge.
pub struct Arrival {
    /// The socket.
    pub stream: Carried,
    /// What is in front of MQTT.
    pub websocket: Option<Box<WebSocket>>,
    /// Knows the version by now.
    pub decoder: Decoder,
    /// Bytes behind the CONNECT.
    pub rest: BytesMut,
    /// The CONNECT, with the client id that it was given.
    pub connect: Box<Connect>,
    /// Whether the server chose the client id.
    pub assigned: bool,
    /// Who it is.
    pub identity: Identity,
    /// The last word of the authentication method, for CONNACK.
    pub proof: Bytes,
    /// Where from.
    pub peer: SocketAddr,
}

/// A socket, in the runtime of this edge or in none while it moves to another one.
pub enum Carried {
    /// Accepted here.
    Here(TcpStream),
    /// On its way.
    Moving(std::net::TcpStream),
}

impl Arrival {
    /// Takes the socket out of this edge's runtime; nothing if the system refuses.
    pub fn pack(self) -> Option<Arrival> {
        let stream = match self.stream {
            Carried::Here(stream) => Carried::Moving(stream.into_std().ok()?),
            moving => moving,
        };
        Some(Arrival { stream, ..self })
    }
}

/// Reads the CONNECT and has it checked; nothing if the client is not let in. Takes as long as the client does: the
/// caller sets the deadline.
pub async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    shared: Arc<Shared>,
) -> Option<Arrival> {
    let websocket = (door == Door::WebSocket).then(|| Box::new(WebSocket::new(shared.settings.door.clone())));
    let decoder = Decoder::new(shared.settings.before_login);
    let (raw, plain, counters) = (BytesMut::new(), BytesMut::new(), shared.counters.clone());
    let mut newcomer = Newcomer { stream, websocket, decoder, raw, plain, counters };
    let outcome = newcomer.connect().await;
    match outcome {
        Ok(connect) => newcomer.enter(connect, peer, door, &shared).await,
        Err(refusal) => {
            shared.counters.connections_refused_total.add(1);
            tracing::debug!(%peer, ?refusal, "no connect");
            newcomer.refuse_bytes(refusal).await;
            None
        }
    }
}

/// Bytes of a client id. It stands in every frame about its session, and those of a connect do not wait for credit.
const MAX_CLIENT_ID: usize = 1024;

struct Newcomer {
    stream: TcpStream,
    websocket: Option<Box<WebSocket>>,
    decoder: Decoder,
    raw: BytesMut,
    plain: BytesMut,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum NoConnect {
    /// Gone, or not MQTT at all: nothing to say.
    Silent,
    /// A packet that is wrong.
    Codec(CodecError),
}

/// Why a CONNECT is not accepted.
#[derive(Debug)]
enum Refusal {
    /// The client is gone: there is nobody to tell.
    Gone,
    /// Reason code of MQTT 5, and a sentence.
    Told(u8, &'static str),
}

impl Newcomer {
    async fn connect(&mut self) -> Result<Box<Connect>, NoConnect> {
        match self.packet().await? {
            Packet::Connect(connect) => {
                self.counters.connects_total.add(1);
                Ok(connect)
            }
            _ => Err(NoConnect::Silent),
        }
    }

    async fn packet(&mut self) -> Result<Packet, NoConnect> {
        loop {
            let mut bytes = self.plain.split().freeze();
            let decoded = self.decoder.decode(&mut bytes).map_err(NoConnect::Codec)?;
            self.plain = BytesMut::from(&bytes[..]);
            match decoded {
                Some(packet) => {
                    self.counters.packets_received_total.add(1);
                    return Ok(packet);
                }
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), NoConnect> {
        self.stream.readable().await.map_err(|_| NoConnect::Silent)?;
        self.raw.reserve(1024);
        match self.stream.try_read_buf(&mut self.raw) {
            Ok(0) => return Err(NoConnect::Silent),
            Ok(count) => self.counters.bytes_received_total.add(count as u64),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(NoConnect::Silent),
        }
        let Some(websocket) = &mut self.websocket else {
            self.plain.unsplit(self.raw.split());
            return Ok(());
        };
        let received = websocket.receive(&self.raw.split(), &mut self.plain);
        let reply = websocket.take_output();
        self.stream.write_all(&reply).await.map_err(|_| NoConnect::Silent)?;
        self.counters.bytes_sent_total.add(reply.len() as u64);
        match received {
            // What came before the end still counts.
            Err(_) if !self.plain.is_empty() => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "websocket ended");
                Err(NoConnect::Silent)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn enter(
        mut self,
        mut connect: Box<Connect>,
        peer: SocketAddr,
        door: Door,
        shared: &Shared,
    ) -> Option<Arrival> {
        let assigned = connect.client_id.is_empty();
        let login = match self.client_id(&mut connect) {
            Err(why) => Err(Refusal::Told(0x85, why)),
            Ok(()) => self.check(&connect, peer, door, shared).await,
        };
        match login {
            Ok((identity, proof)) => {
                self.decoder.set_limits(shared.settings.after_login);
                if let Some(websocket) = &mut self.websocket {
                    websocket.set_max_bytes(shared.settings.after_login.packet_bytes);
                }
                let Newcomer { stream, websocket, decoder, plain: rest, .. } = self;
                let stream = Carried::Here(stream);
                Some(Arrival { stream, websocket, decoder, rest, connect, assigned, identity, proof, peer })
            }
            Err(Refusal::Gone) => {
                shared.counters.connections_refused_total.add(1);
                tracing::debug!(client = %connect.client_id, %peer, "gone before the end of its authentication");
                None
            }
            Err(Refusal::Told(code, reason)) => {
                shared.counters.connections_refused_total.add(1);
                tracing::info!(client = %connect.client_id, %peer, code, reason, "client refused");
                let max = connect.properties.maximum_packet_size;
                self.refuse(connect.version, code, reason, max).await;
                None
            }
        }
    }

    /// A client without an id gets one, if its version allows (MQTT 5 §3.1.3.1, 3.1.1 §3.1.3.1).
    fn client_id(&self, connect: &mut Connect) -> Result<(), &'static str> {
        if connect.client_id.is_empty() {
            let allowed = match connect.version {
                Version::V5 => true,
                Version::V311 => connect.clean_start,
                Version::V31 => false,
            };
            if !allowed {
                return Err("a client id is needed");
            }
            connect.client_id = format!("auto-{:016x}", ahash::RandomState::new().hash_one(0)).into();
        } else if connect.client_id.len() > MAX_CLIENT_ID {
            return Err("the client id is too long");
        } else {
            // Copied, so that it does not keep the read buffer.
            connect.client_id = ByteString::from(&*connect.client_id);
        }
        Ok(())
    }

    async fn refuse_bytes(self, refusal: NoConnect) {
        let NoConnect::Codec(error) = refusal else { return };
        let version = self.decoder.version();
        match (version, error) {
            (Some(Version::V5), _) => {
                self.refuse(Version::V5, error.reason_code(), &error.to_string(), None).await
            }
            // A level above 5 gets the answer of 5, others that of 3.1.1 (§3.1.2.2 of both). With the highest bit set it
            // is a bridge of Mosquitto, which tries again as a plain client when 3.1.1 refuses.
            (_, CodecError::UnsupportedVersion(6..=0x7f)) => {
                self.refuse(Version::V5, 0x84, error.what(), None).await
            }
            (_, CodecError::UnsupportedVersion(_)) => self.refuse(Version::V311, 0x84, "", None).await,
            _ => {}
        }
    }

    async fn refuse(mut self, version: Version, code: u8, reason: &str, max: Option<u32>) {
        let mut out = BytesMut::new();
        encode::refusal(&mut out, version, code, reason, max);
        // The client may be gone; there is nobody else to tell.
        let _ = self.send(out.freeze(), true).await;
        let _ = self.stream.shutdown().await;
        // Closing while something is unread would reset the connection before the client has read the answer.
        spawn_local(async move { tokio::time::timeout(link::LINGER, link::drain(&self.stream)).await });
    }
    async fn send(&mut self, bytes: Bytes, last: bool) -> std::io::Result<()> {
        let bytes = match &mut self.websocket {
            Some(websocket) => {
                websocket.send(bytes);
                if last {
                    websocket.close();
                }
                websocket.take_output()
            }
            None => bytes,
        };
        self.stream.write_all(&bytes).await?;
        self.counters.packets_sent_total.add(1);
        self.counters.bytes_sent_total.add(bytes.len() as u64);
        Ok(())
    }

    /// Who it is, and what CONNACK has to say in the words of the authentication method.
    async fn check(
        &mut self,
        connect: &Connect,
        peer: SocketAddr,
        door: Door,
        shared: &Shared,
    ) -> Result<(Identity, Bytes), Refusal> {
        let limits = &shared.settings.session.topics;
        if let Some(will) = &connect.will
            && topic::check_name(&will.topic, limits).is_err()
        {
            return Err(Refusal::Told(0x90, "invalid will topic"));
        }
        let request = LoginRequest {
            door,
            peer,
            client: connect.client_id.clone(),
            username: connect.username.clone(),
            password: connect.password.clone(),
        };
        match &connect.properties.authentication_method {
            Some(method) => match shared.policy.exchange(method, request) {
                Some(exchange) => self.authenticate(connect, method, exchange).await,
                None => Err(Refusal::Told(0x8c, "this authentication method is not offered")),
            },
            None => {
                let identity = shared.policy.login(request).await.map_err(refusal)?;
                Ok((identity, Bytes::new()))
            }
        }
    }
}

fn refusal(refusal: LoginRefusal) -> Refusal {
    match refusal {
        LoginRefusal::BadCredentials => Refusal::Told(0x86, "bad user name or password"),
        LoginRefusal::NotAuthorized(why) => Refusal::Told(0x87, why),
        LoginRefusal::Unavailable => Refusal::Told(0x88, "nobody can be checked now"),
    }
}
