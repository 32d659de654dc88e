//! A token bucket in whole numbers.

use crate::clock::Millis;

/// So many in a window, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u64,
    window: Millis,
    burst: u64,
}

/// What is left of a [`Rate`].
///
/// It is kept in parts of a token, as many as the window has milliseconds: then each millisecond adds a whole number of
/// them, and nothing is lost to rounding however often it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Below zero is a debt.
    parts: i64,
    at: Millis,
}

impl Rate {
    /// `count` in `window` milliseconds, all of them at once if nobody came before.
    pub fn new(count: u64, window: Millis) -> Rate {
        Rate { count: count.max(1), window: window.max(1), burst: count.max(1) }
    }

    /// `count` a second; what was not used in the last `saved` milliseconds may come at once.
    pub fn per_second(count: u64, saved: Millis) -> Rate {
        let burst = (count.saturating_mul(saved) / 1000).max(1);
        Rate { burst, ..Rate::new(count, 1000) }
    }

    /// Milliseconds after which an empty bucket is full again.
    pub fn fill_time(&self) -> Millis {
        self.full().unsigned_abs().div_ceil(self.count)
    }

    fn full(&self) -> i64 {
        i64::try_from(self.burst.saturating_mul(self.window)).unwrap_or(i64::MAX)
    }

    fn parts(&self, tokens: u64) -> i64 {
        i64::try_from(tokens.saturating_mul(self.window)).unwrap_or(i64::MAX)
    }
}

impl Bucket {
    /// A full one.
    pub fn full(rate: &Rate, now: Millis) -> Bucket {
        Bucket { parts: rate.full(), at: now }
    }

    /// Takes one token, if it is there.
    pub fn take(&mut self, rate: &Rate, now: Millis) -> bool {
        self.refill(rate, now);
        let enough = self.parts >= rate.parts(1);
        if enough {
            self.parts -= rate.parts(1);
        }
        enough
    }

    /// Takes tokens for what happened already; what is not there is owed.
    pub fn spend(&mut self, tokens: u64, rate: &Rate, now: Millis) {
        self.refill(rate, now);
        self.parts = self.parts.saturating_sub(rate.parts(tokens));
    }

    /// Whole tokens that were left when it was last asked.
    pub fn left(&self, rate: &Rate) -> u64 {
        u64::try_from(self.parts).unwrap_or(0) / rate.window
    }

    /// Milliseconds until there is a whole token.
    pub fn wait(&self, rate: &Rate) -> Millis {
        let missing = u64::try_from(rate.parts(1).saturating_sub(self.parts)).unwrap_or(0);
        missing.div_ceil(rate.count)
    }

    fn refill(&mut self, rate: &Rate, now: Millis) {
        let more = rate.count.saturating_mul(now.saturating_sub(self.at));
        let parts = self.parts.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
        self.parts = parts.min(rate.full());
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn so_many_at_once_then_so_many_in_a_time() {
        let rate = Rate::per_second(10, 2000);
        let mut bucket = Bucket::full(&rate, 5000);
        assert_eq!((0..30).filter(|_| bucket.take(&rate, 5000)).count(), 20);
        assert_eq!(bucket.wait(&rate), 100);
        assert!(!bucket.take(&rate, 5099) && bucket.take(&rate, 5100) && !bucket.take(&rate, 5100));
        assert_eq!((0..30).filter(|_| bucket.take(&rate, 5600)).count(), 5);
        assert_eq!((0..30).filter(|_| bucket.take(&rate, 1_000_000)).count(), 20, "no more than is saved up");
        assert!(!bucket.take(&rate, 0), "a time in the past gives nothing");
    }

    #[test]
    fn a_slow_rate_is_exact_as_well() {
        let rate = Rate::new(20, 60_000);
        let mut bucket = Bucket::full(&rate, 0);
        assert_eq!((0..30).filter(|_| bucket.take(&rate, 0)).count(), 20);
        assert!(!bucket.take(&rate, 2999) && bucket.take(&rate, 3000));
        assert_eq!(rate.fill_time(), 60_000);
    }

    #[test]
    fn what_happened_already_is_owed() {
        let rate = Rate::per_second(1000, 1000);
        let mut bucket = Bucket::full(&rate, 0);
        bucket.spend(3000, &rate, 0);
        assert_eq!((bucket.left(&rate), bucket.wait(&rate)), (0, 2001));
        assert!(!bucket.take(&rate, 2000) && bucket.take(&rate, 2001));
        bucket.spend(u64::MAX, &rate, 3000);
        bucket.spend(u64::MAX, &rate, u64::MAX);
        assert!(!bucket.take(&rate, 4000), "the largest numbers do not wrap");
    }

    proptest! {
        #[test]
        fn in_no_stretch_of_time_more_than_burst_and_rate(
            count in 1u64..1000, window in 1u64..5000, steps in prop::collection::vec(0u64..300, 1..200),
        ) {
            let rate = Rate::new(count, window);
            let mut bucket = Bucket::full(&rate, 0);
            let (mut now, mut taken) = (0, Vec::new());
            for step in steps {
                now += step;
                if bucket.take(&rate, now) {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = count + (to - from) * count / window + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn asking_often_gives_no_more_than_asking_once(
            count in 1u64..1000, window in 1u64..5000, steps in prop::collection::vec(0u64..50, 1..100),
        ) {
            let rate = Rate::new(count, window);
            let mut often = Bucket { parts: 0, at: 0 };
            let mut once = often;
            let mut now = 0;
            for step in steps {
                now += step;
                often.spend(0, &rate, now);
            }
            once.spend(0, &rate, now);
            prop_assert_eq!(often.parts, once.parts);
        }
    }
}
