//! What must hold of the data on disk at any time: no gaps, and nothing by halves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hubbub_bridge::inbox::InboxEntry;
use hubbub_bridge::store::keys::{self, Fields};
use hubbub_bridge::store::{Order, Pair, Store};

/// # Panics
/// With what is missing.
pub fn is_whole(disk: &dyn Store) {
    conversations_are_dense(disk);
    inboxes_are_dense_and_lead_to_messages(disk);
    every_message_is_in_the_inbox_of_everybody(disk);
    cursors_point_at_what_there_is(disk);
    queues_have_sessions_and_no_entry_behind_their_head(disk);
    answers_to_repeats_lead_to_messages(disk);
}

/// Everything on disk.
pub fn all(disk: &dyn Store) -> Vec<Pair> {
    within(disk, keys::everything())
}

fn conversations_are_dense(disk: &dyn Store) {
    let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, _) in within(disk, keys::all_messages()) {
        let (cid, seq) = owner_and_number(&key);
        seqs.entry(cid).or_default().push(seq);
    }
    let heads = heads(disk, keys::all_conversations());
    assert_eq!(
        heads.keys().collect::<Vec<_>>(),
        seqs.keys().collect::<Vec<_>>(),
        "a head for each conversation"
    );
    for (cid, seqs) in seqs {
        assert_eq!(seqs, (1..=heads[&cid]).collect::<Vec<_>>(), "seq of {cid}");
    }
}

fn inboxes_are_dense_and_lead_to_messages(disk: &dyn Store) {
    let heads = heads(disk, keys::all_inbox_heads());
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (user, n, entry) in inbox_entries(disk) {
        let message = disk.get(&keys::message(&entry.cid, entry.seq)).unwrap();
        assert!(message.is_some(), "{n} in the inbox of {user} leads nowhere: {entry:?}");
        found.entry(user).or_default().push(n);
    }
    for (user, numbers) in found {
        assert_eq!(numbers, (1..=heads[&user]).collect::<Vec<_>>(), "n of {user}");
    }
    for (key, _) in within(disk, keys::all_pending()) {
        let (user, n) = owner_and_number(&key);
        assert!(disk.get(&keys::inbox(&user, n)).unwrap().is_some(), "a notification of {user} for nothing");
    }
}

fn every_message_is_in_the_inbox_of_everybody(disk: &dyn Store) {
    let mut copies: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
    for (user, _, entry) in inbox_entries(disk) {
        let place = (entry.cid, entry.seq);
        assert!(copies.entry(place.clone()).or_default().insert(user.clone()), "{place:?} twice for {user}");
    }
    for (key, _) in within(disk, keys::all_messages()) {
        let place = owner_and_number(&key);
        let members: BTreeSet<String> = place.0.split('~').map(str::to_owned).collect();
        assert_eq!(copies.get(&place), Some(&members), "who has {place:?}");
    }
}

fn cursors_point_at_what_there_is(disk: &dyn Store) {
    let heads = heads(disk, keys::all_inbox_heads());
    for range in [keys::all_cursors(), keys::all_taken()] {
        for (key, value) in within(disk, range) {
            let user = Fields::of(&key).unwrap().text().unwrap();
            assert!(number(&value) <= heads.get(&user).copied().unwrap_or(0), "a cursor of {user} is ahead");
        }
    }
}

fn queues_have_sessions_and_no_entry_behind_their_head(disk: &dyn Store) {
    let sessions: BTreeSet<String> = within(disk, keys::all_sessions())
        .iter()
        .map(|(key, _)| Fields::of(key).unwrap().text().unwrap())
        .collect();
    let of_sessions = [
        keys::all_queued(),
        keys::all_queue_heads(),
        keys::all_subscriptions(),
        keys::all_inbound(),
        keys::all_released(),
    ];
    for (key, _) in of_sessions.into_iter().flat_map(|range| within(disk, range)) {
        let client = Fields::of(&key).unwrap().text().unwrap();
        assert!(sessions.contains(&client), "{client} has no session and {key:?}");
    }
    let heads = heads(disk, keys::all_queue_heads());
    for (key, _) in within(disk, keys::all_queued()) {
        let (client, position) = owner_and_number(&key);
        assert!(position <= heads[&client], "{position} is behind the head of the queue of {client}");
    }
}

fn answers_to_repeats_lead_to_messages(disk: &dyn Store) {
    let due: BTreeSet<(String, String)> = within(disk, keys::all_expiries())
        .iter()
        .map(|(key, _)| {
            let mut fields = Fields::of(key).unwrap();
            fields.number().unwrap();
            (fields.text().unwrap(), fields.text().unwrap())
        })
        .collect();
    for (key, value) in within(disk, keys::all_dedupes()) {
        let mut fields = Fields::of(&key).unwrap();
        let id = (fields.text().unwrap(), fields.text().unwrap());
        // The beginning of the record: conversation and seq.
        let (cid, seq): (String, u64) = postcard::take_from_bytes(&value).unwrap().0;
        assert!(disk.get(&keys::message(&cid, seq)).unwrap().is_some(), "{id:?} was answered with nothing");
        assert!(due.contains(&id), "{id:?} is never forgotten");
    }
}

fn inbox_entries(disk: &dyn Store) -> Vec<(String, u64, InboxEntry)> {
    let entries = within(disk, keys::all_inboxes()).into_iter().map(|(key, value)| {
        let (user, n) = owner_and_number(&key);
        (user, n, postcard::from_bytes(&value).unwrap())
    });
    entries.collect()
}

fn heads(disk: &dyn Store, range: Range<Vec<u8>>) -> BTreeMap<String, u64> {
    let heads = within(disk, range).into_iter();
    heads.map(|(key, value)| (Fields::of(&key).unwrap().text().unwrap(), number(&value))).collect()
}

fn within(disk: &dyn Store, range: Range<Vec<u8>>) -> Vec<Pair> {
    disk.scan(range, Order::Forward, usize::MAX).unwrap()
}

fn owner_and_number(key: &[u8]) -> (String, u64) {
    let mut fields = Fields::of(key).unwrap();
    (fields.text().unwrap(), fields.number().unwrap())
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}
