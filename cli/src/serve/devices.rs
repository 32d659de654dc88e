//! The administrative side of devices: who is connected, and who is to go.

use std::sync::Arc;

use hubbub_bridge::devices::{self, DeviceState};
use hubbub_bridge::store::StoreError;
use hubbub_broker::audit::{Action, Entry};
use hubbub_broker::clock::Clock;
use hubbub_broker::edge::{Dismissal, Dismissed, Sessions, Whose};
use hubbub_broker::goodbye::Goodbye;
use hubbub_broker::lane::Device;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::Site;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: Operation,
    /// Without one all users are listed.
    user: Option<String>,
    client: Option<String>,
    /// Whether a kick ends the session as well.
    #[serde(default)]
    forget: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    List,
    Kick,
    Revoke,
    Allow,
}

/// Answers a request about devices.
pub async fn answer(site: &Arc<Site>, body: &[u8]) -> (StatusCode, Value) {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() })),
    };
    let Request { op, user, client, forget } = request;
    let audited = (user.clone(), client.clone());
    let device = user.as_deref().zip(client.as_deref());
    let device = device.map(|(user, client)| Device { user: user.into(), client: client.into() });
    let done = match (op, device) {
        (Operation::List, _) => list(site, user).await.map(|devices| json!({ "devices": devices })),
        (Operation::Kick, Some(device)) => Ok(told(kick(site, device, forget).await)),
        (Operation::Revoke, Some(device)) => match site.house.bar(&device, Clock::start().now()) {
            Ok(()) => Ok(told(kick(site, device, false).await)),
            Err(error) => Err(error),
        },
        (Operation::Allow, Some(device)) => site.house.allow(&device).map(|was| json!({ "barred": was })),
        (_, None) => return (StatusCode::BAD_REQUEST, json!({ "error": "which user and client?" })),
    };
    match done {
        Ok(value) if matches!(op, Operation::Revoke | Operation::Allow) => {
            let reason =
                Some(if matches!(op, Operation::Allow) { "device allowed" } else { "device revoked" });
            let (user, client) = (audited.0.as_deref(), audited.1.as_deref());
            Entry { user, client, reason, ..Entry::of(Action::Rights) }.write();
            (StatusCode::OK, value)
        }
        Ok(value) => (StatusCode::OK, value),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
    }
}

async fn list(site: &Arc<Site>, user: Option<String>) -> Result<Vec<DeviceState>, StoreError> {
    let seen = site.edges.sessions(user.as_deref()).await;
    let store = site.store.clone();
    // What waits is read from disk: not on a thread that serves others.
    let described =
        tokio::task::spawn_blocking(move || devices::describe(&*store, seen, user.as_deref())).await;
    described.unwrap_or_else(|_| Ok(Vec::new()))
}

async fn kick(site: &Arc<Site>, device: Device, forget: bool) -> Dismissed {
    let (user, client) = (&*device.user, &*device.client);
    tracing::info!(user, client, forget, "device to be ended");
    let sessions = if forget { Sessions::End } else { Sessions::Stay };
    let whose = Whose::Device(device);
    site.edges.dismiss(Dismissal { whose, goodbye: Goodbye::Administrative, sessions }).await
}

fn told(dismissed: Dismissed) -> Value {
    json!({ "connections": dismissed.connections, "sessions": dismissed.sessions })
}
