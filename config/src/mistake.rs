//! What is wrong with a configuration, and where.

use std::error::Error;
use std::fmt;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written: "hubbub.toml:12", "environment HUBBUB_STORE_PATH", or "command line".
    pub place: String,
    /// The setting as "section.key"; empty when there is none to name.
    pub key: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// Everything wrong with the configuration: file (by line), environment, command line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

/// Where a value was written, in order of reading; what is read later wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The file as a whole.
    File { name: String },
    /// A line of the file, from 1.
    Line { name: String, line: usize },
    /// A variable, by name.
    Environment(String),
    /// An argument.
    CommandLine,
}

impl Place {
    /// A mistake at this place.
    pub(crate) fn mistake(&self, key: impl Into<String>, message: impl Into<String>) -> (Place, Mistake) {
        (self.clone(), Mistake { place: self.to_string(), key: key.into(), message: message.into() })
    }
}

/// The known name that somebody probably meant by this one.
pub(crate) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let distance = |one: &String| strsim::damerau_levenshtein(name, one);
    let likely = known.map(|one| (distance(&one), one)).min_by_key(|(distance, _)| *distance);
    likely.filter(|(distance, _)| *distance <= name.chars().count() / 4 + 1).map(|(_, one)| one)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name } => write!(f, "{name}"),
            Place::Line { name, line } => write!(f, "{name}:{line}"),
            Place::Environment(variable) => write!(f, "environment {variable}"),
            Place::CommandLine => write!(f, "command line"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.message),
            key => write!(f, "{}: {key}: {}", self.place, self.message),
        }
    }
}

/// One line for each mistake.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{mistake}")?;
        }
        Ok(())
    }
}

impl Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_made_only_when_it_is_likely() {
        let known = || ["session.inflight", "session.queue_bytes", "acl.file"].map(String::from).into_iter();
        let check =
            |name: &str, meant: Option<&str>| assert_eq!(nearest(name, known()).as_deref(), meant, "{name}");
        check("session.inflght", Some("session.inflight"));
        check("session.queue-bytes", Some("session.queue_bytes"));
        check("acl.flie", Some("acl.file"));
        check("weather.rain", None);
    }
}
