//! The harness: a hub as a real process, clients of every kind, and what the stories in `tests/` say about them.
//!
//! Apart from [`fuzz`] it shares no code with the server: the packets, the signature and the names of topics are written down
//! here a second time, so that a mistake in the server's own tables cannot agree with itself.
//!
//! | part | what it is |
//! |---|---|
//! | [`hub`] | `hubbub serve` as a child process with a folder and ports of its own; kill it, restart it, stop it |
//! | [`wire`] | packets of MQTT 3.1, 3.1.1 and 5, as bytes |
//! | [`scram`] | what a client says in an authentication by SCRAM-SHA-256 |
//! | [`raw`] | a socket to which a test says bytes and from which it expects bytes |
//! | [`client`] | an MQTT client driven packet by packet, which acknowledges only when told |
//! | [`way`] | how a client gets to the hub: over TCP, TLS, WebSocket, or WebSocket over TLS |
//! | [`certificates`] | authorities, and certificates made on the spot |
//! | [`person`] | somebody who chats, in sentences |
//! | [`webhook`] | the application's own server, which the hub calls for people who are away |
//! | [`app`] | the application's own server, which the hub asks for keys and who may come in |
//! | [`token`] | tokens, and who signs them |
//! | [`fuzz`] | what cargo-fuzz feeds, as functions that ordinary tests replay |
//! | [`tool`] | programs that we did not write, with a time limit |

// A test that cannot go on says why and stops; there is nobody to hand an error to.
#![allow(clippy::unwrap_used)]

pub mod app;
pub mod binary;
pub mod certificates;
pub mod client;
pub mod fuzz;
pub mod http;
pub mod hub;
pub mod person;
pub mod raw;
pub mod scram;
pub mod token;
pub mod tool;
pub mod way;
pub mod webhook;
pub mod wire;

pub use app::App;
pub use certificates::{Authority, Trust};
pub use client::{Client, Receipt};
pub use hub::{Hub, Settings};
pub use person::{Message, Person, json, message};
pub use raw::RawClient;
pub use token::Signer;
pub use way::Way;
pub use webhook::WebhookSink;
pub use wire::{Connect, Packet, Props, Publish, Version, Will};

use std::time::Duration;

/// How long anything may take before a test gives up on it. Far more than it takes: a slow machine is not a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
