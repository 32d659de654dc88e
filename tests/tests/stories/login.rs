//! Without `--dev` users log in with passwords.

use hubbub_tests::client::Refused;
use hubbub_tests::tool::succeeds;
use hubbub_tests::{Client, Connect, Hub, Settings, Version, message};

#[test]
fn nobody_gets_in_without_an_account() {
    let hub = Settings::with_login().start();
    let attempts = |version| {
        let connect = || Connect::new(version, "device");
        [connect(), connect().user("alice"), connect().user("alice").password("guess")]
    };
    for connect in attempts(Version::V311) {
        let refused = Client::connect(hub.mqtt(), connect).err().map(code);
        assert!(matches!(refused, Some(4 | 5)), "CONNACK of 3.1.1: {refused:?}");
    }
    for connect in attempts(Version::V5) {
        let refused = Client::connect(hub.mqtt(), connect).err().map(code);
        assert!(matches!(refused, Some(0x86 | 0x87)), "CONNACK of 5: {refused:02x?}");
    }
}

#[test]
fn an_account_made_on_the_command_line_lets_its_user_in() {
    let mut hub = Settings::with_login().start();
    hub.stop();
    hub.adds_user("alice", "correct horse");
    hub.adds_user("bob", "battery staple");
    hub.restart();
    let mut alice = hub.person("alice").with_password("correct horse").arrives();
    let mut bob = hub.person("bob").with_password("battery staple").speaking(Version::V31).arrives();
    alice.says("bob", "hi");
    bob.sees(message("hi").from("alice"));
    for wrong in ["", "battery staple", "correct horse "] {
        let connect = Connect::new(Version::V5, "thief").user("alice").password(wrong);
        let refused = Client::connect(hub.mqtt(), connect).err().map(code);
        assert!(matches!(refused, Some(0x86 | 0x87)), "with {wrong:?}: {refused:02x?}");
    }
}

#[test]
fn an_account_may_be_made_and_removed_while_the_hub_runs() {
    let hub = Settings::with_login().start();
    hub.adds_user("alice", "correct horse");
    hub.person("alice").with_password("correct horse").arrives().leaves();
    assert_eq!(succeeds(&mut hub.command(&["user", "list"])).trim(), "alice");
    succeeds(&mut hub.command(&["user", "remove", "alice"]));
    let connect = Connect::new(Version::V5, "alice-device").user("alice").password("correct horse");
    assert!(Client::connect(hub.mqtt(), connect).is_err(), "alice is removed");
}

#[test]
fn names_that_would_be_wildcards_or_levels_are_refused() {
    let hub = Hub::start();
    let long = "x".repeat(65);
    for name in ["+", "#", "a/b", "a+b", "$SYS", "a~b", "", "a\tb", long.as_str()] {
        let connect = Connect::new(Version::V5, "device").user(name);
        let refused = Client::connect(hub.mqtt(), connect).err();
        assert!(refused.is_some(), "user {name:?} is let in");
    }
    hub.is_healthy();
}

fn code(refused: Refused) -> u8 {
    match refused {
        Refused::Code(code, _) => code,
        Refused::Closed => panic!("closed without a CONNACK"),
    }
}
