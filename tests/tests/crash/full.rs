//! A disk that takes nothing more (T28): nothing further is acknowledged, everybody hears why, the process ends with a
//! sentence on what to do, and with room again everything acknowledged is there.

use hubbub_tests::{Publish, Settings, Version};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_full_disk_loses_nothing_acknowledged_with_fjall() {
    // It makes its journals 64 MiB long before they are full.
    fills_up("fjall", 64 * MIB, 200_000);
}

#[test]
fn a_full_disk_loses_nothing_acknowledged_with_sled() {
    fills_up("sled", 4 * MIB, 50_000);
}

fn fills_up(engine: &str, largest_file: u64, body: usize) {
    let settings = Settings::dev().set("store.engine", engine).largest_file(largest_file);
    let mut hub = settings.start();
    let phone = hub.person("bob").keeping_the_session().arrives().leaves();
    let mut new = hub.person("watcher").on("new").connects();
    let mut old = hub.person("watcher").on("old").speaking(Version::V311).connects();
    let mut alice = hub.person("alice").connects();
    let mut acknowledged = 0;
    let last = loop {
        match alice.tries_to_publish(Publish::new("dm/bob", text(acknowledged, body))) {
            Ok(receipt) => assert_eq!(receipt.code, 0, "{receipt:?}"),
            Err(goodbye) => break goodbye,
        }
        acknowledged += 1;
        assert!(acknowledged * (body as u64) < 4 * largest_file, "the disk does not fill up");
    };
    assert_eq!(last, Some(0x83), "what the publisher hears");
    assert_eq!(new.is_closed().map(|(code, _)| code), Some(0x83), "what others hear");
    assert_eq!(old.is_closed(), None);
    assert_eq!(hub.ends().code(), Some(1));
    let log = hub.log();
    let sentence = log.lines().last().unwrap_or_default();
    assert!(sentence.contains("the store failed") && sentence.contains("has room"), "{sentence}");
    assert!(sentence.contains("/data"), "names the folder: {sentence}");
    assert!(!log.contains("panicked"), "{log}");

    hub.gets_room();
    hub.restart();
    let mut bob = phone.connects();
    for number in 0..acknowledged {
        let envelope = bob.takes_envelope();
        assert_eq!(envelope["seq"], number + 1);
        assert_eq!(envelope["body"], text(number, body), "message {number}");
    }
    hub.is_healthy();
}

fn text(number: u64, length: usize) -> String {
    format!("{number} {}", "x".repeat(length))
}
