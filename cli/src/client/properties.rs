//! MQTT 5 properties in mosquitto's spelling: `-D publish user-property colour red`.

use super::message::{PublishProperties, SubscribeProperties};
use super::words::SEPARATOR;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, LastWillProperties};
use std::str::FromStr;

/// One `-D`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The packet that it belongs to.
    pub packet: Packet,
    setting: Setting,
}

/// The packets that can carry a `-D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// CONNECT.
    Connect,
    /// PUBLISH.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
    /// The will inside of CONNECT.
    Will,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Setting {
    AuthenticationData(String),
    AuthenticationMethod(String),
    ContentType(String),
    CorrelationData(String),
    MaximumPacketSize(u32),
    MessageExpiryInterval(u32),
    PayloadFormatIndicator(u8),
    ReceiveMaximum(u16),
    RequestProblemInformation(u8),
    RequestResponseInformation(u8),
    ResponseTopic(String),
    SessionExpiryInterval(u32),
    SubscriptionIdentifier(usize),
    TopicAlias(u16),
    TopicAliasMaximum(u16),
    UserProperty(String, String),
    WillDelayInterval(u32),
}

impl FromStr for Property {
    type Err = String;

    fn from_str(joined: &str) -> Result<Property, String> {
        let words: Vec<&str> = joined.split(SEPARATOR).collect();
        let (packet, name, values) = match words.as_slice() {
            [packet, name, values @ ..] if !values.is_empty() => (*packet, *name, values),
            _ => {
                return Err(
                    "-D wants a packet, a property and its value: -D publish content-type text/plain"
                        .to_owned(),
                );
            }
        };
        let packet = Packet::from_str(packet)?;
        let setting = parse_setting(name, values)?;
        if !setting.fits(packet) {
            return Err(format!("{name} does not belong to {packet:?}").to_lowercase());
        }
        Ok(Property { packet, setting })
    }
}

impl FromStr for Packet {
    type Err = String;

    fn from_str(text: &str) -> Result<Packet, String> {
        match text {
            "connect" => Ok(Packet::Connect),
            "publish" => Ok(Packet::Publish),
            "subscribe" => Ok(Packet::Subscribe),
            "will" => Ok(Packet::Will),
            "auth" | "disconnect" | "unsubscribe" => {
                Err(format!("rumqttc cannot send properties with {text}"))
            }
            _ => Err(format!("{text:?} is not a packet with properties: connect, publish, subscribe, will")),
        }
    }
}

fn parse_setting(name: &str, values: &[&str]) -> Result<Setting, String> {
    use Setting as S;
    if name == "user-property" {
        return match values {
            [key, value] => Ok(S::UserProperty((*key).to_owned(), (*value).to_owned())),
            _ => Err("user-property wants a name and a value".to_owned()),
        };
    }
    let value = values[0];
    match name {
        "authentication-data" => Ok(S::AuthenticationData(value.to_owned())),
        "authentication-method" => Ok(S::AuthenticationMethod(value.to_owned())),
        "content-type" => Ok(S::ContentType(value.to_owned())),
        "correlation-data" => Ok(S::CorrelationData(value.to_owned())),
        "maximum-packet-size" => number(name, value).map(S::MaximumPacketSize),
        "message-expiry-interval" => number(name, value).map(S::MessageExpiryInterval),
        "payload-format-indicator" => flag(name, value).map(S::PayloadFormatIndicator),
        "receive-maximum" => positive(name, value).map(S::ReceiveMaximum),
        "request-problem-information" => flag(name, value).map(S::RequestProblemInformation),
        "request-response-information" => flag(name, value).map(S::RequestResponseInformation),
        "response-topic" => Ok(S::ResponseTopic(value.to_owned())),
        "session-expiry-interval" => number(name, value).map(S::SessionExpiryInterval),
        "subscription-identifier" => subscription_identifier(value).map(S::SubscriptionIdentifier),
        "topic-alias" => positive(name, value).map(S::TopicAlias),
        "topic-alias-maximum" => number(name, value).map(S::TopicAliasMaximum),
        "will-delay-interval" => number(name, value).map(S::WillDelayInterval),
        _ => Err(format!("{name:?} is not a property of MQTT 5 that a client can set")),
    }
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{name} wants a number that fits, not {value:?}"))
}

fn positive(name: &str, value: &str) -> Result<u16, String> {
    match number(name, value)? {
        0 => Err(format!("{name} starts at 1")),
        value => Ok(value),
    }
}

fn flag(name: &str, value: &str) -> Result<u8, String> {
    match value {
        "0" => Ok(0),
        "1" => Ok(1),
        _ => Err(format!("{name} is 0 or 1, not {value:?}")),
    }
}

/// 1 to 268,435,455 (section 3.8.2.1.2).
fn subscription_identifier(value: &str) -> Result<usize, String> {
    match number("subscription-identifier", value)? {
        identifier @ 1..=268_435_455 => Ok(identifier),
        _ => Err("subscription-identifier is 1 to 268435455".to_owned()),
    }
}

impl Setting {
    fn fits(&self, packet: Packet) -> bool {
        use Setting as S;
        match self {
            S::UserProperty(..) => true,
            S::SubscriptionIdentifier(_) => packet == Packet::Subscribe,
            S::TopicAlias(_) => packet == Packet::Publish,
            S::WillDelayInterval(_) => packet == Packet::Will,
            S::ContentType(_)
            | S::CorrelationData(_)
            | S::MessageExpiryInterval(_)
            | S::PayloadFormatIndicator(_)
            | S::ResponseTopic(_) => matches!(packet, Packet::Publish | Packet::Will),
            _ => packet == Packet::Connect,
        }
    }
}

fn of(packet: Packet, list: &[Property]) -> impl Iterator<Item = Setting> {
    list.iter().filter(move |property| property.packet == packet).map(|property| property.setting.clone())
}

/// The properties of the CONNECT packet.
pub fn for_connect(list: &[Property]) -> ConnectProperties {
    use Setting as S;
    let mut wanted = ConnectProperties::new();
    for setting in of(Packet::Connect, list) {
        match setting {
            S::AuthenticationData(data) => wanted.authentication_data = Some(data.into()),
            S::AuthenticationMethod(method) => wanted.authentication_method = Some(method),
            S::MaximumPacketSize(bytes) => wanted.max_packet_size = Some(bytes),
            S::ReceiveMaximum(count) => wanted.receive_maximum = Some(count),
            S::RequestProblemInformation(flag) => wanted.request_problem_info = Some(flag),
            S::RequestResponseInformation(flag) => wanted.request_response_info = Some(flag),
            S::SessionExpiryInterval(seconds) => wanted.session_expiry_interval = Some(seconds),
            S::TopicAliasMaximum(count) => wanted.topic_alias_max = Some(count),
            S::UserProperty(key, value) => wanted.user_properties.push((key, value)),
            _ => {}
        }
    }
    wanted
}

/// The properties of a PUBLISH packet.
pub fn for_publish(list: &[Property]) -> PublishProperties {
    use Setting as S;
    let mut wanted = PublishProperties::default();
    for setting in of(Packet::Publish, list) {
        match setting {
            S::ContentType(kind) => wanted.content_type = Some(kind),
            S::CorrelationData(data) => wanted.correlation_data = Some(data.into()),
            S::MessageExpiryInterval(seconds) => wanted.message_expiry_interval = Some(seconds),
            S::PayloadFormatIndicator(flag) => wanted.payload_format_indicator = Some(flag),
            S::ResponseTopic(topic) => wanted.response_topic = Some(topic),
            S::TopicAlias(alias) => wanted.topic_alias = Some(alias),
            S::UserProperty(key, value) => wanted.user_properties.push((key, value)),
            _ => {}
        }
    }
    wanted
}

/// The properties of a SUBSCRIBE packet, if there are any.
pub fn for_subscribe(list: &[Property]) -> Option<SubscribeProperties> {
    let mut wanted = SubscribeProperties { id: None, user_properties: Vec::new() };
    for setting in of(Packet::Subscribe, list) {
        match setting {
            Setting::SubscriptionIdentifier(id) => wanted.id = Some(id),
            Setting::UserProperty(key, value) => wanted.user_properties.push((key, value)),
            _ => {}
        }
    }
    (wanted.id.is_some() || !wanted.user_properties.is_empty()).then_some(wanted)
}

/// The properties of the will, if there are any.
pub fn for_will(list: &[Property]) -> Option<LastWillProperties> {
    use Setting as S;
    let mut wanted = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    let untouched = wanted.clone();
    for setting in of(Packet::Will, list) {
        match setting {
            S::ContentType(kind) => wanted.content_type = Some(kind),
            S::CorrelationData(data) => wanted.correlation_data = Some(data.into()),
            S::MessageExpiryInterval(seconds) => wanted.message_expiry_interval = Some(seconds),
            S::PayloadFormatIndicator(flag) => wanted.payload_format_indicator = Some(flag),
            S::ResponseTopic(topic) => wanted.response_topic = Some(topic),
            S::UserProperty(key, value) => wanted.user_properties.push((key, value)),
            S::WillDelayInterval(seconds) => wanted.delay_interval = Some(seconds),
            _ => {}
        }
    }
    (wanted != untouched).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Property, String> {
        text.replace(' ', "\u{1f}").parse()
    }

    #[test]
    fn each_packet_gets_its_own() {
        let list = [
            parse("publish user-property k v").unwrap(),
            parse("publish message-expiry-interval 60").unwrap(),
            parse("connect session-expiry-interval 5").unwrap(),
            parse("subscribe subscription-identifier 9").unwrap(),
            parse("will will-delay-interval 3").unwrap(),
        ];
        let publish = for_publish(&list);
        assert_eq!(publish.user_properties, [("k".to_owned(), "v".to_owned())]);
        assert_eq!(publish.message_expiry_interval, Some(60));
        assert_eq!(for_connect(&list).session_expiry_interval, Some(5));
        assert_eq!(for_subscribe(&list).unwrap().id, Some(9));
        assert_eq!(for_will(&list).unwrap().delay_interval, Some(3));
        assert!(for_subscribe(&list[..2]).is_none());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("publish session-expiry-interval 5", "does not belong to publish"),
            ("connect receive-maximum 70000", "number that fits"),
            ("connect receive-maximum 0", "starts at 1"),
            ("publish payload-format-indicator 2", "0 or 1"),
            ("publish colour red", "not a property"),
            ("disconnect session-expiry-interval 5", "rumqttc cannot"),
            ("publish content-type", "wants a packet"),
            ("publish user-property k", "a name and a value"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
