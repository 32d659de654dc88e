//! Clients that we did not write, unmodified, against the real program.
//!
//! The scripts they run are in `tests/foreign/`. What is missing is set up on demand: a Python environment with Paho, and
//! the packages of MQTT.js, both inside that folder. The mosquitto clients come from the system; without them the tests fail
//! and say how to install them.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

mod mosquitto;
mod mqttjs;
mod paho;

use std::fs::File;
use std::path::{Path, PathBuf};

use hubbub_tests::{Authority, Hub, Settings};

/// A hub that also speaks TLS, and whom its clients have to believe.
fn secure_hub() -> (Hub, Authority) {
    let authority = Authority::new();
    let hub = Settings::dev().with_tls(&[&authority.certifies(&["127.0.0.1"])]).start();
    (hub, authority)
}

/// Where a hub speaks MQTT, over WebSocket, over TLS, and over WebSocket over TLS.
fn ports(hub: &Hub) -> [String; 4] {
    [hub.mqtt(), hub.websocket(), hub.mqtts(), hub.wss()].map(|address| address.port().to_string())
}

/// A folder with scripts, `tests/foreign/{name}`.
fn scripts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(name)
}

/// Runs a set-up that only one test may run at a time, also when each test is a process of its own. The file says what is to
/// be set up, and carries the lock.
fn one_at_a_time(recipe: &Path, set_up: impl FnOnce()) {
    let lock = File::open(recipe).unwrap_or_else(|error| panic!("{}: {error}", recipe.display()));
    lock.lock().expect("a file can be locked");
    set_up();
}
