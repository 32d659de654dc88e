//! The application's own server, which the hub calls for people who are away.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::{io::Write, thread};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::PATIENCE;
use crate::http::Http;

/// A small HTTP server on loopback that records calls and checks their signature. It lives as long as the test.
pub struct WebhookSink {
    address: SocketAddr,
    calls: Receiver<Http>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

/// One call, with a signature that was right.
#[derive(Debug)]
pub struct Call {
    /// The JSON body.
    pub json: Value,
    /// The body as it was sent.
    pub text: String,
}

impl WebhookSink {
    /// What the hub signs with; give it to the hub as `notify.secret`.
    pub const SECRET: &str = "the pushes of the harness";

    /// Starts listening.
    pub fn start() -> WebhookSink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let planned = Arc::clone(&answers);
        thread::spawn(move || serve(&listener, &sender, &planned));
        WebhookSink { address, calls, answers }
    }

    /// What the hub is to call.
    pub fn url(&self) -> String {
        format!("http://{}/push", self.address)
    }

    /// Answers the next calls with these statuses; 200 is for all others.
    pub fn answers_with(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// The next call.
    ///
    /// # Panics
    /// If none comes in time, or if its signature is wrong.
    pub fn is_called(&self) -> Call {
        let call = self.calls.recv_timeout(PATIENCE).expect("a call of the webhook");
        assert!(call.first.starts_with("POST /push "), "expected a POST of /push, got `{}`", call.first);
        let header = |name: &str| {
            call.headers
                .get(name)
                .unwrap_or_else(|| panic!("no {name} among the headers {:?}", call.headers))
                .clone()
        };
        let signature = header("x-hubbub-signature");
        assert_eq!(
            signature,
            sign(&header("x-hubbub-timestamp"), &call.body),
            "signature of {}",
            call.text()
        );
        let json =
            serde_json::from_slice(&call.body).unwrap_or_else(|error| panic!("{error}: {}", call.text()));
        Call { json, text: call.text() }
    }

    /// Says that no call is waiting to be looked at. A statement about the past only: first bring about something later.
    pub fn has_no_more_calls(&self) {
        if let Ok(call) = self.calls.try_recv() {
            panic!("one call too many: {}", call.text());
        }
    }
}

fn serve(listener: &TcpListener, calls: &Sender<Http>, planned: &Mutex<VecDeque<u16>>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Some(call) = Http::read(&mut stream) else { continue };
        let status = planned.lock().unwrap().pop_front().unwrap_or(200);
        // Recorded before answered: the hub may be killed as soon as it has the answer.
        if calls.send(call).is_err() {
            return;
        }
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
}

pub(crate) fn sign(timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(WebhookSink::SECRET.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_says() {
        // printf '1763650000.{"a":1}' | openssl dgst -sha256 -hmac 'the pushes of the harness'
        let expected = "v1=9d6f311e11c35f4b024925fe150816c6c20a39210265df73350058744131365b";
        assert_eq!(sign("1763650000", br#"{"a":1}"#), expected);
    }
}
