//! What users of the hub notice, each a sentence. Every story runs the real program with a folder and ports of its own.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

mod away;
mod bench;
mod bounds;
mod chat;
mod commands;
mod compat;
mod configuration;
mod devices;
mod folders;
mod hook;
mod leaks;
mod limits;
mod location;
mod login;
mod notify;
mod operations;
mod presence;
mod proxies;
mod reconnects;
mod repeats;
mod retained;
mod revoked;
mod rights;
mod routing;
mod sessions;
mod share;
mod store;
mod sys;
mod time;
mod tls;
mod tokens;
mod topics;
mod websocket;
mod wills;
mod wire;
