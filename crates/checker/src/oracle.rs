//! The naive oracle: what a task does, one record at a time, without batches, caches or prefetching,
//! and without a line of the engine's task.
//!
//! It shares with the engine what is a function of its arguments alone: the fold of a profile
//! (`domain`), bytes (`wire`), and the clock (`engine::clock`). What it has of its own is everything
//! between these: which record comes to whom, when the clock moves, when a timer fires, what is
//! counted, what is said, and what is written.
//!
//! Profiles rest as bytes; those that changed since the last commit are decoded.

mod cells;
mod company;
mod input;
mod models;
mod said;
mod totals;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::change::Change;
use domain::event::{Event, GUEST_PREFIX, Owner, Text};
use domain::orders::DayTotals;
use domain::profile::{Outcome, Profile};
use domain::time::{Day, TimeMs};
use engine::bookkeeping::Bookkeeping;
use engine::port::{OutRecord, TopicPartition};
use engine::task::Setup;
use wire::bin::Corrupt;
use wire::routed::Routed;
use wire::state::decode_profile;
use wire::{Decoded, partition_of};

use crate::history::Entry;
use cells::Cells;
pub(crate) use input::Input;
use input::input_of;
use models::Models;
use totals::Totals;
pub(crate) use written::Write;

/// A task, replayed.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    task: u32,
    setup: Arc<Setup>,
    pub(crate) book: Bookkeeping,
    profiles: BTreeMap<Text, Vec<u8>>,
    changed: BTreeMap<Text, Profile>,
    days: Totals<DayTotals>,
    cells: Cells,
    models: Models,
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
            days: Totals::new(),
            cells: Cells::new(),
            models: Models::new(&setup.definitions),
            timers: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    /// Fires the first timer that is due by the clock as it stands, if one is.
    pub(crate) fn fire_one(&mut self) -> Result<bool, Corrupt> {
        if !self.has_due() {
            return Ok(false);
        }
        let Some((_, key)) = self.timers.pop_first() else {
            return Ok(false);
        };
        let frontier = self.frontier();
        let mut profile = self.profile(&key)?;
        profile.armed = TimeMs::MAX;
        let mut changes = Vec::new();
        self.go_over(&mut profile, &mut changes)?;
        profile.advance(frontier, self.models.definitions(), &mut changes);
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
        match input.moves_clock(at) {
            Some((source, TimeMs::MAX)) => self.book.clock.leave(&source),
            Some((source, time)) => self.book.clock.observe(&source, time),
            None => {}
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
        match profile.take(event, frontier, self.models.definitions(), &mut changes) {
            Outcome::Applied => self.book.counts.applied += 1,
            Outcome::Late => self.book.counts.late += 1,
            Outcome::Deduplicated => self.book.counts.deduplicated += 1,
        }
        for (day, before) in days.iter().zip(before) {
            let difference = totals(&profile, day).minus(&before);
            if difference != DayTotals::default() {
                self.days.change(*day).add(&difference);
            }
        }
        if is_customer {
            self.cells.recount(was.as_ref(), profile.live.purchases());
        }
        self.keep(key, profile, changes);
        Ok(())
    }

    fn profile(&self, key: &Text) -> Result<Profile, Corrupt> {
        if let Some(changed) = self.changed.get(key) {
            return Ok(changed.clone());
        }
        match self.profiles.get(key) {
            Some(bytes) => decode_profile(bytes, self.models.versions()),
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

    fn frontier(&self) -> TimeMs {
        self.book.clock.frontier(self.setup.definitions.grace_ms)
    }
}
