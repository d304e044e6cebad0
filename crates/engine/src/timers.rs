//! The timers of one task that are due soon, in memory; the rest stays in the store.
//!
//! Invariant: every armed timer that stands before `loaded` is in `near`; what comes after it is in
//! the store, or in `near` because it was armed since the last commit. So memory holds a few pages
//! of the store and what was armed, however many fall due at once.

use std::collections::BTreeSet;

use domain::event::Text;
use domain::time::TimeMs;
use wire::state::{split_timer_key, timer_key};

use crate::port::{StateError, StateReader, Table};

/// How many timers one scan of the store yields.
const SCAN: usize = 1024;
/// How many timers are kept over a commit, at most.
const KEEP: usize = 4 * SCAN;

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

    /// Whether a timer is due by `frontier`.
    pub(crate) fn is_due(
        &mut self,
        frontier: TimeMs,
        state: &dyn StateReader,
    ) -> Result<bool, StateError> {
        loop {
            let first = self.near.first();
            let is_first = first.is_some_and(|timer| *timer < self.loaded);
            if is_first || self.loaded.0 > frontier {
                return Ok(first.is_some_and(|(due, _)| *due <= frontier));
            }
            self.load(state)?;
        }
    }

    /// Takes out the first timer that is due by `frontier`.
    pub(crate) fn pop_due(
        &mut self,
        frontier: TimeMs,
        state: &dyn StateReader,
    ) -> Result<Option<(TimeMs, Text)>, StateError> {
        let is_due = self.is_due(frontier, state)?;
        Ok(if is_due { self.near.pop_first() } else { None })
    }

    /// Reads the next page of the store.
    fn load(&mut self, state: &dyn StateReader) -> Result<(), StateError> {
        let from = timer_key(self.loaded.0, self.loaded.1.as_bytes());
        let entries = state.scan(Table::Timers, &from, SCAN)?;
        let is_full = entries.len() == SCAN;
        let mut last = None;
        for (key, _) in entries {
            let Some((due, profile)) = split_timer_key(&key) else {
                return Err(StateError::Damaged("a timer's key is damaged".to_owned()));
            };
            let profile = Text::new(String::from_utf8_lossy(profile));
            last = Some((due, profile.clone()));
            self.near.insert((due, profile));
        }
        self.loaded = match last {
            // The next key after the last one.
            Some((due, profile)) if is_full => (due, Text::new(format!("{profile}\0"))),
            _ => (TimeMs::MAX, Text::default()),
        };
        Ok(())
    }

    /// What was armed is in the store now: what is due late need not be kept.
    pub(crate) fn committed(&mut self) {
        drop(self.near.split_off(&self.loaded));
        if self.near.len() > KEEP
            && let Some(first_dropped) = self.near.iter().nth(SCAN).cloned()
        {
            drop(self.near.split_off(&first_dropped));
            self.loaded = first_dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Entry;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// A store that holds timers and nothing else.
    #[derive(Default)]
    struct Stored(BTreeMap<Vec<u8>, Arc<[u8]>>);

    impl StateReader for Stored {
        fn get(&self, _: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
            Ok(self.0.get(key).cloned())
        }

        fn multi_get(
            &self,
            table: Table,
            keys: &[&[u8]],
        ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
            keys.iter().map(|key| self.get(table, key)).collect()
        }

        fn scan(&self, _: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
            let range = self.0.range(from.to_vec()..);
            let entries = range.take(limit);
            Ok(entries.map(|(k, v)| (k.clone(), v.clone())).collect())
        }
    }

    /// Arms timers in memory and store, with a commit after each `per_commit`, and takes them out
    /// as the clock goes on: each comes once, in order, and memory stays small.
    #[test]
    fn each_timer_comes_once_in_order_from_little_memory() {
        for per_commit in [1, 100, 20_000] {
            let mut timers = Timers::new();
            let mut store = Stored::default();
            let mut armed = BTreeSet::new();
            for at in 0..20_000_i64 {
                // Scattered over 5,000 instants.
                let due = TimeMs(1_000_000 + at * 7_919 % 5_000);
                let key = Text::new(format!("c{at}"));
                timers.arm(due, &key);
                store
                    .0
                    .insert(timer_key(due, key.as_bytes()), Arc::from([].as_slice()));
                armed.insert((due, key));
                if at % per_commit == per_commit - 1 {
                    timers.committed();
                    assert!(timers.near.len() <= KEEP + 1);
                }
                let early = timers.pop_due(TimeMs(999_999), &store);
                assert_eq!(early.unwrap(), None);
            }
            let mut fired = Vec::new();
            for now in (1_000_000..1_005_100).step_by(100) {
                while let Some((due, key)) = timers.pop_due(TimeMs(now), &store).unwrap() {
                    assert!(due.0 <= now);
                    store.0.remove(&timer_key(due, key.as_bytes()));
                    fired.push((due, key));
                }
                timers.committed();
                assert!(timers.near.len() <= KEEP);
            }
            assert!(fired.iter().eq(armed.iter()), "{per_commit} a commit");
        }
    }
}
