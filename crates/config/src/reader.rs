//! Reads keys out of TOML documents, one call per key, and takes notes: what was asked for (the
//! reference page and `config show` are made of that) and what was wrong (all of it, with places).
//!
//! Invariant: a call always answers a usable value, the default where the document's is refused,
//! so that reading goes on and every problem is found in one pass.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems, nearest, place};
use crate::setting::{Setting, Wrong, with_article};

/// One document: a file, or an option of the command line.
pub(crate) struct Layer<'a> {
    origin: &'a str,
    source: &'a str,
    table: DeTable<'a>,
}

/// The origin of what stands on the command line begins with this; it has no lines.
pub(crate) const OPTION: &str = "--set ";

impl Layer<'_> {
    fn place(&self, span: &Range<usize>) -> Option<(usize, usize)> {
        (!self.origin.starts_with(OPTION)).then(|| place(self.source, span))
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

    /// Adds a problem at a key's value, or at the start of the first document where the key is
    /// not set.
    fn refuse(&mut self, section: &str, key: &str, wrong: Wrong) {
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
                let table = match section {
                    "" => Some(&layer.table),
                    name => layer.table.get(name).and_then(|v| v.get_ref().as_table()),
                };
                table.and_then(|t| t.get(key)).map(|value| (index, value))
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
        for (key, value) in &layer.table {
            let name: &str = key.get_ref();
            let is_section = self.sections.iter().any(|(section, _)| *section == name);
            match value.get_ref().as_table() {
                Some(table) if is_section => {
                    for inner in table.keys().filter(|k| !self.is_known(name, k.get_ref())) {
                        found.push((inner.span(), self.unknown(name, inner.get_ref())));
                    }
                }
                None if is_section => found.push((
                    value.span(),
                    Wrong::new(format!(
                        "`{name}` is a section, found {}",
                        with_article(value.get_ref().type_str())
                    ))
                    .hint(format!("write its keys below a line `[{name}]`")),
                )),
                _ if self.is_known("", name) => {}
                Some(_) => found.push((key.span(), self.unknown_section(name))),
                None => found.push((key.span(), self.unknown("", name))),
            }
        }
        for (span, wrong) in found {
            self.note(index, &span, wrong);
        }
    }

    fn is_known(&self, section: &str, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.section == section && entry.key == key)
    }

    fn unknown(&self, section: &str, key: &str) -> Wrong {
        let wrong = Wrong::new(format!("unknown key `{}`", label(section, key)));
        let here = self.entries.iter().filter(|e| e.section == section);
        if let Some(near) = nearest(key, here.map(|e| e.key)) {
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
            let set_at = layer.map(|layer| match layer.place(&value.span()) {
                Some((line, _)) => format!("{}:{line}", layer.origin),
                None => layer.origin.to_owned(),
            });
            (checked, set_at)
        });
        let (value, set_at) = match read {
            None => (default.clone(), None),
            Some((Ok(value), set_at)) => (value, set_at),
            Some((Err(wrong), set_at)) => {
                self.reader.refuse(self.name, key, wrong);
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

fn label(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}
