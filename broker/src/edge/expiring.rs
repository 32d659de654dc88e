//! Sessions whose time is over: many may be at once, after a restart for instance, and the end of each is work for the bridge.

use std::collections::VecDeque;

use super::Batches;

/// So many may end before the bridge has worked off the last of them.
const AT_ONCE: usize = 32;

/// Those that wait for their end, and how many ended that the bridge has not worked off.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    /// Slots and generations.
    waiting: VecDeque<(u32, u32)>,
    count: usize,
    /// Bytes that had gone to the bridge with the last of them.
    sent: u64,
}

impl Expiring {
    /// The time of this session is over.
    pub fn add(&mut self, slot: u32, generation: u32) {
        self.waiting.push_back((slot, generation));
    }

    /// The next one that may end, if the bridge keeps up.
    pub fn next(&mut self, batches: &Batches) -> Option<(u32, u32)> {
        if batches.worked_off >= self.sent {
            self.count = 0;
        }
        if self.count < AT_ONCE { self.waiting.pop_front() } else { None }
    }

    /// It has ended.
    pub fn ended(&mut self, batches: &Batches) {
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
        (0..50).for_each(|slot| expiring.add(slot, 1));
        let end = |expiring: &mut Expiring, batches: &mut Batches| {
            let mut slots = Vec::new();
            while let Some((slot, _)) = expiring.next(batches) {
                batches.sent += 40;
                expiring.ended(batches);
                slots.push(slot);
            }
            slots
        };
        assert_eq!(end(&mut expiring, &mut batches), (0..32).collect::<Vec<_>>());
        batches.worked_off = batches.sent - 1;
        assert!(end(&mut expiring, &mut batches).is_empty());
        batches.worked_off = batches.sent;
        assert_eq!(end(&mut expiring, &mut batches), (32..50).collect::<Vec<_>>());
    }
}
