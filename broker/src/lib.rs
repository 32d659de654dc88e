//! Sockets to spine: listeners, codec, sessions, topics, policy, the spine.

pub mod clock;
pub mod codec;
pub mod counters;
pub mod edge;
pub mod goodbye;
pub mod histogram;
pub mod lane;
pub mod message;
pub mod outbuffer;
pub mod policy;
pub mod retained;
pub mod routes;
pub mod server;
pub mod session;
pub mod settings;
pub mod shared;
pub mod spine;
pub mod topic;
pub mod trie;
pub mod websocket;
