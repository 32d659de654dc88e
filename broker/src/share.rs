//! Shared subscriptions (MQTT 5 §4.8.2): where the members of a group sit, and which of them gets a message.
//!
//! Connected members come before those that are away, and each connected one has the same part, whatever its edge, its
//! version, and whether its session is kept.

use std::fmt::{self, Display};

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use crate::codec::QoS;

/// A shared subscription, apart from who has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share {
    /// Share name.
    pub group: ByteString,
    /// Topic filter.
    pub filter: ByteString,
}

/// Where a member sits; decides who delivers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seat {
    /// Connected to this edge, which delivers everything: its session ends with the connection, or it has QoS 0.
    Live(u8),
    /// Connected to this edge, which delivers QoS 0 only: at QoS 1 and 2 the bridge queues for its session.
    Kept(u8),
    /// In a persistent session at QoS 1 or 2, connected or not.
    Durable,
}

/// A message of a group that looks for its member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Which group.
    pub share: Share,
    /// A bit for each edge that had nobody who could take it.
    pub tried: u64,
    /// Whether the bridge had nobody who could take it.
    pub tried_bridge: bool,
    /// Whether the bridge knew of no session of the group, and is asked once more if there still is one: it may not have heard yet.
    pub unheard_of: bool,
    /// The number under which the bridge keeps it until the member has acknowledged it: another member of the group has
    /// a session that would be owed the message if the first one goes, or one is looked for.
    pub loan: Option<u64>,
}

/// Who is to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// An edge, to one of its members.
    Edge(u8),
    /// The bridge, to one of the persistent sessions.
    Bridge,
}

impl Share {
    /// The text of SUBSCRIBE.
    pub fn text(&self) -> ByteString {
        self.to_string().into()
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$share/{}/{}", self.group, self.filter)
    }
}

impl Search {
    /// Nobody was asked yet.
    pub fn new(share: Share) -> Search {
        Search { share, tried: 0, tried_bridge: false, unheard_of: false, loan: None }
    }

    /// Chooses among the seats of one group, each with its number of members: in `turn`, so that every connected member
    /// has the same part; a persistent session that is away only if nobody is connected.
    pub fn choose<'a>(
        &self,
        seats: impl Iterator<Item = (Seat, u32)> + Clone + 'a,
        qos: QoS,
        turn: usize,
    ) -> Option<Choice> {
        let connected =
            seats.clone().filter_map(|(seat, count)| Some((self.choice(seat, qos)?, count as usize)));
        let members: usize = connected.clone().map(|(_, count)| count).sum();
        if members == 0 {
            let away = seats.into_iter().any(|(seat, _)| seat == Seat::Durable);
            return (away && qos != QoS::AtMostOnce && !self.tried_bridge).then_some(Choice::Bridge);
        }
        let mut at = turn % members;
        for (choice, count) in connected {
            if at < count {
                return Some(choice);
            }
            at -= count;
        }
        None
    }

    /// Who delivers to a connected member, unless that was tried.
    fn choice(&self, seat: Seat, qos: QoS) -> Option<Choice> {
        let edge = |edge: u8| (self.tried & (1 << edge) == 0).then_some(Choice::Edge(edge));
        match (seat, qos) {
            (Seat::Live(at), _) | (Seat::Kept(at), QoS::AtMostOnce) => edge(at),
            (Seat::Kept(_), _) => (!self.tried_bridge).then_some(Choice::Bridge),
            (Seat::Durable, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use QoS::{AtLeastOnce, AtMostOnce};

    fn search() -> Search {
        Search::new(Share { group: "g".into(), filter: "t".into() })
    }

    fn parts(search: &Search, seats: &[(Seat, u32)], qos: QoS) -> Vec<Option<Choice>> {
        (0..6).map(|turn| search.choose(seats.iter().copied(), qos, turn)).collect()
    }

    #[test]
    fn every_connected_member_has_the_same_part() {
        let seats = [(Seat::Live(0), 2), (Seat::Kept(0), 1), (Seat::Durable, 9)];
        let (edge, bridge) = (Some(Choice::Edge(0)), Some(Choice::Bridge));
        assert_eq!(parts(&search(), &seats, AtLeastOnce), [edge, edge, bridge, edge, edge, bridge]);
        assert_eq!(parts(&search(), &seats, AtMostOnce), [edge; 6]);
    }

    #[test]
    fn those_who_are_away_wait_for_what_nobody_connected_takes() {
        let away = [(Seat::Durable, 1)];
        assert_eq!(parts(&search(), &away, AtLeastOnce), [Some(Choice::Bridge); 6]);
        assert_eq!(parts(&search(), &away, AtMostOnce), [None; 6], "nothing is kept at QoS 0");
        let full = Search { tried: 0b10, ..search() };
        let seats = [(Seat::Live(1), 1), (Seat::Durable, 1)];
        assert_eq!(parts(&full, &seats, AtLeastOnce), [Some(Choice::Bridge); 6]);
        let nobody = Search { tried_bridge: true, ..full };
        assert_eq!(parts(&nobody, &seats, AtLeastOnce), [None; 6], "a search comes to an end");
    }
}
