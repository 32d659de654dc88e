//! Who comes in, and under which name: T9, T15, T30, T31, T40.

use std::os::unix::fs::PermissionsExt;

use hubbub_tests::client::Refused;
use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::run;
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Client, Connect, Hub, Publish, RawClient, Settings, Version};

const NOT_AUTHORIZED: u8 = 0x87;

/// What sysexits.h calls a configuration error.
const EX_CONFIG: Option<i32> = Some(78);

/// Guards: `Login::without_methods` and `Login::ask` ask `check_id` for user names and look at client ids of the demo door (bridge login/mod.rs);
/// `Rule::filter_for` grants nothing to ids that are more than one level (bridge/acl.rs).
#[test]
fn t09_names_that_are_wildcards_or_levels_are_refused_and_open_no_pattern() {
    let rules = "pattern readwrite users/%u/#\npattern readwrite boxes/%c/#\n";
    let settings = Settings::dev().rules(rules).set("compat.bare_client_id", "true");
    let hub = settings.set("compat.listen", "127.0.0.1:0").start();
    for name in ["+", "#", "/", "a/b", "a/#", "+/+", "a+", "#a", "$SYS", "a~b", "", "a\u{7}"] {
        for version in VERSIONS {
            let user = Connect::new(version, "somebody").user(name);
            assert!(Client::connect(hub.mqtt(), user).is_err(), "user {name:?} of {version:?}");
        }
    }
    for id in ["+", "#", "/", "a/b", "+/+", "a/#"] {
        assert!(Client::connect(hub.compat(), Connect::new(Version::V311, id)).is_err(), "id {id:?}");
        // Where a user name counts, a client id may be anything; it stands in no pattern then.
        let mut mallory = hub.client(Connect::new(Version::V5, id).user("mallory"));
        for filter in ["boxes/alice/x", "boxes/#", "boxes/+/x", "boxes/a/b/x", &format!("boxes/{id}")] {
            let code = mallory.try_subscribe(filter, 0);
            assert!(code == NOT_AUTHORIZED || code == 0x8f, "id {id:?} subscribes to {filter}: {code:02x}");
        }
        let receipt = mallory.publish(Publish::new("boxes/a/b/x", "x").qos(1));
        assert_eq!(receipt.code, NOT_AUTHORIZED, "id {id:?}");
        mallory.subscribe("users/mallory/#", 0);
    }
    let mut alice = hub.client(Connect::new(Version::V5, "phone").user("alice"));
    alice.subscribe("boxes/phone/#", 0);
}

/// Guard: `Edge::admit` (broker edge/lifecycle.rs).
#[test]
fn t15_a_client_id_of_another_user_is_refused_and_its_queue_is_untouched() {
    let mut hub = Hub::start();
    for version in VERSIONS {
        let bob = hub.person("bob").on("phone").speaking(version).keeping_the_session();
        let mut first = bob.clone().connects();
        first.subscribe("room/1", 1);
        let attempts = |hub: &Hub, when: &str| {
            for clean in [true, false] {
                let mut mallory = Connect::new(Version::V5, "phone").user("mallory");
                mallory.clean = clean;
                let refused = Client::connect(hub.mqtt(), mallory).err();
                assert!(
                    matches!(refused, Some(Refused::Code(0x85, _))),
                    "{when}, clean {clean}: {refused:?}"
                );
            }
        };
        attempts(&hub, "while bob is connected");
        first.pings();
        first.leaves();
        hub.person("alice").connects().publish(Publish::new("room/1", "for bob").qos(1));
        attempts(&hub, "while bob is away");
        hub.kill9();
        hub.restart();
        attempts(&hub, "after a restart");
        let mut bob = bob.connects();
        assert_eq!(bob.receives().text(), "for bob", "{version:?}");
        bob.unsubscribe("room/1");
        bob.leaves();
    }
}

/// Guards: `House::acl` and `Acl::allows` deny what no rule grants (bridge/policy.rs, bridge/acl.rs); `Acl::parse` gives no
/// rules for a text with a mistake; `read_acl` refuses a file that cannot be read (bridge/bridge.rs); nobody comes in whose
/// account cannot be read, which the tests of bridge login show.
#[test]
fn t30_a_configuration_that_is_empty_or_broken_opens_nothing() {
    for rules in ["", "# nothing but words\n", "user alice\n", "user bob\ntopic readwrite #\n"] {
        let hub = Settings::dev().rules(rules).set("store.engine", "memory").start();
        let mut alice = hub.person("alice").connects();
        for filter in ["#", "news/today", "+/today", "$share/g/news/today"] {
            assert_eq!(alice.try_subscribe(filter, 0), NOT_AUTHORIZED, "{filter} by the rules {rules:?}");
        }
        assert_eq!(alice.publish(Publish::new("news/today", "x").qos(1)).code, NOT_AUTHORIZED, "{rules:?}");
    }
    let folder = new_folder();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = [
        file("bad-word", b"topic readwrite #\ntopik deny secret\n"),
        file("bad-filter", b"topic readwrite a/#/b\n"),
        file("no-filter", b"topic readwrite #\ntopic deny\n"),
        file("no-text", b"topic readwrite #\n\xff\xfe\n"),
        folder.path().join("is-not-there").to_str().unwrap().to_owned(),
        folder.path().to_str().unwrap().to_owned(),
    ];
    for file in files {
        let ended = Settings::dev().set("acl.file", &file).is_refused();
        assert_eq!(ended.status.code(), EX_CONFIG, "{file}: {ended:?}");
        assert!(ended.stderr.contains(&file), "{file} is not named in {}", ended.stderr);
    }
    let nobody = Settings::with_login().set("login.users", "false");
    assert_eq!(nobody.is_refused().status.code(), EX_CONFIG, "nobody could log in");
    // No rules at all: without --dev that is no right at all.
    let hub = Settings::with_login().start();
    hub.adds_user("alice", "correct horse");
    let mut alice = hub.person("alice").with_password("correct horse").connects();
    assert_eq!(alice.try_subscribe("#", 0), NOT_AUTHORIZED);
    assert_eq!(alice.publish(Publish::new("news/today", "x").qos(1)).code, NOT_AUTHORIZED);
}

/// Guards: the defaults in config/src/settings.rs, and `needs_login` and `local_only` (config/src/rules.rs).
#[test]
fn t31_nothing_listens_beyond_loopback_without_a_decision_about_the_login() {
    let everywhere = ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0", "192.0.2.1:0"];
    let loopback_only = [
        (Settings::dev(), "listen.mqtt"),
        (Settings::dev(), "listen.websocket"),
        (Settings::dev(), "listen.http"),
        (Settings::with_login(), "listen.http"),
        (Settings::with_login().set("compat.bare_client_id", "true"), "compat.listen"),
        (without_any_login(), "listen.mqtt"),
        (without_any_login(), "listen.websocket"),
    ];
    for ((settings, key), address) in loopback_only.iter().flat_map(|row| everywhere.map(|at| (row, at))) {
        let folder = new_folder();
        let mut check = settings.clone().set(key, address).command(folder.path(), &["config", "check"]);
        if settings.is_dev() {
            check.env("HUBBUB_LOGIN_DEV", "true");
        }
        let ended = run(&mut check);
        assert_eq!(ended.status.code(), EX_CONFIG, "{key} at {address}: {ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(key), "{key}: {ended:?}");
    }
    let folder = new_folder();
    let mut print = Settings::with_login().command(folder.path(), &["config", "print"]);
    for key in ["HUBBUB_LISTEN_MQTT", "HUBBUB_LISTEN_WEBSOCKET", "HUBBUB_LISTEN_HTTP"] {
        print.env_remove(key);
    }
    let text = run(&mut print).stdout;
    let values = text.lines().filter_map(|line| line.split_once(" = "));
    let listed = values.filter(|(key, _)| ["mqtt", "websocket", "http", "listen"].contains(key));
    let addresses: Vec<&str> = listed.flat_map(|(_, value)| value.split('"').skip(1).step_by(2)).collect();
    assert_eq!(addresses.len(), 4, "the default addresses: {addresses:?}");
    assert!(addresses.iter().all(|address| address.starts_with("127.0.0.1:")), "{addresses:?}");
}

/// Guards: there is no account before somebody makes one (`Login::ask`, bridge login/mod.rs), the password of the health check
/// is new at each start; `administer` asks for the token (cli serve/http.rs), and its file is its owner's (serve/admin.rs).
#[test]
fn t40_no_password_is_there_by_default_and_no_page_gives_anything_away() {
    let folder = new_folder();
    let data = folder.path().join("data");
    let hub = Settings::with_login().start_in(folder);
    let names = ["admin", "root", "guest", "hubbub", "canary", "~canary", "~anonymous"];
    let passwords = ["", "admin", "public", "guest"];
    for connect in names.map(|name| Connect::new(Version::V5, "d").user(name)) {
        for connect in passwords.map(|password| connect.clone().password(password)).iter().chain([&connect]) {
            let refused = Client::connect(hub.mqtt(), connect.clone()).err();
            assert!(matches!(refused, Some(Refused::Code(0x86 | 0x87, _))), "{connect:?}: {refused:?}");
        }
    }
    assert!(Client::connect(hub.mqtt(), Connect::new(Version::V311, "d")).is_err(), "without a name");
    hub.adds_user("alice", "correct horse");
    for shown in
        ["", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n", "Authorization: Bearer x\r\n"]
    {
        let add = r#"{"op":"add","name":"mallory","password":"x"}"#;
        for (method, body) in [("GET", ""), ("POST", add), ("PUT", add), ("DELETE", "")] {
            let answer = asks(&hub, method, "/admin/users", shown, body);
            assert!(answer.starts_with("HTTP/1.1 401"), "{method} with {shown:?}: {answer}");
            assert!(!answer.contains("alice"), "{answer}");
        }
    }
    let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
    let mode = std::fs::metadata(data.join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the token is for its owner");
    let token = token.lines().next().unwrap();
    assert!(token.len() >= 32, "a token that nobody guesses");
    let answer = asks(&hub, "GET", "/admin/users", &format!("Authorization: Bearer {token}\r\n"), "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("alice"), "{answer}");
    for path in ["/", "/metrics", "/healthz", "/admin", "/config", "/debug", "/../data/admin.token"] {
        let text = asks(&hub, "GET", path, "", "");
        assert!(!text.contains("alice") && !text.contains(token), "{path}: {text}");
    }
    assert!(!hub.log().contains(token) && !hub.log().contains("correct horse"), "secrets in the log");
}

fn without_any_login() -> Settings {
    Settings::with_login().set("login.users", "false").set("compat.bare_client_id", "true")
}

fn asks(hub: &Hub, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut socket = RawClient::connect(hub.http());
    let length = body.len();
    socket.sends(format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    String::from_utf8_lossy(&socket.rest()).into_owned()
}
