//! How figures are written, for people and for machines.

use std::time::Duration;

use serde_json::{Value, json};

/// Nanoseconds.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// The longest latency told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(120);

/// From 1 µs to 2 minutes, three digits.
pub fn new_histogram() -> Histogram {
    Histogram::new_with_bounds(1_000, LONGEST.as_nanos() as u64, 3)
        .unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// `p50 1.20 ms   p99 …`
pub fn latency_text(histogram: &Histogram) -> String {
    if histogram.is_empty() {
        return "nothing measured".into();
    }
    let at = |quantile| nanoseconds(histogram.value_at_quantile(quantile));
    format!("p50 {}   p99 {}   p99.9 {}   max {}", at(0.5), at(0.99), at(0.999), nanoseconds(histogram.max()))
}

/// Microseconds, or null for an empty histogram.
pub fn latency_json(histogram: &Histogram) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let max = histogram.max() as f64 / 1e3;
    json!({ "p50_us": at(0.5), "p99_us": at(0.99), "p99.9_us": at(0.999), "max_us": max })
}

/// A duration with a fitting unit and three digits or so.
pub fn nanoseconds(value: u64) -> String {
    let value = value as f64;
    match value {
        ..1e6 => format!("{:.0} µs", value / 1e3),
        ..1e8 => format!("{:.2} ms", value / 1e6),
        ..1e9 => format!("{:.0} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A heading and one aligned row per line.
pub fn table(title: &str, rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(name, text)| format!("  {name:width$}  {text}\n")).collect();
    format!("{title}\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(count).each_ref().map(|s| &s[..])
        );
        assert_eq!(nanoseconds(1_500), "2 µs");
        assert_eq!(nanoseconds(1_234_567), "1.23 ms");
        assert_eq!(nanoseconds(250_000_000), "250 ms");
        assert_eq!(nanoseconds(2_500_000_000), "2.50 s");
    }

    #[test]
    fn rows_are_aligned() {
        let text = table("title", &[("a", "1".into()), ("long", "2".into())]);
        assert_eq!(text, "title\n  a     1\n  long  2\n");
    }

    #[test]
    fn quantiles_are_reported_and_an_empty_histogram_says_so() {
        let mut histogram = new_histogram();
        assert_eq!(latency_text(&histogram), "nothing measured");
        assert_eq!(latency_json(&histogram), Value::Null);
        (1..=1000).for_each(|n| histogram.saturating_record(n * 10_000));
        assert_eq!(latency_text(&histogram), "p50 5.00 ms   p99 9.90 ms   p99.9 9.99 ms   max 10.00 ms");
        let median = latency_json(&histogram)["p50_us"].as_f64().unwrap();
        assert!((5000.0..5005.0).contains(&median), "{median}");
    }
}
