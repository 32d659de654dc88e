//! What cargo-fuzz feeds with bytes, one plain function for each target in `tests/fuzz`: a function that returns has found
//! nothing, one that panics has.
//!
//! Here and not in the targets, so that `tests/tests/fuzz_replay.rs` replays every corpus and every crash with the ordinary
//! compiler. This is the one part of the harness that knows the server from within; what the server sends is still read with
//! the tables of [`crate::wire`].

mod decode;
mod frame;
mod records;
mod session;
mod topics;

pub use decode::{decode3, decode5};
pub use frame::spine_frame;
pub use records::records;
pub use session::session;
pub use topics::topics;

/// A target: its name, and what it does with the bytes of one case.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: [Target; 6] = [
    ("decode3", decode3),
    ("decode5", decode5),
    ("records", records),
    ("session", session),
    ("spine_frame", spine_frame),
    ("topics", topics),
];
