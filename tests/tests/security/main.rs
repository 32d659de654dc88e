//! What has broken other brokers, in 40 classes, each a test that is called after its row: `t01_…` to `t40_…`.
//!
//! Every test runs the real program over real sockets, shows the heart of its row, and names in its comment the guards that it
//! stands for: with any of them taken away it was seen to fail. What the specifications say about the same matters is in
//! `conformance`, in more words.
//!
//! | file | rows |
//! |---|---|
//! | [`bytes`] | T1 memory before the login; T2 what clients may not say; T3 lengths and cuts; T4 leaks on malformed packets; T6 deep topics, thousands of properties; T7 strings |
//! | [`door`] | T9 names in patterns; T15 client ids of others; T30 configuration that fails open; T31 open by accident; T40 default passwords, open pages |
//! | [`login`] | T30 back ends of the login that are down; T39 hashing as a weapon, guessing |
//! | [`websocket`] | T21 inflated and huge frames, foreign pages |
//! | [`handshakes`] | T18 silent peers; T19 slow logins; T32 forwarded addresses |
//! | [`storms`] | T16 storms of take-overs |
//! | [`rights`] | T8 topics of the server; T10 wills; T11 retained messages; T12 after a right is gone; T13 wide filters; T14 share groups |
//! | [`moments`] | T13 while rules and accounts change |
//! | [`flow`] | T5 QoS 2 never completed; T20 readers that do not read; T22 topic aliases; T23 windows and sizes; T24 identifiers; T25 exactly once |
//! | [`sessions`] | T26 how long they last; T33 wills |
//! | [`messages`] | T34 retained; T35 expiry; T36 overlapping subscriptions; T37 answers for each filter |
//! | [`disk`] | T27 restored sessions; T28 acknowledged means stored; T29 damaged folders |
//! | [`process`] | T17 hash collisions; T38 keep-alive and dead peers |
//!
//! | [`secrets`], [`pages`], [`crowds`] | no rows of their own: secrets stay secret; who sees which page; thousands who are silent, and readers who do not read, measured |

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

mod bytes;
mod crowds;
mod disk;
mod door;
mod flow;
mod handshakes;
mod login;
mod messages;
mod moments;
mod pages;
mod process;
mod rights;
mod secrets;
mod sessions;
mod storms;
mod websocket;

// Conversations, as the conformance suite has them; it uses more of them than this one.
#[allow(dead_code)]
#[path = "../conformance/line.rs"]
mod line;
#[allow(dead_code)]
#[path = "../conformance/notation.rs"]
mod notation;
#[allow(dead_code)]
#[path = "../conformance/talk.rs"]
mod talk;

use hubbub_tests::Hub;

const MIB: u64 = 1024 * 1024;

/// How much the memory of the hub grows while this happens.
fn grows(hub: &Hub, during: impl FnOnce()) -> u64 {
    let before = hub.resident_bytes();
    during();
    hub.resident_bytes().saturating_sub(before)
}
