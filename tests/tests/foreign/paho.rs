//! Paho for Python, over TCP and WebSocket, with and without TLS.

use std::path::PathBuf;
use std::process::Command;

use hubbub_tests::tool::{run, succeeds};

use crate::{one_at_a_time, ports, scripts, secure_hub};

#[test]
fn publish_and_subscribe_at_every_quality_of_service() {
    plays("publish_and_subscribe");
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
    plays("kept_session");
}

#[test]
fn chat_and_presence() {
    plays("chat");
}

#[test]
fn properties_and_requests_of_mqtt_5() {
    plays("mqtt5");
}

/// Runs one scene of `paho/suite.py`, in every version and over every transport.
fn plays(scene: &str) {
    let (hub, authority) = secure_hub();
    let mut python = Command::new(python());
    python.arg(scripts("paho").join("suite.py")).arg(scene).arg(authority.file()).args(ports(&hub));
    succeeds(&mut python);
}

/// A Python that has Paho: the one of `tests/foreign/.venv`, which is made if the system's has none.
fn python() -> PathBuf {
    let requirements = scripts("paho").join("requirements.txt");
    let own = scripts(".venv").join("bin/python");
    let ready = |python: &PathBuf| {
        let wanted = "import paho.mqtt as p, sys; sys.exit(p.__version__ != '2.1.0')";
        Command::new(python).args(["-c", wanted]).output().is_ok_and(|output| output.status.success())
    };
    let system = PathBuf::from("python3");
    if let Some(python) = [own.clone(), system.clone()].into_iter().find(ready) {
        return python;
    }
    one_at_a_time(&requirements, || {
        if !ready(&own) {
            eprintln!("setting up {} with paho-mqtt from the Python package index", own.display());
            let made = run(Command::new(system).args(["-m", "venv"]).arg(scripts(".venv")));
            assert!(
                made.status.success(),
                "python3 -m venv: {made:?}\nInstall it with `apt-get install python3-venv`."
            );
            succeeds(Command::new(&own).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements));
        }
    });
    own
}
