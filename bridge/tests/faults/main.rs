//! What is acknowledged is stored, whatever the disk does: a store that fails underneath the committer, at every commit of
//! every operation.
//!
//! | part | what it is |
//! |---|---|
//! | [`faulty`] | a store whose commits fail, or wait, when they are told to |
//! | [`script`] | every operation that an edge can ask for, one after the other |
//! | [`stage`] | a bridge driven turn by turn, and what it said |
//! | [`proof`] | what must hold of the data on disk at any time |
//! | [`failing`] | the commit, or the flush after it, fails |
//! | [`repeats`] | an answer was lost on its way |
//! | [`slow`] | the flush takes long |
//! | [`torn`] | a batch of the real engines was written half |

// A test that cannot go on says why and stops; there is nobody to hand an error to.
#![allow(clippy::unwrap_used)]

mod failing;
mod faulty;
mod proof;
mod repeats;
mod script;
mod slow;
mod stage;
mod torn;
