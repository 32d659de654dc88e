//! Times and sizes with their units: "15s", "10min", "64KiB".

use std::time::Duration;

/// Milliseconds in each unit of time, smallest first.
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes in each unit of size, smallest first. No KB and MB: they mean two things.
const SIZES: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a time; a number alone is refused, because nobody remembers whether it meant seconds.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    match split(text)? {
        (_, "") => Err(format!("{text:?} has no unit ({})", names(TIMES))),
        (count, unit) => multiply(text, count, unit, TIMES).map(Duration::from_millis),
    }
}

/// Reads a size in bytes; a number alone is bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    match split(text)? {
        (count, "") => Ok(count),
        (count, unit) => multiply(text, count, unit, SIZES),
    }
}

/// Writes a time in the largest unit that needs no fraction.
pub(crate) fn show_time(time: Duration) -> String {
    show(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), "0s", TIMES)
}

/// Writes a size in the largest unit that needs no fraction.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, "0B", SIZES)
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count = count.replace('_', "");
    match count.parse() {
        Ok(count) => Ok((count, unit.trim())),
        Err(_) if count.is_empty() => Err(format!("{text:?} does not begin with a number")),
        Err(_) => Err(format!("{text:?} has too many digits")),
    }
}

fn multiply(text: &str, count: u64, unit: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{text:?}: {unit:?} is not a unit ({})", names(units)));
    };
    count.checked_mul(*factor).ok_or_else(|| format!("{text:?} is too large"))
}

fn show(amount: u64, zero: &str, units: &[(&str, u64)]) -> String {
    if amount == 0 {
        return zero.into();
    }
    let fits = |unit: &&(&str, u64)| amount.is_multiple_of(unit.1);
    match units.iter().rev().find(fits) {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => amount.to_string(),
    }
}

fn names(units: &[(&str, u64)]) -> String {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("500ms", 500);
        check("15s", 15_000);
        check("15 s", 15_000);
        check("10min", 600_000);
        check("24h", 86_400_000);
        check("7d", 604_800_000);
        check("0s", 0);
    }

    #[test]
    fn sizes_may_have_units() {
        let check = |text: &str, bytes: u64| assert_eq!(parse_size(text), Ok(bytes), "{text}");
        check("1024", 1024);
        check("1_000", 1000);
        check("12B", 12);
        check("1MiB", 1_048_576);
        check("3 GiB", 3_221_225_472);
    }

    #[test]
    fn what_is_unclear_is_refused_with_a_reason() {
        let time = |text: &str| parse_time(text).unwrap_err();
        assert_eq!(time("15"), r#""15" has no unit (ms, s, min, h, d)"#);
        assert_eq!(time("15m"), r#""15m": "m" is not a unit (ms, s, min, h, d)"#);
        assert_eq!(time("1.5h"), r#""1.5h": ".5h" is not a unit (ms, s, min, h, d)"#);
        assert_eq!(time("-1s"), r#""-1s" does not begin with a number"#);
        assert_eq!(time(""), r#""" does not begin with a number"#);
        assert_eq!(time("99999999999999999999s"), r#""99999999999999999999s" has too many digits"#);
        assert_eq!(time("9999999999999999999d"), r#""9999999999999999999d" is too large"#);
        assert_eq!(parse_size("1MB").unwrap_err(), r#""1MB": "MB" is not a unit (B, KiB, MiB, GiB, TiB)"#);
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 1500, 60_000, 5_400_000, 604_800_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_time(&show_time(time)), Ok(time));
        }
        for bytes in [0, 1, 1023, 1024, 1536, 268_435_460, 3 << 40] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_time(Duration::from_secs(600)), "10min");
        assert_eq!(show_size(1 << 20), "1MiB");
    }
}
