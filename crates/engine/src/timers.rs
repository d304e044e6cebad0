//! The timers of one task that are due soon, in memory; the rest stays in the store.
//!
//! Invariant: every armed timer that is due before `loaded_to` is in `near`; what is due later is
//! in the store, or in `near` because it was armed since the last commit.

use std::collections::BTreeSet;

use domain::event::Text;
use domain::time::{HOUR_MS, TimeMs};
use wire::state::{split_timer_key, timer_key};

use crate::port::{StateError, StateReader, Table};

/// How many timers one scan of the store yields.
const SCAN: usize = 1024;
/// How far beyond what is due the store is read ahead, so that a clock that creeps does not scan
/// with every record.
const AHEAD_MS: i64 = 6 * HOUR_MS;

/// The timers of one task.
#[derive(Debug)]
pub(crate) struct Timers {
    near: BTreeSet<(TimeMs, Text)>,
    loaded_to: TimeMs,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            near: BTreeSet::new(),
            loaded_to: TimeMs::MIN,
        }
    }

    /// A timer was armed.
    pub(crate) fn arm(&mut self, due: TimeMs, key: &Text) {
        self.near.insert((due, key.clone()));
    }

    /// Takes out the first timer that is due by `frontier`.
    pub(crate) fn pop_due(
        &mut self,
        frontier: TimeMs,
        state: &dyn StateReader,
    ) -> Result<Option<(TimeMs, Text)>, StateError> {
        if self.loaded_to <= frontier {
            self.load(frontier, state)?;
        }
        match self.near.first() {
            Some((due, _)) if *due <= frontier => Ok(self.near.pop_first()),
            _ => Ok(None),
        }
    }

    fn load(&mut self, frontier: TimeMs, state: &dyn StateReader) -> Result<(), StateError> {
        let to = frontier.plus(AHEAD_MS);
        let mut from = timer_key(self.loaded_to, &[]);
        loop {
            let entries = state.scan(Table::Timers, &from, SCAN)?;
            let full = entries.len() == SCAN;
            for (key, _) in entries {
                let Some((due, profile)) = split_timer_key(&key) else {
                    return Err(StateError("a timer's key is damaged".to_owned()));
                };
                if due >= to {
                    self.loaded_to = to;
                    return Ok(());
                }
                let profile = String::from_utf8_lossy(profile);
                self.near.insert((due, Text::new(profile)));
                from = key;
            }
            if !full {
                self.loaded_to = to;
                return Ok(());
            }
            from.push(0);
        }
    }

    /// What was armed is in the store now: what is due late need not be kept.
    pub(crate) fn committed(&mut self) {
        drop(self.near.split_off(&(self.loaded_to, Text::default())));
    }
}
