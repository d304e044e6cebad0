//! The timers of one task that are due soon, in memory; the rest stays in the store.
//!
//! Invariant: every armed timer that stands before `loaded` is in `near`; what comes after it is in
//! the store, or in `near` because it was armed since the last commit. So memory holds one page of
//! the store and what was armed, however many fall due at once.

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
    loaded: (TimeMs, Text),
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            near: BTreeSet::new(),
            loaded: (TimeMs::MIN, Text::default()),
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
        loop {
            let first = self.near.first();
            let is_first = first.is_some_and(|timer| *timer < self.loaded);
            if is_first || self.loaded.0 > frontier {
                let is_due = first.is_some_and(|(due, _)| *due <= frontier);
                return Ok(if is_due { self.near.pop_first() } else { None });
            }
            self.load(frontier, state)?;
        }
    }

    /// Reads one page of the store.
    fn load(&mut self, frontier: TimeMs, state: &dyn StateReader) -> Result<(), StateError> {
        let to = frontier.plus(AHEAD_MS);
        let from = timer_key(self.loaded.0, self.loaded.1.as_bytes());
        let entries = state.scan(Table::Timers, &from, SCAN)?;
        let is_full = entries.len() == SCAN;
        let mut last = self.loaded.clone();
        for (key, _) in entries {
            let Some((due, profile)) = split_timer_key(&key) else {
                return Err(StateError("a timer's key is damaged".to_owned()));
            };
            if due >= to {
                self.loaded = (to, Text::default());
                return Ok(());
            }
            let profile = Text::new(String::from_utf8_lossy(profile));
            last = (due, profile.clone());
            self.near.insert((due, profile));
        }
        self.loaded = if is_full {
            // The next key after the last one.
            (last.0, Text::new(format!("{}\0", last.1)))
        } else {
            (to, Text::default())
        };
        Ok(())
    }

    /// What was armed is in the store now: what is due late need not be kept.
    pub(crate) fn committed(&mut self) {
        drop(self.near.split_off(&self.loaded));
    }
}
