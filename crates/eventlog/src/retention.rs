//! Removing what need not be kept.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use domain::time::TimeMs;
use rocksdb::WriteBatch;

use crate::codec::{self, Bounds};
use crate::error::EventLogError;
use crate::log::{EmbeddedLog, Options};
use crate::read::Next;
use crate::topic::{Cleanup, Partition, Topic, lock};

/// What a key costs in the compaction's map besides its bytes.
const KEY_OVERHEAD: usize = 64;
/// How many records are removed by one write.
const REMOVED_AT_ONCE: usize = 10_000;

/// The lowest position that any task has in a partition (by topic id and partition).
type Positions = BTreeMap<(u16, u32), u64>;

impl EmbeddedLog {
    /// Removes what the topics' policies allow to be removed at `now`, and answers how many
    /// records that were. May run beside everything else.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn enforce_retention(&self, now: TimeMs) -> Result<u64, EventLogError> {
        self.enforce_retention_unless(now, &|| false)
    }

    /// As [`EmbeddedLog::enforce_retention`], but ends before the next partition once `stop` says
    /// so: compaction of a large changelog takes a while.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn enforce_retention_unless(
        &self,
        now: TimeMs,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, EventLogError> {
        let _removal = lock(&self.removal);
        let positions = self.lowest_positions()?;
        let mut removed = 0;
        for topic in self.all_topics() {
            for partition in 0..topic.partitions.len() as u32 {
                if stop() {
                    return Ok(removed);
                }
                removed += match topic.cleanup() {
                    Cleanup::Keep => 0,
                    Cleanup::Compact => self.compact(&topic, partition, now)?,
                    Cleanup::Delete {
                        retention_ms,
                        retention_bytes,
                    } => {
                        let limits = (retention_ms, retention_bytes);
                        let consumed = positions.get(&(topic.id, partition)).copied();
                        self.trim(&topic, partition, now, limits, consumed)?
                    }
                };
            }
        }
        Ok(removed)
    }

    fn lowest_positions(&self) -> Result<Positions, EventLogError> {
        let mut lowest = Positions::new();
        let mut entries = self.db.raw_iterator();
        entries.seek([codec::POSITION]);
        while let Some((key, value)) = entries.item().filter(|(k, _)| k[0] == codec::POSITION) {
            let parsed = codec::position_source(key).zip(codec::parse_u64(value));
            let (source, position) =
                parsed.ok_or_else(|| self.corrupt("a position cannot be understood"))?;
            let known = lowest.entry(source).or_insert(position);
            *known = position.min(*known);
            entries.next();
        }
        entries.status().map_err(|e| self.error(e))?;
        Ok(lowest)
    }

    /// Removes a partition's records from the front.
    fn trim(
        &self,
        topic: &Topic,
        partition: u32,
        now: TimeMs,
        (retention_ms, retention_bytes): (Option<u64>, Option<u64>),
        consumed: Option<u64>,
    ) -> Result<u64, EventLogError> {
        let place = &topic.partitions[partition as usize];
        let (bounds, end) = (place.bounds(), place.end());
        let mut start = bounds.start;
        if let Some(ms) = retention_ms {
            let oldest = now.minus(i64::try_from(ms).unwrap_or(i64::MAX));
            start = start.max(self.first_since(topic, partition, start..end, oldest)?);
        }
        if let Some(bytes) = retention_bytes {
            start = start.max(self.first_within(topic, partition, place, bytes)?);
        }
        let start = start.min(consumed.unwrap_or(end)).min(end);
        if start <= bounds.start {
            return Ok(0);
        }
        let removed = start - bounds.start;
        let records = self.records()?;
        let first = codec::record_key(topic.id, partition, 0);
        let after = codec::record_key(topic.id, partition, start);
        let bounds = Bounds {
            start,
            end,
            ..bounds
        };
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(records, first, after);
        batch.delete_range(
            codec::index_key(topic.id, partition, 0),
            codec::index_key(topic.id, partition, start),
        );
        batch.put(codec::bounds_key(topic.id, partition), bounds.to_bytes());
        self.write_meta(batch)?;
        place.set_bounds(bounds);
        // Gives whole files back at once; the rest goes with compaction.
        self.db
            .delete_file_in_range_cf(records, first, after)
            .map_err(|e| self.error(e))?;
        Ok(removed)
    }

    /// The first offset of a record taken in at `oldest` or later. The log's time only grows, so
    /// halving finds it; where a clock was set back, a few records stay longer.
    fn first_since(
        &self,
        topic: &Topic,
        partition: u32,
        offsets: Range<u64>,
        oldest: TimeMs,
    ) -> Result<u64, EventLogError> {
        let (mut low, mut high) = (offsets.start, offsets.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut taken_in = None;
            self.visit(topic, partition, middle..high, |_, _, view| {
                taken_in = Some(view.timestamp);
                Ok::<Next, EventLogError>(Next::Stop)
            })?;
            if taken_in.is_some_and(|time| time < oldest) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last indexed offset that has more than `keep` bytes behind it.
    fn first_within(
        &self,
        topic: &Topic,
        partition: u32,
        place: &Partition,
        keep: u64,
    ) -> Result<u64, EventLogError> {
        let appended = lock(&place.tail).bytes;
        let prefix = codec::index_key(topic.id, partition, 0);
        let mut start = 0;
        let mut index = self.db.raw_iterator();
        index.seek(&prefix);
        while let Some((key, value)) = index.item().filter(|(k, _)| k.starts_with(&prefix[..7])) {
            let parsed = codec::offset_of(key).zip(codec::parse_u64(value));
            let (offset, before) =
                parsed.ok_or_else(|| self.corrupt("an index entry cannot be understood"))?;
            if appended.saturating_sub(before) < keep {
                break;
            }
            start = offset;
            index.next();
        }
        index.status().map_err(|e| self.error(e))?;
        Ok(start)
    }

    /// Removes records that newer ones of the same key supersede, and old tombstones. Each round
    /// reads the partition once for as many new keys as fit the memory.
    fn compact(&self, topic: &Topic, partition: u32, now: TimeMs) -> Result<u64, EventLogError> {
        let place = &topic.partitions[partition as usize];
        let Options {
            compact_min_records,
            tombstone_retention_ms,
            ..
        } = self.options;
        let kept_since = now.minus(i64::try_from(tombstone_retention_ms).unwrap_or(i64::MAX));
        // Reading everything again pays only when about as much has come in as there was.
        let bounds = place.bounds();
        let fresh = place.end() - bounds.clean_end;
        if fresh == 0 || fresh < compact_min_records.max(bounds.clean_records) {
            return Ok(0);
        }
        let end = place.end();
        let mut removed = 0;
        while place.bounds().clean_end < end {
            let newest = self.newest(topic, partition, place.bounds().clean_end..end)?;
            removed += self.remove_superseded(topic, partition, &newest, kept_since)?;
        }
        Ok(removed)
    }

    /// The newest offset of each key in `offsets`, as far as memory goes.
    fn newest(
        &self,
        topic: &Topic,
        partition: u32,
        offsets: Range<u64>,
    ) -> Result<Newest, EventLogError> {
        let mut newest = Newest {
            by_key: HashMap::new(),
            end: offsets.end,
        };
        let mut bytes = 0;
        self.visit(topic, partition, offsets, |offset, _, view| {
            let key = view.key.unwrap_or_default();
            if let Some(known) = newest.by_key.get_mut(key) {
                *known = offset;
                return Ok::<Next, EventLogError>(Next::Continue);
            }
            if bytes >= self.options.compact_memory && !newest.by_key.is_empty() {
                newest.end = offset;
                return Ok(Next::Stop);
            }
            bytes += key.len() + KEY_OVERHEAD;
            newest.by_key.insert(key.to_vec(), offset);
            Ok(Next::Continue)
        })?;
        Ok(newest)
    }

    fn remove_superseded(
        &self,
        topic: &Topic,
        partition: u32,
        newest: &Newest,
        kept_since: TimeMs,
    ) -> Result<u64, EventLogError> {
        let place = &topic.partitions[partition as usize];
        let records = self.records()?;
        let mut batch = WriteBatch::default();
        let mut bounds = place.bounds();
        let mut removed = 0;
        bounds.clean_records = 0;
        self.visit(
            topic,
            partition,
            bounds.start..newest.end,
            |offset, _, view| {
                let known = newest.by_key.get(view.key.unwrap_or_default());
                let superseded = known.is_some_and(|newest| *newest > offset);
                let forgotten = view.value.is_none() && view.timestamp < kept_since;
                if forgotten {
                    bounds.forgotten_end = bounds.forgotten_end.max(offset + 1);
                }
                if !superseded && !forgotten {
                    bounds.clean_records += 1;
                    return Ok::<Next, EventLogError>(Next::Continue);
                }
                batch.delete_cf(records, codec::record_key(topic.id, partition, offset));
                removed += 1;
                if batch.len() >= REMOVED_AT_ONCE {
                    // The bound is stored before what it stands for is gone.
                    batch.put(
                        codec::bounds_key(topic.id, partition),
                        self.passing(place, bounds),
                    );
                    self.write_meta(std::mem::take(&mut batch))?;
                }
                Ok(Next::Continue)
            },
        )?;
        bounds.clean_end = newest.end;
        bounds.end = place.end();
        batch.put(codec::bounds_key(topic.id, partition), bounds.to_bytes());
        self.write_meta(batch)?;
        place.set_bounds(bounds);
        Ok(removed)
    }

    /// The bounds to store while a compaction is under way: what is clean has not moved yet, but
    /// the end must outlive the removal of the last record.
    fn passing(&self, place: &Partition, under_way: Bounds) -> Vec<u8> {
        let bounds = Bounds {
            end: place.end(),
            forgotten_end: under_way.forgotten_end,
            ..place.bounds()
        };
        bounds.to_bytes()
    }
}

/// The newest offset of each key in a stretch of a partition, and where that stretch ends.
struct Newest {
    by_key: HashMap<Vec<u8>, u64>,
    end: u64,
}
