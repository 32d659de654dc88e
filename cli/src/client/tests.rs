//! The connection against a server that follows a script, byte by byte: what a real server does only now and then.

use super::message::{Draft, PublishProperties, Qos, Subscription};
use super::options::{Options, Protocol, Session};
use super::properties::for_connect;
use super::{Connection, Event, Retry};
use crate::exit::{Exit, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNECT: u8 = 0x10;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const SUBSCRIBE: u8 = 0x82;
const DISCONNECT: u8 = 0xE0;

/// A server that accepts one connection after the other.
struct Script {
    listener: TcpListener,
    protocol: Protocol,
}

/// One connection of it.
struct Peer {
    stream: TcpStream,
    protocol: Protocol,
}

impl Script {
    async fn new(protocol: Protocol) -> Script {
        Script { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), protocol }
    }

    fn client(&self, session: Session, subscription: Option<Subscription>) -> Connection {
        let options = Options {
            host: "127.0.0.1".to_owned(),
            port: self.listener.local_addr().unwrap().port(),
            protocol: self.protocol,
            client_id: "tester".to_owned(),
            session,
            keep_alive: 60,
            login: None,
            will: None,
            tls: None,
            properties: for_connect(&[]),
        };
        Connection::new(options, subscription, Retry::OnceUp)
    }

    /// Accepts a connection and its login.
    async fn accept(&self, session_present: bool) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut peer = Peer { stream, protocol: self.protocol };
        assert_eq!(peer.read().await.0, CONNECT);
        let mut answer = vec![u8::from(session_present), 0];
        if self.protocol == Protocol::V5 {
            answer.push(0);
        }
        peer.send(0x20, &answer).await;
        peer
    }
}

impl Peer {
    /// The next packet: first byte and body.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.unwrap();
        let length = self.stream.read_u8().await.unwrap();
        assert!(length < 128, "the tests send small packets only");
        let mut body = vec![0; length.into()];
        self.stream.read_exact(&mut body).await.unwrap();
        (first, body)
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        self.stream.write_all(&[&[first, length], body].concat()).await.unwrap();
    }

    async fn publish(&mut self, first: u8, packet_id: Option<u8>, payload: &str) {
        let mut body = vec![0, 1, b't'];
        if let Some(packet_id) = packet_id {
            body.extend([0, packet_id]);
        }
        if self.protocol == Protocol::V5 {
            body.push(0);
        }
        body.extend(payload.as_bytes());
        self.send(first, &body).await;
    }
}

fn draft(payload: &str) -> Draft {
    Draft {
        topic: "t".to_owned(),
        payload: payload.to_owned().into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: PublishProperties::default(),
    }
}

async fn next_message(connection: &mut Connection) -> super::Message {
    loop {
        if let Event::Message(message) = connection.next().await.unwrap() {
            return message;
        }
    }
}

async fn end(connection: &mut Connection) -> Failure {
    loop {
        if let Err(failure) = connection.next().await {
            return failure;
        }
    }
}

#[tokio::test]
async fn an_unanswered_message_is_sent_again_on_the_next_connection() {
    for protocol in [Protocol::V4, Protocol::V5] {
        let script = Script::new(protocol).await;
        let mut connection = script.client(Session::Clean, None);
        let key = connection.publish(draft("hello"));
        let server = async {
            let mut first = script.accept(false).await;
            assert!(first.read().await.1.ends_with(b"hello"));
            drop(first);
            let mut second = script.accept(false).await;
            let (_, again) = second.read().await;
            assert!(again.ends_with(b"hello"));
            second.send(PUBACK, &again[3..5]).await;
            second
        };
        let client = async {
            loop {
                if let Event::Settled(settled, answer) = connection.next().await.unwrap() {
                    return (settled, answer.is_ok());
                }
            }
        };
        let (_second, settled) = tokio::join!(server, client);
        assert_eq!(settled, (key, true));
        assert_eq!(connection.unanswered(), 0);
    }
}

#[tokio::test]
async fn what_the_server_says_about_a_message_is_in_the_receipt() {
    let script = Script::new(Protocol::V5).await;
    let mut connection = script.client(Session::Clean, None);
    connection.publish(draft("hello"));
    let server = async {
        let mut peer = script.accept(false).await;
        let (_, publish) = peer.read().await;
        // Reason 0, 9 bytes of properties: user property (0x26) seq = 7.
        let answer = [&publish[3..5], &[0, 9, 0x26, 0, 3, b's', b'e', b'q', 0, 1, b'7']].concat();
        peer.send(PUBACK, &answer).await;
        peer
    };
    let client = async {
        loop {
            if let Event::Settled(_, answer) = connection.next().await.unwrap() {
                return answer.unwrap();
            }
        }
    };
    let (_peer, receipt) = tokio::join!(server, client);
    assert_eq!(receipt.get("seq"), Some("7"));
}

#[tokio::test]
async fn a_refused_message_brings_the_reason() {
    let script = Script::new(Protocol::V5).await;
    let mut connection = script.client(Session::Clean, None);
    connection.publish(draft("hello"));
    let server = async {
        let mut peer = script.accept(false).await;
        let (_, publish) = peer.read().await;
        // Not authorised (0x87), 5 bytes of properties: reason string (0x1F).
        peer.send(PUBACK, &[&publish[3..5], &[0x87, 5, 0x1F, 0, 2, b'n', b'o']].concat()).await;
        peer
    };
    let client = async {
        loop {
            if let Event::Settled(_, answer) = connection.next().await.unwrap() {
                return answer.unwrap_err();
            }
        }
    };
    let (_peer, refusal) = tokio::join!(server, client);
    assert_eq!((refusal.to_string().as_str(), refusal.rights), ("not authorised: no", true));
}

#[tokio::test]
async fn a_goodbye_that_forbids_return_is_the_end() {
    let script = Script::new(Protocol::V5).await;
    let mut connection = script.client(Session::Clean, None);
    let server = async {
        let mut peer = script.accept(false).await;
        // Session taken over (0x8E), reason string.
        peer.send(DISCONNECT, &[0x8E, 5, 0x1F, 0, 2, b'o', b'h']).await;
    };
    let ((), failure) = tokio::join!(server, end(&mut connection));
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.ends_with("session taken over: oh"), "{}", failure.message);
}

#[tokio::test]
async fn a_server_that_was_never_there_is_not_waited_for() {
    let script = Script::new(Protocol::V5).await;
    let mut connection = script.client(Session::Clean, None);
    drop(script);
    assert_eq!(end(&mut connection).await.exit, Exit::Unavailable);
}

#[tokio::test]
async fn subscriptions_are_renewed() {
    let script = Script::new(Protocol::V5).await;
    let mut connection =
        script.client(Session::Clean, Some(Subscription::to(vec!["t".into()], Qos::AtMostOnce)));
    let server = async {
        for _ in 0..2 {
            let mut peer = script.accept(false).await;
            assert_eq!(peer.read().await.0, SUBSCRIBE);
        }
    };
    let client = async { while connection.next().await.is_ok() {} };
    tokio::select! {
        () = server => {}
        () = client => panic!("the connection gave up"),
    }
}

#[tokio::test]
async fn only_what_was_dealt_with_is_acknowledged() {
    for protocol in [Protocol::V4, Protocol::V5] {
        let script = Script::new(protocol).await;
        let mut connection = script.client(Session::Keep, None);
        let server = async {
            let mut peer = script.accept(true).await;
            peer.publish(0x32, Some(1), "seen").await;
            peer.publish(0x32, Some(2), "unseen").await;
            assert_eq!(peer.read().await, (PUBACK, vec![0, 1]));
            assert_eq!(peer.read().await.0, DISCONNECT);
        };
        let client = async {
            let message = next_message(&mut connection).await;
            connection.acknowledge(&message);
            next_message(&mut connection).await;
            connection.close().await;
        };
        tokio::join!(server, client);
    }
}

#[tokio::test]
async fn a_kept_session_may_begin_with_a_release() {
    for protocol in [Protocol::V4, Protocol::V5] {
        let script = Script::new(protocol).await;
        let mut connection = script.client(Session::Keep, None);
        let server = async {
            let mut peer = script.accept(true).await;
            peer.send(PUBREL, &[0, 9]).await;
            assert_eq!(peer.read().await, (PUBCOMP, vec![0, 9]));
        };
        tokio::select! {
            () = server => {}
            failure = end(&mut connection) => panic!("{failure}"),
        }
    }
}

#[tokio::test]
async fn a_repeated_message_of_quality_2_is_shown_once() {
    let script = Script::new(Protocol::V5).await;
    let mut connection = script.client(Session::Keep, None);
    let server = async {
        let mut first = script.accept(true).await;
        first.publish(0x34, Some(5), "a").await;
        assert_eq!(first.read().await, (PUBREC, vec![0, 5]));
        drop(first);
        let mut second = script.accept(true).await;
        second.publish(0x3C, Some(5), "a").await;
        assert_eq!(second.read().await, (PUBREC, vec![0, 5]));
        second.send(PUBREL, &[0, 5]).await;
        assert_eq!(second.read().await, (PUBCOMP, vec![0, 5]));
        second.publish(0x34, Some(5), "b").await;
        second
    };
    let client = async {
        let first = next_message(&mut connection).await;
        connection.acknowledge(&first);
        (first.payload, next_message(&mut connection).await.payload)
    };
    let (_second, shown) = tokio::join!(server, client);
    assert_eq!((&shown.0[..], &shown.1[..]), (&b"a"[..], &b"b"[..]));
}
