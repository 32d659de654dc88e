//! MQTT.js, over WebSocket as in a browser, and over TCP, with and without TLS.

use std::process::Command;

use hubbub_tests::tool::succeeds;
use hubbub_tests::{Authority, Hub, Settings};

use crate::{one_at_a_time, ports, scripts, secure_hub};

#[test]
fn publish_and_subscribe_at_every_quality_of_service() {
    plays("publishAndSubscribe");
}

#[test]
fn retained_messages() {
    plays("retained");
}

#[test]
fn wills() {
    plays("will");
}

#[test]
fn sessions_that_are_kept() {
    plays("keptSession");
}

#[test]
fn chat_and_presence() {
    plays("chat");
}

#[test]
fn logging_in_by_scram() {
    let authority = Authority::new();
    let settings = Settings::with_login().set("login.scram", "true").set("login.scram_iterations", "4096");
    let hub = settings.with_tls(&[&authority.certifies(&["127.0.0.1"])]).start();
    hub.adds_user("alice", "pass, word=");
    hub.adds_user("bob=b,", "parola è questa");
    plays_in(&hub, &authority, "scram");
}

fn plays(scene: &str) {
    let (hub, authority) = secure_hub();
    plays_in(&hub, &authority, scene);
}

/// Runs one scene of `mqttjs/suite.js`, in every version and over every transport.
fn plays_in(hub: &Hub, authority: &Authority, scene: &str) {
    install();
    let mut node = Command::new("node");
    node.current_dir(scripts("mqttjs")).args(["suite.js", scene]).arg(authority.file()).args(ports(hub));
    succeeds(&mut node);
}

/// Fetches what `package-lock.json` names, if it is not there yet.
fn install() {
    let folder = scripts("mqttjs");
    one_at_a_time(&folder.join("package-lock.json"), || {
        if !folder.join("node_modules/mqtt/package.json").exists() {
            eprintln!("setting up {} with `npm ci`", folder.join("node_modules").display());
            succeeds(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder));
        }
    });
}
