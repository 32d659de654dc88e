//! The invariants of the house, mostly of absence (`ARCHITECTURE.md`). Each failure says where the thing belongs instead.

// Only functions with #[test] count as tests for that lint; their helpers may stop a test as well.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use hubbub_tests::binary::repository;

/// What only one place may name, and what to do instead.
struct Secret {
    /// Any of these, in code.
    words: &'static [&'static str],
    /// Beginnings of the paths in which it is looked for.
    everywhere_in: &'static [&'static str],
    /// Beginnings of the paths in which it is allowed.
    but: &'static [&'static str],
    /// What to do instead.
    instead: &'static str,
}

/// The parts that are pure: bytes and time in, effects out.
const PURE: &[&str] = &[
    "broker/src/codec",
    "broker/src/gate",
    "broker/src/layers",
    "broker/src/limit",
    "broker/src/policy",
    "broker/src/proxy",
    "broker/src/retained",
    "broker/src/routes",
    "broker/src/share.rs",
    "broker/src/session",
    "broker/src/sys",
    "broker/src/tally",
    "broker/src/tls",
    "broker/src/topic",
    "broker/src/trie",
    "broker/src/websocket",
    "bridge/src/acl",
    "bridge/src/presence",
];

const SERVER: &[&str] = &["config/src/", "broker/src/", "bridge/src/"];

#[test]
fn only_the_spine_names_rumqttd() {
    Secret {
        words: &["rumqttd"],
        everywhere_in: &["config/", "broker/", "bridge/", "cli/"],
        but: &["broker/src/spine", "broker/Cargo.toml"],
        instead: "speak to it through `Spine`, `SpineTx` and `SpineRx` of broker/src/spine.rs",
    }
    .is_kept();
}

#[test]
fn only_the_store_names_its_engines() {
    Secret {
        words: &["sled::", "use sled", "fjall::", "use fjall"],
        everywhere_in: &["config/", "broker/", "bridge/", "cli/"],
        but: &["bridge/src/store/"],
        instead: "use the trait `Store` of bridge/src/store",
    }
    .is_kept();
}

#[test]
fn only_the_command_line_names_an_mqtt_client_library() {
    Secret {
        words: &["rumqttc"],
        everywhere_in: &["config/", "broker/", "bridge/", "tests/src", "tests/tests/stories"],
        but: &[],
        instead: "clients are the business of cli/src/client; the harness has its own",
    }
    .is_kept();
}

#[test]
fn the_pure_parts_name_neither_tokio_nor_sockets() {
    Secret {
        words: &[
            "tokio",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "ToSocketAddrs",
            "socket2",
            "std::fs",
            "thread::",
        ],
        everywhere_in: PURE,
        but: &[],
        instead: "return the effect as data; broker/src/edge and broker/src/listen carry it out",
    }
    .is_kept();
}

#[test]
fn one_place_reads_the_clock() {
    Secret {
        words: &["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed"],
        everywhere_in: SERVER,
        but: &["broker/src/clock.rs"],
        instead: "take `now` as an argument; broker/src/clock.rs is the place that reads the clock",
    }
    .is_kept();
}

#[test]
fn one_place_leaves_the_checked_language() {
    Secret {
        words: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe_code"],
        everywhere_in: &[""],
        but: &["cli/src/memory.rs", "Cargo.toml", "tests/"],
        instead: "cli/src/memory.rs speaks to the allocator; nothing else has a reason",
    }
    .is_kept();
}

#[test]
fn nothing_that_a_peer_or_the_disk_can_influence_is_unwrapped() {
    Secret {
        words: &[".unwrap()", ".expect(\"", "todo!(", "unimplemented!("],
        everywhere_in: SERVER,
        but: &[],
        instead: "return an error that says whose fault it is, or make the type unable to be wrong",
    }
    .is_kept();
}

#[test]
fn every_queue_has_a_size() {
    Secret {
        words: &["unbounded_channel", "unbounded()", "mpsc::channel()", "channel::<"],
        everywhere_in: SERVER,
        but: &[],
        instead: "use a bounded queue, with its size a setting of hubbub-config",
    }
    .is_kept();
}

#[test]
fn stories_do_not_sleep() {
    Secret {
        words: &["sleep("],
        everywhere_in: &["tests/tests/"],
        but: &["tests/tests/tidy.rs"],
        instead: "wait for what a user would notice; hubbub_tests::tool::eventually asks again and again",
    }
    .is_kept();
}

#[test]
fn crates_point_one_way() {
    let may_name: [(&str, &[&str]); 5] = [
        ("config", &[]),
        ("broker", &["hubbub-config"]),
        ("bridge", &["hubbub-config", "hubbub-broker"]),
        ("cli", &["hubbub-config", "hubbub-broker", "hubbub-bridge"]),
        ("tests", &["hubbub-config", "hubbub-broker", "hubbub-bridge"]),
    ];
    for (folder, allowed) in may_name {
        let manifest = read(&repository().join(folder).join("Cargo.toml"));
        let arrows = manifest.lines().filter(|line| line.starts_with("hubbub"));
        for arrow in arrows {
            let name = arrow.split(['.', ' ', '=']).next().unwrap();
            assert!(
                allowed.contains(&name),
                "{folder}/Cargo.toml names {name}: config ◀ broker ◀ bridge ◀ cli"
            );
        }
    }
}

#[test]
fn every_relative_link_in_a_document_leads_somewhere() {
    let mut broken = Vec::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        for link in links(&read(&path)) {
            let target = path.parent().unwrap().join(link.split('#').next().unwrap());
            if !target.exists() {
                broken.push(format!("{}: {link}", name(&path)));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_secrets_are_looked_for_where_there_is_something() {
    let names: Vec<String> = files().iter().map(|path| name(path)).collect();
    for part in
        PURE.iter().chain(SERVER).chain(&["broker/src/spine", "broker/src/clock.rs", "bridge/src/store/"])
    {
        assert!(
            names.iter().any(|name| name.starts_with(part)),
            "{part} is not there any more: look in tests/tests/tidy.rs"
        );
    }
}

impl Secret {
    /// # Panics
    /// With every line that names it elsewhere.
    fn is_kept(&self) {
        let begins = |name: &str, parts: &[&str]| parts.iter().any(|part| name.starts_with(part));
        let mut found = Vec::new();
        for path in files() {
            let name = name(&path);
            let is_code = name.ends_with(".rs") || name.ends_with("Cargo.toml");
            if !is_code || is_test(&name) || !begins(&name, self.everywhere_in) || begins(&name, self.but) {
                continue;
            }
            for (number, line) in code(&read(&path)) {
                if self.words.iter().any(|word| line.contains(word)) {
                    found.push(format!("{name}:{number}: {}", line.trim()));
                }
            }
        }
        assert!(found.is_empty(), "{}:\n{}", self.instead, found.join("\n"));
    }
}

/// Tests of a server crate may do what the server may not.
fn is_test(name: &str) -> bool {
    !name.starts_with("tests/")
        && ["/tests/", "/tests.rs", "/benches/", "/suite.rs"].iter().any(|part| name.contains(part))
}

/// The lines of a file with their numbers, without comments, and without the tests at its bottom.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_comment =
        |line: &str| line.trim_start().starts_with("//") || line.starts_with('#') && !line.starts_with("#[");
    let is_end = |line: &str| line.trim_start().starts_with("#[cfg(test)]");
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.take_while(move |(_, line)| !is_end(line)).filter(move |(_, line)| !is_comment(line))
}

/// The targets of relative links, `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '<']) && !target.is_empty())
        .collect()
}

/// Every file of the repository, without what is built or fetched.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_ours = !["target", "node_modules", ".git", ".venv", "data"].contains(&name.as_str());
            match path.is_dir() {
                true if is_ours => folders.push(path),
                true => {}
                false => files.push(path),
            }
        }
    }
    files
}

fn name(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
