//! The stores that are kept warm: followed, checkpointed, let go of.
//!
//! It works for half of the time at most, and not at all while a worker restores a task: whoever waits
//! for that goes first.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kafkalog::{Follower, Standing};
use server::StandbyMetrics;

use super::{Board, Opened};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::observe::Observers;
use crate::workers::{Shared, wall_clock};

/// How long it works before it looks around.
const TURN: Duration = Duration::from_millis(20);
/// Records of one task before the next one has its turn.
const STRIDE: usize = 512;
/// How long it waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(50);
/// How often it tells how far its standbys are.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// A store that is kept warm.
struct Kept<'d> {
    opened: Opened<'d>,
    metrics: Option<StandbyMetrics>,
    since: Instant,
    records: u64,
    is_warm: bool,
}

/// Has the stores that are kept warm.
pub(super) struct Keeper<'b, 'd> {
    deployment: &'d Deployment,
    shared: &'d Shared,
    observers: &'d Observers,
    board: &'b Board<'d>,
    follower: Follower,
    kept: BTreeMap<u32, Kept<'d>>,
    /// What is not kept, and has not been told so: task, and how far it was.
    closed: BTreeMap<u32, u64>,
    /// The task whose turn was last.
    last: u32,
    told: Instant,
}

impl<'b, 'd> Keeper<'b, 'd> {
    pub(super) fn new(
        deployment: &'d Deployment,
        shared: &'d Shared,
        observers: &'d Observers,
        board: &'b Board<'d>,
        follower: Follower,
    ) -> Keeper<'b, 'd> {
        Keeper {
            deployment,
            shared,
            observers,
            board,
            follower,
            kept: BTreeMap::new(),
            // What an earlier start of this instance has told may not be old yet.
            closed: (0..deployment.config.partitions)
                .map(|task| (task, 0))
                .collect(),
            last: 0,
            told: Instant::now(),
        }
    }

    /// Keeps tasks warm until it is told to stop.
    pub(super) fn keep(mut self) {
        self.deployment.leases.wakes(thread::current());
        self.tell();
        while !self.shared.is_stopping() {
            self.take_up();
            self.let_go();
            let began = Instant::now();
            let moved = !self.shared.restores.is_any() && self.follow_on();
            self.checkpoint();
            self.follower.serve();
            if self.told.elapsed() >= TELL_EVERY {
                self.tell();
            }
            let pause = match moved {
                true => began.elapsed(),
                false => IDLE,
            };
            thread::park_timeout(pause);
        }
        for task in self.kept.keys().copied().collect::<Vec<_>>() {
            self.close(task, "the process stops");
        }
        self.tell();
    }

    /// Closes what is not to be kept any more, and what a worker waits for.
    fn let_go(&mut self) {
        let wanted = self.board.notes().wanted.clone();
        let leases = &self.deployment.leases;
        let kept = self.kept.keys();
        let going = kept.filter_map(|task| match task {
            task if leases.is_wanted(*task) => Some((*task, "a worker takes it over")),
            task if !wanted.contains(task) => Some((*task, "it is not to be kept here any more")),
            _ => None,
        });
        for (task, why) in going.collect::<Vec<_>>() {
            self.close(task, why);
        }
    }

    /// Begins to follow what was opened.
    fn take_up(&mut self) {
        let opened = std::mem::take(&mut self.board.notes().opened);
        for (task, opened) in opened {
            if let Err(error) = self.begin(task, opened) {
                self.board.put_off(task, &error);
            }
        }
    }

    fn begin(&mut self, task: u32, mut opened: Opened<'d>) -> Result<(), RuntimeError> {
        opened.store.stand_by();
        let from = opened.store.position();
        let changelog = self.deployment.changelog_of(task);
        self.follower.follow(changelog, from)?;
        tracing::info!(task, from, "keeping a task warm");
        let metrics = self.observers.metrics.as_ref();
        let kept = Kept {
            opened,
            metrics: metrics.map(|metrics| metrics.standby(task)),
            since: Instant::now(),
            records: 0,
            is_warm: false,
        };
        self.closed.remove(&task);
        self.kept.insert(task, kept);
        Ok(())
    }

    /// Follows changelogs for a while; answers whether any record came.
    fn follow_on(&mut self) -> bool {
        let began = Instant::now();
        let (before, after): (Vec<u32>, Vec<u32>) = self
            .kept
            .keys()
            .copied()
            .partition(|task| *task <= self.last);
        let mut moved = false;
        for task in after.into_iter().chain(before) {
            self.last = task;
            match self.follow(task) {
                Ok(taken) => moved |= taken > 0,
                Err(error) => {
                    self.close(task, "it cannot be followed");
                    self.board.put_off(task, &error);
                }
            }
            if began.elapsed() >= TURN {
                break;
            }
        }
        moved
    }

    fn follow(&mut self, task: u32) -> Result<usize, RuntimeError> {
        let Some(kept) = self.kept.get_mut(&task) else {
            return Ok(0);
        };
        let store = &mut kept.opened.store;
        let mut records = 0;
        let taken = self.follower.take(task, STRIDE, |record| {
            records += 1;
            let key = record.key.unwrap_or_default();
            store.restore(record.offset, key, record.value)?;
            Ok::<(), RuntimeError>(())
        });
        kept.records += records;
        if let Some(metrics) = &kept.metrics {
            metrics.followed(records);
        }
        let taken = taken?;
        let Some(followed) = self.follower.followed(task) else {
            return Ok(taken);
        };
        if let Some(metrics) = &kept.metrics {
            metrics.behind(followed.behind);
        }
        if followed.has_caught_up && !kept.is_warm {
            // From here on it is no long restore any more.
            let end = kept.opened.store.applied();
            kept.opened.store.mark_restored(end)?;
            kept.is_warm = true;
            tracing::info!(
                task,
                records = kept.records,
                milliseconds = kept.since.elapsed().as_millis() as u64,
                "a task is warm"
            );
        }
        Ok(taken)
    }

    fn checkpoint(&mut self) {
        let mut failed = Vec::new();
        for (task, kept) in &mut self.kept {
            if let Err(error) = kept.opened.store.checkpoint_if_due(Instant::now()) {
                failed.push((*task, RuntimeError::from(error)));
            }
        }
        for (task, error) in failed {
            self.close(task, "it cannot be written");
            self.board.put_off(task, &error);
        }
    }

    /// Writes what is in memory and closes the store: from then on a worker may open it.
    fn close(&mut self, task: u32, why: &'static str) {
        let next = self.follower.followed(task).map(|followed| followed.next);
        self.follower.leave(task);
        let Some(mut kept) = self.kept.remove(&task) else {
            return;
        };
        // What is not written is read again by whoever opens it.
        if let Err(error) = kept.opened.store.checkpoint() {
            tracing::warn!(task, %error, "the last checkpoint of a standby failed");
        }
        drop(kept);
        self.closed.insert(task, next.unwrap_or(0));
        tracing::info!(task, why, "a standby is closed");
    }

    /// Says how far everything is, and once what is not kept any more.
    fn tell(&mut self) {
        self.told = Instant::now();
        let closed = std::mem::take(&mut self.closed).into_iter();
        let closed = closed.map(|(task, next)| (task, (Standing::Closed, next)));
        let kept = self.kept.iter().filter_map(|(task, kept)| {
            let standing = match kept.is_warm {
                true => Standing::Warm,
                false => Standing::Filling,
            };
            Some((*task, (standing, self.follower.followed(*task)?.next)))
        });
        let standbys: BTreeMap<_, _> = closed.chain(kept).collect();
        let changelog = &self.deployment.setup.topics.changelog;
        if let Err(error) = self.follower.tell(changelog, &standbys, wall_clock()) {
            tracing::debug!(%error, "how far standbys are is not told");
        }
    }
}
