//! The routing table: which edges want a topic, and whether a persistent session is among those who do.
//!
//! Small and read-mostly; an edge changes it when the first subscriber of a filter comes or the last one goes, before
//! the SUBACK. One look-up tells a publish where to go.

use std::sync::{PoisonError, RwLock};

use bytestring::ByteString;

use crate::share::{Seat, Share};
use crate::topic::TopicFilter;
use crate::trie::Trie;

/// Somebody who wants a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// An ordinary subscription on this edge.
    Edge(u8),
    /// A persistent session, at QoS 1 or 2: the bridge queues for it.
    Durable,
    /// A member of this share group.
    Share(Box<Share>, Seat),
}

impl Want {
    /// What the edge of a connected client wants; `queued` if it is the bridge that delivers QoS 1 and 2.
    pub fn live(filter: &TopicFilter, edge: u8, queued: bool) -> Want {
        let seat = if queued { Seat::Kept(edge) } else { Seat::Live(edge) };
        share_of(filter).map_or(Want::Edge(edge), |share| Want::Share(share, seat))
    }

    /// What a persistent session wants, connected or not.
    pub fn durable(filter: &TopicFilter) -> Want {
        share_of(filter).map_or(Want::Durable, |share| Want::Share(share, Seat::Durable))
    }
}

fn share_of(filter: &TopicFilter) -> Option<Box<Share>> {
    let group = filter.share.clone()?;
    Some(Box::new(Share { group, filter: filter.filter.clone() }))
}

/// Where a publish goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// A bit for each edge.
    pub edges: u64,
    /// Whether the bridge has to queue it.
    pub durable: bool,
    /// For each share group where its members sit and how many, the seats of one group side by side.
    pub shares: Vec<(Share, Seat, u32)>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Routes {
    wants: RwLock<Trie<Want, u32>>,
}

impl Routes {
    /// One more subscriber of this kind.
    pub fn add(&self, filter: &ByteString, want: Want) {
        let mut wants = self.wants.write().unwrap_or_else(PoisonError::into_inner);
        match wants.get_mut(filter, &want) {
            Some(count) => *count += 1,
            None => drop(wants.insert(filter, want, 1)),
        }
    }

    /// One less.
    pub fn remove(&self, filter: &ByteString, want: &Want) {
        let mut wants = self.wants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = wants.get_mut(filter, want) {
            *count -= 1;
            if *count == 0 {
                wants.remove(filter, want);
            }
        }
    }

    /// Where a message of this topic goes; `route` is used again to save allocations.
    pub fn look_up(&self, topic: &str, route: &mut Route) {
        route.edges = 0;
        route.durable = false;
        route.shares.clear();
        let wants = self.wants.read().unwrap_or_else(PoisonError::into_inner);
        wants.for_each_match(topic, |want, count| match want {
            Want::Edge(edge) => route.edges |= 1 << edge,
            Want::Durable => route.durable = true,
            Want::Share(share, seat) => route.shares.push(((**share).clone(), *seat, *count)),
        });
        route.shares.sort_unstable();
    }

    /// How many different wants there are.
    pub fn len(&self) -> usize {
        self.wants.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
