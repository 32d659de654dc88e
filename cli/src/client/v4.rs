//! MQTT 3.1.1 through rumqttc.

use super::goodbye::{self, Goodbye};
use super::link::{Closing, Signal, Tickets};
use super::message::{Draft, Message, PublishProperties, Qos, Receipt, Refusal, Subscription};
use super::options::{CONNECT_TIMEOUT_SECONDS, MAX_INFLIGHT, MAX_PACKET_BYTES, Options, REQUEST_SLOTS};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, MqttState, NetworkOptions, Outgoing, Packet,
};
use rumqttc::{Publish, QoS, SubscribeFilter, SubscribeReasonCode};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

pub(super) fn start(options: &Options, clean: bool, signals: Sender<Signal>) -> AsyncClient {
    let (client, mut eventloop) = AsyncClient::new(library_options(options, clean), REQUEST_SLOTS);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_SECONDS);
    eventloop.set_network_options(network);
    if !clean {
        expect_any_release(&mut eventloop.state);
    }
    tokio::spawn(drive(eventloop, signals));
    client
}

pub(super) fn publish(client: &AsyncClient, draft: &Draft) -> Result<(), Closing> {
    let sent =
        client.try_publish(draft.topic.as_str(), draft.qos.into(), draft.retain, draft.payload.clone());
    sent.map_err(|_| Closing)
}

pub(super) fn subscribe(client: &AsyncClient, subscription: &Subscription) -> Result<(), Closing> {
    let qos = subscription.qos.into();
    let filters = subscription.filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), qos));
    client.try_subscribe_many(filters).map_err(|_| Closing)
}

pub(super) fn acknowledge(client: &AsyncClient, message: &Message) -> Result<(), Closing> {
    let mut publish = Publish::new("", message.qos.into(), Vec::new());
    publish.pkid = message.packet_id;
    client.try_ack(&publish).map_err(|_| Closing)
}

fn library_options(options: &Options, clean: bool) -> MqttOptions {
    let mut wanted = MqttOptions::new(&options.client_id, &options.host, options.port);
    wanted.set_clean_session(clean);
    wanted.set_keep_alive(Duration::from_secs(options.keep_alive.into()));
    wanted.set_max_packet_size(MAX_PACKET_BYTES as usize, MAX_PACKET_BYTES as usize);
    wanted.set_inflight(MAX_INFLIGHT);
    wanted.set_manual_acks(true);
    if let Some((user, password)) = &options.login {
        wanted.set_credentials(user, password);
    }
    if let Some(will) = options.will.as_ref().map(|will| &will.message) {
        wanted.set_last_will(LastWill::new(&will.topic, will.payload.to_vec(), will.qos.into(), will.retain));
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
        let mut publish = Publish::new("", QoS::ExactlyOnce, Vec::new());
        publish.pkid = packet_id;
        let seen = state.handle_incoming_packet(Packet::Publish(publish));
        debug_assert!(seen.is_ok());
        state.events.clear();
    }
}

async fn drive(mut eventloop: EventLoop, signals: Sender<Signal>) {
    let mut tickets = Tickets::default();
    let goodbye = loop {
        match eventloop.poll().await {
            Ok(event) => {
                if forward(event, &mut tickets, &signals).await.is_err() {
                    return;
                }
            }
            Err(error) => break goodbye::of_v4(error),
        }
    };
    finish(eventloop, tickets, signals, goodbye).await;
}

/// What came together with the end is still worth hearing.
async fn finish(mut eventloop: EventLoop, mut tickets: Tickets, signals: Sender<Signal>, goodbye: Goodbye) {
    for event in eventloop.state.events.drain(..) {
        if forward(event, &mut tickets, &signals).await.is_err() {
            return;
        }
    }
    signals.send(Signal::Down(goodbye)).await.ok();
}

async fn forward(event: Event, tickets: &mut Tickets, signals: &Sender<Signal>) -> Result<(), Closing> {
    match translate(event, tickets) {
        Some(signal) => signals.send(signal).await.map_err(|_| Closing),
        None => Ok(()),
    }
}

fn translate(event: Event, tickets: &mut Tickets) -> Option<Signal> {
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => Some(Signal::Up { session_present: ack.session_present }),
        Event::Incoming(Packet::Publish(publish)) => Some(Signal::Message(message(publish))),
        Event::Incoming(Packet::PubRel(release)) => Some(Signal::Released(release.pkid)),
        Event::Incoming(Packet::SubAck(ack)) => {
            Some(Signal::Subscribed(ack.return_codes.into_iter().map(grant).collect()))
        }
        Event::Incoming(Packet::PubAck(ack)) => tickets.answered(ack.pkid, Ok(Receipt::default())),
        Event::Incoming(Packet::PubComp(done)) => tickets.completed(done.pkid),
        Event::Outgoing(Outgoing::Publish(packet_id)) => tickets.written(packet_id),
        _ => None,
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: quality(publish.qos),
        retain: publish.retain,
        properties: PublishProperties::default(),
        packet_id: publish.pkid,
    }
}

fn grant(code: SubscribeReasonCode) -> Result<Qos, Refusal> {
    match code {
        SubscribeReasonCode::Success(qos) => Ok(quality(qos)),
        SubscribeReasonCode::Failure => {
            Err(Refusal { what: "the server refused".to_owned(), why: None, rights: true })
        }
    }
}

fn quality(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}
