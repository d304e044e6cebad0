//! Trying a mapping on a file: what becomes of its rows, without loading anything.

use std::collections::BTreeMap;

use domain::time::TimeMs;
use serde::Serialize;
use serde_json::Value;
use wire::mapping::{MappedEvent, Mapping, Outcomes};
use wire::{InputRules, Rejection};

use crate::rows::{RowReader, SourceRow};

/// How many events and how many rejections are shown.
const SAMPLES: usize = 10;
/// How much of a rejected row is shown, in characters.
const SHOWN: usize = 400;

/// What a mapping makes of a file.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MappingCheck {
    /// The file's name.
    pub file: String,
    /// Identifies the mapping.
    pub mapping_id: String,
    /// The file's columns; none for JSON.
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
    /// Events by topic and type: `orders/order_completed`.
    pub events_by_type: BTreeMap<String, u64>,
    /// Rejections by class.
    pub rejections_by_class: BTreeMap<String, u64>,
    /// The first events.
    pub mapped: Vec<MappedSample>,
    /// The first rejections.
    pub rejected: Vec<RejectedSample>,
    /// Whether the whole file was read: `false` where only the first rows were asked for, or reading
    /// failed.
    pub complete: bool,
    /// Why the file could not be read to its end.
    pub error: Option<String>,
}

/// An event that was made.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MappedSample {
    /// The row's number.
    pub row: u64,
    /// The line that it begins on.
    pub line: u64,
    /// The topic the event is meant for.
    pub topic: String,
    /// Number of the `[[event]]` that made it.
    pub rule: usize,
    /// The event as canonical JSON.
    pub event: Value,
}

/// A row, or an event of a row, that was rejected.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RejectedSample {
    /// The row's number.
    pub row: u64,
    /// The line that it begins on.
    pub line: u64,
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
    let mut check = MappingCheck {
        file: reader.name().to_owned(),
        mapping_id: mapping.id().to_owned(),
        columns: reader.columns().to_vec(),
        rows: 0,
        mapped_rows: 0,
        ignored_rows: 0,
        rejected_rows: 0,
        events: 0,
        events_by_type: BTreeMap::new(),
        rejections_by_class: BTreeMap::new(),
        mapped: Vec::new(),
        rejected: Vec::new(),
        complete: false,
        error: None,
    };
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
                check.take(&row, outcomes);
            }
        }
    }
    check
}

impl MappingCheck {
    /// Whether every row was read and none rejected.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.rejected_rows == 0
    }

    fn take(&mut self, row: &SourceRow, outcomes: Outcomes<'_>) {
        self.rows += 1;
        self.ignored_rows += u64::from(outcomes.is_empty());
        self.mapped_rows += u64::from(outcomes.iter().any(Result::is_ok));
        self.rejected_rows += u64::from(outcomes.iter().any(Result::is_err));
        for outcome in outcomes {
            match outcome {
                Ok(mapped) => self.take_event(row, mapped),
                Err(rejection) => self.take_rejection(row, rejection),
            }
        }
    }

    fn take_event(&mut self, row: &SourceRow, mapped: MappedEvent<'_>) {
        self.events += 1;
        let kind = format!("{}/{}", mapped.topic, mapped.event.body.type_name());
        *self.events_by_type.entry(kind).or_default() += 1;
        if self.mapped.len() < SAMPLES {
            self.mapped.push(MappedSample {
                row: row.row,
                line: row.line,
                topic: mapped.topic.to_owned(),
                rule: mapped.rule,
                event: mapped.json,
            });
        }
    }

    fn take_rejection(&mut self, row: &SourceRow, rejection: Rejection) {
        let class = rejection.class.to_string();
        *self.rejections_by_class.entry(class.clone()).or_default() += 1;
        if self.rejected.len() < SAMPLES {
            self.rejected.push(RejectedSample {
                row: row.row,
                line: row.line,
                class,
                message: rejection.message,
                raw: shortened(&row.raw),
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
