//! Spine to store and people: commit, conversations, presence, notifications.

pub mod acl;
pub mod bridge;
pub mod chat;
pub mod devices;
pub mod envelope;
pub mod inbox;
pub mod inspect;
mod later;
pub mod location;
pub mod login;
pub mod notify;
pub mod people;
pub mod policy;
pub mod presence;
pub mod push;
pub mod queue;
pub mod retained;
pub mod rpc;
pub mod scram;
pub mod store;
pub mod transaction;
pub mod trim;
pub mod users;
pub mod wills;
