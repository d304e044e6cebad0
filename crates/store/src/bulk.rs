//! Changelog records on their way into a store that is being restored: one after the other into one
//! buffer, out of it sorted and only the last of each key. Nothing is allocated per record.

use engine::port::Table;

/// What a record costs besides its bytes.
const OVERHEAD: usize = size_of::<Place>() + size_of::<(u64, u32)>();
/// One list of places per table; [`Table`]'s numbers start at 1.
const LISTS: usize = Table::ALL.len() + 1;
/// The length of a value that says that there is none.
const NONE: u32 = u32::MAX;

/// Where a record is in the buffer: its full key, and its value behind it.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    key: u32,
    value: u32,
}

/// See the module's header.
#[derive(Default)]
pub(crate) struct Bulk {
    buffer: Vec<u8>,
    places: [Vec<Place>; LISTS],
    records: usize,
}

impl Bulk {
    /// Bytes held, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len() + self.records * OVERHEAD
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Takes a record in: its key with the table's byte, and its value or that it is deleted.
    pub(crate) fn push(&mut self, table: Table, full_key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(NONE - 1);
        let place = Place {
            start: self.buffer.len(),
            key: length(full_key),
            value: value.map_or(NONE, length),
        };
        self.buffer.extend_from_slice(full_key);
        self.buffer.extend_from_slice(value.unwrap_or_default());
        self.places[table as usize].push(place);
        self.records += 1;
    }

    /// The last record of each key of `table`, in key order.
    pub(crate) fn sorted(&self, table: Table) -> Vec<(&[u8], Option<&[u8]>)> {
        let places = &self.places[table as usize];
        let Some(first) = places.first() else {
            return Vec::new();
        };
        // Keys often begin alike: what is compared first is what comes after that.
        let first = self.key(*first);
        let alike = places.iter().fold(first.len(), |alike, place| {
            common(&first[..alike], self.key(*place))
        });
        let mut order: Vec<(u64, u32)> = (0_u32..)
            .zip(places)
            .map(|(number, place)| (eight(&self.key(*place)[alike..]), number))
            .collect();
        let key = |number: u32| self.key(places[number as usize]);
        order.sort_unstable_by(|(a, m), (b, n)| {
            let by_key = a.cmp(b).then_with(|| key(*m).cmp(key(*n)));
            by_key.then(m.cmp(n))
        });
        let mut last: Vec<(&[u8], Option<&[u8]>)> = Vec::with_capacity(order.len());
        for (_, number) in order {
            let record = self.record(places[number as usize]);
            match last.last_mut() {
                Some(known) if known.0 == record.0 => *known = record,
                _ => last.push(record),
            }
        }
        last
    }

    /// Forgets everything, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.places.iter_mut().for_each(Vec::clear);
        self.records = 0;
    }

    fn key(&self, place: Place) -> &[u8] {
        &self.buffer[place.start..place.start + place.key as usize]
    }

    fn record(&self, place: Place) -> (&[u8], Option<&[u8]>) {
        let behind = place.start + place.key as usize;
        let is_there = place.value != NONE;
        let value = is_there.then(|| &self.buffer[behind..behind + place.value as usize]);
        (self.key(place), value)
    }
}

/// How many bytes two keys have in common at their beginnings.
fn common(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b);
    same.count()
}

/// The first eight bytes as a number that orders as they do; a shorter key comes before its
/// continuations, or has to be told from them.
fn eight(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys of few bytes, zeros among them, so that many are equal or continue each other.
        #[test]
        fn what_comes_out_is_the_fold_of_what_went_in(
            records in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(0..3_u8, 0..12), proptest::option::of(any::<[u8; 3]>())),
                0..200,
            )
        ) {
            let mut bulk = Bulk::default();
            let mut folds = [BTreeMap::new(), BTreeMap::new()];
            for (is_meta, key, value) in &records {
                let table = if *is_meta { Table::Meta } else { Table::Profiles };
                let full = table.full_key(key);
                let value = value.as_ref().map(<[u8; 3]>::as_slice);
                bulk.push(table, &full, value);
                folds[usize::from(*is_meta)].insert(full, value);
            }
            for (table, fold) in [Table::Profiles, Table::Meta].into_iter().zip(&folds) {
                let fold: Vec<_> = fold.iter().map(|(key, value)| (key.as_slice(), *value)).collect();
                prop_assert_eq!(bulk.sorted(table), fold);
            }
            prop_assert_eq!(bulk.sorted(Table::Days), vec![]);
            prop_assert_eq!(bulk.is_empty(), records.is_empty());
            bulk.clear();
            prop_assert_eq!((bulk.bytes(), bulk.is_empty()), (0, true));
        }
    }
}
