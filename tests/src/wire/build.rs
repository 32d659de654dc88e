//! What a client sends.

use super::{Props, Value, Version, field, packet};

/// A CONNECT, to be filled in; clean, without keep-alive, user or will at first.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    /// Client id.
    pub client_id: String,
    /// Clean session (3.x) or clean start (5).
    pub clean: bool,
    /// Seconds.
    pub keep_alive: u16,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Will.
    pub will: Option<Will>,
    /// MQTT 5 properties.
    pub props: Props,
}

/// A will.
#[derive(Debug, Clone)]
pub struct Will {
    /// The message; its packet id and DUP flag are not sent.
    pub message: Publish,
}

/// A PUBLISH, sent or received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publish {
    /// Topic name.
    pub topic: String,
    /// Application message.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// DUP flag.
    pub dup: bool,
    /// Packet identifier; 0 at QoS 0, and before the client chose one.
    pub id: u16,
    /// MQTT 5 properties.
    pub props: Props,
}

impl Connect {
    /// A clean connection of this client id.
    pub fn new(version: Version, client_id: impl Into<String>) -> Connect {
        Connect {
            version,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 0,
            user: None,
            password: None,
            will: None,
            props: Props::default(),
        }
    }

    /// Seconds.
    pub fn keep_alive(mut self, seconds: u16) -> Connect {
        self.keep_alive = seconds;
        self
    }

    /// With a user name.
    pub fn user(mut self, name: &str) -> Connect {
        self.user = Some(name.into());
        self
    }

    /// With a password.
    pub fn password(mut self, password: &str) -> Connect {
        self.password = Some(password.into());
        self
    }

    /// With a will.
    pub fn will(mut self, message: Publish) -> Connect {
        self.will = Some(Will { message });
        self
    }

    /// A session that outlives the connection: not clean, and in MQTT 5 with an expiry of one hour (§3.1.2.11.2).
    pub fn persistent(mut self) -> Connect {
        self.clean = false;
        if self.version == Version::V5 {
            self.props = self.props.with(0x11, Value::Long(3600));
        }
        self
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let name: &[u8] = if self.version == Version::V31 { b"MQIsdp" } else { b"MQTT" };
        let mut body = field(name);
        body.push(self.version as u8);
        body.push(self.flags());
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            body.extend(self.props.bytes());
        }
        body.extend(field(self.client_id.as_bytes()));
        if let Some(Will { message }) = &self.will {
            if self.version == Version::V5 {
                body.extend(message.props.bytes());
            }
            body.extend(field(message.topic.as_bytes()));
            body.extend(field(&message.payload));
        }
        for text in [&self.user, &self.password].into_iter().flatten() {
            body.extend(field(text.as_bytes()));
        }
        packet(0x10, &body)
    }

    fn flags(&self) -> u8 {
        let will = self
            .will
            .as_ref()
            .map_or(0, |will| 0x04 | will.message.qos << 3 | if will.message.retain { 0x20 } else { 0 });
        let bit = |set, bit| if set { bit } else { 0 };
        will | bit(self.clean, 0x02) | bit(self.user.is_some(), 0x80) | bit(self.password.is_some(), 0x40)
    }
}

impl Publish {
    /// A QoS 0 message.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Publish {
        Publish { topic: topic.into(), payload: payload.into(), ..Publish::default() }
    }

    /// At this quality of service.
    pub fn qos(mut self, qos: u8) -> Publish {
        self.qos = qos;
        self
    }

    /// To be retained.
    pub fn retained(mut self) -> Publish {
        self.retain = true;
        self
    }

    /// With this packet identifier.
    pub fn id(mut self, id: u16) -> Publish {
        self.id = id;
        self
    }

    /// Sent before.
    pub fn again(mut self) -> Publish {
        self.dup = true;
        self
    }

    /// With a user property.
    pub fn user(mut self, name: &str, value: &str) -> Publish {
        self.props = self.props.with_user(name, value);
        self
    }

    /// With any property.
    pub fn prop(mut self, id: u8, value: Value) -> Publish {
        self.props = self.props.with(id, value);
        self
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The packet.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut body = field(self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == Version::V5 {
            body.extend(self.props.bytes());
        }
        body.extend_from_slice(&self.payload);
        packet(0x30 | flags, &body)
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (see [`super::ack`]), of success: the short form is the same in every version.
pub fn puback(kind: u8, id: u16) -> Vec<u8> {
    packet(kind, &id.to_be_bytes())
}

/// SUBSCRIBE; the number beside a filter is its options byte (in 3.x, the QoS).
pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = header(version, id);
    for (filter, options) in filters {
        body.extend(field(filter.as_bytes()));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE.
pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = header(version, id);
    filters.iter().for_each(|filter| body.extend(field(filter.as_bytes())));
    packet(0xa2, &body)
}

/// PINGREQ.
pub fn pingreq() -> Vec<u8> {
    packet(0xc0, &[])
}

/// A normal DISCONNECT, in the short form of every version.
pub fn disconnect() -> Vec<u8> {
    packet(0xe0, &[])
}

fn header(version: Version, id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body
}
