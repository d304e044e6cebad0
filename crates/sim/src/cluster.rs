//! Kafka, in memory and in virtual time: partitions, transactions, a consumer group.
//!
//! It is asked by clients one request at a time and moved on by [`Cluster::advance`], which does what
//! falls due: markers, timeouts, beats, compaction. Every delay and every choice comes from the seed.
//! Here are its topics and its time; what producers ask is in `transactions`, what consumers ask in `consumers`.
//!
//! What it does not do: keep bytes of a wire protocol, replicate, or lose what it has acknowledged.

mod assignor;
mod consumers;
mod group;
mod id;
pub mod partition;
mod transactions;
mod weather;

use std::collections::BTreeMap;
use std::rc::Rc;

use domain::time::TimeMs;
use engine::port::TopicPartition;
use rustc_hash::FxHashMap;

pub use consumers::{Offset, Position};
use group::{Group, Later};
pub use group::{Membership, Patience};
use id::Id;
use partition::{Content, Partition, Stored};
use transactions::Marker;
pub use transactions::{SCAN, TRANSACTION_TIMEOUT, Transaction};
pub use weather::{LostAnswer, Weather};

use crate::agenda::Agenda;
use crate::random::Random;
use crate::time::Moment;
use crate::trace::Trace;

/// Wall-clock time at the beginning, when nothing has jumped: 2026-01-01.
pub const EPOCH: TimeMs = TimeMs(1_767_225_600_000);
/// How often it is looked for silent members, and for stable offsets that are stuck.
const LOOK: u64 = 500;
/// How often changelogs are compacted.
const COMPACT: u64 = 4_000;
/// How long tombstones are kept.
pub const TOMBSTONES: u64 = 30_000;

/// What falls due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Marker(Marker),
    Group(Later),
    Scan,
    Look,
    Compact,
}

/// Why a broker did not do as it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not now: the same may be asked again.
    Retriable(&'static str),
    /// The epoch is over.
    Fenced(&'static str),
    /// The transaction has to be aborted.
    Abortable(&'static str),
    /// Neither: the client cannot say what has become of it.
    Unclassified(&'static str),
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The invariant, by its name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// The cluster.
pub struct Cluster {
    now: Moment,
    random: Random,
    /// What is wrong with it just now.
    pub weather: Weather,
    /// What happened.
    pub trace: Trace,
    names: FxHashMap<TopicPartition, usize>,
    at: Vec<TopicPartition>,
    partitions: Vec<Partition>,
    compacted: Vec<usize>,
    compactions: usize,
    /// By number of the producer, from 1.
    ids: Vec<Id>,
    group: Group,
    committed: BTreeMap<usize, Offset>,
    /// By producer: offsets that wait for their marker.
    pending: BTreeMap<u64, Vec<(usize, Offset)>>,
    transactions: Vec<Transaction>,
    due: Agenda<Due>,
    violations: Vec<Violation>,
}

impl Cluster {
    /// A cluster with a group over `tasks` tasks.
    #[must_use]
    pub fn new(seed: u64, tasks: u32, patience: Patience, trace: Trace) -> Cluster {
        let mut cluster = Cluster {
            now: Moment::default(),
            random: Random::new(seed, 1),
            weather: Weather::default(),
            trace,
            names: FxHashMap::default(),
            at: Vec::new(),
            partitions: Vec::new(),
            compacted: Vec::new(),
            compactions: 0,
            ids: Vec::new(),
            group: Group::new(tasks, patience),
            committed: BTreeMap::new(),
            pending: BTreeMap::new(),
            transactions: Vec::new(),
            due: Agenda::new(),
            violations: Vec::new(),
        };
        cluster.schedule(SCAN, Due::Scan);
        cluster.schedule(LOOK, Due::Look);
        cluster.schedule(COMPACT, Due::Compact);
        cluster
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The brokers' wall clock.
    #[must_use]
    pub fn wall_clock(&self) -> TimeMs {
        EPOCH.plus(self.now.0.cast_signed())
    }

    // Topics.

    /// Makes a partition; `is_compacted`: its topic keeps the last record of each key, and notes when brokers
    /// took records in (`LogAppendTime`), whatever the writers' clocks say.
    pub fn create(&mut self, at: TopicPartition, is_compacted: bool) {
        let number = self.partitions.len();
        self.names.insert(at.clone(), number);
        self.at.push(at);
        self.partitions.push(Partition::default());
        if is_compacted {
            self.compacted.push(number);
        }
    }

    /// The partition at `at`, if there is one.
    #[must_use]
    pub fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.names.get(at).map(|number| &self.partitions[*number])
    }

    /// Every partition of `topic`, by number.
    pub fn topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (u32, &'a Partition)> {
        let of_topic = self.at.iter().zip(&self.partitions);
        let of_topic = of_topic.filter(move |(at, _)| &*at.topic == topic);
        of_topic.map(|(at, partition)| (at.partition, partition))
    }

    /// Where partition number `number` is.
    #[must_use]
    pub fn place(&self, number: usize) -> &TopicPartition {
        &self.at[number]
    }

    /// Appends a record outside of any transaction.
    pub fn append(&mut self, at: &TopicPartition, timestamp: TimeMs, content: Content) {
        if let Some(number) = self.names.get(at) {
            self.partitions[*number].append(self.now, timestamp, Rc::new(content), None);
        }
    }

    /// Beginning of what committed readers may read, and the end.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn bounds(&self, at: &TopicPartition) -> Result<(u64, u64), Refusal> {
        self.broker()?;
        Ok((0, self.partition(at).map_or(0, Partition::end)))
    }

    /// The first offset of a record that is not older than `time`.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn offset_at(&self, at: &TopicPartition, time: TimeMs) -> Result<Option<u64>, Refusal> {
        self.broker()?;
        let records = self.partition(at).map_or(&[][..], Partition::history);
        let recent = records.iter().find(|r| r.timestamp >= time);
        Ok(recent.map(|r| r.offset))
    }

    /// A number for every partition, from 0.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The value of the record at `offset`.
    pub(crate) fn value_at(&self, at: &TopicPartition, offset: u64) -> Option<Vec<u8>> {
        let record = self.partition(at)?.history().get(offset as usize)?;
        record.content.value.clone()
    }

    /// Committed records of `at` in a span; see [`Partition::read`].
    pub(crate) fn read(
        &self,
        at: &TopicPartition,
        from: u64,
        until: u64,
    ) -> impl Iterator<Item = &Stored> {
        let partition = self.partition(at);
        partition.into_iter().flat_map(move |p| p.read(from, until))
    }

    // Time.

    fn schedule(&mut self, after: u64, due: Due) {
        self.due.put(self.now.plus(after), due);
    }

    /// Time goes on to `to`, and what falls due by then happens.
    pub fn advance(&mut self, to: Moment) {
        while let Some((at, due)) = self.due.pop_by(to) {
            self.now = self.now.max(at);
            self.weather.clear(self.now);
            self.happen(due);
        }
        self.now = self.now.max(to);
        self.weather.clear(self.now);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Marker(marker) => self.mark(marker),
            Due::Group(later) => {
                let (now, is_up) = (self.now, self.coordinator().is_ok());
                self.with_group(|group, plan| group.happen(later, now, is_up, plan));
            }
            Due::Scan => {
                self.scan();
                self.schedule(SCAN, Due::Scan);
            }
            Due::Look => {
                let (now, is_up) = (self.now, self.coordinator().is_ok());
                self.with_group(|group, plan| group.happen(Later::Expire, now, is_up, plan));
                self.look_for_stuck();
                self.schedule(LOOK, Due::Look);
            }
            Due::Compact => {
                let now = self.wall_clock();
                // Some of them at a time.
                self.compactions += 1;
                for number in self.compacted.iter().skip(self.compactions % 3).step_by(3) {
                    self.partitions[*number].compact(now, TOMBSTONES);
                }
                self.schedule(COMPACT, Due::Compact);
            }
        }
    }

    /// A number below `end`, from the seed.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    // Invariants.

    /// I9: no last stable offset stays where it is beyond the transaction timeout and a scan, and
    /// what the brokers' own troubles add to that.
    fn look_for_stuck(&mut self) {
        let bound = TRANSACTION_TIMEOUT + SCAN + LOOK + weather::SLOWEST + 1_000;
        for number in 0..self.partitions.len() {
            let Some(since) = self.partitions[number].open_since() else {
                continue;
            };
            let since = since.max(self.weather.last_trouble());
            if self.now.since(since) > bound && self.coordinator().is_ok() {
                let at = &self.at[number];
                let what = format!(
                    "the last stable offset of {} {} has not moved since {since}, at {}",
                    at.topic, at.partition, self.now
                );
                self.violate("I9", what);
            }
        }
    }

    /// What must not be was seen.
    pub fn violate(&mut self, invariant: &'static str, what: String) {
        // One of a kind is enough to fail, and the first is the one to look at.
        if !self.violations.iter().any(|v| v.invariant == invariant) {
            self.trace
                .say(self.now, format_args!("VIOLATED {invariant}: {what}"));
            self.violations.push(Violation { invariant, what });
        }
    }

    /// What was seen that must not be.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
