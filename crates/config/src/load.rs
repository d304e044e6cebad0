//! From a file and the command line's overrides to a checked configuration.

use std::fmt::Write as _;
use std::path::Path;

use crate::checked::read;
use crate::problem::Problems;
use crate::reader::{Notes, OPTION, Reader};
use crate::types::Config;

/// A checked configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(crate) notes: Notes,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// As it was given.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It can be read, and is wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// Reads the file, if one is given, and puts `overrides` on top: texts of the form `key=value` or
/// `section.key=value`, where a value that is no TOML is taken as a string.
///
/// # Errors
/// The file cannot be read, or anything in it or in the overrides is wrong.
pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Loaded, LoadError> {
    let Some(path) = file else {
        return Ok(parse("defaults", "", overrides)?);
    };
    let origin = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(source) => Ok(parse(&origin, &source, overrides)?),
        Err(source) => Err(LoadError::Unreadable {
            path: origin,
            source,
        }),
    }
}

/// As [`load`], from text; `origin` is the file's name in messages.
///
/// # Errors
/// Anything is wrong: all of it.
pub fn parse(origin: &str, source: &str, overrides: &[String]) -> Result<Loaded, Problems> {
    let overrides: Vec<(String, String)> = overrides
        .iter()
        .map(|text| (origin_of(text), as_document(text)))
        .collect();
    let mut documents = vec![(origin, source)];
    documents.extend(overrides.iter().map(|(o, s)| (o.as_str(), s.as_str())));
    let mut reader = Reader::new(&documents);
    let config = read(&mut reader);
    let notes = reader.finish()?;
    Ok(Loaded { config, notes })
}

/// The option as messages and comments name it; a password that was tried to be set is left out.
fn origin_of(text: &str) -> String {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let key = key.trim();
    let names_a_place = key.ends_with("_file") || key.ends_with("_env");
    let secret = ["password", "secret", "passphrase", ".pem"]
        .iter()
        .any(|word| key.contains(word));
    if (secret && !names_a_place) || value.contains('@') {
        return format!("{OPTION}{key}=…");
    }
    format!("{OPTION}{text}")
}

/// `time.grace=3d` is meant as `time.grace = "3d"`: a shell takes the quotes away.
fn as_document(text: &str) -> String {
    let Some((key, value)) = text.split_once('=') else {
        return text.to_owned();
    };
    if text.parse::<toml::Table>().is_ok() {
        return text.to_owned();
    }
    format!("{key}={}", toml::Value::String(value.trim().to_owned()))
}

impl Loaded {
    /// Whether `key` of `section` (empty: the top level) was set, rather than left to its default.
    #[must_use]
    pub fn is_set(&self, section: &str, key: &str) -> bool {
        let mut entries = self.notes.entries.iter();
        entries.any(|e| e.section == section && e.key == key && e.set_at.is_some())
    }

    /// The configuration in force as TOML that reads back the same, with a comment on every value
    /// that was set.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, _) in &self.notes.sections {
            if !section.is_empty() {
                let _ = writeln!(text, "\n[{section}]");
            }
            for entry in self.notes.entries.iter().filter(|e| e.section == *section) {
                let _ = write!(text, "{} = {}", entry.key, entry.effective);
                let _ = match &entry.set_at {
                    Some(place) => writeln!(text, "  # {place}"),
                    None => writeln!(text),
                };
            }
        }
        text
    }
}
