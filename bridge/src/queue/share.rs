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

/// Why no persistent session of a group gets a message.
enum NoMember {
    /// There is none, as far as is known.
    UnheardOf,
    /// The queues of all are.
    Full,
}

/// What a session that is over was to be given in the name of a share group.
pub(super) type Owed = Vec<(Message, Share)>;

impl Queues {
    /// A message for one persistent session of a group. If there is none, an edge looks for another member, and comes back once
    /// more if it knows of a session that this has not heard of yet: subscriptions and messages of different edges come in any order.
    pub fn share_out(
        &mut self,
        tx: &mut Transaction<'_>,
        message: &Message,
        search: Search,
        edge: u8,
    ) -> Result<(), StoreError> {
        let (client, record) = match self.choose(&search.share, message) {
            Ok(chosen) => chosen,
            Err(NoMember::UnheardOf) if !search.unheard_of => {
                let search = Search { unheard_of: true, ..search };
                match message.qos {
                    QoS::AtLeastOnce => self.lend(tx, message, search, edge),
                    // Whoever has it on loan at QoS 2 may not pass it on (§4.8.2).
                    _ => ask(tx, message, search, edge),
                }
                return Ok(());
            }
            Err(_) => {
                ask(tx, message, Search { tried_bridge: true, ..search }, edge);
                return Ok(());
            }
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

    /// A message for a member that this edge finds, while others of the group have sessions that are kept: it stays on disk until
    /// somebody has it.
    pub fn lend(&mut self, tx: &mut Transaction<'_>, message: &Message, search: Search, edge: u8) {
        let loan = search.loan.unwrap_or_else(|| {
            self.last_loan += 1;
            let mut entry = BytesMut::new();
            lane::put(&mut entry, &search.share, Some(message));
            tx.put(keys::loan(self.last_loan), entry.to_vec());
            self.last_loan
        });
        let search = Search { loan: Some(loan), ..search };
        ask(tx, message, search, edge);
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
                        // Nobody listens to what is said when there is no such session, and all that there are have been heard of.
                        self.share_out(tx, &message, Search { unheard_of: true, ..Search::new(share) }, 0)?;
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
    fn choose(
        &mut self,
        share: &Share,
        message: &Message,
    ) -> Result<(ByteString, SubscriptionRecord), NoMember> {
        let (text, bytes) = (share.text(), message.encoded_len());
        let mut members = Vec::new();
        self.subscribers.for_each_match(&message.topic, |(client, group), record| {
            if group.as_ref() == Some(&text)
                && let Some(session) = self.sessions.get(client)
            {
                members.push((client, record, session));
            }
        });
        if members.is_empty() {
            return Err(NoMember::UnheardOf);
        }
        members.retain(|(.., session)| session.fill.fits(bytes, &self.max));
        if members.is_empty() {
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
        let at = turn.checked_rem(members.len()).ok_or(NoMember::Full)?;
        let (client, record, _) = &members[at];
        Ok(((*client).clone(), **record))
    }
}

impl Session {
    fn is_here(&self) -> bool {
        self.at.is_some()
    }
}

/// Has an edge find a member.
fn ask(tx: &mut Transaction<'_>, message: &Message, search: Search, edge: u8) {
    tx.tell(edge, &ToEdge::Publish { plain: false, shares: vec![search] }, Some(message));
}

/// A message on loan was acknowledged.
pub fn settle(tx: &mut Transaction<'_>, loan: u64) {
    tx.delete(keys::loan(loan));
}
