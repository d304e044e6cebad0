//! The log as one worker sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::time::TimeMs;
use engine::port::{CommitError, Committed, LogError, Read, Staged, TopicPartition, WorkerLog};
use engine::trial::Place;
use rocksdb::WriteBatch;

use crate::codec;
use crate::error::EventLogError;
use crate::log::EmbeddedLog;
use crate::topic::{Topic, lock};
use crate::write::Prepared;

/// What one read takes into memory at most, beyond a first record.
const READ_BYTES: usize = 8 << 20;

/// Reads the inputs of some tasks from their committed positions on, and commits for them.
pub struct EmbeddedWorker {
    log: Arc<EmbeddedLog>,
    tasks: BTreeSet<u32>,
    inputs: BTreeMap<TopicPartition, Input>,
    changelog: Arc<Topic>,
    now: fn() -> TimeMs,
}

struct Input {
    topic: Arc<Topic>,
    task: u32,
    /// Where reading stands.
    next: u64,
    /// Where it stood at the last commit.
    committed: u64,
}

impl EmbeddedLog {
    /// A worker for the given tasks and the partitions that each of them reads, standing at the
    /// committed positions (at a partition's start where there is none). Task `p` has partition
    /// `p` of the topic `changelog`. `now` is the clock for timestamps.
    ///
    /// # Errors
    /// A task has a worker already, a partition does not exist or is given twice, or records that
    /// a task has not consumed are gone.
    pub fn worker(
        self: &Arc<Self>,
        inputs: Vec<(u32, Vec<TopicPartition>)>,
        changelog: &str,
        now: fn() -> TimeMs,
    ) -> Result<EmbeddedWorker, EventLogError> {
        let _removal = lock(&self.removal);
        let changelog = self.topic(changelog)?;
        let mut worker = EmbeddedWorker {
            log: Arc::clone(self),
            tasks: BTreeSet::new(),
            inputs: BTreeMap::new(),
            changelog,
            now,
        };
        for (task, sources) in inputs {
            if task as usize >= worker.changelog.partitions.len() {
                return Err(EventLogError::UnknownPartition {
                    topic: worker.changelog.name.to_string(),
                    partition: task,
                    count: worker.changelog.partitions.len() as u32,
                });
            }
            // From here on, dropping the worker releases the task.
            if !lock(&self.tasks).insert(task) {
                return Err(EventLogError::TaskInUse(task));
            }
            worker.tasks.insert(task);
            for source in sources {
                worker.add_input(task, source)?;
            }
        }
        worker.claim()?;
        Ok(worker)
    }
}

impl EmbeddedWorker {
    fn add_input(&mut self, task: u32, source: TopicPartition) -> Result<(), EventLogError> {
        let topic = self.log.topic_of(&source)?;
        let start = self.log.start_offset(&source)?;
        let position = self.log.position(task, &source)?;
        let next = position.unwrap_or(start);
        if next < start {
            return Err(EventLogError::Overtaken {
                topic: source.topic.to_string(),
                partition: source.partition,
                task,
                position: next,
                start,
            });
        }
        let input = Input {
            topic,
            task,
            next,
            committed: next,
        };
        if let Some(twice) = self.inputs.insert(source.clone(), input) {
            return Err(EventLogError::InputTwice {
                topic: twice.topic.name.to_string(),
                partition: source.partition,
            });
        }
        Ok(())
    }

    /// Stores the positions that reading starts from, so that retention respects them from now on.
    fn claim(&self) -> Result<(), EventLogError> {
        let mut batch = WriteBatch::default();
        for (source, input) in &self.inputs {
            let key = codec::position_key(input.task, input.topic.id, source.partition);
            batch.put(key, input.committed.to_be_bytes());
        }
        self.log.write_meta(batch)
    }

    fn try_commit(&mut self, staged: &[Staged]) -> Result<(), EventLogError> {
        let now = (self.now)();
        let mut prepared = Prepared::default();
        for work in staged {
            self.check_owned(work)?;
            for record in &work.records {
                prepared.add(&self.log, record, now)?;
            }
            for (source, next) in &work.positions {
                let input = &self.inputs[source];
                let key = codec::position_key(work.task, input.topic.id, source.partition);
                prepared.meta.push((key, next.to_be_bytes().to_vec()));
            }
        }
        if !prepared.is_empty() {
            self.log.write(prepared)?;
        }
        for (source, next) in staged.iter().flat_map(|work| &work.positions) {
            if let Some(input) = self.inputs.get_mut(source) {
                input.committed = *next;
            }
        }
        Ok(())
    }

    fn check_owned(&self, work: &Staged) -> Result<(), EventLogError> {
        let not_owned = |detail: String| {
            Err(EventLogError::NotOwned {
                task: work.task,
                detail,
            })
        };
        if !self.tasks.contains(&work.task) {
            return not_owned("it is not one of the worker's tasks".to_owned());
        }
        let mine = |source| {
            let input: Option<&Input> = self.inputs.get(source);
            input.is_some_and(|input| input.task == work.task)
        };
        match work.positions.iter().find(|(source, _)| !mine(source)) {
            Some((source, _)) => not_owned(format!(
                "partition {} of {} is not one of the task's inputs",
                source.partition, source.topic
            )),
            None => Ok(()),
        }
    }
}

impl WorkerLog for EmbeddedWorker {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let Some(input) = self.inputs.get_mut(source) else {
            return Err(LogError(format!(
                "partition {} of {} is not one of this worker's inputs: this is a bug, please report it",
                source.partition, source.topic
            )));
        };
        let topic = &input.topic;
        let records =
            self.log
                .read_as(topic, source, input.next, max, READ_BYTES, |record, _| {
                    record
                })?;
        if let Some(last) = records.last() {
            input.next = last.offset + 1;
        }
        Ok(records.into())
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        if let Err(error) = self.try_commit(&staged) {
            for input in self.inputs.values_mut() {
                input.next = input.committed;
            }
            return Err(error.into());
        }
        let committed = |work: Staged| {
            // Nobody else writes this task's changelog.
            let end = self.changelog.partitions[work.task as usize].end();
            work.into_committed(end)
        };
        Ok(staged.into_iter().map(committed).collect())
    }

    /// Nobody takes a task over here.
    fn trying(&mut self, _: &[u32], _: Option<&Place>) -> Result<(), CommitError> {
        Ok(())
    }
}

impl Drop for EmbeddedWorker {
    fn drop(&mut self) {
        let mut tasks = lock(&self.log.tasks);
        tasks.retain(|task| !self.tasks.contains(task));
    }
}
