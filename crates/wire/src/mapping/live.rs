//! A topic that is read by a mapping: the bytes of its records to rows, and on to events.

use std::sync::Arc;

use serde_json::Value;

use super::{Mapping, Origin, Outcomes, Row, RowContext};
use crate::decoder::Decoder;
use crate::inputs::InputRecord;
use crate::rejection::Rejection;
use crate::rules::InputRules;

/// A mapping, and the rules that the events it makes are validated by.
#[derive(Clone)]
pub struct MappedTopic {
    mapping: Arc<Mapping>,
    rules: InputRules,
}

impl MappedTopic {
    /// A topic to be read by `mapping` under `rules`, whose currency gives way to the mapping's:
    /// where that may not be, [`Mapping::check_topic`] comes first.
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, rules: &InputRules) -> MappedTopic {
        MappedTopic {
            rules: mapping.rules_override(rules),
            mapping,
        }
    }

    /// The mapping.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// A record's value as a row: JSON, or Avro in Confluent's wire format with a schema that
    /// `decoder` knows. `None` for a record without a value: a tombstone says that a row of the
    /// source is gone, which is nothing to make an event of.
    ///
    /// # Errors
    /// The value is in neither format, malformed, or beyond the decoder's limits.
    pub fn row(&self, decoder: &Decoder, value: Option<&[u8]>) -> Result<Option<Value>, Rejection> {
        value.map(|bytes| decoder.to_json(bytes)).transpose()
    }

    /// What becomes of `row`, the row of `record`.
    #[must_use]
    pub fn apply(&self, row: &Value, record: &InputRecord<'_>) -> Outcomes<'_> {
        let context = RowContext {
            origin: Origin::Topic {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
                key: record.key,
            },
            record_time: record.timestamp,
        };
        self.mapping.apply(&Row::Json(row), &context, &self.rules)
    }
}
