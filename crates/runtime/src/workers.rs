//! The worker threads: each one owns tasks, and drives them from the log to the log.
//!
//! A worker's loop is five steps: process, commit when it is time, checkpoint when it is due, look
//! whether to stop, wait for records. It waits on the log, never on a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::time::{DAY_MS, TimeMs};
use engine::bookkeeping::Counts;
use engine::port::{CommitError, OutRecord, TopicPartition};
use engine::worker::{Owned, Worker, WorkerError};
use server::{CommitOutcome, Liveness, Metrics, Outcome, Readiness};
use store::TaskStore;
use wire::routed::Routed;

use crate::deployment::{Deployment, millis};
use crate::error::RuntimeError;

/// How many records a task consumes before the worker looks at the clock.
const TURN: usize = 2_000;
/// How long a worker without work waits before it looks around again.
const WAIT: Duration = Duration::from_millis(100);
/// Quiet hours move stream time by the wall clock only where it is this close to it already: a
/// shop's history that was loaded does not age to today of itself.
const LIVE_WITHIN_MS: i64 = 7 * DAY_MS;

/// Until when workers run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Until everything in the inputs has been consumed.
    Drained,
    /// Until they are told to stop.
    Stopped,
}

/// What workers share with whoever watches them.
#[derive(Debug, Default)]
pub struct Shared {
    stop: AtomicBool,
    done: AtomicBool,
    consumed: AtomicU64,
    last_progress_ms: AtomicI64,
    stream_time: AtomicI64,
}

impl Shared {
    /// Asks the workers to commit what they have and stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether they were asked to.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Records consumed and timers fired since the start.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }
}

/// What the workers report to.
#[derive(Clone)]
pub struct Observers {
    /// Metrics, if they are served.
    pub metrics: Option<Metrics>,
    /// Liveness, likewise.
    pub liveness: Option<Liveness>,
    /// Readiness, likewise.
    pub readiness: Option<Readiness>,
}

/// The wall clock.
#[must_use]
pub fn wall_clock() -> TimeMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimeMs(millis(since))
}

/// Runs `owned` on worker threads and returns what became of all records, ever.
///
/// # Errors
/// The first error of any worker; the others are stopped.
pub fn run(
    deployment: &Deployment,
    owned: Vec<Owned<TaskStore>>,
    until: Until,
    shared: &Shared,
    observers: &Observers,
) -> Result<Counts, RuntimeError> {
    let count = deployment.workers() as usize;
    let mut hands: Vec<Vec<Owned<TaskStore>>> = (0..count).map(|_| Vec::new()).collect();
    for (at, owned) in owned.into_iter().enumerate() {
        hands[at % count].push(owned);
    }
    shared
        .last_progress_ms
        .store(wall_clock().0, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0_u32..)
            .zip(hands)
            .map(|(number, owned)| {
                scope.spawn(move || {
                    let result = work(deployment, number, owned, until, shared, observers);
                    if result.is_err() {
                        shared.stop();
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
        failed.map_or(Ok(sum), Err)
    })
}

fn work(
    deployment: &Deployment,
    number: u32,
    owned: Vec<Owned<TaskStore>>,
    until: Until,
    shared: &Shared,
    observers: &Observers,
) -> Result<Counts, RuntimeError> {
    let mut inputs = Vec::new();
    for owned in &owned {
        inputs.push((owned.task.id(), deployment.inputs_of(owned.task.id())));
    }
    let topics = &deployment.setup.topics;
    let mut log = deployment
        .log
        .worker(inputs, &topics.changelog, wall_clock)?;
    let mut worker = Worker::new(owned, deployment.decoder()?, Arc::clone(&topics.routed));
    let mut told = worker.counts();
    let heartbeat = observers.liveness.as_ref().map(|l| l.watch(number));
    let mut last_commit = Instant::now();
    let mut uncommitted = 0;
    loop {
        let version = deployment.log.version();
        let processed = worker.process(&mut log, TURN)?;
        uncommitted += processed.steps;
        if let Some(heartbeat) = &heartbeat {
            heartbeat.beat();
        }
        let stopping = shared.is_stopping();
        let commit = &deployment.config.commit;
        let due = last_commit.elapsed() >= commit.interval || uncommitted >= commit.max_batch;
        if uncommitted > 0 && (due || stopping || processed.drained) {
            commit_now(&mut worker, &mut log, observers)?;
            report(&mut worker, &mut told, uncommitted, shared, observers);
            last_commit = Instant::now();
            uncommitted = 0;
        }
        for Owned { store, .. } in worker.owned() {
            store.checkpoint_if_due(Instant::now())?;
        }
        if stopping || shared.done.load(Ordering::Relaxed) {
            break;
        }
        if processed.drained && uncommitted == 0 {
            if until == Until::Drained && is_drained(deployment)? {
                shared.done.store(true, Ordering::Relaxed);
                break;
            }
            if until == Until::Stopped && number == 0 {
                tick_if_quiet(deployment, shared)?;
            }
            let _ = deployment.log.wait_for_append(version, WAIT);
        }
    }
    for Owned { store, .. } in worker.owned() {
        store.checkpoint()?;
    }
    if let Some(heartbeat) = heartbeat {
        heartbeat.retire();
    }
    Ok(worker.counts())
}

/// Commits, and again when the log says that nothing was written.
fn commit_now(
    worker: &mut Worker<TaskStore>,
    log: &mut eventlog::EmbeddedWorker,
    observers: &Observers,
) -> Result<(), RuntimeError> {
    let started = Instant::now();
    let result = worker.commit(log);
    let outcome = match &result {
        Ok(_) => CommitOutcome::Committed,
        Err(WorkerError::Commit(CommitError::Abort(_))) => CommitOutcome::Aborted,
        Err(WorkerError::Commit(CommitError::Fenced(_))) => CommitOutcome::Fenced,
        Err(WorkerError::Commit(CommitError::Indeterminate(_))) => CommitOutcome::Indeterminate,
        Err(_) => CommitOutcome::Halted,
    };
    if let Some(metrics) = &observers.metrics {
        metrics.commit(outcome, started.elapsed());
    }
    match result {
        Ok(_) => Ok(()),
        Err(WorkerError::Commit(CommitError::Abort(what))) => {
            tracing::warn!(reason = what, "commit aborted; the batch is done again");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells metrics and watchers what the commit brought.
fn report(
    worker: &mut Worker<TaskStore>,
    told: &mut Counts,
    steps: usize,
    shared: &Shared,
    observers: &Observers,
) {
    shared.consumed.fetch_add(steps as u64, Ordering::Relaxed);
    shared
        .last_progress_ms
        .store(wall_clock().0, Ordering::Relaxed);
    let stream_time = |o: &Owned<TaskStore>| o.task.bookkeeping().clock.stream_time.0;
    let newest = worker
        .owned()
        .iter()
        .map(stream_time)
        .max()
        .unwrap_or(i64::MIN);
    shared.stream_time.fetch_max(newest, Ordering::Relaxed);
    let rejections = worker.take_rejections();
    let Some(metrics) = &observers.metrics else {
        return;
    };
    let now = worker.counts();
    for (outcome, was, is) in [
        (Outcome::Applied, told.applied, now.applied),
        (Outcome::Late, told.late, now.late),
        (Outcome::Deduplicated, told.deduplicated, now.deduplicated),
        (Outcome::DeadLettered, told.dead_lettered, now.dead_lettered),
        (Outcome::Forwarded, told.forwarded, now.forwarded),
        (Outcome::Control, told.control, now.control),
    ] {
        metrics.records(outcome, is.saturating_sub(was));
    }
    metrics
        .records_read
        .inc_by(now.consumed().saturating_sub(told.consumed()));
    *told = now;
    for class in rejections {
        metrics.dead_letters(class, 1);
    }
}

/// Whether every record of every input is consumed and committed. Positions are read before ends:
/// a commit in between that consumes or forwards anything makes the two differ.
fn is_drained(deployment: &Deployment) -> Result<bool, RuntimeError> {
    let tasks = 0..deployment.config.partitions;
    let inputs = tasks.flat_map(|task| {
        deployment
            .inputs_of(task)
            .into_iter()
            .map(move |i| (task, i))
    });
    let inputs: Vec<(u32, TopicPartition)> = inputs.collect();
    let mut positions = Vec::with_capacity(inputs.len());
    for (task, input) in &inputs {
        positions.push(deployment.log.position(*task, input)?);
    }
    for ((_, input), position) in inputs.iter().zip(positions) {
        if position.unwrap_or(0) != deployment.log.end_offset(input)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// After a while without records, lets the wall clock move stream time on: through the log, as a
/// control record, so that a replay of it does the same.
fn tick_if_quiet(deployment: &Deployment, shared: &Shared) -> Result<(), RuntimeError> {
    let now = wall_clock();
    let quiet_ms = now.since(TimeMs(shared.last_progress_ms.load(Ordering::Relaxed)));
    let behind_ms = now.since(TimeMs(shared.stream_time.load(Ordering::Relaxed)));
    let is_quiet = quiet_ms >= millis(deployment.config.time.idle_after);
    if !is_quiet || behind_ms > LIVE_WITHIN_MS || !is_drained(deployment)? {
        return Ok(());
    }
    append_control(deployment, &Routed::Tick { now })
}

/// Appends a control record to every task's partition of `internal.routed`, all or none.
///
/// # Errors
/// The log cannot be written.
pub fn append_control(deployment: &Deployment, control: &Routed) -> Result<(), RuntimeError> {
    let records = controls(deployment, control);
    deployment.log.append(&records, wall_clock(), &[])?;
    Ok(())
}

/// One control record for every task.
pub(crate) fn controls(deployment: &Deployment, control: &Routed) -> Vec<OutRecord> {
    let record = |partition| OutRecord {
        target: TopicPartition {
            topic: Arc::clone(&deployment.setup.topics.routed),
            partition,
        },
        key: None,
        value: Some(control.encode()),
        headers: Vec::new(),
    };
    (0..deployment.config.partitions).map(record).collect()
}
