//! Topic aliases towards one client (§3.3.2.3.4): a topic that was sent once is a number from then on.

use std::collections::HashMap;

use ahash::RandomState;
use bytestring::ByteString;

/// The aliases of one connection. Numbers are given out until the client's maximum and then kept: what is sent often is
/// sent early.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    max: u16,
    /// Few clients take aliases.
    #[expect(
        clippy::box_collection,
        reason = "a pointer for the many that have none; the table alone has 64 bytes"
    )]
    numbers: Option<Box<HashMap<ByteString, u16, RandomState>>>,
}

/// How a topic is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// Its number.
    pub number: u16,
    /// Whether the client knows it already, so that the topic itself is left out.
    pub known: bool,
}

impl Aliases {
    /// A connection whose client takes so many.
    pub fn new(max: u16) -> Aliases {
        Aliases { max, numbers: None }
    }

    /// The alias for a topic, if there is one or room for one.
    pub fn offer(&self, topic: &str) -> Option<Alias> {
        if let Some(number) = self.numbers.as_ref().and_then(|numbers| numbers.get(topic)) {
            return Some(Alias { number: *number, known: true });
        }
        let next = self.numbers.as_ref().map_or(0, |numbers| numbers.len()) as u16;
        (next < self.max).then(|| Alias { number: next + 1, known: false })
    }

    /// The client has been told.
    pub fn keep(&mut self, topic: &str, alias: Alias) {
        if !alias.known {
            // Copied, so that it does not keep a read buffer.
            self.numbers.get_or_insert_default().insert(topic.into(), alias.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_one_and_end_at_the_maximum() {
        let mut aliases = Aliases::new(2);
        for (topic, want) in [
            ("a", Some((1, false))),
            ("a", Some((1, true))),
            ("b", Some((2, false))),
            ("c", None),
            ("b", Some((2, true))),
        ] {
            let alias = aliases.offer(topic);
            assert_eq!(alias.map(|alias| (alias.number, alias.known)), want, "{topic}");
            alias.into_iter().for_each(|alias| aliases.keep(topic, alias));
        }
        assert_eq!(Aliases::default().offer("a"), None);
    }
}
