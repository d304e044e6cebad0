//! The engine's surroundings, each broken in one way: what the checks must catch.
//!
//! A mutation is a wrapper around the log's port that does one step of the protocol wrongly, or a store that
//! answers wrongly. Nothing of it is in the engine: the same build runs with and without.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use engine::group::{Change, ClaimError, Claimed, MemberLog, Span};
use engine::port::{
    CommitError, Committed, LogError, OutRecord, Read, Staged, Table, TopicPartition, WorkerLog,
};
use engine::trial::Place;

use crate::cluster::Membership;
use crate::log::{Changelog, Failure, SimError, SimLog, committed};
use crate::store::Volume;

/// What is done wrongly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mutation {
    /// Positions are not part of the transaction.
    LeaveOutOffsets,
    /// What has to be aborted is committed all the same.
    SkipAbort,
    /// After an abort, reading does not go back.
    KeepPositions,
    /// State is written before the commit.
    WriteStateEarly,
    /// Deletions do not go to the changelog.
    ForgetTombstone,
    /// Some profile does not go to the changelog.
    ForgetProfile,
    /// Tasks that are revoked are worked on.
    IgnoreRevocation,
    /// Positions are committed without saying as which member.
    IgnoreGeneration,
    /// A commit of timers alone holds no position, so that nobody asks whose it is.
    UncheckedTimers,
    /// Positions are read though an open transaction has newer ones.
    UnstablePositions,
    /// A changelog is read to its last stable offset, not to the owner record.
    RestoreToWatermark,
    /// An output is left out now and then.
    DropOutput,
    /// Two outputs have the same number.
    ReuseSequence,
    /// A dead letter is left out.
    DropDeadLetter,
    /// The model in force is not part of a task's state.
    ForgetModel,
    /// Whoever goes through the profiles leaves one out between two pages.
    SkipProfile,
    /// A customer stays in the cells that he has left, if he was the last there.
    KeepCell,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: [Mutation; 17] = [
        Mutation::LeaveOutOffsets,
        Mutation::SkipAbort,
        Mutation::KeepPositions,
        Mutation::WriteStateEarly,
        Mutation::ForgetTombstone,
        Mutation::ForgetProfile,
        Mutation::IgnoreRevocation,
        Mutation::IgnoreGeneration,
        Mutation::UncheckedTimers,
        Mutation::UnstablePositions,
        Mutation::RestoreToWatermark,
        Mutation::DropOutput,
        Mutation::ReuseSequence,
        Mutation::DropDeadLetter,
        Mutation::ForgetModel,
        Mutation::SkipProfile,
        Mutation::KeepCell,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mutation::LeaveOutOffsets => "leave out the offsets",
            Mutation::SkipAbort => "skip the abort",
            Mutation::KeepPositions => "keep reading after an abort",
            Mutation::WriteStateEarly => "write state before the commit",
            Mutation::ForgetTombstone => "forget the tombstone",
            Mutation::ForgetProfile => "forget a changelog record",
            Mutation::IgnoreRevocation => "ignore revocation",
            Mutation::IgnoreGeneration => "ignore the generation",
            Mutation::UncheckedTimers => "timers without membership",
            Mutation::UnstablePositions => "read unstable positions",
            Mutation::RestoreToWatermark => "restore to a watermark",
            Mutation::DropOutput => "drop an output",
            Mutation::ReuseSequence => "reuse a sequence number",
            Mutation::DropDeadLetter => "drop a dead letter",
            Mutation::ForgetModel => "forget the model",
            Mutation::SkipProfile => "skip a profile",
            Mutation::KeepCell => "keep the old cell",
        }
    }
}

/// A log that does one thing wrongly.
pub(crate) struct Mutant<'y> {
    pub(crate) inner: SimLog<'y>,
    mutation: Mutation,
    volume: Rc<RefCell<Volume>>,
    commits: u64,
}

impl<'y> Mutant<'y> {
    pub(crate) fn new(
        inner: SimLog<'y>,
        mutation: Mutation,
        volume: Rc<RefCell<Volume>>,
    ) -> Mutant<'y> {
        Mutant {
            inner,
            mutation,
            volume,
            commits: 0,
        }
    }

    /// Who it says that it is.
    fn membership(&self) -> impl FnOnce(&SimLog<'y>) -> Membership + use<'y> {
        let says_nothing = self.mutation == Mutation::IgnoreGeneration;
        move |log| match says_nothing {
            true => Membership {
                member: None,
                generation: -1,
            },
            false => log.membership(),
        }
    }

    /// Does to what is to be written what the mutation is.
    fn spoil(&self, staged: &mut [Staged]) {
        let topics = &self.inner.topics;
        let is_output = |r: &OutRecord| topics.outputs().contains(&&r.target.topic);
        for work in staged {
            let records = &mut work.records;
            match self.mutation {
                Mutation::ForgetTombstone => {
                    let is_tombstone =
                        |r: &OutRecord| r.target.topic == topics.changelog && r.value.is_none();
                    records.retain(|r| !is_tombstone(r));
                }
                Mutation::ForgetProfile => remove(records, |r| {
                    let table = r.key.as_ref().and_then(|key| key.first().copied());
                    r.target.topic == topics.changelog && table == Some(Table::Profiles as u8)
                }),
                Mutation::DropOutput if self.commits.is_multiple_of(5) => {
                    remove(records, is_output);
                }
                Mutation::ReuseSequence => {
                    let mut last: BTreeMap<_, OutRecord> = BTreeMap::new();
                    for record in records.iter_mut().filter(|r| is_output(r)) {
                        let whose = (Arc::clone(&record.target.topic), record.key.clone());
                        match last.get(&whose) {
                            Some(before) => *record = before.clone(),
                            None => {
                                last.insert(whose, record.clone());
                            }
                        }
                    }
                }
                Mutation::DropDeadLetter => {
                    remove(records, |r| r.target.topic == topics.dead_letters);
                }
                Mutation::ForgetModel => {
                    leave_out(work, &topics.changelog, |table, _| table == Table::Models);
                }
                Mutation::KeepCell => leave_out(work, &topics.changelog, |table, value| {
                    let is_cell = matches!(table, Table::OrderCells | Table::SpendCells);
                    is_cell && value.is_none()
                }),
                _ => {}
            }
        }
    }

    fn failed(&mut self, failure: Failure) -> CommitError {
        let Failure::Abort(what) = failure else {
            return self.inner.commit_failed(failure);
        };
        match self.mutation {
            Mutation::SkipAbort => match self.inner.producer.commit(None) {
                Ok(()) => {
                    self.inner.reposition();
                    CommitError::Abort(what)
                }
                Err(failure) => self.inner.commit_failed(failure),
            },
            Mutation::KeepPositions => match self.inner.producer.abort() {
                Ok(()) => CommitError::Abort(what),
                Err(failure) => self.inner.commit_failed(failure),
            },
            _ => self.inner.commit_failed(Failure::Abort(what)),
        }
    }
}

/// Removes the first record that `is_it`.
fn remove(records: &mut Vec<OutRecord>, is_it: impl Fn(&OutRecord) -> bool) {
    if let Some(at) = records.iter().position(is_it) {
        records.remove(at);
    }
}

/// Leaves writes out, of the state as of the changelog.
fn leave_out(
    work: &mut Staged,
    changelog: &Arc<str>,
    is_it: impl Fn(Table, Option<&[u8]>) -> bool,
) {
    work.delta
        .retain(|write| !is_it(write.table, write.value.as_deref()));
    work.records.retain(|record| {
        let key = record.key.as_deref().and_then(Table::split);
        let is_logged = record.target.topic == *changelog;
        !key.is_some_and(|(table, _)| is_logged && is_it(table, record.value.as_deref()))
    });
}

impl WorkerLog for Mutant<'_> {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        self.inner.read(source, max)
    }

    fn commit(&mut self, mut staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        self.commits += 1;
        self.spoil(&mut staged);
        let timers_alone = staged.iter().all(|work| work.positions.is_empty());
        let consumed_only = timers_alone && self.mutation == Mutation::UncheckedTimers;
        let mut positions = self.inner.positions_of(&staged, consumed_only)?;
        if self.mutation == Mutation::LeaveOutOffsets {
            positions.clear();
        }
        if self.mutation == Mutation::WriteStateEarly {
            for work in &staged {
                self.volume.borrow_mut().write_early(work.task, &work.delta);
            }
        }
        let membership = self.membership();
        match self.inner.transact(&staged, &positions, membership) {
            Ok(ends) => {
                self.inner.advanced(&positions);
                Ok(committed(staged, &ends))
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        self.inner.trying(tasks, place)
    }
}

impl<'y> MemberLog for Mutant<'y> {
    type Error = SimError;
    type Changelog = Changelog<'y>;

    fn poll(&mut self) -> Result<Vec<Change>, SimError> {
        let ignores = self.mutation == Mutation::IgnoreRevocation;
        let mut changes = self.inner.poll_group(!ignores);
        if ignores {
            changes.retain(|change| !matches!(change, Change::Revoked(_)));
        }
        Ok(changes)
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<SimError>> {
        let stable = self.mutation != Mutation::UnstablePositions;
        let starts = self.inner.starts(tasks, stable)?;
        let membership = self.membership();
        let mut claimed = self.inner.claim_from(tasks, starts, membership)?;
        if self.mutation == Mutation::RestoreToWatermark {
            let cluster = self.inner.hand.cluster();
            for one in &mut claimed {
                let changelog = TopicPartition {
                    topic: Arc::clone(&self.inner.topics.changelog),
                    partition: one.task,
                };
                let stable = cluster.partition(&changelog).map(|p| p.stable_end());
                one.changelog_end = stable.unwrap_or(one.changelog_end);
            }
        }
        Ok(claimed)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<Changelog<'y>, SimError> {
        self.inner.changelog(spans)
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        self.inner.settle()
    }
}
