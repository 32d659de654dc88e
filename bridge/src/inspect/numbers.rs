//! Numbers that belong to one owner, as ranges: as small as they are dense.

use std::ops::RangeInclusive;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// In order, apart from each other.
    ranges: Vec<(u64, u64)>,
}

impl Numbers {
    /// Adds one.
    pub(super) fn insert(&mut self, number: u64) {
        // The first range that ends at or behind the number, or right before it.
        let at = self.ranges.partition_point(|(_, last)| last.saturating_add(1) < number);
        match self.ranges.get_mut(at) {
            Some((first, last)) if number.saturating_add(1) >= *first => {
                (*first, *last) = (number.min(*first), number.max(*last));
                self.join_with_next(at);
            }
            _ => self.ranges.insert(at, (number, number)),
        }
    }

    fn join_with_next(&mut self, at: usize) {
        let Some((next_first, next_last)) = self.ranges.get(at + 1).copied() else { return };
        if self.ranges[at].1.saturating_add(1) >= next_first {
            self.ranges[at].1 = next_last;
            self.ranges.remove(at + 1);
        }
    }

    /// The smallest and the largest.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.ranges.first()?.0, self.ranges.last()?.1))
    }

    /// What lies in `within` and is not here.
    pub(super) fn missing(&self, within: RangeInclusive<u64>) -> Vec<(u64, u64)> {
        let (mut from, to) = (*within.start(), *within.end());
        let mut missing = Vec::new();
        for (first, last) in self.ranges.iter().filter(|(_, last)| last >= within.start()) {
            if *first > to || from > to {
                break;
            }
            if *first > from {
                missing.push((from, first - 1));
            }
            let Some(behind) = last.checked_add(1) else { return missing };
            from = behind;
        }
        if from <= to {
            missing.push((from, to));
        }
        missing
    }

    /// The ranges.
    pub(super) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn they_are_a_set(numbers in prop::collection::vec(0u64..30, 0..40), from in 0u64..30, to in 0u64..30) {
            let mut ranges = Numbers::default();
            numbers.iter().for_each(|number| ranges.insert(*number));
            let set: BTreeSet<u64> = numbers.into_iter().collect();
            let listed: Vec<u64> = ranges.ranges().iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(&listed, &set.iter().copied().collect::<Vec<_>>());
            prop_assert!(ranges.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            let missing: Vec<u64> = ranges.missing(from..=to).iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(missing, (from..=to).filter(|n| !set.contains(n)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_largest_number_is_one_too() {
        let mut numbers = Numbers::default();
        [u64::MAX, 0, u64::MAX - 1].into_iter().for_each(|number| numbers.insert(number));
        assert_eq!(numbers.ranges(), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(numbers.missing(0..=u64::MAX), [(1, u64::MAX - 2)]);
    }
}
