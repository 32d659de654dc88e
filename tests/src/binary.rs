//! Where the program under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `hubbub` program: the one named by `HUBBUB_BIN`, else the one of this workspace in the profile of this test, which is
/// built first. (Cargo hands a path only to the tests of the crate that holds the program.)
pub fn hubbub() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("HUBBUB_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn build() -> PathBuf {
    // This test is target/{profile}/deps/{name}-{hash}.
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "hubbub", "--bin", "hubbub", "--target-dir"]);
    cargo.arg(folder.parent().unwrap()).current_dir(repository());
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        Some(profile) => drop(cargo.args(["--profile", profile])),
        None => panic!("{} is not in a target folder; name the program in HUBBUB_BIN", test.display()),
    }
    // What cargo told this test about itself would make build scripts believe that everything changed.
    for (name, _) in std::env::vars() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|of| name.starts_with(of))
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "`cargo build --package hubbub` failed, so there is no program to test");
    folder.join("hubbub")
}
