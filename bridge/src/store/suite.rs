//! The promises of [`Store`], checked for every engine.

use std::ops::Range;

use super::{Batch, Order, Pair, Store, StoreError, keys};

/// A sentence about stores, and what proves it.
type Promise = (&'static str, fn(&dyn Store));

/// Runs every promise on a fresh store each.
pub(crate) fn check<S: Store>(fresh: impl Fn() -> S) {
    let promises: [Promise; 11] = [
        ("a batch lands whole and in order", batch_lands_whole),
        ("scans go both ways with limits", scans_both_ways),
        ("odd ranges are empty", odd_ranges_are_empty),
        ("an empty batch is fine", empty_batch),
        ("large values come back", large_values),
        ("empty and binary keys work", odd_keys),
        ("ids that are prefixes of one another stay apart", prefix_isolation),
        ("a scan never sees half of a batch", scan_sees_whole_batches),
        ("a walk shows everything in order, and ends with an error", walk_shows_all),
        ("a walk shows one moment, and commits go on", walk_shows_one_moment),
        ("size is reported", size_is_reported),
    ];
    for (promise, test) in promises {
        println!("promise: {promise}");
        test(&fresh());
    }
}

/// For engines with a disk: `open` gives the same data each time.
pub(crate) fn check_reopen<S: Store>(open: impl Fn() -> S) {
    for round in 0..5u32 {
        let store = open();
        let before: Vec<Pair> = (0..round).map(|n| pair(&format!("k{n}"), &large(n))).collect();
        assert_eq!(all(&store), before, "round {round}");
        commit(&store, |batch| {
            batch.put(format!("k{round}"), large(round));
            batch.put("gone", "x");
            batch.delete("gone");
        });
    }
}

fn large(n: u32) -> String {
    format!("{n}").repeat(1 << (4 * n))
}

fn batch_lands_whole(store: &dyn Store) {
    commit(store, |batch| {
        batch.put("a", "1");
        batch.put("b", "1");
    });
    commit(store, |batch| {
        batch.put("a", "2");
        batch.delete("a");
        batch.put("a", "3");
        batch.put("b", "2");
        batch.delete("b");
        batch.delete("never-was");
    });
    assert_eq!(all(store), [pair("a", "3")]);
    assert_eq!(store.get(b"a").unwrap(), Some(b"3".to_vec()));
    assert_eq!(store.get(b"b").unwrap(), None);
}

fn scans_both_ways(store: &dyn Store) {
    commit(store, |batch| ["d", "b", "a", "c", "e"].into_iter().for_each(|key| batch.put(key, key)));
    let scan = |order, limit| joined(store.scan(range("b", "e"), order, limit).unwrap());
    assert_eq!(scan(Order::Forward, 10), "bcd");
    assert_eq!(scan(Order::Backward, 10), "dcb");
    assert_eq!(scan(Order::Forward, 2), "bc");
    assert_eq!(scan(Order::Backward, 2), "dc");
    assert_eq!(scan(Order::Forward, 0), "");
    assert_eq!(scan(Order::Backward, usize::MAX), "dcb");
}

fn odd_ranges_are_empty(store: &dyn Store) {
    commit(store, |batch| batch.put("b", "b"));
    for odd in [range("b", "b"), range("c", "a"), range("bb", "b")] {
        assert_eq!(store.scan(odd.clone(), Order::Forward, 9).unwrap(), [], "{odd:?}");
        assert_eq!(store.scan(odd.clone(), Order::Backward, 9).unwrap(), [], "{odd:?}");
    }
}

fn empty_batch(store: &dyn Store) {
    assert!(Batch::new().is_empty());
    store.commit(Batch::new()).unwrap();
    assert_eq!(all(store), []);
}

fn large_values(store: &dyn Store) {
    let value: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    commit(store, |batch| batch.put("large", value.clone()));
    commit(store, |batch| batch.put("small", "s"));
    assert_eq!(store.get(b"large").unwrap(), Some(value));
    commit(store, |batch| batch.delete("large"));
    assert_eq!(all(store), [pair("small", "s")]);
}

fn odd_keys(store: &dyn Store) {
    let odd: [&[u8]; 4] = [&[0], &[0, 0], &[0, 255], &[255; 65_535]];
    commit(store, |batch| odd.into_iter().for_each(|key| batch.put(key, [])));
    assert!(odd.into_iter().all(|key| store.get(key).unwrap() == Some(vec![])));
    assert_eq!(store.get(&[0, 0, 0]).unwrap(), None);
}

fn prefix_isolation(store: &dyn Store) {
    let ids = ["a", "ab", "a\0", "a\u{1}", "b"];
    commit(store, |batch| {
        for id in ids {
            (1..=3).for_each(|n| batch.put(keys::inbox(id, n), id));
            batch.put(keys::inbox_head(id), "head");
        }
    });
    for id in ids {
        let found = store.scan(keys::inbox_of(id, 0..=u64::MAX), Order::Forward, 99).unwrap();
        assert!(
            found.len() == 3 && found.iter().all(|(_, value)| value == id.as_bytes()),
            "{id:?}: {found:?}"
        );
        assert_eq!(store.scan(keys::inbox_of(id, 2..=2), Order::Backward, 99).unwrap().len(), 1);
    }
}

fn scan_sees_whole_batches(store: &dyn Store) {
    let value = |n: u32| n.to_be_bytes();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=200 {
                commit(store, |batch| (0..40).for_each(|key| batch.put([key], value(n))));
            }
        });
        loop {
            let last_look = writer.is_finished();
            let found = all(store);
            assert!(found.is_empty() || found.len() == 40);
            assert!(found.iter().all(|(_, value)| *value == found[0].1), "two batches in one scan");
            if last_look {
                break;
            }
        }
    });
    assert_eq!(store.get(&[39]).unwrap(), Some(value(200).to_vec()));
}

fn walk_shows_all(store: &dyn Store) {
    commit(store, |batch| ["b", "a", "c"].into_iter().for_each(|key| batch.put(key, key)));
    let mut seen = String::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        seen.push(key[0].into());
        if key == b"b" { Err(StoreError::Failed("enough".into())) } else { Ok(()) }
    };
    store.walk(&mut visit).unwrap_err();
    assert_eq!(seen, "ab");
    let mut pairs = Vec::new();
    store
        .walk(&mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(pairs, all(store));
}

fn walk_shows_one_moment(store: &dyn Store) {
    let key = |n: u32| n.to_be_bytes();
    commit(store, |batch| (0..3000).filter(|n| n % 2 == 0).for_each(|n| batch.put(key(n), "before")));
    let (mut seen, mut round) = (Vec::new(), 0u32);
    let mut visit = |found: &[u8], value: &[u8]| {
        assert_eq!(value, b"before");
        seen.push(u32::from_be_bytes(found.try_into().unwrap()));
        // Keys in front of the walk and behind it: changed, taken away, new; also behind all of them.
        if seen.len() % 100 == 1 {
            round += 1;
            commit(store, |batch| {
                (0..3000).filter(|n| n % 7 == round % 7).for_each(|n| batch.put(key(n), "after"));
                (0..3000).filter(|n| n % 11 == round % 11).for_each(|n| batch.delete(key(n)));
                batch.put(key(9000 + round), "after");
            });
        }
        Ok(())
    };
    store.walk(&mut visit).unwrap();
    assert_eq!(seen, (0..3000).filter(|n| n % 2 == 0).collect::<Vec<_>>());
    assert!(store.get(&key(9001)).unwrap().is_some());
}

fn size_is_reported(store: &dyn Store) {
    commit(store, |batch| batch.put("k", vec![7; 10_000]));
    assert!(store.size_on_disk().unwrap() >= 10_000);
}

fn commit(store: &dyn Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch).unwrap();
}

fn all(store: &dyn Store) -> Vec<Pair> {
    store.scan(keys::everything(), Order::Forward, usize::MAX).unwrap()
}

fn range(from: &str, to: &str) -> Range<Vec<u8>> {
    from.into()..to.into()
}

fn pair(key: &str, value: &str) -> Pair {
    (key.into(), value.into())
}

fn joined(pairs: Vec<Pair>) -> String {
    pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}
