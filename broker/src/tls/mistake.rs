//! What is wrong with the files of `[tls]`.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One thing wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting}: {}: {what}", .file.display())]
pub struct TlsMistake {
    /// The setting that names the file.
    pub setting: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl TlsMistake {
    pub(super) fn new(setting: &'static str, file: &Path, what: impl ToString) -> TlsMistake {
        TlsMistake { setting, file: file.to_owned(), what: what.to_string() }
    }
}

/// Everything wrong with the files, never empty; one line for each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct TlsMistakes(pub Vec<TlsMistake>);

impl fmt::Display for TlsMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
