//! What the broker asks of the house: who is this, and may they do that. The bridge answers.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::lane::{Device, Errand};
use crate::topic::TopicFilter;

/// Which door a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over WebSocket.
    WebSocket,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT over WebSocket over TLS.
    Wss,
    /// The demo door without passwords, where a client's own id is its topic (`compat.bare_client_id`).
    BareClientId,
}

impl Door {
    /// Whether TLS stands in front.
    pub fn is_tls(self) -> bool {
        matches!(self, Door::Mqtts | Door::Wss)
    }

    /// Whether MQTT travels in WebSocket frames.
    pub fn is_websocket(self) -> bool {
        matches!(self, Door::WebSocket | Door::Wss)
    }
}

/// What a CONNECT says about who is there.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// Through which door.
    pub door: Door,
    /// Where from.
    pub peer: SocketAddr,
    /// Client id, already assigned if the client sent none.
    pub client: ByteString,
    /// The class that the client says its device is of: one level of a topic, like a user.
    pub class: Option<ByteString>,
    /// The user whom the client's certificate names, if it was asked for one: its bearer is that user and nobody else.
    pub certificate: Option<ByteString>,
    /// User name.
    pub username: Option<ByteString>,
    /// Password.
    pub password: Option<Bytes>,
}

/// Who is on the other side of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User and client id.
    pub device: Device,
    /// The class of the device, as others see it: what the client says, or its client id without the user's name in front.
    pub kind: ByteString,
    /// Through which door they came.
    pub door: Door,
    /// When the login ends, and the connection with it; nothing if it lasts as long as the connection.
    pub until: Option<Millis>,
    /// What the login opened besides the rules of this server.
    pub rights: Option<Arc<TopicRights>>,
}

impl Identity {
    /// Somebody whose login lasts, with the rights that the rules give.
    pub fn new(device: Device, kind: ByteString, door: Door) -> Identity {
        Identity { device, kind, door, until: None, rights: None }
    }
}

/// Topics that a login opened for its connection. They add to what the rules of this server give, and take nothing away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicRights {
    /// Filters of topics to which may be published.
    pub publish: Vec<ByteString>,
    /// Filters of topics of which messages may be received.
    pub subscribe: Vec<ByteString>,
}

/// Why a login was refused, with the codes of both protocol generations (MQTT 5 §3.2.2.2, MQTT 3.1.1 table 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefusal {
    /// Wrong user name or password, or none.
    BadCredentials,
    /// These credentials may not connect so.
    NotAuthorized(&'static str),
    /// Nobody can be checked now.
    Unavailable,
    /// Too many wait to be checked already.
    Busy,
    /// An operator keeps this device out.
    Barred,
}

impl LoginRefusal {
    /// The reason code of CONNACK in MQTT 5, and a sentence.
    pub fn told(self) -> (u8, &'static str) {
        match self {
            LoginRefusal::BadCredentials => (0x86, "bad user name or password"),
            LoginRefusal::NotAuthorized(why) => (0x87, why),
            LoginRefusal::Unavailable => (0x88, "nobody can be checked now"),
            LoginRefusal::Busy => (0x89, "too many wait to be checked"),
            LoginRefusal::Barred => (0x8a, "this device is barred"),
        }
    }
}

/// One authentication that takes several messages, at CONNECT or again later (MQTT 5 §4.12).
pub trait Exchange: Send {
    /// What follows from the next message of the client: first the data of CONNECT or of the AUTH that asks for it again,
    /// empty if there was none. After anything but [`Step::Continue`] the exchange is over.
    fn step(&mut self, data: Bytes) -> Answer<'_, Step>;
}

/// What a message of an [`Exchange`] led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client has to answer this.
    Continue(Bytes),
    /// The client is who it says.
    Done {
        /// Who that is.
        identity: Identity,
        /// The last word of the method, often a proof of the server; may be empty.
        data: Bytes,
    },
    /// The client is not let in.
    Refused(LoginRefusal),
}

/// What becomes of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishVerdict {
    /// Ordinary publish/subscribe.
    Plain(RetainRule),
    /// The bridge does it.
    Errand(Errand),
    /// Refused, and why.
    Denied(&'static str),
}

/// Whether a message becomes the retained message of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainRule {
    /// As the publisher says.
    AsSent,
    /// Whatever the publisher says.
    Always,
    /// Not this one: what is retained stays.
    Never,
}

/// A future that need not stay on one thread.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The one decision function, for every path that a message takes.
pub trait Policy: Send + Sync {
    /// Who is this?
    fn login(&self, request: LoginRequest) -> Answer<'_, Result<Identity, LoginRefusal>>;

    /// Begins an authentication by this method, by its name in MQTT 5; nothing if it is not offered. The user name of the
    /// request, if there is one, is the only one that the exchange may find. Its password counts for nothing.
    fn exchange(&self, method: &str, request: LoginRequest) -> Option<Box<dyn Exchange>>;

    /// Counts the changes of accounts: looked at before a login is checked, and handed to [`Policy::admit`].
    fn changes(&self) -> u64;

    /// May they still come in, whose login was checked from that count on? Asked when the connection begins: from then on a
    /// change of the account finds it there.
    fn admit(&self, who: &Identity, changes: u64) -> Result<(), LoginRefusal>;

    /// May they publish this here, and what becomes of it? `payload` is looked at for live location only.
    fn publish(&self, who: &Identity, topic: &str, payload: &[u8]) -> PublishVerdict;

    /// May they subscribe to this? What a wildcard lets through beyond their rights is held back by
    /// [`Policy::receive`].
    fn subscribe(&self, who: &Identity, filter: &TopicFilter) -> Result<(), &'static str>;

    /// May they get a message of this topic?
    fn receive(&self, who: &Identity, topic: &str) -> bool;
}
