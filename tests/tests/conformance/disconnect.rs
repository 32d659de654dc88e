//! DISCONNECT, PINGREQ, and packets that a client may not send (MQTT 5 §3.12, §3.14, §4.13).

use std::sync::Arc;

use crate::talk::{SINCE_311, Talk, all, five, versions};
use hubbub_tests::{Settings, Version};

#[test]
fn a_ping_is_answered() {
    all("a connects
         a > c0 00 ; c0 00 ; c0 00
         a < d0 00
         a < d0 00
         a < d0 00
         a quiet");
}

#[test]
fn after_a_goodbye_the_server_closes_and_reads_nothing_more() {
    all("b connects
         b subscribes <%/t> 00
         a connects
         a > e0 00 ; 30 ~ <%/t> {} 'too late' ; c0 00
         a closed
         c connects
         c > 30 ~ <%/t> {} 'in time'
         b < 30 ~ <%/t> {} 'in time'");
}

#[test]
fn a_goodbye_has_its_long_forms() {
    for packet in ["e0 01 00", "e0 02 00 00", "e0 ~ 00 {1f <bye> 26 <k> <v>}"] {
        five(&format!("a connects \n a > {packet} \n a closed"));
    }
}

#[test]
fn a_goodbye_that_cannot_be_is_told_so() {
    let table = [
        ("reserved flags", "e1 00", "81"),
        ("a body in 3.1.1, an unknown reason in 5", "e0 01 01", "82"),
        ("a reason of the server only", "e0 01 8b", "82"),
        ("a property of another packet", "e0 ~ 00 {23 0001} (00)", "81"),
    ];
    for (what, packet, code) in table {
        println!("{what}");
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends {code}"));
    }
}

#[test]
fn packets_of_the_server_are_refused_from_a_client() {
    for packet in ["20 02 0000", "90 03 0001 00", "b0 02 0001", "d0 00"] {
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends 82"));
    }
    versions(SINCE_311, "a connects \n a > 00 00 \n a ends 81");
    versions(&[Version::V311], "a connects \n a > f0 00 \n a closed");
}

#[test]
fn reserved_flags_and_broken_lengths_end_the_connection() {
    for packet in
        ["c1 00", "60 02 0001", "66 02 0001", "44 02 0001", "51 02 0001", "7f 02 0001", "c0 80 80 80 80 01"]
    {
        versions(SINCE_311, &format!("a connects \n a > {packet} \n a ends 81"));
    }
    five("a connects \n a > c0 80 00 \n a ends 81"); // a length longer than needed
    five("a connects \n a > c0 01 00 \n a ends 81");
    five("a connects \n a > 40 04 0001 00 01 \n a ends 81");
}

#[test]
fn reason_codes_of_acknowledgements_have_to_be_theirs() {
    for packet in ["40 03 0001 92", "50 03 0001 01", "62 03 0001 80", "70 03 0001 10"] {
        five(&format!("a connects \n a > {packet} \n a ends 82"));
    }
}

#[test]
fn a_server_that_stops_says_so_and_never_sends_a_session_expiry() {
    let mut hub = Settings::dev().set("store.engine", "memory").start();
    let connect = |version, id: &str| hubbub_tests::Connect::new(version, id).bytes();
    let mut five = hub.socket();
    five.sends(connect(Version::V5, "five"));
    let length = usize::from(five.takes(2)[1]);
    five.takes(length);
    let mut old = hub.socket();
    old.sends(connect(Version::V311, "old")).hears_hex("20 02 00 00");
    hub.stop();
    let goodbye = five.rest();
    assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x8b), "{goodbye:02x?}");
    assert!(!goodbye[3..].contains(&0x11), "no session expiry: {goodbye:02x?}");
    old.is_closed();
}

#[test]
fn a_server_that_stops_names_another_one_to_use() {
    let settings = Settings::dev().set("store.engine", "memory").set("server.redirect", "b.example:1884");
    let hub = Arc::new(settings.start());
    let mut talk = Talk::with(hub.clone(), Version::V5);
    talk.goes(
        "new > CONNECT 02 0000 {} <new>
         new < 20 ~ 00 00 {*}
         bare > CONNECT 02 0000 {17 00} <bare>
         bare < 20 ~ 00 00 {*}
         small > CONNECT 02 0000 {27 00000018} <small>
         small < 20 ~ 00 00 {*}
         old@311 > CONNECT 02 0000 <old>
         old@311 < 20 02 00 00",
    );
    hub.is_told_to_stop();
    talk.goes(
        "new < e0 ~ 9c {1f <server shutting down, use the other one> 1c <b.example:1884>}
         new closed
         bare < e0 ~ 9c {1c <b.example:1884>}
         bare closed
         small < e0 ~ 9c {1c <b.example:1884>}
         small closed
         old@311 closed",
    );
}

#[test]
fn a_keep_alive_of_zero_is_no_keep_alive_and_a_ping_in_time_keeps_the_connection() {
    let hub = crate::talk::hub();
    let mut talk = Talk::new(Version::V311);
    talk.goes(
        "none > CONNECT 02 0000 <none%>
         none < 20 02 00 00
         silent > CONNECT 02 0001 <silent%>
         silent < 20 02 00 00",
    );
    let pinging = hubbub_tests::Connect::new(Version::V311, format!("pinging{}", talk.mark()));
    let mut pinging = hub.client(pinging.keep_alive(1));
    pinging.stays_for(std::time::Duration::from_millis(1700));
    talk.goes("silent closed \n none quiet");
    pinging.pings();
}
