//! The topics on a cluster, each up to where it ended when it was first looked at for a task.
//!
//! One client a partition, as each is read at a pace of its own; of those that are not needed for a
//! while it is closed, and opened again where it stood.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use checker::{Bounds, Committed, Entry};
use engine::group::Span;
use engine::port::TopicPartition;
use kafkalog::{Cluster, Reader};
use runtime::RuntimeError;

use crate::error::CliError;
use crate::shutdown::Shutdown;

/// Clients that are open at a time, at most.
const OPEN: usize = 24;
/// How long one look for records takes when none are at hand.
const LOOK: Duration = Duration::from_millis(100);
/// After this long without a record it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The topics up to where they ended.
pub(super) struct Cut {
    cluster: Arc<Cluster>,
    partitions: BTreeMap<String, u32>,
    bounds: BTreeMap<TopicPartition, Bounds>,
    /// The one that was used last comes last.
    open: Vec<Lane>,
}

struct Lane {
    at: TopicPartition,
    reader: Reader,
    waiting: VecDeque<Entry>,
    /// The offset that whoever reads in order asks for next.
    next: u64,
    ended: bool,
    is_told: bool,
}

impl Cut {
    pub(super) fn new(cluster: Arc<Cluster>) -> Result<Cut, CliError> {
        let partitions = cluster.partition_counts().map_err(RuntimeError::from)?;
        Ok(Cut {
            cluster,
            partitions,
            bounds: BTreeMap::new(),
            open: Vec::new(),
        })
    }

    /// What is looked at from here on may reach further: each task's commits are looked at to an end of
    /// their own, and what they consumed and wrote has to lie within the bounds of its topics.
    pub(super) fn renew(&mut self) {
        self.bounds.clear();
        self.open.clear();
    }

    pub(super) fn bounds(&mut self, at: &TopicPartition) -> Result<Bounds, CliError> {
        if let Some(known) = self.bounds.get(at) {
            return Ok(*known);
        }
        let is_there = self
            .partitions
            .get(&*at.topic)
            .is_some_and(|n| at.partition < *n);
        let bounds = match is_there {
            true => {
                let (begin, end) = self.cluster.bounds(at).map_err(RuntimeError::from)?;
                Bounds { begin, end }
            }
            false => Bounds::default(),
        };
        self.bounds.insert(at.clone(), bounds);
        Ok(bounds)
    }

    pub(super) fn read(
        &mut self,
        at: &TopicPartition,
        from: u64,
        max: usize,
        shutdown: &Shutdown,
    ) -> Result<Vec<Entry>, CliError> {
        let end = self.bounds(at)?.end;
        if from >= end {
            return Ok(Vec::new());
        }
        let mut lane = self.lane(at, from, end)?;
        let read = lane.read(max, shutdown);
        // A gap is nothing new; but what was there and is not any more must not be taken for one.
        let is_suspect = match &read {
            Ok(entries) => entries.first().is_none_or(|first| first.offset > from),
            Err(_) => !shutdown.is_requested(),
        };
        if is_suspect {
            let (begin, _) = self.cluster.bounds(at).map_err(RuntimeError::from)?;
            if begin > from {
                return Err(CliError::failure(format!(
                    "records of {} partition {} were removed while they were read",
                    at.topic, at.partition
                ))
                .hint("try again: what is left is verified as far as that goes"));
            }
        }
        let entries = read?;
        self.open.push(lane);
        Ok(entries)
    }

    /// The lane of `at` that stands at `from`.
    fn lane(&mut self, at: &TopicPartition, from: u64, end: u64) -> Result<Lane, CliError> {
        let known = self.open.iter().position(|l| l.at == *at && l.next == from);
        if let Some(known) = known {
            return Ok(self.open.remove(known));
        }
        self.open.retain(|lane| lane.at != *at);
        if self.open.len() >= OPEN {
            self.open.remove(0);
        }
        let span = Span {
            at: at.clone(),
            from,
            until: end,
        };
        let reader = self
            .cluster
            .reader(vec![span])
            .map_err(RuntimeError::from)?;
        Ok(Lane {
            at: at.clone(),
            reader,
            waiting: VecDeque::new(),
            next: from,
            ended: false,
            is_told: false,
        })
    }

    pub(super) fn committed(&self, inputs: &[TopicPartition]) -> Result<Committed, CliError> {
        Ok(self.cluster.positions(inputs).map_err(RuntimeError::from)?)
    }

    pub(super) fn has_grown(&mut self, at: &TopicPartition) -> Result<bool, CliError> {
        let before = self.bounds(at)?;
        let now = self.cluster.bounds(at).map_err(RuntimeError::from)?;
        Ok(now.1 > before.end)
    }
}

impl Lane {
    fn read(&mut self, max: usize, shutdown: &Shutdown) -> Result<Vec<Entry>, CliError> {
        let mut budget = Duration::ZERO;
        while self.waiting.is_empty() && !self.ended {
            let waiting = &mut self.waiting;
            self.ended = self.reader.read(budget, |seen| {
                waiting.push_back(Entry {
                    offset: seen.offset,
                    timestamp: seen.timestamp,
                    key: seen.key.map(<[u8]>::to_vec),
                    value: seen.value.map(<[u8]>::to_vec),
                    headers: seen.headers(),
                });
                Ok::<(), RuntimeError>(())
            })?;
            if shutdown.is_requested() {
                return Err(RuntimeError::Interrupted.into());
            }
            if self.reader.quiet_for() > PATIENCE && !self.is_told {
                self.is_told = true;
                tracing::warn!(
                    topic = &*self.at.topic,
                    partition = self.at.partition,
                    "waiting for records: a transaction is open, or the cluster does not answer"
                );
            }
            budget = LOOK;
        }
        let count = self.waiting.len().min(max);
        let entries: Vec<Entry> = self.waiting.drain(..count).collect();
        if let Some(last) = entries.last() {
            self.next = last.offset + 1;
        }
        Ok(entries)
    }
}
