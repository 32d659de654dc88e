//! The file that is read when none is named. Alone in its process, because it changes the working directory.

use std::fs;

use hubbub_config::Config;

#[test]
fn the_usual_file_may_be_absent_but_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let load = || Config::load(None, std::iter::empty(), &[]);
    assert_eq!(load(), Ok(Config::default()));

    fs::write("hubbub.toml", "[server]\nedges = 3").unwrap();
    assert_eq!(load().unwrap().server.edges, 3);

    fs::write("hubbub.toml", "[server]\nedges = -3").unwrap();
    let refused = "hubbub.toml:2: server.edges: got -3; expected a number from 0 to 1024";
    assert_eq!(load().unwrap_err().to_string(), refused);

    fs::write("hubbub.toml", b"\xff").unwrap();
    assert!(load().unwrap_err().to_string().starts_with("hubbub.toml: cannot read: "));
}
