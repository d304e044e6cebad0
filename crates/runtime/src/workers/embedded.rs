//! The work of one process on its own embedded log: all tasks, dealt out to the workers for good.
//!
//! A worker's loop is five steps: process, commit when it is time, checkpoint when it is due, look
//! whether to stop, wait for records. It waits on the log, never on a clock of its own.

use std::sync::Arc;
use std::time::Instant;

use engine::bookkeeping::Counts;
use engine::port::CommitError;
use engine::worker::{Owned, Worker, WorkerError};
use eventlog::{EmbeddedLog, EmbeddedWorker};
use kafkalog::Stopping;
use server::Heartbeat;
use store::{Checkpoint, TaskStore};

use super::{Observers, Shared, Until, WAIT, checkpoint_if_due, crew, turn, wall_clock};
use crate::control::{Idleness, Rescoring, Silences, is_rescoring, tick_if_quiet};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::Log;
use crate::models::refit;
use crate::observe::{Backlog, Gauges, Metered};
use crate::occupation::{Occupation, is_over};
use crate::retention;

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
            let at = Place {
                deployment,
                log,
                number,
                until,
                shared,
                observers,
            };
            at.work(owned)
        })
    })
}

/// A worker's place: what it works with, besides its tasks.
#[derive(Clone, Copy)]
struct Place<'d> {
    deployment: &'d Deployment,
    log: &'d Arc<EmbeddedLog>,
    number: u32,
    until: Until,
    shared: &'d Shared,
    observers: &'d Observers,
}

impl<'d> Place<'d> {
    fn work(self, owned: Vec<Owned<TaskStore>>) -> Result<Counts, RuntimeError> {
        let mut shift = self.begin(owned)?;
        loop {
            let version = self.log.version();
            let drained = shift.process()?;
            let stopping = self.shared.is_stopping();
            shift.commit_if_due(stopping || drained)?;
            checkpoint_if_due(shift.worker.owned(), shift.gauges.as_ref())?;
            shift.refresh_gauges()?;
            if stopping || self.shared.is_done() {
                break;
            }
            if shift.uncommitted > 0 {
                continue;
            }
            shift.rescore()?;
            if drained {
                if shift.look_around()? {
                    break;
                }
                let _ = self.log.wait_for_append(version, WAIT);
            }
        }
        shift.end()
    }

    fn begin(self, owned: Vec<Owned<TaskStore>>) -> Result<Shift<'d>, RuntimeError> {
        let Place {
            deployment,
            shared,
            observers,
            ..
        } = self;
        let tasks = owned.iter().map(|owned| owned.task.id());
        let inputs = tasks.map(|task| (task, deployment.inputs_of(task)));
        let topics = &deployment.setup.topics;
        let log = self
            .log
            .worker(inputs.collect(), &topics.changelog, wall_clock)?;
        let metrics = observers.metrics.as_ref();
        let log = Metered::new(log, topics, metrics);
        let routed = Arc::clone(&topics.routed);
        let mut worker = Worker::new(owned, deployment.readers()?, routed);
        let counts = worker.counts();
        let gauges = metrics.map(|m| Gauges::new(m, worker.owned(), counts));
        let heartbeat = observers.liveness.as_ref().map(|l| l.watch(self.number));
        shared.reached(worker.owned());
        shared.works(deployment.workers(), observers);
        Ok(Shift {
            at: self,
            gauges,
            worker,
            heartbeat,
            occupation: Occupation::new(shared, self.number),
            log,
            last_commit: Instant::now(),
            uncommitted: 0,
            idleness: Idleness::default(),
            silences: Silences::default(),
            rescoring: Rescoring::default(),
        })
    }
}

/// A worker at work.
struct Shift<'d> {
    at: Place<'d>,
    gauges: Option<Gauges>,
    worker: Worker<TaskStore>,
    heartbeat: Option<Heartbeat>,
    occupation: Occupation<'d>,
    log: Metered<EmbeddedWorker>,
    last_commit: Instant,
    /// Steps since then.
    uncommitted: usize,
    idleness: Idleness,
    silences: Silences,
    rescoring: Rescoring,
}

impl Shift<'_> {
    /// Answers whether everything that there is has been consumed.
    fn process(&mut self) -> Result<bool, RuntimeError> {
        let max_batch = self.at.deployment.config.commit.max_batch;
        let budget = turn(max_batch, self.uncommitted);
        let processed = self.worker.process(&mut self.log, budget)?;
        self.uncommitted += processed.steps;
        if processed.steps > 0 || !processed.drained {
            self.occupation.tell(true);
        }
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat();
        }
        Ok(processed.drained)
    }

    /// Commits what there is if it is time, or if it is to be done `now`. When the log says that nothing was
    /// written, the batch is done again.
    fn commit_if_due(&mut self, now: bool) -> Result<(), RuntimeError> {
        let commit = &self.at.deployment.config.commit;
        let is_full = self.uncommitted >= commit.max_batch;
        let is_due = self.last_commit.elapsed() >= commit.interval || is_full;
        if self.uncommitted == 0 || !(is_due || now) {
            return Ok(());
        }
        match self.worker.commit(&mut self.log) {
            Ok(()) => {
                let shared = self.at.shared;
                shared.progressed(self.uncommitted, self.worker.owned());
                let counts = self.worker.counts();
                if let Some(gauges) = &mut self.gauges {
                    gauges.committed(counts);
                }
            }
            Err(WorkerError::Commit(CommitError::Abort(what))) => {
                tracing::warn!(reason = what, "commit aborted; the batch is done again");
            }
            Err(error) => return Err(error.into()),
        }
        self.last_commit = Instant::now();
        self.uncommitted = 0;
        Ok(())
    }

    fn refresh_gauges(&mut self) -> Result<(), RuntimeError> {
        let Place {
            deployment, log, ..
        } = self.at;
        match &mut self.gauges {
            Some(gauges) => {
                gauges.refresh(self.worker.owned(), |owned| backlog(deployment, log, owned))
            }
            None => Ok(()),
        }
    }

    fn rescore(&mut self) -> Result<(), RuntimeError> {
        let Place {
            deployment, until, ..
        } = self.at;
        self.rescoring.tell(deployment, self.worker.owned(), until)
    }

    /// With nothing to do: lets the clock move on, and tells of inputs for which others wait in vain. Answers
    /// whether this was all that there is to do.
    fn look_around(&mut self) -> Result<bool, RuntimeError> {
        let Place {
            deployment,
            shared,
            number,
            until,
            ..
        } = self.at;
        let owned = self.worker.owned();
        self.occupation.tell(is_rescoring(owned));
        match until {
            Until::Drained => {
                let is_over = is_over(deployment, shared)?;
                if is_over {
                    shared.set_done();
                }
                Ok(is_over)
            }
            Until::Stopped => {
                if number == 0 {
                    tick_if_quiet(deployment, shared)?;
                }
                self.idleness.tell(deployment, owned)?;
                self.silences.tell(deployment, owned)?;
                Ok(false)
            }
        }
    }

    /// Leaves what is committed where the next start finds it at once.
    fn end(mut self) -> Result<Counts, RuntimeError> {
        for Owned { store, .. } in self.worker.owned() {
            let started = Instant::now();
            store.checkpoint()?;
            if let Some(gauges) = &self.gauges {
                gauges.checkpoint(Checkpoint::Started, started.elapsed());
            }
        }
        if let Some(heartbeat) = self.heartbeat {
            heartbeat.retire();
        }
        Ok(self.worker.counts())
    }
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
