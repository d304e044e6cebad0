//! One transaction of a worker: what it holds, in which order it is sent, and what is left where it fails.
//!
//! Invariants:
//! - Positions go with the metadata of the membership as it is when they are sent: nothing is served in
//!   between.
//! - After a failure from which work goes on, nothing of the transaction is visible, and reading stands at
//!   the committed positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::port::{CommitError, Staged, TopicPartition};
use engine::trial::Beside;
use failpoint::Point;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;

use super::{Fencing, KafkaWorker};
use crate::cluster::list_of;
use crate::error::KafkaLogError;
use crate::transactions::Failure;

/// How long repositioning after an abort may take.
const SEEK: Duration = Duration::from_secs(10);

impl KafkaWorker {
    /// Commits all of it, or nothing.
    pub(super) fn transact(
        &mut self,
        staged: &[Staged],
        positions: &[(TopicPartition, u64)],
        beside: &BTreeMap<u32, Beside>,
    ) -> Result<BTreeMap<usize, u64>, CommitError> {
        let silent = self.last_poll.elapsed();
        if silent > self.cluster.settings().max_poll_interval {
            self.fenced = Some(Fencing::Zombie);
            return Err(CommitError::Fenced(format!(
                "zombie: this worker stood still for {} s, and its tasks have gone to others",
                silent.as_secs()
            )));
        }
        match self.try_transact(staged, positions, beside) {
            Ok(offsets) => Ok(offsets),
            Err(failure) => Err(self.commit_failed(failure)),
        }
    }

    fn try_transact(
        &mut self,
        staged: &[Staged],
        positions: &[(TopicPartition, u64)],
        beside: &BTreeMap<u32, Beside>,
    ) -> Result<BTreeMap<usize, u64>, Failure> {
        self.transactions.begin()?;
        failpoint::reach(Point::Begin);
        let changelog = Arc::clone(&self.cluster.topics().changelog);
        for work in staged {
            let last = work
                .records
                .iter()
                .rposition(|record| record.target.topic == changelog);
            for (at, record) in work.records.iter().enumerate() {
                let mark = if Some(at) == last {
                    mark_of(work.task)
                } else {
                    0
                };
                self.transactions.send(record, mark)?;
                failpoint::reach_if(Point::MidProduce, || at + 1 == work.records.len() / 2);
            }
        }
        failpoint::reach(Point::BeforeOffsets);
        self.send_positions(positions, beside)?;
        failpoint::reach(Point::AfterOffsets);
        failpoint::enter(Point::CommitSent);
        let committed = self.transactions.commit()?;
        failpoint::reach(Point::CommitAcknowledged);
        Ok(committed)
    }

    /// Makes these positions, and what stands `beside` them, part of the open transaction.
    pub(super) fn send_positions(
        &mut self,
        positions: &[(TopicPartition, u64)],
        beside: &BTreeMap<u32, Beside>,
    ) -> Result<(), Failure> {
        let list = list_of(positions).map_err(Failure::Halt)?;
        for mut element in list.elements_for_topic(&self.cluster.topics().routed) {
            let task = element.partition().cast_unsigned();
            if let Some(beside) = beside.get(&task) {
                element.set_metadata(beside.to_string());
            }
        }
        self.send_list(list)
    }

    /// Makes these positions part of the open transaction, as the member of the group that this worker is.
    pub(super) fn send_list(&mut self, list: TopicPartitionList) -> Result<(), Failure> {
        // Taken here, on the thread that serves the group, and with nothing served since the
        // ownership of these tasks was seen.
        let member = self
            .consumer
            .group_metadata()
            .ok_or_else(|| Failure::Abort("not a member of the group".to_owned()))?;
        self.transactions.offsets(list, member)
    }

    /// Names what came of a commit, and leaves reading at the committed positions.
    fn commit_failed(&mut self, failure: Failure) -> CommitError {
        match self.take_back(failure) {
            Ok(what) => match self.reposition() {
                Ok(()) => CommitError::Abort(what),
                Err(error) => CommitError::Indeterminate(error.to_string()),
            },
            Err(Failure::Halt(error)) => {
                // So that readers need not wait for the broker to do it; it does if this fails.
                let _ = self.transactions.abort();
                CommitError::Halt(error.to_string())
            }
            Err(Failure::Fenced(what)) => {
                CommitError::Fenced(format!("{}: {what}", self.note_fencing().as_str()))
            }
            Err(Failure::Abort(what) | Failure::Unknown(what)) => CommitError::Indeterminate(what),
        }
    }

    /// Aborts the transaction where that is all that its failure takes, and answers why it failed.
    ///
    /// # Errors
    /// The failure that is left: this producer cannot go on.
    pub(super) fn take_back(&mut self, failure: Failure) -> Result<String, Failure> {
        match failure {
            Failure::Abort(what) => self.transactions.abort().map(|()| what),
            failure => Err(failure),
        }
    }

    fn reposition(&mut self) -> Result<(), KafkaLogError> {
        let positions = self.inputs.iter_mut().map(|(at, input)| {
            input.next = input.committed;
            input.waiting_since = None;
            (at.clone(), input.committed)
        });
        let positions: Vec<_> = positions.collect();
        if positions.is_empty() {
            return Ok(());
        }
        let sought = self.consumer.seek_partitions(list_of(&positions)?, SEEK);
        let sought = sought.map_err(|e| KafkaLogError::failed("going back to read again", e))?;
        for element in sought.elements() {
            element
                .error()
                .map_err(|e| KafkaLogError::failed("going back to read again", e))?;
        }
        Ok(())
    }
}

/// The mark of a task's last changelog record; 0 is none.
pub(super) fn mark_of(task: u32) -> usize {
    task as usize + 1
}
