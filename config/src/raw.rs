//! A value as it was written, before anybody knows what it should be.

use std::fmt;

use toml::de::DeValue;

/// A value from the file, or the text of a variable or an argument.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// Text; from the environment and the command line everything is text, so text may stand for any kind.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// A list.
    List(Vec<Raw>),
    /// What no setting takes, by name.
    Other(&'static str),
}

impl From<&DeValue<'_>> for Raw {
    fn from(value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(flag) => Raw::Flag(*flag),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Raw::Number(number),
                Err(_) => Raw::Other("a number with too many digits"),
            },
            DeValue::Array(items) => Raw::List(items.iter().map(|item| Raw::from(item.get_ref())).collect()),
            DeValue::Float(_) => Raw::Other("a number with a point"),
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Table(_) => Raw::Other("a table"),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Text(text) => write!(f, "{text:?}"),
            Raw::Number(number) => write!(f, "{number}"),
            Raw::Flag(flag) => write!(f, "{flag}"),
            Raw::List(_) => write!(f, "a list"),
            Raw::Other(name) => write!(f, "{name}"),
        }
    }
}
