//! A worker's time in the consumer group, from joining it to leaving it.
//!
//! The loop: look after the group when nothing is uncommitted, take over what was assigned, process,
//! commit, checkpoint, wait. Whatever goes wrong with the producer or the membership ends the
//! session; the next one starts from what the log says, with the local state as far as it goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::bookkeeping::Counts;
use engine::port::{CommitError, TopicPartition};
use engine::worker::{Worker, WorkerError};
use kafkalog::{Change, Cluster, Fencing, KafkaLogError, KafkaWorker, Stopping};
use server::{Heartbeat, Rebalance};
use store::TaskStore;

use super::pause;
use super::source::Source;
use super::takeover::{Refused, Takeover};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::observe::{Backlog, Gauges, Metered, Observers, age};
use crate::restore::Lease;
use crate::workers::{
    Idleness, Shared, Until, WAIT, checkpoint_if_due, commit_now, crew, tick_if_quiet, turn,
    wall_clock,
};

/// How long reading the changelog may take before the group is looked after again.
const RESTORE_TURN: Duration = Duration::from_millis(50);
/// How often it is looked whether everything is consumed.
const DRAINED_CHECK: Duration = Duration::from_millis(100);
/// How often routed records that have been consumed are deleted.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// A worker to which nothing was assigned for this long is ready all the same.
const UNASSIGNED: Duration = Duration::from_secs(10);

/// Runs the workers of this process and returns what became of the records that they consumed.
///
/// # Errors
/// The first error of any worker; the others are stopped.
pub(crate) fn run(
    deployment: &Deployment,
    cluster: &Arc<Cluster>,
    until: Until,
    shared: &Arc<Shared>,
    observers: &Observers,
) -> Result<Counts, RuntimeError> {
    shared.begun();
    observers.budget(deployment.memory_budget());
    let nonce = format!("{}-{}", std::process::id(), wall_clock().0);
    let nonce = nonce.as_str();
    std::thread::scope(|scope| {
        if until == Until::Stopped {
            scope.spawn(|| purge_now_and_then(deployment, cluster, shared));
        }
        let hands = vec![(); deployment.workers() as usize];
        crew(scope, hands, shared, observers, |number, ()| {
            let at = Place {
                deployment,
                cluster,
                number,
                nonce,
                until,
                shared,
                observers,
            };
            at.work()
        })
    })
}

/// A sign of life, where one is looked for.
fn beat(heartbeat: &Option<Arc<Heartbeat>>) {
    if let Some(heartbeat) = heartbeat {
        heartbeat.beat();
    }
}

/// Deletes routed records that have been consumed, which no retention does.
fn purge_now_and_then(deployment: &Deployment, cluster: &Cluster, shared: &Shared) {
    while !shared.wait_for_stop(PURGE_EVERY) {
        match cluster.purge_routed(deployment.config.partitions) {
            Ok(partitions) => tracing::debug!(partitions, "purged consumed routed records"),
            Err(error) => tracing::warn!(%error, "consumed routed records stay for now"),
        }
    }
}

/// A worker's place: what it works with over all its sessions.
#[derive(Clone, Copy)]
struct Place<'d> {
    deployment: &'d Deployment,
    cluster: &'d Arc<Cluster>,
    number: u32,
    nonce: &'d str,
    until: Until,
    shared: &'d Arc<Shared>,
    observers: &'d Observers,
}

/// How a session ended before its time.
enum Broken {
    /// The next one may do better.
    Again(String),
    /// No other will.
    Failed(RuntimeError),
}

impl<E: Into<RuntimeError>> From<E> for Broken {
    fn from(error: E) -> Broken {
        match error.into() {
            RuntimeError::Kafka(KafkaLogError::Restart(what)) => Broken::Again(what),
            RuntimeError::Kafka(error @ KafkaLogError::Unreachable { .. }) => {
                Broken::Again(error.to_string())
            }
            RuntimeError::Worker(WorkerError::Commit(
                error @ (CommitError::Fenced(_) | CommitError::Indeterminate(_)),
            )) => Broken::Again(error.to_string()),
            error => Broken::Failed(error),
        }
    }
}

impl<'d> Place<'d> {
    fn work(&self) -> Result<Counts, RuntimeError> {
        let liveness = self.observers.liveness.as_ref();
        let heartbeat = liveness.map(|l| Arc::new(l.watch(self.number)));
        let consumed = self.sessions(&heartbeat)?;
        if let Some(heartbeat) = &heartbeat {
            heartbeat.retire();
        }
        Ok(consumed)
    }

    /// Session after session, until there is nothing more to do.
    fn sessions(&self, heartbeat: &Option<Arc<Heartbeat>>) -> Result<Counts, RuntimeError> {
        let mut consumed = Counts::default();
        let mut broken = 0;
        loop {
            let started = Instant::now();
            let ended = self.session(&mut consumed, heartbeat);
            let what = match ended {
                Ok(()) => return Ok(consumed),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Again(what)) => what,
            };
            if self.shared.is_stopping() {
                return Ok(consumed);
            }
            // What lasted was no failed attempt.
            broken = match started.elapsed() > Duration::from_secs(60) {
                true => 0,
                false => broken + 1,
            };
            tracing::warn!(
                worker = self.number,
                reason = what,
                "leaving the group and joining it anew; nothing that was committed is lost"
            );
            if self.shared.wait_for_stop(pause(broken)) {
                return Ok(consumed);
            }
            // Where that cannot be found out, the next session does.
            let checked = KafkaWorker::check_not_replaced(self.cluster, self.number, self.nonce);
            if let Err(error @ KafkaLogError::Duplicate { .. }) = checked {
                return Err(error.into());
            }
        }
    }

    fn session(
        &self,
        consumed: &mut Counts,
        heartbeat: &Option<Arc<Heartbeat>>,
    ) -> Result<(), Broken> {
        let shared = Arc::clone(self.shared);
        let beating = heartbeat.clone();
        // Asked again and again while the cluster is waited for: that is no standstill.
        let stopping: Stopping = Arc::new(move || {
            beat(&beating);
            shared.is_stopping()
        });
        let log = KafkaWorker::join(self.cluster, self.number, self.nonce, stopping)?;
        let topics = &self.deployment.setup.topics;
        let metrics = self.observers.metrics.as_ref();
        let mut session = Session {
            at: *self,
            log: Metered::new(Source::new(log, self.deployment), topics, metrics),
            worker: Worker::new(
                Vec::new(),
                self.deployment.readers()?,
                Arc::clone(&topics.routed),
            ),
            leases: Vec::new(),
            pending: BTreeSet::new(),
            takeovers: Vec::new(),
            gauges: None,
            told: Counts::default(),
            seen_group: false,
            is_ready: false,
        };
        let ended = session.run(consumed, heartbeat);
        session.not_ready();
        if let (Some(fencing), Some(metrics)) =
            (session.log.inner().kafka().take_fencing(), metrics)
        {
            metrics.fenced(match fencing {
                Fencing::Timeout => server::Fencing::Timeout,
                Fencing::Zombie => server::Fencing::Zombie,
                Fencing::DuplicateId => server::Fencing::DuplicateId,
            });
        }
        ended
    }
}

/// One time in the group. Fields are dropped in this order: stores before the right to open them,
/// and the member leaves the group when its stores are closed.
struct Session<'d> {
    at: Place<'d>,
    worker: Worker<TaskStore>,
    takeovers: Vec<Takeover<'d>>,
    leases: Vec<(u32, Lease<'d>)>,
    gauges: Option<Gauges>,
    log: Metered<Source>,
    /// Assigned, and not yet claimed.
    pending: BTreeSet<u32>,
    /// Counts of the present tasks as they are in `consumed` already.
    told: Counts,
    seen_group: bool,
    is_ready: bool,
}

impl Session<'_> {
    fn run(
        &mut self,
        consumed: &mut Counts,
        heartbeat: &Option<Arc<Heartbeat>>,
    ) -> Result<(), Broken> {
        let Place {
            deployment,
            cluster,
            shared,
            until,
            ..
        } = self.at;
        let commit = &deployment.config.commit;
        let kafka = deployment.config.kafka.as_ref();
        let input_check = kafka.map_or(Duration::MAX, |k| k.input_check);
        let joined = Instant::now();
        let (mut last_commit, mut last_growth, mut last_drained) = (joined, joined, joined);
        let mut uncommitted = 0;
        let mut idleness = Idleness::default();
        loop {
            beat(heartbeat);
            let stopping = shared.is_stopping();
            if uncommitted == 0 {
                if stopping || shared.is_done() {
                    break;
                }
                self.look_after_group()?;
                self.take_over()?;
                self.tell_ready(joined);
                if until == Until::Stopped {
                    idleness.tell(deployment, self.worker.owned())?;
                }
            }
            let budget = turn(commit.max_batch, uncommitted);
            let processed = self.worker.process(&mut self.log, budget)?;
            uncommitted += processed.steps;
            // After a pause the first records are committed at once; under load a transaction holds what
            // comes in an interval.
            let due = last_commit.elapsed() >= commit.interval || uncommitted >= commit.max_batch;
            if uncommitted > 0 && (due || stopping) {
                if commit_now(&mut self.worker, &mut self.log)? {
                    shared.progressed(uncommitted, self.worker.owned());
                    self.account(consumed);
                    self.tell_phases();
                }
                last_commit = Instant::now();
                uncommitted = 0;
            }
            checkpoint_if_due(&mut self.worker, self.gauges.as_ref())?;
            self.refresh_gauges()?;
            if !processed.starved || uncommitted > 0 && processed.steps > 0 {
                continue;
            }
            if uncommitted == 0 && self.takeovers.is_empty() && self.pending.is_empty() {
                if processed.drained {
                    self.settle()?;
                }
                if last_growth.elapsed() >= input_check {
                    last_growth = Instant::now();
                    if deployment.look_for_growth(cluster)? {
                        return Err(Broken::Again("inputs have more partitions now".to_owned()));
                    }
                }
                if processed.drained && last_drained.elapsed() >= DRAINED_CHECK {
                    last_drained = Instant::now();
                    if until == Until::Drained && self.seen_group && deployment.lag()? == 0 {
                        shared.set_done();
                        break;
                    }
                    let has_first = self.worker.owned().first().map(|o| o.task.id()) == Some(0);
                    if until == Until::Stopped && has_first {
                        tick_if_quiet(deployment, shared)?;
                    }
                }
            }
            let wait = match uncommitted {
                0 => WAIT,
                _ => commit.interval.saturating_sub(last_commit.elapsed()),
            };
            if self.takeovers.is_empty() {
                self.log.inner().kafka().wait(wait);
            }
        }
        for owned in self.worker.owned() {
            owned.store.checkpoint()?;
        }
        Ok(())
    }

    /// Serves the group; what goes has nothing uncommitted.
    fn look_after_group(&mut self) -> Result<(), Broken> {
        for change in self.log.inner().kafka().poll()? {
            self.seen_group = true;
            if let Some(metrics) = &self.at.observers.metrics {
                metrics.rebalanced(match change {
                    Change::Assigned(_) => Rebalance::Assigned,
                    Change::Revoked(_) => Rebalance::Revoked,
                    Change::Lost(_) => Rebalance::Lost,
                });
            }
            match change {
                Change::Assigned(tasks) => {
                    tracing::info!(worker = self.at.number, ?tasks, "assigned");
                    self.not_ready();
                    self.pending.extend(tasks);
                }
                Change::Revoked(tasks) => {
                    tracing::info!(worker = self.at.number, ?tasks, "revoked");
                    self.give_up(&tasks)?;
                }
                Change::Lost(tasks) => {
                    tracing::warn!(
                        worker = self.at.number,
                        ?tasks,
                        "lost: the group has not heard of this worker for too long"
                    );
                    self.give_up(&tasks)?;
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, tasks: &[u32]) -> Result<(), Broken> {
        self.pending.retain(|task| !tasks.contains(task));
        for takeover in &mut self.takeovers {
            takeover.release(tasks);
        }
        self.takeovers.retain(|takeover| !takeover.is_empty());
        let n = self.at.deployment.config.partitions;
        let is_theirs = |at: &TopicPartition| tasks.contains(&(at.partition % n));
        self.log.inner().forget(is_theirs);
        let released = self.worker.release(|task| tasks.contains(&task));
        let any = !released.is_empty();
        for mut owned in released {
            // So that little is left to read if the task comes back.
            owned.store.checkpoint()?;
        }
        self.leases.retain(|(task, _)| !tasks.contains(task));
        if any {
            self.tasks_changed();
        }
        Ok(())
    }

    /// Begins to take over what was assigned, and goes on with what was begun.
    fn take_over(&mut self) -> Result<(), Broken> {
        let Place {
            deployment,
            cluster,
            observers,
            number,
            ..
        } = self.at;
        if !self.pending.is_empty() {
            let tasks: Vec<u32> = self.pending.iter().copied().collect();
            match Takeover::begin(deployment, cluster, self.log.inner().kafka(), &tasks) {
                Ok(takeover) => {
                    self.pending.clear();
                    self.takeovers.push(takeover);
                }
                Err(Refused::Failed(error)) => return Err(error.into()),
                Err(Refused::NotNow(what)) => {
                    tracing::info!(worker = number, reason = what, "taking over is tried again");
                    self.log.inner().kafka().wait(Duration::from_millis(20));
                }
            }
        }
        let mut opened = Vec::new();
        let mut going = Vec::new();
        for mut takeover in std::mem::take(&mut self.takeovers) {
            match takeover.go_on(deployment, observers, RESTORE_TURN)? {
                Some(tasks) => opened.extend(tasks),
                None => going.push(takeover),
            }
        }
        self.takeovers = going;
        if !opened.is_empty() {
            for (owned, lease) in opened {
                self.leases.push((owned.task.id(), lease));
                self.worker.adopt(owned);
            }
            self.tasks_changed();
        }
        Ok(())
    }

    /// The tasks are other ones: what they count starts anew, and the gauges are of them.
    fn tasks_changed(&mut self) {
        self.told = self.worker.counts();
        self.gauges = None;
        let owned = self.worker.owned();
        self.at.shared.reached(owned);
        if let Some(metrics) = &self.at.observers.metrics {
            self.gauges = Some(Gauges::new(metrics, self.worker.owned(), self.told));
        }
    }

    fn tell_ready(&mut self, joined: Instant) {
        let has_all = self.pending.is_empty() && self.takeovers.is_empty();
        let answered = self.seen_group || joined.elapsed() > UNASSIGNED;
        if !self.is_ready && has_all && answered {
            self.is_ready = true;
            let workers = self.at.deployment.workers();
            self.at.shared.works(workers, self.at.observers);
        }
    }

    /// Taking over makes the process unready, until all of its workers have what they were assigned.
    fn not_ready(&mut self) {
        if std::mem::take(&mut self.is_ready) {
            self.at.shared.works_no_more();
        }
    }

    /// Adds to `consumed` what the last commit did.
    fn account(&mut self, consumed: &mut Counts) {
        let now = self.worker.counts();
        consumed.add(&now.since(&self.told));
        self.told = now;
        if let Some(gauges) = &mut self.gauges {
            gauges.committed(now);
        }
    }

    fn tell_phases(&mut self) {
        if let Some(metrics) = &self.at.observers.metrics {
            let phases = self.log.inner().kafka().phases();
            metrics.transaction([phases.produce, phases.offsets, phases.commit]);
        }
    }

    fn refresh_gauges(&mut self) -> Result<(), Broken> {
        // One worker tells of the registry, which they share.
        let metrics = self.at.observers.metrics.as_ref();
        let metrics = metrics.filter(|_| self.at.number == 0);
        self.log.inner().tell_waiting(self.at.deployment, metrics);
        let Some(gauges) = &mut self.gauges else {
            return Ok(());
        };
        let log = self.log.inner().kafka();
        let now = wall_clock();
        gauges.refresh(self.worker.owned(), |owned| {
            let (records, since) = log.lag(owned.task.id());
            let store = &owned.store;
            Ok(Backlog {
                records,
                oldest: since.map_or(Duration::ZERO, |since| age(now, since)),
                changelog_tail: store.applied().saturating_sub(store.checkpointed()),
            })
        })?;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Broken> {
        match self.log.inner().kafka().settle() {
            Ok(()) => Ok(()),
            Err(CommitError::Abort(what)) => {
                // Nothing was consumed, so nothing has to be done again but reading.
                tracing::info!(reason = what, "positions are settled later");
                self.log.inner().forget(|_| true);
                Ok(self.worker.reset()?)
            }
            Err(error) => Err(WorkerError::from(error).into()),
        }
    }
}
