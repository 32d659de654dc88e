//! Who sees which page of the HTTP side, and what is written about it.

use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::{eventually, run};
use hubbub_tests::{Authority, Connect, Hub, RawClient, Settings, Version};

const TOKEN: &str = "a token of the operators";

fn asks(hub: &Hub, method: &str, path: &str, shown: Option<&str>) -> (u16, String) {
    let mut socket = RawClient::connect(hub.http());
    let shown = shown.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    socket.sends(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{shown}Content-Length: 0\r\n\r\n"));
    let answer = String::from_utf8_lossy(&socket.rest()).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{method} {path}: {answer}")), answer)
}

/// Guards: `open_pages` and `short_token` (config/src/rules.rs).
#[test]
fn the_pages_are_open_to_others_with_a_token_only() {
    let check = |settings: Settings| {
        let folder = new_folder();
        run(&mut settings.command(folder.path(), &["config", "check"])).status.code()
    };
    let open = Settings::with_login().set("listen.http", "0.0.0.0:0");
    assert_eq!(check(open.clone()), Some(78));
    assert_eq!(check(open.clone().set("listen.http_token", "")), Some(78), "empty is none");
    assert_eq!(check(open.clone().set("listen.http_token", "short")), Some(78));
    assert_eq!(check(open.set("listen.http_token", TOKEN)), Some(0));
}

/// Guard: `answer` asks for the token before it looks at the path (cli serve/http.rs).
#[test]
fn with_a_token_every_page_but_the_health_wants_it() {
    let hub = Settings::with_login().set("listen.http", "0.0.0.0:0").set("listen.http_token", TOKEN).start();
    hub.adds_user("alice", "correct horse");
    for path in ["/", "/metrics", "/admin/users", "/admin/records", "/no/such/page", "/healthz/", "//healthz"]
    {
        for shown in [None, Some(""), Some("x"), Some(&TOKEN[1..]), Some(&format!("{TOKEN}x"))] {
            let (status, answer) = asks(&hub, "GET", path, shown);
            assert_eq!(status, 401, "{path} with {shown:?}");
            assert!(!answer.contains("alice") && !answer.contains("hubbub_"), "{path}: {answer}");
        }
    }
    assert_eq!(asks(&hub, "GET", "/healthz", None).0, 200);
    for path in ["/", "/metrics", "/admin/users"] {
        assert_eq!(asks(&hub, "GET", path, Some(TOKEN)).0, 200, "{path}");
    }
    assert!(asks(&hub, "GET", "/admin/users", Some(TOKEN)).1.contains("alice"));
    assert_eq!(asks(&hub, "GET", "/no/such/page", Some(TOKEN)).0, 404);
    let log = hub.log();
    let failures = log.lines().filter(|line| line.contains("event=\"failure\"") && line.contains("\"http\""));
    assert!(failures.count() >= 35, "each of them is in the audit log");
    assert!(log.contains("the token and passwords of accounts travel unencrypted here"), "{log}");
    assert!(!log.contains(TOKEN));
}

#[test]
fn a_page_says_how_it_can_be_asked_for() {
    let hub = Hub::start();
    for (path, allowed) in [("/metrics", "GET, HEAD"), ("/healthz", "GET, HEAD"), ("/", "GET, HEAD")] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let (status, answer) = asks(&hub, method, path, None);
            assert_eq!(status, 405, "{method} {path}");
            assert!(
                answer.to_lowercase().contains(&format!("allow: {}", allowed.to_lowercase())),
                "{answer}"
            );
        }
        let (status, answer) = asks(&hub, "HEAD", path, None);
        assert_eq!(status, 200);
        assert!(answer.ends_with("\r\n\r\n"), "a head and no body: {answer}");
    }
    for method in ["GET", "POST"] {
        assert_eq!(asks(&hub, method, "/no/such/page", None).0, 404);
    }
}

/// Guards: `Entry::write` and those who call it (broker/src/audit.rs), the directive for it in `log` (cli serve/mod.rs); text
/// that peers chose is quoted.
#[test]
fn the_audit_log_is_written_whatever_the_level_and_nobody_can_write_into_it() {
    let authority = Authority::new();
    let settings = Settings::with_login().with_tls(&[&authority.certifies(&["127.0.0.1"])]);
    let hub = settings.set("log.level", "error,audit=off").set("limits.connections_per_user", "1").start();
    hub.adds_user("alice", "correct horse");
    let connect = |id: &str| Connect::new(Version::V5, id).user("alice");
    let mut alice = hub.client(connect("phone").password("correct horse"));
    let forged = "x\nINFO client connected event=\"login\" user=\"root\"";
    let at = hub.mqtt();
    for (id, password) in [("thief", "wrong"), (forged, "wrong"), ("second", "correct horse")] {
        assert!(hubbub_tests::Client::connect(at, connect(id).password(password)).is_err());
    }
    hub.is_told_to_reload();
    alice.pings();
    let line = |event: &str, parts: &[&str]| {
        let is_it = |line: &str| line.contains(event) && parts.iter().all(|part| line.contains(part));
        eventually(&format!("{event} {parts:?} in the log"), || hub.log().lines().any(is_it));
    };
    line("event=\"account\"", &["user=\"alice\"", "reason=\"add\""]);
    line(
        "event=\"login\"",
        &["user=\"alice\"", "client=\"phone\"", "address=127.0.0.1:", "method=\"password\""],
    );
    line(
        "event=\"failure\"",
        &["client=\"thief\"", "address=127.0.0.1:", "reason=\"bad user name or password\""],
    );
    line("event=\"failure\"", &["client=\"second\"", "reason=\"too many connections of this user\""]);
    line("event=\"certificates\"", &[]);
    assert!(!hub.log().lines().any(|line| line.starts_with("INFO")), "{}", hub.log());
    assert!(!hub.log().contains("user=\"root\""), "{}", hub.log());
}

#[test]
fn the_audit_log_for_machines_has_a_target_and_fields() {
    let hub = Settings::dev().set("log.format", "json").set("log.level", "warn").start();
    hub.client(Connect::new(Version::V5, "phone").user("alice")).leaves();
    let log = hub.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let login = lines.into_iter().find(|line| line["target"] == "audit").expect("a line of the audit log");
    assert_eq!(login["level"], "INFO");
    let fields = &login["fields"];
    assert_eq!((&fields["event"], &fields["user"]), (&"login".into(), &"alice".into()), "{login}");
    assert_eq!((&fields["client"], &fields["method"]), (&"phone".into(), &"name".into()), "{login}");
    assert!(fields["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{login}");
    assert_eq!(fields.get("reason"), None, "nothing to say");
}
