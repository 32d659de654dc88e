//! The routing table: which edges want a topic, and whether a persistent session is among those who do.
//!
//! Small and read-mostly; an edge changes it when the first subscriber of a filter comes or the last one goes, before
//! the SUBACK. One look-up tells a publish where to go.

use std::sync::{PoisonError, RwLock};

use bytestring::ByteString;

use crate::codec::QoS;
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
    /// A persistent session that is connected, at QoS 0: the bridge hands it what was published at QoS 1 and 2.
    Fleeting,
    /// A member of this share group.
    Share(Box<Share>, Seat),
}

impl Want {
    /// What a connected client on an edge wants at this quality of service; `kept` if its session is.
    pub fn live(filter: &TopicFilter, edge: u8, kept: bool, qos: QoS) -> impl Iterator<Item = Want> + use<> {
        let queued = kept && qos != QoS::AtMostOnce;
        let fleeting = kept && !queued && filter.share.is_none();
        let seat = if queued { Seat::Kept(edge) } else { Seat::Live(edge) };
        let live = share_of(filter).map_or(Want::Edge(edge), |share| Want::Share(share, seat));
        fleeting.then_some(Want::Fleeting).into_iter().chain([live])
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
    /// Whether the bridge has to hand it to somebody who is there.
    pub fleeting: bool,
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
        (route.durable, route.fleeting) = (false, false);
        route.shares.clear();
        let wants = self.wants.read().unwrap_or_else(PoisonError::into_inner);
        wants.for_each_match(topic, |want, count| match want {
            Want::Edge(edge) => route.edges |= 1 << edge,
            Want::Durable => route.durable = true,
            Want::Fleeting => route.fleeting = true,
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
