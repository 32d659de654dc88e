//! Wills on disk: from CONNACK until they are published or not needed, so that those of connections that died with the
//! server, and those that waited for their delay when it ended, are published by the next run.

use std::collections::HashMap;

use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::lane::{self, Device};
use hubbub_broker::message::Message;
use hubbub_broker::policy::Door;
use hubbub_broker::session::{RestoredSession, RestoredWill};

use crate::store::{Order, Store, StoreError, keys};
use crate::transaction::Transaction;

/// What belongs to a will besides its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What the client is called.
    pub kind: ByteString,
    /// Through which door it came.
    pub door: Door,
    /// Seconds between the end of the connection and the will.
    pub delay: u32,
    /// Seconds that the published will is worth delivering.
    pub expiry: Option<u32>,
}

/// What stands in front of the message in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WillHead {
    user: ByteString,
    terms: Terms,
    /// Nothing while the connection is there.
    due: Option<Millis>,
}

/// Keeps the will of a connection.
pub fn keep(tx: &mut Transaction<'_>, device: &Device, terms: Terms, message: &Message) {
    let head = WillHead { user: device.user.clone(), terms, due: None };
    put(tx, &device.client, &head, message);
}

/// The connection is lost, and its will waits.
pub fn wait(tx: &mut Transaction<'_>, device: &Device, due: Millis) -> Result<(), StoreError> {
    let record = tx.get(&keys::will(&device.client))?;
    if let Some((head, message)) = record.and_then(|record| read(&device.client, record)) {
        put(tx, &device.client, &WillHead { due: Some(due), ..head }, &message);
    }
    Ok(())
}

/// The clients of a user that left a will.
pub fn clients_of(store: &dyn Store, user: &str) -> Result<Vec<String>, StoreError> {
    let mut clients = Vec::new();
    for (key, value) in store.scan(keys::all_wills(), Order::Forward, usize::MAX)? {
        if let Some(client) = keys::Fields::of(&key).and_then(|mut fields| fields.text())
            && read(&client, value).is_some_and(|(head, _)| *head.user == *user)
        {
            clients.push(client);
        }
    }
    Ok(clients)
}

/// Gives the wills that are owed to the sessions of an earlier run. A connection that was there has been lost now. One
/// whose session did not outlive it gets a session that is over.
pub fn restore(
    store: &dyn Store,
    sessions: &mut Vec<RestoredSession>,
    now: Millis,
) -> Result<(), StoreError> {
    let mut wills: HashMap<ByteString, (WillHead, Message), RandomState> = HashMap::default();
    for (key, value) in store.scan(keys::all_wills(), Order::Forward, usize::MAX)? {
        let client = keys::Fields::of(&key).and_then(|mut fields| fields.text());
        if let Some(client) = client.map(ByteString::from)
            && let Some(will) = read(&client, value)
        {
            wills.insert(client, will);
        }
    }
    let mut tx = Transaction::new(store, now);
    for session in sessions.iter_mut() {
        let Some((head, message)) = wills.remove(&session.device.client) else { continue };
        if head.due.is_none() {
            // Its delay has begun, also if there is another restart before it is over.
            let due = Some(due(&head.terms, session.expiry, now));
            put(&mut tx, &session.device.client, &WillHead { due, ..head.clone() }, &message);
        }
        session.will = Some(owed((head, message), session.expiry, now));
    }
    tx.commit().map(drop)?;
    let over = wills.into_iter().map(|(client, (head, message))| RestoredSession {
        device: Device { user: head.user.clone(), client },
        expiry: 0,
        ended_at: now,
        subscriptions: Vec::new(),
        unreleased: Vec::new(),
        released: Vec::new(),
        will: Some(owed((head, message), 0, now)),
    });
    sessions.extend(over);
    Ok(())
}

/// The delay ends with the session (§3.1.3.2.2).
fn due(terms: &Terms, session_expiry: u32, now: Millis) -> Millis {
    now + Millis::from(terms.delay.min(session_expiry)) * 1000
}

fn owed((head, message): (WillHead, Message), session_expiry: u32, now: Millis) -> RestoredWill {
    let due = head.due.unwrap_or_else(|| due(&head.terms, session_expiry, now));
    let Terms { kind, door, delay, expiry } = head.terms;
    RestoredWill { will: message.into_will(delay, expiry), due, kind, door }
}

fn put(tx: &mut Transaction<'_>, client: &str, head: &WillHead, message: &Message) {
    let mut record = BytesMut::new();
    lane::put(&mut record, head, Some(message));
    tx.put(keys::will(client), record.to_vec());
}

fn read(client: &str, record: Vec<u8>) -> Option<(WillHead, Message)> {
    match lane::take(&mut Bytes::from(record)) {
        Ok(Some((head, Some(message)))) => Some((head, message)),
        _ => {
            tracing::error!(client, "will unreadable, left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    const NOW: Millis = 1_000_000;

    fn device() -> Device {
        Device { user: "alice".into(), client: "phone".into() }
    }

    fn keep_one(store: &MemoryStore, delay: u32) {
        let terms = Terms { kind: "phone".into(), door: Door::WebSocket, delay, expiry: Some(9) };
        let mut tx = Transaction::new(store, 0);
        keep(&mut tx, &device(), terms, &Message { topic: "gone".into(), ..Message::default() });
        tx.commit().unwrap();
    }

    fn session(expiry: u32) -> RestoredSession {
        RestoredSession {
            device: device(),
            expiry,
            ended_at: NOW,
            subscriptions: vec![],
            unreleased: vec![],
            released: vec![],
            will: None,
        }
    }

    fn due_after_restart(store: &MemoryStore, mut sessions: Vec<RestoredSession>) -> Millis {
        restore(store, &mut sessions, NOW).unwrap();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].device, device());
        let owed = sessions[0].will.as_ref().unwrap();
        assert_eq!((&*owed.will.topic, owed.will.expiry, owed.door), ("gone", Some(9), Door::WebSocket));
        owed.due
    }

    #[test]
    fn a_connection_that_died_with_the_server_was_lost_at_the_restart() {
        let due = |sessions| {
            let store = MemoryStore::default();
            keep_one(&store, 60);
            due_after_restart(&store, sessions)
        };
        assert_eq!(due(vec![session(3600)]), NOW + 60_000);
        assert_eq!(due(vec![session(10)]), NOW + 10_000, "the session ends first");
        assert_eq!(due(vec![]), NOW, "there is no session that could wait");
    }

    #[test]
    fn a_delay_that_had_begun_goes_on_counting() {
        let store = MemoryStore::default();
        keep_one(&store, 60);
        let mut tx = Transaction::new(&store, 0);
        wait(&mut tx, &device(), NOW + 5_000).unwrap();
        tx.commit().unwrap();
        assert_eq!(due_after_restart(&store, vec![session(3600)]), NOW + 5_000);
    }

    #[test]
    fn a_delay_does_not_begin_again_with_another_restart() {
        let store = MemoryStore::default();
        keep_one(&store, 60);
        assert_eq!(due_after_restart(&store, vec![session(3600)]), NOW + 60_000);
        let mut later = vec![session(3600)];
        restore(&store, &mut later, NOW + 50_000).unwrap();
        assert_eq!(later[0].will.as_ref().map(|will| will.due), Some(NOW + 60_000));
    }

    #[test]
    fn an_unreadable_will_is_left_out() {
        let store = MemoryStore::default();
        let mut tx = Transaction::new(&store, 0);
        tx.put(keys::will("phone"), vec![1, 2, 3]);
        tx.commit().unwrap();
        let mut sessions = Vec::new();
        restore(&store, &mut sessions, NOW).unwrap();
        assert!(sessions.is_empty());
    }
}
