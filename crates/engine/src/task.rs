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

mod company;
mod rescore;
mod stage;

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use domain::change::Change;
use domain::definitions::Definitions;
use domain::event::{Event, GUEST_PREFIX, Owner, Text};
use domain::orders::DayTotals;
use domain::prediction::Versions;
use domain::profile::{Outcome, Profile};
use domain::time::{Day, TimeMs};
use rustc_hash::FxHashMap;
use wire::bin::Corrupt;
use wire::routed::{Routed, encode_forwarded};
use wire::state::{day_key, decode_day, decode_profile, timer_key};
use wire::{OutputEncoder, RejectionClass, partition_of};

use crate::bookkeeping::{self, Bookkeeping, Counts};
use crate::cells::Cells;
use crate::clock::ClockSource;
use crate::inbox::{Inbox, Input, Next, Waiting};
use crate::port::{StateError, StateReader, Table, TopicPartition};
use crate::timers::Timers;
use crate::topics::Topics;
use crate::valuing;
use company::moves_clock;
use rescore::adopt;
use stage::Batch;

pub use company::Awaited;

/// Decoded profiles that all tasks of an application together keep in memory between batches, at
/// most: some 2 KiB each. A task beyond its share drops its own after a commit and decodes them
/// again when they are needed.
const WARM_PROFILES: usize = 80_000;

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

#[derive(Debug)]
struct Warm {
    profile: Profile,
    dirty: bool,
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
    profiles: FxHashMap<Text, Warm>,
    dirty: Vec<Text>,
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
            profiles: FxHashMap::default(),
            dirty: Vec::new(),
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
        self.profiles.clear();
        self.dirty.clear();
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
            .filter(|key| !self.profiles.contains_key(key))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|key| partition_of(key.as_bytes(), self.setup.tasks) == self.id);
        let keys: Vec<&[u8]> = wanted.iter().map(|k| k.as_bytes()).collect();
        let found = state.multi_get(Table::Profiles, &keys)?;
        for (key, bytes) in wanted.into_iter().zip(found) {
            let profile = self.decode(bytes.as_deref())?;
            self.profiles.insert(
                key,
                Warm {
                    profile,
                    dirty: false,
                },
            );
        }
        Ok(())
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

    fn consume(
        &mut self,
        lane: usize,
        waiting: Waiting,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let owned = |owner: Option<Text>| {
            owner.ok_or_else(|| {
                StateError::Failed("an event without an owner passed the decoder".to_owned())
            })
        };
        match waiting.input {
            Input::Event(event) => self.route(&event, &owned(waiting.owner)?, state),
            Input::Several(events, rejected) => {
                let parts = events.len() + usize::from(rejected.is_some());
                self.book.counts.split_off += (parts as u64).saturating_sub(1);
                for (at, event) in events.iter().enumerate() {
                    if at > 0 {
                        self.move_on(lane, event.time, state)?;
                    }
                    self.route(event, &owned(event.owner().map(|o| o.key()))?, state)?;
                }
                if let Some(rejected) = rejected {
                    self.dead_letter(&rejected.0, rejected.1);
                }
                Ok(())
            }
            Input::Ignored => {
                self.book.counts.ignored += 1;
                Ok(())
            }
            Input::Routed(Routed::Event { event, .. }) => {
                self.meet();
                self.apply(&event, &owned(waiting.owner)?, state)
            }
            Input::Routed(control) => {
                self.book.counts.control += 1;
                match control {
                    Routed::Tick { now } => self.book.clock.tick(now),
                    Routed::EndOfReplay { until } => {
                        self.book.clock.close(until);
                        // What comes next may be another stretch of history, of which each may be
                        // anywhere.
                        self.book.meet_anew(self.setup.tasks);
                    }
                    Routed::Clock { .. } => self.meet(),
                    Routed::Idle => self.rest(),
                    Routed::Silent { inputs } => self.book.clock.leave_silent(&inputs),
                    Routed::Alone => self.book.clock.release(),
                    Routed::Model(model) => self.put_in_force(&model),
                    Routed::Rescore { profiles } => self.rescore(profiles as usize, state)?,
                    Routed::Event { .. } => {}
                }
                Ok(())
            }
            Input::Rejected(rejected) => {
                if rejected.0.class == RejectionClass::Quarantined {
                    self.batch.quarantined(lane, waiting.offset);
                }
                self.dead_letter(&rejected.0, rejected.1);
                Ok(())
            }
        }
    }

    /// To the next event of a record: what the one before left due fires, the clock goes on to
    /// `time`, and what is due by that fires, as if each were a record of its own.
    fn move_on(
        &mut self,
        lane: usize,
        time: TimeMs,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        while self.fire_next(state)? {}
        self.book.clock.observe(&self.sources[lane], time);
        while self.fire_next(state)? {}
        Ok(())
    }

    /// Fires the next timer that is due by the clock as it stands.
    fn fire_next(&mut self, state: &dyn StateReader) -> Result<bool, StateError> {
        let frontier = self.frontier();
        let Some((due, key)) = self.timers.pop_due(frontier, state)? else {
            return Ok(false);
        };
        self.batch
            .timers
            .insert(timer_key(due, key.as_bytes()), false);
        self.load(&key, state)?;
        let mut changes = std::mem::take(&mut self.batch.changes);
        let definitions = Arc::clone(self.versions.current());
        if let Some(warm) = self.profiles.get_mut(&key)
            && warm.profile.armed == due
        {
            warm.profile.armed = TimeMs::MAX;
            adopt(&mut warm.profile, &self.versions, frontier, &mut changes)?;
            warm.profile.advance(frontier, &definitions, &mut changes);
            self.touched(&key, &mut changes);
        }
        self.batch.changes = changes;
        Ok(true)
    }

    fn frontier(&self) -> TimeMs {
        self.book.clock.frontier(self.setup.definitions.grace_ms)
    }

    /// To the event's owner: here, or by way of `internal.routed`.
    fn route(
        &mut self,
        event: &Event,
        key: &Text,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let partition = partition_of(key.as_bytes(), self.setup.tasks);
        if partition == self.id {
            return self.apply(event, key, state);
        }
        self.book.counts.forwarded += 1;
        self.meet();
        let time = self.book.clock.input_time;
        self.book.fed.insert(partition, time);
        self.forward(partition, key, encode_forwarded(self.id, time, event));
        Ok(())
    }

    fn apply(
        &mut self,
        event: &Event,
        key: &Text,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        self.load(key, state)?;
        let frontier = self.frontier();
        let definitions = Arc::clone(self.versions.current());
        let mut changes = std::mem::take(&mut self.batch.changes);
        let Some(warm) = self.profiles.get_mut(key) else {
            return Err(StateError::Failed(
                "a profile that was loaded is gone".to_owned(),
            ));
        };
        adopt(&mut warm.profile, &self.versions, frontier, &mut changes)?;
        let days = if event.body.is_order_fact() {
            warm.profile.live.book.days_touched(event)
        } else {
            Vec::new()
        };
        let is_customer = !days.is_empty() && matches!(Owner::from_key(key), Owner::Customer(_));
        let day_totals = |profile: &Profile| -> Vec<DayTotals> {
            let book = &profile.live.book;
            days.iter()
                .map(|day| book.day_totals(*day, is_customer))
                .collect()
        };
        let before = day_totals(&warm.profile);
        let was = warm.profile.live.purchases().copied();
        let outcome = warm
            .profile
            .take(event, frontier, &definitions, &mut changes);
        let after = day_totals(&warm.profile);
        let is = warm.profile.live.purchases().copied();
        if is_customer {
            self.cells.replace(was.as_ref(), is.as_ref(), state)?;
        }
        match outcome {
            Outcome::Applied => self.book.counts.applied += 1,
            Outcome::Late => self.book.counts.late += 1,
            Outcome::Deduplicated => self.book.counts.deduplicated += 1,
        }
        // Also after a duplicate: what was due before it has fired, and what was pending may have
        // settled; what is in memory and what is in the store must not come apart.
        self.touched(key, &mut changes);
        for ((day, before), after) in days.iter().zip(before).zip(after) {
            let difference = after.minus(&before);
            if difference != DayTotals::default() {
                self.day(*day, state)?.add(&difference);
            }
        }
        self.batch.changes = changes;
        Ok(())
    }

    /// A profile changed: it is to be written, its timer armed, its changes told. A guest's order
    /// counts in the shop's days only: it waits for nothing and nothing is told about it.
    fn touched(&mut self, key: &Text, changes: &mut Vec<Change>) {
        let Some(warm) = self.profiles.get_mut(key) else {
            return;
        };
        if !warm.dirty {
            warm.dirty = true;
            self.dirty.push(key.clone());
        }
        if key.starts_with(GUEST_PREFIX) {
            changes.clear();
            return;
        }
        let due = warm.profile.next_timer();
        if due < warm.profile.armed {
            warm.profile.armed = due;
            self.timers.arm(due, key);
            self.batch
                .timers
                .insert(timer_key(due, key.as_bytes()), true);
        }
        self.tell(key, changes);
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Profile, StateError> {
        match bytes {
            Some(bytes) => decode_profile(bytes, &self.versions).map_err(damaged),
            None => Ok(Profile::default()),
        }
    }

    fn load(&mut self, key: &Text, state: &dyn StateReader) -> Result<(), StateError> {
        if self.profiles.contains_key(key) {
            return Ok(());
        }
        let bytes = state.get(Table::Profiles, key.as_bytes())?;
        let profile = self.decode(bytes.as_deref())?;
        self.profiles.insert(
            key.clone(),
            Warm {
                profile,
                dirty: false,
            },
        );
        Ok(())
    }

    fn day(&mut self, day: Day, state: &dyn StateReader) -> Result<&mut DayTotals, StateError> {
        match self.days.entry(day) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let totals = match state.get(Table::Days, &day_key(day))? {
                    Some(bytes) => decode_day(&bytes).map_err(damaged)?,
                    None => DayTotals::default(),
                };
                Ok(unknown.insert(totals))
            }
        }
    }

    /// What was staged is committed and in the store.
    pub fn committed(&mut self) {
        self.timers.committed();
        if self.profiles.len() > WARM_PROFILES / self.setup.tasks.max(1) as usize {
            self.profiles.clear();
        }
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
