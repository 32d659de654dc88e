//! Which filters of a SUBSCRIBE were refused and why, as one reason string (MQTT 5 §3.9.2.1.2).

use std::fmt::{Display, Write};

/// Bytes of a filter that are shown; people recognise it by them.
const FILTER: usize = 64;

/// Bytes after which filters are only counted.
const TEXT: usize = 512;

/// What was refused so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    text: String,
    more: usize,
}

impl Refusals {
    /// One more filter was refused.
    pub fn add(&mut self, filter: &str, why: impl Display) {
        if self.text.len() > TEXT {
            self.more += 1;
            return;
        }
        let shown = &filter[..filter.floor_char_boundary(FILTER)];
        let dots = if shown.len() < filter.len() { "…" } else { "" };
        let between = if self.text.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{between}{shown}{dots}: {why}");
    }

    /// The reason string; none if nothing was refused.
    pub fn into_reason(mut self) -> Option<String> {
        if self.more > 0 {
            let _ = write!(self.text, "; and {} more", self.more);
        }
        (!self.text.is_empty()).then_some(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refused_filter_is_named_with_its_reason() {
        let mut refusals = Refusals::default();
        refusals.add("a/#", "no rule allows it");
        refusals.add("b", "too many subscriptions");
        let reason = "a/#: no rule allows it; b: too many subscriptions";
        assert_eq!(refusals.into_reason().as_deref(), Some(reason));
        assert_eq!(Refusals::default().into_reason(), None);
    }

    #[test]
    fn neither_a_long_filter_nor_many_make_it_long() {
        let mut refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.add(&"聊".repeat(20_000), "no");
        }
        let reason = refusals.into_reason().unwrap();
        assert!(reason.len() < TEXT + FILTER + 50, "{} bytes", reason.len());
        assert!(reason.ends_with(" more"), "{reason}");
    }
}
