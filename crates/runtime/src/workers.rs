//! The worker threads: each one owns tasks, and drives them from the log to the log. Here is what they have in
//! common; the work itself is in `embedded` and in `kafka::work`, by the log that there is.
//!
//! Invariant: if one of them fails, all of them stop.

mod embedded;
mod shared;

use std::sync::Arc;
use std::thread::Scope;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::time::TimeMs;
use engine::bookkeeping::Counts;
use engine::worker::Owned;
use store::TaskStore;

use crate::configured::millis;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::kafka;
use crate::log::Log;
use crate::observe::Gauges;

pub use embedded::run;
pub use shared::Shared;

pub use crate::observe::Observers;

/// How many records a task consumes before the worker looks at the clock.
const TURN: usize = 2_000;
/// How long a worker without work waits before it looks around again.
pub(crate) const WAIT: Duration = Duration::from_millis(100);

/// Until when workers run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Until everything in the inputs has been consumed.
    Drained,
    /// Until they are told to stop.
    Stopped,
}

/// How many records a task may consume before the next look at the clock, with `uncommitted` of
/// them consumed since the last commit.
pub(crate) fn turn(max_batch: usize, uncommitted: usize) -> usize {
    max_batch.saturating_sub(uncommitted).clamp(1, TURN)
}

/// The wall clock.
#[must_use]
pub fn wall_clock() -> TimeMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimeMs(millis(since))
}

/// Restores the tasks and works on them, in this process alone on an embedded log, with others on
/// Kafka. Returns what had become of records before, and what has now: of all that there ever were on an
/// embedded log, of those that this process consumed on Kafka.
///
/// # Errors
/// The first error of any worker; the others are stopped.
pub fn work_on(
    deployment: &Deployment,
    until: Until,
    shared: &Arc<Shared>,
    observers: &Observers,
) -> Result<(Counts, Counts), RuntimeError> {
    if let Log::Kafka(cluster) = &deployment.log {
        let consumed = kafka::run(deployment, cluster, until, shared, observers)?;
        return Ok((Counts::default(), consumed));
    }
    let mut before = None;
    loop {
        let owned = deployment.restore_all(shared, observers)?;
        let before = *before.get_or_insert_with(|| sum_of(&owned));
        match run(deployment, owned, until, shared, observers) {
            Err(error) if error.is_damage() && shared.resume() => {
                tracing::warn!("starting over; nothing that was committed is lost");
            }
            after => return Ok((before, after?)),
        }
    }
}

fn sum_of(owned: &[Owned<TaskStore>]) -> Counts {
    let mut sum = Counts::default();
    for owned in owned {
        sum.add(owned.task.counts());
    }
    sum
}

/// Runs `work` on a thread for each of `hands`, by number, and adds up what they answer. If one fails,
/// all are stopped.
///
/// # Errors
/// The first error of any worker.
pub(crate) fn crew<'scope, H: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    hands: Vec<H>,
    shared: &'scope Shared,
    observers: &'scope Observers,
    work: impl Fn(u32, H) -> Result<Counts, RuntimeError> + Copy + Send + 'scope,
) -> Result<Counts, RuntimeError> {
    // All are, before the first of them looks around.
    (0_u32..)
        .zip(&hands)
        .for_each(|(number, _)| shared.occupied.set(number, true));
    let threads: Vec<_> = (0_u32..)
        .zip(hands)
        .map(|(number, hand)| {
            scope.spawn(move || {
                let _alarm = Alarm::new(number, shared, observers);
                let result = work(number, hand);
                shared.occupied.set(number, false);
                if let Err(error) = &result {
                    tracing::error!(worker = number, %error, "a worker failed; stopping");
                    if !error.is_damage() {
                        observers.failed(error);
                    }
                    shared.end();
                }
                result
            })
        })
        .collect();
    let mut sum = Counts::default();
    let mut failed = None;
    for (number, thread) in (0_u32..).zip(threads) {
        match thread.join() {
            Ok(Ok(counts)) => sum.add(&counts),
            Ok(Err(error)) => failed = failed.or(Some(error)),
            Err(_) => failed = failed.or(Some(RuntimeError::Panicked(number))),
        }
    }
    shared.end();
    failed.map_or(Ok(sum), Err)
}

/// Stops everybody if its worker panics: the others would go on without its tasks.
struct Alarm<'a> {
    worker: u32,
    shared: &'a Shared,
    observers: &'a Observers,
}

impl<'a> Alarm<'a> {
    fn new(worker: u32, shared: &'a Shared, observers: &'a Observers) -> Alarm<'a> {
        Alarm {
            worker,
            shared,
            observers,
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.observers.failed(&RuntimeError::Panicked(self.worker));
            self.shared.end();
        }
    }
}

pub(crate) fn checkpoint_if_due(
    owned: &mut [Owned<TaskStore>],
    gauges: Option<&Gauges>,
) -> Result<(), RuntimeError> {
    for Owned { store, .. } in owned {
        let started = Instant::now();
        let checkpoint = store.checkpoint_if_due(started)?;
        if let Some(gauges) = gauges {
            gauges.checkpoint(checkpoint, started.elapsed());
        }
    }
    Ok(())
}
