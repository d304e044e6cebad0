//! Things to come, earliest first; those of the same instant in the order in which they were
//! added, so that the result never depends on the heap's insides.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domain::time::TimeMs;
use slab::Slab;

/// A priority queue by time. Items stay where they are while the heap moves small keys.
pub(crate) struct TimeQueue<T> {
    heap: BinaryHeap<Reverse<(i64, u64, usize)>>,
    items: Slab<T>,
    added: u64,
}

impl<T> TimeQueue<T> {
    pub(crate) fn new() -> TimeQueue<T> {
        TimeQueue {
            heap: BinaryHeap::new(),
            items: Slab::new(),
            added: 0,
        }
    }

    pub(crate) fn push(&mut self, at: TimeMs, item: T) {
        let slot = self.items.insert(item);
        self.heap.push(Reverse((at.0, self.added, slot)));
        self.added += 1;
    }

    /// When the next item is due.
    pub(crate) fn next_at(&self) -> Option<TimeMs> {
        self.heap.peek().map(|Reverse((at, _, _))| TimeMs(*at))
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let Reverse((_, _, slot)) = self.heap.pop()?;
        self.items.try_remove(slot)
    }

    /// How many items are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}
