//! How to reach a server and who we are there.

use super::message::{Draft, Qos};
use super::tls::Tls;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, LastWillProperties};

/// Everything that one connection needs to come up, and to come up again.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name or address of the server.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Protocol version.
    pub protocol: Protocol,
    /// Client identifier, never empty: the library wants one for a persistent session.
    pub client_id: String,
    /// What happens to the session.
    pub session: Session,
    /// Keep alive in seconds, 5 or more: the library cannot do with less.
    pub keep_alive: u16,
    /// User name and password; the password may be empty.
    pub login: Option<(String, String)>,
    /// The last will: a message that the server publishes if we vanish.
    pub will: Option<Will>,
    /// Certificates, when the connection is a secure one.
    pub tls: Option<Tls>,
    /// MQTT 5 properties of the CONNECT packet.
    pub properties: ConnectProperties,
}

/// A message that the server publishes if we vanish.
#[derive(Debug, Clone)]
pub struct Will {
    /// The message; its own properties are not used.
    pub message: Draft,
    /// MQTT 5 properties of the will.
    pub properties: Option<LastWillProperties>,
}

/// Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        match text {
            "mqttv5" | "5" => Ok(Protocol::V5),
            "mqttv311" | "311" | "3.1.1" => Ok(Protocol::V4),
            "mqttv31" | "31" | "3.1" => Err(
                "this client is built on rumqttc, which speaks MQTT 3.1.1 (mqttv311) and 5 (mqttv5), not 3.1"
                    .to_owned(),
            ),
            _ => Err("the protocol version is mqttv311 or mqttv5".to_owned()),
        }
    }
}

/// What happens to the session of a client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// New on every connection.
    Clean,
    /// New at first, kept over a broken connection.
    Resume,
    /// Kept, also from an earlier process.
    Keep,
}

/// A client id that nobody else has: `sub-` and ten random characters. Short enough for servers that allow no more than 23.
pub fn fresh_client_id(kind: &str) -> String {
    format!("{kind}-{}", fresh_token())
}

/// Ten random characters.
pub fn fresh_token() -> String {
    let random = ulid::Ulid::new().to_string().to_lowercase();
    random[random.len() - 10..].to_owned()
}

/// A random number in 0..1.
pub fn chance() -> f64 {
    (ulid::Ulid::new().random() as u32) as f64 / f64::from(u32::MAX)
}

/// How large a packet may be, either way: the most that the protocol allows (256 MiB), for the library's own limit is 10 KiB.
pub const MAX_PACKET_BYTES: u32 = 256 * 1024 * 1024;
/// Seconds until a connection must be up.
pub const CONNECT_TIMEOUT_SECONDS: u64 = 10;
/// Packet identifiers that the library keeps room for; more than can be under way.
pub const MAX_INFLIGHT: u16 = 1024;
/// Requests that may wait for the library's loop: acknowledgements of all that a server may have sent unacknowledged, and then some.
pub const REQUEST_SLOTS: usize = 2 * (u16::MAX as usize);

impl From<Qos> for rumqttc::QoS {
    fn from(qos: Qos) -> rumqttc::QoS {
        match qos {
            Qos::AtMostOnce => rumqttc::QoS::AtMostOnce,
            Qos::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
            Qos::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_versions_in_mosquitto_spelling() {
        assert_eq!("mqttv5".parse(), Ok(Protocol::V5));
        assert_eq!("311".parse(), Ok(Protocol::V4));
        let refused = "mqttv31".parse::<Protocol>().unwrap_err();
        assert!(refused.contains("3.1.1") && refused.contains("rumqttc"), "{refused}");
    }

    #[test]
    fn fresh_ids_differ_and_fit_old_servers() {
        let (one, two) = (fresh_client_id("watch"), fresh_client_id("watch"));
        assert_ne!(one, two);
        assert!(one.len() <= 23);
    }

    #[test]
    fn chance_is_a_share() {
        assert!((0..100).map(|_| chance()).all(|share| (0.0..=1.0).contains(&share)));
    }
}
