//! Tasks of other instances whose state this one keeps warm: their changelogs are followed into the very
//! stores that a takeover opens, so that it has only the end left to read.
//!
//! Two threads: one asks now and then who is in the group ([`look`]), and may have to wait for the
//! cluster; the other has the stores ([`keeper`]), and never waits while it has any open, but for the
//! disk. So a worker that takes over a task gets its store at once, whatever the cluster does.
//!
//! Invariants:
//! - A store is open with the keeper or with a worker, by the same leases; a worker goes first.
//! - Only committed records get in, in their order. What is told of a standby is not ahead of its store.
//! - Nothing that goes wrong here stops the process: a task is then less warm than it might be.

mod keeper;
mod look;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kafkalog::Cluster;

use self::keeper::Keeper;
use crate::deployment::Deployment;
use crate::observe::Observers;
use crate::workers::Shared;

/// The tasks that this instance is to keep warm.
#[derive(Default)]
struct Wanted(Mutex<BTreeSet<u32>>);

impl Wanted {
    fn tasks(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps tasks warm until the workers stop, if any are to be.
pub(super) fn stand_by(
    deployment: &Deployment,
    cluster: &Cluster,
    shared: &Shared,
    observers: &Observers,
) {
    if deployment.config.standby == 0 {
        return;
    }
    let follower = match cluster.follower() {
        Ok(follower) => follower,
        Err(error) => {
            tracing::warn!(%error, "this instance keeps no task warm");
            return;
        }
    };
    let wanted = Wanted::default();
    std::thread::scope(|scope| {
        scope.spawn(|| look::look(deployment, cluster, shared, &wanted));
        Keeper::new(deployment, cluster, shared, observers, follower).keep(&wanted);
    });
}
