//! When a key set is fetched, and how long it counts. Time is given.

use hubbub_broker::clock::Millis;

/// When what was fetched and tried last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Age at which the set is fetched again.
    pub refresh: Millis,
    /// Between two attempts, at least.
    pub pause: Millis,
    /// Age up to which the set counts.
    pub keep: Millis,
    fetched: Option<Millis>,
    tried: Option<Millis>,
}

impl Schedule {
    /// Nothing was fetched yet.
    pub fn new(refresh: Millis, pause: Millis, keep: Millis) -> Schedule {
        Schedule { refresh, pause, keep, fetched: None, tried: None }
    }

    /// Whether to fetch before the next token is judged; `missing`: it names a key that is not there.
    pub fn is_due(&self, now: Millis, missing: bool) -> bool {
        let rested = self.tried.is_none_or(|tried| tried + self.pause <= now);
        rested && (missing || self.fetched.is_none_or(|fetched| fetched + self.refresh <= now))
    }

    /// Whether what was fetched last still counts.
    pub fn counts(&self, now: Millis) -> bool {
        self.fetched.is_some_and(|fetched| now < fetched + self.keep)
    }

    /// It was fetched, or could not be.
    pub fn tried(&mut self, success: bool, now: Millis) {
        self.tried = Some(now);
        if success {
            self.fetched = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(600, 30, 10_000)
    }

    #[test]
    fn the_first_token_waits_for_the_keys_and_nothing_counts_without_them() {
        let mut schedule = schedule();
        assert!(schedule.is_due(0, false) && !schedule.counts(0));
        schedule.tried(false, 0);
        assert!(!schedule.is_due(29, false) && !schedule.is_due(29, true), "not for every login");
        assert!(schedule.is_due(30, false) && !schedule.counts(30));
    }

    #[test]
    fn keys_are_fetched_again_when_they_are_old_or_one_is_missing() {
        let mut schedule = schedule();
        schedule.tried(true, 0);
        assert!(!schedule.is_due(599, false) && schedule.is_due(600, false));
        assert!(!schedule.is_due(29, true) && schedule.is_due(30, true));
    }

    #[test]
    fn the_last_good_set_counts_for_a_bounded_time() {
        let mut schedule = schedule();
        schedule.tried(true, 0);
        for now in (600..10_000).step_by(50) {
            schedule.tried(false, now);
            assert!(schedule.counts(now), "{now}");
        }
        assert!(!schedule.counts(10_000));
        schedule.tried(true, 10_030);
        assert!(schedule.counts(10_030));
    }
}
