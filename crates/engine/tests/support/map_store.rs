//! A store in memory that can crash: what was not checkpointed is lost and comes back from the
//! changelog, timers derived from profiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::port::{Committed, Entry, StateError, StateReader, StateStore, Table};
use wire::state::derived_timer;

use super::memory_log::Stored;

type Map = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// Tables, and the changelog position that they stand at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tables {
    tables: [Map; Table::ALL.len()],
    position: u64,
}

impl Tables {
    pub(crate) fn table(&self, table: Table) -> &Map {
        &self.tables[table as usize - 1]
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn table_mut(&mut self, table: Table) -> &mut Map {
        &mut self.tables[table as usize - 1]
    }

    fn put(&mut self, table: Table, key: &[u8], value: Option<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        let map = self.table_mut(table);
        match value {
            Some(value) => map.insert(key.to_vec(), value),
            None => map.remove(key),
        }
    }

    /// One changelog record, replayed.
    fn replay(&mut self, full_key: &[u8], value: Option<Arc<[u8]>>) {
        let (table, key) = Table::split(full_key).expect("a key of a known table");
        let derived = |v: &Option<Arc<[u8]>>| v.as_deref().and_then(|v| derived_timer(key, v));
        let timer = derived(&value);
        let before = self.put(table, key, value);
        if table == Table::Profiles {
            if let Some(old) = derived(&before) {
                self.put(Table::Timers, &old, None);
            }
            if let Some(new) = timer {
                self.put(Table::Timers, &new, Some(Arc::from([].as_slice())));
            }
        }
    }
}

/// The store of one task.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapStore {
    now: Tables,
    checkpoint: Tables,
}

impl MapStore {
    pub(crate) fn tables(&self) -> &Tables {
        &self.now
    }

    /// No profile in the store can be read any more.
    pub(crate) fn damage(&mut self) {
        for value in self.now.table_mut(Table::Profiles).values_mut() {
            *value = Arc::from([0xff].as_slice());
        }
    }

    /// What is in the store now survives a crash.
    pub(crate) fn checkpoint(&mut self) {
        self.checkpoint = self.now.clone();
    }

    /// Takes in the changelog record at `offset`.
    pub(crate) fn restore(&mut self, offset: u64, key: &[u8], value: Option<&[u8]>) {
        assert!(offset >= self.now.position, "the changelog went back");
        self.now.replay(key, value.map(Arc::from));
        self.now.position = offset + 1;
    }

    /// The process dies, and the store comes back from its checkpoint and the changelog.
    pub(crate) fn crash(&mut self, changelog: &[Stored]) {
        self.now = self.checkpoint.clone();
        let from = usize::try_from(self.now.position).expect("a position");
        for record in &changelog[from..] {
            let key = record.key.as_deref().expect("a changelog record has a key");
            self.now.replay(key, record.value.as_deref().map(Arc::from));
        }
        self.now.position = changelog.len() as u64;
    }
}

impl StateReader for MapStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        Ok(self.now.table(table).get(key).cloned())
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        assert!(
            keys.is_sorted_by(|a, b| a < b),
            "keys are sorted and distinct"
        );
        Ok(keys
            .iter()
            .map(|k| self.now.table(table).get(*k).cloned())
            .collect())
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let range = self.now.table(table).range(from.to_vec()..);
        Ok(range
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }
}

impl StateStore for MapStore {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        let order = |w: &engine::port::Write| (w.table == Table::Meta, w.table, w.key.clone());
        assert!(
            committed.delta.is_sorted_by(|a, b| order(a) < order(b)),
            "a delta has one write per key, sorted"
        );
        for write in committed.delta {
            self.now.put(write.table, &write.key, write.value);
        }
        self.now.position = committed.changelog_end;
        Ok(())
    }
}
