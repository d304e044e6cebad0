//! Looking into a log from the outside, also while another process has it open.
//!
//! A view is a RocksDB secondary: it follows what the owner writes, takes no lock and writes
//! nothing into the log's folder. It may show a record a moment before the device has it.

use std::path::Path;

use engine::port::TopicPartition;
use rocksdb::{ColumnFamilyDescriptor, DB};
use store::Shared;
use tempfile::TempDir;

use crate::error::EventLogError;
use crate::log::{EmbeddedLog, Options, RECORDS};
use crate::open::{db_options, meta_options, record_options};
use crate::read::StoredRecord;
use crate::topic::TopicInfo;

/// A log as it was when it was opened, or last caught up with.
pub struct LogView {
    log: EmbeddedLog,
    /// Up to which write of the owner the topics' ends are known.
    seen: u64,
    /// Where RocksDB keeps what is the view's own. Removed last.
    _scratch: TempDir,
}

impl LogView {
    /// Opens a view of the log in the folder `path`.
    ///
    /// # Errors
    /// There is no log, it is damaged or not accessible.
    pub fn open(path: &Path, shared: &Shared) -> Result<LogView, EventLogError> {
        let scratch = TempDir::with_prefix("clvstream-view-").map_err(EventLogError::Scratch)?;
        let mut common = db_options(shared);
        common.create_if_missing(false);
        // The owner removes files at any time: those that are open stay readable.
        common.set_max_open_files(-1);
        let families = [
            ColumnFamilyDescriptor::new("default", meta_options(shared)),
            ColumnFamilyDescriptor::new(RECORDS, record_options(shared)),
        ];
        let db = DB::open_cf_descriptors_as_secondary(&common, path, scratch.path(), families)
            .map_err(|e| EventLogError::from_rocks(path, e))?;
        let seen = db.latest_sequence_number();
        let mut log = EmbeddedLog::over(db, path, Options::default());
        log.incarnation = match log.read_head()? {
            Some(incarnation) => incarnation,
            None => return Err(log.corrupt("it has no head record")),
        };
        log.reload_topics()?;
        Ok(LogView {
            log,
            seen,
            _scratch: scratch,
        })
    }

    /// Looks what the owner has written since; answers whether there is anything new.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn catch_up(&mut self) -> Result<bool, EventLogError> {
        let db = &self.log.db;
        db.try_catch_up_with_primary()
            .map_err(|e| self.log.error(e))?;
        let now = db.latest_sequence_number();
        if now == self.seen {
            return Ok(false);
        }
        self.log.reload_topics()?;
        self.seen = now;
        Ok(true)
    }

    /// Every topic, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        self.log.topics()
    }

    /// As [`EmbeddedLog::mark`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, EventLogError> {
        self.log.mark(name)
    }

    /// As [`EmbeddedLog::incarnation`].
    #[must_use]
    pub fn incarnation(&self) -> &[u8] {
        self.log.incarnation()
    }

    /// As [`EmbeddedLog::position`].
    ///
    /// # Errors
    /// There is no such partition, or the log cannot be read.
    pub fn position(
        &self,
        task: u32,
        source: &TopicPartition,
    ) -> Result<Option<u64>, EventLogError> {
        self.log.position(task, source)
    }

    /// As [`EmbeddedLog::start_offset`].
    ///
    /// # Errors
    /// There is no such partition.
    pub fn start_offset(&self, source: &TopicPartition) -> Result<u64, EventLogError> {
        self.log.start_offset(source)
    }

    /// As [`EmbeddedLog::end_offset`].
    ///
    /// # Errors
    /// There is no such partition.
    pub fn end_offset(&self, source: &TopicPartition) -> Result<u64, EventLogError> {
        self.log.end_offset(source)
    }

    /// As [`EmbeddedLog::read`].
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
        self.log.read(source, from, max_records, max_bytes)
    }
}
