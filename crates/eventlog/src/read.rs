//! Reading partitions.

use std::sync::Arc;

use engine::port::{Record, TopicPartition};
use rocksdb::ReadOptions;

use crate::codec::{self, View};
use crate::error::EventLogError;
use crate::log::EmbeddedLog;
use crate::topic::Topic;

/// A record with everything that is stored of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// What the engine sees of it.
    pub record: Record,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Whether to go on with the next record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

impl EmbeddedLog {
    /// Records of a partition from offset `from` on: up to `max_records`, and no more than fit
    /// `max_bytes`, but at least one if there is one. An empty answer means its end is reached.
    ///
    /// # Errors
    /// There is no such partition, or the log cannot be read.
    pub fn read(
        &self,
        source: &TopicPartition,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, EventLogError> {
        let topic = self.topic_of(source)?;
        self.read_as(
            &topic,
            source,
            from,
            max_records,
            max_bytes,
            |record, view| StoredRecord {
                record,
                headers: view.headers(),
            },
        )
    }

    /// Hands every record of a partition from offset `from` on to `visit`, as offset, key and
    /// value, up to the end as it is now, which is the answer. Nothing is copied: this is how a
    /// changelog is restored.
    ///
    /// # Errors
    /// There is no such partition, the log cannot be read, or `visit` fails.
    pub fn changelog<E: From<EventLogError>>(
        &self,
        source: &TopicPartition,
        from: u64,
        mut visit: impl FnMut(u64, Option<&[u8]>, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let topic = self.topic_of(source)?;
        let end = topic.partitions[source.partition as usize].end();
        self.visit(&topic, source.partition, from..end, |offset, _, view| {
            visit(offset, view.key, view.value)?;
            Ok::<Next, E>(Next::Continue)
        })?;
        Ok(end)
    }

    /// Whether a state that holds everything below `position` can be brought up to date from the
    /// partition's records. Below the bound, tombstones may be gone: a state from before them
    /// would keep what was deleted. An empty state (position 0) always can.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn is_restorable(
        &self,
        source: &TopicPartition,
        position: u64,
    ) -> Result<bool, EventLogError> {
        let topic = self.topic_of(source)?;
        let bounds = topic.partitions[source.partition as usize].bounds();
        Ok(position == 0 || position >= bounds.forgotten_end)
    }

    /// Reads as [`EmbeddedLog::read`] does, and makes of each record what `make` says.
    pub(crate) fn read_as<T>(
        &self,
        topic: &Arc<Topic>,
        source: &TopicPartition,
        from: u64,
        max_records: usize,
        max_bytes: usize,
        make: impl Fn(Record, View<'_>) -> T,
    ) -> Result<Vec<T>, EventLogError> {
        let end = topic.partitions[source.partition as usize].end();
        let mut found = Vec::new();
        if from >= end || max_records == 0 {
            return Ok(found);
        }
        let mut bytes = 0;
        self.visit(topic, source.partition, from..end, |offset, size, view| {
            bytes += size;
            if bytes > max_bytes && !found.is_empty() {
                return Ok::<Next, EventLogError>(Next::Stop);
            }
            let record = Record {
                source: source.clone(),
                offset,
                timestamp: view.timestamp,
                key: view.key.map(<[u8]>::to_vec),
                value: view.value.map(<[u8]>::to_vec),
            };
            found.push(make(record, view));
            let full = found.len() >= max_records;
            Ok(if full { Next::Stop } else { Next::Continue })
        })?;
        Ok(found)
    }

    /// Goes through the records of a partition in order: offset, size in bytes, record.
    pub(crate) fn visit<E: From<EventLogError>>(
        &self,
        topic: &Topic,
        partition: u32,
        offsets: std::ops::Range<u64>,
        mut visit: impl FnMut(u64, usize, View<'_>) -> Result<Next, E>,
    ) -> Result<(), E> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(codec::record_key(topic.id, partition, offsets.end));
        let records = self.records()?;
        let mut entries = self.db.raw_iterator_cf_opt(records, options);
        entries.seek(codec::record_key(topic.id, partition, offsets.start));
        while let Some((key, bytes)) = entries.item() {
            let (Some(offset), Some(view)) = (codec::offset_of(key), View::parse(bytes)) else {
                return Err(self.damaged(topic, partition).into());
            };
            if visit(offset, bytes.len(), view)? == Next::Stop {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|e| self.error(e))?;
        Ok(())
    }

    fn damaged(&self, topic: &Topic, partition: u32) -> EventLogError {
        self.corrupt(&format!(
            "a record in partition {partition} of {} cannot be understood",
            topic.name
        ))
    }
}
