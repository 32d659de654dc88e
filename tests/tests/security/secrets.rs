//! Secrets are in nothing that comes out: log, errors, `config print`, pages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubbub_tests::scram::{METHOD, Scram};
use hubbub_tests::tool::run;
use hubbub_tests::wire::Value;
use hubbub_tests::{
    Authority, Client, Connect, Hub, Packet, Publish, RawClient, Settings, Trust, Version, Way, WebhookSink,
};

const RIGHT: &str = "right-password-4711";
const WRONG: &str = "wrong-password-4712";
const HTTP: &str = "http-token-number-4713";
const URL: &str = "url-credential-4714";
const BODY: &str = "body-of-a-message-4715";

/// At level trace, with errors everywhere: each secret, also as base64 and as the bytes of a debug print.
///
/// Guards: no log line and no error has the packet, the configuration or the request in it; the kind `Secret`
/// (config/src/word.rs); libraries that print what they read are silent (`SILENT` in cli serve/mod.rs).
#[test]
fn secrets_are_in_nothing_that_comes_out() {
    let authority = Authority::new();
    let pair = authority.certifies(&["127.0.0.1"]);
    let webhook = WebhookSink::start();
    let url = webhook.url().replace("http://", &format!("http://me:{URL}@"));
    let settings = Settings::with_login()
        .with_tls(&[&pair])
        .set("log.level", "trace,tungstenite::protocol=trace,rumqttd::router=trace")
        .set("login.scram", "true")
        .set("login.scram_iterations", "4096")
        .set("listen.http_token", HTTP)
        .set("notify.webhook", &url)
        .set("notify.secret", WebhookSink::SECRET)
        .set("notify.ack_timeout", "100ms")
        .set("limits.packet_before_login_bytes", "1KiB");
    let folder = hubbub_tests::hub::new_folder();
    let data = folder.path().join("data");
    let mut hub = settings.set("store.path", data.to_str().unwrap()).start_in(folder);
    hub.adds_user("alice", RIGHT);
    hub.adds_user("bob", RIGHT);
    hub.changes_password("bob", RIGHT);
    let operators = std::fs::read_to_string(data.join("admin.token")).unwrap();
    let operators = operators.lines().next().unwrap().to_owned();
    let mut out = Vec::new();
    out.push(logs_in_everywhere(&hub, &authority.trusted()));
    scram(&hub);
    out.push(pages(&hub, &operators));
    // A call that fails, and one that does not.
    webhook.answers_with(&[500]);
    let mut alice = hub.client(Connect::new(Version::V5, "a").user("alice").password(RIGHT));
    alice.publish(Publish::new("dm/bob", BODY).qos(1));
    alice.publish(Publish::new("forbidden/topic", BODY).qos(1));
    let (_, again) = (webhook.is_called(), webhook.is_called());
    assert!(!again.text.contains(BODY), "the text is not for the push provider");
    for arguments in [&["config", "print"][..], &["config", "check"], &["user", "list"], &["store", "stats"]]
    {
        let ended = run(&mut hub.command(arguments));
        out.extend([ended.stdout, ended.stderr]);
    }
    // Mistakes in the configuration beside secrets.
    let mut mistaken = hub.command(&["config", "check"]);
    let ended =
        run(mistaken.env("HUBBUB_LISTEN_HTTP_TOKEN", "4713-short").env("HUBBUB_LISTEN_HTTP", "nonsense"));
    assert_eq!(ended.status.code(), Some(78));
    out.extend([ended.stdout, ended.stderr]);
    hub.stop();
    out.push(hub.log());
    let key = std::fs::read_to_string(&pair.key).unwrap();
    let key = key.lines().nth(1).unwrap();
    let secrets =
        [RIGHT, WRONG, HTTP, URL, BODY, WebhookSink::SECRET, &operators, key, "4713-short", "$argon2"];
    for secret in secrets {
        let bytes = format!("{:?}", secret.as_bytes());
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let forms = [secret.to_owned(), STANDARD.encode(secret), bytes[1..bytes.len() - 1].to_owned(), hex];
        for (form, text) in forms.iter().flat_map(|form| out.iter().map(move |text| (form, text))) {
            let line = text.lines().find(|line| line.contains(form.as_str()));
            assert_eq!(line, None, "{secret} came out");
        }
    }
    assert!(out.last().unwrap().contains("TRACE") || out.last().unwrap().contains("DEBUG"), "it said a lot");
}

/// With the right password and a wrong one, whole and broken, over every way; what was answered.
fn logs_in_everywhere(hub: &Hub, trust: &Trust) -> String {
    let mut heard = String::new();
    let ways = [
        Way::tcp(hub.mqtt()),
        Way::tcp(hub.websocket()).websocket(),
        Way::tls(hub.mqtts(), trust),
        Way::tls(hub.wss(), trust).websocket(),
    ];
    for (way, version) in
        ways.iter().flat_map(|way| [Version::V311, Version::V5].map(|version| (way, version)))
    {
        for password in [RIGHT, WRONG] {
            let connect = Connect::new(version, "a").user("alice").password(password);
            heard += &format!("{:?}", Client::over(way, connect.clone()).err());
            // Broken in its middle, with more behind it, and far too long.
            let bytes = connect.bytes();
            let broken = [
                [&bytes[..12], &[0xff, 0xff], &bytes[12..]].concat(),
                [&bytes[..], &bytes].concat(),
                connect.clone().user(&"u".repeat(2000)).bytes(),
                bytes[..bytes.len() - 3].to_vec(),
            ];
            for bytes in broken {
                let mut socket = RawClient::over(way);
                socket.sends(bytes).half_closes();
                heard += &String::from_utf8_lossy(&socket.rest());
            }
        }
    }
    heard
}

/// One who knows the password, and one who does not.
fn scram(hub: &Hub) {
    for (password, accepted) in [(RIGHT, true), (WRONG, false)] {
        let mut scram = Scram::new("alice", password);
        let mut connect = Connect::new(Version::V5, "scram");
        let first = Value::Bytes(scram.first().into());
        connect.props = connect.props.with(0x15, Value::Bytes(METHOD.into())).with(0x16, first);
        let mut socket = hub.socket();
        let mut next = |bytes: &[u8]| {
            socket.sends(bytes);
            let mut packet = socket.takes(2);
            packet.extend(socket.takes(usize::from(packet[1])));
            hubbub_tests::wire::take_packet(&mut packet, Version::V5).expect("a packet")
        };
        let Packet::Auth { props, .. } = next(&connect.bytes()) else { panic!("asked for more") };
        let last = scram.last(&props.text(0x16).unwrap());
        let props = hubbub_tests::Props::default();
        let props = props.with(0x15, Value::Bytes(METHOD.into())).with(0x16, Value::Bytes(last.into()));
        let body = [&[0x18][..], &props.bytes()].concat();
        let auth = [&[0xf0], &hubbub_tests::wire::varint(body.len())[..], &body].concat();
        let Packet::ConnAck { code, .. } = next(&auth) else { panic!("an answer") };
        assert_eq!(code == 0, accepted);
    }
}

/// With every token and none; what the pages say.
fn pages(hub: &Hub, operators: &str) -> String {
    let mut said = String::new();
    for shown in ["", HTTP, operators, WRONG] {
        for path in ["/", "/metrics", "/healthz", "/admin/users", "/nowhere"] {
            let mut socket = RawClient::connect(hub.http());
            socket.sends(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shown}\r\n\r\n"));
            said += &String::from_utf8_lossy(&socket.rest());
        }
        for body in [
            format!(r#"{{"op":"add","name":"carol","password":"{RIGHT}"#),
            format!(r#"{{"op":"add","name":"alice","password":"{RIGHT}"}}"#),
            format!(r#"{{"op":"fly","name":"alice","password":"{RIGHT}"}}"#),
            format!(r#"{{"op":"passwd","name":"nobody","password":"{RIGHT}","{WRONG}":1}}"#)
                .replace(WRONG, "more"),
        ] {
            let mut socket = RawClient::connect(hub.http());
            let head = format!("POST /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shown}\r\n");
            socket.sends(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
            said += &String::from_utf8_lossy(&socket.rest());
        }
    }
    said
}
