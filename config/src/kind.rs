//! The kinds of value: what may be written for each, how it is checked, how it is shown.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::raw::Raw;
use crate::unit::{parse_size, parse_time, show_size, show_time};

/// Reads and shows values of type `T`.
pub(crate) trait Kind<T> {
    /// What a person may write: "a time from 1s to 1h".
    fn expects(&self) -> String;
    /// The checked value, or what is wrong with the one written.
    fn read(&self, raw: &Raw) -> Result<T, String>;
    /// The value as TOML, secrets masked.
    fn show(&self, value: &T) -> String;
}

/// `true` or `false`.
pub(crate) struct Flag;

/// A whole number, between both bounds inclusive.
pub(crate) struct Count(pub u64, pub u64);

/// A size in bytes, between both bounds inclusive.
pub(crate) struct Bytes(pub usize, pub usize);

/// A time, between both bounds inclusive.
pub(crate) struct Span(pub Duration, pub Duration);

/// One of a few words.
pub(crate) struct Choice;

/// An enum whose values have names.
pub(crate) trait Choices: Copy + PartialEq + 'static {
    /// Every value with its name.
    const ALL: &[(&str, Self)];
}

/// A numeric address with a port.
pub(crate) struct Address;

/// Addresses that begin alike.
pub(crate) struct Network;

/// A file or folder, not empty.
pub(crate) struct FilePath;

/// A value, or nothing.
pub(crate) struct Maybe<K>(pub K);

/// A list; as text, with commas between.
pub(crate) struct Many<K>(pub K);

impl Kind<bool> for Flag {
    fn expects(&self) -> String {
        "true or false".into()
    }

    fn read(&self, raw: &Raw) -> Result<bool, String> {
        match raw {
            Raw::Flag(flag) => Ok(*flag),
            Raw::Text(text) => text.parse().map_err(|_| got(raw)),
            _ => Err(got(raw)),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

impl<T: Copy + TryFrom<u64> + TryInto<u64>> Kind<T> for Count {
    fn expects(&self) -> String {
        format!("a number from {} to {}", self.0, self.1)
    }

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let number = match raw {
            Raw::Number(number) => u64::try_from(*number).map_err(|_| got(raw))?,
            Raw::Text(text) => text.replace('_', "").parse().map_err(|_| got(raw))?,
            _ => return Err(got(raw)),
        };
        within(number, self.0, self.1, raw)
    }

    fn show(&self, value: &T) -> String {
        number(*value).to_string()
    }
}

impl<T: Copy + TryFrom<u64> + TryInto<u64>> Kind<T> for Bytes {
    fn expects(&self) -> String {
        format!("a size from {} to {}", show_size(self.0 as u64), show_size(self.1 as u64))
    }

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let bytes = match raw {
            Raw::Number(number) => u64::try_from(*number).map_err(|_| got(raw))?,
            Raw::Text(text) => parse_size(text)?,
            _ => return Err(got(raw)),
        };
        within(bytes, self.0 as u64, self.1 as u64, raw)
    }

    fn show(&self, value: &T) -> String {
        quoted(&show_size(number(*value)))
    }
}

impl Kind<Duration> for Span {
    fn expects(&self) -> String {
        format!("a time from {} to {}", show_time(self.0), show_time(self.1))
    }

    fn read(&self, raw: &Raw) -> Result<Duration, String> {
        let time = match raw {
            Raw::Text(text) => parse_time(text)?,
            Raw::Number(number) => return Err(format!("{number} has no unit")),
            _ => return Err(got(raw)),
        };
        if (self.0..=self.1).contains(&time) { Ok(time) } else { Err(got(raw)) }
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&show_time(*value))
    }
}

impl<T: Choices> Kind<T> for Choice {
    fn expects(&self) -> String {
        let names: Vec<String> = T::ALL.iter().map(|(name, _)| quoted(name)).collect();
        names.join(" or ")
    }

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let Raw::Text(text) = raw else { return Err(got(raw)) };
        let chosen = T::ALL.iter().find(|(name, _)| name == text);
        chosen.map(|(_, value)| *value).ok_or_else(|| got(raw))
    }

    fn show(&self, value: &T) -> String {
        let name = T::ALL.iter().find(|(_, one)| one == value).map_or("", |(name, _)| name);
        quoted(name)
    }
}

impl Kind<SocketAddr> for Address {
    fn expects(&self) -> String {
        r#"an address and port such as "127.0.0.1:1883" or "[::1]:1883""#.into()
    }

    fn read(&self, raw: &Raw) -> Result<SocketAddr, String> {
        let Raw::Text(text) = raw else { return Err(got(raw)) };
        text.parse().map_err(|_| got(raw))
    }

    fn show(&self, value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }
}

impl Kind<IpNet> for Network {
    fn expects(&self) -> String {
        r#"a network such as "10.0.0.0/8", or an address"#.into()
    }

    fn read(&self, raw: &Raw) -> Result<IpNet, String> {
        let Raw::Text(text) = raw else { return Err(got(raw)) };
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or_else(|_| address()).map_err(|_| got(raw))?;
        // "10.1.2.3/8" may have been meant either way.
        if network.trunc() == network { Ok(network) } else { Err(got(raw)) }
    }

    fn show(&self, value: &IpNet) -> String {
        quoted(&value.to_string())
    }
}

impl Kind<PathBuf> for FilePath {
    fn expects(&self) -> String {
        "a path".into()
    }

    fn read(&self, raw: &Raw) -> Result<PathBuf, String> {
        match raw {
            Raw::Text(text) if !text.is_empty() => Ok(Path::new(text).to_owned()),
            _ => Err(got(raw)),
        }
    }

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

impl<T, K: Kind<T>> Kind<Option<T>> for Maybe<K> {
    fn expects(&self) -> String {
        format!("{}, or \"off\"", self.0.expects())
    }

    fn read(&self, raw: &Raw) -> Result<Option<T>, String> {
        match raw {
            Raw::Text(text) if text.is_empty() || text == "off" => Ok(None),
            _ => self.0.read(raw).map(Some),
        }
    }

    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| quoted("off"), |value| self.0.show(value))
    }
}

impl<T, K: Kind<T>> Kind<Vec<T>> for Many<K> {
    fn expects(&self) -> String {
        format!("a list, each {}", self.0.expects())
    }

    fn read(&self, raw: &Raw) -> Result<Vec<T>, String> {
        match raw {
            Raw::List(items) => items.iter().map(|item| self.0.read(item)).collect(),
            Raw::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| self.0.read(&Raw::Text(item.into()))).collect()
            }
            _ => Err(got(raw)),
        }
    }

    fn show(&self, value: &Vec<T>) -> String {
        let items: Vec<String> = value.iter().map(|item| self.0.show(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// What is wrong, when there is no more to say than what was written.
pub(crate) fn got(raw: &Raw) -> String {
    format!("got {raw}")
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn within<T: TryFrom<u64>>(number: u64, least: u64, most: u64, raw: &Raw) -> Result<T, String> {
    if !(least..=most).contains(&number) {
        return Err(got(raw));
    }
    T::try_from(number).map_err(|_| got(raw))
}

fn number<T: TryInto<u64>>(value: T) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}
