//! Messages of share groups (MQTT 5 §4.8.2): the choice among persistent sessions, and what other members have on loan.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use hubbub_broker::codec::QoS;
use hubbub_broker::lane::{self, ToEdge};
use hubbub_broker::message::Message;
use hubbub_broker::share::{Search, Share};

use super::{QueuedHead, Queues, Session, SubscriptionRecord};
use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::Transaction;

/// Groups whose turns are remembered; when there are more, all begin anew.
const MOST_TURNS: usize = 10_000;

/// What a session that is over was to be given in the name of a share group.
pub(super) type Owed = Vec<(Message, Share)>;

impl Queues {
    /// A message for one persistent session of a group. If there is none, an edge looks for another member.
    pub fn share_out(
        &mut self,
        tx: &mut Transaction<'_>,
        message: &Message,
        search: Search,
        edge: u8,
    ) -> Result<(), StoreError> {
        let Some((client, record)) = self.choose(&search.share, message) else {
            let search = Search { tried_bridge: true, ..search };
            tx.tell(edge, &ToEdge::Publish { plain: false, shares: vec![search] }, Some(message));
            return Ok(());
        };
        if let Some(loan) = search.loan {
            settle(tx, loan);
        }
        let head = QueuedHead {
            qos: record.options.qos.min(message.qos),
            retain: record.options.retain_as_published && message.retain,
            ids: record.id.into_iter().collect(),
        };
        self.enqueue_for(tx, &client, head, message, Some(&search.share))
    }

    /// A message for a member on this edge whose session is not kept, while others of the group have sessions that are.
    pub fn lend(&mut self, tx: &mut Transaction<'_>, message: &Message, search: Search, edge: u8) {
        self.last_loan += 1;
        let loan = Some(self.last_loan);
        let mut entry = BytesMut::new();
        lane::put(&mut entry, &search.share, Some(message));
        tx.put(keys::loan(self.last_loan), entry.to_vec());
        let search = Search { loan, ..search };
        tx.tell(edge, &ToEdge::Publish { plain: false, shares: vec![search] }, Some(message));
    }

    /// Gives what was on loan when an earlier run ended to the persistent sessions of the groups: all others are over.
    pub(super) fn call_in_loans(
        &mut self,
        tx: &mut Transaction<'_>,
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        for (key, value) in store.scan(keys::all_loans(), Order::Forward, usize::MAX)? {
            match lane::take::<Share>(&mut Bytes::from(value)) {
                Ok(Some((share, Some(message)))) => {
                    if !message.is_expired(tx.now) {
                        // Nobody listens to what is said when there is no such session.
                        self.share_out(tx, &message, Search::new(share), 0)?;
                    }
                }
                _ => tracing::error!(?key, "message on loan unreadable, left out"),
            }
            tx.delete(key);
        }
        Ok(())
    }

    /// What others may have in place of a session that is over: not what was begun at QoS 2.
    pub(super) fn owed_to_groups(
        &self,
        tx: &Transaction<'_>,
        client: &ByteString,
        begun: &[u64],
    ) -> Result<Owed, StoreError> {
        let Some(session) = self.sessions.get(client) else { return Ok(Vec::new()) };
        let mut owed = Vec::new();
        for (key, value) in tx.scan(keys::queued_of(client, session.fill.oldest..=u64::MAX))? {
            let Ok(Some(((head, share), Some(message)))) =
                lane::take::<(QueuedHead, Share)>(&mut Bytes::from(value))
            else {
                continue;
            };
            let position = super::position_of(&key).unwrap_or(0);
            let begun = position <= session.begun || begun.contains(&position);
            let theirs_alone = begun && head.qos == QoS::ExactlyOnce;
            if !theirs_alone && !message.is_expired(tx.now) {
                owed.push((message, share));
            }
        }
        Ok(owed)
    }

    /// In turn; sessions that are here before those that are away, and those that are full not at all.
    fn choose(&mut self, share: &Share, message: &Message) -> Option<(ByteString, SubscriptionRecord)> {
        let (text, bytes) = (share.text(), message.encoded_len());
        let mut members = Vec::new();
        self.subscribers.for_each_match(&message.topic, |(client, group), record| {
            if group.as_ref() == Some(&text)
                && let Some(session) = self.sessions.get(client)
            {
                members.push((client, record, session));
            }
        });
        let known = !members.is_empty();
        members.retain(|(.., session)| session.fill.fits(bytes, &self.max));
        if known && members.is_empty() {
            self.counters.queue_overflows_total.add(1);
            tracing::warn!(share = %text, "queues of all members full");
        }
        if members.iter().any(|(.., session)| session.is_here()) {
            members.retain(|(.., session)| session.is_here());
        }
        if self.turns.len() > MOST_TURNS {
            self.turns.clear();
        }
        let turn = self.turns.entry(text).or_default();
        *turn = turn.wrapping_add(1);
        let at = turn.checked_rem(members.len())?;
        members.get(at).map(|(client, record, _)| ((*client).clone(), **record))
    }
}

impl Session {
    fn is_here(&self) -> bool {
        self.at.is_some()
    }
}

/// A message on loan was acknowledged.
pub fn settle(tx: &mut Transaction<'_>, loan: u64) {
    tx.delete(keys::loan(loan));
}
