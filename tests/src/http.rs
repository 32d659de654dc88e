//! HTTP, as little as the harness needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub struct Http {
    /// The first line.
    pub first: String,
    /// Headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// The status of an answer.
    pub fn status(&self) -> u16 {
        let status = self.first.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("`{}` is not the first line of an answer", self.first))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one message; nothing if the peer closed before it.
    pub fn read(stream: &mut TcpStream) -> Option<Http> {
        let mut reader = BufReader::new(stream);
        let mut http = Http { first: line(&mut reader)?, ..Http::default() };
        while let Some(header) = line(&mut reader).filter(|line| !line.is_empty()) {
            let (name, value) =
                header.split_once(':').unwrap_or_else(|| panic!("`{header}` is not a header"));
            http.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        http.body = match http.headers.get("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => {
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the whole body");
                body
            }
            None if http.headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") => {
                chunks(&mut reader)
            }
            None => Vec::new(),
        };
        Some(http)
    }
}

/// GET, without keeping the connection.
pub fn get(address: SocketAddr, path: &str) -> Http {
    let mut stream = TcpStream::connect(address).expect("the hub accepts HTTP");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    Http::read(&mut stream).expect("an answer before the hub closes")
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let count = reader.read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end().to_owned())
}

fn chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(reader).expect("a chunk"), 16).expect("the size of a chunk");
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk).expect("a whole chunk");
        body.extend(chunk);
        line(reader);
        if size == 0 {
            return body;
        }
    }
}
