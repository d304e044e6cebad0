//! An event, or a timer, and the profile that it is for.
//!
//! Invariants:
//! - A profile goes over to the model in force before anything else is done with it.
//! - What follows from a change of a profile (the shop's days, the cells of its customers, its timer, what is told)
//!   follows in the same step.

use std::collections::btree_map::Entry;

use domain::change::Change;
use domain::event::{Event, GUEST_PREFIX, Owner, Text};
use domain::orders::DayTotals;
use domain::profile::{Outcome, Profile};
use domain::time::{Day, TimeMs};
use wire::state::{day_key, decode_day, timer_key};

use super::rescore::adopt;
use super::{Task, damaged};
use crate::port::{StateError, StateReader, Table};

impl Task {
    pub(super) fn apply(
        &mut self,
        event: &Event,
        key: &Text,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let frontier = self.frontier();
        let profile = self.profiles.load(key, &self.versions, state)?;
        let mut changes = std::mem::take(&mut self.batch.changes);
        adopt(profile, &self.versions, frontier, &mut changes)?;
        let days = if event.body.is_order_fact() {
            profile.live.book.days_touched(event)
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
        let before = day_totals(profile);
        let was = profile.live.purchases().copied();
        let outcome = profile.take(event, frontier, self.versions.current(), &mut changes);
        let after = day_totals(profile);
        let is = profile.live.purchases().copied();
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
    pub(super) fn touched(&mut self, key: &Text, changes: &mut Vec<Change>) {
        let Some(profile) = self.profiles.change(key) else {
            return;
        };
        if key.starts_with(GUEST_PREFIX) {
            changes.clear();
            return;
        }
        let due = profile.next_timer();
        if due < profile.armed {
            profile.armed = due;
            self.timers.arm(due, key);
            self.batch
                .timers
                .insert(timer_key(due, key.as_bytes()), true);
        }
        self.tell(key, changes);
    }

    /// Fires the next timer that is due by the clock as it stands.
    pub(super) fn fire_next(&mut self, state: &dyn StateReader) -> Result<bool, StateError> {
        let frontier = self.frontier();
        let Some((due, key)) = self.timers.pop_due(frontier, state)? else {
            return Ok(false);
        };
        self.batch
            .timers
            .insert(timer_key(due, key.as_bytes()), false);
        let profile = self.profiles.load(&key, &self.versions, state)?;
        let mut changes = std::mem::take(&mut self.batch.changes);
        if profile.armed == due {
            profile.armed = TimeMs::MAX;
            adopt(profile, &self.versions, frontier, &mut changes)?;
            profile.advance(frontier, self.versions.current(), &mut changes);
            self.touched(&key, &mut changes);
        }
        self.batch.changes = changes;
        Ok(true)
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
}
