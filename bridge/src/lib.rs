//! Spine to store and people: commit, conversations, presence, notifications.

pub mod acl;
pub mod notify;
pub mod presence;
pub mod store;
pub mod users;
