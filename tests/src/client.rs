//! An MQTT client driven packet by packet: it sends what it is told to, and acknowledges a message only when the test takes it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::way::{Pipe, Way};
use crate::wire::{self, Connect, Packet, Props, Publish, Version, ack, take_packet};

/// A connected client.
pub struct Client {
    stream: Box<dyn Pipe>,
    version: Version,
    buffer: Vec<u8>,
    waiting: VecDeque<Publish>,
    last_id: u16,
    /// Whether the server had a session for it.
    pub session_present: bool,
    /// The properties of the CONNACK.
    pub welcome: Props,
}

/// Why a client is not connected: code and properties of the CONNACK, or closed without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A CONNACK with a code.
    Code(u8, Props),
    /// No CONNACK.
    Closed,
}

/// The acknowledgement of a publish: PUBACK or PUBREC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Reason code; 0 in 3.x.
    pub code: u8,
    /// Properties; empty in 3.x.
    pub props: Props,
}

impl Client {
    /// Connects and logs in.
    pub fn connect(address: SocketAddr, connect: Connect) -> Result<Client, Refused> {
        Client::over(&Way::tcp(address), connect)
    }

    /// Connects this way and logs in.
    pub fn over(way: &Way, connect: Connect) -> Result<Client, Refused> {
        let mut client = Client {
            stream: way.connect(),
            version: connect.version,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            last_id: 0,
            session_present: false,
            welcome: Props::default(),
        };
        client.send(&connect.bytes());
        match client.read_packet() {
            Some(Packet::ConnAck { session_present, code: 0, props }) => {
                client.session_present = session_present;
                client.welcome = props;
                Ok(client)
            }
            Some(Packet::ConnAck { code, props, .. }) => Err(Refused::Code(code, props)),
            Some(other) => panic!("the hub answered CONNECT with {other:?}"),
            None => Err(Refused::Closed),
        }
    }

    /// Subscribes, and wants to be granted what it asked for.
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let code = self.try_subscribe(filter, qos);
        assert_eq!(code, qos, "SUBACK for {filter} at QoS {qos}");
    }

    /// Subscribes to one filter; the code of the SUBACK.
    pub fn try_subscribe(&mut self, filter: &str, options: u8) -> u8 {
        let id = self.next_id();
        self.send(&wire::subscribe(self.version, id, &[(filter, options)]));
        match self.answer(&format!("SUBSCRIBE {filter}"), |packet| matches!(packet, Packet::Codes { .. })) {
            Packet::Codes { id: answered, codes, .. } => {
                assert_eq!((answered, codes.len()), (id, 1), "SUBACK for {filter}");
                codes[0]
            }
            other => panic!("{other:?} is not a SUBACK"),
        }
    }

    /// Unsubscribes and waits for the answer.
    pub fn unsubscribe(&mut self, filter: &str) {
        let id = self.next_id();
        self.send(&wire::unsubscribe(self.version, id, &[filter]));
        self.answer(&format!("UNSUBSCRIBE {filter}"), |packet| matches!(packet, Packet::Codes { .. }));
    }

    /// Subscribes to all of these in one packet; the codes of the SUBACK.
    pub fn subscribes_to_all(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        let id = self.next_id();
        self.send(&wire::subscribe(self.version, id, filters));
        self.codes_of("SUBSCRIBE", id)
    }

    /// Unsubscribes from all of these in one packet; the codes of the UNSUBACK, of which 3.x has none.
    pub fn unsubscribes_from_all(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_id();
        self.send(&wire::unsubscribe(self.version, id, filters));
        self.codes_of("UNSUBSCRIBE", id)
    }

    /// Publishes, waits for the acknowledgement, and at QoS 2 completes the handshake; at QoS 0 there is nothing to wait for.
    pub fn publish(&mut self, message: Publish) -> Receipt {
        if message.qos == 0 {
            self.send_publish(message);
            return Receipt { code: 0, props: Props::default() };
        }
        let (qos, id) = (message.qos, self.send_publish(message));
        let receipt = self.receipt(qos, id);
        if qos == 2 && receipt.code < 0x80 {
            self.send(&wire::puback(ack::PUBREL, id));
            self.ack_of(ack::PUBCOMP, id);
        }
        receipt
    }

    /// Publishes at QoS 1 and waits for the acknowledgement, or for the hub to end the connection: the reason code of its
    /// DISCONNECT, if it sent one.
    pub fn tries_to_publish(&mut self, message: Publish) -> Result<Receipt, Option<u8>> {
        let id = self.send_publish(message.qos(1));
        match self.read_packet_unless_publish() {
            Some(Packet::Ack { kind: ack::PUBACK, id: got, code, props }) if got == id => {
                Ok(Receipt { code, props })
            }
            Some(Packet::Disconnect { code, .. }) => Err(Some(code)),
            None => Err(None),
            other => panic!("expected an acknowledgement or the end, got {other:?}"),
        }
    }

    /// Publishes without waiting; the packet identifier.
    pub fn send_publish(&mut self, mut message: Publish) -> u16 {
        if message.qos > 0 && message.id == 0 {
            message.id = self.next_id();
        }
        self.send(&message.bytes(self.version));
        message.id
    }

    /// Publishes all of these in one write, each with its packet identifier, without waiting.
    pub fn sends_all(&mut self, messages: &[Publish]) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.bytes(self.version)).collect();
        self.send(&bytes);
    }

    /// Waits until all of these are accepted, and at QoS 2 completes them.
    pub fn finishes_all(&mut self, messages: &[Publish]) {
        for Publish { qos, id, .. } in messages.iter().filter(|message| message.qos > 0) {
            assert!(self.receipt(*qos, *id).code < 0x80, "{id} is refused");
        }
        for Publish { id, .. } in messages.iter().filter(|message| message.qos == 2) {
            self.send(&wire::puback(ack::PUBREL, *id));
            self.is_completed(*id);
        }
    }

    /// Waits for the PUBACK (QoS 1) or PUBREC (QoS 2) of a publish.
    pub fn receipt(&mut self, qos: u8, id: u16) -> Receipt {
        self.ack_of(if qos == 2 { ack::PUBREC } else { ack::PUBACK }, id)
    }

    /// Waits for the PUBCOMP of a publish at QoS 2.
    pub fn is_completed(&mut self, id: u16) {
        self.ack_of(ack::PUBCOMP, id);
    }

    /// Waits for the PUBREL of a message that it acknowledged with PUBREC.
    pub fn is_released(&mut self, id: u16) {
        self.ack_of(ack::PUBREL, id);
    }

    /// The next message, acknowledged.
    pub fn receives(&mut self) -> Publish {
        let message = self.receives_without_ack();
        self.acknowledges(&message);
        message
    }

    /// These messages come next, in this order; each is acknowledged.
    pub fn receives_all(&mut self, messages: &[Publish]) {
        let received: Vec<String> = messages.iter().map(|_| self.receives().text()).collect();
        let expected: Vec<String> = messages.iter().map(Publish::text).collect();
        assert_eq!(received, expected, "{:?}", self.version);
    }

    /// The next message on this topic, acknowledged; those on other topics wait.
    pub fn receives_on(&mut self, topic: &str) -> Publish {
        let message = self.receives_on_without_ack(topic);
        self.acknowledges(&message);
        message
    }

    /// The next message, not acknowledged.
    pub fn receives_without_ack(&mut self) -> Publish {
        self.take_message("a message", |_| true)
    }

    /// The next message on this topic, not acknowledged.
    pub fn receives_on_without_ack(&mut self, topic: &str) -> Publish {
        self.take_message(&format!("a message on {topic}"), |message| message.topic == topic)
    }

    /// Acknowledges a message, with the whole handshake at QoS 2.
    pub fn acknowledges(&mut self, message: &Publish) {
        match message.qos {
            0 => {}
            1 => self.send(&wire::puback(ack::PUBACK, message.id)),
            _ => {
                self.send(&wire::puback(ack::PUBREC, message.id));
                self.ack_of(ack::PUBREL, message.id);
                self.send(&wire::puback(ack::PUBCOMP, message.id));
            }
        }
    }

    /// The next message, acknowledged, if one is there or comes within a moment.
    pub fn receives_if_any(&mut self) -> Option<Publish> {
        if self.waiting.is_empty() {
            match self.take_packet_within(Duration::from_millis(5)) {
                Ok(Some(Packet::Publish(message))) => self.waiting.push_back(message),
                Ok(other) => panic!("expected a message, got {other:?}"),
                Err(_) => return None,
            }
        }
        Some(self.receives())
    }

    /// Says that everything which the hub had for it is taken: a PINGREQ is answered, and no message came before the answer.
    /// A message that is still on its way is not seen, so first bring about something that comes after it.
    pub fn has_nothing_more(&mut self) {
        self.pings();
        assert_eq!(self.waiting, [], "messages that nobody expected");
    }

    /// The payloads that came on this topic, and that nobody took yet.
    pub fn waiting_on(&self, topic: &str) -> Vec<String> {
        self.waiting.iter().filter(|message| message.topic == topic).map(Publish::text).collect()
    }

    /// The messages that came and that nobody took yet, not acknowledged.
    pub fn takes_waiting(&mut self) -> Vec<Publish> {
        self.waiting.drain(..).collect()
    }

    /// PINGREQ, and waits for the answer.
    pub fn pings(&mut self) {
        self.send(&wire::pingreq());
        self.answer("PINGREQ", |packet| *packet == Packet::PingResp);
    }

    /// Stays connected for this long, with a PINGREQ now and then.
    pub fn stays_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.pings();
            if let Ok(packet) = self.take_packet_within(Duration::from_millis(200)) {
                match packet {
                    Some(Packet::Publish(message)) => self.waiting.push_back(message),
                    other => panic!("expected to stay connected, got {other:?}"),
                }
            }
        }
    }

    /// Says goodbye: DISCONNECT, then closes.
    pub fn leaves(mut self) {
        self.send(&wire::disconnect());
        assert_eq!(self.read_packet_unless_publish(), None, "what the hub says after DISCONNECT");
    }

    /// Is gone, without DISCONNECT.
    pub fn vanishes(self) {
        drop(self);
    }

    /// Waits until the hub closes; the reason code and properties of its DISCONNECT, if it sent one.
    pub fn is_closed(&mut self) -> Option<(u8, Props)> {
        let last = self.read_packet_unless_publish();
        match last? {
            Packet::Disconnect { code, props } => {
                assert_eq!(self.read_packet(), None, "what the hub says after its DISCONNECT");
                Some((code, props))
            }
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// What the hub answers to something that it should not accept: the code of a SUBACK or of a DISCONNECT.
    ///
    /// # Panics
    /// If it answers nothing and closes, which MQTT 5 allows only where it cannot answer.
    pub fn is_refused(&mut self) -> u8 {
        match self.read_packet_unless_publish() {
            Some(Packet::Codes { codes, .. }) => codes[0],
            Some(Packet::Disconnect { code, .. }) => code,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Sends bytes. A hub that closed already is a matter for what is expected next.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// The protocol version that it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The codes of the SUBACK or UNSUBACK with this packet identifier.
    pub fn hears_codes(&mut self, id: u16) -> Vec<u8> {
        self.codes_of("SUBSCRIBE", id)
    }

    fn codes_of(&mut self, what: &str, id: u16) -> Vec<u8> {
        match self.answer(what, |packet| matches!(packet, Packet::Codes { id: got, .. } if *got == id)) {
            Packet::Codes { codes, .. } => codes,
            other => panic!("{other:?} does not answer {what}"),
        }
    }

    fn ack_of(&mut self, kind: u8, id: u16) -> Receipt {
        let what = format!("acknowledgement 0x{kind:02x} of packet {id}");
        match self.answer(&what, |packet| matches!(packet, Packet::Ack { id: got, .. } if *got == id)) {
            Packet::Ack { kind: got, code, props, .. } => {
                assert_eq!(got, kind, "the {what}");
                Receipt { code, props }
            }
            other => panic!("{other:?} is not an acknowledgement"),
        }
    }

    fn take_message(&mut self, what: &str, wanted: impl Fn(&Publish) -> bool) -> Publish {
        if let Some(place) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(place).unwrap();
        }
        loop {
            match self.read_packet() {
                Some(Packet::Publish(message)) if wanted(&message) => return message,
                Some(Packet::Publish(message)) => self.waiting.push_back(message),
                other => panic!("expected {what}, got {other:?}; waiting: {:?}", self.waiting),
            }
        }
    }

    /// Reads on to the packet that answers; messages on the way wait until they are taken.
    fn answer(&mut self, to: &str, is_answer: impl Fn(&Packet) -> bool) -> Packet {
        loop {
            match self.read_packet() {
                Some(Packet::Publish(message)) => self.waiting.push_back(message),
                Some(packet) if is_answer(&packet) => return packet,
                other => panic!("expected the answer to {to}, got {other:?}"),
            }
        }
    }

    fn read_packet_unless_publish(&mut self) -> Option<Packet> {
        loop {
            match self.read_packet() {
                Some(Packet::Publish(message)) => self.waiting.push_back(message),
                other => return other,
            }
        }
    }

    /// The next packet; nothing once the hub closed.
    fn read_packet(&mut self) -> Option<Packet> {
        let packet = self.take_packet_within(PATIENCE);
        packet.unwrap_or_else(|error| panic!("nothing from the hub: {error}; waiting: {:?}", self.waiting))
    }

    fn take_packet_within(&mut self, patience: Duration) -> io::Result<Option<Packet>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(packet) = take_packet(&mut self.buffer, self.version) {
                return Ok(Some(packet));
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.socket().set_read_timeout(Some(left))?;
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                // A TLS alert is an end too; an end without a goodbye of TLS is none.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidData
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn next_id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }
}
