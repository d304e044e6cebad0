//! What the engine needs from the outside: a log to read from and commit to, and a store to read
//! committed state from. Each port has a real side (crates `eventlog`, `store`) and an in-memory
//! one for tests and simulation.
//!
//! Invariants of the contract:
//! - A commit is atomic: all records, and all positions, of every [`Staged`] in it, or nothing.
//! - Only a successful commit makes a [`Committed`], and only a `Committed` reaches the store: what
//!   is not committed cannot be written to state.
//! - The store answers reads with committed values only, the newest one applied.

use std::sync::Arc;

use domain::time::TimeMs;

use crate::chain::Head;
use crate::trial::Place;

/// The name of a topic, shared between records.
pub type TopicName = Arc<str>;

/// One partition of one topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// Topic name, with the application's prefix where it has one.
    pub topic: TopicName,
    /// Partition number, from 0.
    pub partition: u32,
}

/// A header of a record: name and value.
pub type Header = (&'static str, Vec<u8>);

/// A record as the log yields it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it was read from.
    pub source: TopicPartition,
    /// Its offset there.
    pub offset: u64,
    /// When the log took it in (wall clock of the writer; Kafka's record timestamp).
    pub timestamp: TimeMs,
    /// Key bytes, if any.
    pub key: Option<Vec<u8>>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A record to be written, with an explicit partition: nothing here is ever partitioned by the
/// log's own default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutRecord {
    /// Where to.
    pub target: TopicPartition,
    /// Key bytes, if any.
    pub key: Option<Vec<u8>>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order. Empty on the changelog and on routed records.
    pub headers: Vec<Header>,
}

/// The tables of a task's state. The number is the first byte of a key in store and changelog and
/// never changes its meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// Entity key → entity bytes (customers, visitors, guest orders).
    Profiles = 1,
    /// Due instant (big-endian, sign bit flipped) and entity key → empty. Derived from profiles,
    /// so never in the changelog.
    Timers = 2,
    /// Day (big-endian) → this task's partial totals of the shop's day.
    Days = 3,
    /// The task's own bookkeeping: clocks, counters.
    Meta = 4,
    /// Repeat purchases, first and last day → this task's part of how many customers have them.
    OrderCells = 5,
    /// Repeat purchases and magnitude of their total → this task's part of these customers and their spend.
    SpendCells = 6,
    /// Version (big-endian) → parameters of a model of value that profiles stand under.
    Models = 7,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 7] = [
        Table::Profiles,
        Table::Timers,
        Table::Days,
        Table::Meta,
        Table::OrderCells,
        Table::SpendCells,
        Table::Models,
    ];

    /// Whether writes to this table go to the changelog.
    #[must_use]
    pub fn is_logged(self) -> bool {
        !matches!(self, Table::Timers)
    }

    /// The key as it stands in store and changelog: the table's byte, then `key`.
    #[must_use]
    pub fn full_key(self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(1 + key.len());
        full.push(self as u8);
        full.extend_from_slice(key);
        full
    }

    /// The inverse of [`Table::full_key`].
    #[must_use]
    pub fn split(full: &[u8]) -> Option<(Table, &[u8])> {
        let (tag, key) = full.split_first()?;
        let table = Table::ALL.into_iter().find(|t| *t as u8 == *tag)?;
        Some((table, key))
    }
}

/// One write to a task's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Which table.
    pub table: Table,
    /// Key within the table, without the table's byte.
    pub key: Vec<u8>,
    /// New value; `None` deletes.
    pub value: Option<Arc<[u8]>>,
}

/// What one batch of one task wants to happen, as a whole. Only a commit can make it happen.
#[must_use = "staged work has no effect until it is committed"]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Staged {
    /// The task.
    pub task: u32,
    /// Everything to be written to the log: outputs, dead letters, routed records, changelog.
    pub records: Vec<OutRecord>,
    /// State writes, one per key, sorted by (table, key); the bookkeeping comes last.
    pub delta: Vec<Write>,
    /// Next offset to read, for every input partition that this batch consumed from.
    pub positions: Vec<(TopicPartition, u64)>,
    /// The head of the task's chain after this commit, to be kept beside the positions.
    pub head: Head,
}

impl Staged {
    /// Turns staged work into committed work. To be called by a log's `commit`, and by nothing
    /// else, once the commit is durable. `changelog_end` is the offset after this task's last
    /// record in its changelog partition.
    pub fn into_committed(self, changelog_end: u64) -> Committed {
        Committed {
            task: self.task,
            delta: self.delta,
            changelog_end,
        }
    }
}

/// State writes whose commit is durable.
#[must_use = "committed writes must be applied to the store"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The task.
    pub task: u32,
    /// State writes, one per key, sorted by (table, key); the bookkeeping comes last.
    pub delta: Vec<Write>,
    /// The offset after this task's last changelog record: once all of these writes are in the
    /// store, a restore starts here.
    pub changelog_end: u64,
}

/// What to do about a commit that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written; the same work may be staged again.
    #[error("commit aborted: {0}")]
    Abort(String),
    /// Another owner took over; drop everything in memory.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Nobody knows whether it was written: drop everything in memory and take over again from
    /// what the log says.
    #[error("commit outcome unknown: {0}")]
    Indeterminate(String),
    /// The process cannot go on; the message says what to do.
    #[error("{0}")]
    Halt(String),
}

/// What reading a partition gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// Its next records, at least one.
    Records(Vec<Record>),
    /// It has been read to its end.
    CaughtUp,
    /// There may be more, but not at this moment: whatever must not overtake it has to wait.
    NotYet,
}

impl Read {
    /// What was read; empty if there was nothing to read.
    #[must_use]
    pub fn records(self) -> Vec<Record> {
        match self {
            Read::Records(records) => records,
            Read::CaughtUp | Read::NotYet => Vec::new(),
        }
    }
}

impl From<Vec<Record>> for Read {
    /// For a log that always has at hand whatever there is: no records means its end.
    fn from(records: Vec<Record>) -> Read {
        if records.is_empty() {
            return Read::CaughtUp;
        }
        Read::Records(records)
    }
}

/// The log as a worker sees it: several tasks' inputs to read, one atomic commit for all of them.
pub trait WorkerLog {
    /// Up to `max` further records of `source` from where reading stands, without waiting.
    ///
    /// # Errors
    /// The log cannot be read; the worker stops with the message.
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError>;

    /// Commits all of `staged` atomically and returns them as committed, in the same order.
    ///
    /// # Errors
    /// See [`CommitError`]: each variant names what the caller does next. After any of them,
    /// reading of the tasks' inputs stands again at their committed positions.
    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError>;

    /// Makes durable that this process is about to work on `tasks`, and, of the only one of them, to try
    /// the record at `place`: whoever takes over from a process that dies now finds it. Called with
    /// nothing uncommitted. A log whose tasks nobody takes over has nothing to do.
    ///
    /// # Errors
    /// As [`WorkerLog::commit`].
    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError>;
}

/// The log cannot be read or written; the message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LogError(pub String);

/// Committed state of one task, for reading.
pub trait StateReader {
    /// The value of one key.
    ///
    /// # Errors
    /// The store cannot be read or is corrupt.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError>;

    /// The values of `keys`, which are sorted and distinct, in the same order.
    ///
    /// # Errors
    /// The store cannot be read or is corrupt.
    fn multi_get(&self, table: Table, keys: &[&[u8]])
    -> Result<Vec<Option<Arc<[u8]>>>, StateError>;

    /// Up to `limit` entries of `table` with key ≥ `from`, in key order. The answer's keys are
    /// without the table's byte.
    ///
    /// # Errors
    /// The store cannot be read or is corrupt.
    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError>;
}

/// State of one task, for a worker: committed writes go in.
pub trait StateStore: StateReader {
    /// Takes in what was committed; reads see it from now on.
    ///
    /// # Errors
    /// The store cannot be written; the log has everything, so that a restart loses nothing.
    fn apply(&mut self, committed: Committed) -> Result<(), StateError>;

    /// What was read from this store is damaged, in a way that the store itself could not see: whoever
    /// opens it next must not use it. A store that is not kept has nothing to do.
    fn condemn(&mut self, what: &str) {
        let _ = what;
    }
}

/// A key and its value, as a scan yields them.
pub type Entry = (Vec<u8>, Arc<[u8]>);

/// The state cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written; the message says what to do.
    #[error("{0}")]
    Failed(String),
    /// What is kept is damaged. It is never used again: whoever opens the task next rebuilds its state
    /// from the changelog.
    #[error("{0}")]
    Damaged(String),
}
