//! The one path by which records are written.

use std::sync::Arc;

use domain::time::TimeMs;
use engine::port::{OutRecord, TopicName, TopicPartition};
use rocksdb::{WriteBatch, WriteOptions};

use crate::codec;
use crate::error::EventLogError;
use crate::log::EmbeddedLog;
use crate::topic::{Cleanup, Topic, lock};

/// How often the index of bytes gets an entry.
const INDEX_INTERVAL: u64 = 1 << 20;

impl EmbeddedLog {
    /// Writes what was prepared as one batch, waits until it is durable, and lets readers see it.
    ///
    /// Offsets are assigned and written under one lock, so the write-ahead log has them in order.
    /// Waiting for the device happens outside of it: one sync then serves all that were written
    /// before it, and a batch that is durable has only durable ones before it.
    pub(crate) fn write(&self, prepared: Prepared) -> Result<(), EventLogError> {
        let mut writer = lock(&self.writer);
        if let Some(reason) = writer.as_ref() {
            return Err(EventLogError::Failed(reason.clone()));
        }
        let (batch, ends) = self.batch(&prepared)?;
        let written = self.db.write_opt(batch, &WriteOptions::default());
        if let Err(error) = written {
            *writer = Some(error.to_string());
            return Err(self.error(error));
        }
        drop(writer);
        if self.options.sync
            && let Err(error) = self.db.flush_wal(true)
        {
            *lock(&self.writer) = Some(error.to_string());
            return Err(self.error(error));
        }
        if !ends.is_empty() {
            for new in ends {
                let topic = &prepared.topics[new.topic];
                topic.partitions[new.partition as usize].publish(new.end);
            }
            self.wake();
        }
        Ok(())
    }

    /// Assigns offsets. Answers the batch and the partitions' new ends. To be called with the
    /// writer held, and the batch to be written before it is released.
    fn batch(&self, prepared: &Prepared) -> Result<(WriteBatch, Vec<NewEnd>), EventLogError> {
        let records = self.records()?;
        let size = prepared.bytes.len() + prepared.entries.len() * 24 + 1024;
        let mut batch = WriteBatch::with_capacity_bytes(size);
        let mut ends: Vec<NewEnd> = Vec::new();
        let mut from = 0;
        for entry in &prepared.entries {
            let topic = &prepared.topics[entry.topic];
            let mut tail = lock(&topic.partitions[entry.partition as usize].tail);
            let bytes = &prepared.bytes[from..entry.end];
            from = entry.end;
            let key = codec::record_key(topic.id, entry.partition, tail.next);
            batch.put_cf(records, key, bytes);
            if tail.bytes - tail.indexed >= INDEX_INTERVAL {
                let key = codec::index_key(topic.id, entry.partition, tail.next);
                batch.put(key, tail.bytes.to_be_bytes());
                tail.indexed = tail.bytes;
            }
            tail.next += 1;
            tail.bytes += bytes.len() as u64;
            let new = NewEnd {
                topic: entry.topic,
                partition: entry.partition,
                end: tail.next,
            };
            match ends.last_mut() {
                Some(last) if (last.topic, last.partition) == (new.topic, new.partition) => {
                    *last = new;
                }
                _ => ends.push(new),
            }
        }
        for (key, value) in &prepared.meta {
            batch.put(key, value);
        }
        Ok((batch, ends))
    }

    /// Writes bookkeeping that no commit depends on.
    pub(crate) fn write_meta(&self, batch: WriteBatch) -> Result<(), EventLogError> {
        self.db.write(batch).map_err(|e| self.error(e))?;
        if self.options.sync {
            self.db.flush_wal(true).map_err(|e| self.error(e))?;
        }
        Ok(())
    }
}

/// A write before its offsets are known, encoded outside the writer's lock.
#[derive(Default)]
pub(crate) struct Prepared {
    /// The topics written to: few.
    topics: Vec<Arc<Topic>>,
    /// The records' bytes, one after another.
    bytes: Vec<u8>,
    entries: Vec<PreparedRecord>,
    /// Keys and values for the default column family.
    pub(crate) meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A partition's end once a batch is written; of several for one partition the highest counts.
struct NewEnd {
    /// Which of the batch's topics.
    topic: usize,
    partition: u32,
    end: u64,
}

struct PreparedRecord {
    /// Which of the topics.
    topic: usize,
    partition: u32,
    /// Where its bytes end.
    end: usize,
}

impl Prepared {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.meta.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        log: &EmbeddedLog,
        record: &OutRecord,
        now: TimeMs,
    ) -> Result<(), EventLogError> {
        let TopicPartition { topic, partition } = &record.target;
        let slot = self.slot(log, topic)?;
        let topic = &self.topics[slot];
        if *partition as usize >= topic.partitions.len() {
            return Err(EventLogError::UnknownPartition {
                topic: topic.name.to_string(),
                partition: *partition,
                count: topic.partitions.len() as u32,
            });
        }
        if record.key.is_none() && topic.cleanup() == Cleanup::Compact {
            return Err(EventLogError::NoKey(topic.name.to_string()));
        }
        codec::encode(&mut self.bytes, record, now);
        self.entries.push(PreparedRecord {
            topic: slot,
            partition: *partition,
            end: self.bytes.len(),
        });
        Ok(())
    }

    fn slot(&mut self, log: &EmbeddedLog, name: &TopicName) -> Result<usize, EventLogError> {
        let known = |topic: &Arc<Topic>| Arc::ptr_eq(&topic.name, name) || topic.name == *name;
        if let Some(slot) = self.topics.iter().position(known) {
            return Ok(slot);
        }
        self.topics.push(log.topic(name)?);
        Ok(self.topics.len() - 1)
    }
}
