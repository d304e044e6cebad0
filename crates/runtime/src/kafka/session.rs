//! A worker's time in the consumer group, from joining it to leaving it.
//!
//! What happens to tasks and records is the engine's ([`engine::member`]). Here is the shell around it:
//! when to look after the group, to commit, to checkpoint and to wait, and what is told about it in
//! logs and metrics.
//!
//! Invariant: however a session ends, what was told about its tasks to others in this process is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::bookkeeping::Counts;
use engine::group::Change;
use engine::member::{self, Member, Outcome};
use kafkalog::{Fencing, KafkaLogError, KafkaWorker, Reader, Stopping};
use server::{Heartbeat, Rebalance};
use store::TaskStore;

use super::source::Source;
use super::stores::LocalStores;
use super::work::Place;
use crate::control::{Idleness, Rescoring, Silences, is_rescoring, tick_if_quiet};
use crate::error::RuntimeError;
use crate::observe::{Backlog, Gauges, Metered, age};
use crate::occupation::{Occupation, is_over};
use crate::progress::Restored;
use crate::workers::{Until, WAIT, checkpoint_if_due, turn, wall_clock};

/// How long reading the changelog may take before the group is looked after again.
const RESTORE_TURN: Duration = Duration::from_millis(50);
/// After this long without a changelog record it is said what is waited for.
const RESTORE_QUIET: Duration = Duration::from_secs(5);
/// How long to wait before tasks that could not be claimed are claimed again.
const CLAIM_AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked whether everything is consumed.
const DRAINED_CHECK: Duration = Duration::from_millis(100);
/// A worker to which nothing was assigned for this long is ready all the same.
const UNASSIGNED: Duration = Duration::from_secs(10);

/// Joins the group, and works in it until there is nothing more to do. Adds what it consumes to `consumed`.
///
/// # Errors
/// The session broke.
pub(super) fn session<'d>(
    at: Place<'d>,
    heartbeat: &Option<Arc<Heartbeat>>,
    consumed: &'d mut Counts,
) -> Result<(), Broken> {
    let mut session = Session::join(at, heartbeat, consumed)?;
    let ended = session.run();
    session.over();
    ended
}

/// How a session ended before its time.
pub(super) enum Broken {
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

/// A sign of life, where one is looked for.
fn beat(heartbeat: &Option<Arc<Heartbeat>>) {
    if let Some(heartbeat) = heartbeat {
        heartbeat.beat();
    }
}

/// One time in the group. Fields are dropped in this order: stores before the right to open them,
/// and the member leaves the group when its stores are closed.
struct Session<'d> {
    at: Place<'d>,
    /// What became of records, over all sessions.
    consumed: &'d mut Counts,
    heartbeat: Option<Arc<Heartbeat>>,
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

impl<'d> Session<'d> {
    fn join(
        at: Place<'d>,
        heartbeat: &Option<Arc<Heartbeat>>,
        consumed: &'d mut Counts,
    ) -> Result<Session<'d>, Broken> {
        let shared = Arc::clone(at.shared);
        let beating = heartbeat.clone();
        // Asked again and again while the cluster is waited for: that is no standstill.
        let stopping: Stopping = Arc::new(move || {
            beat(&beating);
            shared.is_stopping()
        });
        let log = KafkaWorker::join(at.cluster, at.number, at.nonce, stopping)?;
        let topics = &at.deployment.setup.topics;
        let metrics = at.observers.metrics.as_ref();
        let setup = Arc::clone(&at.deployment.setup);
        let now = Instant::now();
        Ok(Session {
            at,
            consumed,
            heartbeat: heartbeat.clone(),
            occupation: Occupation::new(at.shared, at.number),
            log: Metered::new(Source::new(log, at.deployment), topics, metrics),
            member: Member::new(setup, at.deployment.readers()?),
            stores: LocalStores::new(at.deployment, at.cluster, at.observers),
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
        })
    }

    fn run(&mut self) -> Result<(), Broken> {
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
            beat(&self.heartbeat);
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
            self.commit_if_due(stopping)?;
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

    /// Takes back what others in this process were told of its tasks, and tells how it was fenced, if it was.
    fn over(&mut self) {
        self.not_ready();
        let Place {
            shared,
            number,
            observers,
            ..
        } = self.at;
        shared.has_first(number, false);
        for task in self.taking_over.keys() {
            shared.restores.gone(*task, observers);
        }
        if let (Some(fencing), Some(metrics)) =
            (self.log.inner().kafka().take_fencing(), &observers.metrics)
        {
            metrics.fenced(match fencing {
                Fencing::Timeout => server::Fencing::Timeout,
                Fencing::Zombie => server::Fencing::Zombie,
                Fencing::DuplicateId => server::Fencing::DuplicateId,
            });
        }
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
                    self.at.shared.restores.gone(task, self.at.observers);
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
    fn commit_if_due(&mut self, stopping: bool) -> Result<(), Broken> {
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
                self.account();
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

    /// Adds to what was consumed what the last commit did.
    fn account(&mut self) {
        let now = self.member.counts();
        self.consumed.add(&now.since(&self.told));
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
