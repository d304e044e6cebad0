//! How far the restores of this process are, all together: a line in the log every few seconds, and
//! the time that is left.
//!
//! The time left is taken from offsets, of which it is known how many there are: at the rate since the
//! first of the restores that are under way began. Compaction leaves gaps, so it is an estimate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::Observers;

/// How often a line is logged.
const EVERY: Duration = Duration::from_secs(5);
/// A restore that took less is told by the line of its task.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// How far the restore of a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Restored {
    /// Changelog records read.
    pub(crate) records: u64,
    /// Their bytes, keys and values.
    pub(crate) bytes: u64,
    /// Offsets done.
    pub(crate) done: u64,
    /// Offsets to do in all.
    pub(crate) total: u64,
}

/// The restores of a process. Shared by its workers.
#[derive(Debug, Default)]
pub(crate) struct Restores(Mutex<Under>);

/// What is under way, until all of it is done.
#[derive(Debug, Default)]
struct Under {
    tasks: BTreeMap<u32, Restored>,
    began: Option<Instant>,
    told: Option<Instant>,
}

/// All restores together.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Sum {
    tasks: usize,
    records: u64,
    bytes: u64,
    took: Duration,
    left: Option<Duration>,
}

impl Sum {
    fn megabytes_a_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64().max(1e-3)
    }
}

/// What there is to log.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Line {
    Going(Sum),
    Done(Sum),
}

impl Restores {
    /// The restore of `task` has come to `restored`: says so to `observers`, and now and then to the log.
    pub(crate) fn moved(&self, task: u32, restored: Restored, observers: &Observers) {
        let mut under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = under.tasks.get(&task).copied().unwrap_or_default();
        let line = under.moved(task, restored, Instant::now());
        let left = under.left(Instant::now());
        drop(under);
        observers.restoring(task, restored.done, restored.total);
        if let Some(metrics) = &observers.metrics {
            let records = restored.records.saturating_sub(before.records);
            let bytes = restored.bytes.saturating_sub(before.bytes);
            metrics.restored(records, bytes, left.unwrap_or_default());
        }
        match line {
            Some(Line::Going(sum)) => tracing::info!(
                tasks = sum.tasks,
                records = sum.records,
                megabytes = sum.bytes / 1_000_000,
                megabytes_a_second = format_args!("{:.1}", sum.megabytes_a_second()),
                seconds_left = sum.left.map(|left| left.as_secs()),
                "restoring"
            ),
            Some(Line::Done(sum)) => tracing::info!(
                tasks = sum.tasks,
                records = sum.records,
                megabytes = sum.bytes / 1_000_000,
                megabytes_a_second = format_args!("{:.1}", sum.megabytes_a_second()),
                seconds = format_args!("{:.1}", sum.took.as_secs_f64()),
                "restored"
            ),
            None => {}
        }
    }

    /// Whether any restore is under way.
    pub(crate) fn is_any(&self) -> bool {
        let under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !under.tasks.is_empty()
    }

    /// `task` is not restored any more: it has gone, or the session that was at it has. `observers` are told,
    /// unless it was not being restored.
    pub(crate) fn gone(&self, task: u32, observers: &Observers) {
        let mut under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = under.tasks.remove(&task).is_some();
        if under.is_done() {
            *under = Under::default();
        }
        let left = under.left(Instant::now());
        drop(under);
        if was_there && let Some(metrics) = &observers.metrics {
            metrics.not_restoring(task, left.unwrap_or_default());
        }
    }
}

impl Under {
    fn moved(&mut self, task: u32, restored: Restored, now: Instant) -> Option<Line> {
        self.began.get_or_insert(now);
        self.tasks.insert(task, restored);
        if self.is_done() {
            let sum = self.sum(now);
            *self = Under::default();
            return (sum.took >= WORTH_TELLING).then_some(Line::Done(sum));
        }
        let told = *self.told.get_or_insert(now);
        if now.saturating_duration_since(told) < EVERY {
            return None;
        }
        self.told = Some(now);
        Some(Line::Going(self.sum(now)))
    }

    fn is_done(&self) -> bool {
        self.tasks.values().all(|one| one.done >= one.total)
    }

    fn took(&self, now: Instant) -> Duration {
        self.began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// How long it will still take; `None` as long as there is nothing to go by.
    fn left(&self, now: Instant) -> Option<Duration> {
        let sum = |of: fn(&Restored) -> u64| self.tasks.values().map(of).sum::<u64>() as f64;
        let (done, total) = (sum(|one| one.done), sum(|one| one.total));
        let seconds = self.took(now).as_secs_f64() * (total - done) / done;
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn sum(&self, now: Instant) -> Sum {
        Sum {
            tasks: self.tasks.len(),
            records: self.tasks.values().map(|one| one.records).sum(),
            bytes: self.tasks.values().map(|one| one.bytes).sum(),
            took: self.took(now),
            left: self.left(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(done: u64, total: u64) -> Restored {
        Restored {
            records: done / 2,
            bytes: done * 1_000,
            done,
            total,
        }
    }

    #[test]
    fn the_log_is_told_every_few_seconds_and_at_the_end_of_all() {
        let mut under = Under::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        // Task, offsets done, of so many, after seconds; what is logged: tasks, records, seconds left.
        let steps = [
            (1, 0, 1_000, 0, None),
            (2, 100, 3_000, 4, None),
            (1, 300, 1_000, 5, Some((2, 200, Some(45)))),
            (2, 600, 3_000, 9, None),
            (1, 1_000, 1_000, 10, Some((2, 800, Some(15)))),
        ];
        for (task, done, total, seconds, expected) in steps {
            let line = under.moved(task, at(done, total), after(seconds));
            let expected = expected.map(|(tasks, records, left)| {
                Line::Going(Sum {
                    tasks,
                    records,
                    bytes: records * 2_000,
                    took: Duration::from_secs(seconds),
                    left: left.map(Duration::from_secs),
                })
            });
            assert_eq!(line, expected, "after {seconds} s");
        }
        let line = under.moved(2, at(3_000, 3_000), after(20));
        let Some(Line::Done(sum)) = line else {
            panic!("not done: {line:?}");
        };
        assert_eq!((sum.records, sum.bytes, sum.tasks), (2_000, 4_000_000, 2));
        assert!((sum.megabytes_a_second() - 0.2).abs() < 1e-9);
        assert_eq!(under.left(after(21)), None, "nothing is under way");
        // A little later another one comes, which is over at once: not worth a line.
        assert_eq!(under.moved(3, at(5, 5), after(30)), None);
    }

    #[test]
    fn what_has_gone_is_not_waited_for() {
        let restores = Restores::default();
        let observers = Observers::default();
        restores.moved(1, at(10, 100), &observers);
        restores.moved(2, at(100, 100), &observers);
        restores.gone(1, &observers);
        let under = restores.0.lock().unwrap();
        assert_eq!((under.began, under.tasks.len()), (None, 0));
        drop(under);
        assert!(!restores.is_any());
        restores.moved(3, at(10, 100), &observers);
        assert!(restores.is_any());
    }
}
