//! Where a server is, as a person writes it: `mqtts://chat.example:8883`.

/// Where a server is, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// With TLS, without, or as other flags say.
    pub secure: Option<bool>,
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port, if one was named.
    pub port: Option<u16>,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest.trim_end_matches('/')),
            None => (None, text),
        };
        let secure = match scheme {
            None => None,
            Some("mqtt" | "tcp") => Some(false),
            Some("mqtts" | "ssl" | "tls") => Some(true),
            Some("ws" | "wss") => {
                return Err("this client speaks mqtt and mqtts, and no WebSocket".to_owned());
            }
            Some(other) => return Err(format!("{other} is no scheme of MQTT: it is mqtt or mqtts")),
        };
        let (host, port) = split_port(rest)?;
        if host.is_empty() || host.contains(['/', '@', '?', '#', '[', ']', ' ']) {
            return Err("expected HOST, HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT".to_owned());
        }
        Ok(Address { secure, host: host.to_owned(), port })
    }
}

/// An IPv6 address with a port stands in brackets; without brackets all of it is the address.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(""))),
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => None,
        Some(digits) => match digits.parse() {
            Ok(port @ 1..) => Some(port),
            _ => return Err(format!("\"{digits}\" is no port: 1 to 65535")),
        },
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let check = |text: &str, secure: Option<bool>, host: &str, port: Option<u16>| {
            let address = Address { secure, host: host.to_owned(), port };
            assert_eq!(text.parse(), Ok(address), "{text}");
        };
        check("chat.example", None, "chat.example", None);
        check("chat.example:99", None, "chat.example", Some(99));
        check("mqtt://localhost", Some(false), "localhost", None);
        check("mqtts://chat.example:8883/", Some(true), "chat.example", Some(8883));
        check("ssl://127.0.0.1", Some(true), "127.0.0.1", None);
        check("::1", None, "::1", None);
        check("[::1]", None, "::1", None);
        check("mqtts://[::1]:8883", Some(true), "::1", Some(8883));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "mqtts://", "http://x", "wss://x", "x:0", "x:y", "x:", "a/b", "me@x", "[::1]x", "[::1", ":1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
