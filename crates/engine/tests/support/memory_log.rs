//! A log in memory: topics × partitions, atomic commits, committed positions, faults on demand.

use std::collections::{BTreeMap, VecDeque};

use domain::time::TimeMs;
use engine::port::{
    CommitError, Committed, Header, LogError, Read, Record, Staged, TopicName, TopicPartition,
    WorkerLog,
};
use engine::trial::{Beside, Place};

/// A record as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) timestamp: TimeMs,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// What a commit can come to, other than success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Not written, and known not to be.
    Abort,
    /// Nobody knows; it was not written.
    UnknownLost,
    /// Nobody knows; it was written.
    UnknownDone,
    /// Another owner took over; it was not written.
    Fenced,
    /// It can never be written.
    Halt,
}

/// The log.
#[derive(Clone, Debug)]
pub(crate) struct MemoryLog {
    partitions: BTreeMap<TopicPartition, Vec<Stored>>,
    committed: BTreeMap<TopicPartition, u64>,
    reading: BTreeMap<TopicPartition, u64>,
    faults: VecDeque<Option<Fault>>,
    changelog: TopicName,
    /// Which process it is used by.
    pub(crate) process: String,
    /// What stands beside each task's positions.
    pub(crate) beside: BTreeMap<u32, Beside>,
    /// Commits that were tried.
    pub(crate) commits: usize,
}

impl MemoryLog {
    pub(crate) fn new(changelog: TopicName) -> MemoryLog {
        MemoryLog {
            partitions: BTreeMap::new(),
            committed: BTreeMap::new(),
            reading: BTreeMap::new(),
            faults: VecDeque::new(),
            changelog,
            process: "process 0".to_owned(),
            beside: BTreeMap::new(),
            commits: 0,
        }
    }

    /// State goes to another changelog from now on.
    pub(crate) fn goes_on_in(&mut self, changelog: TopicName) {
        self.changelog = changelog;
    }

    pub(crate) fn append(&mut self, to: &TopicPartition, record: Stored) {
        self.partitions.entry(to.clone()).or_default().push(record);
    }

    pub(crate) fn records(&self, of: &TopicPartition) -> &[Stored] {
        self.partitions.get(of).map_or(&[], Vec::as_slice)
    }

    /// Everything in `topic`, by partition.
    pub(crate) fn topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (u32, &'a [Stored])> {
        self.partitions
            .iter()
            .filter(move |(at, _)| &*at.topic == topic)
            .map(|(at, records)| (at.partition, records.as_slice()))
    }

    /// What the next commit comes to, after those said before; `None` is success.
    pub(crate) fn next_commit(&mut self, fault: Option<Fault>) {
        self.faults.push_back(fault);
    }

    /// What was said about commits to come no longer holds.
    pub(crate) fn forget_faults(&mut self) {
        self.faults.clear();
    }

    /// Reading stands at the committed positions again, as for a process that has just started.
    pub(crate) fn rewind(&mut self) {
        self.reading = self.committed.clone();
    }

    /// Reading of `source` stands at its committed position.
    pub(crate) fn read_from_committed(&mut self, source: &TopicPartition) {
        let next = self.committed.get(source).copied().unwrap_or_default();
        self.reading.insert(source.clone(), next);
    }

    pub(crate) fn is_quarantined(&self, place: Option<&Place>) -> bool {
        let mut all = self.beside.values().flat_map(|b| b.trial.quarantined());
        all.any(|one| Some(one) == place)
    }

    fn write(&mut self, staged: &Staged) {
        for record in &staged.records {
            let stored = Stored {
                timestamp: TimeMs(0),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record.headers.clone(),
            };
            self.append(&record.target, stored);
        }
        let beside = self.beside.entry(staged.task).or_default();
        *beside = beside.committed(staged.head, &staged.positions);
        for (source, next) in &staged.positions {
            let was = self.committed.insert(source.clone(), *next);
            assert!(
                was < Some(*next),
                "a position went back: {source:?} to {next}"
            );
        }
    }
}

impl WorkerLog for MemoryLog {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let from = self.reading.entry(source.clone()).or_default();
        let all = self.partitions.get(source).map_or(&[][..], Vec::as_slice);
        let first = usize::try_from(*from).map_err(|e| LogError(e.to_string()))?;
        let read: Vec<Record> = all[first..]
            .iter()
            .take(max)
            .zip(*from..)
            .map(|(stored, offset)| Record {
                source: source.clone(),
                offset,
                timestamp: stored.timestamp,
                key: stored.key.clone(),
                value: stored.value.clone(),
            })
            .collect();
        *from += read.len() as u64;
        Ok(read.into())
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        self.commits += 1;
        let fault = self.faults.pop_front().flatten();
        if matches!(fault, None | Some(Fault::UnknownDone)) {
            staged.iter().for_each(|s| self.write(s));
        }
        match fault {
            None => Ok(staged
                .into_iter()
                .map(|s| {
                    let changelog = TopicPartition {
                        topic: self.changelog.clone(),
                        partition: s.task,
                    };
                    let end = self.records(&changelog).len() as u64;
                    s.into_committed(end)
                })
                .collect()),
            Some(fault) => {
                self.rewind();
                Err(match fault {
                    Fault::Abort => CommitError::Abort("injected".to_owned()),
                    Fault::Fenced => CommitError::Fenced("injected".to_owned()),
                    Fault::Halt => CommitError::Halt("injected".to_owned()),
                    Fault::UnknownLost | Fault::UnknownDone => {
                        CommitError::Indeterminate("injected".to_owned())
                    }
                })
            }
        }
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        for task in tasks {
            let beside = self.beside.entry(*task).or_default();
            if let Some(trying) = beside.trying(place, &self.process) {
                *beside = trying;
            }
        }
        Ok(())
    }
}
