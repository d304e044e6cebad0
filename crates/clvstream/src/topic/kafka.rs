//! The topics of a cluster, read by offsets and outside every group: nobody is disturbed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Kafka};
use engine::group::Span;
use engine::port::{Record, TopicName, TopicPartition};
use eventlog::StoredRecord;
use kafkalog::{Cluster, Reader, Seen};
use runtime::RuntimeError;

use super::Start;
use crate::error::CliError;

/// How long one look for records takes.
const LOOK: Duration = Duration::from_millis(200);
/// After this long without a record, those of an open transaction are not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// The last records are looked for if they are no more than this many a partition.
const LAST: u64 = 100_000;

/// Connects.
pub(super) fn connect(config: &Config, kafka: &Kafka) -> Result<Arc<Cluster>, CliError> {
    let settings = runtime::kafka::settings(config, kafka)?;
    Ok(Cluster::connect(settings).map_err(RuntimeError::from)?)
}

/// Every topic of the cluster with its partitions.
pub(super) fn topics(cluster: &Cluster) -> Result<BTreeMap<String, u32>, CliError> {
    Ok(cluster.partition_counts().map_err(RuntimeError::from)?)
}

/// Partitions of a topic that are being read.
pub(super) struct Cursors {
    /// The last records of partitions, read already.
    first: Vec<StoredRecord>,
    reader: Reader,
    follow: bool,
}

impl Cursors {
    pub(super) fn open(
        cluster: &Cluster,
        topic: &TopicName,
        partitions: impl Iterator<Item = u32>,
        from: Start,
        follow: bool,
    ) -> Result<Cursors, CliError> {
        let at = |partition| TopicPartition {
            topic: Arc::clone(topic),
            partition,
        };
        let partitions: Vec<_> = partitions.map(at).collect();
        let mut spans = cluster.spans_of(&partitions).map_err(RuntimeError::from)?;
        let mut first = Vec::new();
        match from {
            Start::Offset(offset) => {
                for span in &mut spans {
                    span.from = span.from.max(offset);
                }
            }
            Start::Last(records) if records <= LAST => {
                first = last(cluster, &spans, records)?;
                for span in &mut spans {
                    span.from = span.until;
                }
            }
            Start::Last(records) => {
                for span in &mut spans {
                    span.from = span.from.max(span.until.saturating_sub(records));
                }
            }
        }
        if follow {
            for span in &mut spans {
                span.until = u64::MAX;
            }
        }
        let reader = cluster.reader(spans).map_err(RuntimeError::from)?;
        Ok(Cursors {
            first,
            reader,
            follow,
        })
    }

    /// The next records; none if there are no more, or, of those that follow, for now.
    pub(super) fn next_chunk(&mut self) -> Result<Vec<StoredRecord>, CliError> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        loop {
            let mut chunk = Vec::new();
            let done = self.reader.read(LOOK, |seen| {
                chunk.push(stored(&seen));
                Ok::<(), RuntimeError>(())
            })?;
            if !chunk.is_empty() || done || self.follow || is_held_back(&self.reader) {
                return Ok(chunk);
            }
        }
    }
}

/// Whether to give up waiting for the end of a transaction.
fn is_held_back(reader: &Reader) -> bool {
    let held_back = reader.quiet_for() > PATIENCE;
    if held_back {
        tracing::warn!("the records of a transaction that is still open are not shown");
    }
    held_back
}

/// The last `records` records of each span. Markers of transactions have offsets too, one after the
/// records of each commit, so that about twice as many offsets are looked at.
fn last(cluster: &Cluster, spans: &[Span], records: u64) -> Result<Vec<StoredRecord>, CliError> {
    let window = |span: &Span| Span {
        from: span.from.max(span.until.saturating_sub(2 * records + 16)),
        ..span.clone()
    };
    let spans = spans.iter().map(window).collect();
    let mut reader = cluster.reader(spans).map_err(RuntimeError::from)?;
    let mut kept: BTreeMap<u32, VecDeque<StoredRecord>> = BTreeMap::new();
    loop {
        let done = reader.read(LOOK, |seen| {
            let kept = kept.entry(seen.at.partition).or_default();
            kept.push_back(stored(&seen));
            if kept.len() as u64 > records {
                kept.pop_front();
            }
            Ok::<(), RuntimeError>(())
        })?;
        if done || is_held_back(&reader) {
            return Ok(kept.into_values().flatten().collect());
        }
    }
}

fn stored(seen: &Seen<'_>) -> StoredRecord {
    StoredRecord {
        record: Record {
            source: seen.at.clone(),
            offset: seen.offset,
            timestamp: seen.timestamp,
            key: seen.key.map(<[u8]>::to_vec),
            value: seen.value.map(<[u8]>::to_vec),
        },
        headers: seen.headers(),
    }
}
