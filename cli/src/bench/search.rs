//! Rates that nobody gave: a part of what goes through at all, or the most that is still quick.

use std::time::Duration;

use anyhow::{Result, bail};

use super::load::Measured;
use super::report::count;

/// Where a search begins that was not told where.
const FIRST_RATE: u32 = 1000;

/// The search ends when the lowest rate that failed is this close to the highest that did not.
const PRECISION: f64 = 1.1;

/// The part of the asked rate that has to go out; the rest is our own timer's.
const KEPT_PACE: f64 = 0.97;

/// How a rate was found.
pub enum Remark {
    /// What went through as fast as the window allowed.
    Saturation(f64),
    /// The most publishes a second whose p99 was within so many milliseconds.
    Most(u32, f64),
}

impl Remark {
    /// The figure, in publishes a second.
    pub fn per_second(&self) -> f64 {
        match *self {
            Self::Saturation(rate) | Self::Most(_, rate) => rate,
        }
    }

    /// For people.
    pub fn row(&self) -> (&'static str, String) {
        let rate = count(self.per_second() as u64);
        match self {
            Self::Saturation(_) => ("saturation", format!("{rate} publishes/s")),
            Self::Most(bound, _) => ("most", format!("{rate} publishes/s with p99 within {bound} ms")),
        }
    }

    /// Its name for machines.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Saturation(_) => "saturation_published_per_second",
            Self::Most(..) => "most_published_per_second",
        }
    }
}

/// Measures at a part of what goes through without a rate.
pub fn part_of_saturation(
    part: f64,
    mut measure: impl FnMut(u32) -> Result<Measured>,
) -> Result<(Measured, Option<Remark>)> {
    let saturation = measure(0)?.published_per_second();
    let measured = measure(((saturation * part) as u32).max(1))?;
    Ok((measured, Some(Remark::Saturation(saturation))))
}

/// The stretch with the highest rate whose p99 was within `bound` milliseconds. Fails if the first one was not.
///
/// A rate that fails is tried again before it counts as too high: a busy machine fails now and then at any rate.
pub fn most_within(
    bound: u32,
    first_rate: u32,
    mut measure: impl FnMut(u32) -> Result<Measured>,
) -> Result<(Measured, Option<Remark>)> {
    let mut search = Search::from(if first_rate == 0 { FIRST_RATE } else { first_rate });
    let mut best = None;
    while let Some(rate) = search.next() {
        let mut measured = measure(rate)?;
        if !is_within(&measured, bound) {
            measured = measure(rate)?;
        }
        let within = is_within(&measured, bound);
        search.note(rate, within);
        if within {
            best = Some(measured);
        }
    }
    match best {
        Some(best) => {
            let rate = best.published_per_second();
            Ok((best, Some(Remark::Most(bound, rate))))
        }
        None => bail!("p99 is above {bound} ms even at the first rate; begin lower, with --rate"),
    }
}

fn is_within(measured: &Measured, bound: u32) -> bool {
    let meter = &measured.traffic.meter;
    let p99 = Duration::from_nanos(meter.latency.value_at_quantile(0.99));
    let kept_pace = measured.published_per_second() >= f64::from(measured.rate) * KEPT_PACE;
    measured.losses.lost == 0 && kept_pace && p99 <= Duration::from_millis(u64::from(bound))
}

/// Doubles until something fails, then halves the interval.
struct Search {
    first: u32,
    good: Option<u32>,
    bad: Option<u32>,
}

impl Search {
    fn from(first: u32) -> Self {
        Self { first, good: None, bad: None }
    }

    /// The next rate to try, or `None` when it is known well enough.
    fn next(&self) -> Option<u32> {
        match (self.good, self.bad) {
            (None, None) => Some(self.first),
            (None, Some(_)) => None,
            (Some(good), None) => good.checked_mul(2),
            (Some(good), Some(bad)) if f64::from(bad) <= f64::from(good) * PRECISION => None,
            (Some(good), Some(bad)) => Some(good + (bad - good) / 2).filter(|rate| *rate > good),
        }
    }

    fn note(&mut self, rate: u32, within: bool) {
        *(if within { &mut self.good } else { &mut self.bad }) = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search tries when everything up to `limit` is quick, and what it finds.
    fn search(first: u32, limit: u32) -> (Vec<u32>, Option<u32>) {
        let mut search = Search::from(first);
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            tried.push(rate);
            search.note(rate, rate <= limit);
        }
        (tried, search.good)
    }

    #[test]
    fn rates_double_until_one_fails_and_then_close_in() {
        let (tried, found) = search(1000, 5700);
        assert_eq!(tried, [1000, 2000, 4000, 8000, 6000, 5000, 5500]);
        assert_eq!(found, Some(5500));
    }

    #[test]
    fn a_search_ends_at_both_ends() {
        assert_eq!(search(1000, 999), (vec![1000], None));
        assert_eq!(search(1, 1), (vec![1, 2], Some(1)));
        assert_eq!(search(1000, u32::MAX).1, Some(1000 << 22));
    }
}
