//! One partition of the work: its clock, its timers, its profiles, and what they have to say.
//!
//! Sans-IO: a task is handed decoded records and a reader of committed state, and yields
//! [`Staged`](crate::port::Staged) work (`stage`). It reads no clock and writes nothing.
//!
//! Invariants:
//! - What is staged is a function of the records consumed and of committed state. Where a batch
//!   ends makes no difference to the outputs.
//! - Before an event touches a profile, the timers due by stream time less the grace have fired.
//! - Every record consumed is counted exactly once ([`Counts`]).

mod apply;
mod company;
mod consume;
mod profiles;
mod rescore;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::definitions::Definitions;
use domain::event::Text;
use domain::orders::DayTotals;
use domain::prediction::Versions;
use domain::time::{Day, TimeMs};
use wire::bin::Corrupt;
use wire::{OutputEncoder, partition_of};

use crate::bookkeeping::{self, Bookkeeping, Counts};
use crate::cells::Cells;
use crate::clock::ClockSource;
use crate::inbox::{Inbox, Input, Next, Waiting};
use crate::port::{StateError, StateReader, Table, TopicPartition};
use crate::timers::Timers;
use crate::topics::Topics;
use crate::valuing;
use company::moves_clock;
use profiles::Profiles;
use stage::Batch;

pub use company::Awaited;

/// What a task needs to know besides its records; the same for every task of an application.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The application's id: source of its outputs.
    pub application: Text,
    /// Number of tasks.
    pub tasks: u32,
    /// Number of partitions of every output. It stays what it was when the number of tasks is changed,
    /// so that the outputs of each customer stay in one partition, in order.
    pub outputs: u32,
    /// Where to write.
    pub topics: Topics,
    /// Rules, models, segments, currency.
    pub definitions: Arc<Definitions>,
    /// Writes outputs.
    pub encoder: OutputEncoder,
}

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A record was consumed, or a timer fired.
    Advanced,
    /// This lane of the inbox has to be read first.
    Unread(usize),
    /// There is nothing left to consume.
    Drained,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// A timer is to fire.
    Due,
    /// The record of lane `.0` at offset `.1` is to be consumed.
    Record(usize, u64),
    /// This lane of the inbox has to be read first.
    Unread(usize),
    /// There is nothing left to consume.
    Drained,
}

/// One task.
#[derive(Debug)]
pub struct Task {
    id: u32,
    setup: Arc<Setup>,
    inbox: Inbox,
    sources: Vec<ClockSource>,
    book: Bookkeeping,
    timers: Timers,
    profiles: Profiles,
    days: BTreeMap<Day, DayTotals>,
    cells: Cells,
    /// The definitions, with each model of value that profiles may stand under.
    versions: Versions,
    /// The lane whose next record has moved the clock already, and is to be consumed once what fell
    /// due by that has fired.
    next_lane: Option<usize>,
    /// Records consumed from each of its own inputs since it was opened, by lane. Not part of its state.
    given: Vec<u64>,
    batch: Batch,
}

impl Task {
    /// A task that starts from committed state. `inputs` are the partitions that it reads, its
    /// partition of `internal.routed` last.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(
        id: u32,
        setup: Arc<Setup>,
        inputs: Vec<TopicPartition>,
        state: &dyn StateReader,
    ) -> Result<Task, StateError> {
        let sources = inputs
            .iter()
            .map(|i| ClockSource::Input(Text::new(&i.topic), i.partition))
            .collect();
        let given = vec![0; inputs.len()];
        let mut task = Task {
            id,
            inbox: Inbox::new(inputs),
            sources,
            book: Bookkeeping::default(),
            timers: Timers::new(),
            profiles: Profiles::default(),
            days: BTreeMap::new(),
            cells: Cells::default(),
            versions: Versions::new(Arc::clone(&setup.definitions), []),
            setup,
            next_lane: None,
            given,
            batch: Batch::default(),
        };
        task.reset(state)?;
        Ok(task)
    }

    /// Drops everything that is not committed and starts again from committed state: after a
    /// commit that did not succeed.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn reset(&mut self, state: &dyn StateReader) -> Result<(), StateError> {
        self.inbox.clear();
        self.next_lane = None;
        self.timers = Timers::new();
        self.profiles = Profiles::default();
        self.days.clear();
        self.cells = Cells::default();
        self.batch = Batch::default();
        self.versions = valuing::versions(state, &self.setup.definitions)?;
        self.book = match state.get(Table::Meta, bookkeeping::KEY)? {
            Some(bytes) => Bookkeeping::decode(&bytes).map_err(damaged)?,
            None => Bookkeeping::first(self.setup.tasks),
        };
        Ok(())
    }

    /// This task's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its inbox, to be filled.
    pub fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Its clock and counts.
    #[must_use]
    pub fn bookkeeping(&self) -> &Bookkeeping {
        &self.book
    }

    /// Reads the profiles of everything that waits in `lane` in one sorted read, so that applying
    /// finds them in memory.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn prefetch(&mut self, lane: usize, state: &dyn StateReader) -> Result<(), StateError> {
        let mut wanted: Vec<Text> = self
            .inbox
            .waiting(lane)
            .flat_map(Waiting::owners)
            .filter(|key| !self.profiles.has(key))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|key| partition_of(key.as_bytes(), self.setup.tasks) == self.id);
        self.profiles.load_all(wanted, &self.versions, state)
    }

    /// Consumes the next record, or fires the next timer that is due before it.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn step(&mut self, state: &dyn StateReader) -> Result<Step, StateError> {
        match self.ready(state)? {
            Ready::Due => self.fire(state),
            Ready::Record(lane, _) => self.consume_next(lane, state),
            Ready::Unread(lane) => Ok(Step::Unread(lane)),
            Ready::Drained => Ok(Step::Drained),
        }
    }

    /// What the next step is to do. The clock goes on to the next record here.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn ready(&mut self, state: &dyn StateReader) -> Result<Ready, StateError> {
        // What the last record left due fires by the clock as that record left it, whether another
        // one waits or not: otherwise what is said would depend on what is there to be read.
        if self.is_due(state)? {
            return Ok(Ready::Due);
        }
        let lane = match self.next_lane {
            Some(lane) => lane,
            None => match self.inbox.next() {
                Next::Unread(lane) => return Ok(Ready::Unread(lane)),
                Next::Drained => return Ok(Ready::Drained),
                Next::Ready(lane, waiting) => {
                    // The clock goes first: it may be that a timer is due before this record. Until
                    // that has fired the record stays where it is, and a commit in between leaves
                    // it to be read again.
                    match moves_clock(&self.sources[lane], waiting) {
                        Some((source, TimeMs::MAX)) => self.book.clock.leave(&source),
                        Some((source, time)) => self.book.clock.observe(&source, time),
                        None => {}
                    }
                    self.next_lane = Some(lane);
                    if self.is_due(state)? {
                        return Ok(Ready::Due);
                    }
                    lane
                }
            },
        };
        let next = self.inbox.waiting(lane).next();
        let record = |waiting: &Waiting| Ready::Record(lane, waiting.offset);
        Ok(next.map_or(Ready::Drained, record))
    }

    /// Fires the timer that is due.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn fire(&mut self, state: &dyn StateReader) -> Result<Step, StateError> {
        self.fire_next(state)?;
        Ok(Step::Advanced)
    }

    fn is_due(&mut self, state: &dyn StateReader) -> Result<bool, StateError> {
        let frontier = self.frontier();
        self.timers.is_due(frontier, state)
    }

    /// Consumes the record of `lane` that [`Task::ready`] has named.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn consume_next(
        &mut self,
        lane: usize,
        state: &dyn StateReader,
    ) -> Result<Step, StateError> {
        self.next_lane = None;
        let Some(waiting) = self.inbox.pop(lane) else {
            return Ok(Step::Drained);
        };
        self.batch.consumed(lane, waiting.offset);
        if !matches!(waiting.input, Input::Routed(_)) {
            self.given[lane] += 1;
            self.book.clock.own_record();
            self.stir();
        }
        self.consume(lane, waiting, state)?;
        Ok(Step::Advanced)
    }

    fn frontier(&self) -> TimeMs {
        self.book.clock.frontier(self.setup.definitions.grace_ms)
    }

    /// What was staged is committed and in the store.
    pub fn committed(&mut self) {
        self.timers.committed();
        self.profiles.trim(self.setup.tasks);
    }

    /// What became of the records so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.book.counts
    }
}

fn damaged(corrupt: Corrupt) -> StateError {
    StateError::Damaged(format!("state is damaged: {corrupt}"))
}
