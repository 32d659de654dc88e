//! The health check: a client of our own that logs in, subscribes, publishes a retained message at QoS 1 and waits for
//! both the message and its acknowledgement. So it passes through sockets, sessions, spine, commit and flush.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use hubbub_broker::codec::encode::client;
use hubbub_broker::codec::{
    Connect, ConnectProperties, Disconnect, Properties, Publish, QoS, Subscribe, SubscribeOptions, Version,
};
use hubbub_broker::proxy::Proxies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that needs longer is not healthy.
const LIMIT: Duration = Duration::from_secs(5);

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;

/// Gives back how long publishing took, or one sentence.
pub async fn round_trip(
    address: SocketAddr,
    proxies: &Proxies,
    user: &ByteString,
    password: &ByteString,
) -> Result<Duration, String> {
    let address = loopback(address);
    // Where proxies of this machine have to say for whom they come, so have we: for nobody else.
    let introduction: &[u8] = if proxies.trusts(address.ip()) { b"PROXY UNKNOWN\r\n" } else { b"" };
    match tokio::time::timeout(LIMIT, try_round_trip(address, introduction, user, password)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no round trip within {} s", LIMIT.as_secs())),
    }
}

async fn try_round_trip(
    address: SocketAddr,
    introduction: &[u8],
    user: &ByteString,
    password: &ByteString,
) -> anyhow::Result<Duration> {
    let id = ByteString::from(format!("canary-{}", ulid::Ulid::new()));
    // One topic for all checks: a check that fails half way leaves at most one retained message behind.
    let topic = ByteString::from_static("$SYS/canary/probe");
    let mut peer = Peer { stream: TcpStream::connect(address).await?, buffer: BytesMut::new() };
    peer.stream.write_all(introduction).await?;
    peer.send(|out| client::connect(out, &connect(id.clone(), user, password))).await?;
    peer.expect(CONNACK).await?;
    let options = SubscribeOptions { qos: QoS::AtMostOnce, ..SubscribeOptions::default() };
    let subscribe = Subscribe { packet_id: 1, id: None, filters: vec![(topic.clone(), options)] };
    peer.send(|out| client::subscribe(out, Version::V311, &subscribe)).await?;
    peer.expect(SUBACK).await?;
    let started = Instant::now();
    peer.send(|out| client::publish(out, Version::V311, &publish(&topic, id.as_bytes().clone(), 2))).await?;
    // Another check may be under way on the same topic.
    while !peer.expect(PUBLISH).await?.ends_with(id.as_bytes()) {}
    peer.expect(PUBACK).await?;
    let took = started.elapsed();
    // An empty retained message takes it away again.
    peer.send(|out| client::publish(out, Version::V311, &publish(&topic, Bytes::new(), 3))).await?;
    peer.expect(PUBACK).await?;
    peer.send(|out| client::disconnect(out, Version::V311, &Disconnect { reason: 0, session_expiry: None }))
        .await?;
    Ok(took)
}

fn connect(client_id: ByteString, user: &ByteString, password: &ByteString) -> Connect {
    Connect {
        version: Version::V311,
        clean_start: true,
        keep_alive: 30,
        client_id,
        will: None,
        username: Some(user.clone()),
        password: Some(password.clone().into_bytes()),
        properties: ConnectProperties::default(),
    }
}

fn publish(topic: &ByteString, payload: Bytes, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: topic.clone(),
        packet_id,
        alias: None,
        expiry: None,
        properties: Properties::default(),
        payload,
    }
}

struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    async fn send(&mut self, encode: impl FnOnce(&mut BytesMut)) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        encode(&mut out);
        Ok(self.stream.write_all(&out).await?)
    }

    /// Reads packets until one of this type comes. All of them are short here, so their length is one byte.
    async fn expect(&mut self, kind: u8) -> anyhow::Result<BytesMut> {
        loop {
            while self.buffer.len() < 2 || self.buffer.len() < 2 + usize::from(self.buffer[1]) {
                anyhow::ensure!(
                    self.stream.read_buf(&mut self.buffer).await? > 0,
                    "the broker closed the connection"
                );
            }
            let packet = self.buffer.split_to(2 + usize::from(self.buffer[1]));
            if packet[0] == CONNACK {
                anyhow::ensure!(packet.get(3) == Some(&0), "the broker refused the health check");
            }
            if packet[0] & 0xf0 == kind {
                return Ok(packet);
            }
        }
    }
}

/// "Every address" is for listening; to ask, there is loopback.
fn loopback(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
