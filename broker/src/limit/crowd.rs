//! How many of each are here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

/// Counts those who are here, by what they have in common. Who has left leaves nothing, so it is as large as the crowd.
#[derive(Debug)]
pub struct Crowd<K> {
    here: HashMap<K, u32, RandomState>,
}

impl<K> Default for Crowd<K> {
    fn default() -> Crowd<K> {
        Crowd { here: HashMap::default() }
    }
}

impl<K: Eq + Hash> Crowd<K> {
    /// One more, unless there are `most` already.
    pub fn enter(&mut self, key: K, most: u32) -> bool {
        let here = self.here.entry(key).or_insert(0);
        let room = *here < most;
        *here += u32::from(room);
        room
    }

    /// One less.
    pub fn leave<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(here) = self.here.get_mut(key) {
            *here -= 1;
            if *here == 0 {
                self.here.remove(key);
            }
        }
    }

    /// How many there are of one kind.
    pub fn count<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> u32
    where
        K: Borrow<Q>,
    {
        self.here.get(key).copied().unwrap_or(0)
    }

    /// How many kinds there are.
    pub fn kinds(&self) -> usize {
        self.here.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_and_no_more_until_one_leaves() {
        let mut crowd = Crowd::default();
        assert!(crowd.enter("a", 2) && crowd.enter("a", 2) && !crowd.enter("a", 2));
        assert!(crowd.enter("b", 1), "others have their own count");
        crowd.leave("a");
        assert!(crowd.enter("a", 2) && !crowd.enter("a", 2));
        assert_eq!((crowd.count("a"), crowd.count("b"), crowd.count("c")), (2, 1, 0));
        ["a", "a", "b", "c"].into_iter().for_each(|who| crowd.leave(who));
        assert_eq!(crowd.kinds(), 0, "who has left leaves nothing");
    }
}
