//! What the topics of an application hold, as the checker reads it: a port with several sides (Kafka,
//! the embedded log, a simulated log).
//!
//! Invariant of the contract: only committed records are handed over, in the order of their offsets.
//! Offsets without a record (markers of transactions, aborted records, what compaction removed) are
//! gaps, and nothing else tells them.

use std::collections::BTreeMap;

use domain::time::TimeMs;
use engine::port::TopicPartition;

/// A committed record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its offset.
    pub offset: u64,
    /// When the log took it in.
    pub timestamp: TimeMs,
    /// Key bytes, if any.
    pub key: Option<Vec<u8>>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What is there of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// The first offset that retention has left; 0 where it has removed nothing.
    pub begin: u64,
    /// The offset after the last record that counts.
    pub end: u64,
}

/// The group's committed offsets; `None` where there is none.
pub type Committed = BTreeMap<TopicPartition, Option<u64>>;

/// What the topics of an application hold.
pub trait History {
    /// The log cannot be read.
    type Error;

    /// What there is of `at`; empty bounds where there is no such partition. The first answer for a
    /// partition holds for the check of one task: whatever is written later is not looked at. The
    /// checker asks for the end of `internal.commits` and reads to it before it asks for any other end,
    /// so that everything that those commits consumed and wrote lies within the bounds.
    ///
    /// # Errors
    /// The log cannot be read.
    fn bounds(&mut self, at: &TopicPartition) -> Result<Bounds, Self::Error>;

    /// Up to `max` records of `at` from offset `from` on, none at or beyond the end of its bounds. No
    /// records: there are no more.
    ///
    /// # Errors
    /// The log cannot be read.
    fn read(
        &mut self,
        at: &TopicPartition,
        from: u64,
        max: usize,
    ) -> Result<Vec<Entry>, Self::Error>;

    /// The group's committed offset of each of `inputs`, which `task` reads; `None` where nothing
    /// keeps any.
    ///
    /// # Errors
    /// They cannot be told.
    fn committed(
        &mut self,
        _task: u32,
        _inputs: &[TopicPartition],
    ) -> Result<Option<Committed>, Self::Error> {
        Ok(None)
    }

    /// Whether `at` has got more records since its bounds were asked for, so that what stands behind
    /// the last commit that is checked may belong to later ones.
    ///
    /// # Errors
    /// The log cannot be read.
    fn has_grown(&mut self, _at: &TopicPartition) -> Result<bool, Self::Error> {
        Ok(false)
    }
}
