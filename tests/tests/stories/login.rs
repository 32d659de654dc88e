//! Without `--dev` users log in with passwords.

use hubbub_tests::client::Refused;
use hubbub_tests::hub::new_folder;
use hubbub_tests::tool::{run, succeeds};
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

/// By `mosquitto_passwd` of Mosquitto 2.0.11, of the password `wonderland`.
const IMPORTED: &str = "\
    # people\n\
    alice:$7$101$SAsILZEMUIMNoe+i$az9ycI21leJR/II8XDp/qDmbm6CIVx2eO7xocH2GYzo0jjq8Oj3Q4omccw8XXZM2Z9wm2JSdg9iQ+PZUKljuyg==\n\
    bob:$6$nBWj9XpMjZL32q/F$T2GOjXuXLRBxQ9Juc0EPdRB/SP1pjQdSFVvqS380Y+AMSw5A5Sz5jS2aZU8T8Sah+ZQZTaihDRhcZqX+dRnqCw==\n";

#[test]
fn accounts_of_mosquitto_are_imported_with_the_hub_running_or_stopped_and_keep_their_passwords() {
    for running in [true, false] {
        let folder = new_folder();
        let file = folder.path().join("passwd");
        std::fs::write(&file, IMPORTED).unwrap();
        let mut hub = Settings::with_login().start();
        if !running {
            hub.stop();
        }
        let imported = succeeds(&mut hub.command(&["user", "import", file.to_str().unwrap()]));
        assert_eq!(imported.trim(), "accounts imported: 2");
        if !running {
            hub.restart();
        }
        for name in ["alice", "bob"] {
            let wrong = Connect::new(Version::V5, "thief").user(name).password("guess");
            assert_eq!(Client::connect(hub.mqtt(), wrong).err().map(code), Some(0x86), "{name}");
            // With the hash of the other program, then with the one that it was given.
            hub.person(name).with_password("wonderland").arrives().leaves();
            hub.stop();
            hub.restart();
            hub.person(name).with_password("wonderland").arrives().leaves();
        }
    }
}

#[test]
fn a_password_file_with_mistakes_is_refused_as_a_whole() {
    let folder = new_folder();
    let file = folder.path().join("passwd");
    std::fs::write(&file, format!("{IMPORTED}carol\ndave:sesame\n")).unwrap();
    let mut hub = Settings::with_login().start();
    hub.adds_user("bob", "builder");
    for running in [true, false] {
        if !running {
            hub.stop();
        }
        let ended = run(&mut hub.command(&["user", "import", file.to_str().unwrap()]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        for mistake in ["line 3: user \"bob\" exists already", "line 4: expected name:hash", "line 5: "] {
            assert!(ended.stderr.contains(mistake), "{mistake} is not named in\n{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("sesame") && !ended.stderr.contains("$6$"), "{}", ended.stderr);
        assert_eq!(succeeds(&mut hub.command(&["user", "list"])).trim(), "bob");
    }
}

#[test]
fn who_guessed_too_often_is_unlocked_by_an_operator_or_by_a_new_password() {
    let hub = Settings::with_login().set("login.cooldown_after", "3").set("login.lock_after", "3").start();
    hub.adds_user("alice", "wonderland");
    let comes = |password: &str| {
        let connect = Connect::new(Version::V5, "phone").user("alice").password(password);
        Client::connect(hub.mqtt(), connect).err().map(code)
    };
    let is_locked = || {
        ["one", "two", "three"].iter().for_each(|guess| assert_eq!(comes(guess), Some(0x86)));
        assert_eq!(comes("wonderland"), Some(0x87), "the right one is not looked at");
    };
    is_locked();
    assert_eq!(succeeds(&mut hub.command(&["user", "unlock", "alice"])).trim(), "unlocked alice");
    is_locked();
    hub.changes_password("alice", "looking glass");
    assert_eq!(comes("looking glass"), None);
    let none = succeeds(&mut hub.command(&["user", "unlock", "alice"]));
    assert_eq!(none.trim(), "there were no failed logins of alice");
}

fn code(refused: Refused) -> u8 {
    match refused {
        Refused::Code(code, _) => code,
        Refused::Closed => panic!("closed without a CONNACK"),
    }
}
