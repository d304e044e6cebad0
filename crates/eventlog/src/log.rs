//! Opening the log, its topics, and the one path by which anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::time::TimeMs;
use engine::port::{OutRecord, TopicName, TopicPartition};
use rocksdb::{
    ColumnFamily, DB, DBCompactionStyle, DBCompressionType, IteratorMode, Options as DbOptions,
    UniversalCompactOptions, WriteBatch, WriteOptions,
};
use store::Shared;

use crate::codec::{self, Bounds};
use crate::error::EventLogError;
use crate::topic::{Cleanup, Partition, Tail, Topic, TopicInfo, lock};

/// The format of what the log writes; a log of another format is refused.
const FORMAT: u8 = 1;
const RECORDS: &str = "records";
/// How often the index of bytes gets an entry.
const INDEX_INTERVAL: u64 = 1 << 20;

/// How the log behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Whether a commit or append waits until the device has it. Without it, a crash of the
    /// process loses nothing, but a power cut may lose the last commits (never parts of them).
    pub sync: bool,
    /// How long a compacted topic keeps a tombstone.
    pub tombstone_retention_ms: u64,
    /// How many records must have come in since the last compaction of a partition for another.
    pub compact_min_records: u64,
    /// The memory that one compaction may take for keys.
    pub compact_memory: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: true,
            tombstone_retention_ms: 7 * 24 * 3_600_000,
            compact_min_records: 100_000,
            compact_memory: 64 << 20,
        }
    }
}

/// The embedded log. All methods may be called from any thread.
pub struct EmbeddedLog {
    pub(crate) db: DB,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    incarnation: Vec<u8>,
    topics: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
    /// Held while offsets are assigned and written, so that both have the same order. Holds why
    /// writing has ended, if it has.
    writer: Mutex<Option<String>>,
    /// Counts what readers can see, for those who wait for more.
    version: Mutex<u64>,
    appended: Condvar,
    /// Tasks that have a worker.
    pub(crate) tasks: Mutex<BTreeSet<u32>>,
    /// Held while records are removed, and while a worker claims the positions that protect them.
    pub(crate) removal: Mutex<()>,
}

impl EmbeddedLog {
    /// Opens the log in the folder `path`, creating it if need be.
    ///
    /// # Errors
    /// The folder is in use, damaged or not accessible.
    pub fn open(
        path: &Path,
        options: Options,
        shared: &Shared,
    ) -> Result<Arc<EmbeddedLog>, EventLogError> {
        let common = db_options(shared);
        let families = [
            ("default", meta_options(shared)),
            (RECORDS, record_options(shared)),
        ];
        let db = DB::open_cf_with_opts(&common, path, families)
            .map_err(|e| EventLogError::from_rocks(path, e))?;
        let mut log = EmbeddedLog {
            db,
            dir: path.to_path_buf(),
            options,
            incarnation: Vec::new(),
            topics: RwLock::default(),
            writer: Mutex::new(None),
            version: Mutex::new(0),
            appended: Condvar::new(),
            tasks: Mutex::default(),
            removal: Mutex::default(),
        };
        log.incarnation = log.load_head()?;
        let topics = log.load_topics()?;
        log.topics = RwLock::new(topics);
        Ok(Arc::new(log))
    }

    /// Identifies this log among all others: made when the folder was, and never changed.
    #[must_use]
    pub fn incarnation(&self) -> &[u8] {
        &self.incarnation
    }

    /// Makes sure that a topic exists and has this clean-up policy.
    ///
    /// # Errors
    /// The topic exists with another number of partitions, or cannot be written.
    pub fn ensure_topic(
        &self,
        name: &str,
        partitions: u32,
        cleanup: Cleanup,
    ) -> Result<(), EventLogError> {
        let bad = |reason| {
            Err(EventLogError::BadTopic {
                topic: name.to_owned(),
                reason,
            })
        };
        if name.is_empty() || partitions == 0 {
            return bad("it needs a name and at least one partition");
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let known = topics.get(name).cloned();
        let id = match &known {
            Some(topic) if topic.partitions.len() != partitions as usize => {
                return Err(EventLogError::PartitionCount {
                    topic: name.to_owned(),
                    found: topic.partitions.len() as u32,
                    asked: partitions,
                });
            }
            Some(topic) if topic.cleanup() == cleanup => return Ok(()),
            Some(topic) => topic.id,
            // Topics are never removed, so their number is free.
            None => match u16::try_from(topics.len()) {
                Ok(id) => id,
                Err(_) => return bad("there are 65,536 topics already"),
            },
        };
        let mut value = partitions.to_be_bytes().to_vec();
        value.extend_from_slice(&cleanup.to_bytes());
        value.extend_from_slice(name.as_bytes());
        let mut batch = WriteBatch::default();
        batch.put(codec::topic_key(id), value);
        self.write_meta(batch)?;
        if let Some(topic) = known {
            topic.set_cleanup(cleanup);
        } else {
            let name = TopicName::from(name);
            let empty = || Partition::new(Bounds::default(), Tail::default());
            let list = (0..partitions).map(|_| empty()).collect();
            topics.insert(name.clone(), Arc::new(Topic::new(id, name, list, cleanup)));
        }
        Ok(())
    }

    /// Every topic, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().map(|topic| topic.info()).collect()
    }

    /// Appends `records` and sets `marks`, all of it or nothing. `now` is the records' timestamp.
    ///
    /// # Errors
    /// A record's topic or partition does not exist, or the log cannot be written.
    pub fn append(
        &self,
        records: &[OutRecord],
        now: TimeMs,
        marks: &[(&str, Vec<u8>)],
    ) -> Result<(), EventLogError> {
        let mut prepared = Prepared::default();
        for record in records {
            prepared.add(self, record, now)?;
        }
        for (name, value) in marks {
            prepared.meta.push((codec::mark_key(name), value.clone()));
        }
        self.write(prepared)
    }

    /// The value of a mark, as the last append that named it left it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, EventLogError> {
        self.db
            .get(codec::mark_key(name))
            .map_err(|e| self.error(e))
    }

    /// The first offset of a partition that is still there, or its end.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn start_offset(&self, source: &TopicPartition) -> Result<u64, EventLogError> {
        let topic = self.topic_of(source)?;
        Ok(topic.partitions[source.partition as usize].bounds().start)
    }

    /// The offset that the next record of a partition gets.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn end_offset(&self, source: &TopicPartition) -> Result<u64, EventLogError> {
        let topic = self.topic_of(source)?;
        Ok(topic.partitions[source.partition as usize].end())
    }

    /// Where `task` goes on reading a partition, if it ever read it.
    ///
    /// # Errors
    /// There is no such partition, or the log cannot be read.
    pub fn position(
        &self,
        task: u32,
        source: &TopicPartition,
    ) -> Result<Option<u64>, EventLogError> {
        let topic = self.topic_of(source)?;
        let key = codec::position_key(task, topic.id, source.partition);
        match self.db.get_pinned(key).map_err(|e| self.error(e))? {
            None => Ok(None),
            Some(bytes) => codec::parse_u64(&bytes)
                .map(Some)
                .ok_or_else(|| self.corrupt("a position has the wrong length")),
        }
    }

    /// A number that grows with everything that readers can newly see.
    #[must_use]
    pub fn version(&self) -> u64 {
        *lock(&self.version)
    }

    /// Waits until the version is another than `seen`, or for `timeout`; answers the version.
    #[must_use]
    pub fn wait_for_append(&self, seen: u64, timeout: Duration) -> u64 {
        let version = lock(&self.version);
        let unchanged = |version: &mut u64| *version == seen;
        let waited = self
            .appended
            .wait_timeout_while(version, timeout, unchanged)
            .unwrap_or_else(PoisonError::into_inner);
        *waited.0
    }

    /// Wakes everyone who waits for records, for instance to shut down.
    pub fn wake(&self) {
        *lock(&self.version) += 1;
        self.appended.notify_all();
    }

    pub(crate) fn topic(&self, name: &str) -> Result<Arc<Topic>, EventLogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.get(name).cloned();
        topic.ok_or_else(|| EventLogError::UnknownTopic(name.to_owned()))
    }

    /// The topic of `source`, which does have that partition.
    pub(crate) fn topic_of(&self, source: &TopicPartition) -> Result<Arc<Topic>, EventLogError> {
        let topic = self.topic(&source.topic)?;
        if source.partition as usize >= topic.partitions.len() {
            return Err(EventLogError::UnknownPartition {
                topic: source.topic.to_string(),
                partition: source.partition,
                count: topic.partitions.len() as u32,
            });
        }
        Ok(topic)
    }

    pub(crate) fn all_topics(&self) -> Vec<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().cloned().collect()
    }

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

    pub(crate) fn records(&self) -> Result<&ColumnFamily, EventLogError> {
        self.db
            .cf_handle(RECORDS)
            .ok_or_else(|| self.corrupt("it has no column family for records"))
    }

    pub(crate) fn error(&self, error: rocksdb::Error) -> EventLogError {
        EventLogError::from_rocks(&self.dir, error)
    }

    pub(crate) fn corrupt(&self, detail: &str) -> EventLogError {
        EventLogError::Corrupt {
            path: self.dir.clone(),
            detail: detail.to_owned(),
        }
    }

    /// Reads format and incarnation; a new log gets them.
    fn load_head(&self) -> Result<Vec<u8>, EventLogError> {
        let head = self.db.get(codec::HEAD).map_err(|e| self.error(e))?;
        let Some(head) = head else {
            if self.db.iterator(IteratorMode::Start).next().is_some() {
                return Err(self.corrupt("it holds entries and no head record"));
            }
            let identity = self.db.get_db_identity().map_err(|e| self.error(e))?;
            let mut batch = WriteBatch::default();
            batch.put(codec::HEAD, [&[FORMAT], identity.as_slice()].concat());
            self.write_meta(batch)?;
            return Ok(identity);
        };
        match head.split_first() {
            Some((&FORMAT, incarnation)) => Ok(incarnation.to_vec()),
            Some((&found, _)) => Err(EventLogError::Format {
                path: self.dir.clone(),
                found,
                expected: FORMAT,
            }),
            None => Err(self.corrupt("its head record is empty")),
        }
    }

    fn load_topics(&self) -> Result<BTreeMap<TopicName, Arc<Topic>>, EventLogError> {
        let mut topics = BTreeMap::new();
        let mut entries = self.db.raw_iterator();
        entries.seek([codec::TOPIC]);
        while let Some((key, value)) = entries.item().filter(|(key, _)| key[0] == codec::TOPIC) {
            let topic = self
                .load_topic(key, value)?
                .ok_or_else(|| self.corrupt("a topic's record is cut off"))?;
            topics.insert(topic.name.clone(), Arc::new(topic));
            entries.next();
        }
        entries.status().map_err(|e| self.error(e))?;
        Ok(topics)
    }

    /// `None` if the record cannot be understood.
    fn load_topic(&self, key: &[u8], value: &[u8]) -> Result<Option<Topic>, EventLogError> {
        let parsed = || {
            let id = u16::from_be_bytes(key[1..].try_into().ok()?);
            let (count, rest) = value.split_first_chunk()?;
            let (cleanup, name) = rest.split_first_chunk()?;
            let name = std::str::from_utf8(name).ok()?;
            Some((
                id,
                u32::from_be_bytes(*count),
                Cleanup::parse(cleanup)?,
                name,
            ))
        };
        let Some((id, count, cleanup, name)) = parsed() else {
            return Ok(None);
        };
        let mut partitions = Vec::with_capacity(count as usize);
        for partition in 0..count {
            partitions.push(self.load_partition(id, partition)?);
        }
        Ok(Some(Topic::new(id, name.into(), partitions, cleanup)))
    }

    fn load_partition(&self, topic: u16, partition: u32) -> Result<Partition, EventLogError> {
        let stored = self.db.get(codec::bounds_key(topic, partition));
        let bounds = match stored.map_err(|e| self.error(e))? {
            None => Bounds::default(),
            Some(bytes) => Bounds::parse(&bytes)
                .ok_or_else(|| self.corrupt("a partition's bounds are cut off"))?,
        };
        let mut last = self.db.raw_iterator_cf(self.records()?);
        let prefix = codec::record_key(topic, partition, 0);
        last.seek_for_prev(codec::record_key(topic, partition, u64::MAX));
        let last_offset = last
            .key()
            .filter(|key| key[..6] == prefix[..6])
            .and_then(codec::offset_of);
        last.status().map_err(|e| self.error(e))?;
        let next = last_offset.map_or(bounds.end, |offset| bounds.end.max(offset + 1));
        let mut index = self.db.raw_iterator();
        let first = codec::index_key(topic, partition, 0);
        index.seek_for_prev(codec::index_key(topic, partition, u64::MAX));
        let indexed = index.item().filter(|(key, _)| key.starts_with(&first[..7]));
        // Bytes since the last entry are not counted: retention by size then keeps at most one
        // interval more.
        let bytes = indexed
            .and_then(|(_, bytes)| codec::parse_u64(bytes))
            .unwrap_or(0);
        index.status().map_err(|e| self.error(e))?;
        let tail = Tail {
            next,
            bytes,
            indexed: bytes,
        };
        Ok(Partition::new(bounds, tail))
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

fn db_options(shared: &Shared) -> DbOptions {
    let mut options = shared.options();
    // Writes come one at a time: plain inserts remember where the last one went.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_total_wal_size(256 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options
}

/// Positions and marks: few and often rewritten.
fn meta_options(shared: &Shared) -> DbOptions {
    let mut options = shared.options();
    options.set_write_buffer_size(4 << 20);
    options.set_block_based_table_factory(&shared.table_options());
    options
}

/// Records: written once, in key order within each partition, and read in that order. Universal
/// compaction rewrites them least often.
fn record_options(shared: &Shared) -> DbOptions {
    let mut options = shared.options();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(3);
    options.set_compaction_style(DBCompactionStyle::Universal);
    let mut universal = UniversalCompactOptions::default();
    universal.set_min_merge_width(4);
    universal.set_size_ratio(25);
    universal.set_max_size_amplification_percent(400);
    options.set_universal_compaction_options(&universal);
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_level_zero_slowdown_writes_trigger(40);
    options.set_level_zero_stop_writes_trigger(60);
    let mut table = shared.table_options();
    // Readers bypass the block cache, so that a replay does not push the profiles out of it; index
    // blocks then have to stay with their open file.
    table.set_cache_index_and_filter_blocks(false);
    table.set_block_size(32 << 10);
    options.set_block_based_table_factory(&table);
    options
}
