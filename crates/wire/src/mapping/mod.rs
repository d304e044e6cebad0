//! Mapping files: foreign data to canonical events.
//!
//! A mapping says in TOML which rows of a foreign source become which events, and how each field is
//! made. It is read once and then applied to every row; docs/mappings.md is its reference.
//!
//! Invariants: a mapping with a problem is refused as a whole, with all of its problems; a row
//! becomes events, a [`Rejection`], or nothing because no rule is for it, and the caller can tell
//! which; amounts are exact; every event passes [`event_from_json`], the one place of validation.
//! What is applied here reads no file and no clock.

mod condition;
mod document;
mod expr;
mod fields;
mod live;
mod number;
mod read;
mod read_event;
mod read_expr;
mod row;
mod rule;
mod source;
mod template;
mod time;
mod unread;

use std::cell::Cell;

use domain::event::Event;
use domain::money::Currency;
use rustc_hash::FxHashSet;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

pub use self::document::MappingProblem;
pub use self::live::MappedTopic;
pub use self::row::{Origin, Row, RowContext};
pub use self::source::{CsvFormat, Delimiter, Format};

use self::document::Mention;
use self::read::Contents;
use self::row::{Envelope, Frame, Scope};
use self::rule::Reading;
use self::unread::Unread;
use crate::input::event_from_json;
use crate::rejection::{Rejection, RejectionClass};
use crate::rules::InputRules;

/// A mapping, read and found to be without problems.
pub struct Mapping {
    file: String,
    id: String,
    contents: Contents,
}

/// An event that a mapping made of a row.
#[derive(Clone, PartialEq, Debug)]
pub struct MappedEvent<'m> {
    /// The input topic that it is meant for, without the application's prefix.
    pub topic: &'m str,
    /// Number of the `[[event]]` that made it, from 1.
    pub rule: usize,
    /// The event as canonical JSON.
    pub json: Value,
    /// The event.
    pub event: Event,
}

/// Elements of lists that are looked at for one row, over all `for_each` and `each`.
const MAX_ELEMENTS: usize = 100_000;

/// What became of a row. Empty: no rule is for it.
pub type Outcomes<'m> = Vec<Result<MappedEvent<'m>, Rejection>>;

impl Mapping {
    /// Reads a mapping from `text`; `file_name` is how problems name the file.
    ///
    /// # Errors
    /// Every problem in the file, in its order.
    pub fn parse(file_name: &str, text: &str) -> Result<Mapping, Vec<MappingProblem>> {
        Ok(Mapping {
            file: file_name.to_owned(),
            id: format!("{:032x}", xxh3_128(text.as_bytes())),
            contents: read::read(file_name, text)?,
        })
    }

    /// Identifies the mapping by its text: 32 hexadecimal digits, the same on every machine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The form of the source.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.contents.format
    }

    /// The currency of the source's amounts, where the mapping states it.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.contents.currency
    }

    /// `rules` with the mapping's currency and decimals, where it states them: what a load of its
    /// data is to be validated by.
    #[must_use]
    pub fn rules_override(&self, rules: &InputRules) -> InputRules {
        match self.contents.currency {
            Some(currency) if currency != rules.currency => InputRules {
                currency,
                max_amount: InputRules::new(currency).max_amount,
                ..rules.clone()
            },
            _ => rules.clone(),
        }
    }

    /// Every topic that events may go to, each once, sorted.
    #[must_use]
    pub fn topics(&self) -> Vec<&str> {
        let rules = self.contents.rules.iter();
        let mut topics: Vec<&str> = rules.map(|rule| rule.topic.as_str()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Checks the columns that the mapping names against those of a file.
    ///
    /// # Errors
    /// Each place of the mapping that names a column which is not among `names`.
    pub fn check_columns(&self, names: &[String]) -> Result<(), Vec<MappingProblem>> {
        let known = || names.iter().map(String::as_str);
        let unknown: Vec<MappingProblem> = self
            .contents
            .mentions
            .columns
            .iter()
            .filter(|column| !names.contains(&column.name))
            .map(|column| {
                let message = document::unknown("column of the file", &column.name, known());
                self.problem(column, message)
            })
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(unknown)
    }

    /// Checks that the mapping can be applied to a topic: that it is for JSON, names nothing that only
    /// a row of a file has, and states no currency but that of `rules`.
    ///
    /// # Errors
    /// Each place of the mapping that does not fit.
    pub fn check_topic(&self, rules: &InputRules) -> Result<(), Vec<MappingProblem>> {
        let mut problems = Vec::new();
        if let Format::Csv(_) = self.contents.format {
            problems.push(MappingProblem {
                file: self.file.clone(),
                line: 1,
                column: 1,
                message: "`format = \"csv\"` is for files: for a topic write `json`, whether its \
                          records are JSON or Avro"
                    .to_owned(),
            });
        }
        for mention in &self.contents.mentions.of_files {
            let message = format!(
                "`{}` exists only in files: in a topic a record's place is `$topic`, `$partition` \
                 and `$offset`",
                mention.name
            );
            problems.push(self.problem(mention, message));
        }
        if let (Some(currency), Some(money)) = (self.contents.currency, &self.contents.money)
            && currency != rules.currency
        {
            let describe = |c: Currency| format!("{c} with {} decimals", c.decimals);
            let message = format!(
                "the mapping's amounts are in {}, those of the shop in {}: a topic's have to be in \
                 the shop's",
                describe(currency),
                describe(rules.currency)
            );
            problems.push(self.problem(money, message));
        }
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        Err(problems)
    }

    fn problem(&self, at: &Mention, message: String) -> MappingProblem {
        MappingProblem {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            message,
        }
    }

    /// Hands the fields of `row` that hold something and that no path of the mapping names to
    /// `visit`, by their paths: for people who look for what they forgot. A list is one field.
    pub fn unread_fields(&self, row: &Row<'_>, visit: &mut dyn FnMut(&str)) {
        let unread = Unread(&self.contents.mentions.fields);
        match row {
            Row::Columns { names, values } => {
                for (name, value) in names.iter().zip(*values) {
                    let is_there = !self.contents.missing.iter().any(|missing| missing == value);
                    if is_there && !unread.is_named(name) {
                        visit(name);
                    }
                }
            }
            Row::Json(value) => {
                let value = self.contents.unwrapping.resolve_unions(value);
                if let Ok(Some(inner)) = self.contents.unwrapping.unwrap(&value) {
                    unread.below("", inner.row, visit);
                }
            }
        }
    }

    /// The events of a row. Each is validated under `rules`; whether one fails does not depend on the
    /// others.
    #[must_use]
    pub fn apply(
        &self,
        row: &Row<'_>,
        context: &RowContext<'_>,
        rules: &InputRules,
    ) -> Outcomes<'_> {
        let Row::Json(value) = row else {
            return self.apply_rules(*row, Envelope::default(), None, context, rules);
        };
        let value = self.contents.unwrapping.resolve_unions(value);
        match self.contents.unwrapping.unwrap(&value) {
            Ok(None) => Vec::new(),
            Ok(Some(inner)) => {
                let row = Row::Json(inner.row);
                self.apply_rules(row, inner.envelope, inner.operation, context, rules)
            }
            Err(rejection) => vec![Err(rejection)],
        }
    }

    fn apply_rules(
        &self,
        row: Row<'_>,
        envelope: Envelope<'_>,
        operation: Option<char>,
        context: &RowContext<'_>,
        limits: &InputRules,
    ) -> Outcomes<'_> {
        let contents = &self.contents;
        let frame = Frame {
            context,
            envelope,
            missing: &contents.missing,
            elements_left: Cell::new(MAX_ELEMENTS),
        };
        let scope = Scope {
            frame: &frame,
            row,
            item: None,
            parent: None,
        };
        let reading = Reading {
            notation: contents.notation,
            time: &contents.time,
            currency: contents.currency.as_ref().map(Currency::as_str),
        };
        let mut outcomes: Outcomes<'_> = Vec::new();
        let mut ids = FxHashSet::default();
        for rule in &contents.rules {
            if operation.is_some_and(|op| !rule.operations.contains(&op)) {
                continue;
            }
            for made in rule.apply(&scope, &reading) {
                let outcome = made.and_then(|(item, json)| {
                    let json = self.with_event_id(json, rule.number, item, context);
                    let event = event_from_json(&json, limits, context.record_time)?;
                    if !ids.insert(event.id.clone()) {
                        return Err(repeated_id());
                    }
                    Ok(MappedEvent {
                        topic: &rule.topic,
                        rule: rule.number,
                        json,
                        event,
                    })
                });
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    /// Where the mapping states no event id, the row's place is one: the same at every load.
    fn with_event_id(
        &self,
        mut json: Value,
        rule: usize,
        item: Option<u64>,
        context: &RowContext<'_>,
    ) -> Value {
        if let Value::Object(fields) = &mut json
            && !fields.contains_key("event_id")
        {
            let mut id = match context.origin {
                Origin::File { name, row } => format!("{name}:{row}"),
                Origin::Topic {
                    topic,
                    partition,
                    offset,
                    ..
                } => format!("{topic}:{partition}:{offset}"),
            };
            if self.contents.rules.len() > 1 {
                id += &format!(":{rule}");
            }
            if let Some(item) = item {
                id += &format!(":{item}");
            }
            fields.insert("event_id".to_owned(), Value::String(id));
        }
        json
    }
}

/// The second of two events of one row with one id would be dropped as a repetition of the first.
fn repeated_id() -> Rejection {
    Rejection::new(
        RejectionClass::MappingFailed,
        "event_id is that of another event of the same row: make it distinct per [[event]] and \
         element, or leave it out",
    )
}
