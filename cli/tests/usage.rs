//! What a script sees without any server: exit statuses, help, and where words go.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn hubbub(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HUBBUB_")) {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    hubbub(words).output().unwrap()
}

fn status(words: &[&str]) -> i32 {
    run(words).status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A port on which nobody listens.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 17] = [
        &[],
        &["pub"],
        &["sub"],
        &["chat"],
        &["history"],
        &["watch"],
        &["user"],
        &["user", "add"],
        &["user", "list"],
        &["user", "revoke-tokens"],
        &["device"],
        &["device", "list"],
        &["device", "kick"],
        &["device", "revoke"],
        &["config"],
        &["config", "check"],
        &["config", "print"],
    ];
    for command in commands {
        let output = run(&[command, &["--help"]].concat());
        let help = text(&output.stdout);
        assert!(output.status.success(), "{command:?}");
        assert!(help.contains("Examples:") && help.contains("hubbub "), "{command:?} has no examples");
        assert!(help.contains("77  refused"), "{command:?} does not name the exit statuses");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_64() {
    let lines: [&[&str]; 10] = [
        &[],
        &["frobnicate"],
        &["pub", "-t", "a"],
        &["pub", "-t", "a/#", "-m", "x"],
        &["pub", "-t", "a", "-m", "x", "-V", "mqttv31"],
        &["pub", "-t", "a", "-m", "x", "-P", "secret"],
        &["sub", "-t", "a/b#"],
        &["sub", "-t", "a", "-c"],
        &["sub", "-t", "a", "-D", "publish", "content-type", "x"],
        &["chat", "bob"],
    ];
    for line in lines {
        let output = run(line);
        assert_eq!(output.status.code(), Some(64), "{line:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{line:?}: words belong on the standard error"
        );
    }
}

#[test]
fn mqtt_3_1_is_refused_with_the_reason() {
    let said = text(&run(&["sub", "-t", "a", "-V", "mqttv31"]).stderr);
    assert!(said.contains("rumqttc") && said.contains("3.1.1"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_69() {
    let port = free_port();
    for command in [["pub", "-m", "x"], ["sub", "-C", "1"]] {
        let output = run(&[&command[..], &["-t", "a", "-h", "127.0.0.1", "-p", &port]].concat());
        assert_eq!(output.status.code(), Some(69), "{command:?}");
        let said = text(&output.stderr);
        assert!(said.contains(&port) && said.contains("connection refused"), "{said}");
    }
}

#[test]
fn address_and_name_come_from_the_environment() {
    let port = free_port();
    let mut command = hubbub(&["pub", "-t", "a", "-m", "x"]);
    let said =
        text(&command.env("HUBBUB_HOST", "127.0.0.1").env("HUBBUB_PORT", &port).output().unwrap().stderr);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
}

#[test]
fn a_password_in_the_environment_is_not_in_the_help() {
    let output = hubbub(&["pub", "--help"]).env("HUBBUB_PASSWORD", "tr0ub4dor").output().unwrap();
    assert!(!text(&output.stdout).contains("tr0ub4dor"));
}

#[test]
fn a_configuration_with_mistakes_is_78_and_all_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[store]\nengin = \"sled\"\n\n[listen]\nmqtt = [\"nowhere\"]\n").unwrap();
    let output = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert!(said.contains("bad.toml:2") && said.contains("bad.toml:5"), "{said}");
}

#[test]
fn the_default_configuration_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hubbub.toml");
    std::fs::write(&file, run(&["config", "print", "--default"]).stdout).unwrap();
    assert_eq!(status(&["config", "check", file.to_str().unwrap()]), 0);
}

#[test]
fn users_are_kept_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let user = |words: &[&str], input: &str| {
        let mut command = hubbub(&[&["user"], words].concat());
        command.current_dir(folder.path()).env("HUBBUB_STORE_PATH", folder.path().join("data"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(user(&["add", "bob", "--password-stdin"], "secret\n").status.success());
    assert!(user(&["add", "爱丽丝", "-P", "secret"], "").status.success());
    assert_eq!(text(&user(&["list"], "").stdout), "bob\n爱丽丝\n");

    let again = user(&["add", "bob", "-P", "other"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists already"));

    assert!(user(&["remove", "bob"], "").status.success());
    assert_eq!(text(&user(&["list"], "").stdout), "爱丽丝\n");
    assert_eq!(user(&["add", "carol", "--password-stdin"], "\n").status.code(), Some(1), "no empty password");
    assert_eq!(user(&["add", "carol"], "").status.code(), Some(64), "nobody to ask");
}
