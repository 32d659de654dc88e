//! From an accepted socket to a checked CONNECT, under one total deadline.

mod exchange;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::link;
use crate::audit;
use crate::codec::encode;
use crate::codec::{CodecError, Connect, Decoder, Packet, Version};
use crate::counters::Counters;
use crate::gate::Ticket;
use crate::layers::{LayerError, Layers};
use crate::limit::Crowded;
use crate::outbuffer::OutBuffer;
use crate::policy::{Door, Identity, LoginRefusal, LoginRequest};
use crate::proxy::{self, Header};
use crate::shared::Shared;
use crate::tls::ClientName;
use crate::topic;
use crate::websocket::WebSocket;

/// A client that may come in, on its way to its home edge.
pub struct Arrival {
    /// The socket.
    pub stream: Carried,
    /// What is in front of MQTT.
    pub layers: Option<Box<Layers>>,
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
    /// The changes of accounts that there had been before the login was checked.
    pub changes: u64,
    /// How the client said so, in a word for the audit log.
    pub method: ByteString,
    /// The last word of the authentication method, for CONNACK.
    pub proof: Bytes,
    /// Where from.
    pub peer: SocketAddr,
    /// Its place until it has a seat.
    pub ticket: Ticket,
}

/// A socket that is not blocking. Most clients are let in without waiting for them, and then to be registered once, by
/// the edge that keeps them, is enough.
pub enum Carried {
    /// In no runtime.
    Loose(std::net::TcpStream),
    /// In the runtime of this edge.
    Here(TcpStream),
    /// The system took it into no runtime.
    Lost,
}

impl Carried {
    /// Into the runtime of this edge.
    pub fn settle(self) -> io::Result<TcpStream> {
        match self {
            Carried::Loose(stream) => TcpStream::from_std(stream),
            Carried::Here(stream) => Ok(stream),
            Carried::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Out of it.
    fn loosen(self) -> io::Result<Carried> {
        match self {
            Carried::Here(stream) => Ok(Carried::Loose(stream.into_std()?)),
            other => Ok(other),
        }
    }

    fn settled(&mut self) -> io::Result<&mut TcpStream> {
        let settled = std::mem::replace(self, Carried::Lost).settle()?;
        *self = Carried::Here(settled);
        match self {
            Carried::Here(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what is there, and waits only if that is nothing.
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        if let Carried::Loose(stream) = self {
            let mut chunk = [0; CHUNK];
            match stream.read(&mut chunk) {
                Ok(count) => {
                    into.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.settled()?.read_buf(into).await
    }
}

impl Arrival {
    /// Takes the socket out of this edge's runtime; nothing if the system refuses.
    pub fn pack(self) -> Option<Arrival> {
        Some(Arrival { stream: self.stream.loosen().ok()?, ..self })
    }
}

/// Reads the CONNECT and has it checked; nothing if the client is not let in. Takes as long as the client does: the
/// caller sets the deadline.
pub async fn receive(
    stream: Carried,
    peer: SocketAddr,
    door: Door,
    ticket: Ticket,
    shared: Arc<Shared>,
) -> Option<Arrival> {
    let layers = layers_of(door, &shared)?;
    let decoder = Decoder::new(shared.settings.before_login);
    let (raw, plain, counters) = (BytesMut::new(), BytesMut::new(), shared.counters.clone());
    let mut newcomer = Newcomer { stream, peer, door, layers, decoder, raw, plain, counters, ticket };
    let outcome = newcomer.introduce_and_connect(&shared).await;
    match outcome {
        Ok(connect) => newcomer.enter(connect, &shared).await,
        Err(refusal) => {
            shared.counters.connections_refused_total.add(1);
            if let NoConnect::Layer(error) = &refusal {
                shared.count_layer_error(error);
            }
            tracing::debug!(peer = %newcomer.peer, ?door, %refusal, "no connect");
            newcomer.refuse_bytes(refusal).await;
            None
        }
    }
}

/// What stands in front of MQTT at this door; nothing at all if the door cannot be opened.
fn layers_of(door: Door, shared: &Shared) -> Option<Option<Box<Layers>>> {
    let tls = match door.is_tls() {
        true => Some(shared.tls()?.accept().inspect_err(|error| tracing::error!(%error, "no tls")).ok()?),
        false => None,
    };
    let websocket = door.is_websocket().then(|| WebSocket::new(shared.settings.door.clone()));
    Some(Layers::new(tls, websocket))
}

/// Bytes that are looked for at once in a socket: a CONNECT, mostly.
const CHUNK: usize = 1024;

/// Bytes of a client id. It stands in every frame about its session, and those of a connect do not wait for credit.
const MAX_CLIENT_ID: usize = 1024;

struct Newcomer {
    stream: Carried,
    /// Where from, as far as it is known.
    peer: SocketAddr,
    door: Door,
    layers: Option<Box<Layers>>,
    decoder: Decoder,
    raw: BytesMut,
    plain: BytesMut,
    counters: Arc<Counters>,
    ticket: Ticket,
}

#[derive(Debug, Error)]
enum NoConnect {
    /// Gone, or not MQTT at all: nothing to say.
    #[error("gone, or another packet first")]
    Silent,
    /// A proxy that does not say for whom.
    #[error("from a proxy, and no word for whom")]
    NoIntroduction,
    /// A packet that is wrong.
    #[error(transparent)]
    Codec(CodecError),
    /// It ended below MQTT; what there is to say was said there.
    #[error(transparent)]
    Layer(LayerError),
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
    /// Who comes from a proxy is known by the word of the proxy from here on.
    async fn introduce_and_connect(&mut self, shared: &Shared) -> Result<Box<Connect>, NoConnect> {
        let proxies = &shared.settings.proxies;
        if !proxies.trusts(self.peer.ip()) {
            return self.connect().await;
        }
        if self.has_proxy_header().await? {
            self.introduce(shared)?;
            return self.connect().await;
        }
        let connect = self.connect().await?;
        let told = self.layers.as_mut().and_then(|layers| layers.take_forwarded_for());
        let client = told.and_then(|told| proxies.forwarded(&told)).ok_or(NoConnect::NoIntroduction)?;
        // Which port it had there nobody says.
        self.peer = SocketAddr::new(client, 0);
        self.introduce(shared)?;
        Ok(connect)
    }

    /// It is known now who comes.
    fn introduce(&mut self, shared: &Shared) -> Result<(), NoConnect> {
        let heard = self.ticket.is_from(self.peer.ip(), shared.clock.now());
        if heard { Ok(()) } else { Err(NoConnect::Silent) }
    }

    /// Takes the header of the PROXY protocol away. Where there is none a WebSocket upgrade may still say for whom.
    async fn has_proxy_header(&mut self) -> Result<bool, NoConnect> {
        loop {
            match proxy::header(&self.raw) {
                Header::Whole(length, client) => {
                    self.raw.advance(length);
                    self.peer = client.unwrap_or(self.peer);
                    return Ok(true);
                }
                Header::Other if self.door.is_websocket() => return Ok(false),
                Header::Other => return Err(NoConnect::NoIntroduction),
                Header::Incomplete => self.fill().await?,
            }
        }
    }

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
            if !self.raw.is_empty() {
                self.unwrap_layers().await?;
            }
            let mut bytes = self.plain.split().freeze();
            let decoded = self.decoder.decode(&mut bytes).map_err(NoConnect::Codec)?;
            self.plain = BytesMut::from(&bytes[..]);
            match decoded {
                Some(packet) => {
                    self.counters.packets_received_total.add(1);
                    return Ok(packet);
                }
                None => self.fill().await?,
            }
        }
    }

    /// Reads once from the socket.
    async fn fill(&mut self) -> Result<(), NoConnect> {
        self.raw.reserve(CHUNK);
        match self.stream.read(&mut self.raw).await {
            Ok(0) | Err(_) => Err(NoConnect::Silent),
            Ok(count) => {
                self.counters.bytes_received_total.add(count as u64);
                Ok(())
            }
        }
    }

    /// Moves what was read through the layers.
    async fn unwrap_layers(&mut self) -> Result<(), NoConnect> {
        let Some(layers) = &mut self.layers else {
            self.plain.unsplit(self.raw.split());
            return Ok(());
        };
        let received = layers.receive(&self.raw.split(), &mut self.plain);
        let answer = layers.out().take();
        if !answer.is_empty() {
            let stream = self.stream.settled().map_err(|_| NoConnect::Silent)?;
            stream.write_all(&answer).await.map_err(|_| NoConnect::Silent)?;
        }
        match received {
            // What came before the end still counts.
            Err(error) if !self.plain.is_empty() && !error.is_tls_failure() => Ok(()),
            received => received.map_err(NoConnect::Layer),
        }
    }

    async fn enter(mut self, mut connect: Box<Connect>, shared: &Shared) -> Option<Arrival> {
        if let Some(crowded) = self.ticket.refusal() {
            self.turn_away(&connect, crowded, shared).await;
            return None;
        }
        let (peer, door) = (self.peer, self.door);
        let assigned = connect.client_id.is_empty();
        let changes = shared.policy.changes();
        let login = match self.client_id(&mut connect) {
            Err(why) => Err(Refusal::Told(0x85, why)),
            Ok(()) => self.check(&connect, shared).await,
        };
        match login {
            Ok((identity, proof)) => {
                self.decoder.set_limits(shared.settings.after_login);
                if let Some(layers) = &mut self.layers {
                    layers.set_max_bytes(shared.settings.after_login.packet_bytes);
                }
                if door.is_tls() {
                    shared.counters.tls_connections_total.add(1);
                }
                let method = self.method(&connect);
                let Newcomer { stream, layers, decoder, plain: rest, ticket, .. } = self;
                Some(Arrival {
                    stream,
                    layers,
                    decoder,
                    rest,
                    connect,
                    assigned,
                    identity,
                    changes,
                    method,
                    proof,
                    peer,
                    ticket,
                })
            }
            Err(Refusal::Gone) => {
                shared.counters.connections_refused_total.add(1);
                tracing::debug!(client = &*connect.client_id, %peer, "gone before the end of its authentication");
                None
            }
            Err(Refusal::Told(code, reason)) => {
                shared.counters.connections_refused_total.add(1);
                audit::failure(&shared.counters, &connect, peer, &self.method(&connect), reason);
                let max = connect.properties.maximum_packet_size;
                self.refuse(connect.version, code, reason, max).await;
                None
            }
        }
    }

    /// Somebody over a limit. Each of them is counted, and none of them is worth a line of its own: there may be many.
    async fn turn_away(self, connect: &Connect, crowded: Crowded, shared: &Shared) {
        shared.counters.connections_refused_total.add(1);
        tracing::debug!(client = &*connect.client_id, peer = %self.peer, reason = crowded.text(), "client turned away");
        let max = connect.properties.maximum_packet_size;
        match shared.settings.redirect.as_deref().filter(|_| crowded == Crowded::Full) {
            Some(other) => {
                let mut out = OutBuffer::default();
                encode::redirection(out.packet(), connect.version, crowded.text(), other, max);
                self.say_no(out).await;
            }
            None => self.refuse(connect.version, crowded.code(), crowded.text(), max).await,
        }
    }

    /// How the client says who it is.
    fn method(&self, connect: &Connect) -> ByteString {
        match &connect.properties.authentication_method {
            Some(method) => ByteString::from(&**method),
            None if matches!(self.client_name(), ClientName::User(_)) => "certificate".into(),
            None if connect.password.is_some() => "password".into(),
            None if connect.username.is_some() => "name".into(),
            None => "none".into(),
        }
    }

    fn client_name(&self) -> ClientName {
        self.layers.as_ref().map_or(ClientName::Unasked, |layers| layers.client_name())
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
        let NoConnect::Codec(error) = refusal else { return self.close_layers().await };
        let version = self.decoder.version();
        match (version, error) {
            (Some(Version::V5), _) => {
                let max = self.decoder.client_maximum();
                self.refuse(Version::V5, error.reason_code(), &error.to_string(), max).await
            }
            // A level above 5 gets the answer of 5, others that of 3.1.1 (§3.1.2.2 of both). With the highest bit set it
            // is a bridge of Mosquitto, which tries again as a plain client when 3.1.1 refuses.
            (_, CodecError::UnsupportedVersion(6..=0x7f)) => {
                self.refuse(Version::V5, 0x84, error.what(), None).await
            }
            (_, CodecError::UnsupportedVersion(_)) => self.refuse(Version::V311, 0x84, "", None).await,
            _ => self.close_layers().await,
        }
    }

    /// Nothing to say in MQTT; what is below it ends in its own manner.
    async fn close_layers(self) {
        if self.layers.is_some() {
            self.say_no(OutBuffer::default()).await;
        }
    }

    async fn refuse(self, version: Version, code: u8, reason: &str, max: Option<u32>) {
        let mut out = OutBuffer::default();
        encode::refusal(out.packet(), version, code, reason, max);
        self.say_no(out).await;
    }

    /// The last bytes before the end.
    async fn say_no(mut self, out: OutBuffer) {
        // The client may be gone; there is nobody else to tell.
        let _ = self.send(out, true).await;
        let (stream, ticket) = (self.stream, self.ticket);
        let Ok(mut stream) = stream.settle() else { return };
        let _ = stream.shutdown().await;
        // Closing while something is unread would reset the connection before the client has read the answer.
        spawn_local(async move {
            let _ = tokio::time::timeout(link::LINGER, link::drain(&stream)).await;
            // For as long as it is open it counts.
            drop(ticket);
        });
    }

    async fn send(&mut self, mut out: OutBuffer, last: bool) -> std::io::Result<()> {
        let packets = out.take_sent().packets;
        let bytes = match &mut self.layers {
            Some(layers) => {
                layers.wrap(&mut out);
                if last {
                    layers.close();
                }
                layers.out().take()
            }
            None => out.take(),
        };
        self.stream.settled()?.write_all(&bytes).await?;
        self.counters.packets_sent_total.add(packets as u64);
        self.counters.bytes_sent_total.add(bytes.len() as u64);
        Ok(())
    }

    /// Who it is, and what CONNACK has to say in the words of the authentication method.
    async fn check(&mut self, connect: &Connect, shared: &Shared) -> Result<(Identity, Bytes), Refusal> {
        let limits = &shared.settings.session.topics;
        if let Some(will) = &connect.will
            && topic::check_name(&will.topic, limits).is_err()
        {
            return Err(Refusal::Told(0x90, "invalid will topic"));
        }
        let certificate = match self.client_name() {
            ClientName::Unasked => None,
            ClientName::User(name) => Some(name),
            ClientName::Nobody => return Err(Refusal::Told(0x87, "the client certificate names no user")),
        };
        let request = LoginRequest {
            door: self.door,
            peer: self.peer,
            client: connect.client_id.clone(),
            class: class_of(connect)?,
            certificate,
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

/// The class that the device says it is of, in the first user property of CONNECT that is called so.
fn class_of(connect: &Connect) -> Result<Option<ByteString>, Refusal> {
    let mut properties = connect.properties.user.iter();
    let Some((_, class)) = properties.find(|(name, _)| ["class", "device"].contains(&&**name)) else {
        return Ok(None);
    };
    match topic::check_id(class) {
        Ok(()) => Ok(Some(class.clone())),
        Err(_) => Err(Refusal::Told(0x83, "the class of a device is one level of a topic, up to 64 bytes")),
    }
}

fn refusal(refusal: LoginRefusal) -> Refusal {
    let (code, why) = refusal.told();
    Refusal::Told(code, why)
}
