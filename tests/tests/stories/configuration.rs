//! Mistakes in the configuration are named, all at once, before anything starts.

use hubbub_tests::Settings;
use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::run;

const EX_CONFIG: Option<i32> = Some(78);

#[test]
fn every_mistake_in_the_environment_is_named_at_once() {
    let ended = Settings::dev()
        .set("notify.ack_timeout", "soon")
        .set("session.inflight", "0")
        .set("session.no_such_key", "1")
        .is_refused();
    assert_eq!(ended.status.code(), EX_CONFIG, "{ended:?}");
    for name in ["HUBBUB_NOTIFY_ACK_TIMEOUT", "HUBBUB_SESSION_INFLIGHT", "HUBBUB_SESSION_NO_SUCH_KEY"] {
        assert!(ended.stderr.contains(name), "{name} is not named in\n{}", ended.stderr);
    }
}

#[test]
fn every_mistake_in_the_file_is_named_with_its_line() {
    let folder = new_folder();
    let file = "[listen]\nmqtt = \"nowhere\"\n\n[sesion]\ninflight = 3\n[presence]\nclean_grace = 2\n";
    std::fs::write(folder.path().join("hubbub.toml"), file).unwrap();
    let mut command = Settings::dev().command(folder.path(), &["config", "check"]);
    command.env_remove("HUBBUB_LISTEN_MQTT");
    let ended = run(&mut command);
    assert_eq!(ended.status.code(), EX_CONFIG, "{ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for place in ["hubbub.toml:2", "hubbub.toml:4", "hubbub.toml:7"] {
        assert!(said.contains(place), "{place} is not named in\n{said}");
    }
}

#[test]
fn dev_is_refused_when_others_could_reach_it() {
    for key in ["listen.mqtt", "listen.websocket"] {
        let ended = Settings::dev().set(key, "0.0.0.0:0").is_refused();
        assert_eq!(ended.status.code(), EX_CONFIG, "{ended:?}");
        assert!(ended.stderr.contains(key), "{key} is not named in {}", ended.stderr);
    }
}

#[test]
fn an_open_address_without_any_login_is_refused() {
    let settings = Settings::with_login().set("login.users", "false").set("compat.bare_client_id", "true");
    let ended = settings.set("listen.mqtt", "0.0.0.0:0").is_refused();
    assert_eq!(ended.status.code(), EX_CONFIG, "{ended:?}");
}

#[test]
fn metrics_and_the_demo_door_stay_on_loopback() {
    for key in ["listen.http", "compat.listen"] {
        let ended = Settings::dev().set(key, "0.0.0.0:0").is_refused();
        assert_eq!(ended.status.code(), EX_CONFIG, "{key}: {ended:?}");
    }
}
