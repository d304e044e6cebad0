//! The naive oracle: what a task does, one record at a time, without batches, caches or prefetching,
//! and without a line of the engine's task.
//!
//! It shares with the engine what is a function of its arguments alone: the fold of a profile
//! (`domain`), bytes (`wire`), and the clock (`engine::clock`). What it has of its own is everything
//! between these: which record comes to whom, when the clock moves, when a timer fires, what is
//! counted, what is said, and what is written.
//!
//! Profiles rest as bytes; those that changed since the last commit are decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clv::histogram::{OrderCell, SpendCell, SpendSums, encode_count};
use domain::change::Change;
use domain::definitions::Definitions;
use domain::event::{Event, GUEST_PREFIX, Owner, Text};
use domain::orders::DayTotals;
use domain::prediction::{ModelParameters, Versions};
use domain::profile::{Outcome, Profile};
use domain::purchases::Statistics;
use domain::time::{Day, TimeMs};
use engine::bookkeeping::Bookkeeping;
use engine::chain::Head;
use engine::clock::ClockSource;
use engine::port::{OutRecord, Table, TopicName, TopicPartition};
use engine::task::Setup;
use engine::valuing;
use wire::bin::Corrupt;
use wire::routed::Routed;
use wire::state::{day_key, decode_profile, encode_day, encode_model, encode_profile, model_key};
use wire::{
    Decoded, Envelope, InputRecord, Inputs, OutputTopic, Rejection, dead_letter_headers,
    partition_of,
};

use crate::history::Entry;

/// A task tells others where it is whenever it has come this part of the grace further.
const TOLD_PER_GRACE: i64 = 8;

/// A record of a task's inputs, decoded.
#[derive(Debug)]
pub(crate) enum Input {
    /// Of an input topic.
    Own(Decoded),
    /// Of `internal.routed`.
    Routed(Routed),
}

impl Input {
    /// A record that was not looked at.
    pub(crate) fn quarantined() -> Input {
        Input::Own(Decoded::Rejected(Rejection::quarantined()))
    }

    pub(crate) fn decode(
        inputs: &Inputs,
        at: &TopicPartition,
        entry: &Entry,
        is_routed: bool,
    ) -> Result<Input, Corrupt> {
        if is_routed {
            return Routed::decode(entry.value.as_deref().unwrap_or_default()).map(Input::Routed);
        }
        Ok(Input::Own(inputs.decode(&InputRecord {
            topic: &at.topic,
            partition: at.partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.as_deref(),
            value: entry.value.as_deref(),
        })))
    }
}

/// One write to the state: the key as in the changelog, and the value.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// A task, replayed.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    task: u32,
    setup: Arc<Setup>,
    pub(crate) book: Bookkeeping,
    profiles: BTreeMap<Text, Vec<u8>>,
    changed: BTreeMap<Text, Profile>,
    days: BTreeMap<Day, DayTotals>,
    changed_days: BTreeSet<Day>,
    cells: BTreeMap<OrderCell, i64>,
    changed_cells: BTreeSet<OrderCell>,
    spend: BTreeMap<SpendCell, SpendSums>,
    changed_spend: BTreeSet<SpendCell>,
    /// Models of value that a profile may stand under.
    models: BTreeMap<u32, ModelParameters>,
    /// Those of the last commit.
    committed_models: BTreeMap<u32, ModelParameters>,
    versions: Versions,
    /// Of every profile the timer that it has armed.
    timers: BTreeSet<(TimeMs, Text)>,
    /// What was said since the last commit: outputs, dead letters, forwarded events.
    pub(crate) said: Vec<OutRecord>,
}

impl Oracle {
    pub(crate) fn new(task: u32, setup: &Arc<Setup>) -> Oracle {
        Oracle {
            task,
            setup: Arc::clone(setup),
            book: Bookkeeping::first(setup.tasks),
            profiles: BTreeMap::new(),
            changed: BTreeMap::new(),
            days: BTreeMap::new(),
            changed_days: BTreeSet::new(),
            cells: BTreeMap::new(),
            changed_cells: BTreeSet::new(),
            spend: BTreeMap::new(),
            changed_spend: BTreeSet::new(),
            models: BTreeMap::new(),
            committed_models: BTreeMap::new(),
            versions: Versions::new(Arc::clone(&setup.definitions), []),
            timers: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    /// Fires the first timer that is due by the clock as it stands, if one is.
    pub(crate) fn fire_one(&mut self) -> Result<bool, Corrupt> {
        let frontier = self.frontier();
        let is_due = self.timers.first().is_some_and(|(due, _)| *due <= frontier);
        let Some((_, key)) = (if is_due {
            self.timers.pop_first()
        } else {
            None
        }) else {
            return Ok(false);
        };
        let mut profile = self.profile(&key)?;
        profile.armed = TimeMs::MAX;
        let mut changes = Vec::new();
        self.go_over(&mut profile, &mut changes)?;
        profile.advance(frontier, &self.definitions(), &mut changes);
        self.keep(key, profile, changes);
        Ok(true)
    }

    /// Whether a timer is due by the clock as it stands.
    pub(crate) fn has_due(&self) -> bool {
        let frontier = self.frontier();
        self.timers.first().is_some_and(|(due, _)| *due <= frontier)
    }

    /// Fires everything that is due by the clock as it stands.
    pub(crate) fn fire_all(&mut self) -> Result<(), Corrupt> {
        while self.fire_one()? {}
        Ok(())
    }

    /// The clock goes on to what is about to be consumed.
    pub(crate) fn look_at(&mut self, at: &TopicPartition, input: &Input) {
        let (source, time) = match input {
            Input::Own(Decoded::Event(event)) => (input_of(at), event.time),
            Input::Own(Decoded::Several(events, _)) => match events.first() {
                Some(oldest) => (input_of(at), oldest.time),
                None => return,
            },
            Input::Routed(
                Routed::Event {
                    from,
                    upstream_time,
                    ..
                }
                | Routed::Clock {
                    from,
                    upstream_time,
                },
            ) => (ClockSource::Upstream(*from), *upstream_time),
            Input::Own(Decoded::Rejected(_) | Decoded::Ignored) | Input::Routed(_) => return,
        };
        match time {
            TimeMs::MAX => self.book.clock.leave(&source),
            time => self.book.clock.observe(&source, time),
        }
    }

    /// Consumes a record, which the clock has gone on to, and before which everything due has fired.
    pub(crate) fn consume(
        &mut self,
        at: &TopicPartition,
        entry: Entry,
        input: Input,
    ) -> Result<(), Corrupt> {
        match input {
            Input::Own(decoded) => {
                self.book.clock.own_record();
                self.come_back();
                self.consume_own(at, entry, decoded)
            }
            Input::Routed(Routed::Event { event, .. }) => {
                self.meet();
                self.apply(&event)
            }
            Input::Routed(control) => {
                self.book.counts.control += 1;
                match control {
                    Routed::Clock { .. } => self.meet(),
                    Routed::Idle => self.rest(),
                    Routed::Silent { inputs } => self.book.clock.leave_silent(&inputs),
                    Routed::Alone => self.book.clock.release(),
                    Routed::Tick { now } => self.book.clock.tick(now),
                    Routed::EndOfReplay { until } => {
                        self.book.clock.close(until);
                        self.book.meet_anew(self.setup.tasks);
                    }
                    Routed::Model(model) => self.put_in_force(model),
                    Routed::Rescore { profiles } => self.rescore(profiles as usize)?,
                    Routed::Event { .. } => {}
                }
                Ok(())
            }
        }
    }

    fn consume_own(
        &mut self,
        at: &TopicPartition,
        entry: Entry,
        decoded: Decoded,
    ) -> Result<(), Corrupt> {
        match decoded {
            Decoded::Event(event) => self.route(&event)?,
            Decoded::Ignored => self.book.counts.ignored += 1,
            Decoded::Rejected(rejection) => self.dead_letter(at, entry, &rejection),
            Decoded::Several(events, rejection) => {
                let parts = events.len() as u64 + u64::from(rejection.is_some());
                self.book.counts.split_off += parts.saturating_sub(1);
                for (nth, event) in events.iter().enumerate() {
                    // Each as if it were a record of its own; for the first that is done.
                    if nth > 0 {
                        self.fire_all()?;
                        self.book.clock.observe(&input_of(at), event.time);
                        self.fire_all()?;
                    }
                    self.route(event)?;
                }
                if let Some(rejection) = rejection {
                    self.dead_letter(at, entry, &rejection);
                }
            }
        }
        Ok(())
    }

    fn route(&mut self, event: &Event) -> Result<(), Corrupt> {
        let Some(owner) = event.owner() else {
            return Err(Corrupt {
                what: "an event",
                problem: "it has no owner, and passed the decoder",
            });
        };
        let key = owner.key();
        let partition = partition_of(key.as_bytes(), self.setup.tasks);
        if partition == self.task {
            return self.apply(event);
        }
        self.book.counts.forwarded += 1;
        self.meet();
        let upstream_time = self.book.clock.input_time;
        self.book.fed.insert(partition, upstream_time);
        let forwarded = Routed::Event {
            from: self.task,
            upstream_time,
            event: Box::new(event.clone()),
        };
        let record = self.to_task(partition, Some(key.as_bytes()), &forwarded);
        self.said.push(record);
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), Corrupt> {
        let Some(owner) = event.owner() else {
            return Err(Corrupt {
                what: "a routed event",
                problem: "it has no owner",
            });
        };
        let key = owner.key();
        let mut profile = self.profile(&key)?;
        let mut changes = Vec::new();
        self.go_over(&mut profile, &mut changes)?;
        let days = match event.body.is_order_fact() {
            true => profile.live.book.days_touched(event),
            false => Vec::new(),
        };
        let is_customer = matches!(owner, Owner::Customer(_));
        let totals = |profile: &Profile, day: &Day| profile.live.book.day_totals(*day, is_customer);
        let before: Vec<DayTotals> = days.iter().map(|day| totals(&profile, day)).collect();
        let was = profile.live.purchases().copied();
        let frontier = self.frontier();
        match profile.take(event, frontier, &self.definitions(), &mut changes) {
            Outcome::Applied => self.book.counts.applied += 1,
            Outcome::Late => self.book.counts.late += 1,
            Outcome::Deduplicated => self.book.counts.deduplicated += 1,
        }
        for (day, before) in days.iter().zip(before) {
            let difference = totals(&profile, day).minus(&before);
            if difference != DayTotals::default() {
                self.days.entry(*day).or_default().add(&difference);
                self.changed_days.insert(*day);
            }
        }
        if is_customer {
            self.recount(was.as_ref(), profile.live.purchases());
        }
        self.keep(key, profile, changes);
        Ok(())
    }

    /// A customer goes from the cells that he was in to those that he is in.
    fn recount(&mut self, was: Option<&Statistics>, is: Option<&Statistics>) {
        let (left, entered) = (was.map(OrderCell::of), is.map(OrderCell::of));
        if left != entered {
            for (cell, by) in [(left, -1), (entered, 1)] {
                if let Some(cell) = cell {
                    *self.cells.entry(cell).or_default() += by;
                    self.changed_cells.insert(cell);
                }
            }
        }
        let (left, entered) = (was.and_then(SpendCell::of), is.and_then(SpendCell::of));
        if left != entered {
            if let Some((cell, of)) = left {
                self.spend.entry(cell).or_default().take_off(&of);
                self.changed_spend.insert(cell);
            }
            if let Some((cell, of)) = entered {
                self.spend.entry(cell).or_default().add(&of);
                self.changed_spend.insert(cell);
            }
        }
    }

    /// Another model is in force.
    fn put_in_force(&mut self, model: ModelParameters) {
        if model.version <= self.definitions().model_version() {
            return;
        }
        if let Some(prepared) = valuing::prepare(&model, &self.setup.definitions) {
            self.versions.add(prepared);
            self.models.insert(model.version, model);
            self.book.rescored = Some(Text::default());
        }
    }

    /// A profile that is touched goes over to the model in force; answers whether that may have changed it.
    fn go_over(&self, profile: &mut Profile, changes: &mut Vec<Change>) -> Result<bool, Corrupt> {
        let definitions = self.definitions();
        if profile.model == definitions.model_version() {
            return Ok(false);
        }
        let under = self.versions.under(profile.model).ok_or(Corrupt {
            what: "a profile",
            problem: "it stands under a model of value that is not known",
        })?;
        Ok(profile.adopt(under, &definitions, self.frontier(), changes))
    }

    /// The next profiles go over; when they are fewer than asked for, it is done.
    fn rescore(&mut self, limit: usize) -> Result<(), Corrupt> {
        let Some(last) = self.book.rescored.clone().filter(|_| limit > 0) else {
            return Ok(());
        };
        let all: BTreeSet<&Text> = self.profiles.keys().chain(self.changed.keys()).collect();
        let after = all.into_iter().filter(|key| **key > last);
        let keys: Vec<Text> = after.take(limit).cloned().collect();
        for key in &keys {
            let mut profile = self.profile(key)?;
            let mut changes = Vec::new();
            if self.go_over(&mut profile, &mut changes)? {
                self.keep(key.clone(), profile, changes);
            } else if let Some(changed) = self.changed.get_mut(key) {
                // Without orders nothing of it changes, but the model that it stands under.
                *changed = profile;
            }
        }
        if keys.len() == limit {
            self.book.rescored = keys.last().cloned();
            return Ok(());
        }
        self.book.rescored = None;
        self.versions.settle();
        let current = self.definitions().model_version();
        self.models.retain(|version, _| *version == current);
        Ok(())
    }

    fn profile(&self, key: &Text) -> Result<Profile, Corrupt> {
        if let Some(changed) = self.changed.get(key) {
            return Ok(changed.clone());
        }
        match self.profiles.get(key) {
            Some(bytes) => decode_profile(bytes, &self.versions),
            None => Ok(Profile::default()),
        }
    }

    /// A profile as it is now: its timer is armed, what changed about it is said, it is to be written.
    fn keep(&mut self, key: Text, mut profile: Profile, changes: Vec<Change>) {
        // A guest's order counts in the shop's days, and nothing else follows from it.
        if !key.starts_with(GUEST_PREFIX) {
            let due = profile.next_timer();
            if due < profile.armed {
                self.timers.remove(&(profile.armed, key.clone()));
                self.timers.insert((due, key.clone()));
                profile.armed = due;
            }
            for change in changes {
                self.say(&key, &mut profile, change);
            }
        }
        self.changed.insert(key, profile);
    }

    fn say(&mut self, key: &Text, profile: &mut Profile, mut change: Change) {
        let envelope = Envelope {
            customer: key,
            sequence: profile.number(&mut change),
            incarnation: 0,
            application: &self.setup.application,
            currency: self.setup.definitions.currency,
        };
        let (topic, value, headers) = self.setup.encoder.encode(&envelope, &change);
        let topics = &self.setup.topics;
        let topic = match topic {
            OutputTopic::ClvUpdates => &topics.clv_updates,
            OutputTopic::LifecycleTransitions => &topics.lifecycle_transitions,
            OutputTopic::SegmentChanges => &topics.segment_changes,
        };
        let record = OutRecord {
            target: own_partition(topic, self.task),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            headers,
        };
        self.book.counts.outputs += 1;
        self.said.push(record);
    }

    fn dead_letter(&mut self, at: &TopicPartition, entry: Entry, rejection: &Rejection) {
        self.book.counts.dead_lettered += 1;
        let headers = dead_letter_headers(&at.topic, at.partition, entry.offset, rejection);
        self.said.push(OutRecord {
            target: own_partition(&self.setup.topics.dead_letters, self.task),
            key: entry.key,
            value: entry.value,
            headers,
        });
    }

    /// Something was forwarded, here or elsewhere: all tasks wait for each other from here on.
    fn meet(&mut self) {
        if !self.book.fed.is_empty() {
            return;
        }
        for other in 0..self.setup.tasks {
            if other != self.task {
                self.book.fed.insert(other, TimeMs::MIN);
                self.book.clock.expect(&ClockSource::Upstream(other));
            }
        }
        self.book.clock.release();
    }

    /// Its own inputs are idle.
    fn rest(&mut self) {
        self.book.clock.leave_inputs();
        let others: Vec<u32> = self.book.fed.keys().copied().collect();
        for other in others {
            if self.book.fed.insert(other, TimeMs::MAX) != Some(TimeMs::MAX) {
                let clock = self.clock_for(other, TimeMs::MAX);
                self.said.push(clock);
            }
        }
    }

    /// A record of its own inputs ends the rest.
    fn come_back(&mut self) {
        let is_resting = self.book.fed.values().any(|told| *told == TimeMs::MAX);
        if is_resting {
            self.book
                .fed
                .values_mut()
                .for_each(|told| *told = TimeMs::MIN);
        }
    }

    /// A commit tells the other tasks where this one is, where that is news.
    pub(crate) fn tell_clock(&mut self) -> Vec<OutRecord> {
        let now = self.book.clock.input_time;
        let step = self.setup.definitions.grace_ms / TOLD_PER_GRACE;
        let is_news = |told: TimeMs| told < now && (told == TimeMs::MIN || now.since(told) >= step);
        let fed = self.book.fed.iter().filter(|(_, told)| is_news(**told));
        let behind: Vec<u32> = fed.map(|(other, _)| *other).collect();
        let mut told = Vec::with_capacity(behind.len());
        for other in behind {
            self.book.fed.insert(other, now);
            told.push(self.clock_for(other, now));
        }
        told
    }

    fn clock_for(&self, other: u32, upstream_time: TimeMs) -> OutRecord {
        let clock = Routed::Clock {
            from: self.task,
            upstream_time,
        };
        self.to_task(other, None, &clock)
    }

    fn to_task(&self, partition: u32, key: Option<&[u8]>, routed: &Routed) -> OutRecord {
        OutRecord {
            target: own_partition(&self.setup.topics.routed, partition),
            key: key.map(<[u8]>::to_vec),
            value: Some(routed.encode()),
            headers: Vec::new(),
        }
    }

    /// How many keys changed since the last commit, the bookkeeping's not counted.
    pub(crate) fn changed_keys(&self) -> usize {
        self.changed.len()
            + self.changed_days.len()
            + self.changed_cells.len()
            + self.changed_spend.len()
            + self.changed_models().count()
    }

    /// What changed since the last commit, as the changelog has it, in its order; the bookkeeping,
    /// which comes last, excepted.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let mut writes = Vec::with_capacity(self.changed_keys());
        for (key, profile) in &self.changed {
            let mut bytes = Vec::new();
            encode_profile(profile, &mut bytes);
            writes.push((Table::Profiles.full_key(key.as_bytes()), Some(bytes)));
        }
        for day in &self.changed_days {
            let value = self.days.get(day).filter(|t| **t != DayTotals::default());
            let key = Table::Days.full_key(&day_key(*day));
            writes.push((key, value.map(encode_day)));
        }
        for cell in &self.changed_cells {
            let count = self.cells.get(cell).filter(|count| **count != 0);
            let key = Table::OrderCells.full_key(&cell.to_bytes());
            writes.push((key, count.map(|count| encode_count(*count))));
        }
        for cell in &self.changed_spend {
            let sums = self.spend.get(cell).filter(|sums| !sums.is_empty());
            let key = Table::SpendCells.full_key(&cell.to_bytes());
            writes.push((key, sums.map(SpendSums::encode)));
        }
        for version in self.changed_models() {
            let key = Table::Models.full_key(&model_key(*version));
            writes.push((key, self.models.get(version).map(encode_model)));
        }
        writes
    }

    /// Versions that are known and were not at the last commit, or were and are not.
    fn changed_models(&self) -> impl Iterator<Item = &u32> {
        let (now, then) = (&self.models, &self.committed_models);
        let versions: BTreeSet<&u32> = now.keys().chain(then.keys()).collect();
        let is_changed = |version: &&u32| now.contains_key(version) != then.contains_key(version);
        versions.into_iter().filter(is_changed)
    }

    /// The head of a commit that ends here: of what was said, `told` to other tasks and written.
    pub(crate) fn head(
        &self,
        body: &[u8],
        told: &[OutRecord],
        changelog: &TopicPartition,
        writes: &[Write],
    ) -> Head {
        let logged = writes.iter().map(|(key, value)| OutRecord {
            target: changelog.clone(),
            key: Some(key.clone()),
            value: value.clone(),
            headers: Vec::new(),
        });
        let logged: Vec<OutRecord> = logged.collect();
        let written = self.said.iter().chain(told).chain(&logged);
        self.book.chain.after(body, written)
    }

    /// The whole state after the last commit, bookkeeping excepted, in the order of keys.
    pub(crate) fn state(&self) -> impl Iterator<Item = (Vec<u8>, std::borrow::Cow<'_, [u8]>)> {
        let profiles = self.profiles.iter().map(|(key, bytes)| {
            let key = Table::Profiles.full_key(key.as_bytes());
            (key, std::borrow::Cow::Borrowed(bytes.as_slice()))
        });
        let days = self
            .days
            .iter()
            .filter(|(_, t)| **t != DayTotals::default());
        let days = days.map(|(day, totals)| {
            let key = Table::Days.full_key(&day_key(*day));
            (key, std::borrow::Cow::Owned(encode_day(totals)))
        });
        let cells = self.cells.iter().filter(|(_, count)| **count != 0);
        let cells = cells.map(|(cell, count)| {
            let key = Table::OrderCells.full_key(&cell.to_bytes());
            (key, std::borrow::Cow::Owned(encode_count(*count)))
        });
        let spend = self.spend.iter().filter(|(_, sums)| !sums.is_empty());
        let spend = spend.map(|(cell, sums)| {
            let key = Table::SpendCells.full_key(&cell.to_bytes());
            (key, std::borrow::Cow::Owned(sums.encode()))
        });
        let models = self.models.iter().map(|(version, model)| {
            let key = Table::Models.full_key(&model_key(*version));
            (key, std::borrow::Cow::Owned(encode_model(model)))
        });
        profiles.chain(days).chain(cells).chain(spend).chain(models)
    }

    /// What was done since the last commit is committed.
    pub(crate) fn commit(&mut self) {
        for (key, profile) in std::mem::take(&mut self.changed) {
            let mut bytes = Vec::new();
            encode_profile(&profile, &mut bytes);
            self.profiles.insert(key, bytes);
        }
        self.changed_days.clear();
        self.changed_cells.clear();
        self.changed_spend.clear();
        self.committed_models.clone_from(&self.models);
        self.said.clear();
    }

    fn frontier(&self) -> TimeMs {
        self.book.clock.frontier(self.setup.definitions.grace_ms)
    }

    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(self.versions.current())
    }
}

fn own_partition(topic: &TopicName, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(topic),
        partition,
    }
}

fn input_of(at: &TopicPartition) -> ClockSource {
    ClockSource::Input(Text::new(&at.topic), at.partition)
}
