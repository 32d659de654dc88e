//! What counts as one address.

use std::net::{IpAddr, Ipv4Addr};

/// An address of IPv4, or a /64 of IPv6: one household has a whole one, and 2^64 addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// The first half of one.
    V6([u8; 8]),
}

impl Source {
    /// Of this address; one of IPv4 that is written as IPv6 is one of IPv4.
    pub fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(address) => Source::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_of_ipv6_is_one_and_both_spellings_of_ipv4_are() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("192.0.2.7"), source("::ffff:192.0.2.7"));
        assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
    }
}
