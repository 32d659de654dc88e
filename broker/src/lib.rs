//! Sockets to spine: listeners, codec, sessions, topics, policy, the spine.

pub mod clock;
pub mod codec;
pub mod counters;
pub mod edge;
pub mod goodbye;
pub mod histogram;
pub mod lane;
pub mod layers;
pub mod message;
pub mod outbuffer;
pub mod policy;
pub mod proxy;
pub mod retained;
pub mod routes;
pub mod server;
pub mod session;
pub mod settings;
pub mod share;
pub mod shared;
pub mod spine;
pub mod sys;
pub mod tally;
pub mod tls;
pub mod topic;
pub mod trie;
pub mod websocket;
