//! Retained messages (MQTT 5 §3.3.1.3), shared by all edges; the bridge keeps them on disk.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ahash::RandomState;
use bytestring::ByteString;

use crate::clock::Millis;
use crate::message::Message;
use crate::topic::has_wildcard;

/// All retained messages, by topic.
#[derive(Debug)]
pub struct Retained {
    tree: RwLock<Tree>,
    limits: RetainedLimits,
}

/// How much may be retained.
#[derive(Debug, Clone, Copy)]
pub struct RetainedLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of topics, properties and payloads.
    pub bytes: usize,
}

/// There is no room for one more retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedFull;

#[derive(Debug, Default)]
struct Tree {
    root: Node,
    messages: usize,
    bytes: usize,
    stamp: u64,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<ByteString, Node, RandomState>,
    message: Option<Arc<Message>>,
}

impl Retained {
    /// Nothing retained yet.
    pub fn new(limits: RetainedLimits) -> Retained {
        Retained { tree: RwLock::default(), limits }
    }

    /// Makes a message the retained one of its topic; an empty one takes it away. Gives back its stamp: the order in
    /// which messages were retained here is the order that counts, whichever reaches the disk first.
    pub fn set(&self, message: &Message) -> Result<u64, RetainedFull> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let stamp = tree.stamp + 1;
        if message.payload.is_empty() {
            if let Some(old) = tree.root.remove(Some(&message.topic)) {
                tree.messages -= 1;
                tree.bytes -= old.encoded_len();
            }
            tree.stamp = stamp;
            return Ok(stamp);
        }
        let size = message.encoded_len();
        let old_size = tree.root.find(&message.topic).map(|old| old.encoded_len());
        let bytes = tree.bytes + size - old_size.unwrap_or(0);
        let messages = tree.messages + usize::from(old_size.is_none());
        if bytes > self.limits.bytes || messages > self.limits.messages {
            return Err(RetainedFull);
        }
        (tree.bytes, tree.messages) = (bytes, messages);
        tree.root.insert(&message.topic, Arc::new(message.compact()));
        tree.stamp = stamp;
        Ok(stamp)
    }

    /// All messages whose topic matches, without the expired ones.
    pub fn matching(&self, filter: &str, now: Millis) -> Vec<Arc<Message>> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        if has_wildcard(filter) {
            tree.root.matching(Some(filter), true, &mut found);
        } else {
            found.extend(tree.root.find(filter).cloned());
        }
        found.retain(|message| !message.is_expired(now));
        found
    }

    /// How many messages and bytes are retained.
    pub fn size(&self) -> (usize, usize) {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        (tree.messages, tree.bytes)
    }
}

impl Node {
    fn insert(&mut self, topic: &str, message: Arc<Message>) {
        let mut node = self;
        for level in topic.split('/') {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            // Present: it was put there just above.
            let Some(child) = node.children.get_mut(level) else { return };
            node = child;
        }
        node.message = Some(message);
    }

    fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut node = self;
        for level in topic.split('/') {
            node = node.children.get(level)?;
        }
        node.message.as_ref()
    }

    fn remove(&mut self, topic: Option<&str>) -> Option<Arc<Message>> {
        let Some(topic) = topic else { return self.message.take() };
        let (level, rest) = split(topic);
        let child = self.children.get_mut(level)?;
        let old = child.remove(rest);
        if child.message.is_none() && child.children.is_empty() {
            self.children.remove(level);
        }
        old
    }

    fn matching(&self, filter: Option<&str>, first: bool, found: &mut Vec<Arc<Message>>) {
        let Some(filter) = filter else {
            found.extend(self.message.clone());
            return;
        };
        let (level, rest) = split(filter);
        match level {
            "#" => self.all(first, found),
            "+" => {
                let visible = self.children.iter().filter(|(name, _)| !(first && name.starts_with('$')));
                visible.for_each(|(_, child)| child.matching(rest, false, found));
            }
            _ => {
                if let Some(child) = self.children.get(level) {
                    child.matching(rest, false, found);
                }
            }
        }
    }

    /// Everything from here down, for `#`.
    fn all(&self, first: bool, found: &mut Vec<Arc<Message>>) {
        found.extend(self.message.clone());
        let visible = self.children.iter().filter(|(name, _)| !(first && name.starts_with('$')));
        visible.for_each(|(_, child)| child.all(false, found));
    }
}

fn split(levels: &str) -> (&str, Option<&str>) {
    match levels.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (levels, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::matches;
    use proptest::prelude::*;

    fn retained() -> Retained {
        Retained::new(RetainedLimits { messages: 100, bytes: 10_000 })
    }

    fn message(topic: &str, payload: &'static str) -> Message {
        Message { topic: topic.into(), payload: payload.into(), retain: true, ..Message::default() }
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_matcher_finds(
            topics in prop::collection::hash_set("(\\$x|a|b|)(/(a|b|\\$x|)){0,3}", 0..20),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            filter in "(\\+|a|b|\\$x)(/(a|b|\\+)){0,3}(/#)?",
        ) {
            let retained = retained();
            let mut topics: Vec<String> = topics.into_iter().filter(|t| !t.is_empty()).collect();
            for topic in &topics {
                retained.set(&message(topic, "1")).unwrap();
            }
            for at in gone {
                if !topics.is_empty() {
                    let topic = topics.swap_remove(at.index(topics.len()));
                    retained.set(&message(&topic, "")).unwrap();
                }
            }
            let mut got: Vec<String> =
                retained.matching(&filter, 0).iter().map(|m| m.topic.to_string()).collect();
            let mut want: Vec<String> = topics.iter().filter(|t| matches(&filter, t)).cloned().collect();
            got.sort();
            want.sort();
            prop_assert_eq!(got, want);
            prop_assert_eq!(retained.size().0, topics.len());
        }
    }

    #[test]
    fn a_full_store_refuses_new_topics_and_takes_replacements_and_deletions() {
        let retained = Retained::new(RetainedLimits { messages: 1, bytes: 1000 });
        assert_eq!(retained.set(&message("a", "1")), Ok(1));
        assert_eq!(retained.set(&message("b", "1")), Err(RetainedFull));
        assert_eq!(retained.set(&message("a", "22")), Ok(2));
        assert_eq!(retained.set(&message("a", "")), Ok(3));
        assert_eq!(retained.size(), (0, 0));
        assert_eq!(retained.set(&message("b", "1")), Ok(4));
    }

    #[test]
    fn expired_messages_are_not_found() {
        let retained = retained();
        retained.set(&Message { expires: Some(10), ..message("a", "1") }).unwrap();
        assert_eq!(retained.matching("a", 9).len(), 1);
        assert_eq!(retained.matching("#", 10).len(), 0);
    }
}
