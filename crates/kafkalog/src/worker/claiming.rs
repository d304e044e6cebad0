//! Taking over the right to work on tasks: where they stand, one transaction that says whose they are now,
//! and their inputs.
//!
//! Invariant: inputs are assigned only after the claim is committed, at the positions that it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use engine::group::{ClaimError, Claimed};
use engine::port::{OutRecord, Table, TopicPartition};
use engine::trial::Beside;
use failpoint::Point;
use rdkafka::consumer::Consumer;
use wire::meta::MetaWriter;

use super::transacting::mark_of;
use super::{KafkaWorker, OWNER_KEY};
use crate::cluster::{Stands, committed_positions, list_of};
use crate::error::{KafkaLogError, words};
use crate::input::Input;
use crate::native::PartitionQueue;
use crate::transactions::Failure;

/// Where tasks that are claimed start from.
#[derive(Default)]
struct Starts {
    inputs: Vec<(u32, TopicPartition, u64)>,
    beside: BTreeMap<u32, Beside>,
}

impl KafkaWorker {
    pub(super) fn claim_all(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<KafkaLogError>> {
        let Starts { inputs, beside } = self.starts(tasks)?;
        let positions: Vec<_> = inputs
            .iter()
            .map(|(_, at, next)| (at.clone(), *next))
            .collect();
        let offsets = match self.write_claim(tasks, &positions, &beside) {
            Ok(offsets) => offsets,
            Err(failure) => return Err(self.claim_failed(failure)),
        };
        failpoint::reach(Point::MidTakeover);
        self.last_commit = Instant::now();
        // The queues first, so that no record goes elsewhere.
        let assigned = self.assign(inputs, &positions);
        assigned.map_err(ClaimError::Failed)?;
        let claimed = tasks.iter().map(|(task, _)| Claimed {
            task: *task,
            changelog_end: offsets.get(&mark_of(*task)).map_or(0, |at| at + 1),
            beside: beside.get(task).cloned().unwrap_or_default(),
        });
        let claimed = claimed.collect();
        self.beside.extend(beside);
        Ok(claimed)
    }

    /// Where reading of each input starts: at the group's stable position, or at the beginning; and what
    /// stands beside the tasks' positions, once they are claimed.
    fn starts(
        &self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Starts, ClaimError<KafkaLogError>> {
        let inputs = tasks.iter().flat_map(|(_, inputs)| inputs).cloned();
        let inputs: Vec<TopicPartition> = inputs.collect();
        let positions = committed_positions(&self.consumer, &inputs)
            .map_err(|e| ClaimError::NotNow(format!("positions are not to be had: {e}")))?;
        let mut starts = Starts::default();
        for (task, inputs) in tasks {
            for at in inputs {
                let bounds = self.cluster.bounds(at);
                let (start, end) = bounds.map_err(|e| ClaimError::NotNow(e.to_string()))?;
                let stands = positions.get(at).cloned().unwrap_or_default();
                // Written together with what the new tasks begin with, by a member of this group: who
                // has become a member since sees it here, as only stable positions are seen.
                if let Some(generation) = stands.moved_to {
                    return Err(ClaimError::Failed(KafkaLogError::Moved { generation }));
                }
                let Stands { next, beside, .. } = stands;
                let position = next.unwrap_or(start);
                let failed = if position < start {
                    Some(KafkaLogError::Overtaken {
                        task: *task,
                        at: words(at),
                        position,
                        start,
                    })
                } else if position > end {
                    Some(KafkaLogError::Truncated {
                        task: *task,
                        at: words(at),
                        position,
                        end,
                    })
                } else {
                    None
                };
                if let Some(error) = failed {
                    return Err(ClaimError::Failed(error));
                }
                if at.topic == self.cluster.topics().routed {
                    starts.beside.insert(*task, beside.claimed(&self.nonce));
                }
                starts.inputs.push((*task, at.clone(), position));
            }
        }
        Ok(starts)
    }

    fn write_claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
        positions: &[(TopicPartition, u64)],
        beside: &BTreeMap<u32, Beside>,
    ) -> Result<BTreeMap<usize, u64>, Failure> {
        let mut owner = MetaWriter::new();
        owner.text(&self.cluster.settings().transactional_id(self.number));
        owner.text(&self.nonce);
        let owner = owner.finish();
        self.transactions.begin()?;
        for (task, _) in tasks {
            let record = OutRecord {
                target: TopicPartition {
                    topic: Arc::clone(&self.cluster.topics().changelog),
                    partition: *task,
                },
                key: Some(Table::Meta.full_key(OWNER_KEY)),
                value: Some(owner.clone()),
                headers: Vec::new(),
            };
            self.transactions.send(&record, mark_of(*task))?;
        }
        self.send_positions(positions, beside)?;
        self.transactions.commit()
    }

    fn assign(
        &mut self,
        starts: Vec<(u32, TopicPartition, u64)>,
        positions: &[(TopicPartition, u64)],
    ) -> Result<(), KafkaLogError> {
        let mut by_task: BTreeMap<u32, Vec<TopicPartition>> = BTreeMap::new();
        for (task, at, next) in starts {
            let waker = Some(thread::current());
            let queue = PartitionQueue::new(&self.consumer, &at.topic, at.partition, waker)
                .ok_or_else(|| KafkaLogError::UnknownTopic(at.topic.to_string()))?;
            by_task.entry(task).or_default().push(at.clone());
            let input = Input {
                task,
                queue,
                next,
                committed: next,
                committed_at: self.last_commit,
                waiting_since: None,
                failed: None,
                last_read: None,
            };
            self.inputs.insert(at, input);
        }
        self.consumer
            .incremental_assign(&list_of(positions)?)
            .map_err(|e| KafkaLogError::Restart(format!("assigning inputs: {e}")))?;
        for (task, partitions) in by_task {
            self.consumer.context().assigned(task, partitions);
        }
        Ok(())
    }

    fn claim_failed(&mut self, failure: Failure) -> ClaimError<KafkaLogError> {
        ClaimError::Failed(match self.take_back(failure) {
            Ok(what) => return ClaimError::NotNow(what),
            Err(Failure::Halt(error)) => error,
            Err(Failure::Fenced(what)) => {
                let fencing = self.note_fencing().as_str();
                KafkaLogError::Restart(format!("{fencing}: while taking over: {what}"))
            }
            Err(Failure::Abort(what) | Failure::Unknown(what)) => {
                KafkaLogError::Restart(format!("taking over: {what}"))
            }
        })
    }
}
