//! Answers that still count, under a hash with a key of this run: what lies here tells nobody a password.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;
use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::SystemRandom;

use hubbub_broker::clock::Millis;

use super::words::Decision;

type Digest = [u8; 32];

/// A bounded number of answers; the oldest go first.
pub(super) struct Cache {
    /// Without random numbers there is none, and nothing is kept.
    key: Option<Key>,
    /// Milliseconds for which an answer counts.
    ttl: Millis,
    max: usize,
    answers: HashMap<Digest, (Decision, Millis), RandomState>,
    /// In the order in which they end.
    ends: VecDeque<(Millis, Digest)>,
    /// Counts the times that nothing counted any more.
    cleared: u64,
}

impl Cache {
    pub fn new(ttl: Millis, max: usize) -> Cache {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new()).ok();
        Cache { key, ttl, max, answers: HashMap::default(), ends: VecDeque::new(), cleared: 0 }
    }

    /// What was said to this question, if it still counts.
    pub fn get(&mut self, question: &str, now: Millis) -> Option<Decision> {
        self.forget(now);
        let (decision, _) = self.answers.get(&self.digest(question)?)?;
        Some(decision.clone()).filter(|decision| decision.holds(now))
    }

    /// How often everything was cleared so far, for [`Cache::put`].
    pub fn cleared(&self) -> u64 {
        self.cleared
    }

    /// Keeps an answer, unless everything was cleared since the question was asked.
    pub fn put(&mut self, question: &str, decision: Decision, asked: u64, now: Millis) {
        self.forget(now);
        let counts = self.ttl > 0 && asked == self.cleared;
        let Some(digest) = self.digest(question).filter(|_| counts) else { return };
        while self.ends.len() >= self.max {
            self.drop_oldest();
        }
        let ends = now.saturating_add(self.ttl);
        self.answers.insert(digest, (decision, ends));
        self.ends.push_back((ends, digest));
    }

    /// Nothing counts any more.
    pub fn clear(&mut self) {
        self.cleared += 1;
        self.answers.clear();
        self.ends.clear();
    }

    fn forget(&mut self, now: Millis) {
        while self.ends.front().is_some_and(|(ends, _)| *ends <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((ends, digest)) = self.ends.pop_front() else { return };
        // The same question may have been answered again since.
        if self.answers.get(&digest).is_some_and(|(_, own)| *own == ends) {
            self.answers.remove(&digest);
        }
    }

    fn digest(&self, question: &str) -> Option<Digest> {
        sign(self.key.as_ref()?, question.as_bytes()).as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Accepted;

    fn allow(until: Option<Millis>) -> Decision {
        Decision::Allow(Accepted { until, ..Accepted::lasting("alice".into()) })
    }

    #[test]
    fn an_answer_counts_for_its_time() {
        let mut cache = Cache::new(60, 10);
        cache.put("alice", allow(None), 0, 100);
        cache.put("mallory", Decision::Deny, 0, 110);
        assert_eq!(cache.get("alice", 159), Some(allow(None)));
        assert_eq!((cache.get("alice", 160), cache.get("mallory", 160)), (None, Some(Decision::Deny)));
        assert_eq!(cache.get("Alice", 159), None);
    }

    #[test]
    fn it_does_not_outlive_the_end_that_it_names() {
        let mut cache = Cache::new(60, 10);
        cache.put("alice", allow(Some(120)), 0, 100);
        assert!(cache.get("alice", 119).is_some() && cache.get("alice", 120).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_without_a_time_nothing_is() {
        let mut cache = Cache::new(60, 10);
        for n in 0..1000 {
            cache.put(&format!("name{n}"), Decision::Deny, 0, 100 + n / 100);
            cache.put("again and again", Decision::Deny, 0, 100 + n / 100);
        }
        assert!(cache.answers.len() <= 10 && cache.ends.len() <= 10);
        assert!(cache.get("name999", 110).is_some() && cache.get("again and again", 110).is_some());
        let mut none = Cache::new(0, 10);
        none.put("alice", allow(None), 0, 100);
        assert_eq!(none.get("alice", 100), None);
    }

    #[test]
    fn no_password_lies_in_it() {
        let mut cache = Cache::new(60, 10);
        cache.put("wonderland", Decision::Deny, 0, 100);
        assert!(!cache.answers.keys().any(|digest| digest.as_slice() == &b"wonderland"[..]));
        let digest = |cache: &Cache| cache.digest("wonderland").unwrap();
        assert_ne!(digest(&cache), digest(&Cache::new(60, 10)), "the key is one of this run");
    }

    #[test]
    fn an_answer_to_a_question_from_before_everything_was_cleared_does_not_count() {
        let mut cache = Cache::new(1000, 10);
        let asked = cache.cleared();
        cache.clear();
        cache.put("bob", allow(None), asked, 100);
        assert_eq!(cache.get("bob", 101), None);
        cache.put("bob", allow(None), cache.cleared(), 102);
        assert!(cache.get("bob", 103).is_some());
    }
}
