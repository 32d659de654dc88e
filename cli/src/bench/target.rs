//! Which broker, and who we say we are.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::codec::{Hello, Will};
use super::process::Process;
use super::tls::VeilMaker;
use crate::client::address::Address;
use crate::client::tls::{Belief, Tls};

/// Connections per local address: below the usual 28,231 ports that Linux hands out for one.
const CLIENTS_PER_SOURCE: usize = 25_000;

/// Options of every scenario.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// Broker to drive, MQTT 3.1.1 over TCP, or over TLS as mqtts://HOST:PORT
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    address: Address,
    /// With mqtts: believe the certificate authorities in this PEM file [default: those of this machine]
    #[arg(long, visible_alias = "ca", value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// With mqtts: believe every certificate
    #[arg(long, conflicts_with = "cafile")]
    insecure: bool,
    /// Drive a broker that is not on this machine. Only with its owner's consent: this is a load generator
    #[arg(long)]
    allow_remote: bool,
    /// User names are this and a number: u0, u1, … Empty: no user name
    #[arg(long, value_name = "TEXT", default_value = "u")]
    user_prefix: String,
    /// Password of all users
    #[arg(long, value_name = "TEXT")]
    password: Option<String>,
    /// Client ids are this, a random number for the run, and a number
    #[arg(long, value_name = "TEXT", default_value = "bench")]
    client_prefix: String,
    /// Handshakes under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    parallel: u16,
    /// Process id of the broker, to measure its processor time and memory
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The checked form of [`TargetArgs`].
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// TLS of each connection, if there is to be any.
    pub tls: Option<VeilMaker>,
    /// Random per run.
    pub run: u32,
    /// Handshakes under way at once.
    pub parallel: usize,
    /// The broker's process, if it is to be measured.
    pub broker: Option<Process>,
    /// Reports are for machines.
    pub json: bool,
    /// Password of all users.
    pub password: Option<String>,
    user_prefix: String,
    client_prefix: String,
}

/// One client to be: who it is, and what it subscribes to.
#[derive(Clone)]
pub struct Client {
    /// Client id.
    pub id: String,
    /// User name, if any.
    pub user: Option<String>,
    /// Topic filters and their QoS, all in one SUBSCRIBE.
    pub subscriptions: Vec<(String, u8)>,
    /// Clean session.
    pub clean: bool,
    /// What is published when it vanishes.
    pub will: Option<Will>,
    /// A packet that it sends once it is subscribed.
    pub greeting: Option<Vec<u8>>,
}

impl TargetArgs {
    /// Resolves and checks. Fails for an unknown host, a broker elsewhere, or a process that is not there.
    pub fn check(&self) -> Result<Target> {
        let address = resolve(&self.address)?;
        if !address.ip().is_loopback() && !self.allow_remote {
            bail!("{address} is not on this machine; --allow-remote permits that, if its owner does");
        }
        if self.password.is_some() && self.user_prefix.is_empty() {
            bail!("--password needs user names, but --user-prefix is empty");
        }
        Ok(Target {
            address,
            tls: self.tls()?,
            run: RandomState::new().build_hasher().finish() as u32,
            parallel: usize::from(self.parallel),
            broker: self.broker_pid.map(Process::with_pid).transpose().context("--broker-pid")?,
            json: self.json,
            password: self.password.clone(),
            user_prefix: self.user_prefix.clone(),
            client_prefix: self.client_prefix.clone(),
        })
    }
}

impl TargetArgs {
    fn tls(&self) -> Result<Option<VeilMaker>> {
        if self.address.secure != Some(true) {
            if self.insecure || self.cafile.is_some() {
                bail!("with certificates the address is mqtts://{}", self.address.host);
            }
            return Ok(None);
        }
        let belief = match &self.cafile {
            _ if self.insecure => Belief::Anybody,
            Some(file) => Belief::File(file),
            None => Belief::System,
        };
        Ok(Some(VeilMaker::new(&Tls::read(belief, None)?.config(), &self.address.host)?))
    }
}

impl Target {
    /// Name of user `number`; empty when users have no names.
    pub fn user(&self, number: usize) -> String {
        if self.user_prefix.is_empty() { String::new() } else { format!("{}{number}", self.user_prefix) }
    }

    /// Client `number`, who subscribes to nothing.
    pub fn client(&self, number: usize) -> Client {
        let id = format!("{}-{:08x}-{number}", self.client_prefix, self.run);
        let user = Some(self.user(number)).filter(|name| !name.is_empty());
        Client { id, user, subscriptions: Vec::new(), clean: true, will: None, greeting: None }
    }

    /// A topic of this run only.
    pub fn topic(&self, tail: impl std::fmt::Display) -> String {
        format!("bench/{:08x}/{tail}", self.run)
    }

    /// Local address for client `number` of `total`: several only where one would run out of ports.
    pub fn source(&self, number: usize, total: usize) -> Option<IpAddr> {
        let spread =
            total > CLIENTS_PER_SOURCE && matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        spread.then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + (number / CLIENTS_PER_SOURCE).min(253) as u8)))
    }
}

impl Client {
    /// The same client with one more subscription.
    pub fn subscribing(mut self, filter: String, qos: u8) -> Self {
        self.subscriptions.push((filter, qos));
        self
    }

    /// Its CONNECT.
    pub fn hello<'a>(&'a self, password: Option<&'a str>) -> Hello<'a> {
        let Self { id, user, clean, will, .. } = self;
        Hello { client: id, user: user.as_deref(), password, clean: *clean, will: will.as_ref() }
    }

    /// The same client, with a session that outlives the connection if `persistent`.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.clean = !persistent;
        self
    }
}

fn resolve(address: &Address) -> Result<SocketAddr> {
    let host = &address.host;
    let port = address.port.unwrap_or(if address.secure == Some(true) { 8883 } else { 1883 });
    let mut found = (host.as_str(), port).to_socket_addrs().with_context(|| format!("--address {host}"))?;
    found.next().with_context(|| format!("--address {host}: the name has no address"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }

    /// For the tests of other modules: everything by default, but the address.
    pub(in super::super) fn target_at(address: SocketAddr) -> Target {
        check(&["--address", &address.to_string()]).unwrap()
    }

    fn check(arguments: &[&str]) -> Result<Target> {
        Line::parse_from([&["bench"], arguments].concat()).target.check()
    }

    #[test]
    fn a_broker_elsewhere_needs_permission() {
        let refused = check(&["--address", "192.0.2.1:1883"]).err().unwrap();
        assert!(refused.to_string().contains("--allow-remote"), "{refused}");
        assert!(check(&["--address", "192.0.2.1:1883", "--allow-remote"]).is_ok());
    }

    #[test]
    fn client_ids_of_two_runs_differ_and_users_do_not() {
        let (one, two) = (check(&[]).unwrap().client(3), check(&[]).unwrap().client(3));
        assert_ne!(one.id, two.id);
        assert_eq!((one.user.as_deref(), two.user.as_deref()), (Some("u3"), Some("u3")));
        assert_eq!(check(&["--user-prefix", ""]).unwrap().client(3).user, None);
    }

    #[test]
    fn many_clients_spread_over_local_addresses() {
        let target = check(&[]).unwrap();
        assert_eq!(target.source(24_999, 25_000), None);
        assert_eq!(target.source(25_000, 60_000), Some(IpAddr::from([127, 0, 0, 2])));
        assert_eq!(target.source(59_999, 60_000), Some(IpAddr::from([127, 0, 0, 3])));
    }
}
