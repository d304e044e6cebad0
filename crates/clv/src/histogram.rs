//! What a fit needs of all customers, in whole numbers: histograms that grow with an order, shrink with a
//! cancellation and merge by addition.
//!
//! Addition of whole numbers is associative and commutative, so that the same customers give the same histogram,
//! and the same bytes of each of its cells, over any partitioning and in any order. T is not in it: ages follow from the first day when
//! one asks, so that a histogram changes only when a customer orders.

mod bytes;
mod cells;
mod spend;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::purchases::Statistics;
use domain::time::Day;

use crate::fit::Cell;

pub use bytes::BytesError;
pub use cells::{OrderCell, SpendCell, SpendSums, decode_count, encode_count};
pub use spend::SpendHistogram;

/// Repeat purchases, first day, last day.
type Key = (u32, i32, i32);

/// Customers by (x, first day, last day).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrderHistogram {
    /// No count is 0. Counts may be below 0 in what is to be merged with more: a difference.
    cells: BTreeMap<Key, i64>,
}

impl OrderHistogram {
    /// Counts a customer.
    pub fn add(&mut self, statistics: &Statistics) {
        self.count(key(statistics), 1);
    }

    /// Takes a customer out whose statistics have changed or who was erased.
    pub fn remove(&mut self, statistics: &Statistics) {
        self.count(key(statistics), -1);
    }

    /// Moves a customer from what he was to what he is; `None` for no order that counts.
    pub fn replace(&mut self, before: Option<&Statistics>, after: Option<&Statistics>) {
        let (before, after) = (before.map(key), after.map(key));
        if before == after {
            return;
        }
        if let Some(key) = before {
            self.count(key, -1);
        }
        if let Some(key) = after {
            self.count(key, 1);
        }
    }

    fn count(&mut self, key: Key, by: i64) {
        add_to(&mut self.cells, key, by);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &OrderHistogram) {
        for (key, count) in &other.cells {
            self.count(*key, *count);
        }
    }

    /// Customers in it.
    #[must_use]
    pub fn customers(&self) -> i64 {
        self.cells.values().sum()
    }

    /// Distinct cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Cells with x, first day, last day and customers, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Day, Day, i64)> {
        self.cells
            .iter()
            .map(|(&(x, first, last), &count)| (x, Day(first), Day(last), count))
    }

    /// The cells for a fit as of `now` (a time in days since 1970-01-01), times in days. Customers of whom an order
    /// lies later are seen at it.
    #[must_use]
    pub fn cells(&self, now: f64) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(self.cells.len());
        for (&(x, first, last), &count) in &self.cells {
            if count > 0 {
                let recency = f64::from(last) - f64::from(first);
                cells.push(Cell {
                    repeats: f64::from(x),
                    recency,
                    age: (now - f64::from(first)).max(recency),
                    weight: count as f64,
                });
            }
        }
        cells
    }
}

fn key(statistics: &Statistics) -> Key {
    (statistics.repeats, statistics.first.0, statistics.last.0)
}

/// Adds to a count, and leaves out what comes to 0.
fn add_to<K: Ord>(cells: &mut BTreeMap<K, i64>, key: K, by: i64) {
    match cells.entry(key) {
        Entry::Vacant(empty) => {
            if by != 0 {
                empty.insert(by);
            }
        }
        Entry::Occupied(mut count) => {
            let sum = count.get().saturating_add(by);
            if sum == 0 {
                count.remove();
            } else {
                count.insert(sum);
            }
        }
    }
}
