//! What an idle connection costs: thousands of them are the ordinary case, so what each holds is bounded here. Whoever needs
//! more puts it behind a box that most connections do not have.

use std::mem::size_of;

use super::link::Link;
use super::{Slot, Subscriber};
use crate::routes::Want;
use crate::session::{Session, Subscription};

/// Bytes of the future that a task is made of.
fn future<A, B, C, D, F>(_: fn(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_connection_costs_little() {
    for (what, bytes, most) in [
        ("a session and its connection", size_of::<Slot>(), 1024),
        ("the session in it", size_of::<Session>(), 512),
        ("the connection in it", size_of::<Link>(), 280),
        ("a subscription of a session", size_of::<Subscription>(), 80),
        ("a subscription of an edge", size_of::<(u32, Subscriber)>(), 24),
        ("a subscription of the routing table", size_of::<(Want, u32)>(), 24),
        ("the task that reads", future(super::run::read), 96),
    ] {
        assert!(bytes <= most, "{what}: {bytes} bytes are more than {most}");
    }
}
