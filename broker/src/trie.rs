//! Subscriptions by topic filter, and all that match a topic name.
//!
//! Filters without wildcards, the great majority where every user has a topic of their own, lie in one hash map, so
//! finding them does not depend on how many there are; the others form a tree of levels.

use std::collections::HashMap;

use ahash::RandomState;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::topic::has_wildcard;

/// What stands under one filter: mostly one entry.
type Entries<K, V> = SmallVec<[(K, V); 1]>;

/// A set of `(filter, key) → value`.
#[derive(Debug)]
pub struct Trie<K, V> {
    exact: HashMap<ByteString, Entries<K, V>, RandomState>,
    wild: Node<K, V>,
    len: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    children: HashMap<ByteString, Node<K, V>, RandomState>,
    plus: Option<Box<Node<K, V>>>,
    /// Entries whose filter ends here.
    here: Entries<K, V>,
    /// Entries whose filter ends here with `#`.
    rest: Entries<K, V>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Node { children: HashMap::default(), plus: None, here: SmallVec::new(), rest: SmallVec::new() }
    }
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Trie { exact: HashMap::default(), wild: Node::default(), len: 0 }
    }
}

impl<K: PartialEq, V> Trie<K, V> {
    /// Puts a value under a filter and key; gives back the value that stood there.
    pub fn insert(&mut self, filter: &ByteString, key: K, value: V) -> Option<V> {
        let old = put(self.entries_mut(filter), key, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes a value out.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let old = if has_wildcard(filter) {
            self.wild.remove(filter, key)
        } else {
            let entries = self.exact.get_mut(filter)?;
            let old = take(entries, key);
            if entries.is_empty() {
                self.exact.remove(filter);
            }
            old
        };
        self.len -= usize::from(old.is_some());
        old
    }

    /// The value under a filter and key.
    pub fn get_mut(&mut self, filter: &ByteString, key: &K) -> Option<&mut V> {
        let entries =
            if has_wildcard(filter) { self.wild.find(filter)? } else { self.exact.get_mut(&**filter)? };
        entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Calls `found` for every entry whose filter matches; an entry with several matching filters comes several times.
    pub fn for_each_match<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a K, &'a V)) {
        if let Some(entries) = self.exact.get(topic) {
            entries.iter().for_each(|(k, v)| found(k, v));
        }
        if !self.wild.is_empty() {
            self.wild.matching(Some(topic), topic.starts_with('$'), &mut found);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn entries_mut(&mut self, filter: &ByteString) -> &mut Entries<K, V> {
        if !has_wildcard(filter) {
            return self.exact.entry(filter.clone()).or_default();
        }
        let mut node = &mut self.wild;
        for level in filter.split('/') {
            match level {
                "#" => return &mut node.rest,
                "+" => node = node.plus.get_or_insert_default(),
                _ => node = node.children.entry(level.into()).or_default(),
            }
        }
        &mut node.here
    }
}

impl<K: PartialEq, V> Node<K, V> {
    /// `rest` is what is left of the topic: nothing once the last level is used up.
    fn matching<'a>(&'a self, rest: Option<&str>, reserved: bool, found: &mut impl FnMut(&'a K, &'a V)) {
        if !reserved {
            self.rest.iter().for_each(|(k, v)| found(k, v));
        }
        let Some(rest) = rest else {
            self.here.iter().for_each(|(k, v)| found(k, v));
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = self.children.get(level) {
            child.matching(rest, false, found);
        }
        if let (Some(plus), false) = (&self.plus, reserved) {
            plus.matching(rest, false, found);
        }
    }

    fn find(&mut self, filter: &str) -> Option<&mut Entries<K, V>> {
        let mut node = self;
        for level in filter.split('/') {
            match level {
                "#" => return Some(&mut node.rest),
                "+" => node = node.plus.as_deref_mut()?,
                _ => node = node.children.get_mut(level)?,
            }
        }
        Some(&mut node.here)
    }

    /// Removes an entry and every node that becomes empty on the way back.
    fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let (level, rest) = match filter.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (filter, None),
        };
        if level == "#" {
            return take(&mut self.rest, key);
        }
        let child = match level {
            "+" => self.plus.as_deref_mut()?,
            _ => self.children.get_mut(level)?,
        };
        let old = match rest {
            Some(rest) => child.remove(rest, key),
            None => take(&mut child.here, key),
        };
        if child.is_empty() {
            match level {
                "+" => self.plus = None,
                _ => drop(self.children.remove(level)),
            }
        }
        old
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

fn put<K: PartialEq, V>(entries: &mut Entries<K, V>, key: K, value: V) -> Option<V> {
    match entries.iter_mut().find(|(k, _)| *k == key) {
        Some((_, old)) => Some(std::mem::replace(old, value)),
        None => {
            entries.push((key, value));
            None
        }
    }
}

fn take<K: PartialEq, V>(entries: &mut Entries<K, V>, key: &K) -> Option<V> {
    let at = entries.iter().position(|(k, _)| k == key)?;
    Some(entries.swap_remove(at).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::matches;
    use proptest::prelude::*;

    fn level() -> impl Strategy<Value = String> {
        prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just(String::new()), Just("$x".to_owned())]
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("names are not empty", |n| !n.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(prop_oneof![3 => level(), 1 => Just("+".to_owned())], 1..5), any::<bool>())
            .prop_map(|(mut levels, rest)| {
                if rest {
                    levels.push("#".to_owned());
                }
                levels.join("/")
            })
            .prop_filter("filters are not empty", |f| !f.is_empty())
    }

    proptest! {
        /// The trie agrees with comparing every filter, whatever came and went before.
        #[test]
        fn agrees_with_the_naive_matcher(
            steps in prop::collection::vec((filter(), 0u8..4, any::<bool>()), 0..40),
            topics in prop::collection::vec(name(), 1..10),
        ) {
            let mut trie = Trie::default();
            let mut naive: Vec<(String, u8)> = Vec::new();
            for (filter, key, add) in steps {
                let known = naive.iter().position(|e| *e == (filter.clone(), key));
                if add {
                    prop_assert_eq!(trie.insert(&filter.clone().into(), key, ()).is_some(), known.is_some());
                    if known.is_none() {
                        naive.push((filter, key));
                    }
                } else {
                    prop_assert_eq!(trie.remove(&filter, &key).is_some(), known.is_some());
                    known.map(|at| naive.swap_remove(at));
                }
                prop_assert_eq!(trie.len(), naive.len());
            }
            for topic in topics {
                let mut got = Vec::new();
                trie.for_each_match(&topic, |k, _| got.push(*k));
                let mut want: Vec<u8> = naive.iter().filter(|(f, _)| matches(f, &topic)).map(|(_, k)| *k).collect();
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(got, want, "{}", topic);
            }
        }
    }

    #[test]
    fn nothing_stays_behind() {
        let mut trie = Trie::default();
        for filter in ["a/+/c", "a/#", "x/y", "+", "#"] {
            trie.insert(&filter.into(), 1, ());
        }
        for filter in ["a/+/c", "a/#", "x/y", "+", "#"] {
            assert!(trie.remove(filter, &1).is_some());
        }
        assert!(trie.is_empty() && trie.exact.is_empty() && trie.wild.is_empty());
    }
}
