//! The worker threads: each one owns tasks, and drives them from the log to the log.
//!
//! A worker's loop is five steps: process, commit when it is time, checkpoint when it is due, look
//! whether to stop, wait for records. It waits on the log, never on a clock of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::time::{DAY_MS, TimeMs};
use engine::bookkeeping::Counts;
use engine::port::{CommitError, OutRecord, TopicPartition, WorkerLog};
use engine::task::Awaited;
use engine::worker::{Owned, Worker, WorkerError};
use eventlog::EmbeddedLog;
use kafkalog::{KafkaLogError, Stopping};
use store::{Checkpoint, TaskStore};
use wire::routed::Routed;

use crate::configured::millis;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::kafka;
use crate::log::{Appender, Log};
use crate::models::refit;
use crate::observe::{Backlog, Gauges, Metered};
use crate::occupation::{Occupation, Occupied, is_over};
use crate::progress::Restores;
use crate::rescoring::{self, Rescoring};
use crate::retention;
use crate::silence::Silences;

pub use crate::observe::Observers;

/// How many records a task consumes before the worker looks at the clock.
const TURN: usize = 2_000;
/// How long a worker without work waits before it looks around again.
pub(crate) const WAIT: Duration = Duration::from_millis(100);
/// How often it is looked for tasks whose inputs are idle.
pub(crate) const IDLE_LOOK: Duration = Duration::from_secs(1);
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
    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Lets workers run once more, unless they were asked to stop.
    fn resume(&self) -> bool {
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

/// Runs `owned` on worker threads over an embedded log and returns what became of all records, ever.
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
    let Log::Embedded(log) = &deployment.log else {
        return Err(RuntimeError::EmbeddedOnly("working on tasks opened before"));
    };
    let count = deployment.workers() as usize;
    let mut hands: Vec<Vec<Owned<TaskStore>>> = (0..count).map(|_| Vec::new()).collect();
    for (at, owned) in owned.into_iter().enumerate() {
        hands[at % count].push(owned);
    }
    shared.begun();
    observers.budget(deployment.memory_budget());
    std::thread::scope(|scope| {
        if until == Until::Stopped {
            shared.has_first(0, true);
            scope.spawn(|| retention::keep(log, shared, observers));
            scope.spawn(|| {
                // Nothing of an embedded log is waited for.
                let never: Stopping = Arc::new(|| false);
                refit::keep(deployment, shared, &never, observers);
            });
        }
        crew(scope, hands, shared, observers, |number, owned| {
            work(deployment, log, number, owned, until, shared, observers)
        })
    })
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

fn work(
    deployment: &Deployment,
    log: &Arc<EmbeddedLog>,
    number: u32,
    owned: Vec<Owned<TaskStore>>,
    until: Until,
    shared: &Shared,
    observers: &Observers,
) -> Result<Counts, RuntimeError> {
    let tasks = owned.iter().map(|owned| owned.task.id());
    let inputs = tasks.map(|task| (task, deployment.inputs_of(task)));
    let topics = &deployment.setup.topics;
    let embedded = log;
    let log = embedded.worker(inputs.collect(), &topics.changelog, wall_clock)?;
    let metrics = observers.metrics.as_ref();
    let mut log = Metered::new(log, topics, metrics);
    let mut worker = Worker::new(owned, deployment.readers()?, Arc::clone(&topics.routed));
    let counts = worker.counts();
    let mut gauges = metrics.map(|m| Gauges::new(m, worker.owned(), counts));
    let heartbeat = observers.liveness.as_ref().map(|l| l.watch(number));
    shared.reached(worker.owned());
    shared.works(deployment.workers(), observers);
    let mut last_commit = Instant::now();
    let mut uncommitted = 0;
    let mut idleness = Idleness::default();
    let mut silences = Silences::default();
    let mut rescoring = Rescoring::default();
    let mut occupation = Occupation::new(shared, number);
    loop {
        let version = embedded.version();
        let budget = turn(deployment.config.commit.max_batch, uncommitted);
        let processed = worker.process(&mut log, budget)?;
        uncommitted += processed.steps;
        if processed.steps > 0 || !processed.drained {
            occupation.tell(true);
        }
        if let Some(heartbeat) = &heartbeat {
            heartbeat.beat();
        }
        let stopping = shared.is_stopping();
        let commit = &deployment.config.commit;
        let due = last_commit.elapsed() >= commit.interval || uncommitted >= commit.max_batch;
        if uncommitted > 0 && (due || stopping || processed.drained) {
            if commit_now(&mut worker, &mut log)? {
                shared.progressed(uncommitted, worker.owned());
                let counts = worker.counts();
                if let Some(gauges) = &mut gauges {
                    gauges.committed(counts);
                }
            }
            last_commit = Instant::now();
            uncommitted = 0;
        }
        checkpoint_if_due(worker.owned(), gauges.as_ref())?;
        if let Some(gauges) = &mut gauges {
            gauges.refresh(worker.owned(), |owned| backlog(deployment, embedded, owned))?;
        }
        if stopping || shared.is_done() {
            break;
        }
        if uncommitted == 0 {
            rescoring.tell(deployment, worker.owned(), until)?;
        }
        if processed.drained && uncommitted == 0 {
            occupation.tell(rescoring::has_work(worker.owned()));
            if until == Until::Drained && is_over(deployment, shared)? {
                shared.set_done();
                break;
            }
            if until == Until::Stopped {
                if number == 0 {
                    tick_if_quiet(deployment, shared)?;
                }
                idleness.tell(deployment, worker.owned())?;
                silences.tell(deployment, worker.owned())?;
            }
            let _ = embedded.wait_for_append(version, WAIT);
        }
    }
    for Owned { store, .. } in worker.owned() {
        let started = Instant::now();
        store.checkpoint()?;
        if let Some(gauges) = &gauges {
            gauges.checkpoint(Checkpoint::Started, started.elapsed());
        }
    }
    if let Some(heartbeat) = heartbeat {
        heartbeat.retire();
    }
    Ok(worker.counts())
}

/// What waits for a task in the embedded log.
fn backlog(
    deployment: &Deployment,
    log: &EmbeddedLog,
    owned: &Owned<TaskStore>,
) -> Result<Backlog, RuntimeError> {
    let task = owned.task.id();
    let lag = deployment.lag_of(log, task, wall_clock())?;
    let end = log.end_offset(&deployment.changelog_of(task))?;
    Ok(Backlog {
        records: lag.records,
        oldest: lag.oldest,
        changelog_tail: end.saturating_sub(owned.store.checkpointed()),
    })
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

/// Commits; answers false when the log says that nothing was written: the batch is done again.
fn commit_now(
    worker: &mut Worker<TaskStore>,
    log: &mut dyn WorkerLog,
) -> Result<bool, RuntimeError> {
    match worker.commit(log) {
        Ok(()) => Ok(true),
        Err(WorkerError::Commit(CommitError::Abort(what))) => {
            tracing::warn!(reason = what, "commit aborted; the batch is done again");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// After a while without records, lets the wall clock move stream time on: through the log, as a
/// control record, so that a replay of it does the same.
pub(crate) fn tick_if_quiet(deployment: &Deployment, shared: &Shared) -> Result<(), RuntimeError> {
    let now = wall_clock();
    let quiet_since = TimeMs(shared.last_progress_ms.load(Ordering::Relaxed));
    let stream_time = TimeMs(shared.stream_time.load(Ordering::Relaxed));
    let idle_after = deployment.config.time.idle_after;
    if !is_tick_due(now, quiet_since, stream_time, idle_after) || deployment.lag()? > 0 {
        return Ok(());
    }
    unless_superseded(append_control(deployment, &Routed::Tick { now }))
}

/// On Kafka several processes may notice the same at once: it is enough that the last one says it.
pub(crate) fn unless_superseded(appended: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match appended {
        Err(RuntimeError::Kafka(KafkaLogError::Superseded(_))) => Ok(()),
        appended => appended,
    }
}

/// Appends control records under a name of its own; nothing stops it half way.
pub(crate) fn appender(deployment: &Deployment, name: &str) -> Result<Appender, RuntimeError> {
    deployment.log.appender(name, Arc::new(|| false))
}

/// Appends control records under a name of its own. That somebody else has taken the name over is no error.
pub(crate) fn say(
    deployment: &Deployment,
    name: &str,
    records: &[OutRecord],
) -> Result<(), RuntimeError> {
    unless_superseded(appender(deployment, name)?.append(records, &[]))
}

/// Finds out which tasks' own inputs have been idle for a while though others wait for them.
#[derive(Debug, Default)]
pub(crate) struct Idleness {
    /// By task: what is waited for, and since when it was that.
    seen: BTreeMap<u32, (Awaited, Instant)>,
    looked: Option<Instant>,
}

impl Idleness {
    /// Lets those tasks know: through the log, as a control record, so that a replay of it does
    /// the same. To be called when there is nothing to consume.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
    ) -> Result<(), RuntimeError> {
        if self.looked.is_some_and(|at| at.elapsed() < IDLE_LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let now = Instant::now();
        let mut awaited = BTreeMap::new();
        for Owned { task, .. } in owned {
            if let Some(given) = task.awaited() {
                let since = match self.seen.get(&task.id()) {
                    Some((before, since)) if *before == given => *since,
                    _ => now,
                };
                awaited.insert(task.id(), (given, since));
            }
        }
        let idle_after = deployment.config.time.idle_after;
        let idle = awaited
            .iter()
            .filter(|(_, (_, since))| now.duration_since(*since) >= idle_after);
        let records: Vec<_> = idle
            .map(|(task, (what, _))| control(deployment, *task, &what.ended_by()))
            .collect();
        self.seen = awaited;
        if records.is_empty() {
            return Ok(());
        }
        for record in &records {
            self.seen.remove(&record.target.partition);
        }
        let first = records[0].target.partition;
        say(deployment, &format!("idle-{first}"), &records)
    }
}

/// Whether it has been quiet for so long that the clock is to move stream time, and stream time is
/// so near that it may.
fn is_tick_due(
    now: TimeMs,
    quiet_since: TimeMs,
    stream_time: TimeMs,
    idle_after: Duration,
) -> bool {
    now.since(quiet_since) >= millis(idle_after) && now.since(stream_time) <= LIVE_WITHIN_MS
}

/// Appends a control record to every task's partition of `internal.routed`, all or none.
///
/// # Errors
/// The log cannot be written.
pub fn append_control(deployment: &Deployment, control: &Routed) -> Result<(), RuntimeError> {
    let records = controls(deployment, control);
    appender(deployment, "ticks")?.append(&records, &[])
}

/// One control record for every task.
pub(crate) fn controls(deployment: &Deployment, control: &Routed) -> Vec<OutRecord> {
    (0..deployment.config.partitions)
        .map(|task| self::control(deployment, task, control))
        .collect()
}

/// A control record for one task.
pub(crate) fn control(deployment: &Deployment, task: u32, control: &Routed) -> OutRecord {
    OutRecord {
        target: TopicPartition {
            topic: Arc::clone(&deployment.setup.topics.routed),
            partition: task,
        },
        key: None,
        value: Some(control.encode()),
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_in_quiet_hours_of_a_live_shop_only() {
        let now = TimeMs(1_795_000_000_000);
        let minute = 60_000;
        for (quiet_ms, behind_ms, due) in [
            (minute - 1, 0, false),
            (minute, 0, true),
            (minute, LIVE_WITHIN_MS, true),
            (minute, LIVE_WITHIN_MS + 1, false),
            (minute, -5 * minute, true),
        ] {
            let (quiet_since, stream_time) = (now.minus(quiet_ms), now.minus(behind_ms));
            let idle_after = Duration::from_secs(60);
            assert_eq!(
                is_tick_due(now, quiet_since, stream_time, idle_after),
                due,
                "quiet for {quiet_ms} ms, behind by {behind_ms} ms"
            );
        }
        let before_any_record = TimeMs(0);
        assert!(!is_tick_due(
            now,
            before_any_record,
            before_any_record,
            Duration::ZERO
        ));
    }

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
