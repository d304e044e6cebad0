//! Kafka, in memory and in virtual time: partitions, transactions, a consumer group.
//!
//! It is asked by clients one request at a time and moved on by [`Cluster::advance`], which does what
//! falls due: markers, timeouts, beats, compaction. Every delay and every choice comes from the seed.
//!
//! What it does not do: keep bytes of a wire protocol, replicate, or lose what it has acknowledged.

mod assignor;
mod group;
pub mod partition;
mod transactions;
mod weather;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use domain::time::TimeMs;
use engine::group::Change;
use engine::port::TopicPartition;
use engine::trial::Beside;
use rustc_hash::FxHashMap;

use group::{Group, Later, Plan};
pub use group::{Membership, Patience};
use partition::{Content, Partition, Stored, Writer};
use transactions::{Id, Stage};
pub use transactions::{Refusal, Transaction};
pub use weather::{LostAnswer, Weather};

use crate::random::Random;
use crate::time::Moment;
use crate::trace::Trace;

/// Wall-clock time at the beginning, when nothing has jumped: 2026-01-01.
pub const EPOCH: TimeMs = TimeMs(1_767_225_600_000);
/// How often it is looked for transactions that are open for too long.
pub const SCAN: u64 = 10_000;
/// How long a transaction may be open.
pub const TRANSACTION_TIMEOUT: u64 = 10_000;
/// How often it is looked for silent members, and for stable offsets that are stuck.
const LOOK: u64 = 500;
/// How often changelogs are compacted.
const COMPACT: u64 = 4_000;
/// How long tombstones are kept.
pub const TOMBSTONES: u64 = 30_000;

/// What falls due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Marker {
        id: usize,
        writer: Writer,
        commit: bool,
        /// None: the group's offsets.
        at: Option<usize>,
    },
    Group(Later),
    Scan,
    Look,
    Compact,
}

/// A position as the group keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offset {
    /// The next offset to read.
    pub next: u64,
    /// What stands beside it, if anything does.
    pub beside: Option<Beside>,
}

/// A position of a partition.
pub type Position = (TopicPartition, Offset);

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
    ids: Vec<Id>,
    group: Group,
    committed: BTreeMap<usize, Offset>,
    /// By producer: offsets that wait for their marker.
    pending: BTreeMap<u64, Vec<(usize, Offset)>>,
    transactions: Vec<Transaction>,
    due: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    slots: Vec<Due>,
    scheduled: u64,
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
            due: BinaryHeap::new(),
            slots: Vec::new(),
            scheduled: 0,
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

    // Transactions.

    /// Begins to write as `name`: whoever did so before is fenced, and its open transaction aborted.
    ///
    /// # Errors
    /// Retriable, until the markers of the last transaction stand.
    pub fn init(&mut self, name: &str) -> Result<(usize, Writer), Refusal> {
        self.coordinator()?;
        let id = match self.ids.iter().position(|id| id.name == name) {
            Some(id) => id,
            None => {
                let producer = self.ids.len() as u64 + 1;
                self.ids.push(Id::new(name.to_owned(), producer));
                self.ids.len() - 1
            }
        };
        match self.ids[id].stage {
            Stage::Ending { .. } => Err(Refusal::Retriable("concurrent transactions")),
            Stage::Open => {
                self.ids[id].writer.epoch += 1;
                self.decide(id, false);
                self.ids[id].last = None;
                Err(Refusal::Retriable("concurrent transactions"))
            }
            Stage::Empty => {
                self.ids[id].writer.epoch += 1;
                self.ids[id].last = None;
                Ok((id, self.ids[id].writer))
            }
        }
    }

    /// Writes a record in the open transaction of an id, or in a new one. The answer is its offset.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn produce(
        &mut self,
        id: usize,
        writer: Writer,
        at: &TopicPartition,
        timestamp: TimeMs,
        content: Rc<Content>,
    ) -> Result<u64, Refusal> {
        self.broker()?;
        let number = *self
            .names
            .get(at)
            .ok_or(Refusal::Unclassified("unknown partition"))?;
        let is_known =
            self.ids[id].stage == Stage::Open && self.ids[id].partitions.contains(&number);
        if !is_known {
            self.coordinator()?;
            self.calm()?;
            self.ids[id].may_add(writer.epoch)?;
        }
        if self.ids[id].check(writer.epoch).is_err()
            || self.partitions[number].epoch_of(writer.producer) > writer.epoch
        {
            // As brokers say it to a producer in the middle of a transaction.
            return Err(Refusal::Abortable("the producer's epoch is over"));
        }
        if self.weather.refuses_next {
            self.weather.refuses_next = false;
            return Err(Refusal::Abortable("a record was not delivered"));
        }
        self.open(id);
        self.ids[id].partitions.insert(number);
        let writer = self.ids[id].writer;
        let now = self.now;
        let timestamp = match self.compacted.contains(&number) {
            true => self.wall_clock(),
            false => timestamp,
        };
        Ok(self.partitions[number].append(now, timestamp, content, Some(writer)))
    }

    fn open(&mut self, id: usize) {
        if self.ids[id].stage != Stage::Empty {
            return;
        }
        let number = self.transactions.len() as u64 + 1;
        let id = &mut self.ids[id];
        id.stage = Stage::Open;
        id.last = None;
        id.since = self.now;
        id.writer.transaction = number;
        self.transactions.push(Transaction {
            writer: id.writer,
            committed: None,
            decided: Moment::default(),
            offsets: Vec::new(),
        });
    }

    /// Adds positions to the open transaction of an id, or to a new one.
    ///
    /// # Errors
    /// See [`Refusal`]; abortable, if `membership` is not the present one.
    pub fn send_offsets(
        &mut self,
        id: usize,
        writer: Writer,
        positions: &[Position],
        membership: Membership,
    ) -> Result<(), Refusal> {
        self.coordinator()?;
        self.calm()?;
        self.ids[id].may_add(writer.epoch)?;
        self.open(id);
        self.ids[id].has_offsets = true;
        self.group.check(membership)?;
        let positions = positions.iter();
        let positions: Vec<(usize, Offset)> = positions
            .filter_map(|(at, next)| Some((*self.names.get(at)?, next.clone())))
            .collect();
        let pending = self.pending.entry(writer.producer).or_default();
        pending.retain(|(at, _)| !positions.iter().any(|(new, _)| new == at));
        pending.extend(positions);
        Ok(())
    }

    /// Ends the open transaction of an id. Once that is decided, markers follow by themselves.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn end(&mut self, id: usize, writer: Writer, commit: bool) -> Result<(), Refusal> {
        self.coordinator()?;
        if self.ids[id].may_end(writer.epoch, commit)?.is_none() {
            self.decide(id, commit);
        }
        Ok(())
    }

    fn decide(&mut self, id: usize, commit: bool) {
        let partitions = std::mem::take(&mut self.ids[id].partitions);
        let has_offsets = std::mem::take(&mut self.ids[id].has_offsets);
        let writer = self.ids[id].writer;
        self.ids[id].last = Some(commit);
        let now = self.now;
        if let Some(transaction) = self.transaction(writer) {
            transaction.committed = Some(commit);
            transaction.decided = now;
        }
        if commit
            && let Some(offsets) = self.pending.get(&writer.producer).cloned()
            && let Some(transaction) = self.transaction(writer)
        {
            transaction.offsets = offsets;
        }
        let what = if commit { "commit" } else { "abort" };
        self.trace
            .note(self.now, what, writer.producer, writer.transaction);
        let places = partitions.into_iter().map(Some);
        let places: Vec<_> = places.chain(has_offsets.then_some(None)).collect();
        let left = places.len();
        self.ids[id].stage = match left {
            0 => Stage::Empty,
            left => Stage::Ending { left },
        };
        for at in places {
            let delay = self.marker_delay(at);
            let marker = Due::Marker {
                id,
                writer,
                commit,
                at,
            };
            self.schedule(delay, marker);
        }
    }

    fn transaction(&mut self, writer: Writer) -> Option<&mut Transaction> {
        let at = (writer.transaction as usize).checked_sub(1)?;
        self.transactions.get_mut(at)
    }

    fn marker_delay(&mut self, at: Option<usize>) -> u64 {
        let slow = at.map_or(0, |at| self.weather.slowness(at, self.now));
        let usual = match self.random.below(20) {
            0 => 150,
            1 | 2 => 40,
            _ => 6,
        };
        1 + self.random.below(usual) + self.random.below(slow + 1)
    }

    fn marker(&mut self, id: usize, writer: Writer, commit: bool, at: Option<usize>) {
        if self.broker().is_err() {
            let marker = Due::Marker {
                id,
                writer,
                commit,
                at,
            };
            let delay = 50 + self.random.below(200);
            self.schedule(delay, marker);
            return;
        }
        let wall_clock = self.wall_clock();
        match at {
            Some(at) => self.partitions[at].mark(writer, wall_clock, commit),
            None => {
                let pending = self.pending.remove(&writer.producer).unwrap_or_default();
                if commit {
                    for (at, next) in pending {
                        self.store_offset(at, next, writer);
                    }
                }
            }
        }
        if let Stage::Ending { left } = self.ids[id].stage {
            self.ids[id].stage = match left {
                0 | 1 => Stage::Empty,
                left => Stage::Ending { left: left - 1 },
            };
        }
    }

    fn store_offset(&mut self, at: usize, offset: Offset, writer: Writer) {
        let next = offset.next;
        let before = self.committed.insert(at, offset).map(|before| before.next);
        if before.is_some_and(|before| before > next) {
            let place = &self.at[at];
            let what = format!(
                "the position of {} {} went from {} back to {next}, by producer {} epoch {} at {}",
                place.topic,
                place.partition,
                before.unwrap_or_default(),
                writer.producer,
                writer.epoch,
                self.now
            );
            self.violate("I8", what);
        }
    }

    /// Every transaction that there ever was; the number of one is its place, from 1.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    // Positions and the group.

    /// The committed position of `at`; with `stable`, only if no open transaction has one.
    ///
    /// # Errors
    /// Retriable, where it is not stable, or the coordinator does not answer.
    pub fn position(&self, at: &TopicPartition, stable: bool) -> Result<Option<Offset>, Refusal> {
        self.coordinator()?;
        let Some(number) = self.names.get(at) else {
            return Err(Refusal::Unclassified("unknown partition"));
        };
        let mut pending = self.pending.values().flatten();
        if stable && pending.any(|(at, _)| at == number) {
            return Err(Refusal::Retriable("unstable offset"));
        }
        Ok(self.committed.get(number).cloned())
    }

    /// The committed position of `at`, whatever answers.
    #[must_use]
    pub fn committed(&self, at: &TopicPartition) -> Option<u64> {
        let offset = self.committed.get(self.names.get(at)?)?;
        Some(offset.next)
    }

    /// A new client of the group; see [`Cluster::leave`].
    pub fn subscribe(&mut self) -> u64 {
        let now = self.now;
        self.with_group(|group, plan| group.subscribe(now, plan))
    }

    /// The application behind a client polls.
    pub fn poll(&mut self, client: u64) -> Vec<Change> {
        let now = self.now;
        self.with_group(|group, plan| group.poll(client, now, plan))
    }

    /// What a client says about its membership.
    #[must_use]
    pub fn membership(&self, client: u64) -> Membership {
        self.group.membership(client)
    }

    /// A client leaves as it should.
    pub fn leave(&mut self, client: u64) {
        let now = self.now;
        self.with_group(|group, plan| group.leave(client, now, plan));
    }

    /// A client's process is killed.
    pub fn die(&mut self, client: u64) {
        self.group.die(client);
    }

    /// A client's process is stopped.
    pub fn pause(&mut self, client: u64) {
        self.group.pause(client);
    }

    /// A client's process is continued.
    pub fn resume(&mut self, client: u64) {
        self.with_group(|group, plan| group.resume(client, plan));
    }

    /// Tasks are dealt out to others.
    pub fn shake(&mut self) {
        let now = self.now;
        self.group.shake(now);
    }

    fn with_group<T>(&mut self, act: impl FnOnce(&mut Group, &mut Plan) -> T) -> T {
        let mut plan = Plan::new();
        let answer = act(&mut self.group, &mut plan);
        for (after, later) in plan {
            self.schedule(after, Due::Group(later));
        }
        answer
    }

    /// How often tasks were dealt out.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.group.rebalances
    }

    // Time.

    fn schedule(&mut self, after: u64, due: Due) {
        self.scheduled += 1;
        self.slots.push(due);
        let at = self.now.plus(after);
        self.due
            .push(Reverse((at, self.scheduled, self.slots.len() - 1)));
    }

    /// When something falls due next.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Time goes on to `to`, and what falls due by then happens.
    pub fn advance(&mut self, to: Moment) {
        while let Some(Reverse((at, _, slot))) = self.due.peek().copied() {
            if at > to {
                break;
            }
            self.due.pop();
            self.now = self.now.max(at);
            self.weather.clear(self.now);
            self.happen(self.slots[slot]);
        }
        self.now = self.now.max(to);
        self.weather.clear(self.now);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Marker {
                id,
                writer,
                commit,
                at,
            } => self.marker(id, writer, commit, at),
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

    /// Ends transactions that are open for too long; the epoch first, so that nothing is added.
    fn scan(&mut self) {
        if self.coordinator().is_err() {
            return;
        }
        for id in 0..self.ids.len() {
            let one = &self.ids[id];
            if one.stage == Stage::Open && self.now.since(one.since) > TRANSACTION_TIMEOUT {
                self.ids[id].writer.epoch += 1;
                self.decide(id, false);
                self.ids[id].last = None;
            }
        }
    }

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

    // Weather.

    fn broker(&self) -> Result<(), Refusal> {
        match self.weather.is_broker_down(self.now) {
            true => Err(Refusal::Retriable("the broker does not answer")),
            false => Ok(()),
        }
    }

    fn coordinator(&self) -> Result<(), Refusal> {
        self.broker()?;
        if self.weather.is_coordinator_down(self.now) {
            return Err(Refusal::Retriable("the coordinator is not available"));
        }
        Ok(())
    }

    fn calm(&mut self) -> Result<(), Refusal> {
        if self.weather.is_stormy(self.now) && self.random.chance(700) {
            return Err(Refusal::Retriable("concurrent transactions"));
        }
        Ok(())
    }

    /// A number below `end`, from the seed.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    /// How much longer than usual it may take to have what is written to `at`.
    #[must_use]
    pub fn slowness_of(&self, at: &TopicPartition) -> u64 {
        let number = self.names.get(at);
        number.map_or(0, |number| self.weather.slowness(*number, self.now))
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
}
