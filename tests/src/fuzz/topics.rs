//! Topic names and filters against the text of §4.7, and the trie against a list.
//!
//! A case is lines of text: `+7a/#` subscribes 7, `-7a/#` unsubscribes it, anything else is a topic that is published to.

use bytestring::ByteString;
use hubbub_broker::topic::{self, TopicFilter, TopicLimits};
use hubbub_broker::trie::Trie;

const LIMITS: TopicLimits = TopicLimits { levels: 8, bytes: 100 };

/// Subscribes, unsubscribes and publishes, and compares every answer.
pub fn topics(data: &[u8]) {
    let (mut trie, mut list) = (Trie::default(), List::default());
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let text = |bytes: &[u8]| ByteString::from(&*String::from_utf8_lossy(bytes));
        match line {
            [b'+', key, filter @ ..] => {
                if let Some(filter) = parse(&text(filter)) {
                    assert_eq!(trie.insert(&filter, *key, number), list.insert(&filter, *key, number));
                }
            }
            [b'-', key, filter @ ..] => {
                if let Some(filter) = parse(&text(filter)) {
                    assert_eq!(trie.get_mut(&filter, key).copied(), list.get(&filter, *key));
                    assert_eq!(trie.remove(&filter, key), list.remove(&filter, *key));
                }
            }
            topic => publish(&trie, &list, &text(topic)),
        }
        assert_eq!(trie.len(), list.0.len());
    }
    for (filter, key, value) in list.0 {
        assert_eq!(trie.remove(&filter, &key), Some(value));
    }
    assert!(trie.is_empty());
}

fn publish(trie: &Trie<u8, usize>, list: &List, name: &str) {
    assert_eq!(
        topic::check_name(name, &LIMITS).is_ok(),
        fits(name) && !topic::has_wildcard(name),
        "{name:?}"
    );
    if topic::check_name(name, &LIMITS).is_err() {
        return;
    }
    let mut found = Vec::new();
    trie.for_each_match(name, |key, value| found.push((*key, *value)));
    let covering = list.0.iter().filter(|(filter, ..)| covers(filter, name));
    let mut wanted: Vec<_> = covering.map(|(_, key, value)| (*key, *value)).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{name:?} among {list:?}");
    for (filter, ..) in &list.0 {
        assert_eq!(topic::matches(filter, name), covers(filter, name), "{filter:?} {name:?}");
    }
}

/// The filter, without its share group; compared with what the specification calls a filter.
fn parse(text: &ByteString) -> Option<ByteString> {
    let parsed = TopicFilter::parse(text, &LIMITS);
    assert_eq!(parsed.is_ok(), is_filter(text), "{text:?}");
    let parsed = parsed.ok()?;
    assert_eq!(parsed.text(), *text);
    Some(parsed.filter)
}

/// §4.7.1, and §4.8.2 for shared subscriptions.
fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    match levels[..] {
        ["$share"] => false,
        ["$share", group, ref rest @ ..] => {
            !group.is_empty()
                && !topic::has_wildcard(group)
                && text.len() <= LIMITS.bytes
                && is_plain_filter(&rest.join("/"))
        }
        _ => is_plain_filter(text),
    }
}

fn is_plain_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, others) = levels.split_last().expect("there is always one level");
    let alone = |level: &&str| **level == *"+" || !topic::has_wildcard(level);
    fits(filter) && others.iter().all(alone) && (*last == "#" || alone(last))
}

fn fits(text: &str) -> bool {
    let levels = text.split('/').count();
    !text.is_empty() && !text.contains('\0') && text.len() <= LIMITS.bytes && levels <= LIMITS.levels
}

/// §4.7.1 and §4.7.2, level by level.
fn covers(filter: &str, name: &str) -> bool {
    fn levels_cover(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => levels_cover(filter, name),
            ([level, filter @ ..], [same, name @ ..]) => level == same && levels_cover(filter, name),
            _ => false,
        }
    }
    let (filter, name): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), name.split('/').collect());
    let reserved = name[0].starts_with('$') && topic::has_wildcard(filter[0]);
    !reserved && levels_cover(&filter, &name)
}

/// What the trie should be the same as.
#[derive(Debug, Default)]
struct List(Vec<(ByteString, u8, usize)>);

impl List {
    fn position(&self, filter: &str, key: u8) -> Option<usize> {
        self.0.iter().position(|(known, owner, _)| *known == filter && *owner == key)
    }

    fn get(&self, filter: &str, key: u8) -> Option<usize> {
        self.position(filter, key).map(|at| self.0[at].2)
    }

    fn insert(&mut self, filter: &ByteString, key: u8, value: usize) -> Option<usize> {
        let old = self.remove(filter, key);
        self.0.push((filter.clone(), key, value));
        old
    }

    fn remove(&mut self, filter: &str, key: u8) -> Option<usize> {
        self.position(filter, key).map(|at| self.0.swap_remove(at).2)
    }
}
