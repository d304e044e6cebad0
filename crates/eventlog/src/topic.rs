//! Topics and partitions as they stand in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::port::TopicName;

use crate::codec::Bounds;

/// What becomes of a topic's old records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cleanup {
    /// They are removed from the front, once every task has consumed them and one of the limits
    /// says so. Without a limit they stay.
    Delete {
        /// Older than this, by the log's time.
        retention_ms: Option<u64>,
        /// Beyond this many bytes a partition (to a mebibyte).
        retention_bytes: Option<u64>,
    },
    /// The newest record of each key stays; a tombstone goes after a while.
    Compact,
    /// Everything stays.
    Keep,
}

impl Cleanup {
    pub(crate) fn to_bytes(self) -> [u8; 17] {
        let (kind, ms, bytes) = match self {
            Cleanup::Keep => (0, None, None),
            Cleanup::Compact => (1, None, None),
            Cleanup::Delete {
                retention_ms,
                retention_bytes,
            } => (2, retention_ms, retention_bytes),
        };
        let mut out = [0; 17];
        out[0] = kind;
        out[1..9].copy_from_slice(&ms.unwrap_or(u64::MAX).to_be_bytes());
        out[9..].copy_from_slice(&bytes.unwrap_or(u64::MAX).to_be_bytes());
        out
    }

    pub(crate) fn parse(bytes: &[u8; 17]) -> Option<Cleanup> {
        let limit = |range: std::ops::Range<usize>| {
            let number = crate::codec::parse_u64(&bytes[range])?;
            Some(Some(number).filter(|n| *n != u64::MAX))
        };
        match bytes[0] {
            0 => Some(Cleanup::Keep),
            1 => Some(Cleanup::Compact),
            2 => Some(Cleanup::Delete {
                retention_ms: limit(1..9)?,
                retention_bytes: limit(9..17)?,
            }),
            _ => None,
        }
    }
}

/// A topic, for listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has.
    pub partitions: u32,
    /// What becomes of old records.
    pub cleanup: Cleanup,
}

pub(crate) struct Topic {
    pub(crate) id: u16,
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<Partition>,
    cleanup: Mutex<Cleanup>,
}

impl Topic {
    pub(crate) fn new(
        id: u16,
        name: TopicName,
        partitions: Vec<Partition>,
        cleanup: Cleanup,
    ) -> Topic {
        Topic {
            id,
            name,
            partitions,
            cleanup: Mutex::new(cleanup),
        }
    }

    pub(crate) fn cleanup(&self) -> Cleanup {
        *lock(&self.cleanup)
    }

    pub(crate) fn set_cleanup(&self, cleanup: Cleanup) {
        *lock(&self.cleanup) = cleanup;
    }

    pub(crate) fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.clone(),
            partitions: self.partitions.len() as u32,
            cleanup: self.cleanup(),
        }
    }
}

/// Where a partition stands.
pub(crate) struct Partition {
    /// The offset after the last record that readers may see.
    end: AtomicU64,
    bounds: Mutex<Bounds>,
    /// Only touched while the log's writer is held.
    pub(crate) tail: Mutex<Tail>,
}

/// Where the next record of a partition goes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tail {
    /// Its offset.
    pub(crate) next: u64,
    /// Bytes appended so far.
    pub(crate) bytes: u64,
    /// Bytes appended when the index last got an entry.
    pub(crate) indexed: u64,
}

impl Partition {
    pub(crate) fn new(bounds: Bounds, tail: Tail) -> Partition {
        Partition {
            end: AtomicU64::new(tail.next),
            bounds: Mutex::new(bounds),
            tail: Mutex::new(tail),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Lets readers see everything below `end`.
    pub(crate) fn publish(&self, end: u64) {
        self.end.fetch_max(end, Ordering::AcqRel);
    }

    pub(crate) fn bounds(&self) -> Bounds {
        *lock(&self.bounds)
    }

    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        *lock(&self.bounds) = bounds;
    }
}

/// Locks `mutex`. What it guards is whole at every moment, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
