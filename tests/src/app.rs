//! The application's own server, as the hub asks it: for keys of tokens, and who may come in.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::http::Http;
use crate::webhook::sign;
use crate::{PATIENCE, WebhookSink};

/// A small HTTP server on loopback. It lives as long as the test.
pub struct App {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What is said on each path; nothing at all where it is not known.
    answers: HashMap<String, (u16, String)>,
    requests: VecDeque<Http>,
    /// Whoever waits for an answer that does not come.
    kept_waiting: Vec<TcpStream>,
}

impl App {
    /// What the hub signs with; give it to the hub as `login.hook_secret`.
    pub const SECRET: &str = WebhookSink::SECRET;

    /// Starts listening. Who asks on a path that has no answer waits for ever.
    pub fn start() -> App {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &shared);
            }
        });
        App { address, state }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers on this path from now on.
    pub fn answers(&self, path: &str, status: u16, body: impl ToString) {
        self.state.lock().unwrap().answers.insert(path.into(), (status, body.to_string()));
    }

    /// Answers nothing on this path any more.
    pub fn is_silent_on(&self, path: &str) {
        self.state.lock().unwrap().answers.remove(path);
    }

    /// The oldest request that nobody looked at yet, if there is one.
    pub fn was_asked(&self) -> Option<Http> {
        self.state.lock().unwrap().requests.pop_front()
    }

    /// The JSON of that request.
    ///
    /// # Panics
    /// If there is none, or its signature is wrong.
    pub fn was_asked_signed(&self) -> Value {
        let request = self.was_asked().expect("a request");
        let header = |name: &str| request.headers.get(name).unwrap_or_else(|| panic!("no {name}")).clone();
        let expected = sign(&header("x-hubbub-timestamp"), &request.body);
        assert_eq!(header("x-hubbub-signature"), expected, "signature of {}", request.text());
        serde_json::from_slice(&request.body).unwrap()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let Some(request) = Http::read(&mut stream) else { return };
    let path = request.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.requests.push_back(request);
    match state.answers.get(&path) {
        Some((status, body)) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            // The hub may have given up.
            stream.write_all((head + body).as_bytes()).ok();
        }
        None => state.kept_waiting.push(stream),
    }
}
