//! Distributions, for `/metrics`.

use std::fmt::Write;

use crate::counters::Count;

/// For a [`Histogram`] that is filled in microseconds and shown in seconds, as Prometheus wants it.
pub const MICROSECONDS: u64 = 1_000_000;

/// Upper bounds of the buckets, in the unit in which it is filled: from a microsecond to ten seconds, or one to ten million.
const BOUNDS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// How often a value fell into each bucket. `UNIT` of what it is filled with make one of what is shown.
#[derive(Debug, Default)]
pub struct Histogram<const UNIT: u64> {
    buckets: [Count; BOUNDS.len()],
    beyond: Count,
    sum: Count,
}

impl<const UNIT: u64> Histogram<UNIT> {
    /// One more value.
    pub fn add(&self, value: u64) {
        let at = BOUNDS.partition_point(|bound| *bound < value);
        self.buckets.get(at).unwrap_or(&self.beyond).add(1);
        self.sum.add(value);
    }

    /// Appends it in the text format of Prometheus.
    pub fn render(&self, text: &mut String, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut count = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            count += bucket.get();
            let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", shown::<UNIT>(*bound));
        }
        count += self.beyond.get();
        let sum = shown::<UNIT>(self.sum.get());
        let _ =
            writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }
}

fn shown<const UNIT: u64>(value: u64) -> f64 {
    value as f64 / UNIT as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::<MICROSECONDS>::default();
        for micros in [1, 500, 501, 20_000_000] {
            histogram.add(micros);
        }
        let mut text = String::new();
        histogram.render(&mut text, "t_seconds", "Time.");
        assert!(text.starts_with("# HELP t_seconds Time.\n# TYPE t_seconds histogram\n"), "{text}");
        for (bound, count) in
            [("0.000001", 1), ("0.0002", 1), ("0.0005", 2), ("0.001", 3), ("10", 3), ("+Inf", 4)]
        {
            assert!(
                text.contains(&format!("t_seconds_bucket{{le=\"{bound}\"}} {count}\n")),
                "{bound}: {text}"
            );
        }
        assert!(text.ends_with("t_seconds_sum 20.001002\nt_seconds_count 4\n"), "{text}");
    }

    #[test]
    fn what_is_counted_in_ones_is_shown_in_ones() {
        let histogram = Histogram::<1>::default();
        histogram.add(1024);
        let mut text = String::new();
        histogram.render(&mut text, "size", "Size.");
        assert!(text.contains("size_bucket{le=\"1000\"} 0\nsize_bucket{le=\"2000\"} 1\n"), "{text}");
        assert!(text.ends_with("size_sum 1024\nsize_count 1\n"), "{text}");
    }
}
