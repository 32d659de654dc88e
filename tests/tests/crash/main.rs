//! Stored means stored: a hub under load is killed with SIGKILL again and again, and at the end every promise is checked by
//! number. What was acknowledged is there, conversations and inboxes have no gaps, nothing of QoS 2 comes twice.
//!
//! | part | what it is |
//! |---|---|
//! | [`device`] | an MQTT client that remembers over a crash what the specification wants remembered |
//! | [`line`] | one connection of it |
//! | [`cast`] | who publishes what to whom |
//! | [`story`] | the rounds: load, kill, restart, resume; and the end, when everything is drained |
//! | [`full`] | the other way to end: a disk that takes nothing more |
//! | [`proof`] | what must hold of everything that anybody heard |
//!
//! The seeds are fixed, so CI sees the same twenty rounds each time. `just crash 200` goes on with other seeds.

// A test that cannot go on says why and stops; there is nobody to hand an error to.
#![allow(clippy::unwrap_used)]

mod cast;
mod device;
mod dice;
mod full;
mod line;
mod proof;
mod story;

use story::survives;

/// Kills in each of the tests below; they run at the same time.
const KILLS: usize = 5;

#[test]
fn everything_acknowledged_survives_kill_9() {
    survives("fjall", &[0x5eed_0001], KILLS);
}

#[test]
fn everything_acknowledged_survives_kill_9_with_other_dice() {
    survives("fjall", &[0x5eed_0002], KILLS);
}

#[test]
fn everything_acknowledged_survives_kill_9_with_messages_that_fill_the_tables() {
    survives("fjall", &[0x5eed_0003 | story::LARGE], KILLS);
}

#[test]
fn everything_acknowledged_survives_kill_9_with_sled() {
    survives("sled", &[0x5eed_0004], KILLS);
}
