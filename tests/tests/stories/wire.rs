//! Single packets, byte for byte.

use hubbub_tests::{Connect, Hub, Publish, Version};

#[test]
fn a_connack_is_worded_in_the_version_of_the_client() {
    let hub = Hub::start();
    for version in [Version::V31, Version::V311] {
        let mut socket = hub.socket();
        socket.sends(Connect::new(version, "a").user("alice").bytes()).hears_hex("20 02 00 00");
        socket.sends_hex("c0 00").hears_hex("d0 00");
        socket.sends_hex("e0 00").is_closed();
    }
    let mut socket = hub.socket();
    socket.sends(Connect::new(Version::V5, "a").user("alice").bytes()).hears_hex("20");
}

#[test]
fn packets_may_come_in_any_pieces() {
    let hub = Hub::start();
    let connect = Connect::new(Version::V311, "a").user("alice").bytes();
    let mut byte_by_byte = hub.socket();
    for byte in &connect {
        byte_by_byte.sends([*byte]);
    }
    byte_by_byte.hears_hex("20 02 00 00");
    // CONNECT, PINGREQ, a publish at QoS 1 and another PINGREQ in one write.
    let publish = Publish::new("dm/bob", "hi").qos(1).id(7).bytes(Version::V311);
    let all = [connect, vec![0xc0, 0], publish, vec![0xc0, 0]].concat();
    let mut socket = hub.socket();
    socket.sends(all).hears_hex("20 02 00 00 d0 00");
    // The acknowledgement may come before or after the second PINGRESP: it waits for the disk.
    let all = socket.takes(6);
    assert!(all == [0xd0, 0, 0x40, 2, 0, 7] || all == [0x40, 2, 0, 7, 0xd0, 0], "{all:02x?}");
}

#[test]
fn something_other_than_connect_first_is_closed_without_a_word() {
    let hub = Hub::start();
    for first in
        ["c0 00", "30 05 00 01 61 68 69", "82 06 00 01 00 01 61 00", "e0 00", "f0 00", "20 02 00 00", "00 00"]
    {
        hub.socket().sends_hex(first).is_closed();
    }
    hub.is_healthy();
}

#[test]
fn bytes_that_are_no_mqtt_are_closed() {
    let hub = Hub::start();
    for first in
        ["10 ff ff ff ff 7f", "10 80 80 80 80 80 01", "16 03 01 00 05", "47 45 54 20 2f 20 48 54 54 50"]
    {
        hub.socket().sends_hex(first).rest();
    }
    hub.is_healthy();
}

#[test]
fn a_level_that_nobody_speaks_is_answered_so() {
    let hub = Hub::start();
    // MQTT 5 §3.1.2.2: a CONNACK with 0x84; as no level 6 is known, in the form of 3.1.1 (0x01) or of 5.
    let mut socket = hub.socket();
    socket.sends_hex("10 0d 00 04 4d 51 54 54 06 02 00 3c 00 01 61");
    let answer = socket.rest();
    assert!(matches!(answer.get(3), None | Some(0x01 | 0x84)), "{answer:02x?}");
}

#[test]
fn packets_that_no_client_may_send_end_the_connection_with_a_reason() {
    let hub = Hub::start();
    for bytes in ["0f 00", "60 02 00 01", "d0 00", "20 03 00 00 00"] {
        let mut alice = hub.person("alice").connects();
        alice.send(&hubbub_tests::raw::hex(bytes));
        let said = alice.is_closed().map(|(code, _)| code);
        assert!(matches!(said, Some(0x81 | 0x82)), "after {bytes}: {said:02x?}");
    }
}

#[test]
fn an_unknown_user_of_3_1_1_hears_the_code_of_3_1_1() {
    let hub = hubbub_tests::Settings::with_login().start();
    let connect = Connect::new(Version::V311, "a").user("nobody").password("x");
    let answer = hub.socket().sends(connect.bytes()).rest();
    assert!(answer == [0x20, 2, 0, 4] || answer == [0x20, 2, 0, 5], "{answer:02x?}");
}
