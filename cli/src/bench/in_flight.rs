//! The publishing side of QoS 1 and 2: packet ids and what each of them waits for.

use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Published,
    Released,
}

/// The packet ids of one publisher, as many as its window is wide, used in turn.
pub struct InFlight {
    slots: Vec<(Stage, u64)>,
    free: VecDeque<u16>,
}

impl InFlight {
    /// `window` ids, from 1 (section 2.3.1); none are needed at QoS 0.
    pub fn new(window: u16) -> Self {
        Self { slots: vec![(Stage::Free, 0); usize::from(window)], free: (1..=window).collect() }
    }

    /// Is every id taken?
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Messages that are not completely acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// An id for a message that is being sent now, or `None` when the window is full.
    pub fn publish(&mut self, now_ns: u64) -> Option<u16> {
        let id = self.free.pop_front()?;
        self.slots[usize::from(id) - 1] = (Stage::Published, now_ns);
        Some(id)
    }

    /// PUBACK ends a QoS 1 message. Returns when it was sent, or `None` for an answer that nothing asked for.
    pub fn acknowledge(&mut self, id: u16) -> Option<u64> {
        let sent_ns = self.step(id, Stage::Published, Stage::Free)?;
        self.free.push_back(id);
        Some(sent_ns)
    }

    /// PUBREC: PUBREL is due. Returns as [`acknowledge`](Self::acknowledge) does.
    pub fn release(&mut self, id: u16) -> Option<u64> {
        self.step(id, Stage::Published, Stage::Released)
    }

    /// PUBCOMP ends a QoS 2 message. Returns as [`acknowledge`](Self::acknowledge) does.
    pub fn complete(&mut self, id: u16) -> Option<u64> {
        let sent_ns = self.step(id, Stage::Released, Stage::Free)?;
        self.free.push_back(id);
        Some(sent_ns)
    }

    fn step(&mut self, id: u16, from: Stage, to: Stage) -> Option<u64> {
        let slot = self.slots.get_mut(usize::from(id).checked_sub(1)?)?;
        if slot.0 != from {
            return None;
        }
        slot.0 = to;
        Some(slot.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_two_holds_two_until_one_is_acknowledged() {
        let mut window = InFlight::new(2);
        assert_eq!((window.publish(10), window.publish(20), window.publish(30)), (Some(1), Some(2), None));
        assert_eq!(window.acknowledge(2), Some(20));
        assert_eq!(window.unacknowledged(), 1);
        assert_eq!(window.publish(40), Some(2));
    }

    #[test]
    fn qos_2_keeps_its_id_until_it_is_complete() {
        let mut window = InFlight::new(1);
        window.publish(10);
        assert_eq!(window.release(1), Some(10));
        assert!(window.is_full());
        assert_eq!(window.complete(1), Some(10));
        assert!(!window.is_full());
    }

    #[test]
    fn answers_that_nothing_asked_for_are_seen() {
        let mut window = InFlight::new(2);
        window.publish(10);
        assert_eq!(
            (window.acknowledge(0), window.acknowledge(2), window.acknowledge(99)),
            (None, None, None)
        );
        assert_eq!(window.complete(1), None, "no PUBREC yet");
        assert_eq!(window.acknowledge(1), Some(10));
        assert_eq!(window.acknowledge(1), None, "a second time");
    }
}
