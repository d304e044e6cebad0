//! Taking claimed tasks over: what the changelog has beyond their stores is read, up to the owner
//! records; a little at a time, so that the group is looked after and the tasks that are there
//! already go on.
//!
//! Invariants:
//! - A task is opened only when the changelog has been read to the owner record that this member wrote:
//!   nobody else writes behind it, and everything before it is in the store. Where that very record
//!   is not there any more, somebody else has claimed the task since, and compaction may have taken
//!   away more of what was to be read: what was restored is not looked at, and the session ends.
//! - It is opened only if changelog and committed positions are of the same commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Broken, Failure, Rejoin};
use crate::chain::Head;
use crate::group::{ChangelogReader, ChangelogRecord, Claimed, Passing, RestorableStore, Span};
use crate::port::{StateError, TopicPartition};
use crate::task::{Setup, Task};
use crate::worker::{Owned, condemning};

/// How far the restore of a task has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The task.
    pub task: u32,
    /// Changelog records read so far.
    pub records: u64,
    /// Their bytes, keys and values.
    pub bytes: u64,
    /// Offsets that are done. Compaction leaves gaps: these, not records, say how far it is to the
    /// end.
    pub done: u64,
    /// Offsets to do in all.
    pub total: u64,
}

/// A store that is being brought up to date.
pub(super) struct Restoring<S> {
    pub(super) store: S,
    inputs: Vec<TopicPartition>,
    from: u64,
    next: u64,
    until: u64,
    head: Option<Head>,
    records: u64,
    /// Whether the owner record of the claim was read.
    has_owner: bool,
    bytes: u64,
}

impl<S: RestorableStore> Restoring<S> {
    /// The store of a task that was claimed with `inputs`.
    pub(super) fn new(store: S, inputs: Vec<TopicPartition>, claimed: &Claimed) -> Restoring<S> {
        let from = store.position();
        Restoring {
            store,
            inputs,
            from,
            next: from,
            until: claimed.changelog_end,
            head: claimed.beside.head,
            records: 0,
            has_owner: false,
            bytes: 0,
        }
    }

    /// What is to be read of its changelog.
    pub(super) fn span(&self, changelog: TopicPartition) -> Span {
        Span {
            at: changelog,
            from: self.from,
            until: self.until,
        }
    }

    fn take(&mut self, record: ChangelogRecord<'_>) -> Result<(), StateError> {
        let key = record.key.unwrap_or_default();
        self.store.restore(record.offset, key, record.value)?;
        self.records += 1;
        self.bytes += (key.len() + record.value.map_or(0, <[u8]>::len)) as u64;
        self.next = record.offset + 1;
        self.has_owner |= self.next == self.until;
        Ok(())
    }

    fn progress(&self, task: u32) -> Progress {
        Progress {
            task,
            records: self.records,
            bytes: self.bytes,
            done: self.next.min(self.until).saturating_sub(self.from),
            total: self.until.saturating_sub(self.from),
        }
    }

    fn open(mut self, task: u32, setup: &Arc<Setup>) -> Result<Owned<S>, StateError> {
        let end = self.until.max(self.store.position());
        self.store.mark_restored(end)?;
        let task = Task::open(task, Arc::clone(setup), self.inputs, &self.store);
        let task = condemning(&mut self.store, task)?;
        same_commit(&task, self.head)?;
        Ok(Owned {
            task,
            store: self.store,
        })
    }
}

/// Positions and changelog are of one transaction: their heads are the same, unless the transaction took
/// effect in part. Positions without a head were set by somebody else, on purpose.
fn same_commit(task: &Task, positions: Option<Head>) -> Result<(), StateError> {
    let changelog = task.bookkeeping().chain;
    match positions {
        Some(positions) if positions != changelog => Err(StateError::Failed(format!(
            "a transaction of task {} took effect in part: its changelog ends with commit {}, its \
             committed positions are of commit {} ({changelog} and {positions}). Going on would lose \
             or repeat records; `clvstream verify --task {}` shows what is there",
            task.id(),
            changelog.number,
            positions.number,
            task.id(),
        ))),
        _ => Ok(()),
    }
}

/// Tasks that are being taken over together.
pub(super) struct Takeover<S, C> {
    tasks: BTreeMap<u32, Restoring<S>>,
    reader: C,
}

/// What a turn of taking over came to.
pub(super) enum Turn<S> {
    /// Some of it is left; these have come further.
    Going(Vec<Progress>),
    /// All tasks are up to date.
    Done(Vec<(Owned<S>, Progress)>),
}

/// Why a turn failed: told apart here, because a reader hands on what its caller fails with.
enum Broke<E> {
    Log(E),
    State(StateError),
}

impl<E> From<E> for Broke<E> {
    fn from(error: E) -> Broke<E> {
        Broke::Log(error)
    }
}

impl<S: RestorableStore, C: ChangelogReader> Takeover<S, C> {
    pub(super) fn new(tasks: BTreeMap<u32, Restoring<S>>, reader: C) -> Takeover<S, C> {
        Takeover { tasks, reader }
    }

    /// Reads on for up to `budget`; opens the tasks once all of them are up to date.
    pub(super) fn go_on<P: Passing + From<StateError>>(
        &mut self,
        setup: &Arc<Setup>,
        budget: Duration,
    ) -> Result<Turn<S>, Broken<Failure<C::Error, P>>> {
        let tasks = &mut self.tasks;
        let before: Vec<u64> = tasks.values().map(|one| one.records).collect();
        let read = self.reader.read(budget, &mut |record| {
            // Of a task that has gone again in the meantime there is nothing to restore.
            match tasks.get_mut(&record.at.partition) {
                Some(one) => one.take(record).map_err(Broke::State),
                None => Ok(()),
            }
        });
        let is_done = read.map_err(|broke| match broke {
            Broke::Log(error) => Failure::Log(error),
            Broke::State(error) => Failure::Stores(error.into()),
        })?;
        if !is_done {
            let moved = self.tasks.iter().zip(before);
            let moved = moved.filter(|((_, one), before)| one.records > *before);
            let moved = moved.map(|((task, one), _)| one.progress(*task));
            return Ok(Turn::Going(moved.collect()));
        }
        let mut opened = Vec::new();
        if let Some((task, _)) = self.tasks.iter().find(|(_, one)| !one.has_owner) {
            let what = format!("task {task} was claimed by another member while it was restored");
            return Err(Broken::Rejoin(Rejoin::Passing(what)));
        }
        for (task, mut one) in std::mem::take(&mut self.tasks) {
            // Also where the last offsets are no records.
            one.next = one.until;
            let progress = one.progress(task);
            let owned = one.open(task, setup);
            opened.push((owned.map_err(|e| Failure::Stores(e.into()))?, progress));
        }
        Ok(Turn::Done(opened))
    }
}

impl<S, C> Takeover<S, C> {
    /// Lets go of those tasks for which `goes` answers true.
    pub(super) fn release(&mut self, goes: &dyn Fn(u32) -> bool) -> Vec<(u32, S)> {
        let tasks = std::mem::take(&mut self.tasks).into_iter();
        let (released, kept) = tasks.partition::<BTreeMap<_, _>, _>(|(task, _)| goes(*task));
        self.tasks = kept;
        let released = released.into_iter().map(|(task, one)| (task, one.store));
        released.collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
