//! MQTT 5 through rumqttc.

use super::goodbye::{self, Goodbye, words};
use super::link::{Closing, Signal, Tickets};
use super::message::{Draft, Message, Qos, Receipt, Refusal, Subscription};
use super::options::{CONNECT_TIMEOUT_SECONDS, MAX_INFLIGHT, MAX_PACKET_BYTES, Options, REQUEST_SLOTS, Will};
use rumqttc::NetworkOptions;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWill, Packet, PubAckReason, PubRec, PubRecReason, Publish, RetainForwardRule, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions, MqttState};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

pub(super) fn start(options: &Options, clean: bool, signals: Sender<Signal>) -> AsyncClient {
    let (client, mut eventloop) = AsyncClient::new(library_options(options, clean), REQUEST_SLOTS);
    if !clean {
        expect_any_release(&mut eventloop.state);
    }
    let keep_alive = Duration::from_secs(options.keep_alive.into());
    tokio::spawn(Driver { eventloop, signals, keep_alive, memory: Memory::default() }.run());
    client
}

pub(super) fn publish(client: &AsyncClient, draft: &Draft) -> Result<(), Closing> {
    let (topic, payload) = (draft.topic.as_str(), draft.payload.clone());
    let properties = draft.properties.clone();
    let sent =
        client.try_publish_with_properties(topic, quality_out(draft.qos), draft.retain, payload, properties);
    sent.map_err(|_| Closing)
}

pub(super) fn subscribe(client: &AsyncClient, subscription: &Subscription) -> Result<(), Closing> {
    let filters = subscription.filters.iter().map(|path| filter(path, subscription));
    let sent = match &subscription.properties {
        Some(properties) => client.try_subscribe_many_with_properties(filters, properties.clone()),
        None => client.try_subscribe_many(filters),
    };
    sent.map_err(|_| Closing)
}

fn filter(path: &str, subscription: &Subscription) -> Filter {
    let mut filter = Filter::new(path, quality_out(subscription.qos));
    filter.preserve_retain = subscription.retain_as_published;
    if subscription.no_retained {
        filter.retain_forward_rule = RetainForwardRule::Never;
    }
    filter
}

pub(super) fn acknowledge(client: &AsyncClient, message: &Message) -> Result<(), Closing> {
    let mut publish = Publish::new("", quality_out(message.qos), Vec::new(), None);
    publish.pkid = message.packet_id;
    client.try_ack(&publish).map_err(|_| Closing)
}

fn library_options(options: &Options, clean: bool) -> MqttOptions {
    let mut wanted = MqttOptions::new(&options.client_id, &options.host, options.port);
    wanted.set_clean_start(clean);
    wanted.set_keep_alive(Duration::from_secs(options.keep_alive.into()));
    wanted.set_connection_timeout(CONNECT_TIMEOUT_SECONDS);
    wanted.set_outgoing_inflight_upper_limit(MAX_INFLIGHT);
    wanted.set_manual_acks(true);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    wanted.set_network_options(network);
    wanted.set_connect_properties(options.properties.clone());
    if options.properties.max_packet_size.is_none() {
        wanted.set_max_packet_size(Some(MAX_PACKET_BYTES));
    }
    if let Some((user, password)) = &options.login {
        wanted.set_credentials(user, password);
    }
    if let Some(Will { message, properties }) = &options.will {
        let (payload, qos) = (message.payload.to_vec(), quality_out(message.qos));
        wanted.set_last_will(LastWill::new(&message.topic, payload, qos, message.retain, properties.clone()));
    }
    if let Some(tls) = &options.tls {
        wanted.set_transport(tls.transport());
    }
    wanted
}

/// A kept session may begin with a PUBREL for a message of the last connection. The library takes that for an offence of the server,
/// for ever, unless it believes that it has seen the message.
fn expect_any_release(state: &mut MqttState) {
    for packet_id in 1..=u16::MAX {
        let mut publish = Publish::new("", QoS::ExactlyOnce, Vec::new(), None);
        publish.pkid = packet_id;
        let seen = state.handle_incoming_packet(Packet::Publish(publish));
        debug_assert!(seen.is_ok());
        state.events.clear();
    }
}

struct Driver {
    eventloop: EventLoop,
    signals: Sender<Signal>,
    keep_alive: Duration,
    memory: Memory,
}

/// What must be remembered from one packet to the next.
#[derive(Default)]
struct Memory {
    tickets: Tickets,
    aliases: HashMap<u16, String>,
}

impl Driver {
    async fn run(mut self) {
        let goodbye = loop {
            match self.eventloop.poll().await {
                Ok(event) => {
                    self.mend(&event);
                    if self.forward(event).await.is_err() {
                        return;
                    }
                }
                Err(error) => break goodbye::of_v5(error),
            }
        };
        self.finish(goodbye).await;
    }

    /// A server that wants no keep alive at all (section 3.2.2.3.14) would send the library into a storm of pings.
    fn mend(&mut self, event: &Event) {
        let login = matches!(event, Event::Incoming(Packet::ConnAck(_)));
        if login && self.eventloop.options.keep_alive().is_zero() {
            self.eventloop.options.set_keep_alive(self.keep_alive);
        }
    }

    /// What came together with the end is still worth hearing.
    async fn finish(mut self, goodbye: Goodbye) {
        let events: Vec<Event> = self.eventloop.state.events.drain(..).collect();
        for event in events {
            if self.forward(event).await.is_err() {
                return;
            }
        }
        self.signals.send(Signal::Down(goodbye)).await.ok();
    }

    async fn forward(&mut self, event: Event) -> Result<(), Closing> {
        match self.memory.translate(event) {
            Some(signal) => self.signals.send(signal).await.map_err(|_| Closing),
            None => Ok(()),
        }
    }
}

impl Memory {
    fn translate(&mut self, event: Event) -> Option<Signal> {
        match event {
            Event::Incoming(Packet::ConnAck(ack)) => {
                Some(Signal::Up { session_present: ack.session_present })
            }
            Event::Incoming(Packet::Publish(publish)) => Some(Signal::Message(self.message(publish))),
            Event::Incoming(Packet::PubRel(release)) => Some(Signal::Released(release.pkid)),
            Event::Incoming(Packet::SubAck(ack)) => Some(Signal::Subscribed(grants(ack))),
            Event::Incoming(Packet::PubAck(ack)) => {
                let properties = ack.properties.map(|given| (given.user_properties, given.reason_string));
                self.tickets.answered(ack.pkid, puback(ack.reason, properties.unwrap_or_default()))
            }
            Event::Incoming(Packet::PubRec(answer)) => self.pubrec(answer),
            Event::Incoming(Packet::PubComp(done)) => self.tickets.completed(done.pkid),
            Event::Outgoing(Outgoing::Publish(packet_id)) => self.tickets.written(packet_id),
            _ => None,
        }
    }

    fn pubrec(&mut self, answer: PubRec) -> Option<Signal> {
        if let Some(refusal) = refusal_of(&answer) {
            return self.tickets.answered(answer.pkid, Err(refusal));
        }
        let nobody_listens = answer.reason == PubRecReason::NoMatchingSubscribers;
        let user_properties = answer.properties.map(|given| given.user_properties).unwrap_or_default();
        self.tickets.received(answer.pkid, Receipt { user_properties, nobody_listens });
        None
    }

    /// The library hands over a packet with a topic alias before it looks the alias up (section 3.3.2.3.4).
    fn message(&mut self, publish: Publish) -> Message {
        let mut topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let properties = publish.properties.unwrap_or_default();
        match properties.topic_alias {
            Some(alias) if topic.is_empty() => topic = self.aliases.get(&alias).cloned().unwrap_or_default(),
            Some(alias) => drop(self.aliases.insert(alias, topic.clone())),
            None => {}
        }
        let (qos, packet_id) = (quality_in(publish.qos), publish.pkid);
        Message { topic, payload: publish.payload, qos, retain: publish.retain, properties, packet_id }
    }
}

type AckProperties = (Vec<(String, String)>, Option<String>);

fn puback(reason: PubAckReason, (user_properties, why): AckProperties) -> Result<Receipt, Refusal> {
    match reason {
        PubAckReason::Success => Ok(Receipt { user_properties, nobody_listens: false }),
        PubAckReason::NoMatchingSubscribers => Ok(Receipt { user_properties, nobody_listens: true }),
        other => Err(Refusal { what: words(&other), why, rights: other == PubAckReason::NotAuthorized }),
    }
}

fn refusal_of(answer: &PubRec) -> Option<Refusal> {
    match answer.reason {
        PubRecReason::Success | PubRecReason::NoMatchingSubscribers => None,
        other => Some(Refusal {
            what: words(&other),
            why: answer.properties.as_ref().and_then(|given| given.reason_string.clone()),
            rights: other == PubRecReason::NotAuthorized,
        }),
    }
}

fn grants(ack: SubAck) -> Vec<Result<Qos, Refusal>> {
    let why = ack.properties.and_then(|given| given.reason_string);
    let grant = |code| match code {
        SubscribeReasonCode::Success(qos) => Ok(quality_in(qos)),
        other => Err(Refusal {
            what: words(&other),
            why: why.clone(),
            rights: other == SubscribeReasonCode::NotAuthorized,
        }),
    };
    ack.return_codes.into_iter().map(grant).collect()
}

fn quality_in(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn quality_out(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
