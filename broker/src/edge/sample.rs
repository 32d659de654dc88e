//! How long acknowledgements take, measured on one publish at a time: exact enough for a histogram, and no work for all
//! the others.

use crate::clock::Stopwatch;
use crate::lane::{Place, ToBridge};

/// The publish that is being measured, if any: who waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Sample(Option<(Place, u64, Stopwatch)>);

impl Sample {
    /// Something goes to the bridge: if it is a publish whose sender waits, and no other is being measured, this one is.
    pub fn begin(&mut self, head: &ToBridge) {
        if let (None, ToBridge::Publish { at, token: Some(token), .. }) = (&self.0, head) {
            self.0 = Some((*at, *token, Stopwatch::start()));
        }
    }

    /// An answer came; how many microseconds it took, if it is the one that was waited for.
    pub fn end(&mut self, at: Place, token: u64) -> Option<u64> {
        let (_, _, since) = self.0.take_if(|(place, waits, _)| (*place, *waits) == (at, token))?;
        Some(since.micros())
    }

    /// The answer may be lost.
    pub fn give_up(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Device, Errand};

    fn publish(slot: u32, token: Option<u64>) -> (Place, ToBridge) {
        let at = Place { edge: 0, slot, generation: 1, reader: 0 };
        let from = Device { user: "u".into(), client: "c".into() };
        let errand = Errand::Chat;
        (
            at,
            ToBridge::Publish {
                at,
                token,
                errand,
                from,
                store_retained: None,
                remember: None,
                shares: Vec::new(),
            },
        )
    }

    #[test]
    fn one_publish_is_measured_until_its_own_answer() {
        let mut sample = Sample::default();
        let (nobody, unanswered) = publish(1, None);
        sample.begin(&unanswered);
        assert_eq!(sample.end(nobody, 0), None);
        let ((first, measured), (second, other)) = (publish(1, Some(7)), publish(2, Some(7)));
        sample.begin(&measured);
        sample.begin(&other);
        assert_eq!((sample.end(second, 7), sample.end(first, 8)), (None, None));
        assert!(sample.end(first, 7).is_some());
        sample.begin(&other);
        assert!(sample.end(second, 7).is_some());
        sample.begin(&other);
        sample.give_up();
        assert_eq!(sample.end(second, 7), None);
    }
}
