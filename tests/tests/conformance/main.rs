//! What the specifications demand of a server, byte for byte, against the real program, and the ledger of it.
//!
//! A conversation says who sends which bytes and what they hear; the same one serves every version it concerns. `ledger.toml`
//! in `tests/conformance` has a row for each normative statement and names the test that proves it.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

mod aliases;
mod auth;
mod client_ids;
mod connect;
mod cuts;
mod cuts_websocket;
mod disconnect;
mod expiry;
mod flow;
mod forwarding;
mod ledger;
mod limits;
mod line;
mod malformed;
mod notation;
mod overlap;
mod publish;
mod resume;
mod retained;
mod sessions;
mod share;
mod subscribe;
mod talk;
mod tls;
mod topics;
mod unsubscribe;
mod websocket;
mod wills;
