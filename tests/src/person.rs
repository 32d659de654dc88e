//! Somebody who chats, in sentences: `bob.sees(message("hi").seq(1).from("alice"))`.

use std::ops::{Deref, DerefMut};

use serde_json::Value;

use crate::client::{Client, Receipt, Refused};
use crate::hub::Hub;
use crate::way::Way;
use crate::wire::{Connect, Props, Publish, Version};

/// Somebody who is about to connect, on a device called `{name}-device` that speaks MQTT 5, unless told otherwise.
#[derive(Clone)]
pub struct Arrival {
    way: Way,
    name: String,
    connect: Connect,
}

/// Somebody on one connected device. What a person does not do, the [`Client`] below does.
pub struct Person {
    name: String,
    client: Client,
    arrival: Arrival,
}

/// What somebody expects to see in the inbox.
#[derive(Debug, Clone)]
pub struct Message {
    body: Value,
    fields: Vec<(&'static str, Value)>,
}

/// A message with this text.
pub fn message(text: &str) -> Message {
    Message { body: text.into(), fields: Vec::new() }
}

impl Arrival {
    pub(crate) fn new(way: Way, name: &str) -> Arrival {
        let connect = Connect::new(Version::V5, format!("{name}-device")).user(name);
        Arrival { way, name: name.into(), connect }
    }

    /// On a device of this name, its client id.
    pub fn on(mut self, device: &str) -> Arrival {
        self.connect.client_id = device.into();
        self
    }

    /// On this way to the hub.
    pub fn over(mut self, way: &Way) -> Arrival {
        self.way = way.clone();
        self
    }

    /// On a device of this class, said in a user property of MQTT 5. Call it after [`Arrival::keeping_the_session`].
    pub fn of_class(mut self, class: &str) -> Arrival {
        self.connect.props = self.connect.props.with_user("class", class);
        self
    }

    /// Without a user name.
    pub fn nameless(mut self) -> Arrival {
        self.connect.user = None;
        self
    }

    /// In this version of MQTT. Call it before [`Arrival::keeping_the_session`].
    pub fn speaking(mut self, version: Version) -> Arrival {
        self.connect.version = version;
        self
    }

    /// With a session that outlives the connection.
    pub fn keeping_the_session(mut self) -> Arrival {
        self.connect = self.connect.persistent();
        self
    }

    /// Of a session, if there is one, that ends with this connection.
    pub fn resuming(mut self) -> Arrival {
        self.connect.clean = false;
        self
    }

    /// With nothing of an earlier session, and without keeping this one.
    pub fn starting_anew(mut self) -> Arrival {
        self.connect = Connect { clean: true, props: Props::default(), ..self.connect };
        self
    }

    /// At another hub than the one it knows: one that has its data.
    pub fn at(mut self, hub: &Hub) -> Arrival {
        self.way = Way::tcp(hub.mqtt());
        self
    }

    /// With a password.
    pub fn with_password(mut self, password: &str) -> Arrival {
        self.connect = self.connect.password(password);
        self
    }

    /// With a will.
    pub fn with_will(mut self, will: Publish) -> Arrival {
        self.connect = self.connect.will(will);
        self
    }

    /// Connects, and subscribes to the own inbox.
    pub fn arrives(self) -> Person {
        let mut person = self.connects();
        let inbox = person.inbox();
        person.subscribe(&inbox, 1);
        person
    }

    /// Connects, which the hub is to refuse.
    pub fn is_refused(self) -> Refused {
        let connected = Client::over(&self.way, self.connect);
        connected.err().unwrap_or_else(|| panic!("{} is let in", self.name))
    }

    /// Connects only.
    pub fn connects(self) -> Person {
        let connected = Client::over(&self.way, self.connect.clone());
        let client = connected.unwrap_or_else(|refused| panic!("{} is not let in: {refused:?}", self.name));
        Person { name: self.name.clone(), client, arrival: self }
    }
}

impl Person {
    /// Says something to somebody (QoS 1), and waits until the hub has it.
    pub fn says(&mut self, peer: &str, text: &str) -> Receipt {
        let receipt = self.publish(Publish::new(format!("dm/{peer}"), text).qos(1));
        assert!(receipt.code < 0x80, "{} says {text:?} to {peer}: refused with {receipt:?}", self.name);
        receipt
    }

    /// Takes the next message of the inbox, which is to be this one.
    pub fn sees(&mut self, expected: Message) -> Value {
        let envelope = self.takes_envelope();
        expected.check(&envelope, &self.name);
        envelope
    }

    /// Takes the next message of the inbox, as the JSON that it is.
    pub fn takes_envelope(&mut self) -> Value {
        let inbox = self.inbox();
        envelope(&self.receives_on(&inbox))
    }

    /// Follows somebody's presence, and takes what is known at once.
    pub fn watches(&mut self, user: &str) {
        self.subscribe(&format!("p/{user}"), 0);
    }

    /// Takes the next news of somebody's presence, which is to be this state.
    pub fn sees_presence(&mut self, user: &str, state: &str) -> Value {
        let news = self.receives_on(&format!("p/{user}"));
        let presence = json(&news);
        assert_eq!(presence["state"], state, "{} looks at {user}: {presence}", self.name);
        presence
    }

    /// The topic of the own inbox.
    pub fn inbox(&self) -> String {
        format!("u/{}/inbox", self.name)
    }

    /// Is gone, without DISCONNECT; how to come back as the same device.
    pub fn vanishes(self) -> Arrival {
        self.client.vanishes();
        self.arrival
    }

    /// Says goodbye with DISCONNECT; how to come back as the same device.
    pub fn leaves(self) -> Arrival {
        self.client.leaves();
        self.arrival
    }
}

impl Deref for Person {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Person {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Message {
    /// With this number in its conversation.
    pub fn seq(self, seq: u64) -> Message {
        self.with("seq", seq.into())
    }

    /// From this user.
    pub fn from(self, user: &str) -> Message {
        self.with("from", user.into())
    }

    /// In this conversation.
    pub fn cid(self, cid: &str) -> Message {
        self.with("cid", cid.into())
    }

    /// With any field.
    pub fn with(mut self, field: &'static str, value: Value) -> Message {
        self.fields.push((field, value));
        self
    }

    fn check(&self, envelope: &Value, who: &str) {
        assert_eq!(envelope["body"], self.body, "{who} sees {envelope}");
        for (field, value) in &self.fields {
            assert_eq!(envelope[field], *value, "{who} looks at `{field}` of {envelope}");
        }
    }
}

/// The payload of an inbox message.
pub fn envelope(message: &Publish) -> Value {
    assert_eq!(message.qos, 1, "the inbox is QoS 1");
    assert!(!message.retain, "the inbox is not retained");
    json(message)
}

/// A payload that is JSON.
pub fn json(message: &Publish) -> Value {
    let payload = message.text();
    serde_json::from_str(&payload).unwrap_or_else(|error| panic!("{error} in {payload} on {}", message.topic))
}
