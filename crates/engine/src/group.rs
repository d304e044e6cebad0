//! What a member of the group needs from the outside, beyond [`crate::port`]: to be told which
//! tasks it has, to take them over, to read their changelogs, and a place where stores come from.
//! Each port has a real side (crates `kafkalog`, `runtime`) and one in memory.
//!
//! Invariants of the contract:
//! - A claim is atomic, and is refused to whoever is no longer the tasks' owner. Once it has succeeded
//!   nobody else's commit of these tasks can: everything before the owner record is all there will
//!   ever be of earlier owners.
//! - A changelog yields what is committed, in order, and ends where its span does: an open
//!   transaction before that end is waited for.
//! - A store is open once at a time.

use std::fmt::Display;
use std::time::Duration;

use crate::port::{CommitError, StateError, StateStore, TopicPartition, WorkerLog};
use crate::trial::Beside;

/// A change of what this member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// These tasks are its own now, and are to be taken over.
    Assigned(Vec<u32>),
    /// These tasks go to somebody else; everything of them was committed before.
    Revoked(Vec<u32>),
    /// These tasks have gone to somebody else already: the group has not heard of this member for
    /// too long.
    Lost(Vec<u32>),
}

/// A task that was claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// The task.
    pub task: u32,
    /// Its changelog is to be read to here: the owner record is the last before it.
    pub changelog_end: u64,
    /// What stands beside its committed positions since the claim. After the restore its bookkeeping must
    /// have the same head, if one stood there.
    pub beside: Beside,
}

/// Why tasks could not be claimed.
#[derive(Debug)]
pub enum ClaimError<E> {
    /// Not now: the group is changing. It is tried again.
    NotNow(String),
    /// Not as it is.
    Failed(E),
}

/// A span of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The partition.
    pub at: TopicPartition,
    /// First offset to read.
    pub from: u64,
    /// Offset at which to end.
    pub until: u64,
}

/// A record of a changelog, borrowed from whoever reads it.
#[derive(Clone, Copy, Debug)]
pub struct ChangelogRecord<'a> {
    /// Where it stands.
    pub at: &'a TopicPartition,
    /// Its offset.
    pub offset: u64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// An error that says whether it is worth joining anew.
pub trait Passing: Display {
    /// Whether a member that joins anew may do better than the one that met this error.
    fn is_passing(&self) -> bool;
}

impl Passing for StateError {
    /// What is damaged is rebuilt by whoever opens it next.
    fn is_passing(&self) -> bool {
        matches!(self, StateError::Damaged(_))
    }
}

/// The log as a member of the group sees it.
pub trait MemberLog: WorkerLog {
    /// Why it cannot go on.
    type Error: Passing;
    /// What reads changelogs.
    type Changelog: ChangelogReader<Error = Self::Error>;

    /// Serves the group: to be called often, and only when nothing is uncommitted. What goes is not
    /// read any more.
    ///
    /// # Errors
    /// This member cannot go on.
    fn poll(&mut self) -> Result<Vec<Change>, Self::Error>;

    /// Claims `tasks`, each with its inputs: writes their owner records, and commits the positions
    /// that reading starts from, with the claim beside them ([`Beside::claimed`]),
    /// in one transaction under the present membership. Then these
    /// inputs can be read. Nothing may be uncommitted.
    ///
    /// # Errors
    /// See [`ClaimError`]; of a claim that failed nothing remains.
    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<Self::Error>>;

    /// A reader of the changelog records in `spans`.
    ///
    /// # Errors
    /// The log cannot be read.
    fn changelog(&mut self, spans: Vec<Span>) -> Result<Self::Changelog, Self::Error>;

    /// Brings the committed positions to the ends of what was read where nothing was consumed:
    /// behind the markers of transactions.
    ///
    /// # Errors
    /// As [`WorkerLog::commit`].
    fn settle(&mut self) -> Result<(), CommitError>;
}

/// Reads changelogs, a bit at a time.
pub trait ChangelogReader {
    /// Why it cannot go on.
    type Error: Passing;

    /// Hands to `each` what can be had within `budget`; answers whether all spans have been read to
    /// their ends.
    ///
    /// # Errors
    /// The log cannot be read, or `each` fails.
    fn read<E: From<Self::Error>>(
        &mut self,
        budget: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>) -> Result<(), E>,
    ) -> Result<bool, E>;
}

/// State of one task that a changelog brings up to date.
pub trait RestorableStore: StateStore {
    /// The oldest changelog offset whose effect may be missing where the store is kept: a restore
    /// reads from here.
    fn position(&self) -> u64;

    /// Takes in the changelog record at `offset`. Repeating records does no harm as long as the
    /// changelog is then read to its end.
    ///
    /// # Errors
    /// The record is none of a changelog, or the store cannot be written.
    fn restore(&mut self, offset: u64, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError>;

    /// Ends a restore: the changelog has been read up to its end, `end`.
    ///
    /// # Errors
    /// The store holds more than the changelog does.
    fn mark_restored(&mut self, end: u64) -> Result<(), StateError>;

    /// Makes everything that is in the store durable, so that a restore reads only what comes after.
    ///
    /// # Errors
    /// The store cannot be written.
    fn checkpoint(&mut self) -> Result<(), StateError>;
}

/// Where a member's stores come from.
pub trait Stores {
    /// A task's store.
    type Store: RestorableStore;
    /// Why there is none.
    type Error: Passing + From<StateError>;

    /// Opens the store of `task`, as far as it goes: one that the changelog can bring up to date.
    /// `Ok(None)`: somebody else in this process still has it, and it is asked for again.
    ///
    /// # Errors
    /// The store cannot be opened, or the log has less than it.
    fn open(&self, task: u32) -> Result<Option<Self::Store>, Self::Error>;

    /// Closes the store of a task that goes. From then on others may open it. What was to be kept
    /// of it has been checkpointed. A store that is dropped otherwise, with a session that broke,
    /// is free once the `Stores` that it is from is gone too.
    ///
    /// # Errors
    /// The store cannot be closed.
    fn close(&self, task: u32, store: Self::Store) -> Result<(), Self::Error>;
}
