//! Every setting of Hubbub, one row each: name, type, default, and what a person may write for it.
//!
//! The comments here are what the operator reads in `hubbub.toml` too: the file is rendered from these rows,
//! and a test keeps the copy in the repository equal. So say what the setting does, not how the code uses it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::kind::{Address, Bytes, Choice, Choices, Count, FilePath, Flag, Many, Maybe, Network, Span};
use crate::table::settings;
use crate::word::{
    Secret, Url, Word, check_claim, check_host_port, check_log_filter, check_origin, check_path, check_user,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const TIB: usize = 1024 * GIB;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The largest MQTT packet there can be: fixed header of 5 bytes, remaining length of four 7-bit groups (MQTT
/// 5, 1.5.5).
const LARGEST_PACKET: usize = 5 + (1 << 28) - 1;

settings! {
    /// Where the server listens.
    listen: Listen {
        /// Addresses for MQTT over TCP; 3.1, 3.1.1 and 5 share a port, and port 0 takes any free one.
        mqtt: Vec<SocketAddr> = vec![loopback(1883)], Many(Address);
        /// Addresses for MQTT over WebSocket.
        websocket: Vec<SocketAddr> = vec![loopback(8083)], Many(Address);
        /// Addresses for MQTT over TLS, usually on port 8883; needs tls.certificates.
        mqtts: Vec<SocketAddr> = Vec::new(), Many(Address);
        /// Addresses for MQTT over WebSocket over TLS; needs tls.certificates.
        wss: Vec<SocketAddr> = Vec::new(), Many(Address);
        /// The path that a WebSocket client asks for.
        websocket_path: String = "/mqtt".into(), Word("a path such as \"/mqtt\"", check_path);
        /// Web pages that may open a WebSocket, each as the browser's Origin header has it; when empty, only
        /// pages from the host and port they connect to, and clients that send no Origin (programs).
        websocket_origins: Vec<String> = Vec::new(), Many(Word("an origin such as \"https://chat.example\"", check_origin));
        /// Networks of proxies in front of this server. Who comes from there has to say for whom: with a PROXY
        /// protocol header (version 1 or 2), over WebSocket also with X-Forwarded-For. Nobody else is believed.
        proxy_from: Vec<IpNet> = Vec::new(), Many(Network);
        /// Address for `/healthz`, `/metrics` and the accounts; other than loopback it needs listen.http_token.
        http: Option<SocketAddr> = Some(loopback(8080)), Maybe(Address);
        /// What everybody has to show there as `Authorization: Bearer`, on every page but `/healthz`: 16 characters or
        /// more, best given as HUBBUB_LISTEN_HTTP_TOKEN. Whoever has it may do there what the operator may.
        http_token: Option<String> = None, Maybe(Secret);
    }

    /// Who may log in.
    login: Login {
        /// Believe every user name without a password; refused unless all listeners are on loopback.
        dev: bool = false, Flag;
        /// Accept the accounts made with `hubbub user add`.
        users: bool = true, Flag;
        /// The methods of login in the order in which they are asked: "certificate" (tls.client_user), "token", "users",
        /// "hook". Each may let somebody in, refuse for good, or leave it to the next. Exactly those that are set up are
        /// listed; off = those, in that order.
        order: Option<Vec<LoginMethod>> = None, Maybe(Many(Choice));
        /// Passwords checked at the same time; each takes one core and some 20 MiB while it lasts.
        hash_concurrency: usize = 2, Count(1, 256);
        /// Logins that may wait for such a check; the next are refused with "server busy", so that nobody waits longer
        /// than limits.connect_deadline for nothing.
        hash_queue: usize = 256, Count(0, 100_000);
        /// Let MQTT 5 clients prove their password without sending it: authentication method SCRAM-SHA-256. Then
        /// `hubbub user add` and `passwd` store what that needs as well; whoever steals it guesses passwords at far
        /// less cost than from argon2id alone. Accounts made before need another `passwd`.
        scram: bool = false, Flag;
        /// PBKDF2 rounds of those stored passwords: what a thief pays for each guess and a client's device at each
        /// login. After a change, names with the earlier number show until their next `passwd` that they exist.
        scram_iterations: u32 = 600_000, Count(4096, 10_000_000);
        /// Failed logins of a user from one address (IPv6: from one /64 network) before there is a pause.
        cooldown_after: u32 = 3, Count(1, 1000);
        /// That pause, without a look at the password; longer by as much with each further failure. An address from which
        /// the user has logged in before never waits longer than once this.
        cooldown_step: Duration = secs(5 * MINUTE), Span(secs(1), secs(DAY));
        /// Failed logins of a user from one address after which the user is locked there until `hubbub user unlock`, a
        /// new password, or a restart; never an address from which the user has logged in before.
        lock_after: u32 = 10, Count(1, 1_000_000);
        /// Failed logins from one address, whatever the names, before it pauses for all who have not logged in from there;
        /// behind a proxy that is not in listen.proxy_from everybody has one address.
        failures_of_address: u32 = 100, Count(1, 1_000_000);
        /// Time without a further one after which failures are forgotten, unless the user is locked.
        failures_forgotten: Duration = secs(DAY), Span(secs(1), secs(365 * DAY));
        /// Pairs of user and address of which failures are remembered, some 100 bytes each; the oldest go first, so
        /// that nobody fills the memory with names.
        failures_kept: usize = 100_000, Count(16, 100_000_000);
        /// A file with the secret, 32 bytes or more, with which your application signs tokens (JWT) by HS256; a token is
        /// given as the MQTT password. Read again on SIGHUP, as the next ones. off = no such tokens.
        token_secret_file: Option<PathBuf> = None, Maybe(FilePath);
        /// Files with public keys whose tokens count, as PEM ("PUBLIC KEY") or as a JSON key set (JWKS): RSA for RS256,
        /// P-256 for ES256, Ed25519 for EdDSA.
        token_keys: Vec<PathBuf> = Vec::new(), Many(FilePath);
        /// The http or https URL of a JSON key set (JWKS) with such keys; off = none.
        token_jwks: Option<String> = None, Maybe(Url);
        /// Age at which that key set is fetched again before the next token is judged.
        token_jwks_refresh: Duration = secs(10 * MINUTE), Span(secs(1), secs(DAY));
        /// Shortest time between two fetches, also when a token names a key that is not in the set.
        token_jwks_pause: Duration = secs(30), Span(millis(10), secs(HOUR));
        /// Age up to which the last good key set still counts while it cannot be fetched; then no token is accepted.
        token_jwks_keep: Duration = secs(DAY), Span(secs(1), secs(30 * DAY));
        /// Time that one fetch may take.
        token_jwks_timeout: Duration = secs(5), Span(millis(10), secs(MINUTE));
        /// The issuer that every token has to name (`iss`); off = any.
        token_issuer: Option<String> = None, Maybe(Word("the name of an issuer", check_claim));
        /// Audiences of which every token has to name one (`aud`); when empty, tokens with an audience are refused.
        token_audience: Vec<String> = Vec::new(), Many(Word("the name of an audience", check_claim));
        /// The claim that holds the user name. Others that count: `exp`, which every token needs and at which its
        /// connection ends; `nbf`; `class`, what the device is called; `publish` and `subscribe`, lists of topic filters
        /// that are open besides the rules.
        token_user: String = "sub".into(), Word("the name of a claim", check_claim);
        /// How far the clocks of the server and of who makes the tokens may differ.
        token_leeway: Duration = secs(30), Span(millis(0), secs(10 * MINUTE));
        /// The http or https URL of your application that is asked who may come in; off = it is not asked.
        hook: Option<String> = None, Maybe(Url);
        /// The key of the HMAC-SHA256 signature of every such call; needed with a hook, best given as
        /// HUBBUB_LOGIN_HOOK_SECRET.
        hook_secret: Option<String> = None, Maybe(Secret);
        /// Time one call may take; without an answer nobody is let in.
        hook_timeout: Duration = secs(3), Span(millis(10), secs(MINUTE));
        /// Calls at the same time.
        hook_concurrency: usize = 16, Count(1, 1024);
        /// Logins that may wait for a call; the next are refused with "server busy".
        hook_queue: usize = 256, Count(0, 100_000);
        /// Time for which an answer counts for the same login; 0s = every login is asked about.
        hook_cache: Duration = secs(MINUTE), Span(millis(0), secs(DAY));
        /// Answers that are kept for that time, under a keyed hash; the oldest go first.
        hook_cache_entries: usize = 10_000, Count(1, 10_000_000);
    }

    /// Certificates of this server and of its clients; read again on SIGHUP.
    tls: Tls {
        /// Certificate chains in PEM, the server's own first in each file; a client gets the one with the name that
        /// it asks for, else the first.
        certificates: Vec<PathBuf> = Vec::new(), Many(FilePath);
        /// The private keys of these certificates in PEM, in the same order.
        keys: Vec<PathBuf> = Vec::new(), Many(FilePath);
        /// Authorities in PEM whose certificates clients may show.
        client_ca: Option<PathBuf> = None, Maybe(FilePath);
        /// Whether clients show a certificate of their own; "optional" lets in those without, by password.
        client_auth: ClientAuth = ClientAuth::Off, Choice;
        /// The part of a client's certificate that is its user name, in place of a password: the common name, or
        /// the DNS name or e-mail address among the alternative names; off = it still needs a password.
        client_user: ClientUser = ClientUser::Off, Choice;
    }

    /// Where data is kept.
    store: StoreConfig {
        /// The data folder; made at the first start.
        path: PathBuf = "./data".into(), FilePath;
        /// "fjall" and "sled" keep data on disk; "memory" forgets everything when the process ends. A folder stays with
        /// the engine that made it; `hubbub store export` and `import` take data from one to the other.
        engine: Engine = Engine::Fjall, Choice;
        /// Memory for the cache of the store.
        cache_bytes: u64 = 64 * MIB as u64, Bytes(MIB, TIB);
        /// Bytes on disk at which new messages are refused with "quota exceeded"; what is stored stays, and can be taken;
        /// off = as much as the disk has.
        max_bytes: Option<u64> = None, Maybe(Bytes(MIB, 1024 * TIB));
        /// Operations committed, and synced to disk, in one batch at most.
        commit_max: usize = 1024, Count(1, 65_536);
    }

    /// What one session may hold.
    session: Session {
        /// Longest life of a session without a connection: a cap for MQTT 5, the life of every persistent 3.x
        /// session.
        expiry_max: Duration = secs(7 * DAY), Span(secs(1), secs(3650 * DAY));
        /// Deliveries that wait for the client's acknowledgement, and the receive maximum granted to it. Fewer make a queue
        /// drain slower, since the client's answers have to come between; more are sent again when it returns.
        inflight: u16 = 512, Count(1, 65_535);
        /// Transient messages that may wait for a connected session; what exceeds it is dropped and counted.
        queue_messages: usize = 10_000, Count(1, 1_000_000);
        /// Bytes of those waiting messages, and bytes in flight beyond which no further message at QoS 1 or 2 is sent.
        queue_bytes: usize = 8 * MIB, Bytes(KIB, GIB);
        /// Publishes of one session that wait for their commit before reading from its socket pauses.
        ack_buffer: usize = 1024, Count(1, 65_536);
        /// Topic aliases granted to an MQTT 5 client, and used towards one that grants as many; 0 means none.
        topic_alias_max: u16 = 16, Count(0, 65_535);
        /// A client that asks for a longer keep-alive than this is named in the log.
        keep_alive_warn: Duration = secs(5 * MINUTE), Span(secs(1), secs(65_535));
        /// The longest keep-alive of an MQTT 5 client: one that asks for more, or for none, is told to use this.
        keep_alive_max: Option<Duration> = None, Maybe(Span(secs(1), secs(65_535)));
        /// Stored messages that may wait for one persistent session; what exceeds it is dropped and counted.
        durable_queue_messages: u64 = 100_000, Count(1, 100_000_000);
        /// Bytes of those stored messages.
        durable_queue_bytes: u64 = 256 * MIB as u64, Bytes(KIB, TIB);
        /// What goes when that queue is full: the "newest" message, or the "oldest". MQTT 5 clients see how many in the user
        /// property `dropped` of the next one.
        durable_queue_drop: QueueDrop = QueueDrop::Newest, Choice;
    }

    /// What anybody may ask of the server.
    limits: Limits {
        /// Connections at the same time.
        connections: usize = 50_000, Count(1, 10_000_000);
        /// Connections at the same time from one address, or from one /64 network of IPv6; off = as many as there is
        /// room for. Behind a large NAT, or a proxy that is not in listen.proxy_from, many have one address.
        connections_per_address: Option<u32> = Some(1000), Maybe(Count(1, 10_000_000));
        /// Connections at the same time of one user, on all devices together.
        connections_per_user: Option<u32> = Some(100), Maybe(Count(1, 10_000_000));
        /// New connections a second, each with one login, of everybody together.
        connects_per_second: Option<u32> = Some(5000), Maybe(Count(1, 10_000_000));
        /// New connections a second from one address, or from one /64 network of IPv6.
        connects_per_address: Option<u32> = Some(100), Maybe(Count(1, 10_000_000));
        /// Time for which both of these rates may be saved up: so many seconds' worth may come at once.
        connect_burst: Duration = secs(5), Span(millis(100), secs(HOUR));
        /// Hold this machine (loopback) to the limits on addresses and on new connections as well; false = it is free of
        /// them, which is right for a server of your own beside this one, and for measuring.
        loopback: bool = false, Flag;
        /// Addresses, and client ids that were taken over, whose pace is remembered; those beyond share one allowance.
        remembered: usize = 65_536, Count(16, 100_000_000);
        /// Connections over a limit that are heard out at the same time, so that they can be told why; others are closed
        /// without a word.
        refusals: usize = 1000, Count(0, 1_000_000);
        /// Times that one client id may be taken over in takeover_window by another connection while it is connected;
        /// then the newcomer is refused, and who is there stays.
        takeovers: Option<u32> = Some(20), Maybe(Count(1, 1_000_000));
        /// The time for which they are counted.
        takeover_window: Duration = secs(MINUTE), Span(secs(1), secs(DAY));
        /// Requests of one user (`rpc/…`) that wait for their answers; further ones are refused.
        requests_per_user: usize = 64, Count(1, 100_000);
        /// Publishes a second of one client. Beyond, nothing is read from it for a while; people need less than 20.
        publishes_per_second: Option<u32> = None, Maybe(Count(1, 100_000_000));
        /// Bytes a second from one client, whatever it sends. Beyond, nothing is read from it for a while.
        bytes_per_second: Option<usize> = None, Maybe(Bytes(KIB, TIB));
        /// Time for which both of these rates may be saved up: so many seconds' worth may come at once.
        publish_burst: Duration = secs(10), Span(millis(100), secs(HOUR));
        /// Time after which a client that goes on sending more than that is disconnected.
        publish_excess: Duration = secs(30), Span(millis(0), secs(DAY));
        /// Time from accepting a connection to its complete CONNECT.
        connect_deadline: Duration = secs(10), Span(millis(100), secs(5 * MINUTE));
        /// Largest packet of a client that has not logged in yet.
        packet_before_login_bytes: usize = 16 * KIB, Bytes(256, LARGEST_PACKET);
        /// Largest packet of anybody.
        packet_bytes: usize = MIB, Bytes(256, LARGEST_PACKET);
        /// Levels of a topic or filter.
        topic_levels: usize = 32, Count(3, 65_535);
        /// Bytes of a topic or filter in UTF-8.
        topic_bytes: usize = 1024, Bytes(64, 61_440);
        /// Subscriptions of one session.
        subscriptions: usize = 1000, Count(1, 1_000_000);
        /// User properties of one MQTT 5 packet.
        user_properties: usize = 64, Count(0, 10_000);
        /// Bytes that wait for one slow reader; beyond them messages at QoS 0 are dropped and counted.
        outbound_bytes: usize = 4 * MIB, Bytes(4 * KIB, GIB);
        /// Time after which a client is disconnected for which more than that waits and that has not read it.
        slow_reader: Duration = secs(10), Span(millis(100), secs(HOUR));
        /// Retained messages kept.
        retained_messages: usize = 100_000, Count(1, 100_000_000);
        /// Bytes of the retained messages kept.
        retained_bytes: usize = 256 * MIB, Bytes(0, TIB);
        /// The buffer into which an edge reads its sockets; one for each edge.
        read_buffer_bytes: usize = 64 * KIB, Bytes(4 * KIB, 16 * MIB);
    }

    /// Who is online.
    presence: Presence {
        /// Author `p/{user}` from the connections of each user.
        enabled: bool = true, Flag;
        /// Time from a clean goodbye to "offline".
        clean_grace: Duration = secs(2), Span(millis(0), secs(HOUR));
        /// Time from a lost link to "offline".
        lost_grace: Duration = secs(30), Span(millis(0), secs(HOUR));
    }

    /// Calls for people who are away.
    notify: Notify {
        /// The http or https URL called for a message that no device took in time; off = no notifications.
        webhook: Option<String> = None, Maybe(Url);
        /// The key of the HMAC-SHA256 signature of every call; needed with a webhook, best given as
        /// HUBBUB_NOTIFY_SECRET.
        secret: Option<String> = None, Maybe(Secret);
        /// Time a device has to acknowledge a message before the call is due.
        ack_timeout: Duration = secs(15), Span(millis(100), secs(DAY));
        /// Put the text of the message into the call, where the push provider can read it.
        include_body: bool = false, Flag;
        /// Calls for one message before it is given up.
        attempts: u32 = 10, Count(1, 1000);
        /// Pause after the first failed call; doubles with each further one.
        retry_first: Duration = secs(2), Span(millis(10), secs(HOUR));
        /// Longest pause between two calls.
        retry_max: Duration = secs(10 * MINUTE), Span(millis(10), secs(DAY));
        /// Time one call may take.
        timeout: Duration = secs(10), Span(millis(10), secs(5 * MINUTE));
        /// Calls at the same time.
        workers: usize = 2, Count(1, 256);
    }

    /// Live location.
    location: Location {
        /// Keep the last position that OwnTracks clients send on `owntracks/{user}/{device}`.
        enabled: bool = true, Flag;
    }

    /// Ways of older clients.
    compat: Compat {
        /// Let clients in without user and password, known by their client id, on the address
        /// below.
        bare_client_id: bool = false, Flag;
        /// Address for such clients, on loopback only; used only with bare_client_id.
        listen: Option<SocketAddr> = Some(loopback(6969)), Maybe(Address);
    }

    /// Rights on topics that are not chat.
    acl: Acl {
        /// The file with the rules; off = the built-in rules only.
        file: Option<PathBuf> = None, Maybe(FilePath);
        /// Users who may read what the server tells of itself on `$SYS/#`; a rule of the file that names `$SYS`
        /// lets others do so too.
        admins: Vec<String> = Vec::new(), Many(Word("the name of a user", check_user));
        /// Tell an MQTT 5 client whose subscription is refused that it lacks the right, and which; false = only that it
        /// failed, as 3.1.1 has it: where the rules are nobody's business, and for clients that expect no other code.
        say_why: bool = true, Flag;
    }

    /// The devices of a user. Of which class one is, the client says in the user property `class` or `device` of an MQTT 5
    /// CONNECT; else it is the client id, without the name of the user in front.
    devices: Devices {
        /// Classes of which a user has one device that is logged in: a login ends the other one, a reconnect to a
        /// session that is kept never does.
        single: Vec<String> = Vec::new(), Many(Word("a device class such as \"phone\"", check_user));
    }

    /// How long things are kept; what goes leaves a gap that clients see in `n` or `seq`.
    keep: Keep {
        /// Entries of one user's inbox; the oldest go first.
        inbox_entries: u64 = 100_000, Count(1, 100_000_000);
        /// Age at which an entry leaves the inbox.
        inbox_age: Duration = secs(30 * DAY), Span(secs(1), secs(3650 * DAY));
        /// Age at which a message leaves its conversation; off = kept for ever.
        messages: Option<Duration> = None, Maybe(Span(secs(1), secs(3650 * DAY)));
        /// Keep a message after every side has taken it; false = it is stored only until then.
        delivered: bool = true, Flag;
        /// Pause between two rounds of looking for what has to go.
        round: Duration = secs(10 * MINUTE), Span(millis(100), secs(DAY));
    }

    /// Conversations.
    chat: Chat {
        /// Time in which a repeated client message id gets the first answer again.
        dedupe_window: Duration = secs(DAY), Span(secs(1), secs(30 * DAY));
        /// Largest body of a chat message.
        body_max_bytes: usize = 256 * KIB, Bytes(1, LARGEST_PACKET);
    }

    /// The road between edges and bridge.
    spine: Spine {
        /// Bytes of one segment of a lane.
        segment_bytes: usize = 8 * MIB, Bytes(64 * KIB, GIB);
        /// Segments that a lane keeps in memory.
        segments: usize = 8, Count(2, 1024);
        /// Pause between two heartbeats through every lane.
        heartbeat: Duration = secs(1), Span(millis(10), secs(MINUTE));
        /// Time without a heartbeat after which the process ends, so that its supervisor starts it again.
        stall: Duration = secs(10), Span(millis(100), secs(10 * MINUTE));
        /// Bytes that an edge may have on the bridge lane without an answer.
        credit_bytes: usize = 16 * MIB, Bytes(64 * KIB, 16 * GIB);
    }

    /// The process.
    server: Server {
        /// Edges, each a thread with its own sockets and sessions; 0 = one for each core.
        edges: usize = 0, Count(0, 1024);
        /// Time to say goodbye to everybody when the server is told to stop.
        grace: Duration = secs(10), Span(millis(0), secs(10 * MINUTE));
        /// Time between two refreshes of `$SYS/broker/...`; off = nothing is told there.
        sys_interval: Option<Duration> = Some(secs(10)), Maybe(Span(millis(100), secs(HOUR)));
        /// Another server, which MQTT 5 clients are told to use when this one stops.
        redirect: Option<String> = None, Maybe(Word("a host and port such as \"mqtt.example:1883\"", check_host_port));
    }

    /// What is written to standard error.
    log: Log {
        /// How much is said: error, warn, info, debug or trace, also by module as in
        /// "info,hubbub_broker=debug".
        level: String = "info".into(), Word("a level or a list such as \"info,hubbub_broker=debug\"", check_log_filter);
        /// "text" for people, "json" for machines.
        format: LogFormat = LogFormat::Text, Choice;
    }
}

/// The engine that keeps the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A log-structured merge tree, on disk.
    Fjall,
    /// The embedded database sled, on disk.
    Sled,
    /// Nothing outlives the process.
    Memory,
}

/// A way to say who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// A client certificate that names the user.
    Certificate,
    /// A token that the application signed, as the password.
    Token,
    /// The password of an account.
    Users,
    /// The application is asked.
    Hook,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// They may; one that is not from our authorities is refused.
    Optional,
    /// They have to.
    Required,
}

/// Which part of a client's certificate is the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientUser {
    /// None: the certificate opens the door, and a password says who is there.
    Off,
    /// The common name of the subject.
    CommonName,
    /// The DNS name among the alternative names.
    DnsName,
    /// The e-mail address among the alternative names.
    Email,
}

/// Which message goes when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueDrop {
    /// The one that comes.
    Newest,
    /// The one that waits longest.
    Oldest,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

impl Engine {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        Engine::ALL.iter().find(|(_, engine)| *engine == self).map_or("", |(name, _)| name)
    }
}

impl Choices for Engine {
    const ALL: &[(&str, Engine)] =
        &[("fjall", Engine::Fjall), ("sled", Engine::Sled), ("memory", Engine::Memory)];
}

impl Choices for LoginMethod {
    const ALL: &[(&str, LoginMethod)] = &[
        ("certificate", LoginMethod::Certificate),
        ("token", LoginMethod::Token),
        ("users", LoginMethod::Users),
        ("hook", LoginMethod::Hook),
    ];
}

impl LoginMethod {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        LoginMethod::ALL.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

impl Choices for ClientAuth {
    const ALL: &[(&str, ClientAuth)] =
        &[("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
}

impl Choices for ClientUser {
    const ALL: &[(&str, ClientUser)] = &[
        ("off", ClientUser::Off),
        ("cn", ClientUser::CommonName),
        ("dns", ClientUser::DnsName),
        ("email", ClientUser::Email),
    ];
}

impl Choices for QueueDrop {
    const ALL: &[(&str, QueueDrop)] = &[("newest", QueueDrop::Newest), ("oldest", QueueDrop::Oldest)];
}

impl Choices for LogFormat {
    const ALL: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Login {
    /// PBKDF2 rounds with which passwords are stored for SCRAM; nothing if they are not.
    pub fn scram_rounds(&self) -> Option<u32> {
        self.scram.then_some(self.scram_iterations)
    }

    /// Whether there are keys for tokens.
    pub fn takes_tokens(&self) -> bool {
        self.token_secret_file.is_some() || !self.token_keys.is_empty() || self.token_jwks.is_some()
    }

    /// Whether somebody can prove to be a user without a certificate.
    pub fn takes_credentials(&self) -> bool {
        self.users || self.takes_tokens() || self.hook.is_some()
    }

    pub(crate) fn is_set_up(&self, method: LoginMethod, tls: &Tls) -> bool {
        match method {
            LoginMethod::Certificate => tls.client_user != ClientUser::Off,
            LoginMethod::Token => self.takes_tokens(),
            LoginMethod::Users => self.users,
            LoginMethod::Hook => self.hook.is_some(),
        }
    }

    /// The methods that are set up, in the order in which they are asked.
    pub fn methods(&self, tls: &Tls) -> Vec<LoginMethod> {
        let usual = || LoginMethod::ALL.iter().map(|(_, method)| *method).collect();
        let mut methods: Vec<LoginMethod> = self.order.clone().unwrap_or_else(usual);
        methods.retain(|method| self.is_set_up(*method, tls));
        methods
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
