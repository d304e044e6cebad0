//! A worker's side of the simulated cluster: what `kafkalog::KafkaWorker` is on a real one, by the
//! same protocol, step by step.
//!
//! Invariants: as there. One transaction holds a commit's records and positions; after any failure of
//! it, reading stands at the committed positions again; a task is read only after its owner record and
//! its positions were committed, under the present membership, in one transaction.

mod changelog;
mod input;
mod producer;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use engine::group::{Change, ClaimError, Claimed, MemberLog, Passing, Span};
use engine::port::{
    CommitError, Committed, LogError, OutRecord, Read, Staged, Table, TopicPartition, WorkerLog,
};
use engine::topics::Topics;
use engine::trial::{Beside, Place as Tried};
use wire::meta::MetaWriter;

pub(crate) use changelog::Changelog;
use input::Input;
pub(crate) use producer::{Failure, Producer};

use crate::cluster::{Membership, Offset, Position, Refusal};
use crate::faults::Phase;
use crate::hand::Hand;
use crate::load::POISON;
use crate::place::Place;
use crate::time::Moment;

/// Key, in the table of bookkeeping, of the record that says who owns a task.
pub(crate) const OWNER_KEY: &[u8] = b"owner";

/// How long an idle worker leaves positions behind markers.
const SETTLE_AFTER: u64 = 200;
/// How long a lagging input is waited for.
const MAX_TASK_IDLE: u64 = 2_000;

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimError {
    /// It has to start again from what the log says.
    #[error("{0}")]
    Restart(String),
    /// No other would do better.
    #[error("{0}")]
    Failed(String),
}

impl Passing for SimError {
    fn is_passing(&self) -> bool {
        matches!(self, SimError::Restart(_))
    }
}

/// A worker's side of the cluster.
pub(crate) struct SimLog<'y> {
    pub(crate) hand: Hand<'y>,
    pub(crate) topics: Topics,
    pub(crate) producer: Producer<'y>,
    client: u64,
    inputs: BTreeMap<TopicPartition, Input>,
    /// By task: what stands beside its position in `internal.routed`.
    beside: BTreeMap<u32, Beside>,
    /// Told apart from every other process.
    process: String,
    last_poll: Moment,
    last_commit: Moment,
    max_poll: u64,
    /// Whether [`POISON`] kills it.
    is_mortal: bool,
    tries: Rc<Cell<bool>>,
}

impl<'y> SimLog<'y> {
    /// Joins the group, once whatever had been begun under the transactional id of `place` is ended.
    /// `joined` is told the client's number.
    pub(crate) fn join(
        hand: Hand<'y>,
        topics: Topics,
        place: &Place,
        joined: impl FnOnce(u64),
    ) -> Result<SimLog<'y>, SimError> {
        let producer = Producer::init(hand.clone(), &place.name)
            .map_err(|refusal| SimError::Restart(format!("beginning transactions: {refusal:?}")))?;
        let client = hand.cluster().subscribe();
        joined(client);
        let now = hand.now();
        Ok(SimLog {
            hand,
            topics,
            producer,
            client,
            inputs: BTreeMap::new(),
            beside: BTreeMap::new(),
            process: place.process.clone(),
            last_poll: now,
            last_commit: now,
            max_poll: place.max_poll,
            is_mortal: place.is_mortal,
            tries: Rc::clone(&place.tries),
        })
    }

    /// Leaves the group.
    pub(crate) fn leave(self) {
        self.hand.cluster().leave(self.client);
    }

    pub(crate) fn membership(&self) -> Membership {
        self.hand.cluster().membership(self.client)
    }

    /// What has changed; `forgets`: what is revoked is not read any more.
    pub(crate) fn poll_group(&mut self, forgets: bool) -> Vec<Change> {
        self.last_poll = self.hand.now();
        let changes = self.hand.cluster().poll(self.client);
        for change in &changes {
            if let Change::Revoked(tasks) | Change::Lost(tasks) = change {
                if forgets || matches!(change, Change::Lost(_)) {
                    self.inputs.retain(|_, input| !tasks.contains(&input.task));
                }
                self.hand.reach(Phase::MidRevoke);
            }
        }
        changes
    }

    /// Where reading of each input starts; `stable`: an open transaction that holds some is waited for.
    pub(crate) fn starts(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
        stable: bool,
    ) -> Result<Vec<(u32, TopicPartition, Offset)>, ClaimError<SimError>> {
        self.hand.travel();
        let cluster = self.hand.cluster();
        let mut starts = Vec::new();
        for (task, inputs) in tasks {
            for at in inputs {
                let refused = |what: Refusal| ClaimError::NotNow(format!("{what:?}"));
                let position = cluster.position(at, stable).map_err(refused)?;
                let (start, end) = cluster.bounds(at).map_err(refused)?;
                let offset = position.unwrap_or(Offset {
                    next: start,
                    beside: None,
                });
                let position = offset.next;
                if position < start || position > end {
                    return Err(ClaimError::Failed(SimError::Failed(format!(
                        "task {task} stands at {position} of {} {}, which has {start} to {end}",
                        at.topic, at.partition
                    ))));
                }
                starts.push((*task, at.clone(), offset));
            }
        }
        Ok(starts)
    }

    /// Claims `tasks` from `starts`, under `membership`.
    pub(crate) fn claim_from(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
        starts: Vec<(u32, TopicPartition, Offset)>,
        membership: impl FnOnce(&Self) -> Membership,
    ) -> Result<Vec<Claimed>, ClaimError<SimError>> {
        // The head stands beside the position of `internal.routed`, which every commit holds.
        let routed = Arc::clone(&self.topics.routed);
        let mut beside = BTreeMap::new();
        let mut starts = starts;
        for (task, at, offset) in &mut starts {
            if at.topic == routed {
                let stood = offset.beside.take().unwrap_or_default();
                let claimed = stood.claimed(&self.process);
                offset.beside = Some(claimed.clone());
                beside.insert(*task, claimed);
            }
        }
        let positions = starts
            .iter()
            .map(|(_, at, offset)| (at.clone(), offset.clone()));
        let positions: Vec<Position> = positions.collect();
        let ends = match self.write_claim(tasks, &positions, membership) {
            Ok(ends) => ends,
            Err(failure) => return Err(self.claim_failed(failure)),
        };
        self.last_commit = self.hand.now();
        self.hand.reach(Phase::MidTakeover);
        for (task, at, offset) in starts {
            self.inputs.insert(at, Input::new(task, offset.next));
        }
        let claimed = tasks.iter().map(|(task, _)| Claimed {
            task: *task,
            changelog_end: ends.get(task).copied().unwrap_or(0),
            beside: beside.get(task).cloned().unwrap_or_default(),
        });
        let claimed = claimed.collect();
        self.beside.extend(beside);
        Ok(claimed)
    }

    fn write_claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
        positions: &[Position],
        membership: impl FnOnce(&Self) -> Membership,
    ) -> Result<BTreeMap<u32, u64>, Failure> {
        let mut owner = MetaWriter::new();
        owner.number(self.producer.writer().producer);
        owner.number(u64::from(self.producer.writer().epoch));
        let owner = owner.finish();
        self.producer.begin();
        self.hand.reach(Phase::MidTakeover);
        let mut ends = BTreeMap::new();
        for (task, _) in tasks {
            let record = OutRecord {
                target: TopicPartition {
                    topic: Arc::clone(&self.topics.changelog),
                    partition: *task,
                },
                key: Some(Table::Meta.full_key(OWNER_KEY)),
                value: Some(owner.clone()),
                headers: Vec::new(),
            };
            ends.insert(*task, self.producer.send(record)? + 1);
        }
        self.hand.reach(Phase::MidTakeover);
        let membership = membership(self);
        self.producer.offsets(positions, membership)?;
        self.hand.reach(Phase::MidTakeover);
        self.producer.commit(None)?;
        Ok(ends)
    }

    fn claim_failed(&mut self, failure: Failure) -> ClaimError<SimError> {
        match failure {
            Failure::Abort(what) => match self.producer.abort() {
                Ok(()) => ClaimError::NotNow(what),
                Err(failure) => claim_failed_for_good(failure),
            },
            failure => claim_failed_for_good(failure),
        }
    }

    /// The positions that a commit of `staged` holds: those of inputs that were consumed from, and, with
    /// the head of its task beside it, that of each task's partition of `internal.routed` even where
    /// nothing of it was consumed; `consumed_only`: without those. A commit without any position (of
    /// timers alone) would be nobody's to refuse: it is by positions that the membership is checked.
    pub(crate) fn positions_of(
        &self,
        staged: &[Staged],
        consumed_only: bool,
    ) -> Result<Vec<Position>, CommitError> {
        let mut positions = Vec::new();
        for work in staged {
            for (at, next) in &work.positions {
                let Some(input) = self.inputs.get(at) else {
                    return Err(CommitError::Halt(format!(
                        "{} {} is not one of this worker's inputs",
                        at.topic, at.partition
                    )));
                };
                let next = input.behind_markers(*next);
                let is_routed = at.topic == self.topics.routed;
                let beside = is_routed.then(|| self.beside_after(work));
                positions.push((at.clone(), Offset { next, beside }));
            }
            let routed = TopicPartition {
                topic: Arc::clone(&self.topics.routed),
                partition: work.task,
            };
            let is_there = work.positions.iter().any(|(at, _)| *at == routed);
            if !is_there
                && !consumed_only
                && let Some(input) = self.inputs.get(&routed)
            {
                let beside = Some(self.beside_after(work));
                let next = input.committed;
                positions.push((routed, Offset { next, beside }));
            }
        }
        Ok(positions)
    }

    fn beside_after(&self, work: &Staged) -> Beside {
        let stood = self.beside.get(&work.task).cloned().unwrap_or_default();
        stood.committed(work.head, &work.positions)
    }

    fn routed_of(&self, task: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topics.routed),
            partition: task,
        }
    }

    /// One transaction; answers the ends of the tasks' changelogs.
    pub(crate) fn transact(
        &mut self,
        staged: &[Staged],
        positions: &[Position],
        membership: impl FnOnce(&Self) -> Membership,
    ) -> Result<BTreeMap<u32, u64>, Failure> {
        if self.hand.now().since(self.last_poll) > self.max_poll {
            return Err(Failure::Fenced("this worker stood still".to_owned()));
        }
        let records: usize = staged.iter().map(|work| work.records.len()).sum();
        let middle = self.hand.cluster().below(records as u64 + 1) as usize;
        self.producer.begin();
        self.hand.reach(Phase::Begin);
        let mut ends = BTreeMap::new();
        let mut sent = 0;
        for work in staged {
            for record in &work.records {
                if sent == middle {
                    self.hand.reach(Phase::MidProduce);
                }
                sent += 1;
                let offset = self.producer.send(record.clone())?;
                if record.target.topic == self.topics.changelog {
                    ends.insert(work.task, offset + 1);
                }
            }
        }
        self.hand.reach(Phase::BeforeOffsets);
        let membership = membership(self);
        self.producer.offsets(positions, membership)?;
        self.hand.reach(Phase::AfterOffsets);
        self.producer.commit(Some(self.client))?;
        self.hand.reach(Phase::Committed);
        Ok(ends)
    }

    /// What a failed commit comes to; reading stands at the committed positions then.
    pub(crate) fn commit_failed(&mut self, failure: Failure) -> CommitError {
        match failure {
            Failure::Abort(what) => match self.producer.abort() {
                Ok(()) => {
                    self.reposition();
                    CommitError::Abort(what)
                }
                Err(failure) => commit_failed_for_good(failure),
            },
            failure => commit_failed_for_good(failure),
        }
    }

    /// Reading stands at the committed positions again.
    pub(crate) fn reposition(&mut self) {
        for input in self.inputs.values_mut() {
            input.rewind();
        }
    }

    /// `positions` are committed.
    pub(crate) fn advanced(&mut self, positions: &[Position]) {
        self.last_commit = self.hand.now();
        self.tries.set(false);
        for (at, offset) in positions {
            if let Some(input) = self.inputs.get_mut(at) {
                input.committed = offset.next;
                if let Some(beside) = &offset.beside {
                    self.beside.insert(input.task, beside.clone());
                }
            }
        }
    }
}

impl SimLog<'_> {
    /// Whether a record kills the process that decodes it.
    fn kills(&self, value: Option<&[u8]>) -> bool {
        self.is_mortal && value == Some(POISON)
    }

    fn is_quarantined(&self, at: &TopicPartition, offset: u64) -> bool {
        let mut all = self.beside.values().flat_map(|b| b.trial.quarantined());
        all.any(|place| place.at == *at && place.offset == offset)
    }
}

impl WorkerLog for SimLog<'_> {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let Some(input) = self.inputs.get_mut(source) else {
            return Err(LogError(format!(
                "{} {} is not one of this worker's inputs",
                source.topic, source.partition
            )));
        };
        let read = input.read(&mut self.hand.cluster(), source, max);
        // One record at a time is read by who is careful, and says which one he tries.
        if let Read::Records(records) = &read
            && max > 1
            && let Some(deadly) = records.iter().find(|r| self.kills(r.value.as_deref()))
            && !self.is_quarantined(source, deadly.offset)
        {
            self.hand.die();
        }
        Ok(read)
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Tried>) -> Result<(), CommitError> {
        if place.is_some() {
            self.tries.set(true);
        }
        let mut positions = Vec::new();
        for task in tasks {
            let routed = self.routed_of(*task);
            let (Some(stands), Some(input)) = (self.beside.get(task), self.inputs.get(&routed))
            else {
                continue;
            };
            let beside = stands.trying(place, &self.process);
            if beside.is_some() {
                let next = input.committed;
                positions.push((routed, Offset { next, beside }));
            }
        }
        if !positions.is_empty() {
            match self.transact(&[], &positions, SimLog::membership) {
                Ok(_) => self.advanced(&positions),
                Err(failure) => return Err(self.commit_failed(failure)),
            }
        }
        self.tries.set(place.is_some());
        if let Some(place) = place {
            let value = self.hand.cluster().value_at(&place.at, place.offset);
            if self.kills(value.as_deref()) && !self.is_quarantined(&place.at, place.offset) {
                self.hand.die();
            }
        }
        Ok(())
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        let positions = self.positions_of(&staged, false)?;
        match self.transact(&staged, &positions, SimLog::membership) {
            Ok(ends) => {
                self.advanced(&positions);
                Ok(committed(staged, &ends))
            }
            Err(failure) => Err(self.commit_failed(failure)),
        }
    }
}

impl<'y> MemberLog for SimLog<'y> {
    type Error = SimError;
    type Changelog = Changelog<'y>;

    fn poll(&mut self) -> Result<Vec<Change>, SimError> {
        Ok(self.poll_group(true))
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<SimError>> {
        let starts = self.starts(tasks, true)?;
        self.claim_from(tasks, starts, SimLog::membership)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<Changelog<'y>, SimError> {
        Ok(Changelog::new(self.hand.clone(), spans))
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        if self.hand.now().since(self.last_commit) < SETTLE_AFTER {
            return Ok(());
        }
        let behind = self.inputs.iter().filter_map(|(at, input)| {
            let next = input.behind_markers(input.committed);
            let beside = self.beside.get(&input.task);
            let beside = beside.filter(|_| at.topic == self.topics.routed);
            let is_due = next > input.committed || beside.is_some_and(|b| b.trial.is_open());
            is_due.then(|| {
                let beside = beside.cloned();
                (at.clone(), Offset { next, beside })
            })
        });
        let mut positions: Vec<_> = behind.collect();
        let next_of = |(at, offset): &Position| (at.clone(), offset.next);
        let committed: Vec<_> = positions.iter().map(next_of).collect();
        for (_, offset) in &mut positions {
            if let Some(beside) = &mut offset.beside {
                *beside = beside.moved(&committed);
            }
        }
        if positions.is_empty() {
            return Ok(());
        }
        match self.transact(&[], &positions, SimLog::membership) {
            Ok(_) => {
                self.advanced(&positions);
                Ok(())
            }
            Err(failure) => Err(self.commit_failed(failure)),
        }
    }
}

/// What a commit that is durable hands to the stores.
pub(crate) fn committed(staged: Vec<Staged>, ends: &BTreeMap<u32, u64>) -> Vec<Committed> {
    let staged = staged.into_iter();
    staged
        .map(|work| {
            let end = ends.get(&work.task).copied().unwrap_or(0);
            work.into_committed(end)
        })
        .collect()
}

fn commit_failed_for_good(failure: Failure) -> CommitError {
    match failure {
        Failure::Fenced(what) => CommitError::Fenced(what),
        Failure::Abort(what) | Failure::Unknown(what) => CommitError::Indeterminate(what),
    }
}

fn claim_failed_for_good(failure: Failure) -> ClaimError<SimError> {
    let (Failure::Fenced(what) | Failure::Abort(what) | Failure::Unknown(what)) = failure;
    ClaimError::Failed(SimError::Restart(format!("taking over: {what}")))
}
