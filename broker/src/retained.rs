//! Retained messages (MQTT 5 §3.3.1.3), shared by all edges; the bridge keeps them on disk.

use std::collections::{BTreeSet, HashMap};
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

/// How much is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetainedSize {
    /// Messages.
    pub messages: usize,
    /// Bytes as [`RetainedLimits`] counts them.
    pub bytes: usize,
    /// Bytes of the payloads alone.
    pub payload_bytes: usize,
}

#[derive(Debug, Default)]
struct Tree {
    root: Node,
    /// What the server says of itself (`$SYS`): neither limited nor counted nor on disk.
    own: Node,
    size: RetainedSize,
    stamp: u64,
    /// When each message that expires does so.
    deadlines: BTreeSet<(Millis, ByteString)>,
}

#[derive(Debug, Default)]
struct Node {
    /// Most have none: they are the topic of a message.
    children: Option<Box<Children>>,
    message: Option<Arc<Message>>,
}

type Children = HashMap<ByteString, Node, RandomState>;

impl Retained {
    /// Nothing retained yet.
    pub fn new(limits: RetainedLimits) -> Retained {
        Retained { tree: RwLock::default(), limits }
    }

    /// Makes a message the retained one of its topic; an empty one takes it away. Gives back its stamp: the order in
    /// which messages were retained here is the order that counts, whichever reaches the disk first.
    pub fn set(&self, message: &Message) -> Result<u64, RetainedFull> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        if message.payload.is_empty() {
            return Ok(tree.clear(&message.topic));
        }
        let old = tree.root.find(&message.topic).map(|old| old.encoded_len());
        let bytes = tree.size.bytes + message.encoded_len() - old.unwrap_or(0);
        let messages = tree.size.messages + usize::from(old.is_none());
        if bytes > self.limits.bytes || messages > self.limits.messages {
            return Err(RetainedFull);
        }
        Ok(tree.put(Arc::new(message.compact())))
    }

    /// Retains what the server says of itself; limits do not apply, and [`Retained::size`] does not count it.
    pub fn set_own(&self, message: Arc<Message>) {
        self.tree.write().unwrap_or_else(PoisonError::into_inner).own.insert(message);
    }

    /// Takes away messages that have expired, at most so many. Gives back their topics with the stamps of the removals,
    /// as if each had been cleared by [`Retained::set`].
    pub fn sweep(&self, now: Millis, most: usize) -> Vec<(ByteString, u64)> {
        // Mostly nothing is due, which is known without keeping anybody out.
        let is_due = |tree: &Tree| tree.deadlines.first().is_some_and(|(at, _)| *at <= now);
        if !is_due(&self.tree.read().unwrap_or_else(PoisonError::into_inner)) {
            return Vec::new();
        }
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let due = tree.deadlines.iter().take_while(|(at, _)| *at <= now).take(most);
        let topics: Vec<_> = due.map(|(_, topic)| topic.clone()).collect();
        topics.into_iter().map(|topic| (topic.clone(), tree.clear(&topic))).collect()
    }

    /// All messages whose topic matches, without the expired ones.
    pub fn matching(&self, filter: &str, now: Millis) -> Vec<Arc<Message>> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for root in [&tree.root, &tree.own] {
            if has_wildcard(filter) {
                root.matching(Some(filter), true, &mut found);
            } else {
                found.extend(root.find(filter).cloned());
            }
        }
        found.retain(|message| !message.is_expired(now));
        found
    }

    /// What the topic of a message that was found earlier has by now, if there is still something.
    pub fn current(&self, found: &Message, now: Millis) -> Option<Arc<Message>> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let mut roots = [&tree.root, &tree.own].into_iter();
        let message = roots.find_map(|root| root.find(&found.topic))?;
        (!message.is_expired(now)).then(|| message.clone())
    }

    /// How much is retained.
    pub fn size(&self) -> RetainedSize {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).size
    }
}

impl Tree {
    fn put(&mut self, message: Arc<Message>) -> u64 {
        if let Some(old) = self.root.insert(message.clone()) {
            self.count(&old, false);
        }
        self.count(&message, true);
        self.stamp += 1;
        self.stamp
    }

    fn clear(&mut self, topic: &str) -> u64 {
        if let Some(old) = self.root.remove(Some(topic)) {
            self.count(&old, false);
        }
        self.stamp += 1;
        self.stamp
    }

    fn count(&mut self, message: &Message, more: bool) {
        let (bytes, payload) = (message.encoded_len(), message.payload.len());
        let size = &mut self.size;
        if more {
            size.messages += 1;
            size.bytes += bytes;
            size.payload_bytes += payload;
        } else {
            size.messages -= 1;
            size.bytes -= bytes;
            size.payload_bytes -= payload;
        }
        let Some(at) = message.expires else { return };
        let deadline = (at, message.topic.clone());
        if more {
            self.deadlines.insert(deadline)
        } else {
            self.deadlines.remove(&deadline)
        };
    }
}

impl Node {
    /// Gives back what was there before.
    fn insert(&mut self, message: Arc<Message>) -> Option<Arc<Message>> {
        let mut node = self;
        for level in message.topic.split('/') {
            let children = node.children.get_or_insert_default();
            if !children.contains_key(level) {
                children.insert(level.into(), Node::default());
            }
            // Present: it was put there just above.
            node = children.get_mut(level)?;
        }
        node.message.replace(message)
    }

    fn child(&self, level: &str) -> Option<&Node> {
        self.children.as_ref()?.get(level)
    }

    fn children(&self) -> impl Iterator<Item = (&ByteString, &Node)> {
        self.children.iter().flat_map(|children| children.iter())
    }

    fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut node = self;
        for level in topic.split('/') {
            node = node.child(level)?;
        }
        node.message.as_ref()
    }

    fn remove(&mut self, topic: Option<&str>) -> Option<Arc<Message>> {
        let Some(topic) = topic else { return self.message.take() };
        let (level, rest) = split(topic);
        let children = self.children.as_mut()?;
        let child = children.get_mut(level)?;
        let old = child.remove(rest);
        if child.message.is_none() && child.children.is_none() {
            children.remove(level);
        }
        if children.is_empty() {
            self.children = None;
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
                let visible = self.children().filter(|(name, _)| !(first && name.starts_with('$')));
                visible.for_each(|(_, child)| child.matching(rest, false, found));
            }
            _ => {
                if let Some(child) = self.child(level) {
                    child.matching(rest, false, found);
                }
            }
        }
    }

    /// Everything from here down, for `#`.
    fn all(&self, first: bool, found: &mut Vec<Arc<Message>>) {
        found.extend(self.message.clone());
        let visible = self.children().filter(|(name, _)| !(first && name.starts_with('$')));
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
            prop_assert_eq!(retained.size().messages, topics.len());
        }
    }

    #[test]
    fn a_full_store_refuses_new_topics_and_takes_replacements_and_deletions() {
        let retained = Retained::new(RetainedLimits { messages: 1, bytes: 1000 });
        assert_eq!(retained.set(&message("a", "1")), Ok(1));
        assert_eq!(retained.set(&message("b", "1")), Err(RetainedFull));
        assert_eq!(retained.set(&message("a", "22")), Ok(2));
        assert_eq!(retained.set(&message("a", "")), Ok(3));
        assert_eq!(retained.size(), RetainedSize::default());
        assert_eq!(retained.set(&message("b", "1")), Ok(4));
    }

    #[test]
    fn expired_messages_are_not_found() {
        let retained = retained();
        retained.set(&Message { expires: Some(10), ..message("a", "1") }).unwrap();
        assert_eq!(retained.matching("a", 9).len(), 1);
        assert_eq!(retained.matching("#", 10).len(), 0);
    }

    #[test]
    fn expired_messages_give_their_place_back_a_few_at_a_time() {
        let retained = Retained::new(RetainedLimits { messages: 3, bytes: 10_000 });
        for (topic, expires) in [("a", Some(20)), ("b", Some(10)), ("c", None)] {
            retained.set(&Message { expires, ..message(topic, "1") }).unwrap();
        }
        assert_eq!(retained.set(&message("d", "1")), Err(RetainedFull));
        assert_eq!(retained.sweep(9, 10), []);
        assert_eq!(retained.sweep(20, 1), [("b".into(), 4)]);
        assert_eq!(retained.sweep(20, 1), [("a".into(), 5)]);
        assert_eq!(retained.sweep(Millis::MAX, 10), []);
        assert_eq!((retained.size().messages, retained.set(&message("d", "1"))), (1, Ok(6)));
    }

    #[test]
    fn what_replaces_a_message_that_expires_does_not_expire_with_it() {
        let retained = retained();
        let expiring = |at| Message { expires: Some(at), ..message("a", "1") };
        for (last, swept) in [
            (expiring(5), 1),
            (expiring(10), 1),
            (expiring(30), 0),
            (message("a", "2"), 0),
            (message("a", ""), 0),
        ] {
            retained.set(&expiring(10)).unwrap();
            retained.set(&last).unwrap();
            assert_eq!(retained.sweep(20, 10).len(), swept, "{last:?}");
            retained.set(&message("a", "")).unwrap();
            assert_eq!(retained.size(), RetainedSize::default());
            assert_eq!(retained.sweep(Millis::MAX, 10), [], "{last:?}");
        }
    }

    #[test]
    fn what_the_server_says_of_itself_takes_nobody_s_place() {
        let retained = Retained::new(RetainedLimits { messages: 1, bytes: 1000 });
        for payload in ["1", "2"] {
            retained.set_own(Arc::new(message("$SYS/broker/uptime", payload)));
        }
        assert_eq!(retained.size(), RetainedSize::default());
        assert_eq!(retained.set(&message("a", "1")), Ok(1));
        let found =
            |filter| retained.matching(filter, 0).iter().map(|m| m.payload.clone()).collect::<Vec<_>>();
        assert_eq!(found("$SYS/#"), ["2"]);
        assert_eq!(found("$SYS/broker/uptime"), ["2"]);
        assert_eq!(found("#"), ["1"]);
        assert!(found("+/broker/uptime").is_empty());
    }
}
