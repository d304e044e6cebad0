//! Which tasks' stores are open in this process. A worker that takes a task over goes before whoever
//! keeps its store warm, and is told apart from it.
//!
//! Invariants: a store is open with one of them at a time. A store that a worker waits for is not opened
//! by anybody else; a worker that has ceased to ask waits no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A worker that waits for a store asks again sooner than this.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// The stores of this process.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Books>);

#[derive(Default)]
struct Books {
    open: BTreeSet<u32>,
    /// When a worker last asked for a store that was open.
    wanted: BTreeMap<u32, Instant>,
    /// Who gives up stores that are wanted.
    standby: Option<Thread>,
}

/// The right to open a task's store in this process, until it is dropped.
pub(crate) struct Lease<'l> {
    leases: &'l Leases,
    task: u32,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.leases.books().open.remove(&self.task);
    }
}

impl Leases {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to work on `task`, unless somebody else has its store open: who keeps it warm is told to
    /// let go of it then, and it is asked for again.
    pub(crate) fn demand(&self, task: u32) -> Option<Lease<'_>> {
        let mut books = self.books();
        if books.open.insert(task) {
            books.wanted.remove(&task);
            return Some(Lease { leases: self, task });
        }
        books.wanted.insert(task, Instant::now());
        if let Some(standby) = &books.standby {
            standby.unpark();
        }
        None
    }

    /// The right to keep `task` warm, unless its store is open or a worker waits for it.
    pub(crate) fn spare(&self, task: u32) -> Option<Lease<'_>> {
        let mut books = self.books();
        let is_free = !books.is_wanted(task) && books.open.insert(task);
        is_free.then(|| Lease { leases: self, task })
    }

    /// Whether a worker waits for the store of `task`.
    pub(crate) fn is_wanted(&self, task: u32) -> bool {
        self.books().is_wanted(task)
    }

    /// This thread is woken when a worker waits for a store.
    pub(crate) fn wakes(&self, standby: Thread) {
        self.books().standby = Some(standby);
    }
}

impl Books {
    fn is_wanted(&self, task: u32) -> bool {
        let asked = self.wanted.get(&task);
        asked.is_some_and(|asked| asked.elapsed() < ASKED_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_goes_before_whoever_keeps_a_store_warm() {
        let leases = Leases::default();
        let warm = leases.spare(3).expect("nobody has it");
        assert!(leases.spare(3).is_none() && !leases.is_wanted(3));
        assert!(leases.demand(3).is_none(), "it is open");
        assert!(leases.is_wanted(3) && !leases.is_wanted(4));
        drop(warm);
        assert!(leases.spare(3).is_none(), "a worker waits for it");
        let work = leases.demand(3).expect("it was given up");
        assert!(!leases.is_wanted(3), "nobody waits for what he has");
        assert!(leases.demand(3).is_none(), "another worker has it");
        drop(work);
        let other = leases.demand(4).expect("another task");
        drop(other);
        assert!(leases.spare(4).is_some());
    }

    #[test]
    fn who_keeps_stores_warm_is_woken_when_one_is_wanted() {
        let leases = Leases::default();
        std::thread::scope(|scope| {
            let _warm = leases.spare(1);
            let waiting = scope.spawn(|| {
                leases.wakes(std::thread::current());
                while !leases.is_wanted(1) {
                    std::thread::park_timeout(Duration::from_secs(60));
                }
            });
            while leases.books().standby.is_none() {
                std::thread::yield_now();
            }
            assert!(leases.demand(1).is_none());
            waiting.join().expect("it was woken");
        });
    }
}
