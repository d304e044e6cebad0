//! The hands that hold all old tasks: one member of the group, alone in it, to which they were given as
//! to any instance of the service. So whoever had them before is fenced, and a transaction of theirs
//! that took effect in part is found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::chain::Head;
use engine::group::Change;
use engine::member::{Broken, Member, Outcome};
use kafkalog::{Cluster, KafkaWorker, Reader, Stopping};
use store::TaskStore;

use super::{Progress, joined_by_others, nonce, refused};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::kafka::stores::LocalStores;
use crate::observe::Observers;
use crate::workers::Shared;

/// How long reading the changelogs may take before the group is looked after again.
const TURN: Duration = Duration::from_millis(50);
/// How long to wait when there is nothing to do.
const WAIT: Duration = Duration::from_millis(20);
/// Steps of each task between two looks at the group.
const STEPS: usize = 10_000;
/// A group that has not given all tasks to its only member after this time has another one.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(30);

/// One member that has all tasks.
pub(super) struct Hands<'d> {
    pub(super) deployment: &'d Deployment,
    pub(super) cluster: &'d Arc<Cluster>,
    // Stores are closed before the right to open them goes, and both before it leaves the group.
    pub(super) member: Member<TaskStore, Reader>,
    stores: LocalStores<'d>,
    pub(super) log: KafkaWorker,
    shared: &'d Arc<Shared>,
}

/// What another session would do better at ends this one too: doing it again is at hand.
fn broken<F: Into<RuntimeError>>(broken: Broken<F>) -> RuntimeError {
    match broken {
        Broken::Halt(failure) => failure.into(),
        Broken::Rejoin(why) => refused(format!(
            "the old tasks could not be held: {why}. Run this again, which goes on where it stopped"
        )),
    }
}

impl<'d> Hands<'d> {
    pub(super) fn join(
        deployment: &'d Deployment,
        cluster: &'d Arc<Cluster>,
        observers: &'d Observers,
        shared: &'d Arc<Shared>,
    ) -> Result<Hands<'d>, RuntimeError> {
        let stops = Arc::clone(shared);
        let stopping: Stopping = Arc::new(move || stops.is_stopping());
        let log = KafkaWorker::join(cluster, 0, &nonce(), stopping)?;
        Ok(Hands {
            member: Member::new(Arc::clone(&deployment.setup), deployment.readers()?),
            stores: LocalStores::new(deployment, cluster, observers),
            deployment,
            cluster,
            log,
            shared,
        })
    }

    /// Serves the group. Answers an error where anything is taken away.
    pub(super) fn look_after_group(&mut self) -> Result<(), RuntimeError> {
        if self.shared.is_stopping() {
            return Err(RuntimeError::Interrupted);
        }
        let changes = self.member.look_after_group(&mut self.log, &self.stores);
        let changes = changes.map_err(broken)?;
        let goes = |change: &Change| match change {
            Change::Revoked(tasks) | Change::Lost(tasks) => !tasks.is_empty(),
            Change::Assigned(_) => false,
        };
        match changes.iter().any(goes) {
            true => Err(joined_by_others()),
            false => Ok(()),
        }
    }

    /// Takes all tasks over.
    pub(super) fn take_over(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), RuntimeError> {
        let deployment = self.deployment;
        let inputs_of = |task| deployment.inputs_of(task);
        let all = deployment.config.partitions as usize;
        let mut has_some = Instant::now();
        loop {
            self.look_after_group()?;
            let (log, stores) = (&mut self.log, &self.stores);
            let taken = self.member.take_over(log, stores, &inputs_of, TURN);
            let taken = taken.map_err(broken)?;
            let sum =
                |of: fn(&engine::member::Progress) -> u64| taken.restoring.iter().map(of).sum();
            if !taken.restoring.is_empty() {
                tell(Progress::Restoring(
                    sum(|one| one.done),
                    sum(|one| one.total),
                ));
            }
            if self.member.has_all() && self.member.owned().len() == all {
                return Ok(());
            }
            if self.member.is_restoring() {
                has_some = Instant::now();
            } else if has_some.elapsed() > ASSIGNED_WITHIN {
                return Err(joined_by_others());
            } else {
                self.log.wait(WAIT);
            }
        }
    }

    /// Consumes what was routed, to its end, and leaves the positions there.
    pub(super) fn drain(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), RuntimeError> {
        loop {
            self.look_after_group()?;
            let processed = self.member.process(&mut self.log, STEPS).map_err(broken)?;
            if self.member.uncommitted() > 0 {
                match self.member.commit(&mut self.log).map_err(broken)? {
                    Outcome::Committed(_) => {}
                    Outcome::Retry(reason) => tracing::warn!(reason, "a commit is tried again"),
                }
                continue;
            }
            if processed.drained {
                match self.member.settle(&mut self.log).map_err(broken)? {
                    Outcome::Committed(_) => {}
                    Outcome::Retry(reason) => tracing::info!(reason, "positions are settled later"),
                }
                let left = self.deployment.lag()?;
                if left == 0 {
                    return Ok(());
                }
                tell(Progress::Draining(left));
            }
            self.log.wait(WAIT);
        }
    }

    /// The heads of the tasks' chains, by their numbers.
    pub(super) fn heads(&mut self) -> Vec<Head> {
        let owned = self.member.owned().iter();
        owned.map(|o| o.task.bookkeeping().chain).collect()
    }

    /// Leaves the group.
    pub(super) fn leave(mut self) -> Result<(), RuntimeError> {
        self.member.leave(&self.stores)
    }
}
