//! How a row of `settings.rs` becomes a field, a default, and an entry of the table that every source goes
//! through.

use crate::Config;
use crate::raw::Raw;

/// One section of the file, in the order in which it is shown.
pub(crate) struct Section {
    /// The name between the brackets.
    pub name: &'static str,
    /// Its lines of explanation.
    #[cfg_attr(not(test), expect(dead_code, reason = "read when a test renders the file"))]
    pub about: &'static [&'static str],
    /// Its settings.
    pub settings: &'static [Setting],
}

/// One setting: how to explain, read and show it.
pub(crate) struct Setting {
    /// The section it stands in.
    pub section: &'static str,
    /// Its key inside the section.
    pub key: &'static str,
    /// Its lines of explanation.
    #[cfg_attr(not(test), expect(dead_code, reason = "read when a test renders the file"))]
    pub about: &'static [&'static str],
    /// What may be written for it.
    pub expects: fn() -> String,
    /// Checks the value and puts it into the configuration; the error says what is wrong with it.
    pub read: fn(&mut Config, &Raw) -> Result<(), String>,
    /// The value as TOML, secrets masked.
    pub show: fn(&Config) -> String,
}

impl Setting {
    /// "section.key", as on the command line.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// "HUBBUB_SECTION_KEY", as in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("HUBBUB_{}_{}", self.section, self.key).to_uppercase()
    }
}

/// Every setting, in the order of the file.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    crate::settings::SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting called "section.key".
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    let (section, key) = name.split_once('.')?;
    all().find(|setting| setting.section == section && setting.key == key)
}

/// Turns rows `key: Type = default, kind;` into the structs, their `Default` and `Debug`, and `SECTIONS`.
macro_rules! settings {
    ($($(#[doc = $about:literal])* $section:ident : $Section:ident {
        $($(#[doc = $doc:literal])* $key:ident : $type:ty = $default:expr, $kind:expr;)*
    })*) => {
        /// Every setting, typed and checked; made by [`Config::load`]. Its `Debug` masks secrets.
        #[derive(Clone, Debug, PartialEq, Default)]
        pub struct Config {
            $($(#[doc = $about])* pub $section: $Section,)*
        }

        $(
            $(#[doc = $about])*
            #[derive(Clone, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])* pub $key: $type,)*
            }

            impl Default for $Section {
                fn default() -> $Section {
                    $Section { $($key: $default,)* }
                }
            }

            impl std::fmt::Debug for $Section {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    use $crate::kind::Kind;
                    let mut shown = f.debug_struct(stringify!($Section));
                    $(shown.field(stringify!($key), &format_args!("{}", Kind::<$type>::show(&$kind, &self.$key)));)*
                    shown.finish()
                }
            }
        )*

        pub(crate) static SECTIONS: &[$crate::table::Section] = &[$($crate::table::Section {
            name: stringify!($section),
            about: &[$($about),*],
            settings: &[$($crate::table::Setting {
                section: stringify!($section),
                key: stringify!($key),
                about: &[$($doc),*],
                expects: || $crate::kind::Kind::<$type>::expects(&$kind),
                read: |config, raw| {
                    config.$section.$key = $crate::kind::Kind::<$type>::read(&$kind, raw)?;
                    Ok(())
                },
                show: |config| $crate::kind::Kind::<$type>::show(&$kind, &config.$section.$key),
            }),*],
        }),*];
    };
}

pub(crate) use settings;
