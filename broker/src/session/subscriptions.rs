//! The subscriptions of a session. Most have one or a few, and an idle connection should not pay for a table.

use std::collections::HashMap;

use ahash::RandomState;
use bytestring::ByteString;

use super::Subscription;

/// Beyond so many, looking at each would cost more than a table.
const FEW: usize = 8;

/// Subscriptions, known by the text of their filter.
#[derive(Debug, Default)]
pub struct Subscriptions {
    few: Vec<Subscription>,
    /// All of them, once there were more than a few.
    #[expect(
        clippy::box_collection,
        reason = "a pointer for the many that have none; the table alone has 64 bytes"
    )]
    many: Option<Box<HashMap<ByteString, Subscription, RandomState>>>,
}

impl Subscriptions {
    /// Puts one in; gives back the one of the same text that it replaces.
    pub fn insert(&mut self, new: Subscription) -> Option<Subscription> {
        if let Some(many) = &mut self.many {
            return many.insert(new.filter.text(), new);
        }
        let text = new.filter.text();
        if let Some(known) = self.few.iter_mut().find(|known| known.filter.has_text(&text)) {
            return Some(std::mem::replace(known, new));
        }
        if self.few.len() == FEW {
            let few = std::mem::take(&mut self.few).into_iter().chain([new]);
            self.many = Some(Box::new(few.map(|one| (one.filter.text(), one)).collect()));
            return None;
        }
        self.few.reserve_exact(1);
        self.few.push(new);
        None
    }

    /// Takes one out.
    pub fn remove(&mut self, text: &str) -> Option<Subscription> {
        if let Some(many) = &mut self.many {
            return many.remove(text);
        }
        let at = self.few.iter().position(|known| known.filter.has_text(text))?;
        Some(self.few.swap_remove(at))
    }

    /// Whether there is one of this text.
    pub fn contains(&self, text: &str) -> bool {
        match &self.many {
            Some(many) => many.contains_key(text),
            None => self.few.iter().any(|known| known.filter.has_text(text)),
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.few.iter().chain(self.many.iter().flat_map(|many| many.values()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.many.as_ref().map_or(self.few.len(), |many| many.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::{QoS, SubscribeOptions};
    use crate::topic::{TopicFilter, TopicLimits};

    fn subscription(text: &str, id: u32) -> Subscription {
        let limits = TopicLimits { levels: 8, bytes: 64 };
        let filter = TopicFilter::parse(&text.into(), &limits).unwrap();
        let options = SubscribeOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        Subscription { options, id: Some(id), filter }
    }

    proptest! {
        #[test]
        fn a_few_and_many_are_kept_like_in_a_map(
            steps in prop::collection::vec(("(\\$share/[gh]/)?[a-f]", any::<bool>()), 0..60),
        ) {
            let (mut kept, mut model) = (Subscriptions::default(), BTreeMap::new());
            for (id, (text, add)) in steps.iter().enumerate() {
                let (old, known) = if *add {
                    (kept.insert(subscription(text, id as u32)), model.insert(text.clone(), id as u32))
                } else {
                    (kept.remove(text), model.remove(text))
                };
                prop_assert_eq!(old.and_then(|old| old.id), known);
                prop_assert_eq!(kept.contains(text), model.contains_key(text));
                prop_assert_eq!(kept.len(), model.len());
            }
            let got: BTreeMap<_, _> =
                kept.iter().map(|one| (one.filter.text().to_string(), one.id.unwrap_or(0))).collect();
            prop_assert_eq!(got, model);
        }
    }
}
