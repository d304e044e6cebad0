//! Bringing a store up to date from its changelog: records are collected, sorted, and written in one
//! batch with the timers that follow from them and the position that they reach.
//!
//! Invariant: after every batch RocksDB holds the fold of the changelog up to the position in it,
//! timers included, so that a restore which is cut off goes on from there.

use engine::port::Table;
use failpoint::Point;
use rocksdb::WriteBatch;

use super::{HEAD_KEY, TaskStore, head};
use crate::bulk::Bulk;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::overlay::Timers;
use crate::seen::Seen;

/// A batch takes at least so many bytes of changelog, and at most ...
const SMALLEST_BATCH: usize = 4 << 10;
/// ... so many: enough for a sorted batch to be cheap, little beside the memtable that it goes into.
const LARGEST_BATCH: usize = 16 << 20;
/// While a store is being filled, files of the first level gather: merging a few large ones once costs
/// less than merging each few. Many are left to the time after the restore, when they slow down reads
/// for a while.
const FILLING: [(&str, &str); 3] = [
    ("level0_file_num_compaction_trigger", "16"),
    ("level0_slowdown_writes_trigger", "40"),
    ("level0_stop_writes_trigger", "60"),
];
/// RocksDB's own values of the same.
const FILLED: [(&str, &str); 3] = [
    ("level0_file_num_compaction_trigger", "4"),
    ("level0_slowdown_writes_trigger", "20"),
    ("level0_stop_writes_trigger", "36"),
];

/// A profile's key, with the table's byte, and its value.
type Profile<'a> = (&'a [u8], Option<&'a [u8]>);

impl TaskStore {
    /// Takes in the changelog record at `offset`: `full_key` is the record's key, `value` its
    /// value. Repeating records, or starting earlier than need be, does no harm as long as the
    /// changelog is then read to its end. Reads see it from [`TaskStore::mark_restored`] on.
    ///
    /// # Errors
    /// The key belongs to no table of the changelog, or RocksDB fails.
    pub fn restore(
        &mut self,
        offset: u64,
        full_key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let Some((table, _)) = Table::split(full_key).filter(|(table, _)| table.is_logged()) else {
            return Err(StoreError::UnknownTable(offset));
        };
        failpoint::reach(Point::MidRestore);
        if self.bulk.is_empty() {
            self.forget_cached()?;
        }
        self.bulk.push(table, full_key, value);
        let length = full_key.len() + value.map_or(0, <[u8]>::len);
        self.tail.grow(length);
        self.applied = self.applied.max(offset.saturating_add(1));
        let largest = (self.share.bytes() / 8).clamp(SMALLEST_BATCH, LARGEST_BATCH);
        if self.bulk.bytes() < largest {
            return Ok(());
        }
        if self.written == 0 {
            self.begin_filling()?;
        }
        self.drain()?;
        if self.tail.bytes() >= self.checkpoint_bytes || self.tail.is_too_much() {
            self.flush(false)?;
        }
        Ok(())
    }

    /// Ends a restore: the changelog has been read up to its end, `end`.
    ///
    /// # Errors
    /// The store holds more than the changelog does, or RocksDB fails.
    pub fn mark_restored(&mut self, end: u64) -> Result<(), StoreError> {
        if self.applied > end {
            return Err(StoreError::Ahead {
                path: self.dir.clone(),
                position: self.applied,
                end,
            });
        }
        self.drain()?;
        self.bulk = Bulk::default();
        self.seen = None;
        if std::mem::take(&mut self.is_filling) {
            self.db.set_options(&FILLED).map_err(|e| self.error(e))?;
        }
        self.applied = end;
        Ok(())
    }

    /// What is cached is about to be older than what is written beside it.
    fn forget_cached(&mut self) -> Result<(), StoreError> {
        if self.cache.get_mut().bytes() + self.timers.get_mut().bytes() > 0 {
            self.write_out()?;
            *self.cache.get_mut() = Cache::new();
        }
        Ok(())
    }

    /// An empty store is about to get more than a batch.
    fn begin_filling(&mut self) -> Result<(), StoreError> {
        if !self.is_filling {
            self.db.set_options(&FILLING).map_err(|e| self.error(e))?;
            self.is_filling = true;
            self.seen = Some(Seen::new(self.share.bytes() / 16));
        }
        Ok(())
    }

    /// Writes what a restore has collected.
    pub(super) fn drain(&mut self) -> Result<(), StoreError> {
        if self.bulk.is_empty() {
            return Ok(());
        }
        let mut bulk = std::mem::take(&mut self.bulk);
        let written = self.write_bulk(&bulk);
        bulk.clear();
        self.bulk = bulk;
        written
    }

    fn write_bulk(&mut self, bulk: &Bulk) -> Result<(), StoreError> {
        let mut batch = WriteBatch::with_capacity_bytes(bulk.bytes() + bulk.bytes() / 4);
        batch.put(HEAD_KEY, head(self.task, self.applied, &self.incarnation));
        let profiles = bulk.sorted(Table::Profiles);
        for (timer, is_armed) in self.timers_of(&profiles)? {
            match is_armed {
                true => batch.put(timer, []),
                false => batch.delete(timer),
            }
        }
        let mut add = |records: &[(&[u8], Option<&[u8]>)]| {
            for (key, value) in records {
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
        };
        add(&profiles);
        for table in Table::ALL {
            if table.is_logged() && table != Table::Profiles {
                add(&bulk.sorted(table));
            }
        }
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(|e| self.error(e))?;
        // It may have stood above timers that were just written.
        *self.timers.get_mut() = Timers::new();
        self.written = self.applied;
        Ok(())
    }

    /// How the timers change, in order of their keys, when these profiles replace what is stored: those
    /// that were armed go, those that are now come.
    fn timers_of(&mut self, profiles: &[Profile<'_>]) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let before = self.stored(profiles)?;
        let derive = |key: &[u8], value: &[u8]| {
            let timer = (self.derive)(&key[1..], value);
            timer.map(|timer| Table::Timers.full_key(&timer))
        };
        let mut timers = Vec::with_capacity(profiles.len());
        let mut before = before.into_iter().peekable();
        for (number, (key, value)) in profiles.iter().enumerate() {
            let old = before.next_if(|(place, _)| *place == number);
            let old = old.and_then(|(_, value)| derive(key, &value));
            let new = value.and_then(|value| derive(key, value));
            if old == new {
                continue;
            }
            timers.extend(old.map(|timer| (timer, false)));
            timers.extend(new.map(|timer| (timer, true)));
        }
        timers.sort_unstable();
        Ok(timers)
    }

    /// What is stored under the keys of `profiles`, with their places. What a restore of an empty store
    /// has not seen is not stored.
    fn stored(&mut self, profiles: &[Profile<'_>]) -> Result<Vec<(usize, Vec<u8>)>, StoreError> {
        let mut places: Vec<usize> = (0..profiles.len()).collect();
        if let Some(seen) = &mut self.seen {
            places.retain(|place| seen.insert(profiles[*place].0));
        }
        let keys = places.iter().map(|place| profiles[*place].0);
        let found = self.db.batched_multi_get_cf(self.family()?, keys, true);
        let mut stored = Vec::new();
        for (place, value) in places.into_iter().zip(found) {
            if let Some(value) = value.map_err(|e| self.error(e))? {
                stored.push((place, value.to_vec()));
            }
        }
        Ok(stored)
    }
}
