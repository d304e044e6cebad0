//! A worker's time in the consumer group, from joining it to leaving it.
//!
//! What happens to tasks and records is the engine's ([`engine::member`]). Here is the shell around it:
//! when to look after the group, to commit, to checkpoint and to wait, and what is told about it in
//! logs and metrics. A session that broke is followed by the next one, which starts from what the
//! log says, with the local state as far as it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::bookkeeping::Counts;
use engine::group::Change;
use engine::member::{self, Member, Outcome};
use kafkalog::{Cluster, Fencing, KafkaLogError, KafkaWorker, Reader, Stopping};
use server::{Heartbeat, Rebalance};
use store::TaskStore;

use super::pause;
use super::source::Source;
use super::standby::stand_by;
use super::stores::LocalStores;
use crate::control::{Idleness, Rescoring, Silences, is_rescoring, tick_if_quiet};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::models::refit;
use crate::observe::{Backlog, Gauges, Metered, Observers, age};
use crate::occupation::{Occupation, is_over};
use crate::progress::Restored;
use crate::workers::{Shared, Until, WAIT, checkpoint_if_due, crew, turn, wall_clock};

/// How long reading the changelog may take before the group is looked after again.
const RESTORE_TURN: Duration = Duration::from_millis(50);
/// After this long without a changelog record it is said what is waited for.
const RESTORE_QUIET: Duration = Duration::from_secs(5);
/// How long to wait before tasks that could not be claimed are claimed again.
const CLAIM_AGAIN: Duration = Duration::from_millis(20);
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
            scope.spawn(|| stand_by(deployment, cluster, shared, observers));
            scope.spawn(|| {
                let asked = Arc::clone(shared);
                let stopping: Stopping = Arc::new(move || asked.is_stopping());
                refit::keep(deployment, shared, &stopping, observers);
            });
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

impl From<RuntimeError> for Broken {
    fn from(error: RuntimeError) -> Broken {
        match error.is_passing() {
            true => Broken::Again(error.to_string()),
            false => Broken::Failed(error),
        }
    }
}

impl From<KafkaLogError> for Broken {
    fn from(error: KafkaLogError) -> Broken {
        RuntimeError::from(error).into()
    }
}

impl<F: Into<RuntimeError>> From<member::Broken<F>> for Broken {
    fn from(broken: member::Broken<F>) -> Broken {
        match broken {
            member::Broken::Rejoin(why) => Broken::Again(why.to_string()),
            member::Broken::Halt(failure) => Broken::Failed(failure.into()),
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
        let setup = Arc::clone(&self.deployment.setup);
        let now = Instant::now();
        let mut session = Session {
            at: *self,
            occupation: Occupation::new(self.shared, self.number),
            log: Metered::new(Source::new(log, self.deployment), topics, metrics),
            member: Member::new(setup, self.deployment.readers()?),
            stores: LocalStores::new(self.deployment, self.cluster, self.observers),
            gauges: None,
            told: Counts::default(),
            taking_over: BTreeMap::new(),
            restored: now,
            seen_group: false,
            is_ready: false,
            joined: now,
            last_commit: now,
            last_growth: now,
            last_drained: now,
        };
        let ended = session.run(consumed, heartbeat);
        session.not_ready();
        self.shared.has_first(self.number, false);
        for task in session.taking_over.keys() {
            self.shared.restores.gone(*task);
        }
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
    member: Member<TaskStore, Reader>,
    stores: LocalStores<'d>,
    gauges: Option<Gauges>,
    occupation: Occupation<'d>,
    log: Metered<Source>,
    /// Counts of the present tasks as they are in `consumed` already.
    told: Counts,
    /// Tasks that are being taken over, and since when.
    taking_over: BTreeMap<u32, Instant>,
    /// When a restore last came further.
    restored: Instant,
    seen_group: bool,
    is_ready: bool,
    joined: Instant,
    last_commit: Instant,
    last_growth: Instant,
    last_drained: Instant,
}

impl Session<'_> {
    fn run(
        &mut self,
        consumed: &mut Counts,
        heartbeat: &Option<Arc<Heartbeat>>,
    ) -> Result<(), Broken> {
        let Place {
            deployment,
            shared,
            until,
            ..
        } = self.at;
        let mut idleness = Idleness::default();
        let mut silences = Silences::default();
        let mut rescoring = Rescoring::default();
        loop {
            beat(heartbeat);
            let stopping = shared.is_stopping();
            if self.member.uncommitted() == 0 {
                if stopping || shared.is_done() {
                    break;
                }
                self.look_after_group()?;
                self.take_over()?;
                self.tell_ready();
                if until == Until::Stopped {
                    idleness.tell(deployment, self.member.owned())?;
                }
                rescoring.tell(deployment, self.member.owned(), until)?;
            }
            let max_batch = deployment.config.commit.max_batch;
            let budget = turn(max_batch, self.member.uncommitted());
            let processed = self.member.process(&mut self.log, budget)?;
            if processed.steps > 0 || !processed.drained {
                self.occupation.tell(true);
            }
            self.commit_if_due(stopping, consumed)?;
            checkpoint_if_due(self.member.owned(), self.gauges.as_ref())?;
            self.refresh_gauges()?;
            let uncommitted = self.member.uncommitted();
            if processed.drained && uncommitted == 0 && until == Until::Stopped {
                silences.tell(deployment, self.member.owned())?;
            }
            if !processed.starved || uncommitted > 0 && processed.steps > 0 {
                continue;
            }
            let is_idle = uncommitted == 0 && self.member.has_all();
            if is_idle && self.look_around(processed.drained)? {
                break;
            }
            self.wait();
        }
        self.leave()
    }

    /// Closes its stores. Dropping the session then leaves the group, so that others may take over.
    fn leave(&mut self) -> Result<(), Broken> {
        let owned = self.member.owned().iter();
        let tasks: Vec<u32> = owned.map(|owned| owned.task.id()).collect();
        self.member.leave(&self.stores)?;
        tracing::info!(worker = self.at.number, ?tasks, "left");
        Ok(())
    }

    /// Serves the group; what goes has nothing uncommitted.
    fn look_after_group(&mut self) -> Result<(), Broken> {
        let changes = self.member.look_after_group(&mut self.log, &self.stores)?;
        let worker = self.at.number;
        for change in changes {
            self.seen_group = true;
            if let Some(metrics) = &self.at.observers.metrics {
                metrics.rebalanced(match change {
                    Change::Assigned(_) => Rebalance::Assigned,
                    Change::Revoked(_) => Rebalance::Revoked,
                    Change::Lost(_) => Rebalance::Lost,
                });
            }
            match &change {
                Change::Assigned(tasks) => {
                    tracing::info!(worker, ?tasks, "assigned");
                    self.not_ready();
                }
                Change::Revoked(tasks) => tracing::info!(worker, ?tasks, "revoked"),
                Change::Lost(tasks) => tracing::warn!(
                    worker,
                    ?tasks,
                    "lost: the group has not heard of this worker for too long"
                ),
            }
            if let Change::Revoked(tasks) | Change::Lost(tasks) = change {
                for task in tasks {
                    self.taking_over.remove(&task);
                    self.at.shared.restores.gone(task);
                }
                self.tasks_changed();
            }
        }
        Ok(())
    }

    /// Begins to take over what was assigned, and goes on with what was begun.
    fn take_over(&mut self) -> Result<(), Broken> {
        let Place {
            deployment,
            observers,
            shared,
            number: worker,
            ..
        } = self.at;
        let began = Instant::now();
        let inputs_of = |task| deployment.inputs_of(task);
        let (log, stores) = (&mut self.log, &self.stores);
        let done = self
            .member
            .take_over(log, stores, &inputs_of, RESTORE_TURN)?;
        if let Some(reason) = done.not_now {
            tracing::info!(worker, reason, "taking over is tried again");
            self.log.inner().kafka().wait(CLAIM_AGAIN);
        }
        let moved = !(done.claimed.is_empty() && done.restoring.is_empty());
        if moved || !self.member.is_restoring() {
            self.restored = began;
        } else if self.restored.elapsed() > RESTORE_QUIET {
            tracing::debug!("waiting for an open transaction on the changelog to end");
        }
        if !done.careful.is_empty() {
            tracing::warn!(
                worker,
                tasks = ?done.careful,
                "processes died before they could commit: for a while each record is committed before \
                 the next one is tried, so that one that kills is found out"
            );
        }
        let claimed = done.claimed.into_iter().map(|task| (task, began));
        self.taking_over.extend(claimed);
        for one in done.restoring.iter().chain(&done.opened) {
            let restored = Restored {
                records: one.records,
                bytes: one.bytes,
                done: one.done,
                total: one.total,
            };
            shared.restores.moved(one.task, restored, observers);
        }
        for one in &done.opened {
            let since = self.taking_over.remove(&one.task).unwrap_or(began);
            tracing::info!(
                task = one.task,
                records = one.records,
                milliseconds = since.elapsed().as_millis() as u64,
                "taken over"
            );
        }
        if !done.opened.is_empty() {
            self.tasks_changed();
        }
        Ok(())
    }

    /// After a pause the first records are committed at once; under load a transaction holds what
    /// comes in an interval.
    fn commit_if_due(&mut self, stopping: bool, consumed: &mut Counts) -> Result<(), Broken> {
        let commit = &self.at.deployment.config.commit;
        let uncommitted = self.member.uncommitted();
        let is_full = uncommitted >= commit.max_batch || self.member.is_careful();
        let due = self.last_commit.elapsed() >= commit.interval || is_full;
        if uncommitted == 0 || !(due || stopping) {
            return Ok(());
        }
        match self.member.commit(&mut self.log)? {
            Outcome::Committed(steps) => {
                self.at.shared.progressed(steps, self.member.owned());
                self.account(consumed);
                self.tell_phases();
            }
            Outcome::Retry(reason) => {
                tracing::warn!(reason, "commit aborted; the batch is done again");
            }
        }
        self.last_commit = Instant::now();
        Ok(())
    }

    /// With nothing to do: settles positions, looks for new partitions of inputs, lets the clock move on.
    /// Answers whether this was all that there is to do.
    fn look_around(&mut self, drained: bool) -> Result<bool, Broken> {
        let Place {
            deployment,
            cluster,
            shared,
            until,
            ..
        } = self.at;
        if drained {
            self.settle()?;
            self.occupation.tell(is_rescoring(self.member.owned()));
        }
        let kafka = deployment.config.kafka.as_ref();
        let input_check = kafka.map_or(Duration::MAX, |k| k.input_check);
        if self.last_growth.elapsed() >= input_check {
            self.last_growth = Instant::now();
            if deployment.look_for_growth(cluster)? {
                return Err(Broken::Again("inputs have more partitions now".to_owned()));
            }
        }
        if !drained || self.last_drained.elapsed() < DRAINED_CHECK {
            return Ok(false);
        }
        self.last_drained = Instant::now();
        if until == Until::Drained && self.seen_group && is_over(deployment, shared)? {
            shared.set_done();
            return Ok(true);
        }
        let has_first = self.member.owned().first().map(|o| o.task.id()) == Some(0);
        if until == Until::Stopped && has_first {
            tick_if_quiet(deployment, shared)?;
        }
        Ok(false)
    }

    fn settle(&mut self) -> Result<(), Broken> {
        match self.member.settle(&mut self.log)? {
            Outcome::Committed(_) => {}
            Outcome::Retry(reason) => tracing::info!(reason, "positions are settled later"),
        }
        Ok(())
    }

    /// Until there may be something to do. Who restores waits for the changelog instead.
    fn wait(&mut self) {
        if self.member.is_restoring() {
            return;
        }
        let interval = self.at.deployment.config.commit.interval;
        let wait = match self.member.uncommitted() {
            0 => WAIT,
            _ => interval.saturating_sub(self.last_commit.elapsed()),
        };
        self.log.inner().kafka().wait(wait);
    }

    /// The tasks are other ones: what they count starts anew, and the gauges are of them.
    fn tasks_changed(&mut self) {
        self.told = self.member.counts();
        self.gauges = None;
        let owned = self.member.owned();
        let has_first = owned.first().is_some_and(|o| o.task.id() == 0);
        self.at.shared.has_first(self.at.number, has_first);
        self.at.shared.reached(owned);
        if let Some(metrics) = &self.at.observers.metrics {
            self.gauges = Some(Gauges::new(metrics, owned, self.told));
        }
    }

    fn tell_ready(&mut self) {
        let answered = self.seen_group || self.joined.elapsed() > UNASSIGNED;
        if !self.is_ready && self.member.has_all() && answered {
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
        let now = self.member.counts();
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
        gauges.refresh(self.member.owned(), |owned| {
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
}
