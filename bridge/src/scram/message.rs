//! The two messages of a client (RFC 5802 §5.1, §7).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Bytes32;

/// Bytes of a message. Names have at most 64, nonces some 30.
const LONGEST: usize = 1024;

/// `n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL`
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// `n,,`: what is repeated in the second message.
    pub header: &'a str,
    /// Everything behind it: what is signed.
    pub bare: &'a str,
    /// As whom the client wants to act.
    pub authorization: Option<String>,
    /// Who it is.
    pub name: String,
    /// Its part of the nonce.
    pub nonce: &'a str,
}

/// `c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=`
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// The header of the first message, once more.
    pub header: Vec<u8>,
    /// Both parts of the nonce.
    pub nonce: &'a str,
    /// Everything in front of the proof: what is signed.
    pub signed: &'a str,
    /// That the client knows the password.
    pub proof: Bytes32,
}

/// What is wrong with a message, for the client.
pub type Wrong = &'static str;

const NO_MESSAGE: Wrong = "not a message of SCRAM-SHA-256";

impl<'a> ClientFirst<'a> {
    /// Reads it. Channel binding is of the method SCRAM-SHA-256-PLUS, which is not offered; a client that only says it could
    /// (`y`) is right about us.
    pub fn read(message: &'a [u8]) -> Result<ClientFirst<'a>, Wrong> {
        let text = text(message)?;
        let (binding, rest) = text.split_once(',').ok_or(NO_MESSAGE)?;
        let (authorization, bare) = rest.split_once(',').ok_or(NO_MESSAGE)?;
        match binding {
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err("channel binding is not offered"),
            _ => return Err(NO_MESSAGE),
        }
        let authorization = match authorization {
            "" => None,
            named => Some(name(named.strip_prefix("a=").ok_or(NO_MESSAGE)?)?),
        };
        let mut attributes = bare.split(',');
        let name = name(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NO_MESSAGE);
        }
        let header = &text[..text.len() - bare.len()];
        Ok(ClientFirst { header, bare, authorization, name, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    /// Reads it.
    pub fn read(message: &'a [u8]) -> Result<ClientFinal<'a>, Wrong> {
        let text = text(message)?;
        let (signed, proof) = text.rsplit_once(",p=").ok_or(NO_MESSAGE)?;
        let mut attributes = signed.split(',');
        let header = attribute(attributes.next(), "c=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        let header = STANDARD.decode(header).map_err(|_| NO_MESSAGE)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(NO_MESSAGE)?;
        Ok(ClientFinal { header, nonce, signed, proof })
    }
}

fn text(message: &[u8]) -> Result<&str, Wrong> {
    let text = std::str::from_utf8(message).map_err(|_| NO_MESSAGE)?;
    if text.len() <= LONGEST { Ok(text) } else { Err(NO_MESSAGE) }
}

/// Attributes come in a fixed order. One that begins with `m=` is mandatory and unknown to us, so it is not skipped.
fn attribute<'a>(part: Option<&'a str>, key: &str) -> Result<&'a str, Wrong> {
    part.and_then(|part| part.strip_prefix(key)).ok_or(NO_MESSAGE)
}

/// A `saslname`: a comma is `=2C`, an equals sign `=3D`, and nothing else begins so.
fn name(escaped: &str) -> Result<String, Wrong> {
    let mut parts = escaped.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(NO_MESSAGE),
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.is_empty() { Err(NO_MESSAGE) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_taken_apart() {
        let first = ClientFirst::read(b"y,a=al=2Cice,n=al=2Cice,r=x!y,e=more").unwrap();
        assert_eq!((first.header, first.bare), ("y,a=al=2Cice,", "n=al=2Cice,r=x!y,e=more"));
        assert_eq!(
            (first.authorization.as_deref(), &*first.name, first.nonce),
            (Some("al,ice"), "al,ice", "x!y")
        );
        assert_eq!(ClientFirst::read(b"n,,n=a=3Db,r=x").unwrap().name, "a=b");
    }

    #[test]
    fn other_first_messages_are_refused() {
        let long = format!("n,,n=alice,r={}", "x".repeat(LONGEST));
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,,r=x",
            "n,a,n=u,r=x",
            "n,,n=u",
            "n,,n=u,r",
            "n,,n=u,r=",
            "n,,n=,r=x",
            "x,,n=u,r=y",
            "n,,n=a=2c,r=x",
            "n,,n=a=,r=x",
            "n,,r=x,n=u",
            "n,,m=x,n=u,r=x",
            "n,,n=u,r=ä",
            "n,,n=u,r=a b",
            &long,
        ] {
            assert_eq!(ClientFirst::read(bad.as_bytes()), Err(NO_MESSAGE), "{bad}");
        }
        assert_eq!(ClientFirst::read(b"n,,n=\xff,r=x"), Err(NO_MESSAGE));
        assert_eq!(ClientFirst::read(b"p=tls-exporter,,n=u,r=x"), Err("channel binding is not offered"));
    }

    #[test]
    fn a_last_message_has_header_nonce_and_a_proof_of_32_bytes() {
        let proof = STANDARD.encode([7; 32]);
        let message = format!("c=biws,r=xy,e=more,p={proof}");
        let last = ClientFinal::read(message.as_bytes()).unwrap();
        assert_eq!((&*last.header, last.nonce, last.signed), (&b"n,,"[..], "xy", "c=biws,r=xy,e=more"));
        assert_eq!(last.proof, [7; 32]);
        let short = format!("c=biws,r=xy,p={}", STANDARD.encode([7; 31]));
        for bad in [
            "",
            "c=biws,r=xy",
            "c=!,r=xy,p=",
            "r=xy,c=biws,p=",
            "c=biws,m=x,r=xy,p=",
            &short,
            &format!("{message}="),
        ] {
            assert_eq!(ClientFinal::read(bad.as_bytes()), Err(NO_MESSAGE), "{bad}");
        }
    }
}
