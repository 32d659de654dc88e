//! Makes webhook calls on threads of their own, so that a slow receiver holds up nobody else.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ureq::Agent;

use super::call::{Call, signature};

/// Calls that wait for each worker. More would only grow old here instead of in the outbox.
const QUEUE_PER_WORKER: usize = 2;
/// Bytes of an answer that are read so that the connection can be used again; nobody looks at them.
const ANSWER_MAX: u64 = 64 * 1024;

/// How one call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The recipient of the call.
    pub uid: String,
    /// Position in the recipient's inbox.
    pub n: u64,
    /// What the receiver said.
    pub result: Sent,
}

/// What the receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It took the call.
    Done,
    /// It will never take this call, with the reason.
    Refused(String),
    /// It may take the call another time, with the reason.
    Failed(String),
}

/// Workers that make signed calls to one address.
///
/// Dropping it lets calls under way end and makes no further ones; [`Webhook::stop`] waits for them too. What was not
/// called for stays in the durable outbox.
pub struct Webhook {
    calls: SyncSender<Call>,
    stopping: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Webhook {
    /// Starts `workers` threads (at least one), each making one call at a time to `url`, which may take `timeout` in
    /// all. Every call that [`Webhook::send`] took is reported to `report`, on a worker's thread, unless stopped
    /// before its turn. Fails when the system gives no thread.
    pub fn new(
        url: &str,
        secret: &str,
        timeout: Duration,
        workers: usize,
        report: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> io::Result<Webhook> {
        let workers = workers.max(1);
        let (calls, waiting) = sync_channel(workers * QUEUE_PER_WORKER);
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = Arc::new(Worker {
            agent: agent(timeout),
            url: url.into(),
            secret: secret.into(),
            waiting: Mutex::new(waiting),
            stopping: stopping.clone(),
            report: Box::new(report),
        });
        let workers = (0..workers).map(|_| spawn(worker.clone())).collect::<io::Result<_>>()?;
        Ok(Webhook { calls, stopping, workers })
    }

    /// Hands over a call without waiting; gives it back when every worker is busy and the queue is full.
    pub fn send(&self, call: Call) -> Result<(), Box<Call>> {
        self.calls.try_send(call).map_err(|error| match error {
            TrySendError::Full(call) | TrySendError::Disconnected(call) => Box::new(call),
        })
    }

    /// Makes no further calls and waits for those under way, at most for the timeout of a call.
    pub fn stop(mut self) {
        let workers = std::mem::take(&mut self.workers);
        drop(self);
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("webhook worker panicked");
            }
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
    }
}

struct Worker {
    agent: Agent,
    url: String,
    secret: String,
    waiting: Mutex<Receiver<Call>>,
    stopping: Arc<AtomicBool>,
    report: Box<dyn Fn(Outcome) + Send + Sync>,
}

impl Worker {
    /// Ends when the webhook is gone.
    fn run(&self) {
        while let Some(call) = self.next_call() {
            let result = self.make(&call);
            tracing::debug!(id = call.id(), ?result, "webhook called");
            (self.report)(Outcome { uid: call.uid, n: call.n, result });
        }
    }

    fn next_call(&self) -> Option<Call> {
        let call = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
        (!self.stopping.load(Ordering::Acquire)).then_some(call)
    }

    fn make(&self, call: &Call) -> Sent {
        let (timestamp, body) = (call.timestamp(), call.body());
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("X-Hubbub-Id", encoded(&call.id()))
            .header("X-Hubbub-Signature", signature(&self.secret, &timestamp, &body))
            .header("X-Hubbub-Timestamp", timestamp);
        match request.send(body) {
            Ok(mut answer) => {
                // Whether the rest of the answer arrives changes nothing.
                let _ = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
                judge(answer.status().as_u16())
            }
            Err(error) => Sent::Failed(error.to_string()),
        }
    }
}

/// For calls to the application's own server, each of which may take so long in all.
pub(crate) fn agent(timeout: Duration) -> Agent {
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A call goes to the address in the settings and nowhere else: neither to where an answer points, nor
        // through what happens to stand in the environment.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("hubbub/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn spawn(worker: Arc<Worker>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("hubbub-webhook".into()).spawn(move || worker.run())
}

fn judge(status: u16) -> Sent {
    match status {
        200..=299 => Sent::Done,
        408 | 429 => Sent::Failed(format!("status {status}")),
        400..=499 => Sent::Refused(format!("status {status}")),
        _ => Sent::Failed(format!("status {status}")),
    }
}

/// A user id may be in any script, a header only in ASCII: other bytes become `%XX`.
fn encoded(id: &str) -> String {
    id.bytes().fold(String::with_capacity(id.len()), |text, byte| match byte {
        b'%' | ..=b' ' | 0x7F.. => text + &format!("%{byte:02X}"),
        plain => text + char::from(plain).encode_utf8(&mut [0; 4]),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Sender, channel};

    use super::super::call::tests::call;
    use super::*;
    use crate::notify::{Outbox, Retry, Verdict};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A request as the receiver of webhooks got it.
    struct Request {
        head: Vec<String>,
        body: String,
    }

    impl Request {
        fn header(&self, name: &str) -> &str {
            let line = self
                .head
                .iter()
                .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
            line.map(|(_, value)| value).unwrap_or_else(|| panic!("no {name} in {:?}", self.head))
        }
    }

    /// A receiver that gives these answers, one for each connection.
    fn receiver(answers: &[&'static str]) -> (String, Receiver<Request>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/push?app=1", listener.local_addr().unwrap());
        let (got, requests) = channel();
        let answers = answers.to_vec();
        thread::spawn(move || {
            answers.iter().for_each(|answer| serve(listener.accept().unwrap().0, answer, &got))
        });
        (url, requests)
    }

    fn serve(stream: TcpStream, answer: &str, got: &Sender<Request>) {
        let mut reader = BufReader::new(&stream);
        let head: Vec<String> =
            reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        let mut request = Request { head, body: String::new() };
        let length = request.header("content-length").parse().unwrap();
        reader.take(length).read_to_string(&mut request.body).unwrap();
        got.send(request).unwrap();
        write!(&stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    }

    fn webhook(url: &str, timeout: Duration) -> (Webhook, Receiver<Outcome>) {
        let (report, outcomes) = channel();
        let report = Mutex::new(report);
        let webhook = Webhook::new(url, "secret", timeout, 1, move |outcome| {
            report.lock().unwrap().send(outcome).unwrap()
        });
        (webhook.unwrap(), outcomes)
    }

    /// Makes one call and tells how it ended.
    fn result(url: &str, timeout: Duration) -> Sent {
        let (webhook, outcomes) = webhook(url, timeout);
        webhook.send(call(None)).unwrap();
        let outcome = outcomes.recv_timeout(PATIENCE).unwrap();
        assert_eq!((outcome.uid.as_str(), outcome.n), ("bob", 42));
        outcome.result
    }

    #[test]
    fn the_receiver_gets_one_signed_call() {
        let (url, requests) = receiver(&["200 OK"]);
        assert_eq!(result(&url, PATIENCE), Sent::Done);
        let request = requests.recv_timeout(PATIENCE).unwrap();
        assert_eq!(request.head[0], "POST /push?app=1 HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("x-hubbub-id"), "bob/42");
        assert_eq!(request.header("x-hubbub-timestamp"), "1763650015");
        assert_eq!(request.header("x-hubbub-signature"), signature("secret", "1763650015", &request.body));
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!((body["user"].as_str(), body["seq"].as_u64()), (Some("bob"), Some(7)));
    }

    #[test]
    fn answers_are_judged() {
        for (answer, expected) in [
            ("204 No Content", Sent::Done),
            ("400 Bad Request", Sent::Refused("status 400".into())),
            ("410 Gone", Sent::Refused("status 410".into())),
            ("408 Request Timeout", Sent::Failed("status 408".into())),
            ("429 Too Many Requests", Sent::Failed("status 429".into())),
            ("500 Internal Server Error", Sent::Failed("status 500".into())),
        ] {
            let (url, _requests) = receiver(&[answer]);
            assert_eq!(result(&url, PATIENCE), expected, "{answer}");
        }
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (elsewhere, stolen) = receiver(&["200 OK"]);
        let answer: &'static str =
            Box::leak(format!("307 Temporary Redirect\r\nLocation: {elsewhere}").into_boxed_str());
        let (url, _requests) = receiver(&[answer]);
        assert_eq!(result(&url, PATIENCE), Sent::Failed("status 307".into()));
        assert!(stolen.try_recv().is_err());
    }

    #[test]
    fn silence_and_refused_connections_are_failures_that_may_pass() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        assert!(matches!(result(&url, Duration::from_millis(50)), Sent::Failed(_)));
        drop(silent);
        assert!(matches!(result(&url, PATIENCE), Sent::Failed(_)));
    }

    #[test]
    fn https_is_spoken_with_a_real_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let first_bytes = thread::spawn(move || {
            let mut hello = [0; 6];
            listener.accept().unwrap().0.read_exact(&mut hello).unwrap();
            hello
        });
        assert!(matches!(result(&url, PATIENCE), Sent::Failed(_)));
        // A handshake record with a client hello in it (RFC 8446, 5.1 and 4).
        let hello = first_bytes.join().unwrap();
        assert_eq!((hello[0], hello[5]), (22, 1));
    }

    #[test]
    fn an_outbox_tries_again_after_500_and_not_after_400() {
        let (url, requests) = receiver(&["500 Oops", "503 Busy", "200 OK", "400 Bad Request"]);
        let (webhook, outcomes) = webhook(&url, PATIENCE);
        let mut outbox = Outbox::new(Retry { first_ms: 2_000, max_ms: 60_000, attempts: 10 });
        outbox.add("bob", 42, 15_000);
        outbox.add("bob", 43, 80_000);
        let mut story = Vec::new();
        while let Some(now) = outbox.poll_timeout() {
            outbox.handle_timeout(now);
            let (uid, n) = outbox.next_due().unwrap();
            webhook.send(Call { uid, n, now_ms: now, ..call(None) }).unwrap();
            let Outcome { uid, n, result } = outcomes.recv_timeout(PATIENCE).unwrap();
            match &result {
                Sent::Done | Sent::Refused(_) => outbox.finished(&uid, n),
                Sent::Failed(_) => assert!(matches!(outbox.failed(&uid, n, now), Verdict::Retry { .. })),
            }
            story.push((now, n, result));
        }
        let failed = |status: &str| Sent::Failed(format!("status {status}"));
        let expected = [
            (15_000, 42, failed("500")),
            (17_000, 42, failed("503")),
            (21_000, 42, Sent::Done),
            (80_000, 43, Sent::Refused("status 400".into())),
        ];
        assert_eq!(story, expected);
        assert!(outbox.is_empty());
        let ids: Vec<String> =
            requests.try_iter().map(|request| request.header("x-hubbub-id").into()).collect();
        assert_eq!(ids, ["bob/42", "bob/42", "bob/42", "bob/43"]);
    }

    #[test]
    fn a_full_queue_gives_the_call_back() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (webhook, _outcomes) = webhook(&format!("http://{}", silent.local_addr().unwrap()), PATIENCE);
        let taken = (0..10).filter(|n| webhook.send(Call { n: *n, ..call(None) }).is_ok()).count();
        assert!((QUEUE_PER_WORKER..=QUEUE_PER_WORKER + 1).contains(&taken), "{taken} taken");
    }

    #[test]
    fn stopping_makes_no_further_calls() {
        let (url, requests) = receiver(&["200 OK", "200 OK"]);
        let (webhook, outcomes) = webhook(&url, PATIENCE);
        webhook.send(call(None)).unwrap();
        outcomes.recv_timeout(PATIENCE).unwrap();
        webhook.stop();
        assert_eq!(requests.try_iter().count(), 1);
        assert!(outcomes.recv().is_err(), "the workers are gone");
    }

    #[test]
    fn ids_in_any_script_fit_into_a_header() {
        assert_eq!(encoded("bob/1"), "bob/1");
        assert_eq!(encoded("聊 %\u{7f}/1"), "%E8%81%8A%20%25%7F/1");
    }
}
