//! An input of a task, as a worker's client has it: what it has fetched, and where reading stands.
//!
//! The client knows the end of a partition from the broker's last answer. What that answer brought can
//! be read; of a slow partition the end is known before its records are here.

use engine::port::{Read, Record, TopicPartition};

use crate::cluster::Cluster;
use crate::log::MAX_TASK_IDLE;
use crate::time::Moment;

/// How long until there is an answer to the first fetch.
const FIRST: u64 = 15;

/// An input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) task: u32,
    /// Where reading stands: after all that was handed out, and behind markers after that.
    position: u64,
    /// After the last record that was handed out.
    next: u64,
    /// The committed position.
    pub(crate) committed: u64,
    /// The partition's stable end by the last answer.
    end: Option<u64>,
    /// Up to where records are here.
    fetched: u64,
    answer_at: Option<Moment>,
    /// When what the last answer promised is here.
    arrives_at: Option<(Moment, u64)>,
    waiting_since: Option<Moment>,
}

impl Input {
    pub(crate) fn new(task: u32, next: u64) -> Input {
        Input {
            task,
            position: next,
            next,
            committed: next,
            end: None,
            fetched: next,
            answer_at: None,
            arrives_at: None,
            waiting_since: None,
        }
    }

    /// Reading stands at the committed position again.
    pub(crate) fn rewind(&mut self) {
        self.position = self.committed;
        self.next = self.committed;
        self.fetched = self.fetched.max(self.committed);
        self.waiting_since = None;
    }

    /// The position to commit when everything before `consumed` is consumed.
    pub(crate) fn behind_markers(&self, consumed: u64) -> u64 {
        match consumed < self.next {
            true => consumed,
            false => self.position.max(consumed),
        }
    }

    pub(crate) fn read(
        &mut self,
        cluster: &mut Cluster,
        source: &TopicPartition,
        max: usize,
    ) -> Read {
        self.fetch(cluster, source);
        let now = cluster.now();
        let visible = cluster.read(source, self.next, self.fetched).take(max);
        let records: Vec<Record> = visible
            .map(|stored| Record {
                source: source.clone(),
                offset: stored.offset,
                timestamp: stored.timestamp,
                key: stored.content.key.clone(),
                value: stored.content.value.clone(),
            })
            .collect();
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        self.position = match records.len() < max {
            true => self.next.max(self.fetched),
            false => self.next,
        };
        if !records.is_empty() {
            self.waiting_since = None;
            return Read::Records(records);
        }
        if self.end.is_some_and(|end| self.position >= end) {
            self.waiting_since = None;
            return Read::CaughtUp;
        }
        let since = *self.waiting_since.get_or_insert(now);
        match now.since(since) >= MAX_TASK_IDLE {
            true => Read::CaughtUp,
            false => Read::NotYet,
        }
    }

    /// Takes what the broker has answered by now.
    fn fetch(&mut self, cluster: &mut Cluster, source: &TopicPartition) {
        let now = cluster.now();
        if let Some((at, until)) = self.arrives_at
            && now >= at
        {
            self.fetched = self.fetched.max(until);
            self.arrives_at = None;
        }
        let answer_at = *self.answer_at.get_or_insert(now.plus(FIRST));
        if now < answer_at || cluster.bounds(source).is_err() {
            return;
        }
        let end = cluster.partition(source).map_or(0, |p| p.stable_end());
        self.end = Some(end);
        let slow = cluster.slowness_of(source);
        let wait = 1 + cluster.below(slow + 1);
        match slow {
            0 => self.fetched = self.fetched.max(end),
            _ if self.arrives_at.is_none() => self.arrives_at = Some((now.plus(wait), end)),
            _ => {}
        }
        let again = 2 + cluster.below(12);
        self.answer_at = Some(now.plus(again));
    }
}
