//! Reading a TOML file with its places, so that every problem in it is reported with its line, and
//! all of them at once.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value of the file, and where it stands.
pub(super) type Item<'t> = Spanned<DeValue<'t>>;

/// Something wrong in a mapping file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MappingProblem {
    /// The file as it was named by the caller.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for MappingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MappingProblem {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl std::error::Error for MappingProblem {}

/// Something that the mapping names, and where it names it.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What the paths of a mapping name.
#[derive(Clone, Debug, Default)]
pub(super) struct Mentions {
    /// Fields or columns of the row.
    pub(super) columns: Vec<Mention>,
    /// Fields of the row by whatever way: also through `$value`, `$before` and `$after`.
    pub(super) fields: BTreeSet<String>,
    /// What only a row of a file has.
    pub(super) of_files: Vec<Mention>,
}

/// What reading one file has found so far.
pub(super) struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<MappingProblem>,
    mentions: Mentions,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Problems<'t> {
        Problems {
            file,
            text,
            found: Vec::new(),
            mentions: Mentions::default(),
        }
    }

    /// Notes that the mapping reads the column `name` of the row.
    pub(super) fn name_column(&mut self, name: &str, span: &Range<usize>) {
        let mention = self.mention(name, span);
        self.mentions.columns.push(mention);
        self.name_field(name);
    }

    /// Notes that the mapping reads the field `name` of the row, which need not be there.
    pub(super) fn name_field(&mut self, name: &str) {
        self.mentions.fields.insert(name.to_owned());
    }

    /// Notes that the mapping reads `name`, which only a row of a file has.
    pub(super) fn name_of_files(&mut self, name: &str, span: &Range<usize>) {
        let mention = self.mention(name, span);
        self.mentions.of_files.push(mention);
    }

    /// The name `name` at `span`.
    pub(super) fn mention(&self, name: &str, span: &Range<usize>) -> Mention {
        let (line, column) = place(self.text, span.start);
        Mention {
            name: name.to_owned(),
            line,
            column,
        }
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Notes that what stands at `span` is wrong.
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = place(self.text, span.start);
        self.found.push(MappingProblem {
            file: self.file.to_owned(),
            line,
            column,
            message: message.into(),
        });
    }

    /// What the file names, or every problem in it, in its order.
    pub(super) fn finish(mut self) -> Result<Mentions, Vec<MappingProblem>> {
        if self.found.is_empty() {
            return Ok(self.mentions);
        }
        self.found.sort();
        self.found.dedup();
        Err(self.found)
    }
}

/// Line and column, both from 1, of the byte at `offset`.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (line, column)
}

/// A table of the file whose keys are asked for by name; what nobody asked for is refused.
pub(super) struct Table<'a, 't> {
    table: &'a DeTable<'t>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a, 't> Table<'a, 't> {
    pub(super) fn new(table: &'a DeTable<'t>, span: Range<usize>) -> Table<'a, 't> {
        Table {
            table,
            span,
            asked: Vec::new(),
        }
    }

    /// `item` as a table; `what` names it where it is something else.
    pub(super) fn of(
        item: &'a Item<'t>,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Table<'a, 't>> {
        match item.get_ref() {
            DeValue::Table(table) => Some(Table::new(table, item.span())),
            other => {
                let kind = kind_of(other);
                problems.add(&item.span(), format!("{what} is a table, not {kind}"));
                None
            }
        }
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Item<'t>> {
        self.asked.push(key);
        let found = self.table.iter().find(|(k, _)| k.get_ref() == key);
        found.map(|(_, value)| value)
    }

    /// The text at `key`.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<(&'a str, Range<usize>)> {
        let item = self.get(key)?;
        match item.get_ref().as_str() {
            Some(text) => Some((text, item.span())),
            None => {
                let kind = kind_of(item.get_ref());
                problems.add(&item.span(), format!("`{key}` is a text, not {kind}"));
                None
            }
        }
    }

    /// The truth value at `key`, or `default`.
    pub(super) fn flag(
        &mut self,
        key: &'static str,
        default: bool,
        problems: &mut Problems<'_>,
    ) -> bool {
        let Some(item) = self.get(key) else {
            return default;
        };
        item.get_ref().as_bool().unwrap_or_else(|| {
            let kind = kind_of(item.get_ref());
            problems.add(
                &item.span(),
                format!("`{key}` is true or false, not {kind}"),
            );
            default
        })
    }

    /// The text, or the list of texts, at `key`.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<(&'a str, Range<usize>)>> {
        let item = self.get(key)?;
        let items = match item.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![item],
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text, item.span())),
                None => problems.add(
                    &item.span(),
                    format!("`{key}` is a text or a list of texts"),
                ),
            }
        }
        Some(texts)
    }

    /// The one of `choices` that `key` names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let (text, span) = self.text(key, problems)?;
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Some(*value),
            None => {
                let names = choices.iter().map(|(name, _)| *name);
                problems.add(&span, unknown(&format!("`{key}`"), text, names));
                None
            }
        }
    }

    /// The one character at `key`.
    pub(super) fn character(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<(char, Range<usize>)> {
        let (text, span) = self.text(key, problems)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(one), None) => Some((one, span)),
            _ => {
                problems.add(&span, format!("`{key}` is one character"));
                None
            }
        }
    }

    /// Refuses every key that was not asked for; `what` names the table.
    pub(super) fn finish(self, what: &str, problems: &mut Problems<'_>) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let known = self.asked.iter().copied();
                problems.add(&key.span(), unknown(&format!("key of {what}"), name, known));
            }
        }
    }
}

/// What `value` is, in the words of a reader.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The message that `word` is no known `what`, with what was probably meant or what there is.
pub(super) fn unknown<'k>(
    what: &str,
    word: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("unknown {what}: `{word}`; did you mean `{near}`?"),
        None => {
            let mut list: Vec<String> = Vec::new();
            for quoted in known.map(|k| format!("`{k}`")) {
                // A key that two kinds of table share is one key.
                if !list.contains(&quoted) {
                    list.push(quoted);
                }
            }
            format!("unknown {what}: `{word}`; known are {}", list.join(", "))
        }
    }
}

/// The one of `known` that `word` was probably meant to be.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the word may be wrong, and at least one letter.
    let tolerance = (word.chars().count() / 3).max(1);
    let lower = word.to_lowercase();
    known
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_listed_once() {
        let known = ["format", "source", "format"].into_iter();
        assert_eq!(
            unknown("key", "colour", known),
            "unknown key: `colour`; known are `format`, `source`"
        );
    }
}
