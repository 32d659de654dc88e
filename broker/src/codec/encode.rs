//! Packets of the server to bytes, appended to a buffer; nothing here can fail or panic.
//!
//! Texts longer than 65,535 bytes are cut, at a character. What a version lacks is left out.

mod ack;
pub mod client;
mod connack;
mod publish;
pub(super) mod write;

pub use ack::{AckKind, AckNotes, ack, auth, disconnect, pingresp, suback, unsuback};
pub use connack::{ConnAck, ConnAckProperties, connack, redirection, refusal, return_code_3};
pub use publish::{Encoded, Message, Shape, publish_head, publish_len};
