//! The three places a setting may be written: the file, the environment, the command line.

use std::path::Path;
use std::{fs, io};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mistake::{Mistake, Place, nearest};
use crate::raw::Raw;
use crate::settings::SECTIONS;
use crate::table::{Section, Setting, all, find};

/// The file that is read when none is named.
const USUAL_FILE: &str = "hubbub.toml";

/// Variables of the command line client, and the name of the file; not settings.
const RESERVED: &[&str] = &[
    "HUBBUB_HOST",
    "HUBBUB_PORT",
    "HUBBUB_ADDRESS",
    "HUBBUB_USER",
    "HUBBUB_PASSWORD",
    "HUBBUB_LOG",
    "HUBBUB_CONFIG",
];

/// What the sources say: values for known settings, and mistakes.
#[derive(Default)]
pub(crate) struct Sources {
    /// Values in the order of reading.
    pub values: Vec<(Place, &'static Setting, Raw)>,
    /// What could not be understood.
    pub mistakes: Vec<(Place, Mistake)>,
    /// The file is not TOML, so some of its values are missing here.
    pub broken: bool,
}

impl Sources {
    /// Reads the file; without a name the usual one, which may be absent.
    pub(crate) fn read_file(&mut self, file: Option<&Path>) {
        let path = file.unwrap_or(Path::new(USUAL_FILE));
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => self.read_text(&name, &text),
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.mistakes.push(Place::File { name }.mistake("", format!("cannot read: {error}")))
            }
        }
    }

    /// Reads the text of a file.
    pub(crate) fn read_text(&mut self, name: &str, text: &str) {
        let place = |offset: usize| Place::Line { name: name.into(), line: line_of(text, offset) };
        let (sections, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let written = text.get(span.clone()).filter(|_| error.message() == "duplicate key").unwrap_or("");
            let message = format!("{} {written}", error.message());
            self.mistakes.push(place(span.start).mistake("", message.trim_end()));
        }
        // What the parser made of a broken line is a guess; one mistake for the line is enough.
        let guessed: Vec<Place> = self.mistakes.iter().map(|(place, _)| place.clone()).collect();
        for (section, content) in sections.get_ref() {
            self.read_section(section, content, &place);
        }
        self.values.retain(|(place, _, _)| !guessed.contains(place));
        self.broken = !errors.is_empty();
    }

    fn read_section(
        &mut self,
        section: &Spanned<impl AsRef<str>>,
        content: &Spanned<DeValue<'_>>,
        place: &impl Fn(usize) -> Place,
    ) {
        let (name, here) = (section.get_ref().as_ref(), place(section.span().start));
        match (SECTIONS.iter().find(|known| known.name == name), content.get_ref()) {
            (Some(known), DeValue::Table(entries)) => self.read_entries(known, entries, place),
            (Some(_), _) => {
                self.mistakes
                    .push(here.mistake(name, format!("is a section; write [{name}] and its keys below")));
            }
            (None, DeValue::Table(_)) => self.mistakes.push(here.mistake("", unknown_section(name))),
            (None, _) => self.mistakes.push(here.mistake(name, unknown_setting(name))),
        }
    }

    fn read_entries(&mut self, section: &Section, entries: &DeTable<'_>, place: &impl Fn(usize) -> Place) {
        for (key, value) in entries {
            let name = format!("{}.{}", section.name, key.get_ref());
            let here = place(key.span().start);
            match find(&name) {
                Some(setting) => self.values.push((here, setting, Raw::from(value.get_ref()))),
                None => self.mistakes.push(here.mistake(&name, unknown_setting(&name))),
            }
        }
    }

    /// Takes every variable that begins with `HUBBUB_`.
    pub(crate) fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let ours = |variable: &str| variable.starts_with("HUBBUB_") && !RESERVED.contains(&variable);
        for (variable, value) in variables.filter(|(variable, _)| ours(variable)) {
            let here = Place::Environment(variable.clone());
            match all().find(|setting| setting.variable() == variable) {
                Some(setting) => self.values.push((here, setting, Raw::Text(value))),
                None => {
                    let meant = nearest(&variable, all().map(Setting::variable));
                    self.mistakes.push(here.mistake("", suggest("no such setting", meant)));
                }
            }
        }
    }

    /// Takes pairs of "section.key" and value.
    pub(crate) fn read_arguments(&mut self, pairs: &[(String, String)]) {
        let here = Place::CommandLine;
        for (name, value) in pairs {
            match find(name) {
                Some(setting) => self.values.push((here.clone(), setting, Raw::Text(value.clone()))),
                None => self.mistakes.push(here.mistake(name, unknown_setting(name))),
            }
        }
    }
}

fn unknown_section(name: &str) -> String {
    let meant = nearest(name, SECTIONS.iter().map(|section| section.name.to_owned()));
    suggest(&format!("no such section: [{name}]"), meant.map(|meant| format!("[{meant}]")))
}

/// A key in the wrong section is found too.
fn unknown_setting(name: &str) -> String {
    let key = name.rsplit('.').next().unwrap_or(name);
    let elsewhere = || all().find(|setting| setting.key == key).map(Setting::name);
    suggest("no such setting", nearest(name, all().map(Setting::name)).or_else(elsewhere))
}

fn suggest(message: &str, meant: Option<String>) -> String {
    match meant {
        Some(meant) => format!("{message}; did you mean {meant}?"),
        None => message.into(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
