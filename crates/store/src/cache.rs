//! The write-back cache of values by key: dirty entries wait here for RocksDB, clean ones save
//! reading it.
//!
//! A hash index over a slab of slots; clean slots leave by the CLOCK rule (second chance). Dirty
//! slots are listed per table, so that writing out and scanning need not look at the clean ones,
//! and never leave before [`Cache::mark_clean`].

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use engine::port::Table;
use hashbrown::{DefaultHashBuilder, HashTable};

/// What an entry costs besides its key and value bytes: slot, index, headers of two allocations.
const ENTRY_OVERHEAD: usize = 96;
/// One list of dirty slots per table; [`Table`]'s numbers start at 1.
const LISTS: usize = Table::ALL.len() + 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    /// Same as in RocksDB, may be evicted.
    Clean,
    /// Same as in RocksDB, read since the hand last passed.
    Referenced,
    /// Not yet in RocksDB.
    Dirty,
    /// Not in use.
    Free,
}

struct Slot {
    /// With the table's byte.
    key: Box<[u8]>,
    /// `None` is a deletion that RocksDB does not know yet.
    value: Option<Arc<[u8]>>,
    flag: Flag,
}

impl Slot {
    fn cost(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |v| v.len()) + ENTRY_OVERHEAD
    }
}

/// The dirty slots of one table.
#[derive(Default)]
struct DirtyList {
    slots: Vec<u32>,
    sorted: bool,
}

/// See the module's header.
pub(crate) struct Cache {
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    dirty: [DirtyList; LISTS],
    bytes: usize,
    dirty_bytes: usize,
}

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache {
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            dirty: std::array::from_fn(|_| DirtyList::default()),
            bytes: 0,
            dirty_bytes: 0,
        }
    }

    /// Bytes of all entries, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the dirty entries, overhead included.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// What the cache knows of a key: nothing, that it is deleted (`Some(None)`), or its value.
    pub(crate) fn get(&mut self, table: Table, key: &[u8]) -> Option<Option<Arc<[u8]>>> {
        let slot = self.find(table, key)?;
        let slot = &mut self.slots[slot as usize];
        if slot.flag == Flag::Clean {
            slot.flag = Flag::Referenced;
        }
        Some(slot.value.clone())
    }

    /// Takes in a value just read from RocksDB, of a key that the cache does not know.
    pub(crate) fn insert_clean(&mut self, table: Table, key: &[u8], value: Arc<[u8]>) {
        self.insert(table, key, Some(value), Flag::Clean);
    }

    /// Takes in a committed write.
    pub(crate) fn put_dirty(&mut self, table: Table, key: &[u8], value: Option<Arc<[u8]>>) {
        let Some(number) = self.find(table, key) else {
            let number = self.insert(table, key, value, Flag::Dirty);
            self.dirty_bytes += self.slots[number as usize].cost();
            self.list_dirty(table, number);
            return;
        };
        let slot = &mut self.slots[number as usize];
        let before = slot.cost();
        slot.value = value;
        let after = slot.cost();
        self.bytes = self.bytes - before + after;
        if slot.flag == Flag::Dirty {
            self.dirty_bytes = self.dirty_bytes - before + after;
        } else {
            slot.flag = Flag::Dirty;
            self.dirty_bytes += after;
            self.list_dirty(table, number);
        }
    }

    /// Sorts the dirty entries of `table`, as [`Cache::dirty_from`] needs it.
    pub(crate) fn sort_dirty(&mut self, table: Table) {
        let list = &mut self.dirty[table as usize];
        if !list.sorted {
            // Stable sorting finds the sorted run left by the last time.
            let slots = &self.slots;
            list.slots
                .sort_by(|a, b| slots[*a as usize].key.cmp(&slots[*b as usize].key));
            list.sorted = true;
        }
    }

    /// The dirty entries of `table` with full key ≥ `from`, in key order. The list must be sorted.
    pub(crate) fn dirty_from(
        &self,
        table: Table,
        from: &[u8],
    ) -> impl Iterator<Item = (&[u8], Option<&Arc<[u8]>>)> {
        let slots = &self.dirty[table as usize].slots;
        let first = slots.partition_point(|slot| self.slots[*slot as usize].key.as_ref() < from);
        slots[first..].iter().map(|slot| {
            let slot = &self.slots[*slot as usize];
            (slot.key.as_ref(), slot.value.as_ref())
        })
    }

    /// To be called when every dirty entry is in RocksDB: they stay as clean ones.
    pub(crate) fn mark_clean(&mut self) {
        for table in Table::ALL {
            let list = std::mem::take(&mut self.dirty[table as usize]);
            for number in list.slots {
                let slot = &mut self.slots[number as usize];
                if slot.value.is_some() {
                    slot.flag = Flag::Referenced;
                } else {
                    self.remove(number);
                }
            }
        }
        self.dirty_bytes = 0;
    }

    /// Evicts clean entries until at most `capacity` bytes are held, or none is left.
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        // After two rounds every clean slot has lost its second chance.
        let mut steps = self.slots.len().saturating_mul(2);
        while self.bytes > capacity && steps > 0 {
            steps -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[self.hand];
            match slot.flag {
                Flag::Referenced => slot.flag = Flag::Clean,
                Flag::Clean => self.remove(self.hand as u32),
                Flag::Dirty | Flag::Free => {}
            }
        }
    }

    fn find(&self, table: Table, key: &[u8]) -> Option<u32> {
        let hash = hash(&self.hasher, table as u8, key);
        let same = |slot: &u32| is_key(&self.slots[*slot as usize].key, table, key);
        self.index.find(hash, same).copied()
    }

    fn insert(&mut self, table: Table, key: &[u8], value: Option<Arc<[u8]>>, flag: Flag) -> u32 {
        let slot = Slot {
            key: table.full_key(key).into_boxed_slice(),
            value,
            flag,
        };
        self.bytes += slot.cost();
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                // A slot is at least 96 bytes of a budget: 2^32 of them are 400 GiB in one task.
                (self.slots.len() - 1) as u32
            }
        };
        let (hasher, slots) = (&self.hasher, &self.slots);
        let rehash = |slot: &u32| full_hash(hasher, &slots[*slot as usize].key);
        self.index
            .insert_unique(hash(hasher, table as u8, key), number, rehash);
        number
    }

    fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let hash = full_hash(&self.hasher, &slot.key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.bytes -= slot.cost();
        *slot = Slot {
            key: Box::default(),
            value: None,
            flag: Flag::Free,
        };
        self.free.push(number);
    }

    fn list_dirty(&mut self, table: Table, number: u32) {
        let list = &mut self.dirty[table as usize];
        list.slots.push(number);
        list.sorted = false;
    }
}

fn is_key(full: &[u8], table: Table, key: &[u8]) -> bool {
    full.split_first()
        .is_some_and(|(tag, rest)| *tag == table as u8 && rest == key)
}

fn full_hash(hasher: &DefaultHashBuilder, full: &[u8]) -> u64 {
    match full.split_first() {
        Some((tag, key)) => hash(hasher, *tag, key),
        None => hash(hasher, 0, &[]),
    }
}

fn hash(hasher: &DefaultHashBuilder, tag: u8, key: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u8(tag);
    state.write(key);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Arc<[u8]>> {
        Some(Arc::from(text.as_bytes()))
    }

    fn key(n: u32) -> [u8; 4] {
        n.to_be_bytes()
    }

    #[test]
    fn eviction_spares_dirty_entries_and_those_read_lately() {
        let mut cache = Cache::new();
        for n in 0..100 {
            cache.insert_clean(Table::Profiles, &key(n), Arc::from(&b"clean"[..]));
        }
        for n in 100..110 {
            cache.put_dirty(Table::Profiles, &key(n), value("dirty"));
        }
        assert_eq!(cache.get(Table::Profiles, &key(7)), Some(value("clean")));
        let one = cache.bytes() / 110;
        cache.shrink_to(one * 20);
        assert!(cache.bytes() <= one * 20);
        assert_eq!(cache.get(Table::Profiles, &key(7)), Some(value("clean")));
        for n in 100..110 {
            assert_eq!(cache.get(Table::Profiles, &key(n)), Some(value("dirty")));
        }
        cache.shrink_to(0);
        assert_eq!(cache.bytes(), cache.dirty_bytes());
        cache.mark_clean();
        cache.shrink_to(0);
        assert_eq!((cache.bytes(), cache.dirty_bytes()), (0, 0));
    }

    #[test]
    fn the_same_key_in_two_tables_is_two_entries() {
        let mut cache = Cache::new();
        cache.put_dirty(Table::Profiles, b"k", value("profile"));
        cache.put_dirty(Table::Meta, b"k", None);
        assert_eq!(cache.get(Table::Profiles, b"k"), Some(value("profile")));
        assert_eq!(cache.get(Table::Meta, b"k"), Some(None));
        assert_eq!(cache.get(Table::Days, b"k"), None);
    }

    #[test]
    fn bytes_add_up_over_rewrites_and_deletions() {
        let mut cache = Cache::new();
        cache.put_dirty(Table::Days, b"day", value("short"));
        cache.put_dirty(Table::Days, b"day", value("somewhat longer"));
        assert_eq!(cache.dirty_bytes(), 1 + 3 + 15 + ENTRY_OVERHEAD);
        cache.put_dirty(Table::Days, b"day", None);
        assert_eq!(cache.bytes(), 1 + 3 + ENTRY_OVERHEAD);
        cache.mark_clean();
        assert_eq!((cache.bytes(), cache.dirty_bytes()), (0, 0));
        assert_eq!(cache.get(Table::Days, b"day"), None);
    }

    #[test]
    fn dirty_entries_come_in_key_order() {
        let mut cache = Cache::new();
        for k in [b"d", b"a", b"c", b"b"] {
            cache.put_dirty(Table::Profiles, k, value("x"));
        }
        cache.sort_dirty(Table::Profiles);
        let from = Table::Profiles.full_key(b"b");
        let keys: Vec<&[u8]> = cache
            .dirty_from(Table::Profiles, &from)
            .map(|(key, _)| &key[1..])
            .collect();
        assert_eq!(keys, [b"b", b"c", b"d"]);
    }
}
