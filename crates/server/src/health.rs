//! Whether the process is alive, and whether it is ready.
//!
//! Alive: every worker's poll thread has made progress within the deadline. A worker that waits for
//! records makes progress; so does one that restores, or that lags. Ready: every task is restored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Watches the workers. Clones share what they watch.
#[derive(Clone, Debug)]
pub struct Liveness {
    start: Instant,
    deadline: Duration,
    workers: Arc<Mutex<BTreeMap<u32, Arc<AtomicU64>>>>,
}

/// One worker's side of [`Liveness`].
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    worker: u32,
    last_ms: Arc<AtomicU64>,
    workers: Arc<Mutex<BTreeMap<u32, Arc<AtomicU64>>>>,
}

/// A worker without progress.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stalled {
    /// Its number.
    pub worker: u32,
    /// Since when, in seconds.
    pub stalled_seconds: u64,
}

impl Liveness {
    /// A worker that makes no progress for longer than `deadline` is taken for dead.
    #[must_use]
    pub fn new(deadline: Duration) -> Liveness {
        Liveness {
            start: Instant::now(),
            deadline,
            workers: Arc::default(),
        }
    }

    /// Watches `worker` from now on.
    #[must_use]
    pub fn watch(&self, worker: u32) -> Heartbeat {
        let heartbeat = Heartbeat {
            start: self.start,
            worker,
            last_ms: Arc::default(),
            workers: Arc::clone(&self.workers),
        };
        heartbeat.beat();
        lock(&self.workers).insert(worker, Arc::clone(&heartbeat.last_ms));
        heartbeat
    }

    /// The workers without progress.
    #[must_use]
    pub fn stalled(&self) -> Vec<Stalled> {
        self.stalled_at(Instant::now())
    }

    fn stalled_at(&self, now: Instant) -> Vec<Stalled> {
        let now = now.saturating_duration_since(self.start);
        lock(&self.workers)
            .iter()
            .filter_map(|(worker, last_ms)| {
                let last = Duration::from_millis(last_ms.load(Ordering::Relaxed));
                let silent = now.saturating_sub(last);
                (silent > self.deadline).then_some(Stalled {
                    worker: *worker,
                    stalled_seconds: silent.as_secs(),
                })
            })
            .collect()
    }
}

impl Heartbeat {
    /// The worker's poll loop came round once more.
    pub fn beat(&self) {
        let ms = self.start.elapsed().as_millis();
        self.last_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The worker has ended as it should and is watched no longer. A worker that panics does not
    /// come here, and so shows.
    pub fn retire(&self) {
        lock(&self.workers).remove(&self.worker);
    }
}

/// How far the process is. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Status>>);

/// What `/readyz` answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// Opening log and state.
    Starting,
    /// Reading changelogs.
    Restoring {
        /// The tasks that are not restored yet.
        tasks: Vec<Restoring>,
    },
    /// Working.
    Ready,
    /// Finishing what was begun; takes in nothing more.
    Stopping,
    /// Stopped by a failure.
    Failed {
        /// What happened.
        reason: String,
    },
}

/// How far a task's restore is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Restoring {
    /// The task.
    pub task: u32,
    /// Changelog records read.
    pub restored_records: u64,
    /// Changelog records to be read in all.
    pub total_records: u64,
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness(Arc::new(Mutex::new(Status::Starting)))
    }
}

impl Readiness {
    /// What is true now.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.0).clone()
    }

    /// Work can begin: nothing, or nothing more, is to be restored. A process that is on its way
    /// out stays so.
    pub fn ready(&self) {
        let mut status = lock(&self.0);
        if !matches!(*status, Status::Stopping | Status::Failed { .. }) {
            *status = Status::Ready;
        }
    }

    /// The process takes in nothing more. That it failed remains what is to be known of it.
    pub fn stopping(&self) {
        let mut status = lock(&self.0);
        if !matches!(*status, Status::Failed { .. }) {
            *status = Status::Stopping;
        }
    }

    /// The process cannot go on.
    pub fn failed(&self, reason: impl Into<String>) {
        *lock(&self.0) = Status::Failed {
            reason: reason.into(),
        };
    }

    /// A task's restore has come this far. Once it is at its end, and no other task's is short of
    /// its own, the process still waits for [`Readiness::ready`].
    pub fn restoring(&self, progress: Restoring) {
        let mut status = lock(&self.0);
        let mut tasks = match &*status {
            Status::Restoring { tasks } => tasks.clone(),
            Status::Stopping | Status::Failed { .. } => return,
            Status::Starting | Status::Ready => Vec::new(),
        };
        tasks.retain(|other| other.task != progress.task);
        if progress.restored_records < progress.total_records {
            tasks.push(progress);
        }
        tasks.sort_by_key(|one| one.task);
        *status = Status::Restoring { tasks };
    }
}

/// What is behind these locks is whole after every statement, also if a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_silent_worker_is_stalled() {
        let liveness = Liveness::new(Duration::from_secs(30));
        let first = liveness.watch(0);
        let second = liveness.watch(1);
        let at = |seconds| liveness.start + Duration::from_secs(seconds);
        assert_eq!(liveness.stalled_at(at(30)), []);
        first.last_ms.store(40_000, Ordering::Relaxed);
        assert_eq!(
            liveness.stalled_at(at(45)),
            [Stalled {
                worker: 1,
                stalled_seconds: 45
            }]
        );
        second.retire();
        assert_eq!(liveness.stalled_at(at(45)), []);
    }

    #[test]
    fn a_worker_that_panicked_shows() {
        let liveness = Liveness::new(Duration::from_secs(30));
        drop(liveness.watch(0));
        let later = liveness.start + Duration::from_secs(31);
        assert_eq!(liveness.stalled_at(later).len(), 1);
    }

    #[test]
    fn restoring_lists_the_tasks_that_are_not_done() {
        let progress = |task, restored_records| Restoring {
            task,
            restored_records,
            total_records: 10,
        };
        let readiness = Readiness::default();
        assert_eq!(readiness.status(), Status::Starting);
        readiness.restoring(progress(1, 0));
        readiness.restoring(progress(0, 4));
        readiness.restoring(progress(1, 9));
        assert_eq!(
            readiness.status(),
            Status::Restoring {
                tasks: vec![progress(0, 4), progress(1, 9)]
            }
        );
        readiness.restoring(progress(0, 10));
        readiness.restoring(progress(1, 10));
        assert_eq!(readiness.status(), Status::Restoring { tasks: vec![] });
        readiness.ready();
        assert_eq!(readiness.status(), Status::Ready);
    }

    #[test]
    fn a_process_on_its_way_out_does_not_become_ready() {
        let readiness = Readiness::default();
        readiness.stopping();
        readiness.ready();
        readiness.restoring(Restoring {
            task: 0,
            restored_records: 0,
            total_records: 1,
        });
        assert_eq!(readiness.status(), Status::Stopping);
        readiness.failed("the disk is full");
        readiness.stopping();
        readiness.ready();
        assert!(matches!(readiness.status(), Status::Failed { .. }));
    }
}
