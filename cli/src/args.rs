//! The command line as a whole, and the flags that several commands share. Each command's own flags stand with the command.

use crate::client::Retry;
use crate::client::address::Address;
use crate::client::message::{Draft, PublishProperties, Qos, check_topic};
use crate::client::options::{Options, Protocol, Session, Will, fresh_client_id};
use crate::client::properties::{self, Packet, Property};
use crate::client::tls::{Belief, Tls};
use crate::exit::{Failure, help_tail};
use crate::{bench, chat, device, history, publish, serve, settings, store, subscribe, user, watch};
use clap::{ArgAction, Args, Parser, Subcommand};
use std::path::PathBuf;

/// An MQTT broker specialised for chat and presence: server, command line and benchmark in one binary.
#[derive(Debug, Parser)]
#[command(name = "hubbub", version, disable_help_flag = true, disable_help_subcommand = true)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct Cli {
    /// Print help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "
    hubbub serve --dev
    hubbub pub -u alice -t dm/bob -m hi
    hubbub sub -u bob -t u/bob/inbox -q 1
    hubbub chat -u alice bob
    hubbub config print --default > hubbub.toml";

/// What a person can type.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Publish a message, or a message per line
    Pub(publish::PubArgs),
    /// Subscribe and print messages
    Sub(subscribe::SubArgs),
    /// Talk with somebody at the terminal
    Chat(chat::ChatArgs),
    /// Print the last messages of a conversation
    History(history::HistoryArgs),
    /// Print where people are and whether they are online
    Watch(watch::WatchArgs),
    /// Add, list and remove the people who may log in
    User(user::UserArgs),
    /// List, end and bar the devices of users
    Device(device::DeviceArgs),
    /// Check, measure and copy the data folder
    Store(store::StoreArgs),
    /// Check or print the configuration
    Config(settings::ConfigArgs),
    /// Measure a broker: throughput, latency, losses, connections
    Bench(bench::BenchArgs),
}

impl Command {
    /// The connection of a client command.
    pub fn connect_args(&self) -> Option<&ConnectArgs> {
        match self {
            Command::Pub(args) => Some(&args.connect),
            Command::Sub(args) => Some(&args.connect),
            Command::Chat(args) => Some(&args.connect),
            Command::History(args) => Some(&args.connect),
            Command::Watch(args) => Some(&args.connect),
            _ => None,
        }
    }
}

/// How to reach the server, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Server to connect to
    #[arg(short = 'h', long, env = "HUBBUB_HOST", default_value = "localhost")]
    pub host: String,
    /// Server and port in one, in place of -h and -p: mqtts://HOST:PORT is with TLS, mqtt://HOST:PORT without
    #[arg(long, value_name = "URL", env = "HUBBUB_ADDRESS")]
    pub address: Option<Address>,
    /// Port to connect to [default: 1883, with TLS 8883]
    #[arg(short = 'p', long, env = "HUBBUB_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// User name
    #[arg(short = 'u', long = "username", visible_alias = "user", env = "HUBBUB_USER")]
    pub user: Option<String>,
    /// Password. Others on this machine can see it; the environment variable is safer
    #[arg(
        short = 'P',
        long = "pw",
        visible_alias = "password",
        env = "HUBBUB_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// Client id [default: a fresh one]
    #[arg(short = 'i', long = "id")]
    pub client_id: Option<String>,
    /// Keep alive in seconds
    #[arg(short = 'k', long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(5..))]
    pub keepalive: u16,
    /// TLS; believe the certificate authorities in this PEM file [default with mqtts: those of this machine]
    #[arg(long, visible_alias = "ca", value_name = "FILE")]
    pub cafile: Option<PathBuf>,
    /// TLS; believe every certificate: whoever stands in between can read and change everything
    #[arg(long, conflicts_with = "cafile")]
    pub insecure: bool,
    /// TLS; our own certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of our own certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Try again also when the server was never reached: after 0, 2, 4 … 64 seconds
    #[arg(long)]
    pub retry: bool,
    /// Say what goes on, on the standard error
    #[arg(short = 'd', long)]
    pub debug: bool,
}

impl ConnectArgs {
    /// The options of an MQTT 5 connection with a fresh session.
    pub fn options(&self, kind: &str) -> Result<Options, Failure> {
        if self.password.is_some() && self.user.is_none() {
            return Err(Failure::usage("a password (-P) without a user name (-u)"));
        }
        for text in [&self.user, &self.password, &self.client_id].into_iter().flatten() {
            if text.len() > usize::from(u16::MAX) || text.contains('\0') {
                return Err(Failure::usage(
                    "user name, password and client id have at most 65535 bytes, and no null characters",
                ));
            }
        }
        let tls = self.tls()?;
        let usual_port = if tls.is_some() { 8883 } else { 1883 };
        let (host, port) = match &self.address {
            Some(address) => (&address.host, address.port),
            None => (&self.host, self.port),
        };
        Ok(Options {
            host: host.clone(),
            port: port.unwrap_or(usual_port),
            protocol: Protocol::V5,
            client_id: self.client_id.clone().unwrap_or_else(|| fresh_client_id(kind)),
            session: Session::Clean,
            keep_alive: self.keepalive,
            login: self.user.clone().map(|user| (user, self.password.clone().unwrap_or_default())),
            will: None,
            tls,
            properties: properties::for_connect(&[]),
        })
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let flagged = self.cafile.is_some() || self.insecure || self.cert.is_some();
        let secure = match self.address.as_ref().and_then(|address| address.secure) {
            Some(false) if flagged => {
                return Err(Failure::usage("mqtt:// is without TLS; with certificates it is mqtts://"));
            }
            secure => secure.unwrap_or(flagged),
        };
        if !secure {
            return Ok(None);
        }
        let belief = match &self.cafile {
            _ if self.insecure => Belief::Anybody,
            Some(file) => Belief::File(file),
            None => Belief::System,
        };
        Tls::read(belief, self.cert.as_deref().zip(self.key.as_deref())).map(Some)
    }

    /// When to try again, for a command that runs until it is told to stop.
    pub fn retry(&self) -> Retry {
        if self.retry { Retry::Always } else { Retry::OnceUp }
    }

    /// Who we are, for commands that make no sense without a name.
    pub fn me(&self) -> Result<&str, Failure> {
        let user = self.user.as_deref().filter(|user| !user.is_empty());
        user.ok_or_else(|| Failure::usage("who are you? Give your user name with -u or HUBBUB_USER"))
    }
}

/// What `pub` and `sub` can say about protocol, session and will.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Protocol")]
pub struct ProtocolArgs {
    /// Protocol version: mqttv5 or mqttv311
    #[arg(short = 'V', long, default_value = "mqttv5", value_name = "VERSION")]
    pub protocol_version: Protocol,
    /// Keep the session of this client id (-i) on the server
    #[arg(short = 'c', long = "disable-clean-session")]
    pub keep_session: bool,
    /// Seconds for which the server keeps the session (MQTT 5) [default: for ever with -c]
    #[arg(short = 'x', long, value_name = "SECONDS")]
    pub session_expiry_interval: Option<u32>,
    /// An MQTT 5 property: -D PACKET NAME VALUE, as in -D publish user-property colour red
    #[arg(short = 'D', long = "property", value_name = "PACKET NAME VALUE", allow_hyphen_values = true)]
    pub properties: Vec<Property>,
    /// Topic of the will, a message that the server publishes if we vanish
    #[arg(long, value_name = "TOPIC")]
    pub will_topic: Option<String>,
    /// Payload of the will
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    pub will_payload: Option<String>,
    /// Quality of service of the will
    #[arg(long, value_name = "0-2", default_value = "0", requires = "will_topic")]
    pub will_qos: Qos,
    /// Shall the server retain the will?
    #[arg(long, requires = "will_topic")]
    pub will_retain: bool,
}

impl ProtocolArgs {
    /// Adds what these flags say to the options.
    pub fn apply(&self, connect: &ConnectArgs, options: &mut Options) -> Result<(), Failure> {
        options.protocol = self.protocol_version;
        options.properties = properties::for_connect(&self.properties);
        options.will = self.will()?;
        if options.protocol == Protocol::V4 && !self.properties.is_empty() {
            return Err(Failure::usage("properties (-D) are for MQTT 5 (-V mqttv5)"));
        }
        if let Some(seconds) = self.session_expiry_interval {
            options.properties.session_expiry_interval = Some(seconds);
        }
        if self.keep_session {
            if connect.client_id.as_deref().is_none_or(str::is_empty) {
                return Err(Failure::usage("-c keeps the session of a client id: say which with -i"));
            }
            options.session = Session::Keep;
            options.properties.session_expiry_interval.get_or_insert(u32::MAX);
        }
        Ok(())
    }

    /// No `-D` for a packet that this command does not send.
    pub fn refuse_properties_of(&self, packet: Packet) -> Result<(), Failure> {
        if self.properties.iter().any(|property| property.packet == packet) {
            return Err(Failure::usage(format!("-D {packet:?} has no place here").to_lowercase()));
        }
        Ok(())
    }

    fn will(&self) -> Result<Option<Will>, Failure> {
        let Some(topic) = self.will_topic.clone() else { return Ok(None) };
        check_topic(&topic).map_err(|mistake| Failure::usage(format!("--will-topic: {mistake}")))?;
        let payload = self.will_payload.clone().unwrap_or_default();
        if payload.len() > usize::from(u16::MAX) {
            return Err(Failure::usage("--will-payload: at most 65535 bytes"));
        }
        let message = Draft {
            topic,
            payload: payload.into(),
            qos: self.will_qos,
            retain: self.will_retain,
            properties: PublishProperties::default(),
        };
        Ok(Some(Will { message, properties: properties::for_will(&self.properties) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::words;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words::join_words(line.split(' ').map(Into::into)))
    }

    fn publisher(line: &str) -> (ConnectArgs, ProtocolArgs) {
        match parse(line).map(|cli| cli.command) {
            Ok(Command::Pub(args)) => (args.connect, args.protocol),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn options(line: &str) -> Result<Options, Failure> {
        let (connect, protocol) = publisher(line);
        let mut options = connect.options("pub")?;
        protocol.apply(&connect, &mut options)?;
        Ok(options)
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mosquitto_fingers_find_their_flags() {
        for line in [
            "hubbub pub -h localhost -p 1883 -t a/b -m hi -q 1 -r -u alice -P secret -i phone -c -V mqttv5 -k 30 -d",
            "hubbub pub -t a -l",
            "hubbub pub -t a -s",
            "hubbub pub -t a -f file",
            "hubbub pub -t a -n -r",
            "hubbub pub -t a -m -5 --will-topic w --will-payload gone --will-qos 1 --will-retain",
            "hubbub pub -t a -m x -D publish user-property k v -D connect session-expiry-interval 60 -V 5",
            "hubbub sub -h ::1 -t a -t b/# -v -C 3 -W 5 -R -N -c -i phone -q 2 -V mqttv311",
            "hubbub sub -t a --cafile ca.pem --cert c.pem --key k.pem --json",
            "hubbub sub -t a --address mqtts://chat.example:8883 --ca ca.pem",
            "hubbub sub -t a --address [::1]:1883",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "hubbub pub -t a",
            "hubbub pub -m x",
            "hubbub pub -t a -m x -l",
            "hubbub pub -t a -m x -q 3",
            "hubbub pub -t a -m x -V mqttv31",
            "hubbub pub -t a -m x -p 0",
            "hubbub pub -t a -m x -k 1",
            "hubbub pub -t a -m x --will-qos 1",
            "hubbub pub -t a -m x -D publish colour red",
            "hubbub sub -t a -C 0",
            "hubbub sub -t a --cert c.pem",
            "hubbub sub -t a --insecure --cafile ca.pem",
            "hubbub sub -t a --address http://chat.example",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_address_says_where_and_how() {
        let reached = |flags: &str| {
            let options = options(&format!("hubbub pub -t a -m x {flags}"))?;
            Ok::<_, Failure>((options.host, options.port, options.tls.is_some()))
        };
        let at = |host: &str, port, tls| Ok((host.to_owned(), port, tls));
        assert_eq!(reached("-h a -p 9"), at("a", 9, false));
        assert_eq!(reached("-h a --insecure"), at("a", 8883, true));
        assert_eq!(reached("--address b"), at("b", 1883, false));
        assert_eq!(reached("--address mqtts://b --insecure"), at("b", 8883, true));
        assert_eq!(reached("-h a -p 9 --address mqtt://b:7"), at("b", 7, false));
        let contradiction = reached("--address mqtt://b --insecure").unwrap_err();
        assert!(contradiction.message.contains("mqtts://"), "{contradiction}");
        let unreadable = reached("--cafile no-such.pem").unwrap_err();
        assert!(unreadable.message.contains("no-such.pem"), "{unreadable}");
    }

    #[test]
    fn a_kept_session_needs_a_client_id_and_lasts() {
        let options_of = |flags: &str| options(&format!("hubbub pub -t a -m x {flags}"));
        assert!(options_of("-c").unwrap_err().message.contains("-i"));
        let kept = options_of("-c -i phone").unwrap();
        assert_eq!((kept.session, kept.properties.session_expiry_interval), (Session::Keep, Some(u32::MAX)));
        let shorter = options_of("-c -i phone -x 60").unwrap();
        assert_eq!(shorter.properties.session_expiry_interval, Some(60));
    }

    #[test]
    fn properties_are_for_mqtt_5() {
        let refused = options("hubbub pub -t a -m x -V 311 -D publish content-type text/plain").unwrap_err();
        assert!(refused.message.contains("mqttv5"));
    }

    #[test]
    fn the_will_takes_its_flags_and_properties() {
        let line = "hubbub pub -t a -m x --will-topic w --will-payload gone --will-qos 1 -D will will-delay-interval 3";
        let will = options(line).unwrap().will.unwrap();
        assert_eq!((will.message.topic.as_str(), &will.message.payload[..]), ("w", &b"gone"[..]));
        assert_eq!((will.message.qos, will.properties.unwrap().delay_interval), (Qos::AtLeastOnce, Some(3)));
        assert!(options("hubbub pub -t a -m x --will-topic w/#").is_err());
    }
}
