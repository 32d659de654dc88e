//! TLS of one benchmark connection: encrypted bytes in, plain bytes out, and back.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// TLS of one connection.
pub(super) struct Veil {
    connection: ClientConnection,
    /// Encrypted bytes that are not written yet.
    pub(super) out: Vec<u8>,
}

/// How to begin the TLS of a connection.
pub struct VeilMaker {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl VeilMaker {
    /// For this server. Nothing is resumed, so that every handshake costs what a first one costs.
    pub fn new(config: &ClientConfig, host: &str) -> anyhow::Result<VeilMaker> {
        let mut config = config.clone();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(VeilMaker { config: Arc::new(config), name: host.to_owned().try_into()? })
    }

    pub(super) fn begin(&self) -> anyhow::Result<Box<Veil>> {
        let mut connection = ClientConnection::new(self.config.clone(), self.name.clone())?;
        connection.set_buffer_limit(None);
        Ok(Box::new(Veil { connection, out: Vec::new() }))
    }
}

impl Veil {
    /// Bytes from the socket; how many plain bytes they put into `plain`, which has room for one record more than `raw`.
    pub(super) fn receive(&mut self, mut raw: &[u8], plain: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while !raw.is_empty() && self.connection.read_tls(&mut raw)? > 0 {
            self.connection.process_new_packets().map_err(io::Error::other)?;
            loop {
                match self.connection.reader().read(&mut plain[count..]) {
                    Ok(0) => {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed TLS"));
                    }
                    Ok(more) => count += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(count)
    }

    /// Whether the handshake has something to say.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Encrypts everything in `plain`, and whatever the handshake has to say.
    pub(super) fn encrypt(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        self.connection.writer().write_all(plain)?;
        plain.clear();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.out)?;
        }
        Ok(())
    }
}
