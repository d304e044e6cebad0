//! The workers of this process on Kafka: each is in the consumer group for session after session, until there is
//! nothing more to do.
//!
//! A session that broke is followed by the next one, which starts from what the log says, with the local state as
//! far as it goes. What no other session would do better ends the worker, and with it all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::bookkeeping::Counts;
use kafkalog::{Cluster, KafkaLogError, KafkaWorker, Stopping};
use server::Heartbeat;

use super::pause;
use super::session::{Broken, session};
use super::standby::stand_by;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::models::refit;
use crate::observe::Observers;
use crate::workers::{Shared, Until, crew, wall_clock};

/// How often routed records that have been consumed are deleted.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// What lasted for longer than this was no failed attempt.
const LASTED: Duration = Duration::from_secs(60);

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
pub(super) struct Place<'d> {
    pub(super) deployment: &'d Deployment,
    pub(super) cluster: &'d Arc<Cluster>,
    pub(super) number: u32,
    pub(super) nonce: &'d str,
    pub(super) until: Until,
    pub(super) shared: &'d Arc<Shared>,
    pub(super) observers: &'d Observers,
}

impl Place<'_> {
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
            let ended = session(*self, heartbeat, &mut consumed);
            let what = match ended {
                Ok(()) => return Ok(consumed),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Again(what)) => what,
            };
            if self.shared.is_stopping() {
                return Ok(consumed);
            }
            broken = match started.elapsed() > LASTED {
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
}
