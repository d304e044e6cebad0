//! What workers share with each other and with whoever watches them: whether to stop, and how far they are.
//!
//! Invariant: who asks them to stop wakes whoever waits for it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use domain::time::TimeMs;
use engine::worker::Owned;
use store::TaskStore;

use super::{Observers, wall_clock};
use crate::occupation::Occupied;
use crate::progress::Restores;

/// What workers share with whoever watches them.
#[derive(Debug, Default)]
pub struct Shared {
    stop: AtomicBool,
    /// The workers' run has ended, or ends because one of them failed.
    over: AtomicBool,
    /// How far tasks are that are being restored.
    pub(crate) restores: Restores,
    gate: Mutex<()>,
    stopped: Condvar,
    done: AtomicBool,
    /// Workers that have taken over their tasks.
    working: AtomicU32,
    /// The worker that has the first task, from 1 on; 0: none of this process.
    first_with: AtomicU32,
    consumed: AtomicU64,
    last_progress_ms: AtomicI64,
    stream_time: AtomicI64,
    pub(crate) occupied: Occupied,
}

impl Shared {
    /// Asks the workers to commit what they have and stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Ends this run of the workers.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Lets workers run once more, unless they were asked to stop.
    pub(super) fn resume(&self) -> bool {
        self.over.store(false, Ordering::Relaxed);
        self.done.store(false, Ordering::Relaxed);
        self.working.store(0, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // Whoever has looked and not yet begun to wait holds the gate.
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.stopped.notify_all();
    }

    /// Waits until asked to stop, at most `timeout`; answers whether to stop.
    pub(crate) fn wait_for_stop(&self, timeout: Duration) -> bool {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let going_on = |(): &mut ()| !self.is_stopping();
        // The answer is in the flag, whatever became of the gate.
        let _waited = self.stopped.wait_timeout_while(gate, timeout, going_on);
        self.is_stopping()
    }

    /// Whether they are to stop, whoever wants it.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    /// Everything has been consumed: the others may stop too.
    pub(crate) fn set_done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Whether everything has been consumed.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// Work begins now.
    pub(crate) fn begun(&self) {
        self.last_progress_ms
            .store(wall_clock().0, Ordering::Relaxed);
    }

    /// One more worker has taken over its tasks; the process is ready once all have.
    pub(crate) fn works(&self, workers: u32, observers: &Observers) {
        if self.working.fetch_add(1, Ordering::Relaxed) + 1 == workers {
            observers.ready();
        }
    }

    /// A worker has tasks to take over again, or leaves the group.
    pub(crate) fn works_no_more(&self) {
        self.working.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the worker with this number `has` the first task now.
    pub(crate) fn has_first(&self, worker: u32, has: bool) {
        let own = worker.saturating_add(1);
        if has {
            self.first_with.store(own, Ordering::Relaxed);
        } else {
            // Another worker may have it by now.
            let relaxed = Ordering::Relaxed;
            let _ = (self.first_with).compare_exchange(own, 0, relaxed, relaxed);
        }
    }

    /// Whether a worker of this process has the first task.
    pub(crate) fn owns_first(&self) -> bool {
        self.first_with.load(Ordering::Relaxed) != 0
    }

    /// When something was committed last, or work began.
    pub(crate) fn last_progress(&self) -> TimeMs {
        TimeMs(self.last_progress_ms.load(Ordering::Relaxed))
    }

    /// Stream time of the task that is furthest.
    pub(crate) fn stream_time(&self) -> TimeMs {
        TimeMs(self.stream_time.load(Ordering::Relaxed))
    }

    /// `steps` more are committed, and the tasks stand as `owned` says.
    pub(crate) fn progressed(&self, steps: usize, owned: &[Owned<TaskStore>]) {
        self.consumed.fetch_add(steps as u64, Ordering::Relaxed);
        self.last_progress_ms
            .store(wall_clock().0, Ordering::Relaxed);
        self.reached(owned);
    }

    /// Stream time is that of the task that is furthest.
    pub(crate) fn reached(&self, owned: &[Owned<TaskStore>]) {
        for Owned { task, .. } in owned {
            let stream_time = task.bookkeeping().clock.stream_time.0;
            self.stream_time.fetch_max(stream_time, Ordering::Relaxed);
        }
    }

    /// Records consumed and timers fired since the start.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_wakes_whoever_waits_for_it() {
        let shared = Shared::default();
        assert!(!shared.wait_for_stop(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| shared.wait_for_stop(Duration::from_secs(600)));
            shared.stop();
            assert!(waiter.join().is_ok_and(|stopped| stopped));
        });
    }
}
