//! Every corpus and every crash that fuzzing left (`tests/fuzz`), through the same functions, with the ordinary compiler.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use hubbub_tests::binary::repository;
use hubbub_tests::fuzz::TARGETS;

#[test]
fn every_target_has_a_corpus_and_finds_nothing_in_it() {
    for (target, run) in TARGETS {
        let cases = cases(&folder("corpus", target));
        assert!(!cases.is_empty(), "tests/fuzz/corpus/{target} is empty: nothing guards what it found");
        for case in cases {
            replay(&case, run);
        }
    }
}

#[test]
fn what_once_crashed_does_not_crash_any_more() {
    for (target, run) in TARGETS {
        for case in cases(&folder("crashes", target)) {
            replay(&case, run);
        }
    }
}

#[test]
fn targets_here_and_in_cargo_fuzz_are_the_same() {
    let targets = repository().join("tests/fuzz/fuzz_targets");
    let mut files: Vec<_> = cases(&targets).iter().map(|path| stem(path)).collect();
    files.sort_unstable();
    assert_eq!(files, TARGETS.map(|(target, _)| target), "tests/fuzz/fuzz_targets and tests/src/fuzz/mod.rs");
    let manifest = fs::read_to_string(repository().join("tests/fuzz/Cargo.toml")).unwrap();
    for target in files {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "tests/fuzz/Cargo.toml lacks {target}");
        for kind in ["corpus", "crashes"] {
            let stray = cases(&repository().join("tests/fuzz").join(kind));
            assert!(stray.iter().all(|path| path.is_dir()), "cases belong into a folder of their target");
        }
    }
}

/// Says which case it is before it fails, as the name of a thread that panics.
fn replay(case: &Path, run: fn(&[u8])) {
    let data = fs::read(case).unwrap();
    let name = case.strip_prefix(repository()).unwrap().display().to_string();
    let thread = std::thread::Builder::new().name(name.clone()).spawn(move || run(&data)).unwrap();
    assert!(thread.join().is_ok(), "{name}: see the panic above");
}

fn folder(kind: &str, target: &str) -> PathBuf {
    repository().join("tests/fuzz").join(kind).join(target)
}

/// What is in a folder; nothing if it is not there.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}
