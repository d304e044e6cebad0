//! How the log's RocksDB is set up, and what opening it reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::port::TopicName;
use rocksdb::{
    DBCompactionStyle, DBCompressionType, IteratorMode, Options as DbOptions,
    UniversalCompactOptions, WriteBatch,
};
use store::Shared;

use crate::codec::{self, Bounds};
use crate::error::EventLogError;
use crate::log::EmbeddedLog;
use crate::topic::{Cleanup, Partition, Tail, Topic};

/// The format of what the log writes; a log of another format is refused.
const FORMAT: u8 = 1;

impl EmbeddedLog {
    /// Reads format and incarnation; a new log gets them.
    pub(crate) fn load_head(&self) -> Result<Vec<u8>, EventLogError> {
        if let Some(incarnation) = self.read_head()? {
            return Ok(incarnation);
        }
        if self.db.iterator(IteratorMode::Start).next().is_some() {
            return Err(self.corrupt("it holds entries and no head record"));
        }
        let identity = self.db.get_db_identity().map_err(|e| self.error(e))?;
        let mut batch = WriteBatch::default();
        batch.put(codec::HEAD, [&[FORMAT], identity.as_slice()].concat());
        self.write_meta(batch)?;
        Ok(identity)
    }

    /// The incarnation; `None` where nothing has been written yet.
    pub(crate) fn read_head(&self) -> Result<Option<Vec<u8>>, EventLogError> {
        let head = self.db.get(codec::HEAD).map_err(|e| self.error(e))?;
        let Some(head) = head else {
            return Ok(None);
        };
        match head.split_first() {
            Some((&FORMAT, incarnation)) => Ok(Some(incarnation.to_vec())),
            Some((&found, _)) => Err(EventLogError::Format {
                path: self.dir.clone(),
                found,
                expected: FORMAT,
            }),
            None => Err(self.corrupt("its head record is empty")),
        }
    }

    pub(crate) fn load_topics(&self) -> Result<BTreeMap<TopicName, Arc<Topic>>, EventLogError> {
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

pub(crate) fn db_options(shared: &Shared) -> DbOptions {
    let mut options = shared.options();
    // Writes come one at a time: plain inserts remember where the last one went.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_total_wal_size(256 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options
}

/// Positions and marks: few and often rewritten.
pub(crate) fn meta_options(shared: &Shared) -> DbOptions {
    let mut options = shared.options();
    options.set_write_buffer_size(4 << 20);
    options.set_block_based_table_factory(&shared.table_options());
    options
}

/// Records: written once, in key order within each partition, and read in that order. Universal
/// compaction rewrites them least often.
pub(crate) fn record_options(shared: &Shared) -> DbOptions {
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
