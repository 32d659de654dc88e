//! What travels between a command and the server, the same for both protocol versions.

use bytes::Bytes;
use std::fmt;

pub use rumqttc::v5::mqttbytes::v5::{PublishProperties, SubscribeProperties};

/// Quality of service (section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[expect(clippy::enum_variant_names, reason = "the names of the specification")]
pub enum Qos {
    /// Perhaps.
    AtMostOnce = 0,
    /// Once or more.
    AtLeastOnce = 1,
    /// Once.
    ExactlyOnce = 2,
}

impl std::str::FromStr for Qos {
    type Err = String;

    fn from_str(text: &str) -> Result<Qos, String> {
        match text {
            "0" => Ok(Qos::AtMostOnce),
            "1" => Ok(Qos::AtLeastOnce),
            "2" => Ok(Qos::ExactlyOnce),
            _ => Err("the quality of service is 0, 1 or 2".to_owned()),
        }
    }
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Topic name, checked.
    pub topic: String,
    /// The bytes of the message.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: Qos,
    /// Shall the server keep it as the last value of the topic?
    pub retain: bool,
    /// MQTT 5 properties; ignored in 3.1.1.
    pub properties: PublishProperties,
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// The bytes of the message.
    pub payload: Bytes,
    /// Quality of service of this delivery.
    pub qos: Qos,
    /// Is this a retained message?
    pub retain: bool,
    /// MQTT 5 properties; empty in 3.1.1.
    pub properties: PublishProperties,
    /// Packet identifier, 0 for quality of service 0.
    pub packet_id: u16,
}

/// What a connection asks for each time it comes up.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Topic filters, checked.
    pub filters: Vec<String>,
    /// Highest quality of service wanted.
    pub qos: Qos,
    /// MQTT 5: deliver the retain flag as it was published (section 3.8.3.1).
    pub retain_as_published: bool,
    /// MQTT 5: do not send retained messages on subscribing.
    pub no_retained: bool,
    /// MQTT 5 properties of the SUBSCRIBE packet.
    pub properties: Option<SubscribeProperties>,
}

impl Subscription {
    /// A plain subscription.
    pub fn to(filters: Vec<String>, qos: Qos) -> Subscription {
        Subscription { filters, qos, retain_as_published: false, no_retained: false, properties: None }
    }
}

/// The server said no, and perhaps why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the reason code in words.
    pub what: String,
    /// The reason string that the server gave.
    pub why: Option<String>,
    /// Is it a question of login or rights?
    pub rights: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(out, "{}: {why}", self.what),
            None => out.write_str(&self.what),
        }
    }
}

/// What the server said about a published message when it took it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// User properties of PUBACK or PUBREC: Hubbub gives `cid`, `seq`, `mid`, `ts` for a chat message, `dup` for a repeat.
    pub user_properties: Vec<(String, String)>,
    /// MQTT 5: the server knows that nobody is subscribed.
    pub nobody_listens: bool,
}

impl Receipt {
    /// The first user property of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.user_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Checks a topic name to publish to (section 4.7): the library would send some bad ones.
pub fn check_topic(topic: &str) -> Result<(), String> {
    if topic.contains(['+', '#']) {
        return Err(format!("the topic {topic:?} has a wildcard: + and # are for subscribing"));
    }
    check_level_text(topic, "topic")
}

/// Checks a topic filter to subscribe to (section 4.7.1).
pub fn check_filter(filter: &str) -> Result<(), String> {
    check_level_text(filter, "topic filter")?;
    if !rumqttc::valid_filter(filter) {
        return Err(format!("the topic filter {filter:?} is wrong: + is a whole level, # the last one"));
    }
    Ok(())
}

fn check_level_text(text: &str, what: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(format!("the {what} has {} bytes, {} are allowed", text.len(), u16::MAX));
    }
    if text.contains('\0') {
        return Err(format!("the {what} {text:?} has a null character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_in_any_script_are_fine() {
        for topic in ["dm/bob", "聊天/大厅", "🚕/上海", "/", "a b"] {
            assert_eq!(check_topic(topic), Ok(()));
        }
    }

    #[test]
    fn wildcards_are_for_subscribing() {
        assert!(check_topic("dm/+").unwrap_err().contains("wildcard"));
        assert_eq!(check_filter("dm/+/#"), Ok(()));
        assert!(check_filter("dm/#/x").is_err());
        assert!(check_filter("dm/b+").is_err());
        assert!(check_filter("").is_err());
    }

    #[test]
    fn a_topic_longer_than_the_wire_allows_is_refused() {
        assert!(check_topic(&"x".repeat(70_000)).unwrap_err().contains("70000 bytes"));
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let refusal =
            Refusal { what: "not authorised".into(), why: Some("bob blocked you".into()), rights: true };
        assert_eq!(refusal.to_string(), "not authorised: bob blocked you");
    }
}
