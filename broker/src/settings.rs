//! The configuration in the form in which the broker uses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_config::Config;

use crate::clock::Millis;
use crate::codec::Limits;
use crate::gate::GateLimits;
use crate::limit::{EntranceLimits, PaceLimits, Rate};
use crate::proxy::Proxies;
use crate::retained::RetainedLimits;
use crate::session::SessionLimits;
use crate::spine::SpineSettings;
use crate::topic::TopicLimits;
use crate::websocket;

/// What the broker needs to know; one copy for all edges.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses for MQTT over TCP.
    pub mqtt: Vec<SocketAddr>,
    /// Addresses for MQTT over WebSocket.
    pub websocket: Vec<SocketAddr>,
    /// Addresses for MQTT over TLS.
    pub mqtts: Vec<SocketAddr>,
    /// Addresses for MQTT over WebSocket over TLS.
    pub wss: Vec<SocketAddr>,
    /// Whose word about the address of a client counts.
    pub proxies: Proxies,
    /// The demo door without passwords.
    pub bare_client_id: Option<SocketAddr>,
    /// What an upgrade has to satisfy.
    pub door: websocket::Door,
    /// Edges, one thread each; at most [`MAX_EDGES`].
    pub edges: u8,
    /// Connections in all.
    pub connections: usize,
    /// Who may come in, as far as numbers go.
    pub gate: GateLimits,
    /// How often a client id may be taken over while it is connected.
    pub takeovers: Option<Rate>,
    /// How fast a client may send; nothing if as fast as it can.
    pub pace: Option<PaceLimits>,
    /// From accepting a connection to its CONNECT.
    pub connect_deadline: Duration,
    /// Packets before the login.
    pub before_login: Limits,
    /// Packets after the login.
    pub after_login: Limits,
    /// Bytes that an edge reads at once.
    pub read_buffer: usize,
    /// Bytes that may wait for one client.
    pub outbound_bytes: usize,
    /// Milliseconds for which more than that may wait for a client whose socket takes nothing.
    pub slow_reader: Millis,
    /// Seconds that a session may outlive its connection; also the life of a persistent session of 3.x.
    pub expiry_max: u32,
    /// Seconds; a longer keep-alive is named in the log (R9).
    pub keep_alive_warn: u16,
    /// Seconds; what an MQTT 5 client has to use in place of a longer keep-alive (§3.2.2.3.14).
    pub keep_alive_max: Option<u16>,
    /// Whether a client whose subscription is refused hears that it lacks the right.
    pub say_why: bool,
    /// Bytes that an edge may have on the way to the bridge before it stops reading.
    pub credit_bytes: u64,
    /// Sizes of a session.
    pub session: Arc<SessionLimits>,
    /// How much may be retained.
    pub retained: RetainedLimits,
    /// The spine.
    pub spine: SpineSettings,
    /// Between two refreshes of what the server says of itself on `$SYS`.
    pub sys_interval: Option<Duration>,
    /// Classes of which a user has one device that is logged in.
    pub single_classes: Vec<String>,
    /// What MQTT 5 clients are told to use in place of a server that stops (§4.11).
    pub redirect: Option<String>,
}

/// A route names edges by the bits of a number.
pub const MAX_EDGES: usize = 64;

impl Settings {
    /// From the whole configuration.
    pub fn new(config: &Config) -> Settings {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = if config.server.edges == 0 { cores } else { config.server.edges };
        let edges = wanted.min(MAX_EDGES) as u8;
        let limits = &config.limits;
        let packets = |packet_bytes| Limits { packet_bytes, user_properties: limits.user_properties };
        Settings {
            mqtt: config.listen.mqtt.clone(),
            websocket: config.listen.websocket.clone(),
            mqtts: config.listen.mqtts.clone(),
            wss: config.listen.wss.clone(),
            proxies: Proxies(config.listen.proxy_from.clone()),
            bare_client_id: config.compat.listen.filter(|_| config.compat.bare_client_id),
            door: websocket::Door {
                path: config.listen.websocket_path.clone(),
                origins: config.listen.websocket_origins.clone(),
                max_bytes: limits.packet_before_login_bytes,
            },
            edges,
            connections: limits.connections,
            gate: gate_limits(limits),
            takeovers: limits.takeovers.map(|count| Rate::new(count.into(), millis(limits.takeover_window))),
            pace: pace_limits(limits),
            connect_deadline: limits.connect_deadline,
            before_login: packets(limits.packet_before_login_bytes),
            after_login: packets(limits.packet_bytes),
            read_buffer: limits.read_buffer_bytes,
            outbound_bytes: limits.outbound_bytes,
            slow_reader: millis(limits.slow_reader),
            expiry_max: seconds(config.session.expiry_max),
            keep_alive_warn: u16::try_from(seconds(config.session.keep_alive_warn)).unwrap_or(u16::MAX),
            keep_alive_max: config
                .session
                .keep_alive_max
                .map(|max| u16::try_from(seconds(max)).unwrap_or(u16::MAX)),
            say_why: config.acl.say_why,
            // All edges share one lane to the bridge.
            credit_bytes: (config.spine.credit_bytes / usize::from(edges)).max(limits.packet_bytes) as u64,
            session: Arc::new(session_limits(config)),
            retained: RetainedLimits { messages: limits.retained_messages, bytes: limits.retained_bytes },
            spine: SpineSettings {
                edges,
                segment_bytes: config.spine.segment_bytes,
                segments: config.spine.segments,
                heartbeat: config.spine.heartbeat,
                stall: config.spine.stall,
            },
            sys_interval: config.server.sys_interval,
            single_classes: config.devices.single.clone(),
            redirect: config.server.redirect.clone(),
        }
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    let session = &config.session;
    SessionLimits {
        inflight: session.inflight,
        unanswered: u16::try_from(session.ack_buffer).unwrap_or(u16::MAX),
        waiting_messages: session.queue_messages,
        waiting_bytes: session.queue_bytes,
        subscriptions: config.limits.subscriptions,
        topic_alias_maximum: session.topic_alias_max,
        out_bytes: config.limits.outbound_bytes / 2,
        topics: TopicLimits { levels: config.limits.topic_levels, bytes: config.limits.topic_bytes },
    }
}

fn gate_limits(limits: &hubbub_config::Limits) -> GateLimits {
    let saved = millis(limits.connect_burst);
    let rate = |count: Option<u32>| count.map(|count| Rate::per_second(count.into(), saved));
    let entrance = EntranceLimits {
        per_address: limits.connections_per_address,
        per_user: limits.connections_per_user,
        all: rate(limits.connects_per_second),
        each: rate(limits.connects_per_address),
        remembered: limits.remembered,
        loopback: limits.loopback,
    };
    GateLimits { connections: limits.connections, refusals: limits.refusals, entrance }
}

fn pace_limits(limits: &hubbub_config::Limits) -> Option<PaceLimits> {
    let saved = millis(limits.publish_burst);
    let publishes = limits.publishes_per_second.map(|count| Rate::per_second(count.into(), saved));
    let bytes = limits.bytes_per_second.map(|count| Rate::per_second(count as u64, saved));
    let any = publishes.is_some() || bytes.is_some();
    any.then_some(PaceLimits { publishes, bytes, excess: millis(limits.publish_excess) })
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
