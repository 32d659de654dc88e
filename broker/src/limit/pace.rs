//! How fast one client may send, and what becomes of one that is faster.

use super::{Bucket, Rate};
use crate::clock::Millis;

/// The bounds of one client.
#[derive(Debug, Clone, Copy)]
pub struct PaceLimits {
    /// PUBLISH packets.
    pub publishes: Option<Rate>,
    /// Bytes, whatever is in them.
    pub bytes: Option<Rate>,
    /// Milliseconds of going on like that until it is too much.
    pub excess: Millis,
}

/// What one client has left of them.
#[derive(Debug)]
pub struct Pace {
    publishes: Option<(Rate, Bucket)>,
    bytes: Option<(Rate, Bucket)>,
    excess: Millis,
    /// Since when it has been sending too much without a break.
    since: Option<Millis>,
    /// Until when nothing is read from it.
    rests_until: Millis,
}

/// What to do after a turn of its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fine,
    /// Read nothing until this time; `begins` if it was within its bounds before.
    Rest {
        /// When to go on.
        until: Millis,
        /// Worth a word in the log.
        begins: bool,
    },
    /// It has published too much for too long.
    TooManyPublishes,
    /// It has sent too much for too long.
    TooManyBytes,
}

/// The least time for which nothing is read: a client at its bound wakes us ten times a second, not at each token.
const REST: Millis = 100;

/// A client that was within its bounds for so long has made a break.
const BREAK: Millis = 1000;

impl Pace {
    /// Nothing was sent yet.
    pub fn new(limits: &PaceLimits, now: Millis) -> Pace {
        let full = |rate: Rate| (rate, Bucket::full(&rate, now));
        Pace {
            publishes: limits.publishes.map(full),
            bytes: limits.bytes.map(full),
            excess: limits.excess,
            since: None,
            rests_until: 0,
        }
    }

    /// Publishes that may be taken from it in one turn, so that it owes little after any of them.
    pub fn allowance(&self) -> usize {
        let left = self.publishes.as_ref().map_or(u64::MAX, |(rate, bucket)| bucket.left(rate));
        usize::try_from(left).unwrap_or(usize::MAX).max(1)
    }

    /// Milliseconds for which nothing is to be read from it still.
    pub fn rests(&self, now: Millis) -> Millis {
        self.rests_until.saturating_sub(now)
    }

    /// So much came in one turn.
    pub fn spend(&mut self, publishes: u64, bytes: u64, now: Millis) -> Verdict {
        let waits = |meter: &mut Option<(Rate, Bucket)>, amount: u64| {
            let Some((rate, bucket)) = meter else { return 0 };
            bucket.spend(amount, rate, now);
            bucket.wait(rate)
        };
        let (publish_wait, byte_wait) =
            (waits(&mut self.publishes, publishes), waits(&mut self.bytes, bytes));
        let wait = publish_wait.max(byte_wait);
        if wait == 0 {
            if now.saturating_sub(self.rests_until) >= BREAK {
                self.since = None;
            }
            return Verdict::Fine;
        }
        let begins = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= self.excess && !begins {
            let most =
                if publish_wait >= byte_wait { Verdict::TooManyPublishes } else { Verdict::TooManyBytes };
            return most;
        }
        self.rests_until = now + wait.max(REST);
        Verdict::Rest { until: self.rests_until, begins }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ten publishes and a hundred bytes a second, with one second saved up; too much after 5 s.
    fn limits() -> PaceLimits {
        PaceLimits {
            publishes: Some(Rate::per_second(10, 1000)),
            bytes: Some(Rate::per_second(100, 1000)),
            excess: 5000,
        }
    }

    #[test]
    fn a_burst_is_let_through_then_reading_rests_then_it_is_over() {
        let mut pace = Pace::new(&limits(), 0);
        assert_eq!(pace.spend(9, 0, 0), Verdict::Fine);
        assert_eq!(pace.spend(1, 0, 0), Verdict::Rest { until: 100, begins: true });
        assert_eq!((pace.rests(40), pace.rests(100)), (60, 0));
        // It sends on whenever it is read from.
        for now in (100..5000).step_by(100) {
            assert_eq!(pace.spend(1, 0, now), Verdict::Rest { until: now + 100, begins: false });
        }
        assert_eq!(pace.spend(1, 0, 5000), Verdict::TooManyPublishes);
    }

    #[test]
    fn bytes_are_a_bound_of_their_own() {
        let mut pace = Pace::new(&limits(), 0);
        assert_eq!(
            pace.spend(0, 300, 0),
            Verdict::Rest { until: 2010, begins: true },
            "a large packet is owed"
        );
        assert_eq!(pace.spend(0, 0, 2010), Verdict::Fine);
        assert_eq!(pace.spend(0, 300, 2010), Verdict::Rest { until: 5010, begins: false });
        assert_eq!(pace.spend(0, 300, 5010), Verdict::TooManyBytes);
    }

    #[test]
    fn whoever_makes_a_break_begins_anew() {
        let mut pace = Pace::new(&limits(), 0);
        for now in [0, 4000, 8000, 12_000, 16_000] {
            assert!(matches!(pace.spend(10, 0, now), Verdict::Rest { begins: true, .. }), "at {now}");
            assert_eq!(pace.spend(1, 0, now + 2000), Verdict::Fine);
        }
    }

    #[test]
    fn a_turn_takes_no_more_than_is_left() {
        let mut pace = Pace::new(&limits(), 0);
        assert_eq!(pace.allowance(), 10);
        pace.spend(7, 0, 0);
        assert_eq!(pace.allowance(), 3);
        pace.spend(100, 0, 0);
        assert_eq!(pace.allowance(), 1, "or nothing would ever go on");
        let free = PaceLimits { publishes: None, ..limits() };
        assert!(Pace::new(&free, 0).allowance() > 1000);
    }

    proptest! {
        /// Whatever it sends, and however late it is asked: no more gets through than the rates allow, and one turn's worth.
        #[test]
        fn nobody_gets_more_through_than_the_rate(steps in prop::collection::vec((0u64..300, 0u64..20), 1..300)) {
            let mut pace = Pace::new(&PaceLimits { excess: u64::MAX, bytes: None, ..limits() }, 0);
            let (mut now, mut through) = (0, 0);
            for (step, wants) in steps {
                now += step;
                if pace.rests(now) == 0 {
                    let takes = wants.min(pace.allowance() as u64);
                    through += takes;
                    pace.spend(takes, 0, now);
                }
                prop_assert!(through <= 10 + now / 100 + 1, "{} in {} ms", through, now);
            }
        }

        /// Somebody who keeps to the rate is never made to wait.
        #[test]
        fn whoever_keeps_to_the_rate_notices_nothing(starts in 0u64..1000, count in 1u64..500) {
            let mut pace = Pace::new(&limits(), 0);
            for number in 0..count {
                prop_assert_eq!(pace.spend(1, 10, starts + number * 100), Verdict::Fine);
            }
        }
    }
}
