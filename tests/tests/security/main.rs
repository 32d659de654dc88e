//! What has broken other brokers, each class a test that is called after its row: `t01_…` to `t40_…`.
//!
//! Every test runs the real program over real sockets, shows the heart of its row, and names in its comment the guards that it
//! stands for: with any of them taken away it was seen to fail. What the specifications say about the same matters is in
//! `conformance`, in more words.
//!
//! | rows | file |
//! |---|---|
//! | T1, T2, T3, T4, T6, T7 | [`bytes`] |
//! | T9, T15, T30, T31, T40 | [`door`] |
//! | T21 | [`websocket`] |
//! | T8, T10, T11, T12, T13, T14 | [`rights`] |
//! | T5, T20, T22, T23, T24, T25 | [`flow`] |
//! | T26, T33 | [`sessions`] |
//! | T34, T35, T36, T37 | [`messages`] |
//! | T17, T38 | [`process`] |
//!
//! T16, T18, T19, T27 to T29, T32 and T39 are not here yet.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

mod bytes;
mod door;
mod flow;
mod messages;
mod process;
mod rights;
mod sessions;
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
