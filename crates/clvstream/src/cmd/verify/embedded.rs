//! The embedded log as of one moment.

use checker::{Bounds, Committed, Entry};
use engine::port::TopicPartition;
use eventlog::LogView;

use crate::error::CliError;
use crate::topic::log_error;

/// Bytes that are read at a time.
const BYTES: usize = 8 << 20;

/// A view that does not catch up with the owner.
pub(super) struct Cut(LogView);

impl Cut {
    pub(super) fn new(log: LogView) -> Cut {
        Cut(log)
    }

    pub(super) fn bounds(&self, at: &TopicPartition) -> Result<Bounds, CliError> {
        let topics = self.0.topics();
        let is_there = |t: &eventlog::TopicInfo| t.name == at.topic && at.partition < t.partitions;
        if !topics.iter().any(is_there) {
            return Ok(Bounds::default());
        }
        Ok(Bounds {
            begin: self.0.start_offset(at).map_err(log_error)?,
            end: self.0.end_offset(at).map_err(log_error)?,
        })
    }

    pub(super) fn read(
        &self,
        at: &TopicPartition,
        from: u64,
        max: usize,
    ) -> Result<Vec<Entry>, CliError> {
        let stored = self.0.read(at, from, max, BYTES).map_err(log_error)?;
        let entry = |stored: eventlog::StoredRecord| Entry {
            offset: stored.record.offset,
            timestamp: stored.record.timestamp,
            key: stored.record.key,
            value: stored.record.value,
            headers: stored.headers,
        };
        Ok(stored.into_iter().map(entry).collect())
    }

    pub(super) fn committed(
        &self,
        task: u32,
        inputs: &[TopicPartition],
    ) -> Result<Committed, CliError> {
        let position = |input: &TopicPartition| {
            let position = self.0.position(task, input).map_err(log_error)?;
            Ok((input.clone(), position))
        };
        inputs.iter().map(position).collect()
    }
}
