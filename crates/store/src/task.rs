//! The store of one task.

mod restore;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::group::RestorableStore;
use engine::port::{Committed, Entry, StateError, StateReader, StateStore, Table};
use failpoint::Point;
use rocksdb::{
    ColumnFamily, DB, DBCompressionType, FlushOptions, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use crate::bulk::Bulk;
use crate::cache::Cache;
use crate::damage;
use crate::error::StoreError;
use crate::overlay::{Overlaid, Timers, end_of, merge};
use crate::rocks::{Share, Shared};
use crate::seen::Seen;
use crate::tails::Tail;

/// The format of what a store writes; a store of another format is refused.
const FORMAT: u8 = 1;
/// The key of the store's own record; tables' bytes start at 1.
pub(crate) const HEAD_KEY: [u8; 1] = [0];
/// Unless it is said otherwise, a checkpoint falls due when this much changelog is not yet in
/// RocksDB ...
const CHECKPOINT_BYTES: usize = 64 << 20;
/// ... or this long after the last one.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(15);

/// A flush that was asked for begins within this time, or has ended.
const FLUSH_BEGINS: Duration = Duration::from_millis(5);

/// Which timer a profile has armed: profile key and value → timer key, if any. Timers are not in
/// the changelog, so a restore derives them.
pub type Derive = fn(key: &[u8], value: &[u8]) -> Option<Vec<u8>>;

/// Whether [`TaskStore::checkpoint_if_due`] wrote one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checkpoint {
    /// Nothing was due.
    NotDue,
    /// Dirty entries were handed to RocksDB, which makes them durable in the background.
    Started,
}

/// The state of one task: see the crate's header. One thread uses it (`Send`, not `Sync`).
pub struct TaskStore {
    db: DB,
    dir: PathBuf,
    task: u32,
    incarnation: Vec<u8>,
    derive: Derive,
    share: Share,
    write_options: WriteOptions,
    cache: RefCell<Cache>,
    timers: RefCell<Timers>,
    /// The changelog offset up to which RocksDB (memtables included) is complete.
    written: u64,
    /// The changelog offset up to which cache and RocksDB together are complete.
    applied: u64,
    /// The changelog offset up to which RocksDB was told to make everything durable.
    flushed: u64,
    /// The changelog between `flushed` and `applied`.
    tail: Tail,
    /// What a restore has read and not written yet. Reads do not see it.
    bulk: Bulk,
    /// The keys that a restore has brought into a store that was empty; `None` where that was not.
    seen: Option<Seen>,
    /// Whether RocksDB's options are those of a long restore.
    is_filling: bool,
    last_checkpoint: Option<Instant>,
    checkpoint_interval: Duration,
    checkpoint_bytes: usize,
}

impl TaskStore {
    /// Opens the store of `task` in the folder `dir`, creating it if need be. `incarnation`
    /// identifies the log that holds the task's changelog.
    ///
    /// # Errors
    /// The folder is in use, damaged, not accessible, or holds other state than the one named. Damage
    /// is found where it is looked for: opening reads what a store needs to be open, and every block
    /// that is read later is verified then.
    pub fn open(
        dir: &Path,
        task: u32,
        incarnation: &[u8],
        shared: &Shared,
        derive: Derive,
    ) -> Result<TaskStore, StoreError> {
        let found = damage::marked(dir).map_err(|error| StoreError::Io {
            path: dir.to_path_buf(),
            detail: error.to_string(),
        })?;
        if let Some(detail) = found {
            let path = dir.to_path_buf();
            return Err(StoreError::Corrupt { path, detail });
        }
        let options = db_options(shared);
        let families = [("default", options.clone())];
        let db = DB::open_cf_with_opts(&options, dir, families)
            .map_err(|e| StoreError::from_rocks(dir, e))?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let mut store = TaskStore {
            db,
            dir: dir.to_path_buf(),
            task,
            incarnation: incarnation.to_vec(),
            derive,
            share: shared.enter(),
            write_options,
            cache: RefCell::new(Cache::new()),
            timers: RefCell::new(Timers::new()),
            written: 0,
            applied: 0,
            flushed: 0,
            tail: shared.tail(),
            bulk: Bulk::default(),
            seen: None,
            is_filling: false,
            last_checkpoint: None,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            checkpoint_bytes: CHECKPOINT_BYTES,
        };
        store.load_head()?;
        Ok(store)
    }

    /// Lets checkpoints fall due after `interval` or `bytes` of unwritten changelog, whichever comes
    /// first, rather than after 15 s or 64 MiB.
    pub fn checkpoint_every(&mut self, interval: Duration, bytes: usize) {
        self.checkpoint_interval = interval;
        self.checkpoint_bytes = bytes;
    }

    /// Takes next to none of the memory for caches, and leaves it to other stores: nobody reads from this
    /// one, it only follows its changelog.
    pub fn stand_by(&mut self) {
        self.share.step_aside();
    }

    /// The task whose state this is.
    #[must_use]
    pub fn task(&self) -> u32 {
        self.task
    }

    /// The oldest changelog offset whose effect may be missing from RocksDB: a restore reads the
    /// changelog from here. After a crash the store opens at this position or an earlier one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.written
    }

    /// The changelog offset up to which this store answers reads.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Bytes that the write-back cache holds, overhead included.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.cache.borrow().bytes() + self.timers.borrow().bytes() + self.bulk.bytes()
    }

    /// The part of [`TaskStore::cached_bytes`] that is not in RocksDB yet.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.cache.borrow().dirty_bytes() + self.timers.borrow().bytes() + self.bulk.bytes()
    }

    /// Bytes of the changelog that are not in RocksDB: what a restart would have to read.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// The changelog offset up to which the last checkpoint goes: a restart reads from there.
    #[must_use]
    pub fn checkpointed(&self) -> u64 {
        self.flushed
    }

    /// Takes in committed writes. They are visible at once and reach RocksDB later.
    ///
    /// # Errors
    /// The work is another task's, or the cache was full of unwritten entries and RocksDB cannot
    /// take them.
    pub fn apply(&mut self, committed: Committed) -> Result<(), StoreError> {
        if committed.task != self.task {
            return Err(StoreError::WrongTask {
                found: committed.task,
                expected: self.task,
            });
        }
        self.drain()?;
        for write in committed.delta {
            self.put(write.table, &write.key, write.value);
        }
        self.applied = self.applied.max(committed.changelog_end);
        self.bound_cache()
    }

    /// Writes a checkpoint if one is due at `now`. RocksDB makes it durable in the background:
    /// the caller is not kept waiting for the device.
    ///
    /// # Errors
    /// RocksDB cannot take the entries.
    pub fn checkpoint_if_due(&mut self, now: Instant) -> Result<Checkpoint, StoreError> {
        let last = *self.last_checkpoint.get_or_insert(now);
        let waited = now.saturating_duration_since(last) >= self.checkpoint_interval;
        if !waited && self.tail.bytes() < self.checkpoint_bytes && !self.tail.is_too_much() {
            return Ok(Checkpoint::NotDue);
        }
        self.last_checkpoint = Some(now);
        if self.tail.bytes() == 0 && self.applied == self.flushed {
            return Ok(Checkpoint::NotDue);
        }
        self.write_out()?;
        self.flush(false)?;
        Ok(Checkpoint::Started)
    }

    /// Writes a checkpoint and waits until it is durable.
    ///
    /// # Errors
    /// RocksDB cannot take the entries or make them durable.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.write_out()?;
        self.flush(true)
    }

    fn put(&mut self, table: Table, key: &[u8], value: Option<Arc<[u8]>>) {
        let length = 1 + key.len() + value.as_ref().map_or(0, |v| v.len());
        self.tail.grow(length);
        if table == Table::Timers {
            self.timers.get_mut().put(key, value);
        } else {
            self.cache.get_mut().put_dirty(table, key, value);
        }
    }

    /// Keeps the cache within its share: clean entries go first, and once dirty ones take half of
    /// it, all of them go to RocksDB in one batch.
    fn bound_cache(&mut self) -> Result<(), StoreError> {
        let capacity = self.share.bytes();
        let timers = self.timers.get_mut().bytes();
        let cache = self.cache.get_mut();
        if cache.dirty_bytes() + timers >= capacity / 2 {
            self.write_out()?;
        }
        self.cache
            .get_mut()
            .shrink_to(capacity.saturating_sub(self.timers.get_mut().bytes()));
        Ok(())
    }

    /// Hands every dirty entry to RocksDB, together with the position, as one atomic write.
    fn write_out(&mut self) -> Result<(), StoreError> {
        self.drain()?;
        let (cache, timers) = (self.cache.get_mut(), self.timers.get_mut());
        let mut batch =
            WriteBatch::with_capacity_bytes(cache.dirty_bytes() + timers.bytes() + 1024);
        batch.put(HEAD_KEY, head(self.task, self.applied, &self.incarnation));
        for table in Table::ALL {
            let first = table.full_key(&[]);
            if table == Table::Timers {
                timers.dirty_from(&first).for_each(|e| add(&mut batch, e));
            } else {
                cache.sort_dirty(table);
                cache
                    .dirty_from(table, &first)
                    .for_each(|e| add(&mut batch, e));
            }
        }
        failpoint::reach(Point::MidWrite);
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(|e| self.error(e))?;
        self.cache.get_mut().mark_clean();
        self.timers.get_mut().mark_clean();
        self.written = self.applied;
        Ok(())
    }

    fn flush(&mut self, wait: bool) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db.flush_opt(&options).map_err(|e| self.error(e))?;
        failpoint::reach_if(Point::MidFlush, || self.is_flushing());
        self.flushed = self.written;
        self.tail.clear();
        Ok(())
    }

    /// Whether RocksDB has begun to make a checkpoint durable, or does so within a moment, and has not
    /// ended.
    fn is_flushing(&self) -> bool {
        let running = || self.db.property_int_value("rocksdb.num-running-flushes");
        let deadline = Instant::now() + FLUSH_BEGINS;
        while Instant::now() < deadline {
            if matches!(running(), Ok(Some(1..))) {
                return true;
            }
        }
        false
    }

    /// Reads the store's own record and checks it against what was asked for; a new store gets one.
    fn load_head(&mut self) -> Result<(), StoreError> {
        let stored = self.db.get(HEAD_KEY).map_err(|e| self.error(e))?;
        let Some(stored) = stored else {
            let mut first = self.db.raw_iterator();
            first.seek_to_first();
            if first.valid() {
                return Err(self.corrupt("it holds entries and no head record"));
            }
            drop(first);
            self.write_out()?;
            return self.flush(true);
        };
        let position = check_head(&stored, &self.dir, self.task, &self.incarnation)?;
        (self.written, self.applied, self.flushed) = (position, position, position);
        Ok(())
    }

    fn lookup(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StoreError> {
        let known = if table == Table::Timers {
            self.timers.borrow().get(key)
        } else {
            self.cache.borrow_mut().get(table, key)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let stored = self.db.get_pinned(table.full_key(key));
        let Some(stored) = stored.map_err(|e| self.error(e))? else {
            return Ok(None);
        };
        let value: Arc<[u8]> = Arc::from(stored.as_ref());
        if table != Table::Timers {
            let mut cache = self.cache.borrow_mut();
            cache.insert_clean(table, key, Arc::clone(&value));
            cache.shrink_to(self.share.bytes());
        }
        Ok(Some(value))
    }

    /// Reads what the cache did not have: `missing` are places in `keys` and `found`.
    fn lookup_below(
        &self,
        table: Table,
        keys: &[&[u8]],
        missing: &[usize],
        found: &mut [Option<Arc<[u8]>>],
    ) -> Result<(), StoreError> {
        let full: Vec<Vec<u8>> = missing.iter().map(|i| table.full_key(keys[*i])).collect();
        let stored = self
            .db
            .batched_multi_get_cf(self.family()?, full.iter(), true);
        let mut cache = self.cache.borrow_mut();
        for (place, value) in missing.iter().zip(stored) {
            if let Some(value) = value.map_err(|e| self.error(e))? {
                let value: Arc<[u8]> = Arc::from(value.as_ref());
                cache.insert_clean(table, keys[*place], Arc::clone(&value));
                found[*place] = Some(value);
            }
        }
        cache.shrink_to(self.share.bytes());
        Ok(())
    }

    fn scan_merged(
        &self,
        table: Table,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut from = table.full_key(from);
        if table == Table::Timers {
            from = self.timers.borrow().start(from);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end_of(table));
        let mut below = self.db.raw_iterator_opt(options);
        below.seek(&from);
        if table == Table::Timers {
            let mut timers = self.timers.borrow_mut();
            let found =
                merge(timers.dirty_from(&from), &mut below, limit).map_err(|e| self.error(e))?;
            if timers.is_at_floor(&from) {
                timers.raise_floor(found.first());
            }
            return Ok(found);
        }
        let mut cache = self.cache.borrow_mut();
        cache.sort_dirty(table);
        merge(cache.dirty_from(table, &from), &mut below, limit).map_err(|e| self.error(e))
    }

    fn family(&self) -> Result<&ColumnFamily, StoreError> {
        self.db
            .cf_handle("default")
            .ok_or_else(|| self.corrupt("it has no default column family"))
    }

    fn error(&self, error: rocksdb::Error) -> StoreError {
        let error = StoreError::from_rocks(&self.dir, error);
        if let StoreError::Corrupt { detail, .. } = &error {
            damage::mark(&self.dir, detail);
        }
        error
    }

    fn corrupt(&self, detail: &str) -> StoreError {
        damage::mark(&self.dir, detail);
        StoreError::Corrupt {
            path: self.dir.clone(),
            detail: detail.to_owned(),
        }
    }
}

impl StateStore for TaskStore {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        Ok(TaskStore::apply(self, committed)?)
    }

    fn condemn(&mut self, what: &str) {
        damage::mark(&self.dir, what);
    }
}

impl RestorableStore for TaskStore {
    fn position(&self) -> u64 {
        TaskStore::position(self)
    }

    fn restore(&mut self, offset: u64, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        Ok(TaskStore::restore(self, offset, key, value)?)
    }

    fn mark_restored(&mut self, end: u64) -> Result<(), StateError> {
        Ok(TaskStore::mark_restored(self, end)?)
    }

    fn checkpoint(&mut self) -> Result<(), StateError> {
        Ok(TaskStore::checkpoint(self)?)
    }
}

impl StateReader for TaskStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        Ok(self.lookup(table, key)?)
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        if table == Table::Timers {
            return keys.iter().map(|key| self.get(table, key)).collect();
        }
        let mut found = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        let mut cache = self.cache.borrow_mut();
        for (place, key) in keys.iter().enumerate() {
            let known = cache.get(table, key);
            if known.is_none() {
                missing.push(place);
            }
            found.push(known.flatten());
        }
        drop(cache);
        if !missing.is_empty() {
            self.lookup_below(table, keys, &missing, &mut found)?;
        }
        Ok(found)
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        Ok(self.scan_merged(table, from, limit)?)
    }
}

/// One column family for everything: a memtable is flushed as a whole and in order, so a batch and
/// the position in it become durable together.
pub(crate) fn db_options(shared: &Shared) -> Options {
    let mut options = shared.options();
    options.set_block_based_table_factory(&shared.point_lookup_options());
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(CHECKPOINT_BYTES);
    options.set_max_write_buffer_number(4);
    // One writer with sorted batches: plain inserts remember where the last one went.
    options.set_allow_concurrent_memtable_write(false);
    options
}

fn add(batch: &mut WriteBatch, (key, value): Overlaid<'_>) {
    match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
}

/// The store's own record: format, task, position (big-endian), incarnation.
fn head(task: u32, position: u64, incarnation: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&task.to_be_bytes());
    bytes.extend_from_slice(&position.to_be_bytes());
    bytes.extend_from_slice(incarnation);
    bytes
}

/// The position in the head record of the store in `dir`, if it is that of `task` and `incarnation`.
pub(crate) fn check_head(
    stored: &[u8],
    dir: &Path,
    task: u32,
    incarnation: &[u8],
) -> Result<u64, StoreError> {
    let cut_off = || StoreError::Corrupt {
        path: dir.to_path_buf(),
        detail: "its head record is cut off".to_owned(),
    };
    let (format, found, position, of) = parse_head(stored).ok_or_else(cut_off)?;
    if format != FORMAT {
        return Err(StoreError::Format {
            path: dir.to_path_buf(),
            found: format,
            expected: FORMAT,
        });
    }
    if found != task {
        return Err(StoreError::Task {
            path: dir.to_path_buf(),
            found,
            expected: task,
        });
    }
    if of != incarnation {
        return Err(StoreError::Incarnation {
            path: dir.to_path_buf(),
            found: of.to_vec(),
        });
    }
    Ok(position)
}

fn parse_head(bytes: &[u8]) -> Option<(u8, u32, u64, &[u8])> {
    let (format, rest) = bytes.split_first()?;
    let (task, rest) = rest.split_first_chunk()?;
    let (position, incarnation) = rest.split_first_chunk()?;
    Some((
        *format,
        u32::from_be_bytes(*task),
        u64::from_be_bytes(*position),
        incarnation,
    ))
}
