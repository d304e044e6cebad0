//! The in-memory twin of the store, for tests and simulation of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use engine::port::{Committed, Entry, StateError, StateReader, StateStore, Table};

use crate::error::StoreError;
use crate::task::{Checkpoint, Derive};

/// Behaves as [`crate::TaskStore`] does, on a map. [`MemoryStore::crash`] stands for the process
/// being killed: what was not in a checkpoint is gone.
#[derive(Clone)]
pub struct MemoryStore {
    task: u32,
    derive: Derive,
    live: BTreeMap<Vec<u8>, Arc<[u8]>>,
    durable: BTreeMap<Vec<u8>, Arc<[u8]>>,
    touched: BTreeSet<Vec<u8>>,
    written: u64,
    applied: u64,
}

impl MemoryStore {
    /// An empty store of `task`.
    #[must_use]
    pub fn new(task: u32, derive: Derive) -> MemoryStore {
        MemoryStore {
            task,
            derive,
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            touched: BTreeSet::new(),
            written: 0,
            applied: 0,
        }
    }

    /// The task whose state this is.
    #[must_use]
    pub fn task(&self) -> u32 {
        self.task
    }

    /// The changelog offset of the last checkpoint.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.written
    }

    /// The changelog offset up to which this store answers reads.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Takes in committed writes.
    ///
    /// # Errors
    /// The work is another task's.
    pub fn apply(&mut self, committed: Committed) -> Result<(), StoreError> {
        if committed.task != self.task {
            return Err(StoreError::WrongTask {
                found: committed.task,
                expected: self.task,
            });
        }
        for write in committed.delta {
            self.put(write.table.full_key(&write.key), write.value);
        }
        self.applied = self.applied.max(committed.changelog_end);
        Ok(())
    }

    /// Takes in the changelog record at `offset`.
    ///
    /// # Errors
    /// The key belongs to no table of the changelog.
    pub fn restore(
        &mut self,
        offset: u64,
        full_key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let Some((table, key)) = Table::split(full_key).filter(|(table, _)| table.is_logged())
        else {
            return Err(StoreError::UnknownTable(offset));
        };
        if table == Table::Profiles {
            let old = self.live.get(full_key);
            if let Some(timer) = old.and_then(|profile| (self.derive)(key, profile)) {
                self.put(Table::Timers.full_key(&timer), None);
            }
            if let Some(timer) = value.and_then(|profile| (self.derive)(key, profile)) {
                self.put(Table::Timers.full_key(&timer), Some(Arc::default()));
            }
        }
        self.put(full_key.to_vec(), value.map(Arc::from));
        self.applied = self.applied.max(offset.saturating_add(1));
        Ok(())
    }

    /// Ends a restore: the changelog has been read up to its end, `end`.
    ///
    /// # Errors
    /// The store holds more than the changelog does.
    pub fn mark_restored(&mut self, end: u64) -> Result<(), StoreError> {
        if self.applied > end {
            return Err(StoreError::Ahead {
                path: "memory".into(),
                position: self.applied,
                end,
            });
        }
        self.applied = end;
        Ok(())
    }

    /// Writes a checkpoint whenever there is something to write: here it costs nothing.
    ///
    /// # Errors
    /// None; the twin's signature has one.
    pub fn checkpoint_if_due(&mut self, _now: Instant) -> Result<Checkpoint, StoreError> {
        if self.applied == self.written && self.touched.is_empty() {
            return Ok(Checkpoint::NotDue);
        }
        self.checkpoint()?;
        Ok(Checkpoint::Started)
    }

    /// Makes everything applied survive [`MemoryStore::crash`].
    ///
    /// # Errors
    /// None; the twin's signature has one.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.touched) {
            match self.live.get(&key) {
                Some(value) => self.durable.insert(key, Arc::clone(value)),
                None => self.durable.remove(&key),
            };
        }
        self.written = self.applied;
        Ok(())
    }

    /// The store as the next process finds it.
    #[must_use]
    pub fn crash(mut self) -> MemoryStore {
        self.live.clone_from(&self.durable);
        self.touched.clear();
        self.applied = self.written;
        self
    }

    fn put(&mut self, full_key: Vec<u8>, value: Option<Arc<[u8]>>) {
        match value {
            Some(value) => self.live.insert(full_key.clone(), value),
            None => self.live.remove(&full_key),
        };
        self.touched.insert(full_key);
    }
}

impl StateStore for MemoryStore {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        Ok(MemoryStore::apply(self, committed)?)
    }
}

impl StateReader for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        Ok(self.live.get(&table.full_key(key)).cloned())
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let of_table = |full: &[u8]| full.first() == Some(&(table as u8));
        Ok(self
            .live
            .range(table.full_key(from)..)
            .take_while(|(key, _)| of_table(key))
            .take(limit)
            .map(|(key, value)| (key[1..].to_vec(), Arc::clone(value)))
            .collect())
    }
}
