//! HTTP: health, metrics, accounts. On loopback, or elsewhere behind a token.

mod guest;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hubbub_bridge::policy::House;
use hubbub_bridge::store::Store;
use hubbub_broker::audit::{Action, Entry};
use hubbub_broker::clock::Deadline;
use hubbub_broker::counters::Counters;
use hubbub_broker::edges::Edges;
use hubbub_broker::proxy::Proxies;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use self::guest::{Guest, Guests};
use super::{admin, devices, health, records};

/// Short, or a stream.
type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Bytes of a request from an administrator: some 30,000 accounts to be imported.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// How long a client may take for the head of its request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// For so long the outcome of a health check stands for others: each is a login and two commits, and nobody needs a token for it.
const CHECK_COUNTS: Duration = Duration::from_secs(1);

/// The pages, and how each may be asked for.
const PAGES: [(&str, &str); 6] = [
    ("/", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/admin/users", "GET, HEAD, POST"),
    ("/admin/devices", "POST"),
    ("/admin/records", "GET, HEAD"),
];

/// What the pages are made of.
pub struct Site {
    pub counters: Arc<Counters>,
    pub house: Arc<House>,
    pub edges: Edges,
    pub store: Arc<dyn Store>,
    /// Where the health check publishes.
    pub mqtt: Option<SocketAddr>,
    /// Who has to say there for whom they come.
    pub proxies: Proxies,
    /// What an administrator has to show.
    pub token: String,
    /// What everybody has to show, if that is set; an administrator may show it as well.
    pub common_token: Option<String>,
    /// The last health check.
    pub check: LastCheck,
}

/// The outcome of the last health check, and how long it counts. Whoever comes while there is one under way waits for it.
#[derive(Default)]
pub struct LastCheck(tokio::sync::Mutex<Option<(Deadline, StatusCode, String)>>);

/// Binds the address.
pub fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener =
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the runtime ends.
pub async fn serve(listener: std::net::TcpListener, site: Arc<Site>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no http"),
    };
    let mut guests = Guests::default();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Nobody waits for a guest who is slow: if there is no room, one of those goes.
        if guests.make_room() {
            let (site, guest) = (site.clone(), Arc::new(Guest::new(peer)));
            guests.welcome(guest.clone(), tokio::spawn(attend(stream, guest, site)));
        }
    }
}

async fn attend(stream: tokio::net::TcpStream, guest: Arc<Guest>, site: Arc<Site>) {
    let asked = guest.clone();
    let service = service_fn(move |request| answer(request, asked.clone(), site.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, or is too slow, is nobody's fault here.
    guest.attend(connection).await;
}

async fn answer(
    request: Request<Incoming>,
    guest: Arc<Guest>,
    site: Arc<Site>,
) -> Result<Answer, Infallible> {
    let route = (request.method().clone(), request.uri().path().to_owned());
    // Whoever may not come in is not told either which pages there are.
    if site.common_token.is_some()
        && route.1 != "/healthz"
        && let Some(refusal) = refusal(&request, &guest, &site)
    {
        return Ok(refusal);
    }
    // The body that an answer to HEAD does not have is left out below us.
    let method = if route.0 == Method::HEAD { &Method::GET } else { &route.0 };
    Ok(match (method, route.1.as_str()) {
        (&Method::GET, "/healthz") => healthz(&site).await,
        (&Method::GET, "/metrics") => {
            text(StatusCode::OK, "text/plain; version=0.0.4", site.counters.render())
        }
        (_, "/admin/users") => administer(request, &guest, site).await,
        (&Method::POST, "/admin/devices") => administer_devices(request, &guest, site).await,
        (&Method::GET, "/admin/records") => all_records(&request, &guest, &site),
        (&Method::GET, "/") => text(StatusCode::OK, "text/plain", "hubbub: /healthz /metrics\n".to_owned()),
        (_, path) => no_page(path),
    })
}

/// There is no such page, or it cannot be asked for like this (RFC 9110 §15.5.5, §15.5.6).
fn no_page(path: &str) -> Answer {
    let Some((_, methods)) = PAGES.iter().find(|(page, _)| *page == path) else {
        let error = "there is: /healthz /metrics /admin/users";
        return json_text((StatusCode::NOT_FOUND, json!({ "error": error })));
    };
    let mut answer = json_text((StatusCode::METHOD_NOT_ALLOWED, json!({ "error": methods })));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

async fn healthz(site: &Site) -> Answer {
    let Some(address) = site.mqtt else {
        return text(StatusCode::OK, "text/plain", "ok, without MQTT over TCP\n".to_owned());
    };
    let mut last = site.check.0.lock().await;
    if let Some((counts, status, said)) = &*last
        && !counts.is_over()
    {
        return text(*status, "text/plain", said.clone());
    }
    let (user, password) = site.house.logins().canary();
    let (status, said) = match health::round_trip(address, &site.proxies, &user, &password).await {
        Ok(took) => (StatusCode::OK, format!("ok, round trip {} µs\n", took.as_micros())),
        Err(why) => {
            tracing::error!(why, "health check failed");
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ok: {why}\n"))
        }
    };
    *last = Some((Deadline::after(CHECK_COUNTS), status, said.clone()));
    text(status, "text/plain", said)
}

async fn administer(request: Request<Incoming>, guest: &Guest, site: Arc<Site>) -> Answer {
    if let Some(refusal) = refusal(&request, guest, &site) {
        return refusal;
    }
    match *request.method() {
        Method::GET | Method::HEAD => json_text(admin::list(&*site.store)),
        Method::POST => {
            let Some(body) = body_of(request).await else { return too_long() };
            let edges = site.edges.clone();
            let work = to_its_end(async move {
                let change = tokio::task::spawn_blocking(move || admin::change(&site.house, &body)).await;
                let (status, answer, dismissal) = change.unwrap_or((FAILED, failed(), None));
                if let Some(dismissal) = dismissal {
                    edges.dismiss(dismissal).await;
                }
                (status, answer)
            });
            json_text(work.await)
        }
        _ => no_page("/admin/users"),
    }
}

async fn administer_devices(request: Request<Incoming>, guest: &Guest, site: Arc<Site>) -> Answer {
    if let Some(refusal) = refusal(&request, guest, &site) {
        return refusal;
    }
    match body_of(request).await {
        Some(body) => json_text(to_its_end(async move { devices::answer(&site, &body).await }).await),
        None => too_long(),
    }
}

/// Does what was asked for to its end, also if whoever asked is gone by then: half of it would be an account that is gone, and
/// connections of it that stay.
async fn to_its_end(work: impl Future<Output = (StatusCode, Value)> + Send + 'static) -> (StatusCode, Value) {
    tokio::spawn(work).await.unwrap_or_else(|_| (FAILED, failed()))
}

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

fn failed() -> Value {
    json!({ "error": "it failed" })
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn too_long() -> Answer {
    json_text((StatusCode::BAD_REQUEST, json!({ "error": "the request is too long" })))
}

fn all_records(request: &Request<Incoming>, guest: &Arc<Guest>, site: &Site) -> Answer {
    if let Some(refusal) = refusal(request, guest, site) {
        return refusal;
    }
    // It may take as long as it goes on.
    let guest = guest.clone();
    let stream = StreamBody::new(records::export(site.store.clone()).inspect(move |_| guest.moves()));
    let mut answer = Response::new(BodyExt::boxed(stream));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

/// What somebody without the token is told.
fn refusal(request: &Request<Incoming>, guest: &Guest, site: &Site) -> Option<Answer> {
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if site.admits(shown) {
        guest.is_known();
        return None;
    }
    let (address, reason) = (Some(guest.peer()), Some("no token of the server, or a wrong one"));
    Entry { address, method: Some("http"), reason, ..Entry::of(Action::Failure) }.write();
    Some(json_text((StatusCode::UNAUTHORIZED, json!({ "error": "the token of the server is needed" }))))
}

impl Site {
    fn admits(&self, shown: &[u8]) -> bool {
        let mut tokens = [Some(&self.token), self.common_token.as_ref()].into_iter().flatten();
        tokens.any(|token| same(shown, format!("Bearer {token}").as_bytes()))
    }
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn json_text((status, value): (StatusCode, Value)) -> Answer {
    text(status, "application/json", format!("{value}\n"))
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
