//! Sessions whose time is over: many may end at once, after a restart for instance, and each is work for the bridge.

use super::Batches;

/// So many may end before the bridge has worked off the last of them.
const AT_ONCE: usize = 32;

/// How many ended that the bridge has not worked off.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    count: usize,
    /// Bytes that had gone to the bridge with the last of them.
    sent: u64,
}

impl Expiring {
    /// Whether further ones have to wait.
    pub fn is_under_way(&self, batches: &Batches) -> bool {
        self.count >= AT_ONCE && batches.worked_off < self.sent
    }

    /// One more has ended.
    pub fn add(&mut self, batches: &Batches) {
        if batches.worked_off >= self.sent {
            self.count = 0;
        }
        self.count += 1;
        self.sent = batches.sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_wait_until_the_bridge_has_worked_off_the_last() {
        let (mut expiring, mut batches) = (Expiring::default(), Batches::default());
        let end = |expiring: &mut Expiring, batches: &mut Batches| {
            let mut ended = 0;
            while ended < 100 && !expiring.is_under_way(batches) {
                batches.sent += 40;
                expiring.add(batches);
                ended += 1;
            }
            ended
        };
        assert_eq!(end(&mut expiring, &mut batches), AT_ONCE);
        batches.worked_off = batches.sent - 1;
        assert_eq!(end(&mut expiring, &mut batches), 0);
        batches.worked_off = batches.sent;
        assert_eq!(end(&mut expiring, &mut batches), AT_ONCE);
    }
}
