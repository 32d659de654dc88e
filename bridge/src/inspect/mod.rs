//! Looks at the records of a store from outside: is everything whole, and what takes the space?
//!
//! [`Check`] and [`Census`] are shown every record in the order of the keys, from an open store or from the export of one
//! that is in use. Their memory grows with users, conversations and sessions, not with messages.

mod census;
mod check;
mod numbers;
mod value;

pub use census::{Census, Largest, Tally, Totals};
pub use check::{Check, Finding};
