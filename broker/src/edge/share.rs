//! Messages for share groups: the choice of a member, its delivery, and another choice if that one cannot take it or
//! goes before it has acknowledged.

use std::sync::Arc;

use super::{Edge, Subscriber};
use crate::codec::QoS;
use crate::lane::{Device, Errand, ToBridge, ToEdge};
use crate::message::Message;
use crate::routes::Route;
use crate::session::{Delivered, Delivery, Fanout};
use crate::share::{Choice, Search, Seat, Share};

/// Groups whose turns are remembered; when there are more, all begin anew.
const MOST_TURNS: usize = 10_000;

/// Who gets a message in the name of its group.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// A member on an edge.
    pub edges: Vec<(u8, Search)>,
    /// A persistent session, or on loan a member on the edge named.
    pub bridge: Vec<(Search, Option<u8>)>,
}

impl Edge {
    /// One member for each group. What a persistent session of the group would be owed, if the chosen member went away, is
    /// on disk before it is acknowledged: at QoS 1. At QoS 2 nobody else may get it, so nobody else is owed it.
    pub(super) fn choose_members(&mut self, message: &Message, route: &Route) -> Chosen {
        let mut chosen = Chosen::default();
        for seats in route.shares.chunk_by(|a, b| a.0 == b.0) {
            let (search, turn) = (Search::new(seats[0].0.clone()), self.turn_of(&seats[0].0));
            let owed =
                message.qos == QoS::AtLeastOnce && seats.iter().any(|(_, seat, _)| *seat == Seat::Durable);
            match search.choose(seats.iter().map(|(_, seat, count)| (*seat, *count)), message.qos, turn) {
                Some(Choice::Edge(edge)) if owed => chosen.bridge.push((search, Some(edge))),
                Some(Choice::Edge(edge)) => chosen.edges.push((edge, search)),
                Some(Choice::Bridge) => chosen.bridge.push((search, None)),
                None => {}
            }
        }
        chosen
    }

    fn turn_of(&mut self, share: &Share) -> usize {
        if self.turns.len() > MOST_TURNS {
            self.turns.clear();
        }
        let turn = self.turns.entry(share.clone()).or_default();
        *turn = turn.wrapping_add(1);
        *turn
    }

    /// A message of the server itself for the share groups; one edge does it for all.
    pub(super) fn share_broadcast(&mut self, message: &Message) {
        let mut route = Route::default();
        self.shared.routes.look_up(&message.topic, &mut route);
        let Chosen { edges, bridge } = self.choose_members(message, &route);
        self.spread(message, 0, edges);
        if !bridge.is_empty() {
            self.have_bridge_share(message, bridge);
        }
    }

    /// Delivers to one member on this edge, the next one who can take it; if there is none, looks elsewhere.
    pub(super) fn deliver_shared(&mut self, fan: &mut Fanout<'_>, mut search: Search) {
        let count = self.groups.get(&search.share).map_or(0, |group| group.members.len());
        for _ in 0..count {
            if self.deliver_to_next(fan, &search) {
                return;
            }
        }
        search.tried |= 1 << self.id;
        self.seek(fan.message(), search);
    }

    fn deliver_to_next(&mut self, fan: &mut Fanout<'_>, search: &Search) -> bool {
        let message = fan.message();
        let Some(group) = self.groups.get_mut(&search.share) else { return false };
        group.next = group.next.wrapping_add(1);
        let (slot, subscriber) = group.members[group.next % group.members.len()];
        let qos = subscriber.qos.min(message.qos);
        // For a kept session the bridge queues it.
        let queued = subscriber.durable && qos != QoS::AtMostOnce;
        if queued || !self.wants(&subscriber, slot, message) {
            return false;
        }
        let retain = subscriber.retain_as_published && message.retain;
        let to = Delivery { qos, retain, ids: subscriber.id.as_slice(), search: Some(search) };
        let delivered = matches!(self.try_deliver(slot, fan, to), Delivered::Sent | Delivered::Waits);
        if delivered && qos == QoS::AtMostOnce {
            self.settle(search);
        }
        delivered
    }

    /// Chooses again among those who were not asked yet.
    fn seek(&mut self, message: &Message, search: Search) {
        let mut route = Route::default();
        self.shared.routes.look_up(&message.topic, &mut route);
        let seats = route.shares.iter().filter(|(share, ..)| *share == search.share);
        let seats = seats.map(|(_, seat, count)| (*seat, *count));
        let turn = self.turn_of(&search.share);
        match search.choose(seats, message.qos, turn) {
            Some(Choice::Edge(edge)) if edge == self.id => {
                let mut fan = Fanout::new(message, self.now());
                self.deliver_shared(&mut fan, search);
            }
            Some(Choice::Edge(edge)) => {
                self.tell_edge(edge, &ToEdge::Publish { plain: false, shares: vec![search] }, message);
            }
            Some(Choice::Bridge) => self.have_bridge_share(message, vec![(search, None)]),
            None => {
                self.shared.counters.deliveries_dropped_total.add(1);
                self.settle(&search);
            }
        }
    }

    fn have_bridge_share(&mut self, message: &Message, shares: Vec<(Search, Option<u8>)>) {
        let from = Device { user: Default::default(), client: message.publisher.clone() };
        let (at, errand) = (self.nobody(), Errand::Share);
        let frame =
            ToBridge::Publish { at, token: None, errand, from, store_retained: None, remember: None, shares };
        self.tell_bridge(&frame, Some(message));
    }

    /// What a session that is over was sent for its groups at QoS 1 and did not acknowledge, and what waited for it, goes
    /// to another member (§4.8.2). When the server stops there will be nobody: what is on loan is on disk.
    pub(super) fn give_to_others(&mut self, abandoned: Vec<(Arc<Message>, Search)>) {
        if self.stopping {
            return;
        }
        let now = self.now();
        for (message, search) in abandoned {
            if message.is_expired(now) {
                self.settle(&search);
            } else {
                self.seek(&message, Search { loan: search.loan, ..Search::new(search.share) });
            }
        }
    }

    fn settle(&mut self, search: &Search) {
        if let Some(loan) = search.loan {
            self.tell_bridge(&ToBridge::Settled { loan }, None);
        }
    }

    pub(super) fn index_group(&mut self, slot: u32, share: Share, subscriber: Subscriber) {
        let members = &mut self.groups.entry(share).or_default().members;
        match members.iter_mut().find(|(member, _)| *member == slot) {
            Some((_, known)) => *known = subscriber,
            None => members.push((slot, subscriber)),
        }
    }

    pub(super) fn unindex_group(&mut self, slot: u32, share: &Share) {
        let Some(group) = self.groups.get_mut(share) else { return };
        group.members.retain(|(member, _)| *member != slot);
        if group.members.is_empty() {
            self.groups.remove(share);
        }
    }
}
