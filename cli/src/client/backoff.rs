//! When to try again.

use std::time::Duration;

/// Waiting times between attempts: 0, 2, 4, 8, 16, 32, 64 seconds, then no more. Pure: the caller brings the randomness.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    failures: u32,
}

/// The exponent of the last wait (2^6 = 64 s): after it the server is not coming back by itself.
const LAST_DOUBLING: u32 = 6;
/// A wait is stretched or shortened by up to this share, so that a thousand clients do not return in one instant.
const JITTER: f64 = 0.2;

impl Backoff {
    /// How long to wait before the next attempt, or `None` when it is time to give up. `chance` is a random number in 0..1.
    pub fn next_delay(&mut self, chance: f64) -> Option<Duration> {
        let failure = self.failures;
        self.failures += 1;
        match failure {
            0 => Some(Duration::ZERO),
            1..=LAST_DOUBLING => {
                let stretch = 1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0);
                Some(Duration::from_secs(1 << failure).mul_f64(stretch))
            }
            _ => None,
        }
    }

    /// The connection held: the next trouble starts from nothing again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_STRETCH: f64 = 0.5;

    fn seconds(backoff: &mut Backoff) -> Vec<u64> {
        std::iter::from_fn(|| backoff.next_delay(NO_STRETCH)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn waits_double_from_two_to_sixty_four_seconds_and_end() {
        assert_eq!(seconds(&mut Backoff::default()), [0, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::default();
        backoff.next_delay(NO_STRETCH);
        backoff.next_delay(NO_STRETCH);
        backoff.succeeded();
        assert_eq!(seconds(&mut backoff), [0, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn giving_up_is_final_until_success() {
        let mut backoff = Backoff::default();
        seconds(&mut backoff);
        assert_eq!(backoff.next_delay(NO_STRETCH), None);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let mut low = Backoff { failures: LAST_DOUBLING };
        let mut high = Backoff { failures: LAST_DOUBLING };
        assert_eq!(low.next_delay(0.0), Some(Duration::from_secs_f64(64.0 * 0.8)));
        assert_eq!(high.next_delay(1.0), Some(Duration::from_secs_f64(64.0 * 1.2)));
    }
}
