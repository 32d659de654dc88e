//! HTTP on loopback: health, metrics, accounts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hubbub_bridge::policy::House;
use hubbub_bridge::store::Store;
use hubbub_broker::counters::Counters;
use hubbub_broker::edges::Edges;
use hubbub_broker::proxy::Proxies;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use super::{admin, devices, health, records};

/// Short, or a stream.
type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Bytes of a request from an administrator: some 30,000 accounts to be imported.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// How long a client may take for the head of its request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;

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
}

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
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = site.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, site.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is nobody's fault here.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, site: Arc<Site>) -> Result<Answer, Infallible> {
    let route = (request.method().clone(), request.uri().path().to_owned());
    Ok(match (&route.0, route.1.as_str()) {
        (&Method::GET, "/healthz") => healthz(&site).await,
        (&Method::GET, "/metrics") => {
            text(StatusCode::OK, "text/plain; version=0.0.4", site.counters.render())
        }
        (_, "/admin/users") => administer(request, site).await,
        (&Method::POST, "/admin/devices") => administer_devices(request, site).await,
        (&Method::GET, "/admin/records") => all_records(&request, &site),
        (&Method::GET, "/") => text(StatusCode::OK, "text/plain", "hubbub: /healthz /metrics\n".to_owned()),
        _ => {
            json_text((StatusCode::NOT_FOUND, json!({ "error": "there is: /healthz /metrics /admin/users" })))
        }
    })
}

async fn healthz(site: &Site) -> Answer {
    let Some(address) = site.mqtt else {
        return text(StatusCode::OK, "text/plain", "ok, without MQTT over TCP\n".to_owned());
    };
    let (user, password) = site.house.logins().canary();
    match health::round_trip(address, &site.proxies, &user, &password).await {
        Ok(took) => text(StatusCode::OK, "text/plain", format!("ok, round trip {} µs\n", took.as_micros())),
        Err(why) => {
            tracing::error!(why, "health check failed");
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("not ok: {why}\n"))
        }
    }
}

async fn administer(request: Request<Incoming>, site: Arc<Site>) -> Answer {
    if let Some(refusal) = refusal(&request, &site) {
        return refusal;
    }
    match *request.method() {
        Method::GET => json_text(admin::list(&*site.store)),
        Method::POST => {
            let Some(body) = body_of(request).await else { return too_long() };
            let edges = site.edges.clone();
            let work = tokio::task::spawn_blocking(move || admin::change(&site.house, &body));
            let failed = (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "it failed" }), None);
            let (status, answer, dismissal) = work.await.unwrap_or(failed);
            if let Some(dismissal) = dismissal {
                edges.dismiss(dismissal).await;
            }
            json_text((status, answer))
        }
        _ => json_text((StatusCode::METHOD_NOT_ALLOWED, json!({ "error": "GET or POST" }))),
    }
}

async fn administer_devices(request: Request<Incoming>, site: Arc<Site>) -> Answer {
    if let Some(refusal) = refusal(&request, &site) {
        return refusal;
    }
    match body_of(request).await {
        Some(body) => json_text(devices::answer(&site, &body).await),
        None => too_long(),
    }
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn too_long() -> Answer {
    json_text((StatusCode::BAD_REQUEST, json!({ "error": "the request is too long" })))
}

fn all_records(request: &Request<Incoming>, site: &Site) -> Answer {
    if let Some(refusal) = refusal(request, site) {
        return refusal;
    }
    let stream = StreamBody::new(records::export(site.store.clone()));
    let mut answer = Response::new(BodyExt::boxed(stream));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

/// What somebody without the token is told.
fn refusal(request: &Request<Incoming>, site: &Site) -> Option<Answer> {
    let shown =
        request.headers().get(AUTHORIZATION).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let refused =
        || json_text((StatusCode::UNAUTHORIZED, json!({ "error": "the token of the server is needed" })));
    (!same(&shown, format!("Bearer {}", site.token).as_bytes())).then(refused)
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
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
