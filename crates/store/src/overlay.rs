//! What of a table is not yet in RocksDB, and how it lies over what is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use engine::port::{Entry, Table};
use rocksdb::{DB, DBRawIteratorWithThreadMode};

/// The dirty timers, in order: timers are scanned and never looked up, so they are kept out of the
/// hash cache.
pub(crate) struct Timers {
    /// By full key; `None` deletes.
    dirty: BTreeMap<Vec<u8>, Option<Arc<[u8]>>>,
    bytes: usize,
    /// No timer stands below this full key, neither here nor in RocksDB. Without it, every scan
    /// would pass over all timers that have fired.
    floor: Vec<u8>,
}

/// What an entry costs besides its key: its place in the tree and its allocation.
const TIMER_OVERHEAD: usize = 64;

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            dirty: BTreeMap::new(),
            bytes: 0,
            floor: Table::Timers.full_key(&[]),
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: Option<Arc<[u8]>>) {
        let full = Table::Timers.full_key(key);
        if value.is_some() && full < self.floor {
            self.floor.clone_from(&full);
        }
        let cost = full.len() + TIMER_OVERHEAD;
        if self.dirty.insert(full, value).is_none() {
            self.bytes += cost;
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Arc<[u8]>>> {
        self.dirty.get(&Table::Timers.full_key(key)).cloned()
    }

    /// Bytes of the dirty entries, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn dirty_from(&self, from: &[u8]) -> impl Iterator<Item = Overlaid<'_>> {
        self.dirty
            .range::<[u8], _>((Bound::Included(from), Bound::Unbounded))
            .map(|(key, value)| (key.as_slice(), value.as_ref()))
    }

    /// To be called when every dirty timer is in RocksDB.
    pub(crate) fn mark_clean(&mut self) {
        self.dirty.clear();
        self.bytes = 0;
    }

    /// Where a scan from the full key `from` may start instead.
    pub(crate) fn start(&self, from: Vec<u8>) -> Vec<u8> {
        from.max(self.floor.clone())
    }

    /// Learns from a scan that started at or below the floor and found `first`.
    pub(crate) fn raise_floor(&mut self, first: Option<&Entry>) {
        self.floor = match first {
            Some((key, _)) => Table::Timers.full_key(key),
            None => end_of(Table::Timers),
        };
    }

    pub(crate) fn is_at_floor(&self, start: &[u8]) -> bool {
        start <= self.floor.as_slice()
    }
}

/// A dirty entry: full key, and the value or that it is deleted.
pub(crate) type Overlaid<'a> = (&'a [u8], Option<&'a Arc<[u8]>>);

/// The first full key behind `table`.
pub(crate) fn end_of(table: Table) -> Vec<u8> {
    vec![table as u8 + 1]
}

/// Up to `limit` entries in key order of what `below` holds, as changed by `overlay`. Both stand at
/// the first key wanted and end with the table.
pub(crate) fn merge<'a>(
    overlay: impl Iterator<Item = Overlaid<'a>>,
    below: &mut DBRawIteratorWithThreadMode<'_, DB>,
    limit: usize,
) -> Result<Vec<Entry>, rocksdb::Error> {
    let mut found = Vec::new();
    let mut overlay = overlay.peekable();
    while found.len() < limit {
        let stored = below.item();
        match (overlay.peek().copied(), stored) {
            (None, None) => break,
            (Some((key, value)), stored) if stored.is_none_or(|(other, _)| key <= other) => {
                if stored.is_some_and(|(other, _)| key == other) {
                    below.next();
                }
                if let Some(value) = value {
                    found.push((key[1..].to_vec(), Arc::clone(value)));
                }
                overlay.next();
            }
            (_, Some((key, value))) => {
                found.push((key[1..].to_vec(), Arc::from(value)));
                below.next();
            }
            (Some(_), None) => break,
        }
    }
    below.status()?;
    Ok(found)
}
