//! One input of a worker: where reading stands, and what was committed.

use std::time::{Duration, Instant};

use domain::time::TimeMs;
use engine::port::{Record, TopicPartition};
use rdkafka::error::RDKafkaErrorCode;

use crate::group::Group;
use crate::native::{PartitionQueue, Taken};

/// How often positions are committed though nothing was consumed: brokers forget those of topics
/// that a group does not subscribe to.
const RECOMMIT_AFTER: Duration = Duration::from_secs(1_800);

/// A partition that a task reads.
pub(crate) struct Input {
    /// The task that reads it.
    pub(crate) task: u32,
    pub(crate) queue: PartitionQueue<Group>,
    /// Where reading stands: after all that was handed out.
    pub(crate) next: u64,
    /// The committed position.
    pub(crate) committed: u64,
    /// When it was last committed.
    pub(crate) committed_at: Instant,
    /// Since when there may be more that has not come.
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) failed: Option<String>,
    /// When the last record that was handed out had been written.
    pub(crate) last_read: Option<TimeMs>,
}

impl Input {
    /// Up to `max` further records.
    pub(crate) fn take(&mut self, source: &TopicPartition, max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let Input {
            queue,
            next,
            failed,
            last_read,
            ..
        } = self;
        queue.take(max, |taken| match taken {
            Taken::Message {
                offset,
                timestamp,
                key,
                value,
            } => {
                // What was fetched before reading went back is dropped by librdkafka; this holds
                // whatever it does.
                if offset < *next {
                    return;
                }
                *next = offset + 1;
                *last_read = Some(TimeMs(timestamp));
                records.push(Record {
                    source: source.clone(),
                    offset,
                    timestamp: TimeMs(timestamp),
                    key: key.map(<[u8]>::to_vec),
                    value: value.map(<[u8]>::to_vec),
                });
            }
            // Members are not told of ends.
            Taken::End(_) => {}
            Taken::Error(code, text) => {
                *failed = Some(format!("{text} ({})", RDKafkaErrorCode::from(code)));
            }
        });
        records
    }

    /// Whether the committed position is so old that it is to be committed again.
    pub(crate) fn is_old(&self) -> bool {
        self.committed_at.elapsed() >= RECOMMIT_AFTER
    }

    /// Whether everything that the broker had at its last answer was handed out.
    pub(crate) fn has_caught_up(&self) -> bool {
        let end = self.queue.end();
        end.is_some_and(|end| self.next >= end || self.behind_markers(self.next) >= end)
    }

    /// The position to commit when everything before `consumed` is consumed: behind what is no
    /// record, where nothing else follows.
    pub(crate) fn behind_markers(&self, consumed: u64) -> u64 {
        if consumed < self.next {
            return consumed;
        }
        // Between the last record that was handed out and the position there are only markers.
        self.queue
            .position()
            .map_or(consumed, |at| at.max(consumed))
    }
}
