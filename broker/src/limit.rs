//! How much anybody may ask for in a time, and how many may be here at once. Pure: `now` is handed in, the answer is data.
//!
//! [`Bucket`] is the measure of everything that counts in a time; [`Recent`] keeps one for each of many who come and go,
//! in bounded memory; [`Crowd`] counts who is there. [`Entrance`] puts them together for newcomers, [`Pace`] for what a
//! client sends.

mod bucket;
mod crowd;
mod entrance;
mod pace;
mod recent;
mod source;

pub use bucket::{Bucket, Rate};
pub use crowd::Crowd;
pub use entrance::{Crowded, Entrance, EntranceLimits};
pub use pace::{Pace, PaceLimits, Verdict};
pub use recent::Recent;
pub use source::Source;
