//! What every RocksDB of the process shares: one block cache, one write-buffer manager, one memory
//! budget; and what its error messages mean.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{
    BlockBasedOptions, Cache, DataBlockIndexType, LogLevel, Options, WriteBufferManager,
};

use crate::tails::{Tail, Tails};

const MIB: usize = 1 << 20;
/// What the default is at least.
const SMALLEST_DEFAULT: usize = 64 * MIB;
/// With less than this, RocksDB only thrashes.
const SMALLEST_ROCKSDB: usize = 16 * MIB;
/// More than this is only taken when asked for.
const LARGEST_DEFAULT: usize = 4096 * MIB;

/// The memory that all stores and logs of the process share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    block_cache: Cache,
    write_buffers: WriteBufferManager,
    profile_cache_bytes: usize,
    open_stores: Arc<AtomicUsize>,
    tails: Arc<Tails>,
    budget: usize,
}

impl Shared {
    /// Divides `budget` bytes: half for the write-back caches, half for RocksDB's block cache, to
    /// which memtables are charged.
    #[must_use]
    pub fn new(budget: usize) -> Shared {
        let block_cache = Cache::new_lru_cache((budget / 2).max(SMALLEST_ROCKSDB));
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            (budget / 4).max(SMALLEST_ROCKSDB),
            false,
            block_cache.clone(),
        );
        Shared {
            block_cache,
            write_buffers,
            profile_cache_bytes: budget / 2,
            open_stores: Arc::new(AtomicUsize::new(0)),
            tails: Arc::new(Tails::new()),
            budget,
        }
    }

    /// The bytes that were divided.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Lets all stores together have at most `bytes` of changelog that is not in RocksDB: where they
    /// have more, the one that has most writes a checkpoint.
    pub fn limit_changelog_tails(&self, bytes: usize) {
        self.tails.limit(bytes);
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tails.enter()
    }

    /// With [`Shared::default_budget`].
    #[must_use]
    pub fn with_default_budget() -> Shared {
        Shared::new(Shared::default_budget())
    }

    /// Half of what the process may still use, by its cgroup's limit and the machine's available
    /// memory, and at most 4 GiB.
    #[must_use]
    pub fn default_budget() -> usize {
        let available = [cgroup_limit(), mem_available()]
            .into_iter()
            .flatten()
            .min();
        available
            .map_or(512 * MIB, |bytes| bytes / 2)
            .clamp(SMALLEST_DEFAULT, LARGEST_DEFAULT)
    }

    /// Options that hold for every RocksDB of the process. Atomic flush is on: with several column
    /// families, a crash without WAL leaves all of them at the same point.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_atomic_flush(true);
        // Checksums of blocks are verified at every read; with this, what is found damaged in the
        // background stops writes as well.
        options.set_paranoid_checks(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_arena_block_size(64 << 10);
        options.set_max_background_jobs(2);
        options.set_max_open_files(128);
        options.set_bytes_per_sync(MIB as u64);
        // A manifest entry is written with every flush, and flushes are frequent.
        options.set_max_manifest_file_size(4 * MIB);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(MIB);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// Options of the table files: blocks, their index and filter live in the shared cache.
    #[must_use]
    pub fn table_options(&self) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.block_cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_block_size(16 << 10);
        table.set_format_version(6);
        table
    }

    /// As [`Shared::table_options`], made for reading single keys.
    #[must_use]
    pub(crate) fn point_lookup_options(&self) -> BlockBasedOptions {
        let mut table = self.table_options();
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        table.set_optimize_filters_for_memory(true);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table
    }

    /// Bytes that block cache and memtables hold at the moment.
    #[must_use]
    pub fn rocksdb_bytes(&self) -> usize {
        self.block_cache.get_usage()
    }

    pub(crate) fn enter(&self) -> Share {
        self.open_stores.fetch_add(1, Ordering::Relaxed);
        Share {
            total: self.profile_cache_bytes,
            open_stores: Arc::clone(&self.open_stores),
            is_aside: false,
        }
    }
}

/// One store's share of the memory for write-back caches: it shrinks as further stores open.
pub(crate) struct Share {
    total: usize,
    open_stores: Arc<AtomicUsize>,
    /// It makes do with a little, and the others' shares are what they would be without it.
    is_aside: bool,
}

/// The part of the whole that a store gets by which nobody works.
const ASIDE: usize = 16;

impl Share {
    pub(crate) fn bytes(&self) -> usize {
        match self.is_aside {
            true => self.total / ASIDE,
            false => self.total / self.open_stores.load(Ordering::Relaxed).max(1),
        }
    }

    pub(crate) fn step_aside(&mut self) {
        if !std::mem::replace(&mut self.is_aside, true) {
            self.open_stores.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if !self.is_aside {
            self.open_stores.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What an error of RocksDB means to whoever runs the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Somebody else has the folder open.
    Locked,
    /// The device is full, or a quota is reached.
    DiskFull,
    /// Reading or writing the folder is not permitted.
    Denied,
    /// The data is damaged.
    Corrupt,
    /// A file is not there.
    Missing,
    /// Something else; the message is all there is.
    Other,
}

impl Fault {
    /// Classifies `error` by its kind and, where RocksDB gives only that, by its words.
    #[must_use]
    pub fn of(error: &rocksdb::Error) -> Fault {
        let message: &str = error.as_ref();
        if message.contains("While lock file") || message.contains("lock hold by current process") {
            Fault::Locked
        } else if message.contains("No space left") || message.contains("quota exceeded") {
            Fault::DiskFull
        } else if message.contains("Permission denied")
            || message.contains("PermissionDenied")
            || message.contains("Read-only file system")
        {
            Fault::Denied
        } else if error.kind() == rocksdb::ErrorKind::Corruption {
            Fault::Corrupt
        } else if message.contains("No such file or directory") {
            Fault::Missing
        } else {
            Fault::Other
        }
    }
}

/// The lowest memory limit of this process's control group and those above it.
fn cgroup_limit() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let root = PathBuf::from("/sys/fs/cgroup");
    let leaf = root.join(own.unwrap_or("/").trim_start_matches('/'));
    let unified = leaf
        .ancestors()
        .take_while(|folder| folder.starts_with(&root))
        .filter_map(|folder| read_bytes(&folder.join("memory.max")))
        .min();
    unified.or_else(|| read_bytes(&root.join("memory/memory.limit_in_bytes")))
}

/// A file that holds a number of bytes; `None` for `max` and for what is not there.
fn read_bytes(path: &Path) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn mem_available() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_budget_is_within_its_bounds() {
        let budget = Shared::default_budget();
        assert!((SMALLEST_DEFAULT..=LARGEST_DEFAULT).contains(&budget));
    }

    #[test]
    fn stores_share_the_cache_budget_evenly() {
        let shared = Shared::new(128 * MIB);
        let first = shared.enter();
        assert_eq!(first.bytes(), 64 * MIB);
        let second = shared.enter();
        assert_eq!((first.bytes(), second.bytes()), (32 * MIB, 32 * MIB));
        drop(second);
        assert_eq!(first.bytes(), 64 * MIB);
    }

    #[test]
    fn a_store_that_stands_by_leaves_the_budget_to_the_others() {
        let shared = Shared::new(128 * MIB);
        let (works, mut stands_by) = (shared.enter(), shared.enter());
        for _ in 0..2 {
            stands_by.step_aside();
            assert_eq!((works.bytes(), stands_by.bytes()), (64 * MIB, 4 * MIB));
        }
        drop(stands_by);
        assert_eq!(works.bytes(), 64 * MIB);
    }
}
