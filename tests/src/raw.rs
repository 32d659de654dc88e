//! A socket to which a test says bytes, and from which it expects bytes.

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use crate::PATIENCE;
use crate::way::{Pipe, Way};

/// A connection without any protocol, or with one that a [`Way`] puts below.
pub struct RawClient {
    stream: Box<dyn Pipe>,
}

impl RawClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> RawClient {
        RawClient::over(&Way::tcp(address))
    }

    /// Connects this way.
    pub fn over(way: &Way) -> RawClient {
        let stream = way.connect();
        stream.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        RawClient { stream }
    }

    /// Sends bytes. A hub that closed already is a matter for what is expected next.
    pub fn sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut RawClient {
        self.stream.write_all(bytes.as_ref()).ok();
        self
    }

    /// Sends this again and again without reading, at most so many bytes, until the hub takes no more: for two seconds,
    /// or because it closed. How many bytes it took.
    pub fn sends_without_reading(&mut self, bytes: &[u8], at_most: usize) -> usize {
        self.stream.socket().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut sent = 0;
        while sent < at_most {
            // What was cut off in a packet is sent first, so that the packets stay whole.
            match self.stream.write(&bytes[sent % bytes.len()..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends these bytes one at a time, with a pause after each, until the hub closes or there are no more; how many it took.
    pub fn trickles(&mut self, bytes: &[u8], pause: Duration) -> usize {
        for (sent, byte) in bytes.iter().enumerate() {
            if self.stream.write_all(&[*byte]).is_err() {
                return sent;
            }
            std::thread::sleep(pause);
        }
        bytes.len()
    }

    /// Sends bytes written as hexadecimal digits; spaces between them are for the reader.
    pub fn sends_hex(&mut self, digits: &str) -> &mut RawClient {
        self.sends(hex(digits))
    }

    /// Expects exactly these bytes next.
    pub fn hears(&mut self, bytes: impl AsRef<[u8]>) -> &mut RawClient {
        let expected = bytes.as_ref();
        let got = self.takes(expected.len());
        assert_eq!(got, expected, "other bytes than expected: {got:02x?}");
        self
    }

    /// The next bytes, this many.
    pub fn takes(&mut self, count: usize) -> Vec<u8> {
        let mut got = vec![0; count];
        let mut have = 0;
        while have < count {
            match self.stream.read(&mut got[have..]) {
                Ok(0) => panic!("closed after {:02x?}", &got[..have]),
                Ok(more) => have += more,
                Err(error) => panic!("{error} after {:02x?}", &got[..have]),
            }
        }
        got
    }

    /// Says that nothing more will come from here, and goes on listening.
    pub fn half_closes(&mut self) -> &mut RawClient {
        // A hub that closed already is a matter for what is expected next.
        self.stream.socket().shutdown(Shutdown::Write).ok();
        self
    }

    /// Its own address, by which the system knows the other end as well.
    pub fn address(&self) -> SocketAddr {
        self.stream.socket().local_addr().unwrap()
    }

    /// Expects exactly these bytes next, written as hexadecimal digits.
    pub fn hears_hex(&mut self, digits: &str) -> &mut RawClient {
        self.hears(hex(digits))
    }

    /// Expects that the hub closes without another byte.
    pub fn is_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "expected the end, got {rest:02x?}");
    }

    /// Expects that the hub closes, whatever it says before and however it does it.
    pub fn ends(&mut self) {
        let mut rest = Vec::new();
        let timed_out = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        };
        if let Err(error) = self.stream.read_to_end(&mut rest)
            && timed_out(&error)
        {
            panic!("not closed ({error}) after {rest:02x?}");
        }
    }

    /// Everything until the hub closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("not closed ({error}) after {rest:02x?}"),
        }
    }
}

/// Hexadecimal digits, with spaces anywhere, as bytes.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
