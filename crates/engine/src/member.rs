//! One worker's time in the consumer group, from joining it to leaving it.
//!
//! A session is a loop over these, in this order: look after the group, take over what was assigned,
//! process, commit, settle. When to do which, waiting, metrics and checkpoints on time belong to the shell
//! around it, which is told what happened as plain values. There is no clock here, no thread, no
//! logging.
//!
//! Invariants:
//! - The group is looked after only when nothing is uncommitted ([`Member::look_after_group`]), so
//!   that a task that goes has nothing uncommitted.
//! - A task is processed only after it was claimed, its store read up to the owner record of that
//!   claim, and found at the very commit that its positions are of.
//! - What a commit came to is one of [`Outcome`], after which the session goes on, or of [`Broken`],
//!   which ends it: the member is dropped, and the next session starts from what the log says, with
//!   the stores as far as they go. There is one way to recover, and it is the one of a start.
//! - Where processes have died before ([`crate::trial`]), each record is committed before the next one is
//!   taken.

mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wire::Inputs;

use crate::bookkeeping::Counts;
use crate::group::{
    Change, ChangelogReader, ClaimError, MemberLog, Passing, RestorableStore, Stores,
};
use crate::port::{CommitError, StateError, TopicPartition, WorkerLog};
use crate::task::Setup;
use crate::worker::{Owned, Processed, Worker, WorkerError};

pub use takeover::Progress;
use takeover::{Restoring, Takeover, Turn};

/// A member of the group: its tasks, and those that it is about to have. `S` is a task's store, `C`
/// what reads changelogs.
pub struct Member<S, C> {
    setup: Arc<Setup>,
    worker: Worker<S>,
    /// Assigned, and not claimed yet; with their stores, once these are open.
    waiting: BTreeMap<u32, Option<S>>,
    takeovers: Vec<Takeover<S, C>>,
    /// Records consumed and timers fired since the last commit.
    uncommitted: usize,
}

/// What taking over came to in one call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TakenOver {
    /// Tasks that were claimed.
    pub claimed: Vec<u32>,
    /// Those among them at which processes have died: they are gone about carefully.
    pub careful: Vec<u32>,
    /// Why tasks that wait could not be claimed; it is tried again at the next call.
    pub not_now: Option<String>,
    /// Tasks whose restore has come further, and is not at its end.
    pub restoring: Vec<Progress>,
    /// Tasks that are open from now on.
    pub opened: Vec<Progress>,
}

/// What came of a commit after which the session goes on.
#[must_use = "a commit may not have happened"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is durable, and in the stores: so many records consumed and timers fired.
    Committed(usize),
    /// Nothing was written: what was consumed since the last commit is read again.
    Retry(String),
}

/// How a session ended before its time. `F` is what no other session would do better at.
#[derive(Debug)]
pub enum Broken<F> {
    /// The next one may do better: the member leaves the group and joins anew.
    Rejoin(Rejoin),
    /// The process cannot go on.
    Halt(F),
}

/// Why a member leaves the group and joins anew.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejoin {
    /// Another owner took over.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Nobody knows whether the last commit was written.
    #[error("commit outcome unknown: {0}")]
    Indeterminate(String),
    /// A task's state is damaged: whoever opens it next rebuilds it from the changelog.
    #[error("{0}")]
    Damaged(String),
    /// The log or the stores cannot be used for now.
    #[error("{0}")]
    Passing(String),
}

/// What taking over, or giving up, failed at.
#[derive(Debug)]
pub enum Failure<E, S> {
    /// The log.
    Log(E),
    /// A store, or where it comes from.
    Stores(S),
}

impl<E: Passing, S: Passing> From<Failure<E, S>> for Broken<Failure<E, S>> {
    fn from(failure: Failure<E, S>) -> Self {
        let passing = match &failure {
            Failure::Log(error) => error.is_passing().then(|| error.to_string()),
            Failure::Stores(error) => error.is_passing().then(|| error.to_string()),
        };
        match passing {
            Some(what) => Broken::Rejoin(Rejoin::Passing(what)),
            None => Broken::Halt(failure),
        }
    }
}

impl From<WorkerError> for Broken<WorkerError> {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Commit(CommitError::Fenced(what)) => Broken::Rejoin(Rejoin::Fenced(what)),
            WorkerError::Commit(CommitError::Indeterminate(what)) => {
                Broken::Rejoin(Rejoin::Indeterminate(what))
            }
            WorkerError::State(StateError::Damaged(what)) => Broken::Rejoin(Rejoin::Damaged(what)),
            // An abort is no end: whoever commits has taken it out before.
            WorkerError::Commit(CommitError::Halt(_) | CommitError::Abort(_))
            | WorkerError::Log(_)
            | WorkerError::State(StateError::Failed(_)) => Broken::Halt(error),
        }
    }
}

/// The answer of what needs the log and the stores.
type Answer<T, L, P> = Result<T, Broken<Failure<<L as MemberLog>::Error, <P as Stores>::Error>>>;

impl<S: RestorableStore, C: ChangelogReader> Member<S, C> {
    /// A member that has no task yet. `inputs` decodes what it will read.
    #[must_use]
    pub fn new(setup: Arc<Setup>, inputs: impl Into<Inputs>) -> Member<S, C> {
        let routed = Arc::clone(&setup.topics.routed);
        Member {
            worker: Worker::new(Vec::new(), inputs, routed),
            setup,
            waiting: BTreeMap::new(),
            takeovers: Vec::new(),
            uncommitted: 0,
        }
    }

    /// Serves the group and does as it says: what comes waits to be taken over, what goes is
    /// checkpointed and closed. While anything is uncommitted it does nothing.
    ///
    /// # Errors
    /// The session is over.
    pub fn look_after_group<L, P>(&mut self, log: &mut L, stores: &P) -> Answer<Vec<Change>, L, P>
    where
        L: MemberLog<Changelog = C, Error = C::Error>,
        P: Stores<Store = S>,
    {
        if self.uncommitted > 0 {
            return Ok(Vec::new());
        }
        let changes = log.poll().map_err(Failure::Log)?;
        for change in &changes {
            match change {
                Change::Assigned(tasks) => {
                    for task in tasks {
                        self.waiting.entry(*task).or_default();
                    }
                }
                Change::Revoked(tasks) | Change::Lost(tasks) => {
                    let given_up = self.give_up(stores, &|task| tasks.contains(&task));
                    given_up.map_err(Failure::Stores)?;
                }
            }
        }
        Ok(changes)
    }

    /// Begins to take over what waits, and goes on with what was begun, each for up to `budget`.
    /// `inputs_of` knows the partitions that a task reads. Tasks that came together are claimed and
    /// opened together. While anything is uncommitted it does nothing.
    ///
    /// # Errors
    /// The session is over.
    pub fn take_over<L, P>(
        &mut self,
        log: &mut L,
        stores: &P,
        inputs_of: &dyn Fn(u32) -> Vec<TopicPartition>,
        budget: Duration,
    ) -> Answer<TakenOver, L, P>
    where
        L: MemberLog<Changelog = C, Error = C::Error>,
        P: Stores<Store = S>,
    {
        let mut done = TakenOver::default();
        if self.uncommitted > 0 {
            return Ok(done);
        }
        if !self.waiting.is_empty() {
            self.claim(log, stores, inputs_of, &mut done)?;
        }
        for mut takeover in std::mem::take(&mut self.takeovers) {
            match takeover.go_on::<P::Error>(&self.setup, budget)? {
                Turn::Going(progress) => {
                    done.restoring.extend(progress);
                    self.takeovers.push(takeover);
                }
                Turn::Done(opened) => {
                    for (owned, progress) in opened {
                        self.worker.adopt(owned);
                        done.opened.push(progress);
                    }
                }
            }
        }
        Ok(done)
    }

    /// Opens the stores of what waits and claims it.
    fn claim<L, P>(
        &mut self,
        log: &mut L,
        stores: &P,
        inputs_of: &dyn Fn(u32) -> Vec<TopicPartition>,
        done: &mut TakenOver,
    ) -> Answer<(), L, P>
    where
        L: MemberLog<Changelog = C, Error = C::Error>,
        P: Stores<Store = S>,
    {
        for (task, store) in &mut self.waiting {
            if store.is_none() {
                *store = stores.open(*task).map_err(Failure::Stores)?;
            }
            if store.is_none() {
                // Another worker of this process may be about to close it.
                done.not_now = Some(format!("task {task} is still open"));
                return Ok(());
            }
        }
        let tasks = self.waiting.keys().map(|task| (*task, inputs_of(*task)));
        let mut tasks: Vec<_> = tasks.collect();
        let claimed = match log.claim(&tasks) {
            Ok(claimed) => claimed,
            Err(ClaimError::NotNow(what)) => {
                done.not_now = Some(what);
                return Ok(());
            }
            Err(ClaimError::Failed(error)) => return Err(Failure::Log(error).into()),
        };
        let mut restoring = BTreeMap::new();
        let mut spans = Vec::new();
        for one in claimed {
            let inputs = tasks.iter_mut().find(|(task, _)| *task == one.task);
            let store = self.waiting.remove(&one.task).flatten();
            let (Some((_, inputs)), Some(store)) = (inputs, store) else {
                continue;
            };
            if one.beside.trial.is_careful() {
                self.worker.be_careful(one.beside.trial.quarantined());
                done.careful.push(one.task);
            }
            let store = Restoring::new(store, std::mem::take(inputs), &one);
            spans.push(store.span(TopicPartition {
                topic: Arc::clone(&self.setup.topics.changelog),
                partition: one.task,
            }));
            restoring.insert(one.task, store);
            done.claimed.push(one.task);
        }
        let reader = log.changelog(spans).map_err(Failure::Log)?;
        self.takeovers.push(Takeover::new(restoring, reader));
        Ok(())
    }

    /// Takes up to `budget` steps of each task: see [`Worker::process`].
    ///
    /// # Errors
    /// The session is over.
    pub fn process(
        &mut self,
        log: &mut dyn WorkerLog,
        budget: usize,
    ) -> Result<Processed, Broken<WorkerError>> {
        if self.is_careful() && self.uncommitted > 0 {
            return Ok(Processed {
                steps: 0,
                drained: false,
                starved: false,
            });
        }
        match self.worker.process(log, budget) {
            Ok(processed) => {
                self.uncommitted += processed.steps;
                Ok(processed)
            }
            Err(WorkerError::Commit(CommitError::Abort(_))) => {
                // Of a record to be tried, which was not told: nothing has been done yet.
                self.worker.reset()?;
                Ok(Processed {
                    steps: 0,
                    drained: false,
                    starved: true,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what is uncommitted is to be committed at once.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.worker.is_careful()
    }

    /// Commits everything consumed since the last commit, of all tasks at once: see
    /// [`Worker::commit`].
    ///
    /// # Errors
    /// The session is over, and nothing of it has reached a store.
    pub fn commit(&mut self, log: &mut dyn WorkerLog) -> Result<Outcome, Broken<WorkerError>> {
        let outcome = match self.worker.commit(log) {
            Ok(()) => Outcome::Committed(self.uncommitted),
            Err(WorkerError::Commit(CommitError::Abort(what))) => Outcome::Retry(what),
            Err(error) => return Err(error.into()),
        };
        self.uncommitted = 0;
        Ok(outcome)
    }

    /// Commits positions behind markers where nothing was consumed: see [`MemberLog::settle`]. While
    /// anything is uncommitted it does nothing.
    ///
    /// # Errors
    /// The session is over.
    pub fn settle<L: MemberLog>(&mut self, log: &mut L) -> Result<Outcome, Broken<WorkerError>> {
        if self.uncommitted > 0 {
            return Ok(Outcome::Committed(0));
        }
        match log.settle() {
            Ok(()) => Ok(Outcome::Committed(0)),
            Err(CommitError::Abort(what)) => {
                // Nothing was consumed, so nothing has to be done again but reading.
                self.worker.reset()?;
                Ok(Outcome::Retry(what))
            }
            Err(error) => Err(WorkerError::from(error).into()),
        }
    }

    /// Leaves: every store is checkpointed and closed. What is not committed is dropped.
    ///
    /// # Errors
    /// A store cannot be written or closed.
    pub fn leave<P: Stores<Store = S>>(&mut self, stores: &P) -> Result<(), P::Error> {
        self.give_up(stores, &|_| true)
    }

    fn give_up<P: Stores<Store = S>>(
        &mut self,
        stores: &P,
        goes: &dyn Fn(u32) -> bool,
    ) -> Result<(), P::Error> {
        let mut released: Vec<(u32, S)> = Vec::new();
        for takeover in &mut self.takeovers {
            released.extend(takeover.release(goes));
        }
        self.takeovers.retain(|takeover| !takeover.is_empty());
        let owned = self.worker.release(goes).into_iter();
        released.extend(owned.map(|owned| (owned.task.id(), owned.store)));
        for (task, mut store) in released {
            // So that little is left to read if the task comes back.
            store.checkpoint()?;
            stores.close(task, store)?;
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (released, kept) = waiting.partition::<BTreeMap<_, _>, _>(|(task, _)| goes(*task));
        self.waiting = kept;
        for (task, store) in released {
            if let Some(store) = store {
                // As it was opened.
                stores.close(task, store)?;
            }
        }
        Ok(())
    }

    /// Its tasks and their state.
    pub fn owned(&mut self) -> &mut [Owned<S>] {
        self.worker.owned()
    }

    /// What became of all records so far, over its tasks.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.worker.counts()
    }

    /// Records consumed and timers fired since the last commit.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        self.uncommitted
    }

    /// Whether it has everything that it was assigned: nothing waits to be claimed, nothing is being
    /// restored.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.waiting.is_empty() && self.takeovers.is_empty()
    }

    /// Whether changelogs are being read.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        !self.takeovers.is_empty()
    }
}
