//! The transaction coordinator, and what producers ask of brokers.
//!
//! Invariants: an end is decided before any marker is written, and never changes. An older epoch is fenced before
//! its open transaction is aborted.

use std::rc::Rc;

use domain::time::TimeMs;
use engine::port::TopicPartition;

use super::group::Membership;
use super::id::{Id, Stage};
use super::partition::{Content, Writer};
use super::{Cluster, Due, Offset, Position, Refusal};
use crate::time::Moment;

/// How often it is looked for transactions that are open for too long.
pub const SCAN: u64 = 10_000;
/// How long a transaction may be open.
pub const TRANSACTION_TIMEOUT: u64 = 10_000;

/// A transaction, for those who look at it afterwards.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Who wrote it.
    pub writer: Writer,
    /// Whether it was committed, once that is decided.
    pub committed: Option<bool>,
    /// When that was decided.
    pub decided: Moment,
    /// The positions in it, by number of the partition.
    pub offsets: Vec<(usize, Offset)>,
}

/// The end of a transaction, on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    writer: Writer,
    commit: bool,
    /// None: to the group's offsets.
    at: Option<usize>,
}

/// The place of a writer's transactional id: producers are numbered from 1.
fn slot(writer: Writer) -> usize {
    writer.producer as usize - 1
}

impl Cluster {
    /// Begins to write as `name`: whoever did so before is fenced, and its open transaction aborted.
    ///
    /// # Errors
    /// Retriable, until the markers of the last transaction stand.
    pub fn init(&mut self, name: &str) -> Result<Writer, Refusal> {
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
                self.give_up(id);
                Err(Refusal::Retriable("concurrent transactions"))
            }
            Stage::Empty => {
                self.ids[id].writer.epoch += 1;
                self.ids[id].last = None;
                Ok(self.ids[id].writer)
            }
        }
    }

    /// Writes a record in the open transaction of a writer, or in a new one. The answer is its offset.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn produce(
        &mut self,
        writer: Writer,
        at: &TopicPartition,
        timestamp: TimeMs,
        content: Rc<Content>,
    ) -> Result<u64, Refusal> {
        self.broker()?;
        let id = slot(writer);
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

    /// Adds positions to the open transaction of a writer, or to a new one.
    ///
    /// # Errors
    /// See [`Refusal`]; abortable, if `membership` is not the present one.
    pub fn send_offsets(
        &mut self,
        writer: Writer,
        positions: &[Position],
        membership: Membership,
    ) -> Result<(), Refusal> {
        self.coordinator()?;
        self.calm()?;
        let id = slot(writer);
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

    /// Ends the open transaction of a writer. Once that is decided, markers follow by themselves.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn end(&mut self, writer: Writer, commit: bool) -> Result<(), Refusal> {
        self.coordinator()?;
        let id = slot(writer);
        if self.ids[id].may_end(writer.epoch, commit)?.is_none() {
            self.decide(id, commit);
        }
        Ok(())
    }

    /// Aborts the open transaction of an id; the epoch goes on first, so that nothing is added.
    fn give_up(&mut self, id: usize) {
        self.ids[id].writer.epoch += 1;
        self.decide(id, false);
        self.ids[id].last = None;
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
            let marker = Marker { writer, commit, at };
            self.schedule(delay, Due::Marker(marker));
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

    /// A marker arrives, where a broker is there to write it.
    pub(super) fn mark(&mut self, marker: Marker) {
        if self.broker().is_err() {
            let delay = 50 + self.random.below(200);
            self.schedule(delay, Due::Marker(marker));
            return;
        }
        let Marker { writer, commit, at } = marker;
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
        let id = &mut self.ids[slot(writer)];
        if let Stage::Ending { left } = id.stage {
            id.stage = match left {
                0 | 1 => Stage::Empty,
                left => Stage::Ending { left: left - 1 },
            };
        }
    }

    /// Ends transactions that are open for too long.
    pub(super) fn scan(&mut self) {
        if self.coordinator().is_err() {
            return;
        }
        for id in 0..self.ids.len() {
            let one = &self.ids[id];
            if one.stage == Stage::Open && self.now.since(one.since) > TRANSACTION_TIMEOUT {
                self.give_up(id);
            }
        }
    }

    /// Every transaction that there ever was; the number of one is its place, from 1.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }
}
