//! What one subscriber heard of one publisher, by sequence number.

use std::ops::Range;

/// Holes remembered one by one; a broker that leaves more has their oldest counted as lost for good.
const MAX_HOLES: usize = 1024;

/// What one arrival meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The stream moved on by so many: 1 in order, more after a gap.
    Forward(u64),
    /// It fills a gap: a younger message came first.
    Late,
    /// It was here before.
    Duplicate,
}

/// Sequence numbers heard so far. They start at 0 and arrive in order, unless the broker is at fault.
#[derive(Default)]
pub struct Track {
    next: u64,
    holes: Vec<Range<u64>>,
    given_up: u64,
    duplicated: u64,
    late: u64,
}

impl Track {
    /// Notes one arrival.
    pub fn arrive(&mut self, seq: u64) -> Arrival {
        if seq < self.next {
            return self.arrive_behind(seq);
        }
        let forward = seq + 1 - self.next;
        if forward > 1 {
            self.leave_hole(self.next..seq);
        }
        self.next = seq + 1;
        Arrival::Forward(forward)
    }

    /// Messages of `sent` that never came.
    pub fn lost(&self, sent: u64) -> u64 {
        let in_holes: u64 = self.holes.iter().map(|hole| hole.end - hole.start).sum();
        self.given_up + in_holes + sent.saturating_sub(self.next)
    }

    /// Messages that came more than once, counted per extra copy.
    pub fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Messages that came after a younger one.
    pub fn late(&self) -> u64 {
        self.late
    }

    fn leave_hole(&mut self, hole: Range<u64>) {
        if self.holes.len() == MAX_HOLES {
            let oldest = self.holes.remove(0);
            self.given_up += oldest.end - oldest.start;
        }
        self.holes.push(hole);
    }

    fn arrive_behind(&mut self, seq: u64) -> Arrival {
        let Some(at) = self.holes.iter().position(|hole| hole.contains(&seq)) else {
            self.duplicated += 1;
            return Arrival::Duplicate;
        };
        self.late += 1;
        let hole = self.holes.remove(at);
        let parts = [hole.start..seq, seq + 1..hole.end];
        for part in parts.into_iter().rev().filter(|part| !part.is_empty()) {
            self.holes.insert(at, part);
        }
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(arrivals: &[u64]) -> Track {
        let mut track = Track::default();
        for &seq in arrivals {
            track.arrive(seq);
        }
        track
    }

    fn check(arrivals: &[u64], sent: u64, lost: u64, duplicated: u64, late: u64) {
        let track = track(arrivals);
        assert_eq!(
            (track.lost(sent), track.duplicated(), track.late()),
            (lost, duplicated, late),
            "{arrivals:?}"
        );
    }

    #[test]
    fn an_orderly_stream_has_nothing_to_report() {
        check(&[0, 1, 2, 3], 4, 0, 0, 0);
    }

    #[test]
    fn gaps_at_the_start_in_the_middle_and_at_the_end_are_lost() {
        check(&[2, 3, 6], 9, 6 - 2 + 2, 0, 0);
        check(&[], 3, 3, 0, 0);
    }

    #[test]
    fn a_repeat_is_a_duplicate_every_time() {
        check(&[0, 1, 1, 0, 1], 2, 0, 3, 0);
    }

    #[test]
    fn a_late_message_fills_its_hole_once() {
        check(&[0, 5, 3, 3], 6, 3, 1, 1);
        check(&[0, 3, 1, 2], 4, 0, 0, 2);
        check(&[0, 3, 2, 1], 4, 0, 0, 2);
    }

    #[test]
    fn forward_movement_includes_the_gap_so_that_a_window_can_go_on() {
        let mut track = Track::default();
        let arrivals = [0, 5, 3, 5, 6].map(|seq| track.arrive(seq));
        use Arrival::*;
        assert_eq!(arrivals, [Forward(1), Forward(5), Late, Duplicate, Forward(1)]);
    }

    #[test]
    fn holes_beyond_the_limit_stay_lost() {
        let arrivals: Vec<u64> = (0..3000).map(|n| n * 2 + 1).collect();
        check(&arrivals, 6000, 3000, 0, 0);
    }
}
