//! The configuration as a person reads it: with every explanation, or only the values.

use crate::Config;
use crate::settings::SECTIONS;
use crate::table::{Section, Setting, all};

/// The commented configuration file: every key with its explanation, commented out at its default.
pub const DEFAULT_FILE: &str = include_str!("../hubbub.toml");

impl Config {
    /// The value of every setting as TOML, secrets masked.
    pub fn describe(&self) -> String {
        let sections: Vec<String> = SECTIONS.iter().map(|section| self.describe_section(section)).collect();
        sections.join("\n")
    }

    /// Every setting as "section.key" with the name of its variable.
    pub fn keys() -> impl Iterator<Item = (String, String)> {
        all().map(|setting| (setting.name(), setting.variable()))
    }

    fn describe_section(&self, section: &Section) -> String {
        let mut text = format!("[{}]\n", section.name);
        for setting in section.settings {
            text += &self.describe_setting(setting);
        }
        text
    }

    fn describe_setting(&self, setting: &Setting) -> String {
        format!("{} = {}\n", setting.key, (setting.show)(self))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HEAD: &str = "\
# Settings of Hubbub. Every key stands here at its default; remove the `#` before a key to change it.
#
# The same through the environment: HUBBUB_SECTION_KEY, as in HUBBUB_STORE_PATH=/var/lib/hubbub; lists with
# commas between. The command line wins over the environment, the environment over this file.
#
# Times need a unit: ms, s, min, h, d. Sizes are bytes, or have a unit: KiB, MiB, GiB.
# `hubbub config check` names every mistake at once.
";

    /// What `hubbub.toml` should be.
    fn rendered() -> String {
        SECTIONS.iter().fold(HEAD.to_owned(), |text, section| text + &render_section(section))
    }

    fn render_section(section: &Section) -> String {
        let mut text = format!("\n\n{}[{}]\n", comment(section.about), section.name);
        for setting in section.settings {
            let (expected, default) = (capital((setting.expects)()), (setting.show)(&Config::default()));
            let value = format!("# {expected}; default {default}.\n#{} = {default}\n", setting.key);
            text += &format!("\n{}{value}", comment(setting.about));
        }
        text
    }

    fn capital(mut text: String) -> String {
        text[..1].make_ascii_uppercase();
        text
    }

    fn comment(about: &[&str]) -> String {
        about.iter().map(|line| format!("#{line}\n")).collect()
    }

    /// The file with every setting taken out of its comment.
    fn uncommented() -> String {
        let is_setting = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
        let lines =
            DEFAULT_FILE.lines().map(|line| line.strip_prefix('#').filter(is_setting).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_file_says_what_the_code_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hubbub.toml");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, rendered()).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(
            file == rendered(),
            "UPDATE_EXPECT=1 cargo test -p hubbub-config writes {} anew",
            path.display()
        );
    }

    #[test]
    fn the_file_as_it_stands_changes_nothing() {
        assert_eq!(Config::parse("hubbub.toml", DEFAULT_FILE), Ok(Config::default()));
    }

    #[test]
    fn the_file_uncommented_is_the_default_and_complete() {
        assert_eq!(Config::parse("hubbub.toml", &uncommented()), Ok(Config::default()));
        let table: toml::Table = uncommented().parse().unwrap();
        for (name, _) in Config::keys() {
            let (section, key) = name.split_once('.').unwrap();
            assert!(table[section].get(key).is_some(), "{name} is not in hubbub.toml");
        }
    }

    #[test]
    fn what_is_described_reads_back() {
        let text = "[listen]\nhttp = \"off\"\nmqtt = []\n[session]\nexpiry_max = \"36h\"\n[store]\nengine = \"memory\"\npath = 'C:\\d\"'";
        let config = Config::parse("hubbub.toml", text).unwrap();
        assert_ne!(config, Config::default());
        assert_eq!(Config::parse("described", &config.describe()), Ok(config));
    }

    #[test]
    fn secrets_are_masked_wherever_a_configuration_is_shown() {
        let text = "[notify]\nwebhook = \"https://me:pass@push.example/?token=tok\"\nsecret = \"sesame\"";
        let config = Config::parse("hubbub.toml", text).unwrap();
        for shown in [config.describe(), format!("{config:?}"), format!("{:?}", config.notify)] {
            assert!(shown.contains("push.example") && shown.contains("***"), "{shown}");
            for hidden in ["sesame", "pass", "tok\"", "=tok"] {
                assert!(!shown.contains(hidden), "{hidden} in {shown}");
            }
        }
    }
}
