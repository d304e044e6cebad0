//! The log: its topics, marks, offsets, and waiting for more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::time::TimeMs;
use engine::port::{OutRecord, TopicName, TopicPartition};
use rocksdb::{ColumnFamily, DB, WriteBatch};
use store::Shared;

use crate::codec::{self, Bounds};
use crate::error::EventLogError;
use crate::open::{db_options, meta_options, record_options};
use crate::topic::{Cleanup, Partition, Tail, Topic, TopicInfo, lock};
use crate::write::Prepared;

pub(crate) const RECORDS: &str = "records";

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
    pub(crate) incarnation: Vec<u8>,
    topics: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
    /// Held while offsets are assigned and written, so that both have the same order. Holds why
    /// writing has ended, if it has.
    pub(crate) writer: Mutex<Option<String>>,
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
        let mut log = EmbeddedLog::over(db, path, options);
        log.incarnation = log.load_head()?;
        log.reload_topics()?;
        Ok(Arc::new(log))
    }

    /// Over a database of which nothing has been read yet.
    pub(crate) fn over(db: DB, path: &Path, options: Options) -> EmbeddedLog {
        EmbeddedLog {
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
        }
    }

    /// Takes topics and ends from what is stored.
    pub(crate) fn reload_topics(&self) -> Result<(), EventLogError> {
        let topics = self.load_topics()?;
        *self.topics.write().unwrap_or_else(PoisonError::into_inner) = topics;
        Ok(())
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
}
