//! How much changelog is not in RocksDB yet, of each store and of all stores of the process: what a
//! restart would have to read.
//!
//! Invariant: the sum is that of the stores that are open, short by at most [`STEP`] of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Other stores are told after so many bytes, not after each record.
const STEP: usize = 64 << 10;

/// The tails of all stores.
pub(crate) struct Tails {
    limit: AtomicUsize,
    sum: AtomicUsize,
    each: Mutex<Vec<Weak<AtomicUsize>>>,
}

impl Tails {
    pub(crate) fn new() -> Tails {
        Tails {
            limit: AtomicUsize::new(usize::MAX),
            sum: AtomicUsize::new(0),
            each: Mutex::default(),
        }
    }

    /// Over all stores it is to be at most `bytes`.
    pub(crate) fn limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The tail of one more store.
    pub(crate) fn enter(self: &Arc<Tails>) -> Tail {
        let told = Arc::new(AtomicUsize::new(0));
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|other| other.strong_count() > 0);
        each.push(Arc::downgrade(&told));
        drop(each);
        Tail {
            all: Arc::clone(self),
            told,
            bytes: 0,
        }
    }

    fn longest(&self) -> usize {
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let open = each.iter().filter_map(Weak::upgrade);
        let lengths = open.map(|one| one.load(Ordering::Relaxed));
        lengths.max().unwrap_or(0)
    }
}

/// The tail of one store.
pub(crate) struct Tail {
    all: Arc<Tails>,
    told: Arc<AtomicUsize>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes - self.told.load(Ordering::Relaxed) >= STEP {
            self.tell();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
        self.tell();
    }

    /// Whether all stores together have more than they may, and none has more than this one.
    pub(crate) fn is_too_much(&self) -> bool {
        let all = &self.all;
        self.bytes > 0
            && all.sum.load(Ordering::Relaxed) > all.limit.load(Ordering::Relaxed)
            && self.bytes >= all.longest()
    }

    fn tell(&self) {
        let told = self.told.swap(self.bytes, Ordering::Relaxed);
        // Only this store changes its own part, so the sum never falls below what is in it.
        if self.bytes >= told {
            self.all.sum.fetch_add(self.bytes - told, Ordering::Relaxed);
        } else {
            self.all.sum.fetch_sub(told - self.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_written_first_until_all_are_within_the_limit() {
        let tails = Arc::new(Tails::new());
        tails.limit(10 * STEP);
        let mut stores: Vec<Tail> = (0..4).map(|_| tails.enter()).collect();
        for (store, steps) in stores.iter_mut().zip([4, 2, 3, 1]) {
            store.grow(steps * STEP);
        }
        let due = |stores: &[Tail]| -> Vec<bool> { stores.iter().map(Tail::is_too_much).collect() };
        assert_eq!(due(&stores), [false; 4], "ten steps are within the limit");
        stores[3].grow(4 * STEP);
        assert_eq!(due(&stores), [false, false, false, true]);
        stores[3].clear();
        assert_eq!(due(&stores), [false; 4]);
        stores[1].grow(STEP);
        assert_eq!(due(&stores), [false; 4], "ten steps again");
        stores[1].grow(STEP / 2);
        assert_eq!(due(&stores), [false; 4], "half a step is not worth telling");
        drop(stores.remove(0));
        assert_eq!(tails.sum.load(Ordering::Relaxed), 6 * STEP);
    }

    #[test]
    fn a_store_that_is_closed_counts_no_more() {
        let tails = Arc::new(Tails::new());
        tails.limit(0);
        let (mut first, mut second) = (tails.enter(), tails.enter());
        first.grow(STEP);
        second.grow(2 * STEP);
        assert!(!first.is_too_much() && second.is_too_much());
        drop(second);
        assert!(first.is_too_much());
        first.clear();
        assert!(!first.is_too_much(), "there is nothing to write");
    }
}
