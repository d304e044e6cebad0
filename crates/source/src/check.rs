//! Trying a mapping on a file or a topic: what becomes of its rows or records, without loading
//! anything.

use std::collections::BTreeMap;
use std::fmt;

use domain::time::TimeMs;
use serde::Serialize;
use serde_json::Value;
use wire::mapping::{MappedEvent, MappedTopic, Mapping, Outcomes, Row};
use wire::{Decoder, InputRecord, InputRules, Rejection};

use crate::rows::{Content, RowReader};

/// How many events and how many rejections are shown.
const SAMPLES: usize = 10;
/// How much of a rejected row is shown, in characters.
const SHOWN: usize = 400;

/// How many fields that nothing reads are told apart: a producer may use ids for names.
const FIELDS: usize = 200;

/// A record of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its timestamp.
    pub timestamp: TimeMs,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// What a mapping is tried on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tried {
    /// A file, by its name.
    File(String),
    /// A topic.
    Topic(String),
}

/// Where a row or record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In a file.
    Row {
        /// The row's number.
        row: u64,
        /// The line that it begins on.
        line: u64,
    },
    /// In a topic.
    Record {
        /// The record's partition.
        partition: u32,
        /// Its offset.
        offset: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Row { row, line } => write!(f, "row {row} (line {line})"),
            Place::Record { partition, offset } => write!(f, "record {partition}:{offset}"),
        }
    }
}

/// What a mapping makes of a file or a topic. A record of a topic is a row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MappingCheck {
    /// What was read.
    #[serde(flatten)]
    pub tried: Tried,
    /// Identifies the mapping.
    pub mapping_id: String,
    /// A file's columns; none for JSON.
    pub columns: Vec<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows that became at least one event.
    pub mapped_rows: u64,
    /// Rows that no rule is for.
    pub ignored_rows: u64,
    /// Rows of which at least one event, or the row itself, was rejected.
    pub rejected_rows: u64,
    /// Events made.
    pub events: u64,
    /// Events by type; of a file, with the topic they are for: `orders/order_completed`.
    pub events_by_type: BTreeMap<String, u64>,
    /// Rejections by class.
    pub rejections_by_class: BTreeMap<String, u64>,
    /// Fields that hold something and that nothing in the mapping names, with the number of rows that
    /// have them: of rows that the mapping can read, the first two hundred fields.
    pub unread_fields: BTreeMap<String, u64>,
    /// The first events.
    pub mapped: Vec<MappedSample>,
    /// The first rejections.
    pub rejected: Vec<RejectedSample>,
    /// Whether everything was read: `false` where only some rows were asked for, or reading failed.
    pub complete: bool,
    /// Why it could not be read to its end.
    pub error: Option<String>,
}

/// An event that was made.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MappedSample {
    /// Where its row stands.
    #[serde(flatten)]
    pub place: Place,
    /// The topic the event of a file's row is meant for; a record of a topic is read where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Number of the `[[event]]` that made it.
    pub rule: usize,
    /// The event as canonical JSON.
    pub event: Value,
}

/// A row, or an event of a row, that was rejected.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RejectedSample {
    /// Where the row stands.
    #[serde(flatten)]
    pub place: Place,
    /// The kind of fault.
    pub class: String,
    /// What was found and what would fix it.
    pub message: String,
    /// The row as it stands, shortened.
    pub raw: String,
}

/// Maps the rows of `reader` (at most `limit` of them) and keeps what came of them. `record_time` is
/// the moment of the check, the bound of what counts as the future.
#[must_use]
pub fn mapping_check(
    mapping: &Mapping,
    mut reader: RowReader,
    rules: &InputRules,
    record_time: TimeMs,
    limit: Option<u64>,
) -> MappingCheck {
    let mut check = MappingCheck::new(Tried::File(reader.name().to_owned()), mapping);
    check.columns = reader.columns().to_vec();
    while limit.is_none_or(|limit| check.rows < limit) {
        match reader.next() {
            None => {
                check.complete = true;
                break;
            }
            Some(Err(error)) => {
                check.error = Some(error.to_string());
                break;
            }
            Some(Ok(row)) => {
                let outcomes = reader.apply(&row, mapping, record_time, rules);
                let place = Place::Row {
                    row: row.row,
                    line: row.line,
                };
                check.take(place, &row.raw, outcomes);
                match &row.content {
                    Content::Rejected(_) => {}
                    Content::Json(value) => check.look(mapping, &Row::Json(value)),
                    Content::Columns(values) => {
                        let values: Vec<&str> = values.iter().map(String::as_str).collect();
                        let names = reader.columns();
                        let row = Row::Columns {
                            names,
                            values: &values,
                        };
                        check.look(mapping, &row);
                    }
                }
            }
        }
    }
    check
}

/// The same for `records` of `topic` (at most `limit` of them), as the service would read them with
/// `decoder`.
#[must_use]
pub fn topic_check<E: fmt::Display>(
    mapped: &MappedTopic,
    topic: &str,
    records: impl IntoIterator<Item = Result<TopicRecord, E>>,
    decoder: &Decoder,
    limit: Option<u64>,
) -> MappingCheck {
    let mapping = mapped.mapping();
    let mut check = MappingCheck::new(Tried::Topic(topic.to_owned()), mapping);
    let mut records = records.into_iter();
    while limit.is_none_or(|limit| check.rows < limit) {
        let record = match records.next() {
            None => {
                check.complete = true;
                break;
            }
            Some(Err(error)) => {
                check.error = Some(error.to_string());
                break;
            }
            Some(Ok(record)) => record,
        };
        let value = record.value.as_deref();
        let row = mapped.row(decoder, value);
        let outcomes = match &row {
            Err(rejection) => vec![Err(rejection.clone())],
            Ok(None) => Vec::new(),
            Ok(Some(row)) => mapped.apply(
                row,
                &InputRecord {
                    topic,
                    partition: record.partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.as_deref(),
                    value,
                },
            ),
        };
        let place = Place::Record {
            partition: record.partition,
            offset: record.offset,
        };
        // Avro is shown as the JSON that the mapping sees.
        let shown = match (&row, value) {
            (Ok(Some(row)), Some([0, ..])) => row.to_string().into_bytes(),
            (_, value) => value.unwrap_or_default().to_vec(),
        };
        check.take(place, &shown, outcomes);
        if let Ok(Some(row)) = &row {
            check.look(mapping, &Row::Json(row));
        }
    }
    check
}

impl MappingCheck {
    fn new(tried: Tried, mapping: &Mapping) -> MappingCheck {
        MappingCheck {
            tried,
            mapping_id: mapping.id().to_owned(),
            columns: Vec::new(),
            rows: 0,
            mapped_rows: 0,
            ignored_rows: 0,
            rejected_rows: 0,
            events: 0,
            events_by_type: BTreeMap::new(),
            rejections_by_class: BTreeMap::new(),
            unread_fields: BTreeMap::new(),
            mapped: Vec::new(),
            rejected: Vec::new(),
            complete: false,
            error: None,
        }
    }

    /// Whether every row was read and none rejected.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.rejected_rows == 0
    }

    /// Looks for fields of `row` that nothing reads.
    fn look(&mut self, mapping: &Mapping, row: &Row<'_>) {
        let fields = &mut self.unread_fields;
        mapping.unread_fields(row, &mut |path| {
            if let Some(rows) = fields.get_mut(path) {
                *rows += 1;
            } else if fields.len() < FIELDS {
                fields.insert(path.to_owned(), 1);
            }
        });
    }

    fn take(&mut self, place: Place, raw: &[u8], outcomes: Outcomes<'_>) {
        self.rows += 1;
        self.ignored_rows += u64::from(outcomes.is_empty());
        self.mapped_rows += u64::from(outcomes.iter().any(Result::is_ok));
        self.rejected_rows += u64::from(outcomes.iter().any(Result::is_err));
        for outcome in outcomes {
            match outcome {
                Ok(mapped) => self.take_event(place, mapped),
                Err(rejection) => self.take_rejection(place, raw, rejection),
            }
        }
    }

    fn take_event(&mut self, place: Place, mapped: MappedEvent<'_>) {
        self.events += 1;
        let kind = mapped.event.body.type_name();
        let topic = matches!(self.tried, Tried::File(_)).then(|| mapped.topic.to_owned());
        let kind = match &topic {
            Some(topic) => format!("{topic}/{kind}"),
            None => kind.to_owned(),
        };
        *self.events_by_type.entry(kind).or_default() += 1;
        if self.mapped.len() < SAMPLES {
            self.mapped.push(MappedSample {
                place,
                topic,
                rule: mapped.rule,
                event: mapped.json,
            });
        }
    }

    fn take_rejection(&mut self, place: Place, raw: &[u8], rejection: Rejection) {
        let class = rejection.class.to_string();
        *self.rejections_by_class.entry(class.clone()).or_default() += 1;
        if self.rejected.len() < SAMPLES {
            self.rejected.push(RejectedSample {
                place,
                class,
                message: rejection.message,
                raw: shortened(raw),
            });
        }
    }
}

fn shortened(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text.into_owned(),
    }
}
