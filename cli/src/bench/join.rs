//! Bringing clients in: TCP, CONNECT, SUBSCRIBE, each step only after the broker agreed to the one before.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::codec::{self, PUBCOMP, Packet};
use super::links::Links;
use super::process::open_file_limit;
use super::report::{Histogram, new_histogram};
use super::swarm::{Handler, Swarm};
use super::target::{Client, Target};

/// Without any progress for so long, the rest will not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Files that a process has open anyway.
const OTHER_FILES: usize = 32;

/// How the joining went.
pub struct Joined {
    /// From the first connection to the last subscription.
    pub seconds: f64,
    /// Nanoseconds from connecting to being subscribed, per client.
    pub latency: Histogram,
}

/// Brings all clients in, so many at once as the target says. Client `i` becomes connection `i` of the empty `swarm`.
///
/// Fails with the first refusal, or when nothing happens for 20 seconds. What a broker delivers meanwhile (an older session, a
/// stored inbox) is acknowledged and dropped.
pub fn join(swarm: &mut Swarm, target: &Target, clients: &[Client]) -> Result<Joined> {
    join_listening(swarm, target, clients, &mut |_, _, _| {})
}

/// Like [`join`], but `heard` is told the connection, the payload and the time of everything that is delivered meanwhile.
pub fn join_listening(
    swarm: &mut Swarm,
    target: &Target,
    clients: &[Client],
    heard: &mut dyn FnMut(usize, &[u8], u64),
) -> Result<Joined> {
    check_open_files(clients.len())?;
    let began_ns = swarm.links.now_ns();
    let mut joining = Joining::new(target, clients, heard);
    while joining.joined < clients.len() {
        while joining.begun_ns.len() < clients.len() && joining.under_way() < target.parallel {
            joining.begun_ns.push(swarm.links.now_ns());
            swarm.open(target, target.source(joining.begun_ns.len() - 1, clients.len()))?;
        }
        swarm.turn(&mut joining, Duration::from_millis(100))?;
        if let Some(failure) = joining.failure {
            return Err(failure);
        }
        joining.check_progress(swarm.links.now_ns())?;
    }
    let seconds = (swarm.links.now_ns() - began_ns) as f64 / 1e9;
    Ok(Joined { seconds, latency: joining.latency })
}

/// Ends the sessions that persistent clients leave behind, by coming back once without one.
pub fn forget_sessions(target: &Target, clients: &[Client]) -> Result<()> {
    let returning: Vec<Client> = clients
        .iter()
        .filter(|client| !client.clean)
        .map(|client| Client { subscriptions: Vec::new(), clean: true, ..client.clone() })
        .collect();
    let mut swarm = Swarm::new()?;
    join(&mut swarm, target, &returning)?;
    swarm.leave(PATIENCE)?;
    Ok(())
}

fn check_open_files(connections: usize) -> Result<()> {
    match open_file_limit() {
        Some(limit) if connections + OTHER_FILES > limit => bail!(
            "{connections} connections need more than the {limit} open files allowed here; raise it with `ulimit -n`"
        ),
        _ => Ok(()),
    }
}

struct Joining<'a> {
    target: &'a Target,
    clients: &'a [Client],
    begun_ns: Vec<u64>,
    joined: usize,
    connected: usize,
    progress_ns: u64,
    latency: Histogram,
    failure: Option<anyhow::Error>,
    heard: &'a mut dyn FnMut(usize, &[u8], u64),
}

impl<'a> Joining<'a> {
    fn new(target: &'a Target, clients: &'a [Client], heard: &'a mut dyn FnMut(usize, &[u8], u64)) -> Self {
        let begun_ns = Vec::with_capacity(clients.len());
        Self {
            target,
            clients,
            begun_ns,
            joined: 0,
            connected: 0,
            progress_ns: 0,
            latency: new_histogram(),
            failure: None,
            heard,
        }
    }

    fn under_way(&self) -> usize {
        self.begun_ns.len() - self.joined
    }

    fn check_progress(&mut self, now_ns: u64) -> Result<()> {
        if now_ns.saturating_sub(self.progress_ns) > PATIENCE.as_nanos() as u64 {
            let (joined, total) = (self.joined, self.clients.len());
            bail!(
                "{joined} of {total} clients came in, then the broker was silent for {} s",
                PATIENCE.as_secs()
            );
        }
        Ok(())
    }

    fn finish(&mut self, links: &mut Links, who: usize, now_ns: u64) {
        if let Some(greeting) = &self.clients[who].greeting {
            links.out(who).extend_from_slice(greeting);
        }
        self.joined += 1;
        self.latency.saturating_record(now_ns - self.begun_ns[who]);
    }

    fn fail(&mut self, who: usize, reason: &str) {
        let Client { id, user, .. } = &self.clients[who];
        let user = user.as_deref().unwrap_or("no user name");
        self.failure.get_or_insert(anyhow!("client {id} ({user}) at {}: {reason}", self.target.address));
    }

    fn on_connack(&mut self, links: &mut Links, who: usize, code: u8, now_ns: u64) {
        match (code, &self.clients[who].subscriptions[..]) {
            (0, []) => self.finish(links, who, now_ns),
            (0, filters) => codec::put_subscribe(links.out(who), filters),
            _ => self.fail(who, &format!("CONNECT refused: {} (code {code})", connack_text(code))),
        }
    }

    fn on_suback(&mut self, links: &mut Links, who: usize, codes: &[u8], now_ns: u64) {
        let filters = &self.clients[who].subscriptions;
        if codes.len() != filters.len() {
            return self
                .fail(who, &format!("SUBACK with {} codes for {} filters", codes.len(), filters.len()));
        }
        match filters.iter().zip(codes).find(|((_, qos), code)| qos != *code) {
            None => self.finish(links, who, now_ns),
            Some(((filter, _), code)) if *code > 2 => {
                self.fail(who, &format!("SUBSCRIBE to {filter} refused"))
            }
            Some(((filter, qos), code)) => self
                .fail(who, &format!("SUBSCRIBE to {filter}: QoS {code} granted where {qos} was asked for")),
        }
    }
}

impl Handler for Joining<'_> {
    fn on_connected(&mut self, links: &mut Links, who: usize) {
        self.connected += 1;
        let hello = self.clients[who].hello(self.target.password.as_deref());
        codec::put_connect(links.out(who), &hello);
    }

    fn on_packet(&mut self, links: &mut Links, who: usize, packet: Packet<'_>, now_ns: u64) {
        self.progress_ns = now_ns;
        match packet {
            Packet::ConnAck { code } => self.on_connack(links, who, code, now_ns),
            Packet::SubAck { codes } => self.on_suback(links, who, codes, now_ns),
            Packet::Publish { qos, id, payload } => {
                codec::put_receipt(links.out(who), qos, id);
                (self.heard)(who, payload, now_ns);
            }
            Packet::PubRel { id } => codec::put_ack(links.out(who), PUBCOMP, id),
            Packet::PubAck { .. } if self.clients[who].greeting.is_some() => {}
            other => self.fail(who, &format!("unexpected while joining: {other:?}")),
        }
    }

    fn on_closed(&mut self, _: &mut Links, who: usize, reason: &str) {
        if self.connected == 0 {
            let address = self.target.address;
            self.failure = Some(anyhow!("cannot connect to {address}: {reason}; is a broker running there?"));
        } else {
            self.fail(who, reason);
        }
    }
}

/// Section 3.2.2.3.
fn connack_text(code: u8) -> &'static str {
    match code {
        1 => "MQTT 3.1.1 is not spoken here",
        2 => "the client id is not allowed",
        3 => "the broker is unavailable",
        4 => "bad user name or password",
        5 => "not authorised",
        _ => "a code that MQTT 3.1.1 does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target_at;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// What the user reads when the broker answers CONNECT with `answer`.
    fn message_after(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target_at(listener.local_addr().unwrap());
        let broker = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 256]).unwrap();
            socket.write_all(answer).unwrap();
        });
        let clients = [target.client(0).subscribing("a/b".into(), 1)];
        let error = join(&mut Swarm::new().unwrap(), &target, &clients).err().unwrap();
        broker.join().unwrap();
        error.to_string()
    }

    #[test]
    fn a_refused_login_says_who_and_why() {
        let message = message_after(b"\x20\x02\0\x05");
        assert!(message.contains("(u0)") && message.contains("not authorised (code 5)"), "{message}");
    }

    #[test]
    fn a_refused_or_lowered_subscription_names_the_filter() {
        let message = message_after(b"\x20\x02\0\0\x90\x03\0\x01\x80");
        assert!(message.contains("SUBSCRIBE to a/b refused"), "{message}");
        let message = message_after(b"\x20\x02\0\0\x90\x03\0\x01\0");
        assert!(message.contains("QoS 0 granted where 1 was asked for"), "{message}");
    }

    #[test]
    fn a_broker_that_hangs_up_is_reported() {
        let message = message_after(b"");
        assert!(message.contains("closed the connection") || message.contains("reset"), "{message}");
    }

    #[test]
    fn nobody_listening_is_an_error_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target_at(listener.local_addr().unwrap());
        drop(listener);
        let error = join(&mut Swarm::new().unwrap(), &target, &[target.client(0)]).err().unwrap();
        let message = format!("{error:#}");
        assert!(message.contains(&target.address.to_string()) && message.contains("refused"), "{message}");
    }
}
