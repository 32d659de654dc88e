//! From sources to one checked configuration, or to everything that is wrong with it.

use std::collections::HashMap;
use std::path::Path;

use crate::Config;
use crate::mistake::{Mistake, Mistakes, Place};
use crate::raw::Raw;
use crate::rules::RULES;
use crate::source::Sources;
use crate::table::Setting;

impl Config {
    /// Reads `file` (when none is named: `hubbub.toml`, if there is one), then the environment
    /// (`HUBBUB_SECTION_KEY`; other variables are left alone), then pairs of "section.key" and value; what is
    /// read later wins.
    ///
    /// # Errors
    /// Every mistake in all of them at once, each with its place; nothing is opened, bound or created.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Config, Mistakes> {
        let mut sources = Sources::default();
        sources.read_file(file);
        sources.read_environment(env);
        sources.read_arguments(overrides);
        Loading::default().finish(sources)
    }

    /// Like [`Config::load`], from the text of a file alone; `name` is what mistakes call it.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse(name: &str, text: &str) -> Result<Config, Mistakes> {
        let mut sources = Sources::default();
        sources.read_text(name, text);
        Loading::default().finish(sources)
    }
}

#[derive(Default)]
struct Loading {
    config: Config,
    /// Where each setting was written last, and whether its value could be read.
    written: HashMap<String, (Place, bool)>,
    mistakes: Vec<(Place, Mistake)>,
}

impl Loading {
    fn finish(mut self, sources: Sources) -> Result<Config, Mistakes> {
        self.mistakes = sources.mistakes;
        for (place, setting, raw) in &sources.values {
            self.put(place, setting, raw);
        }
        if !sources.broken {
            self.check_rules();
        }
        if self.mistakes.is_empty() {
            return Ok(self.config);
        }
        self.mistakes.sort_by(|(one, _), (other, _)| one.cmp(other));
        Err(Mistakes(self.mistakes.into_iter().map(|(_, mistake)| mistake).collect()))
    }

    fn put(&mut self, place: &Place, setting: &Setting, raw: &Raw) {
        let read = (setting.read)(&mut self.config, raw);
        self.written.insert(setting.name(), (place.clone(), read.is_ok()));
        if let Err(reason) = read {
            let message = format!("{reason}; expected {}", (setting.expects)());
            self.mistakes.push(place.mistake(setting.name(), message));
        }
    }

    /// A rule over a value that could not be read would only blame its default, so it waits for the next
    /// attempt.
    fn check_rules(&mut self) {
        for rule in RULES {
            let written = || rule.keys.iter().filter_map(|key| Some((key, self.written.get(*key)?)));
            if written().any(|(_, (_, readable))| !readable) {
                continue;
            }
            let Some(message) = (rule.broken)(&self.config) else { continue };
            // The defaults break no rule, so one of the settings was written somewhere.
            if let Some((key, (place, _))) = written().next() {
                self.mistakes.push(place.mistake(*key, message));
            }
        }
    }
}
