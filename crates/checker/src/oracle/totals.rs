//! Totals over a task's customers, as a table of the state has them: nothing, where nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use clv::histogram::{OrderCell, SpendCell, SpendSums, encode_count};
use domain::orders::DayTotals;
use domain::time::Day;
use engine::port::Table;
use wire::state::{day_key, encode_day};

use super::Write;

/// How one of them is written.
pub(super) trait Total: Clone + Default + Debug {
    type Key: Copy + Ord + Debug;
    const TABLE: Table;

    fn key(key: Self::Key) -> Vec<u8>;

    /// Its bytes; `None` where nothing is left.
    fn value(&self) -> Option<Vec<u8>>;
}

/// All of one table.
#[derive(Clone, Debug)]
pub(super) struct Totals<T: Total> {
    all: BTreeMap<T::Key, T>,
    /// Keys of those that have changed since the last commit.
    changed: BTreeSet<T::Key>,
}

impl<T: Total> Totals<T> {
    pub(super) fn new() -> Totals<T> {
        Totals {
            all: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// The one of `key`, to be changed.
    pub(super) fn change(&mut self, key: T::Key) -> &mut T {
        self.changed.insert(key);
        self.all.entry(key).or_default()
    }

    /// How many have changed since the last commit.
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// What has changed since the last commit.
    pub(super) fn writes(&self) -> impl Iterator<Item = Write> {
        self.changed.iter().map(|key| {
            let value = self.all.get(key).and_then(T::value);
            (full_key::<T>(*key), value)
        })
    }

    /// Whatever is left.
    pub(super) fn state(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let left = self.all.iter();
        left.filter_map(|(key, total)| Some((full_key::<T>(*key), total.value()?)))
    }

    pub(super) fn commit(&mut self) {
        self.changed.clear();
    }
}

fn full_key<T: Total>(key: T::Key) -> Vec<u8> {
    T::TABLE.full_key(&T::key(key))
}

/// What was ordered on a day.
impl Total for DayTotals {
    type Key = Day;
    const TABLE: Table = Table::Days;

    fn key(day: Day) -> Vec<u8> {
        day_key(day).to_vec()
    }

    fn value(&self) -> Option<Vec<u8>> {
        (*self != DayTotals::default()).then(|| encode_day(self))
    }
}

/// How many customers are in a cell of orders.
impl Total for i64 {
    type Key = OrderCell;
    const TABLE: Table = Table::OrderCells;

    fn key(cell: OrderCell) -> Vec<u8> {
        cell.to_bytes().to_vec()
    }

    fn value(&self) -> Option<Vec<u8>> {
        (*self != 0).then(|| encode_count(*self))
    }
}

/// What the customers in a cell of spend have spent.
impl Total for SpendSums {
    type Key = SpendCell;
    const TABLE: Table = Table::SpendCells;

    fn key(cell: SpendCell) -> Vec<u8> {
        cell.to_bytes().to_vec()
    }

    fn value(&self) -> Option<Vec<u8>> {
        (!self.is_empty()).then(|| self.encode())
    }
}
