//! Settings from file, environment and command line, as the operator meets them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hubbub_config::{Config, Engine, Mistakes};
use tempfile::TempDir;

/// What an operator wrote, and where.
struct Written {
    folder: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<(String, String)>,
}

impl Written {
    fn file(text: &str) -> Written {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hubbub.toml"), text).unwrap();
        Written { folder, variables: Vec::new(), arguments: Vec::new() }
    }

    fn variable(mut self, name: &str, value: &str) -> Written {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn argument(mut self, name: &str, value: &str) -> Written {
        self.arguments.push((name.into(), value.into()));
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hubbub.toml")
    }

    fn load(&self) -> Result<Config, Mistakes> {
        Config::load(Some(&self.path()), self.variables.iter().cloned(), &self.arguments)
    }

    /// The mistakes as printed, without the name of the temporary folder.
    #[track_caller]
    fn check_refused(&self, lines: &[&str]) {
        let folder = format!("{}/", self.folder.path().display());
        let printed = self.load().unwrap_err().to_string().replace(&folder, "");
        assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Written::file("").load(), Ok(Config::default()));
}

#[test]
fn every_kind_of_value_is_read_from_the_file() {
    let config = Written::file(
        r#"
        listen.mqtt = ["127.0.0.1:0", "[::1]:0"]
        listen.http = "off"
        [login]
        dev = true
        [store]
        path = "/var/lib/hubbub"
        engine = "memory"
        cache_bytes = "1GiB"
        [session]
        expiry_max = "36h"
        inflight = 0x10
        queue_bytes = 4096
        [notify]
        webhook = "https://push.example/hook"
        secret = "sesame"
        "#,
    );
    let config = config.load().unwrap();
    assert_eq!(config.listen.mqtt, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(config.listen.http, None);
    assert!(config.login.dev);
    assert_eq!(config.store.path, PathBuf::from("/var/lib/hubbub"));
    assert_eq!(config.store.engine, Engine::Memory);
    assert_eq!(config.store.cache_bytes, 1 << 30);
    assert_eq!(config.session.expiry_max, Duration::from_secs(36 * 3600));
    assert_eq!(config.session.inflight, 16);
    assert_eq!(config.session.queue_bytes, 4096);
    assert_eq!(config.notify.webhook.as_deref(), Some("https://push.example/hook"));
    assert_eq!(config.notify.secret.as_deref(), Some("sesame"));
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn every_setting_is_a_variable_and_an_argument_too() {
    let shown = Config::default().describe();
    let mut section = "";
    for line in shown.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.replace(['"', '[', ']'], "");
        let variable = format!("HUBBUB_{}_{}", section.to_uppercase(), key.to_uppercase());
        let written =
            Written::file("").variable(&variable, &value).argument(&format!("{section}.{key}"), &value);
        assert_eq!(written.load(), Ok(Config::default()), "{variable}={value}");
    }
    assert_eq!(shown.matches(" = ").count(), Config::keys().count());
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let written = Written::file("[session]\ninflight = 1\nack_buffer = 1\nqueue_messages = 1")
        .variable("HUBBUB_SESSION_ACK_BUFFER", "2")
        .variable("HUBBUB_SESSION_QUEUE_MESSAGES", "2")
        .variable("HUBBUB_LISTEN_MQTT", "127.0.0.1:1, [::1]:2")
        .argument("session.queue_messages", "3");
    let config = written.load().unwrap();
    let session = &config.session;
    assert_eq!((session.inflight, session.ack_buffer, session.queue_messages), (1, 2, 3));
    assert_eq!(config.listen.mqtt, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let written = Written::file(
        "mqtt = 1\n\
         [session]\n\
         inflight = 0\n\
         inflght = 5\n\
         expiry_max = 7\n\
         \n\
         # a comment\n\
         [sesion]\n\
         inflight = 5\n\
         [store]\n\
         engine = \"sledge\"\n\
         cache_bytes = 1.5\n\
         file = \"x\"\n\
         [listen]\n\
         mqtt = [\"127.0.0.1:1\", \"localhost:1883\"]\n\
         http = \"0.0.0.0:80\"\n",
    );
    written
        .variable("HUBBUB_NOTIFY_ACK_TIMEOUT", "15")
        .variable("HUBBUB_NOTIFY_ACK_TIMOUT", "15s")
        .argument("login.def", "true")
        .argument("login.dev", "yes")
        .check_refused(&[
            "hubbub.toml:1: mqtt: no such setting; did you mean listen.mqtt?",
            "hubbub.toml:3: session.inflight: got 0; expected a number from 1 to 65535",
            "hubbub.toml:4: session.inflght: no such setting; did you mean session.inflight?",
            "hubbub.toml:5: session.expiry_max: 7 has no unit; expected a time from 1s to 3650d",
            "hubbub.toml:8: no such section: [sesion]; did you mean [session]?",
            r#"hubbub.toml:11: store.engine: got "sledge"; expected "fjall" or "sled" or "memory""#,
            "hubbub.toml:12: store.cache_bytes: got a number with a point; expected a size from 1MiB to 1TiB",
            "hubbub.toml:13: store.file: no such setting; did you mean acl.file?",
            r#"hubbub.toml:15: listen.mqtt: got "localhost:1883"; expected a list, each an address and port such as "127.0.0.1:1883" or "[::1]:1883""#,
            "hubbub.toml:16: listen.http: 0.0.0.0:80 is not on loopback; without listen.http_token metrics and accounts are for this machine",
            r#"environment HUBBUB_NOTIFY_ACK_TIMEOUT: notify.ack_timeout: "15" has no unit (ms, s, min, h, d); expected a time from 100ms to 1d"#,
            "environment HUBBUB_NOTIFY_ACK_TIMOUT: no such setting; did you mean HUBBUB_NOTIFY_ACK_TIMEOUT?",
            "command line: login.def: no such setting; did you mean login.dev?",
            r#"command line: login.dev: got "yes"; expected true or false"#,
        ]);
}

#[test]
fn a_file_that_is_not_toml_names_its_lines_and_the_rest_is_still_checked() {
    Written::file(
        "[notify]\n\
         webhook = \"https://push.example\"\n\
         secret = \"sesame\n\
         [session]\n\
         inflight = 1\n\
         inflight = 2\n\
         ack_buffer = lots\n\
         [session]\n\
         queue_messages = 0\n\
         [store\n",
    )
    .check_refused(&[
        "hubbub.toml:3: invalid basic string, expected `\"`",
        "hubbub.toml:6: duplicate key inflight",
        "hubbub.toml:7: string values must be quoted, expected literal string",
        "hubbub.toml:8: duplicate key session",
        "hubbub.toml:9: session.queue_messages: got 0; expected a number from 1 to 1000000",
        "hubbub.toml:10: unclosed table, expected `]`",
    ]);
}

#[test]
fn a_section_may_be_one_line_but_not_a_value_and_not_a_list() {
    Written::file("listen = 5\n")
        .check_refused(&["hubbub.toml:1: listen: is a section; write [listen] and its keys below"]);
    let one_line = "session = { inflight = 0, inflght = 1 }\n";
    Written::file(one_line).check_refused(&[
        "hubbub.toml:1: session.inflght: no such setting; did you mean session.inflight?",
        "hubbub.toml:1: session.inflight: got 0; expected a number from 1 to 65535",
    ]);
    Written::file("[[acl]]\n")
        .check_refused(&["hubbub.toml:1: acl: is a section; write [acl] and its keys below"]);
}

#[test]
fn a_rule_is_reported_where_its_setting_was_written() {
    Written::file("")
        .argument("login.dev", "true")
        .variable("HUBBUB_LISTEN_MQTT", "0.0.0.0:1883")
        .check_refused(&["environment HUBBUB_LISTEN_MQTT: listen.mqtt: 0.0.0.0:1883 is not on loopback, \
         and login.dev believes every user name; use one or the other"]);
}

#[test]
fn numbers_stop_at_the_size_of_their_type_and_at_their_bounds() {
    for (value, fine) in
        [("65535", true), ("65536", false), ("-1", false), ("99999999999999999999", false), ("1_000", true)]
    {
        let written = Written::file("").argument("session.inflight", value);
        assert_eq!(written.load().is_ok(), fine, "{value}");
    }
    for (value, fine) in [("100ms", true), ("99ms", false), ("1d", true), ("25h", false)] {
        let written = Written::file("").argument("notify.ack_timeout", value);
        assert_eq!(written.load().is_ok(), fine, "{value}");
    }
}

#[test]
fn networks_are_written_whole() {
    for (value, fine) in [
        ("10.0.0.0/8, fd00::/8", true),
        ("127.0.0.1", true),
        ("", true),
        ("10.1.2.3/8", false),
        ("10.0.0.0/33", false),
    ] {
        let written = Written::file("").argument("listen.proxy_from", value);
        assert_eq!(written.load().is_ok(), fine, "{value}");
    }
}

#[test]
fn secrets_stay_out_of_the_mistakes() {
    let written =
        Written::file("[notify]\nwebhook = \"ftp://me:sesame@push.example\"\nsecret = [\"sesame\"]\n");
    let mistakes = written.load().unwrap_err();
    assert_eq!(mistakes.0.len(), 2);
    assert!(!mistakes.to_string().contains("sesame"), "{mistakes}");
}

#[test]
fn variables_of_the_client_and_of_others_are_left_alone() {
    let mut written = Written::file("");
    for name in [
        "HUBBUB_HOST",
        "HUBBUB_PORT",
        "HUBBUB_ADDRESS",
        "HUBBUB_USER",
        "HUBBUB_PASSWORD",
        "HUBBUB_LOG",
        "HUBBUB_CONFIG",
        "PATH",
    ] {
        written = written.variable(name, "anything");
    }
    assert_eq!(written.load(), Ok(Config::default()));
}

#[test]
fn a_named_file_must_be_there() {
    let written = Written::file("");
    fs::remove_file(written.path()).unwrap();
    written.check_refused(&["hubbub.toml: cannot read: No such file or directory (os error 2)"]);
}
