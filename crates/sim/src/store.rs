//! Stores on the volumes of simulated machines.
//!
//! A store is in memory; a checkpoint puts all of it, with its position, on the instance's volume, as
//! a whole or not at all. A killed process leaves the volume as it is. A lost volume is empty, a stale
//! one holds the checkpoints before the last ones.
//!
//! Invariants: as of the real store. Besides, each store keeps a hash of what it holds and notes it in
//! a journal whenever it is complete up to an offset of the changelog, so that it can be held against
//! the changelog afterwards (I4).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use domain::time::TimeMs;
use engine::group::{Passing, RestorableStore, Stores};
use engine::port::{
    Committed, Entry, StateError, StateReader, StateStore, Table, TopicName, TopicPartition, Write,
};
use wire::state::derived_timer;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::faults::Phase;
use crate::hand::Hand;
use crate::log::OWNER_KEY;
use crate::mutants::Mutation;
use crate::time::Moment;

/// State as old as this may hold what was deleted since: half of the tombstones' time.
const STALE_AFTER: i64 = crate::cluster::TOMBSTONES as i64 / 2;

/// Tables, by full key.
pub(crate) type Tables = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// What one entry of a table adds to the hash of a store. Timers are derived, and add nothing.
pub(crate) fn entry_hash(key: &[u8], value: &[u8]) -> u64 {
    match key.first() {
        Some(table) if *table == Table::Timers as u8 => 0,
        _ => xxh3_64_with_seed(value, xxh3_64(key)),
    }
}

/// A checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Image {
    tables: Tables,
    position: u64,
    hash: u64,
}

/// What an instance has on disk, and which of its stores are open.
#[derive(Debug, Default)]
pub(crate) struct Volume {
    images: BTreeMap<u32, Rc<Image>>,
    older: BTreeMap<u32, Rc<Image>>,
    open: BTreeSet<u32>,
}

impl Volume {
    /// The process is dead: nothing is open.
    pub(crate) fn released(&mut self) {
        self.open.clear();
    }

    /// Everything on it is gone.
    pub(crate) fn lose(&mut self) {
        *self = Volume::default();
    }

    /// Writes to the store of a task what is not committed: what must never be.
    pub(crate) fn write_early(&mut self, task: u32, delta: &[Write]) {
        let image = self.images.entry(task).or_default();
        let mut tables = image.tables.clone();
        let mut hash = image.hash;
        for write in delta {
            let key = write.table.full_key(&write.key);
            let before = match &write.value {
                Some(value) => {
                    hash ^= entry_hash(&key, value);
                    tables.insert(key.clone(), Arc::clone(value))
                }
                None => tables.remove(&key),
            };
            hash ^= before.map_or(0, |before| entry_hash(&key, &before));
        }
        *image = Rc::new(Image {
            tables,
            position: image.position,
            hash,
        });
    }

    /// An older copy of it takes its place.
    pub(crate) fn turn_back(&mut self) {
        self.images = std::mem::take(&mut self.older);
    }
}

/// A store that was complete up to an offset: task, offset, hash, when.
pub(crate) type Noted = (u32, u64, u64, Moment);

/// Where and when stores were complete.
pub(crate) type Journal = Rc<RefCell<Vec<Noted>>>;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoresError {
    /// It cannot be read, written, or holds what the log does not.
    #[error(transparent)]
    State(#[from] StateError),
    /// The cluster does not answer.
    #[error("{0}")]
    NotNow(String),
}

impl Passing for StoresError {
    fn is_passing(&self) -> bool {
        matches!(self, StoresError::NotNow(_))
    }
}

/// The stores of one worker's session.
pub(crate) struct SimStores<'y> {
    hand: Hand<'y>,
    volume: Rc<RefCell<Volume>>,
    journal: Journal,
    changelog: TopicName,
    /// Whether a page of profiles that is not the first lacks one.
    skips: bool,
    opened: RefCell<BTreeSet<u32>>,
}

impl<'y> SimStores<'y> {
    pub(crate) fn new(
        hand: Hand<'y>,
        volume: Rc<RefCell<Volume>>,
        journal: Journal,
        changelog: TopicName,
        mutation: Option<Mutation>,
    ) -> SimStores<'y> {
        SimStores {
            hand,
            volume,
            journal,
            changelog,
            skips: mutation == Some(Mutation::SkipProfile),
            opened: RefCell::default(),
        }
    }

    /// Whether the changelog may have forgotten deletions since `position`.
    fn is_stale(&self, task: u32, position: u64) -> Result<bool, StoresError> {
        let at = TopicPartition {
            topic: Arc::clone(&self.changelog),
            partition: task,
        };
        let own = self.hand.wall_clock();
        let cluster = self.hand.cluster();
        let newest = cluster.partition(&at).and_then(|p| p.history().last());
        let newest = newest.map_or(TimeMs(0), |record| record.timestamp);
        let oldest = own.max(newest).minus(STALE_AFTER);
        let refused = |what| StoresError::NotNow(format!("{what:?}"));
        let (_, end) = cluster.bounds(&at).map_err(refused)?;
        if position > end {
            return Err(StateError::Failed(format!(
                "the store of task {task} stands at {position}, its changelog ends at {end}"
            ))
            .into());
        }
        if position == 0 || position == end {
            return Ok(false);
        }
        let recent = cluster.offset_at(&at, oldest).map_err(refused)?;
        Ok(recent.is_none_or(|recent| position < recent))
    }
}

impl<'y> Stores for SimStores<'y> {
    type Store = SimStore<'y>;
    type Error = StoresError;

    fn open(&self, task: u32) -> Result<Option<SimStore<'y>>, StoresError> {
        if self.volume.borrow().open.contains(&task) {
            return Ok(None);
        }
        let image = self.volume.borrow().images.get(&task).cloned();
        let image = image.unwrap_or_default();
        let image = match self.is_stale(task, image.position)? {
            true => Rc::default(),
            false => image,
        };
        self.volume.borrow_mut().open.insert(task);
        self.opened.borrow_mut().insert(task);
        Ok(Some(SimStore {
            hand: self.hand.clone(),
            volume: Rc::clone(&self.volume),
            journal: Rc::clone(&self.journal),
            changelog: Arc::clone(&self.changelog),
            owner_key: Table::Meta.full_key(OWNER_KEY),
            task,
            skips: self.skips,
            tables: image.tables.clone(),
            hash: image.hash,
            written: image.position,
            applied: image.position,
            checkpointed_at: self.hand.now(),
        }))
    }

    fn close(&self, task: u32, store: SimStore<'y>) -> Result<(), StoresError> {
        self.hand.reach(Phase::MidRevoke);
        drop(store);
        self.volume.borrow_mut().open.remove(&task);
        self.opened.borrow_mut().remove(&task);
        Ok(())
    }
}

impl Drop for SimStores<'_> {
    fn drop(&mut self) {
        let mut volume = self.volume.borrow_mut();
        for task in self.opened.borrow().iter() {
            volume.open.remove(task);
        }
    }
}

/// The store of one task.
pub(crate) struct SimStore<'y> {
    hand: Hand<'y>,
    volume: Rc<RefCell<Volume>>,
    journal: Journal,
    changelog: TopicName,
    owner_key: Vec<u8>,
    task: u32,
    skips: bool,
    tables: Tables,
    hash: u64,
    written: u64,
    applied: u64,
    pub(crate) checkpointed_at: Moment,
}

impl SimStore<'_> {
    pub(crate) fn task(&self) -> u32 {
        self.task
    }

    /// Everything in it.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Changelog offsets that are in no checkpoint.
    pub(crate) fn tail(&self) -> u64 {
        self.applied - self.written
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Option<Arc<[u8]>>) {
        let before = match value {
            Some(value) => {
                self.hash ^= entry_hash(&key, &value);
                let before = self.tables.insert(key.clone(), value);
                before.map(|before| (key, before))
            }
            None => self.tables.remove_entry(&key),
        };
        if let Some((key, before)) = before {
            self.hash ^= entry_hash(&key, &before);
        }
    }

    /// Notes that it is complete, unless somebody else has claimed the task already: then compaction
    /// may have taken away what this one was still to read.
    fn note(&self) {
        let at = TopicPartition {
            topic: Arc::clone(&self.changelog),
            partition: self.task,
        };
        let cluster = self.hand.cluster();
        let records = cluster.partition(&at).map_or(&[][..], |p| p.history());
        let mut newer = records.iter().skip(self.applied as usize);
        if newer.any(|record| record.content.key.as_deref() == Some(&self.owner_key)) {
            return;
        }
        drop(cluster);
        let noted = (self.task, self.applied, self.hash, self.hand.now());
        self.journal.borrow_mut().push(noted);
    }
}

impl StateReader for SimStore<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        Ok(self.tables.get(&table.full_key(key)).cloned())
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let range = self.tables.range(table.full_key(from)..);
        let of_table = range.take_while(|(key, _)| key.first() == Some(&(table as u8)));
        let skipped = self.skips && table == Table::Profiles && !from.is_empty();
        let entries = of_table.skip(usize::from(skipped)).take(limit);
        Ok(entries
            .map(|(key, value)| (key[1..].to_vec(), Arc::clone(value)))
            .collect())
    }
}

impl StateStore for SimStore<'_> {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        if committed.task != self.task {
            return Err(StateError::Failed(format!(
                "work of task {} came to the store of task {}",
                committed.task, self.task
            )));
        }
        for write in committed.delta {
            self.put(write.table.full_key(&write.key), write.value);
        }
        self.applied = self.applied.max(committed.changelog_end);
        self.note();
        Ok(())
    }
}

impl RestorableStore for SimStore<'_> {
    fn position(&self) -> u64 {
        self.written
    }

    fn restore(&mut self, offset: u64, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let split = Table::split(key).filter(|(table, _)| table.is_logged());
        let Some((table, name)) = split else {
            return Err(StateError::Failed(format!(
                "the changelog record at {offset} belongs to no table"
            )));
        };
        if table == Table::Profiles {
            let old = self
                .tables
                .get(key)
                .and_then(|old| derived_timer(name, old));
            if let Some(timer) = old {
                self.put(Table::Timers.full_key(&timer), None);
            }
            if let Some(timer) = value.and_then(|value| derived_timer(name, value)) {
                self.put(Table::Timers.full_key(&timer), Some(Arc::default()));
            }
        }
        self.put(key.to_vec(), value.map(Arc::from));
        self.applied = self.applied.max(offset + 1);
        Ok(())
    }

    fn mark_restored(&mut self, end: u64) -> Result<(), StateError> {
        if self.applied > end {
            return Err(StateError::Failed(format!(
                "the store of task {} stands at {}, its changelog ends at {end}",
                self.task, self.applied
            )));
        }
        self.applied = end;
        self.note();
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), StateError> {
        self.hand.reach(Phase::MidCheckpoint);
        let image = Rc::new(Image {
            tables: self.tables.clone(),
            position: self.applied,
            hash: self.hash,
        });
        let mut volume = self.volume.borrow_mut();
        if let Some(older) = volume.images.insert(self.task, image) {
            volume.older.insert(self.task, older);
        }
        drop(volume);
        self.written = self.applied;
        self.checkpointed_at = self.hand.now();
        self.hand.reach(Phase::MidCheckpoint);
        Ok(())
    }
}
