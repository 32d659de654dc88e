//! Proxies in front of us: whose word about the address of a client counts, and how they say it. The PROXY protocol puts
//! a header in front of everything else; a proxy that speaks HTTP puts X-Forwarded-For into the upgrade of a WebSocket.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ppp::{PartialResult, v1, v2};

/// Networks whose word counts.
#[derive(Debug, Clone, Default)]
pub struct Proxies(pub Vec<IpNet>);

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The beginning of a header.
    Incomplete,
    /// A header, so many bytes long, and the client that it names; a check of the proxy's own names nobody.
    Whole(usize, Option<SocketAddr>),
    /// Something else.
    Other,
}

const V1_BEGINS: &[u8] = b"PROXY ";

/// The longest line that version 1 allows.
const MAX_V1: usize = 107;

/// Version 2 may carry as much as its sender likes; nobody needs more than this.
const MAX_V2: usize = 4096;

impl Proxies {
    /// Whether the word of this address counts.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client in an X-Forwarded-For: the last that is no proxy of ours, since whoever is in front of that may have
    /// written anything.
    pub fn forwarded(&self, for_whom: &str) -> Option<IpAddr> {
        let mut hops = for_whom.rsplit(',').map(|hop| address(hop.trim()));
        let client = hops.find(|hop| hop.is_none_or(|address| !self.trusts(address)))?;
        client.map(|address| address.to_canonical())
    }
}

/// Some proxies write the port as well.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Looks for a header of version 1 or 2 at the beginning of a connection.
pub fn header(bytes: &[u8]) -> Header {
    if bytes.is_empty() {
        Header::Incomplete
    } else if V1_BEGINS.starts_with(bytes) || bytes.starts_with(V1_BEGINS) {
        header_v1(bytes)
    } else {
        header_v2(bytes)
    }
}

/// A line of text. The library is shown it whole: of half a line it says that it is wrong.
fn header_v1(bytes: &[u8]) -> Header {
    let first = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = first.windows(2).position(|end| end == b"\r\n") else {
        return if bytes.len() < MAX_V1 { Header::Incomplete } else { Header::Other };
    };
    match v1::Header::try_from(&bytes[..end + 2]) {
        Ok(header) => Header::Whole(end + 2, source_v1(&header.addresses)),
        Err(_) => Header::Other,
    }
}

fn header_v2(bytes: &[u8]) -> Header {
    let result = v2::Header::try_from(bytes);
    match &result {
        Err(_) if result.is_incomplete() && bytes.len() < MAX_V2 => Header::Incomplete,
        Err(_) => Header::Other,
        Ok(header) if header.command == v2::Command::Local => Header::Whole(header.len(), None),
        Ok(header) => Header::Whole(header.len(), source_v2(&header.addresses)),
    }
}

fn source_v1(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn source_v2(addresses: &v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::IPv4(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::IPv6(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [V2, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    #[test]
    fn networks_are_trusted_in_either_spelling() {
        for (address, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(proxies().trusts(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(!Proxies::default().trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn headers_cut_anywhere_are_incomplete_and_whole_ones_name_the_client() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x07, 0x5b];
        let six =
            [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], &[0; 16][..], &[0, 9, 0, 1]].concat();
        let with_more = [&four[..], &[0x04, 0, 1, 0]].concat();
        for (bytes, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 1883\r\n".to_vec(), Some("192.0.2.7:8080")),
            (b"PROXY TCP6 2001:db8::7 fd00::1 9 1883\r\n".to_vec(), Some("[2001:db8::7]:9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(0x21, 0x11, &four), Some("192.0.2.7:8080")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.7:8080")),
            (v2(0x21, 0x21, &six), Some("[2001:db8::7]:9")),
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0x00, &[]), None),
        ] {
            let whole = Header::Whole(bytes.len(), client.map(|client| client.parse().unwrap()));
            for cut in 0..bytes.len() {
                assert_eq!(header(&bytes[..cut]), Header::Incomplete, "{bytes:?} cut at {cut}");
            }
            assert_eq!(header(&bytes), whole, "{bytes:?}");
            assert_eq!(header(&[&bytes, &b"\x10\x0c\0\x04MQTT"[..]].concat()), whole, "{bytes:?} and more");
        }
    }

    #[test]
    fn anything_else_is_no_header() {
        for bytes in [
            &b"\x10\x0c\0\x04MQTT"[..],
            b"\x16\x03\x01\x02\0",
            b"GET /mqtt HTTP/1.1\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 1883\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 1 1883\r\n",
            b"proxy TCP4 192.0.2.7 10.0.0.1 1 1883\r\n",
        ] {
            assert_eq!(header(bytes), Header::Other, "{bytes:?}");
        }
        // Never an end to either.
        assert_eq!(header(&[b"PROXY TCP4 ".to_vec(), vec![b'1'; MAX_V2]].concat()), Header::Other);
        assert_eq!(header(&[V2, &[0x21, 0x11, 0xff, 0xff], &[0; MAX_V2]].concat()), Header::Other);
    }

    #[test]
    fn the_last_hop_that_is_not_ours_is_the_client() {
        let check = |for_whom: &str, client: Option<&str>| {
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(proxies().forwarded(for_whom), client, "{for_whom}");
        };
        check("192.0.2.7", Some("192.0.2.7"));
        check("127.0.0.1, 192.0.2.7", Some("192.0.2.7"));
        check("127.0.0.1, 192.0.2.7 , 10.0.0.2,10.0.0.1", Some("192.0.2.7"));
        check("192.0.2.7:8080, 10.0.0.1", Some("192.0.2.7"));
        check("[2001:db8::7]:8080", Some("2001:db8::7"));
        check("[2001:db8::7]", Some("2001:db8::7"));
        // What cannot be read hides nobody behind it.
        check("192.0.2.7, unknown, 10.0.0.1", None);
        check("10.0.0.1", None);
        check("", None);
    }
}
