//! What a mapping reads: the form of its files, and how a record's value is unwrapped before its
//! fields are named.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::expr::reject;
use super::row::Envelope;
use crate::rejection::{Rejection, RejectionClass as Class};

/// The form of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// Rows of columns.
    Csv(CsvFormat),
    /// JSON objects: one per line of a file, one per record of a topic.
    Json,
}

/// How rows of columns are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CsvFormat {
    /// What stands between two values.
    pub delimiter: Delimiter,
    /// Encloses values that hold the delimiter, a line's end or (doubled) the quote itself.
    pub quote: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The columns' names, in place of the header's if there is one.
    pub columns: Option<Vec<String>>,
}

/// What stands between two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delimiter {
    /// One byte.
    Byte(u8),
    /// Any number of blanks and tabs; those at the ends of a line do not count.
    Whitespace,
}

/// How a JSON value is unwrapped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Unwrapping {
    /// Whether values of unions stand in an object named after their type, as Avro's JSON encoding
    /// has them.
    pub(super) avro_unions: bool,
    /// Names of record types without a namespace that stand in unions.
    pub(super) union_types: Vec<String>,
    /// Whether a record is a Debezium change event.
    pub(super) debezium: bool,
}

/// What happened to a row, as Debezium names it.
pub(super) const OPERATIONS: [(&str, char); 4] = [
    ("create", 'c'),
    ("read", 'r'),
    ("update", 'u'),
    ("delete", 'd'),
];

/// Those that a rule is for unless it says otherwise: the row exists.
pub(super) const ROW_EXISTS: [char; 3] = ['c', 'r', 'u'];

const AVRO_TYPES: [&str; 8] = [
    "boolean", "int", "long", "float", "double", "bytes", "string", "array",
];

/// A record's row, and the envelope around it.
pub(super) struct Unwrapped<'a> {
    pub(super) row: &'a Value,
    pub(super) envelope: Envelope<'a>,
    /// What happened to the row, where an envelope says so.
    pub(super) operation: Option<char>,
}

impl Unwrapping {
    /// `value` with its unions resolved.
    pub(super) fn resolve_unions<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        if !self.avro_unions {
            return Cow::Borrowed(value);
        }
        Cow::Owned(self.resolved(value))
    }

    fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => match self.union_branch(fields) {
                Some(inner) => self.resolved(inner),
                None => Value::Object(
                    fields
                        .iter()
                        .map(|(name, value)| (name.clone(), self.resolved(value)))
                        .collect(),
                ),
            },
            Value::Array(items) => Value::Array(items.iter().map(|i| self.resolved(i)).collect()),
            plain => plain.clone(),
        }
    }

    /// The value in `fields` if that is a union's wrapper: one field, named after a type. A name with
    /// a point is a type's full name; `map` is one only around an object.
    fn union_branch<'a>(&self, fields: &'a Map<String, Value>) -> Option<&'a Value> {
        let (name, inner) = fields.iter().next().filter(|_| fields.len() == 1)?;
        let is_type = AVRO_TYPES.contains(&name.as_str())
            || name.contains('.')
            || (name == "map" && inner.is_object())
            || self.union_types.iter().any(|t| t == name);
        is_type.then_some(inner)
    }

    /// The row in `value`. `None` where there is none: a tombstone after a delete, or a change event
    /// that is about no row (truncate, message).
    ///
    /// # Errors
    /// The value is no object, or no change event where one is expected.
    pub(super) fn unwrap<'a>(&self, value: &'a Value) -> Result<Option<Unwrapped<'a>>, Rejection> {
        if !self.debezium {
            if !value.is_object() {
                return reject(Class::WrongType, "the value is no JSON object");
            }
            return Ok(Some(Unwrapped {
                row: value,
                envelope: Envelope::default(),
                operation: None,
            }));
        }
        if value.is_null() {
            return Ok(None);
        }
        // With schemas enabled, Kafka Connect's JSON converter wraps the event once more.
        let event = match value.get("payload") {
            Some(Value::Null) => return Ok(None),
            Some(payload) if value.get("op").is_none() => payload,
            _ => value,
        };
        let part = |name: &str| event.get(name).filter(|v| !v.is_null());
        let envelope = Envelope {
            op: part("op"),
            before: part("before"),
            after: part("after"),
            source: part("source"),
            ts_ms: part("ts_ms"),
        };
        let row = match envelope.op.and_then(Value::as_str) {
            Some("c" | "r" | "u") => envelope.after,
            Some("d") => envelope.before,
            Some("t" | "m") => return Ok(None),
            _ => {
                return reject(
                    Class::MappingFailed,
                    "the value is no Debezium change event: `op` is none of c, r, u, d, t, m",
                );
            }
        };
        let Some(row) = row else {
            return reject(
                Class::MappingFailed,
                "the change event holds no row: `after` (of a delete: `before`) is null; for \
                 deletes the table needs REPLICA IDENTITY FULL",
            );
        };
        Ok(Some(Unwrapped {
            row,
            envelope,
            operation: envelope
                .op
                .and_then(Value::as_str)
                .and_then(|op| op.chars().next()),
        }))
    }
}
