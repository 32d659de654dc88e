use super::*;

const MINUTE: Millis = 60_000;
const STEP: Millis = 5 * MINUTE;
const LIMITS: LockoutLimits = LockoutLimits {
    cooldown_after: 3,
    cooldown_step: STEP,
    lock_after: 10,
    of_address: 100,
    forgotten: 24 * 60 * MINUTE,
    kept: 1000,
};
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

/// A lockout with a clock that is driven.
struct Story {
    lockout: Lockout,
    now: Millis,
    guesses: u32,
}

fn attempt<'a>(user: &'a str, address: &str, client: &'a str) -> Attempt<'a> {
    Attempt { user, address: address.parse().unwrap(), client }
}

impl Story {
    fn begins(limits: LockoutLimits) -> Story {
        Story { lockout: Lockout::new(limits), now: 1_000_000, guesses: 0 }
    }

    fn asks(&self, user: &str, address: &str) -> Ruling {
        self.lockout.ask(attempt(user, address, "phone"), self.now)
    }

    fn fails_times(&mut self, count: u32, user: &str, address: &str) {
        for _ in 0..count {
            self.fails(user, address);
        }
    }

    /// Another guess each time.
    fn fails_as(&mut self, user: &str, address: &str, client: &str) -> Ruling {
        self.guesses += 1;
        let guess = self.guesses.to_be_bytes();
        self.lockout.failed(attempt(user, address, client), &guess, self.now)
    }

    fn fails(&mut self, user: &str, address: &str) -> Ruling {
        self.fails_as(user, address, "phone")
    }

    fn succeeds_as(&mut self, user: &str, address: &str, client: &str) {
        self.lockout.succeeded(attempt(user, address, client), self.now);
    }

    fn pauses(&self, ruling: Ruling) -> Millis {
        match ruling {
            Ruling::Wait(until) => until - self.now,
            Ruling::Go => 0,
            Ruling::Locked => panic!("locked"),
        }
    }

    /// Fails as soon as may be, until the user is locked; the pauses after each failure.
    fn is_locked_after(&mut self, user: &str, address: &str) -> Vec<Millis> {
        let mut pauses = Vec::new();
        loop {
            match self.fails(user, address) {
                Ruling::Locked => return pauses,
                ruling => pauses.push(self.pauses(ruling)),
            }
            self.now += pauses.last().unwrap();
        }
    }
}

#[test]
fn pauses_grow_by_five_minutes_and_the_tenth_failure_locks() {
    let mut story = Story::begins(LIMITS);
    let steps: Vec<Millis> = [0, 0].into_iter().chain((1..=7).map(|step| step * STEP)).collect();
    assert_eq!(story.is_locked_after("alice", HOME), steps);
    story.now += 365 * 24 * 60 * MINUTE;
    assert_eq!(story.asks("alice", HOME), Ruling::Locked, "no time opens it");
}

#[test]
fn nobody_is_heard_before_the_end_of_a_pause() {
    let mut story = Story::begins(LIMITS);
    story.fails_times(3, "alice", HOME);
    story.now += STEP - 1;
    assert_eq!(story.asks("alice", HOME), Ruling::Wait(story.now + 1));
    story.now += 1;
    assert_eq!(story.asks("alice", HOME), Ruling::Go);
}

#[test]
fn the_same_wrong_password_is_known_to_be_wrong_until_the_user_is_unlocked() {
    let mut story = Story::begins(LIMITS);
    let repeats = |story: &Story, user, guess: &[u8]| {
        story.lockout.is_repeat(attempt(user, HOME, "phone"), guess, story.now)
    };
    assert!(!repeats(&story, "alice", b"old"));
    story.lockout.failed(attempt("alice", HOME, "phone"), b"old", story.now);
    assert!(repeats(&story, "alice", b"old") && !repeats(&story, "alice", b"new"));
    assert!(!repeats(&story, "bob", b"old"));
    story.lockout.unlock_all();
    assert!(!repeats(&story, "alice", b"old"));
}

#[test]
fn it_is_about_one_user_at_one_address() {
    let mut story = Story::begins(LIMITS);
    story.is_locked_after("alice", HOME);
    assert_eq!(story.asks("alice", ELSEWHERE), Ruling::Go, "an attacker elsewhere locks nobody out");
    assert_eq!(story.asks("bob", HOME), Ruling::Go);
}

#[test]
fn the_right_password_ends_the_count() {
    let mut story = Story::begins(LIMITS);
    for _ in 0..20 {
        (0..2).for_each(|_| assert_eq!(story.fails("alice", HOME), Ruling::Go));
        story.succeeds_as("alice", HOME, "phone");
    }
}

#[test]
fn an_address_that_the_user_has_used_is_never_locked_and_pauses_for_one_step() {
    let mut story = Story::begins(LIMITS);
    story.succeeds_as("alice", HOME, "phone");
    for _ in 0..100 {
        (0..2).for_each(|_| assert_eq!(story.fails_as("alice", HOME, "burglar"), Ruling::Go));
        let ruling = story.fails_as("alice", HOME, "burglar");
        assert_eq!(story.pauses(ruling), STEP);
        story.now += STEP;
    }
}

#[test]
fn a_device_that_was_there_does_not_notice_what_others_guess_there() {
    let mut story = Story::begins(LIMITS);
    story.succeeds_as("alice", HOME, "phone");
    for _ in 0..200 {
        story.fails_as("alice", HOME, "burglar");
    }
    assert_eq!(story.asks("alice", HOME), Ruling::Go);
    assert!(matches!(story.lockout.ask(attempt("alice", HOME, "burglar"), story.now), Ruling::Wait(_)));
}

#[test]
fn a_device_with_an_old_password_locks_nobody() {
    let mut story = Story::begins(LIMITS);
    for _ in 0..1000 {
        let ruling = story.lockout.failed(attempt("alice", HOME, "tablet"), b"the old one", story.now);
        assert_eq!(ruling, Ruling::Go);
    }
    assert_eq!(story.fails("alice", HOME), Ruling::Go, "one of another kind is the second");
}

#[test]
fn many_names_from_one_address_make_it_pause_but_not_for_the_familiar() {
    let mut story = Story::begins(LIMITS);
    story.succeeds_as("alice", HOME, "phone");
    for name in 0..LIMITS.of_address {
        assert_eq!(story.asks("newcomer", HOME), Ruling::Go);
        story.fails(&format!("name{name}"), HOME);
    }
    assert_eq!(story.asks("newcomer", HOME), Ruling::Wait(story.now + STEP));
    assert_eq!(story.asks("alice", HOME), Ruling::Go);
    assert_eq!(story.asks("newcomer", ELSEWHERE), Ruling::Go);
    story.now += STEP;
    assert_eq!(story.asks("newcomer", HOME), Ruling::Go);
}

#[test]
fn failures_are_forgotten_after_a_day_and_locks_are_not() {
    let mut story = Story::begins(LIMITS);
    story.fails_times(2, "alice", HOME);
    story.is_locked_after("bob", HOME);
    story.now += LIMITS.forgotten;
    assert_eq!(story.fails("alice", HOME), Ruling::Go, "the first again");
    assert_eq!(story.asks("bob", HOME), Ruling::Locked);
}

#[test]
fn an_operator_unlocks_a_user_everywhere() {
    let mut story = Story::begins(LIMITS);
    story.is_locked_after("alice", HOME);
    story.is_locked_after("alice", ELSEWHERE);
    story.is_locked_after("bob", HOME);
    assert!(story.lockout.unlock("alice") && !story.lockout.unlock("alice"));
    assert_eq!((story.asks("alice", HOME), story.asks("alice", ELSEWHERE)), (Ruling::Go, Ruling::Go));
    assert_eq!(story.asks("bob", HOME), Ruling::Locked);
}

#[test]
fn names_that_attackers_choose_fill_no_memory_and_drive_out_no_lock() {
    let mut story = Story::begins(LockoutLimits { of_address: u32::MAX, ..LIMITS });
    story.is_locked_after("alice", HOME);
    for name in 0..10 * LIMITS.kept {
        story.now += 1;
        story.fails(&format!("name{name}"), &format!("198.51.{}.{}", name / 256, name % 256));
    }
    for table in [&story.lockout.guesses, &story.lockout.addresses] {
        assert_eq!((table.records.len(), table.ages.len()), (LIMITS.kept, LIMITS.kept));
    }
    assert_eq!(story.asks("alice", HOME), Ruling::Locked);
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let mut story = Story::begins(LIMITS);
    for last in 0..3 {
        story.fails("alice", &format!("2001:db8:1:2::{last}"));
    }
    assert!(matches!(story.asks("alice", "2001:db8:1:2:ffff::1"), Ruling::Wait(_)));
    assert_eq!(story.asks("alice", "2001:db8:1:3::1"), Ruling::Go);
    story.fails_times(3, "bob", "::ffff:192.0.2.1");
    assert!(matches!(story.asks("bob", HOME), Ruling::Wait(_)), "an address written in two ways");
}
