//! The ledger of normative statements, `tests/conformance/ledger.toml`, agrees with the tests that it names.

use std::collections::HashSet;
use std::fs;

use hubbub_tests::binary::repository;

/// Statements without a test may become fewer, never more.
const UNCOVERED_AT_MOST: usize = 0;

/// Normative statements of MQTT 5 (appendix B) and of MQTT 3.1.1 (appendix B).
const STATEMENTS: [(&str, usize); 2] = [("5", 251), ("3.1.1", 141)];

/// One row.
struct Row {
    id: String,
    version: String,
    who: String,
    what: String,
    tests: Vec<String>,
    state: Option<String>,
    reason: Option<String>,
}

#[test]
fn every_statement_has_one_row_that_is_whole() {
    let mut seen = HashSet::new();
    for row in rows() {
        let place = format!("{} of {}", row.id, row.version);
        assert!(seen.insert(place.clone()), "{place} is there twice");
        assert!(is_id(&row.id), "{place}: not an id");
        assert!(["server", "client", "both"].contains(&&*row.who), "{place}: who is {:?}", row.who);
        assert!(row.what.len() > 10, "{place}: what does it say?");
        match row.state.as_deref() {
            None => assert!(!row.tests.is_empty(), "{place}: a test or a state"),
            Some("uncovered" | "client-only" | "not applicable") => {
                assert!(row.tests.is_empty(), "{place}: a test has no state");
                assert!(row.reason.is_some_and(|reason| !reason.is_empty()), "{place}: why {:?}?", row.state);
            }
            Some(other) => panic!("{place}: no such state: {other}"),
        }
    }
    for (version, count) in STATEMENTS {
        assert_eq!(
            rows().iter().filter(|row| row.version == version).count(),
            count,
            "statements of {version}"
        );
    }
}

#[test]
fn every_test_that_is_named_exists_and_runs() {
    let mut wrong = Vec::new();
    for row in rows() {
        for test in &row.tests {
            if let Err(why) = find(test) {
                wrong.push(format!("{} of {}: {test} {why}", row.id, row.version));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn uncovered_statements_only_become_fewer() {
    let uncovered: Vec<String> = rows()
        .into_iter()
        .filter(|row| row.state.as_deref() == Some("uncovered"))
        .map(|row| format!("{} of {}: {}", row.id, row.version, row.reason.unwrap_or_default()))
        .collect();
    let list = uncovered.join("\n");
    assert_eq!(
        uncovered.len(),
        UNCOVERED_AT_MOST,
        "uncovered statements; UNCOVERED_AT_MOST is only lowered:\n{list}"
    );
}

/// One row in each line that begins with a brace: `{ key = "value", ... },`; TOML, but of this shape only.
fn rows() -> Vec<Row> {
    let file = repository().join("tests/conformance/ledger.toml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().filter(|line| line.trim_start().starts_with('{')).map(row).collect()
}

fn row(line: &str) -> Row {
    let value = |key: &str| {
        let (_, rest) = line.split_once(&format!(" {key} = \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let must = |key: &str| value(key).unwrap_or_else(|| panic!("no {key} in {line}"));
    let tests = value("test").unwrap_or_default();
    Row {
        id: must("id"),
        version: must("version"),
        who: must("who"),
        what: must("what"),
        tests: tests.split(", ").filter(|test| !test.is_empty()).map(str::to_owned).collect(),
        state: value("state"),
        reason: value("reason"),
    }
}

/// `MQTT-3.1.2-24`; chapter 4 also has ids like `MQTT-4.2-1`.
fn is_id(id: &str) -> bool {
    let Some((section, number)) = id.strip_prefix("MQTT-").and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (2..=3).contains(&section.split('.').count()) && section.split('.').all(is_number) && is_number(number)
}

/// Looks for `file::function`: below `tests/tests`, or else from the root of the repository.
fn find(test: &str) -> Result<(), String> {
    let (file, function) = test.split_once("::").ok_or("is not file::function")?;
    let short = repository().join(format!("tests/tests/{file}.rs"));
    let path = if short.exists() { short } else { repository().join(format!("{file}.rs")) };
    let source = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (before, _) = source.split_once(&format!("fn {function}(")).ok_or("does not exist")?;
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    match attributes {
        _ if attributes.contains("#[ignore") => Err("is ignored".into()),
        _ if attributes.contains("#[test]") || before.contains("proptest!") => Ok(()),
        _ => Err("is no test".into()),
    }
}
