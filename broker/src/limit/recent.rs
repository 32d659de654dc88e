//! The pace of many who come and go, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

use super::{Bucket, Rate};
use crate::clock::Millis;

/// One bucket for everybody who came lately.
///
/// A bucket that nobody touched for as long as it takes to fill is full, so forgetting it changes nothing. Hence two
/// generations: who comes is in the young one; when that has had its time it becomes the old one, and what was old goes.
/// Nothing is ever searched. While there is no room, those who are not known share one bucket: whoever comes from ever new
/// addresses takes the room from other strangers, but nothing from those who are known.
#[derive(Debug)]
pub struct Recent<K> {
    rate: Rate,
    capacity: usize,
    young: HashMap<K, Bucket, RandomState>,
    old: HashMap<K, Bucket, RandomState>,
    /// When the young generation began.
    began: Millis,
    strangers: Bucket,
}

impl<K: Eq + Hash> Recent<K> {
    /// For at most so many at this rate.
    pub fn new(rate: Rate, capacity: usize, now: Millis) -> Recent<K> {
        Recent {
            rate,
            capacity,
            young: HashMap::default(),
            old: HashMap::default(),
            began: now,
            strangers: Bucket::full(&rate, now),
        }
    }

    /// Whether this one may come now.
    pub fn take(&mut self, key: K, now: Millis) -> bool {
        self.grow_old(now);
        if let Some(bucket) = self.young.get_mut(&key) {
            return bucket.take(&self.rate, now);
        }
        let mut bucket = match self.old.remove(&key) {
            Some(bucket) => bucket,
            None if self.len() >= self.capacity => return self.strangers.take(&self.rate, now),
            None => Bucket::full(&self.rate, now),
        };
        let taken = bucket.take(&self.rate, now);
        self.young.insert(key, bucket);
        taken
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn grow_old(&mut self, now: Millis) {
        let age = now.saturating_sub(self.began);
        if age < self.rate.fill_time() {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age >= 2 * self.rate.fill_time() {
            self.old = HashMap::default();
        }
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strangers_share_one_bucket_while_there_is_no_room() {
        let rate = Rate::per_second(10, 1000);
        let mut recent = Recent::new(rate, 100, 0);
        (0..100).for_each(|known| assert!(recent.take(known, 0)));
        let let_in = (100..100_000).filter(|stranger| recent.take(*stranger, 1)).count();
        assert_eq!((let_in, recent.len()), (10, 100));
        (0..100).for_each(|known| assert!(recent.take(known, 2), "{known} is known"));
        // Once there is time to forget them, others get buckets of their own.
        assert!((200..300).all(|newcomer| recent.take(newcomer, 2100)));
    }

    proptest! {
        #[test]
        fn forgetting_changes_nothing(
            count in 1u64..20, window in 1u64..2000, steps in prop::collection::vec((0u64..500, 0u8..5), 1..300),
        ) {
            let rate = Rate::new(count, window);
            let mut recent = Recent::new(rate, 5, 0);
            let mut plain: HashMap<u8, Bucket> = HashMap::new();
            let mut now = 0;
            for (step, who) in steps {
                now += step;
                let expected = plain.entry(who).or_insert(Bucket::full(&rate, 0)).take(&rate, now);
                prop_assert_eq!(recent.take(who, now), expected);
                prop_assert!(recent.len() <= 5);
            }
        }

        #[test]
        fn it_never_holds_more_than_its_bound(keys in prop::collection::vec((0u64..200, 0u32..10_000), 1..500)) {
            let mut recent = Recent::new(Rate::per_second(1, 1000), 16, 0);
            let mut now = 0;
            for (step, key) in keys {
                now += step;
                recent.take(key, now);
                prop_assert!(recent.len() <= 16);
            }
        }
    }
}
