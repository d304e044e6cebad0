//! A row of foreign data, and how a path finds a value in it.

use std::borrow::Cow;
use std::cell::Cell;

use domain::time::TimeMs;
use serde_json::Value;

use super::template::{Path, Root};

/// One row or record, before any mapping.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A row of columns: the names, and as many values.
    Columns {
        /// The columns' names.
        names: &'a [String],
        /// The row's values.
        values: &'a [&'a str],
    },
    /// A JSON value: a line of a file, or a record's value (Avro decoded to JSON).
    Json(&'a Value),
}

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// In a file.
    File {
        /// The file's name without folder and without `.gz` or `.zst`.
        name: &'a str,
        /// The row's number, from 1; a header is none.
        row: u64,
    },
    /// In a topic.
    Topic {
        /// The topic.
        topic: &'a str,
        /// Its partition.
        partition: u32,
        /// The record's offset there.
        offset: u64,
        /// The record's key.
        key: Option<&'a [u8]>,
    },
}

/// What is known of a row besides its content.
#[derive(Clone, Copy, Debug)]
pub struct RowContext<'a> {
    /// Where it stands.
    pub origin: Origin<'a>,
    /// When the log took the record in; for files the time of the load. Bounds the future.
    pub record_time: TimeMs,
}

/// What is found at a path. Nothing is found as `None`: absent, null, or one of the texts that the
/// mapping counts as missing.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Found<'a> {
    /// Text as the source has it.
    Text(Cow<'a, str>),
    /// A number in plain notation: from JSON, from the mapping, or computed.
    Number(Cow<'a, str>),
    /// An instant.
    Instant(TimeMs),
    /// A truth value.
    Bool(bool),
    /// An object or a list.
    Tree(&'a Value),
    /// A number whose digits JSON's floats cannot hold.
    Inexact,
}

/// A record's Debezium envelope around the row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) op: Option<&'a Value>,
    pub(super) before: Option<&'a Value>,
    pub(super) after: Option<&'a Value>,
    pub(super) source: Option<&'a Value>,
    pub(super) ts_ms: Option<&'a Value>,
}

/// What all scopes of one row share.
pub(super) struct Frame<'a> {
    pub(super) context: &'a RowContext<'a>,
    pub(super) envelope: Envelope<'a>,
    /// Texts that count as absent.
    pub(super) missing: &'a [String],
    /// Elements of lists that may still be looked at: what a row costs has a bound.
    pub(super) elements_left: Cell<usize>,
}

/// The row, or an element of a list in it, and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) frame: &'a Frame<'a>,
    pub(super) row: Row<'a>,
    /// Number of the element, from 1.
    pub(super) item: Option<u64>,
    pub(super) parent: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// What stands at `path`.
    pub(super) fn find(&self, path: &Path) -> Option<Found<'a>> {
        let mut scope = *self;
        for _ in 0..path.up {
            scope = *scope.parent?;
        }
        scope.find_here(path).filter(|found| match found {
            Found::Text(text) => !self.frame.missing.iter().any(|m| m == text),
            _ => true,
        })
    }

    fn find_here(&self, path: &Path) -> Option<Found<'a>> {
        let context = self.frame.context;
        let envelope = &self.frame.envelope;
        let tree = |value: Option<&'a Value>| found(walk(value?, path)?);
        match (path.root, context.origin) {
            (Root::Row, _) => match self.row {
                Row::Columns { names, values } => {
                    let at = names.iter().position(|name| *name == path.rest)?;
                    values.get(at).map(|text| Found::Text((*text).into()))
                }
                Row::Json(value) => tree(Some(value)),
            },
            (Root::Value, _) => match self.row {
                Row::Json(value) => tree(Some(value)),
                Row::Columns { .. } => None,
            },
            (Root::Item, _) => self.item.map(number),
            (Root::RowNumber, Origin::File { row, .. }) => Some(number(row)),
            (Root::File, Origin::File { name, .. }) => Some(Found::Text(name.into())),
            (Root::Topic, Origin::Topic { topic, .. }) => Some(Found::Text(topic.into())),
            (Root::Partition, Origin::Topic { partition, .. }) => Some(number(partition.into())),
            (Root::Offset, Origin::Topic { offset, .. }) => Some(number(offset)),
            (Root::Key, Origin::Topic { key, .. }) => {
                let text = std::str::from_utf8(key?).ok()?;
                Some(Found::Text(text.into()))
            }
            (Root::RecordTime, _) => Some(Found::Instant(context.record_time)),
            (Root::Op, _) => tree(envelope.op),
            (Root::Before, _) => tree(envelope.before),
            (Root::After, _) => tree(envelope.after),
            (Root::Source, _) => tree(envelope.source),
            (Root::TsMs, _) => tree(envelope.ts_ms),
            (
                Root::RowNumber
                | Root::File
                | Root::Topic
                | Root::Partition
                | Root::Offset
                | Root::Key,
                _,
            ) => None,
        }
    }
}

fn number(n: u64) -> Found<'static> {
    Found::Number(n.to_string().into())
}

/// The value `path` leads to within `value`. A key that holds points itself is found whole.
fn walk<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    if path.steps.len() > 1
        && let Some(whole) = value.get(&path.rest)
    {
        return Some(whole);
    }
    path.steps.iter().try_fold(value, |at, step| match at {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => at.get(step),
    })
}

/// Above this, whole numbers that are not written as such lose digits in a float.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A JSON value as a mapping sees it. Floats are taken by their shortest text, which is what their
/// producer wrote for anything up to 15 significant digits.
pub(super) fn found(value: &Value) -> Option<Found<'_>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => Found::Bool(*b),
        Value::String(text) => Found::Text(text.into()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), _, _) => Found::Number(n.to_string().into()),
            (_, Some(n), _) => Found::Number(n.to_string().into()),
            (_, _, Some(f)) if f.abs() < EXACT_FLOAT => Found::Number(f.to_string().into()),
            _ => Found::Inexact,
        },
        tree => Found::Tree(tree),
    })
}
