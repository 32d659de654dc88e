//! Every setting of Hubbub: type, unit, default, check.
//!
//! `settings.rs` holds one row for each setting; the structs, the defaults, the file `hubbub.toml`, the names
//! of the variables and the checks all come from these rows. Values from file, environment and command line
//! go through the same reader, so that a mistake reads the same wherever it was made, and all of them are
//! reported at once.

mod kind;
mod load;
mod manual;
mod mistake;
mod raw;
mod rules;
mod settings;
mod source;
mod table;
mod unit;
mod word;

pub use manual::DEFAULT_FILE;
pub use mistake::{Mistake, Mistakes};
pub use settings::{
    Acl, Chat, ClientAuth, ClientUser, Compat, Config, Devices, Engine, Keep, Limits, Listen, Location, Log,
    LogFormat, Login, LoginMethod, Notify, Presence, QueueDrop, Server, Session, Spine, StoreConfig, Tls,
};

/// Exit status of a command line that makes no sense (sysexits.h).
pub const EX_USAGE: u8 = 64;

/// Exit status of a configuration with mistakes (sysexits.h).
pub const EX_CONFIG: u8 = 78;

/// The variables of this process that may be settings, for [`Config::load`]; unlike `std::env::vars` it does
/// not panic when something else in the environment is not UTF-8.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
    let pairs = std::env::vars_os().map(move |(variable, value)| (text(variable), text(value)));
    pairs.filter(|(variable, _)| variable.starts_with("HUBBUB_"))
}
