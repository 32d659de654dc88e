//! The devices of users: which are kept out, which have the place of their class, and what is stored for each.

use std::collections::HashSet;

use ahash::RandomState;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use hubbub_broker::clock::Millis;
use hubbub_broker::edge::{Seen, Whose};
use hubbub_broker::lane::Device;
use hubbub_broker::session::RestoredSession;
use hubbub_config::Config;

use crate::login::device_class;
use crate::queue::{CONNECTED, Queues, SessionRecord};
use crate::store::{Batch, Order, Store, StoreError, for_each, keys};
use crate::transaction::Transaction;
use crate::wills;

/// A device for an operator, in the form of the administrative API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The user.
    pub user: String,
    /// The client id.
    pub client: String,
    /// The class; without a server running, and until the device has connected to it, a guess by the client id.
    pub class: String,
    /// Where it is connected from; nothing if it is not.
    pub address: Option<String>,
    /// Since when it is connected, or when it was last, in milliseconds since the Unix epoch; nothing if nobody knows.
    pub since: Option<Millis>,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Messages in its queue, at most.
    pub queued: u64,
    /// Entries of the inbox that it has not taken, at most.
    pub inbox: u64,
    /// Whether it is kept out.
    pub barred: bool,
}

/// Keeps a device out until it is allowed again.
pub fn bar(store: &dyn Store, device: &Device, now: Millis) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(keys::barred(&device.user, &device.client), now.to_be_bytes());
    store.commit(batch)
}

/// Lets a device in again; gives back whether it was kept out.
pub fn allow(store: &dyn Store, device: &Device) -> Result<bool, StoreError> {
    let key = keys::barred(&device.user, &device.client);
    let was_barred = store.get(&key)?.is_some();
    let mut batch = Batch::new();
    batch.delete(key);
    store.commit(batch)?;
    Ok(was_barred)
}

/// Every device that is kept out. What the record says beside its key does not matter: damaged or not, it bars.
pub fn barred(store: &dyn Store) -> Result<HashSet<Device, RandomState>, StoreError> {
    let mut all = HashSet::default();
    for_each(store, keys::all_barred(), &mut |key, _| {
        match device_of(key) {
            Some(device) => drop(all.insert(device)),
            None => tracing::error!(key = keys::show(key), "barred device unreadable, left out"),
        }
        Ok(())
    })?;
    Ok(all)
}

/// A device has the place of its class.
pub(crate) fn log_in(tx: &mut Transaction<'_>, device: &Device, class: &str) {
    tx.put(keys::place(&device.user, class), device.client.as_bytes().to_vec());
}

/// It has it no more, unless another has taken it already.
pub(crate) fn log_out(tx: &mut Transaction<'_>, device: &Device, class: &str) -> Result<(), StoreError> {
    let key = keys::place(&device.user, class);
    if tx.get(&key)?.is_some_and(|client| client == device.client.as_bytes()[..]) {
        tx.delete(key);
    }
    Ok(())
}

/// Which devices have which places, of those whose sessions outlived the last run.
pub(crate) fn places(
    store: &dyn Store,
    sessions: &[RestoredSession],
) -> Result<Vec<(Device, ByteString)>, StoreError> {
    let there: HashSet<&Device, RandomState> = sessions.iter().map(|session| &session.device).collect();
    let mut places = Vec::new();
    for_each(store, keys::all_places(), &mut |key, value| {
        let place = two_texts(key).zip(std::str::from_utf8(value).ok()).map(|((user, class), client)| {
            (Device { user: user.into(), client: client.into() }, ByteString::from(class))
        });
        match place {
            Some(place) if there.contains(&place.0) => places.push(place),
            Some(_) => {}
            None => tracing::error!(key = keys::show(key), "place of a device unreadable, left out"),
        }
        Ok(())
    })?;
    Ok(places)
}

/// The sessions that a store without a server has, of a user or of all.
pub fn stored(store: &dyn Store, user: Option<&str>) -> Result<Vec<Seen>, StoreError> {
    let mut seen = Vec::new();
    for_each(store, keys::all_sessions(), &mut |key, value| {
        let client = keys::Fields::of(key).and_then(|mut fields| fields.text());
        if let (Some(client), Ok(record)) = (client, postcard::from_bytes::<SessionRecord>(value))
            && user.is_none_or(|user| record.user == user)
        {
            let class = device_class(&record.user, &client);
            let device = Device { user: record.user.into(), client: client.into() };
            let since = if record.ended_at == CONNECTED { 0 } else { record.ended_at };
            seen.push(Seen { device, class, peer: None, since, subscriptions: 0 });
        }
        Ok(())
    })?;
    for session in &mut seen {
        let range = keys::subscriptions_of(&session.device.client);
        session.subscriptions = store.scan(range, Order::Forward, usize::MAX)?.len();
    }
    Ok(seen)
}

/// Those sessions with what waits for each, and the devices that are kept out and have none; sorted.
pub fn describe(
    store: &dyn Store,
    seen: Vec<Seen>,
    user: Option<&str>,
) -> Result<Vec<DeviceState>, StoreError> {
    let mut barred = barred(store)?;
    let mut all = Vec::new();
    for session in seen {
        let is_barred = barred.remove(&session.device);
        all.push(state(store, session, is_barred)?);
    }
    for device in barred.into_iter().filter(|device| user.is_none_or(|user| *device.user == *user)) {
        let class = device_class(&device.user, &device.client);
        all.push(state(store, Seen { device, class, peer: None, since: 0, subscriptions: 0 }, true)?);
    }
    all.sort_by(|a, b| (&a.user, &a.client).cmp(&(&b.user, &b.client)));
    Ok(all)
}

fn state(store: &dyn Store, seen: Seen, barred: bool) -> Result<DeviceState, StoreError> {
    let Seen { device: Device { user, client }, class, peer, since, subscriptions } = seen;
    let (queued, inbox) = waiting(store, &user, &client)?;
    Ok(DeviceState {
        class: if class.is_empty() { device_class(&user, &client) } else { class }.to_string(),
        user: user.to_string(),
        client: client.to_string(),
        address: peer.map(|peer| peer.to_string()),
        since: Some(since).filter(|since| *since > 0),
        subscriptions,
        queued,
        inbox,
        barred,
    })
}

/// From the first to the last, so that a long queue need not be read.
fn waiting(store: &dyn Store, user: &str, client: &str) -> Result<(u64, u64), StoreError> {
    let tx = Transaction::new(store, 0);
    let first = store.scan(keys::queued_of(client, 0..=u64::MAX), Order::Forward, 1)?;
    let first = first.first().and_then(|(key, _)| crate::inbox::position(key));
    let queued = match first {
        Some(first) => (tx.number(&keys::queue_head(client))? + 1).saturating_sub(first),
        None => 0,
    };
    let cursor = keys::cursor(user, client);
    let inbox = match store.get(&cursor)? {
        Some(_) => tx.number(&keys::inbox_head(user))?.saturating_sub(tx.number(&cursor)?),
        None => 0,
    };
    Ok((queued, inbox))
}

/// Ends sessions of a store without a server; gives back how many. A will that is owed stays owed, unless the user is gone.
pub fn end_sessions(
    store: &dyn Store,
    config: &Config,
    whose: &Whose,
    now: Millis,
) -> Result<usize, StoreError> {
    let user = match whose {
        Whose::User(user) => user,
        Whose::Device(device) => &device.user,
    };
    let mut sessions = stored(store, Some(user))?;
    if let Whose::Device(device) = whose {
        sessions.retain(|session| session.device == *device);
    }
    let mut queues = Queues::of(config, Default::default());
    // As at a start: it knows who else is in the share groups.
    queues.restore(store, now)?;
    for session in &sessions {
        let mut tx = Transaction::new(store, now);
        queues.end(&mut tx, store, &session.device.client, &[], 0)?;
        // Nobody is connected who could be told.
        tx.commit().map(drop)?;
    }
    if let Whose::User(user) = whose {
        // Also of connections without a session that outlived them, which died with the server.
        let mut tx = Transaction::new(store, now);
        wills::clients_of(store, user)?.iter().for_each(|client| tx.delete(keys::will(client)));
        tx.commit().map(drop)?;
    }
    Ok(sessions.len())
}

fn device_of(key: &[u8]) -> Option<Device> {
    two_texts(key).map(|(user, client)| Device { user: user.into(), client: client.into() })
}

fn two_texts(key: &[u8]) -> Option<(String, String)> {
    let mut fields = keys::Fields::of(key)?;
    Some((fields.text()?, fields.text()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use hubbub_broker::codec::{QoS, SubscribeOptions};
    use hubbub_broker::message::Message;
    use hubbub_broker::policy::Door;

    fn device(client: &str) -> Device {
        Device { user: "bob".into(), client: client.into() }
    }

    /// Two sessions of bob, one with two messages, and one of eve.
    fn left_behind() -> MemoryStore {
        let store = MemoryStore::default();
        let mut queues = Queues::of(&Config::default(), Default::default());
        let mut tx = Transaction::new(&store, 5);
        let eve = Device { user: "eve".into(), client: "eve".into() };
        for device in [device("bob-phone"), device("web"), eve] {
            queues.open(&mut tx, &store, &device, 60, false).unwrap();
        }
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        queues.subscribe(&mut tx, &"bob-phone".into(), &[("a".into(), options), ("b".into(), options)], None);
        let message = Message { topic: "a".into(), qos: QoS::AtLeastOnce, ..Message::default() };
        (0..2).for_each(|_| queues.enqueue(&mut tx, &message).unwrap());
        tx.put_number(keys::cursor("bob", "web"), 3);
        tx.put_number(keys::inbox_head("bob"), 10);
        queues.close(&mut tx, &device("web"), 60);
        tx.commit().unwrap();
        store
    }

    fn list(store: &MemoryStore, user: Option<&str>) -> Vec<DeviceState> {
        describe(store, stored(store, user).unwrap(), user).unwrap()
    }

    #[test]
    fn what_is_stored_for_each_device_is_told() {
        let store = left_behind();
        bar(&store, &device("lost"), 7).unwrap();
        let bobs = list(&store, Some("bob"));
        let said: Vec<_> = bobs.iter().map(|d| (d.client.as_str(), d.class.as_str(), d.since)).collect();
        assert_eq!(said, [("bob-phone", "phone", None), ("lost", "lost", None), ("web", "web", Some(5))]);
        let waits: Vec<_> = bobs.iter().map(|d| (d.subscriptions, d.queued, d.inbox, d.barred)).collect();
        assert_eq!(waits, [(2, 2, 0, false), (0, 0, 0, true), (0, 0, 7, false)]);
        assert_eq!(list(&store, None).len(), 4);
    }

    #[test]
    fn a_device_is_kept_out_until_it_is_allowed_again() {
        let store = MemoryStore::default();
        bar(&store, &device("phone"), 7).unwrap();
        assert!(barred(&store).unwrap().contains(&device("phone")));
        assert!(allow(&store, &device("phone")).unwrap());
        assert!(!allow(&store, &device("phone")).unwrap() && barred(&store).unwrap().is_empty());
    }

    #[test]
    fn sessions_of_a_user_or_a_device_end_and_nothing_of_them_is_left() {
        let store = left_behind();
        // Of a connection whose session was to end with it.
        let mut tx = Transaction::new(&store, 5);
        let terms = wills::Terms { kind: "web".into(), door: Door::Mqtt, delay: 0, expiry: None };
        wills::keep(
            &mut tx,
            &device("web2"),
            terms,
            &Message { topic: "dm/alice".into(), ..Message::default() },
        );
        tx.commit().unwrap();
        let end = |whose| end_sessions(&store, &Config::default(), &whose, 9).unwrap();
        assert_eq!(end(Whose::Device(device("bob-phone"))), 1);
        assert_eq!(end(Whose::Device(device("eve"))), 0, "it is of another user");
        assert_eq!(end(Whose::User("bob".into())), 1);
        let left = list(&store, None);
        assert_eq!(left.iter().map(|device| device.client.as_str()).collect::<Vec<_>>(), ["eve"]);
        for range in [keys::all_queued(), keys::all_subscriptions(), keys::all_cursors(), keys::all_wills()] {
            assert_eq!(store.scan(range, Order::Forward, 9).unwrap(), []);
        }
    }

    #[test]
    fn places_are_those_of_sessions_that_are_there_and_only_their_holder_leaves_them() {
        let store = left_behind();
        let mut tx = Transaction::new(&store, 0);
        log_in(&mut tx, &device("bob-phone"), "phone");
        log_in(&mut tx, &device("gone"), "desktop");
        log_out(&mut tx, &device("web"), "phone").unwrap();
        tx.put(keys::place("eve", "phone"), vec![0xFF]);
        tx.commit().unwrap();
        let sessions = Queues::of(&Config::default(), Default::default()).restore(&store, 9).unwrap();
        assert_eq!(places(&store, &sessions).unwrap(), [(device("bob-phone"), "phone".into())]);
        let mut tx = Transaction::new(&store, 0);
        log_out(&mut tx, &device("bob-phone"), "phone").unwrap();
        tx.commit().unwrap();
        assert_eq!(places(&store, &sessions).unwrap(), []);
    }

    #[test]
    fn a_damaged_record_of_a_barred_device_still_bars() {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        batch.put(keys::barred("bob", "phone"), "?");
        batch.put("f/bob", "?");
        store.commit(batch).unwrap();
        assert_eq!(barred(&store).unwrap().into_iter().collect::<Vec<_>>(), [device("phone")]);
    }
}
