//! The words of a command line before they are parsed.

use std::ffi::OsString;

/// Stands between the words of one `-D` once they are joined; no shell makes it by accident.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Joins the words of each `-D` into one, because their number depends on the property: two values for `user-property`, else one.
pub fn join_words(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let is_value = joined.last().is_some_and(|last| last == "-m" || last == "--message");
        let is_property = !is_value && (word == "-D" || word == "--property");
        joined.push(word);
        if !is_property {
            continue;
        }
        let Some(mut property) = words.next() else { break };
        let Some(name) = words.next() else {
            joined.push(property);
            break;
        };
        let values = if name == "user-property" { 2 } else { 1 };
        for word in std::iter::once(name).chain(words.by_ref().take(values)) {
            property.push(SEPARATOR.to_string());
            property.push(word);
        }
        joined.push(property);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(line: &str) -> Vec<String> {
        join_words(line.split(' ').map(OsString::from))
            .into_iter()
            .map(|word| word.to_string_lossy().replace(SEPARATOR, " "))
            .collect()
    }

    #[test]
    fn words_are_joined_by_what_the_property_wants() {
        assert_eq!(
            joined("pub -D publish user-property k -v -t x"),
            ["pub", "-D", "publish user-property k -v", "-t", "x"]
        );
        assert_eq!(
            joined("pub -D connect session-expiry-interval 60 -t x"),
            ["pub", "-D", "connect session-expiry-interval 60", "-t", "x"]
        );
    }

    #[test]
    fn a_value_may_be_called_user_property() {
        assert_eq!(
            joined("-D publish content-type user-property -t x"),
            ["-D", "publish content-type user-property", "-t", "x"]
        );
        assert_eq!(
            joined("-D publish user-property user-property v -t x"),
            ["-D", "publish user-property user-property v", "-t", "x"]
        );
    }

    #[test]
    fn a_message_may_look_like_the_flag() {
        assert_eq!(joined("pub -m -D -t x y z"), ["pub", "-m", "-D", "-t", "x", "y", "z"]);
    }
}
