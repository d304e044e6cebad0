//! Reads keys out of TOML documents, one call per key, and takes notes: what was asked for (the
//! reference page and `config show` are made of that) and what was wrong (all of it, with places).
//!
//! Invariant: a call always answers a usable value, the default where the document's is refused,
//! so that reading goes on and every problem is found in one pass.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems, nearest, place};
use crate::setting::{Properties, Setting, Wrong, property_text, with_article};

/// One document: a file, or an option of the command line.
pub(crate) struct Layer<'a> {
    origin: &'a str,
    source: &'a str,
    table: DeTable<'a>,
}

/// The origin of what stands on the command line begins with this; it has no lines.
pub(crate) const OPTION: &str = "--set ";

impl<'a> Layer<'a> {
    /// The table of a section, whose name has a dot for every table that it stands in.
    fn section(&self, name: &str) -> Option<&DeTable<'a>> {
        let mut table = &self.table;
        for part in name.split('.').filter(|part| !part.is_empty()) {
            table = table.get(part)?.get_ref().as_table()?;
        }
        Some(table)
    }

    fn place(&self, span: &Range<usize>) -> Option<(usize, usize)> {
        (!self.origin.starts_with(OPTION)).then(|| place(self.source, span))
    }

    /// `file:line`, or the option.
    fn name_of(&self, span: &Range<usize>) -> String {
        match self.place(span) {
            Some((line, _)) => format!("{}:{line}", self.origin),
            None => self.origin.to_owned(),
        }
    }
}

/// What is known about a key once it has been asked for.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Section; empty at the top.
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) kind: String,
    /// As a TOML literal.
    pub(crate) default: String,
    /// As a TOML literal.
    pub(crate) effective: String,
    /// `file:line`, where it does not stand at its default.
    pub(crate) set_at: Option<String>,
    pub(crate) doc: &'static str,
}

/// What was asked for, in order.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) entries: Vec<Entry>,
    /// Name and meaning.
    pub(crate) sections: Vec<(&'static str, &'static str)>,
}

/// The documents, and the notes taken while reading them.
pub(crate) struct Reader<'a> {
    /// Later ones win.
    layers: Vec<Layer<'a>>,
    entries: Vec<Entry>,
    sections: Vec<(&'static str, &'static str)>,
    problems: Vec<Problem>,
    /// Layer and line of what is not even TOML.
    broken: Vec<(usize, usize)>,
}

impl<'a> Reader<'a> {
    /// Takes in `(origin, source)` documents, later ones on top of earlier ones.
    pub(crate) fn new(documents: &[(&'a str, &'a str)]) -> Reader<'a> {
        let mut reader = Reader {
            layers: Vec::new(),
            entries: Vec::new(),
            sections: Vec::new(),
            problems: Vec::new(),
            broken: Vec::new(),
        };
        for (origin, source) in documents {
            let (table, errors) = DeTable::parse_recoverable(source);
            reader.layers.push(Layer {
                origin,
                source,
                table: table.into_inner(),
            });
            let index = reader.layers.len() - 1;
            let broken: Vec<_> = errors
                .iter()
                .map(|error| (index, place(source, &error.span().unwrap_or(0..0)).0))
                .collect();
            for error in errors {
                let wrong = Wrong::new(error.message().replace('\n', ", "));
                reader.note(index, &error.span().unwrap_or(0..0), wrong);
            }
            reader.broken.extend(broken);
        }
        reader
    }

    /// Reads the keys of a section; `""` is the top of the document.
    pub(crate) fn section(&mut self, name: &'static str, doc: &'static str) -> Section<'_, 'a> {
        self.sections.push((name, doc));
        Section { reader: self, name }
    }

    /// Whether a document has the key.
    pub(crate) fn is_set(&self, section: &str, key: &str) -> bool {
        self.find(section, key).is_some()
    }

    /// Adds a problem at the value of the first of `keys` that is set, or at the start of the first
    /// document where none is.
    pub(crate) fn refuse(&mut self, section: &str, keys: &[&str], wrong: Wrong) {
        let set = keys.iter().find(|key| self.is_set(section, key));
        let Some(key) = set.or(keys.first()) else {
            return;
        };
        let found = self
            .find(section, key)
            .map(|(index, value)| (index, value.span()));
        let (index, span) = found.unwrap_or((0, 0..0));
        let label = label(section, key);
        self.note(
            index,
            &span,
            Wrong {
                message: format!("`{label}`: {}", wrong.message),
                hint: wrong.hint,
            },
        );
    }

    /// Everything that is wrong, in order, or nothing.
    pub(crate) fn finish(mut self) -> Result<Notes, Problems> {
        for index in 0..self.layers.len() {
            self.refuse_unknown(index);
        }
        if self.problems.is_empty() {
            return Ok(Notes {
                entries: self.entries,
                sections: self.sections,
            });
        }
        let mut problems = self.problems;
        let rank = |origin: &str| self.layers.iter().position(|layer| layer.origin == origin);
        problems.sort_by_key(|p| (rank(&p.origin), p.place));
        Err(Problems(problems))
    }

    fn find(&self, section: &str, key: &str) -> Option<(usize, &Spanned<DeValue<'a>>)> {
        self.layers
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, layer)| {
                let table = layer.section(section)?;
                table.get(key).map(|value| (index, value))
            })
    }

    fn note(&mut self, index: usize, span: &Range<usize>, wrong: Wrong) {
        let Some(layer) = self.layers.get(index) else {
            return;
        };
        // What recovery from a syntax error leaves behind on its line is not another problem.
        let line = place(layer.source, span).0;
        if self.broken.contains(&(index, line)) {
            return;
        }
        self.problems.push(Problem {
            origin: layer.origin.to_owned(),
            place: layer.place(span),
            message: wrong.message,
            hint: wrong.hint,
        });
    }

    fn refuse_unknown(&mut self, index: usize) {
        let Some(layer) = self.layers.get(index) else {
            return;
        };
        let mut found = Vec::new();
        self.find_unknown("", &layer.table, &mut found);
        for (span, wrong) in found {
            self.note(index, &span, wrong);
        }
    }

    /// What stands in the table of `section`, or in one below it, and is not known.
    fn find_unknown(
        &self,
        section: &str,
        table: &DeTable<'a>,
        found: &mut Vec<(Range<usize>, Wrong)>,
    ) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let full = label(section, name);
            let is_section = self.sections.iter().any(|(section, _)| *section == full);
            match value.get_ref().as_table() {
                Some(table) if is_section => self.find_unknown(&full, table, found),
                None if is_section => found.push((
                    value.span(),
                    Wrong::new(format!(
                        "`{full}` is a section, found {}",
                        with_article(value.get_ref().type_str())
                    ))
                    .hint(format!("write its keys below a line `[{full}]`")),
                )),
                _ if self.is_known(section, name) => {}
                Some(_) if section.is_empty() => {
                    found.push((key.span(), self.unknown_section(name)));
                }
                _ => found.push((key.span(), self.unknown(section, name))),
            }
        }
    }

    fn is_known(&self, section: &str, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.section == section && entry.key == key)
    }

    fn unknown(&self, section: &str, key: &str) -> Wrong {
        let wrong = Wrong::new(format!("unknown key `{}`", label(section, key)));
        if key.ends_with("password") {
            return wrong.hint(format!(
                "passwords do not stand in the configuration: name the place of this one with `{key}_file` or `{key}_env`"
            ));
        }
        let here = self.entries.iter().filter(|e| e.section == section);
        let below = self.sections.iter().filter_map(|(name, _)| {
            let name = name.strip_prefix(section)?;
            name.strip_prefix('.')
        });
        if let Some(near) = nearest(key, here.map(|e| e.key).chain(below)) {
            return wrong.hint(format!("did you mean `{near}`?"));
        }
        let elsewhere = self
            .entries
            .iter()
            .find(|e| Some(e.key) == nearest(key, self.entries.iter().map(|e| e.key)));
        match elsewhere {
            Some(Entry {
                section: "", key, ..
            }) => wrong.hint(format!(
                "`{key}` stands at the top of the file, before any section"
            )),
            Some(entry) => wrong.hint(format!(
                "`{}` stands in section [{}]",
                entry.key, entry.section
            )),
            None => wrong,
        }
    }

    fn unknown_section(&self, name: &str) -> Wrong {
        let wrong = Wrong::new(format!("unknown section [{name}]"));
        match nearest(name, self.sections.iter().map(|(section, _)| *section)) {
            Some(near) => wrong.hint(format!("did you mean [{near}]?")),
            None => wrong,
        }
    }
}

/// One section while its keys are being read.
pub(crate) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
}

impl Section<'_, '_> {
    /// Whether a document has the section at all.
    pub(crate) fn is_written(&self) -> bool {
        let mut layers = self.reader.layers.iter();
        layers.any(|layer| layer.section(self.name).is_some())
    }

    /// Whether a document has the key.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.reader.is_set(self.name, key)
    }

    /// Adds a problem that more keys than one take part in: at the first of `keys` that is set.
    pub(crate) fn refuse(&mut self, keys: &[&str], wrong: Wrong) {
        self.reader.refuse(self.name, keys, wrong);
    }

    /// A table of properties, each checked by itself; one of a later document replaces one of an
    /// earlier document, and leaves the others.
    pub(crate) fn properties(
        &mut self,
        key: &'static str,
        doc: &'static str,
        check: impl Fn(&str, &str) -> Result<(), Wrong>,
    ) -> BTreeMap<String, String> {
        let mut accepted = BTreeMap::new();
        let mut refused = Vec::new();
        let mut set_at = None;
        for (index, layer) in self.reader.layers.iter().enumerate() {
            let Some(value) = layer.section(self.name).and_then(|table| table.get(key)) else {
                continue;
            };
            set_at = Some(layer.name_of(&value.span()));
            let Some(table) = value.get_ref().as_table() else {
                let found = with_article(value.get_ref().type_str());
                let wrong = Wrong::new(format!("expected a {}, found {found}", Properties::KIND));
                refused.push((index, value.span(), label(self.name, key), wrong));
                continue;
            };
            let mut leaves = Vec::new();
            flatten("", table, &mut leaves);
            for (name, value) in leaves {
                let read = property_text(value.get_ref())
                    .and_then(|text| check(&name, &text).map(|()| text));
                match read {
                    Ok(text) => {
                        accepted.insert(name, text);
                    }
                    Err(wrong) => {
                        let label = format!("{}.{name}", label(self.name, key));
                        refused.push((index, value.span(), label, wrong));
                    }
                }
            }
        }
        for (index, span, label, wrong) in refused {
            let message = format!("`{label}`: {}", wrong.message);
            let hint = wrong.hint;
            self.reader.note(index, &span, Wrong { message, hint });
        }
        let accepted = Properties(accepted);
        self.reader.entries.push(Entry {
            section: self.name,
            key,
            kind: Properties::KIND.to_owned(),
            default: "{}".to_owned(),
            effective: accepted.literal(),
            set_at,
            doc,
        });
        accepted.0
    }

    /// The value of `key`, or `default`.
    pub(crate) fn get<T: Setting + Clone>(
        &mut self,
        key: &'static str,
        default: T,
        doc: &'static str,
    ) -> T {
        self.checked(key, default, doc, |_| Ok(()))
    }

    /// The value of `key` if `check` accepts it, or `default`.
    pub(crate) fn checked<T: Setting + Clone>(
        &mut self,
        key: &'static str,
        default: T,
        doc: &'static str,
        check: impl FnOnce(&T) -> Result<(), Wrong>,
    ) -> T {
        let read = self.reader.find(self.name, key).map(|(index, value)| {
            let checked = T::read(value.get_ref()).and_then(|v| check(&v).map(|()| v));
            let layer = self.reader.layers.get(index);
            let set_at = layer.map(|layer| layer.name_of(&value.span()));
            (checked, set_at)
        });
        let (value, set_at) = match read {
            None => (default.clone(), None),
            Some((Ok(value), set_at)) => (value, set_at),
            Some((Err(wrong), set_at)) => {
                self.reader.refuse(self.name, &[key], wrong);
                (default.clone(), set_at)
            }
        };
        self.reader.entries.push(Entry {
            section: self.name,
            key,
            kind: T::kind(),
            default: default.literal(),
            effective: value.literal(),
            set_at,
            doc,
        });
        value
    }
}

/// The values of a table and of those in it, by dotted names: `linger.ms = 5` unquoted is a table
/// in a table to TOML, and one property to librdkafka.
fn flatten<'t, 'a>(
    name: &str,
    table: &'t DeTable<'a>,
    found: &mut Vec<(String, &'t Spanned<DeValue<'a>>)>,
) {
    for (key, value) in table {
        let full = label(name, key.get_ref());
        match value.get_ref().as_table() {
            Some(inner) => flatten(&full, inner, found),
            None => found.push((full, value)),
        }
    }
}

fn label(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}
