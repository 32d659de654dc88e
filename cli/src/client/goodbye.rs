//! Why a connection ended, and whether coming back makes sense.

use crate::exit::Exit;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode as Code5, DisconnectReasonCode as Reason5};
use rumqttc::{ConnectReturnCode as Code4, TlsError, v5};
use std::io;

/// The end of a connection, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// What happened, as a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub verdict: Verdict,
}

/// What the end of a connection means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after a while.
    Return,
    /// Trying again would meet the same answer: end with this status.
    Stop(Exit),
}

impl Goodbye {
    fn returning(message: impl Into<String>) -> Goodbye {
        Goodbye { message: message.into(), verdict: Verdict::Return }
    }

    fn stop(exit: Exit, message: impl Into<String>) -> Goodbye {
        Goodbye { message: message.into(), verdict: Verdict::Stop(exit) }
    }
}

/// The end of an MQTT 3.1.1 connection.
pub fn of_v4(error: rumqttc::ConnectionError) -> Goodbye {
    use rumqttc::{ConnectionError as E, StateError as S};
    match error {
        E::ConnectionRefused(code) => refused_v4(code),
        E::NetworkTimeout | E::FlushTimeout => Goodbye::returning("the server does not answer"),
        E::Tls(error) => of_tls(&error),
        E::Io(error) => of_io(&error),
        E::MqttState(S::AwaitPingResp) => Goodbye::returning("the server stopped answering"),
        E::MqttState(S::ConnectionAborted) => Goodbye::returning("the server closed the connection"),
        E::MqttState(S::Deserialization(rumqttc::mqttbytes::Error::Io(error))) => of_io(&error),
        E::MqttState(S::Deserialization(error)) => of_codec(error.to_string()),
        E::NotConnAck(_) => Goodbye::stop(Exit::Unavailable, "this is not an MQTT server"),
        other => Goodbye::returning(other.to_string()),
    }
}

/// The end of an MQTT 5 connection.
pub fn of_v5(error: v5::ConnectionError) -> Goodbye {
    use v5::{ConnectionError as E, StateError as S};
    match error {
        E::ConnectionRefused(code) => refused_v5(code),
        E::Timeout(_) => Goodbye::returning("the server does not answer"),
        E::Tls(error) => of_tls(&error),
        E::Io(error) => of_io(&error),
        E::MqttState(S::ServerDisconnect { reason_code, reason_string }) => {
            farewell(reason_code, reason_string)
        }
        E::MqttState(S::AwaitPingResp) => Goodbye::returning("the server stopped answering"),
        E::MqttState(S::ConnectionAborted) => Goodbye::returning("the server closed the connection"),
        E::MqttState(S::OutgoingPacketTooLarge { pkt_size, max }) => {
            let message = format!("a packet of {pkt_size} bytes is too large, the server takes {max}");
            Goodbye::stop(Exit::Failed, message)
        }
        E::MqttState(error @ S::InvalidAlias { .. }) => Goodbye::stop(Exit::Failed, error.to_string()),
        E::MqttState(S::Deserialization(v5::mqttbytes::Error::Io(error))) => of_io(&error),
        E::MqttState(S::Deserialization(error)) => of_codec(error.to_string()),
        E::NotConnAck(_) => Goodbye::stop(Exit::Unavailable, "this is not an MQTT server"),
        other => Goodbye::returning(other.to_string()),
    }
}

fn refused_v4(code: Code4) -> Goodbye {
    match code {
        Code4::NotAuthorized | Code4::BadUserNamePassword => login_refused(),
        Code4::BadClientId => Goodbye::stop(Exit::Refused, "the server refused the client id"),
        Code4::RefusedProtocolVersion => wrong_version(),
        Code4::ServiceUnavailable | Code4::Success => Goodbye::returning("the server is unavailable"),
    }
}

fn refused_v5(code: Code5) -> Goodbye {
    match code {
        Code5::NotAuthorized | Code5::BadUserNamePassword | Code5::BadAuthenticationMethod => login_refused(),
        Code5::Banned => Goodbye::stop(Exit::Refused, "the server has banned this client"),
        Code5::ClientIdentifierNotValid | Code5::BadClientId => {
            Goodbye::stop(Exit::Refused, "the server refused the client id")
        }
        Code5::UnsupportedProtocolVersion | Code5::RefusedProtocolVersion => wrong_version(),
        Code5::ServerBusy | Code5::ConnectionRateExceeded | Code5::QuotaExceeded => {
            Goodbye::returning("the server is busy")
        }
        Code5::ServerUnavailable | Code5::ServiceUnavailable => {
            Goodbye::returning("the server is unavailable")
        }
        Code5::UnspecifiedError | Code5::Success => Goodbye::returning("the server refused without a reason"),
        Code5::UseAnotherServer | Code5::ServerMoved => {
            Goodbye::stop(Exit::Unavailable, "the server says: use another server")
        }
        other => Goodbye::stop(Exit::Failed, format!("the server refused the connection: {}", words(&other))),
    }
}

fn login_refused() -> Goodbye {
    Goodbye::stop(
        Exit::Refused,
        "the server refused the login: check the user name (-u) and the password (-P)",
    )
}

fn wrong_version() -> Goodbye {
    Goodbye::stop(Exit::Unavailable, "the server does not speak this protocol version (see -V)")
}

/// A DISCONNECT from the server (section 3.14.2.1).
fn farewell(code: Reason5, why: Option<String>) -> Goodbye {
    let message = match why {
        Some(why) => format!("the server ended the connection: {}: {why}", words(&code)),
        None => format!("the server ended the connection: {}", words(&code)),
    };
    Goodbye { message, verdict: verdict_on(code) }
}

fn verdict_on(code: Reason5) -> Verdict {
    use Reason5 as R;
    match code {
        R::NotAuthorized => Verdict::Stop(Exit::Refused),
        R::UseAnotherServer | R::ServerMoved => Verdict::Stop(Exit::Unavailable),
        R::NormalDisconnection
        | R::DisconnectWithWillMessage
        | R::UnspecifiedError
        | R::ImplementationSpecificError
        | R::ServerBusy
        | R::ServerShuttingDown
        | R::KeepAliveTimeout
        | R::ReceiveMaximumExceeded
        | R::MessageRateTooHigh
        | R::ConnectionRateExceeded
        | R::MaximumConnectTime => Verdict::Return,
        _ => Verdict::Stop(Exit::Failed),
    }
}

fn of_tls(error: &TlsError) -> Goodbye {
    match error {
        // What the handshake finds wrong (an unknown issuer, another name) is as wrong the next time.
        TlsError::Io(error) if error.kind() != io::ErrorKind::InvalidData => of_io(error),
        other => Goodbye::stop(Exit::Unavailable, format!("no secure connection: {other}")),
    }
}

fn of_io(error: &io::Error) -> Goodbye {
    // In TLS 1.3 the server looks at our certificate when we are through the handshake.
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Goodbye::stop(Exit::Unavailable, format!("no secure connection: {tls}"));
    }
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there (connection refused)".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the connection broke".to_owned()
        }
        _ => error.to_string(),
    };
    Goodbye::returning(message)
}

fn of_codec(error: String) -> Goodbye {
    Goodbye::returning(format!(
        "the connection broke, or the server does not speak this protocol version: {error}"
    ))
}

/// `SessionTakenOver` → `session taken over`.
pub fn words(code: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text.replace("authorized", "authorised")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_is_final() {
        for goodbye in [
            of_v4(rumqttc::ConnectionError::ConnectionRefused(Code4::NotAuthorized)),
            of_v5(v5::ConnectionError::ConnectionRefused(Code5::BadUserNamePassword)),
        ] {
            assert_eq!(goodbye.verdict, Verdict::Stop(Exit::Refused));
            assert!(goodbye.message.contains("login"));
        }
    }

    #[test]
    fn a_restarting_server_is_waited_for() {
        let reason = Some("back soon".to_owned());
        let goodbye = farewell(Reason5::ServerShuttingDown, reason);
        assert_eq!(goodbye.verdict, Verdict::Return);
        assert_eq!(goodbye.message, "the server ended the connection: server shutting down: back soon");
    }

    #[test]
    fn a_session_taken_over_is_not_taken_back() {
        assert_eq!(farewell(Reason5::SessionTakenOver, None).verdict, Verdict::Stop(Exit::Failed));
    }

    #[test]
    fn an_absent_server_may_come_up() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(of_v5(v5::ConnectionError::Io(refused)).verdict, Verdict::Return);
    }
}
