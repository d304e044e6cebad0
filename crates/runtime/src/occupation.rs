//! Whether anybody still has something to do: what a run that ends by itself goes by.
//!
//! That nothing is left to consume is not enough: a worker may have consumed its last record and have timers to fire
//! that fell due by it, or customers that are to go over to a new model. If another one ended the run then, it would be done
//! at the next start only.
//!
//! Invariant: whoever has consumed something is occupied before that is committed, and until nothing is due.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::workers::Shared;

/// Workers that have something to do, or may have, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Occupied(Mutex<BTreeSet<u32>>);

impl Occupied {
    /// A worker has something to do, or has not.
    pub(crate) fn set(&self, worker: u32, has_work: bool) {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match has_work {
            true => workers.insert(worker),
            false => workers.remove(&worker),
        };
    }

    fn is_nobody(&self) -> bool {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.is_empty()
    }
}

/// One worker's.
pub(crate) struct Occupation<'s> {
    shared: &'s Shared,
    worker: u32,
    told: bool,
}

impl<'s> Occupation<'s> {
    /// Until something else is told, there may be something to do.
    pub(crate) fn new(shared: &'s Shared, worker: u32) -> Occupation<'s> {
        shared.occupied.set(worker, true);
        Occupation {
            shared,
            worker,
            told: true,
        }
    }

    /// Whether there is something to do.
    pub(crate) fn tell(&mut self, has_work: bool) {
        if has_work != self.told {
            self.told = has_work;
            self.shared.occupied.set(self.worker, has_work);
        }
    }
}

/// Whether nothing waits, and nobody has anything to do.
pub(crate) fn is_over(deployment: &Deployment, shared: &Shared) -> Result<bool, RuntimeError> {
    // What somebody wrote before he was done is seen only by who looks after that; and who did something in the
    // meantime may have written again.
    let consumed = shared.consumed();
    let is_idle = || shared.occupied.is_nobody() && shared.consumed() == consumed;
    Ok(is_idle() && deployment.lag()? == 0 && is_idle())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_occupied_until_all_have_said_that_they_are_not() {
        let shared = Shared::default();
        let (mut one, mut other) = (Occupation::new(&shared, 0), Occupation::new(&shared, 1));
        one.tell(false);
        assert!(!shared.occupied.is_nobody());
        other.tell(false);
        assert!(shared.occupied.is_nobody());
        one.tell(true);
        other.tell(false);
        assert!(!shared.occupied.is_nobody());
        // A worker's thread has ended, whatever it told last.
        shared.occupied.set(0, false);
        assert!(shared.occupied.is_nobody());
    }
}
