//! Tasks of other instances whose state this one keeps warm: their changelogs are followed into the very
//! stores that a takeover opens, so that it has only the end left to read.
//!
//! Two threads: one asks now and then who is in the group, and opens what is to be kept warm ([`look`]): it
//! may have to wait for the cluster. The other one has the stores ([`keeper`]), and waits for nothing but
//! the disk. So a worker that takes over a task gets its store at once, whatever the cluster does.
//!
//! Invariants:
//! - A store is open with one of the two or with a worker, by the same leases; a worker goes first.
//! - Only committed records get in, in their order. What is told of a standby is not ahead of its store.
//! - Nothing that goes wrong here stops the process: a task is then less warm than it might be.

mod keeper;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafkalog::Cluster;
use store::TaskStore;

use self::keeper::Keeper;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::leases::Lease;
use crate::observe::Observers;
use crate::workers::Shared;

/// After this time a task is tried again that could not be kept warm: for a reason that passes ...
const AGAIN_SOON: Duration = Duration::from_secs(5);
/// ... and for another one.
const AGAIN_LATER: Duration = Duration::from_secs(60);

/// A store with the right to it. Fields are dropped in this order: the store before the right to open it.
struct Opened<'d> {
    store: TaskStore,
    _lease: Lease<'d>,
}

/// What the two threads tell each other.
#[derive(Default)]
struct Board<'d>(Mutex<Notes<'d>>);

#[derive(Default)]
struct Notes<'d> {
    /// The tasks that this instance is to keep warm.
    wanted: BTreeSet<u32>,
    /// Stores that were opened for that, by task.
    opened: BTreeMap<u32, Opened<'d>>,
    /// What is not tried before that time.
    put_off: BTreeMap<u32, Instant>,
}

impl<'d> Board<'d> {
    fn notes(&self) -> MutexGuard<'_, Notes<'d>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `task` cannot be kept warm now.
    fn put_off(&self, task: u32, error: &RuntimeError) {
        tracing::warn!(task, %error, "a task is not kept warm for now");
        let pause = match error.is_passing() {
            true => AGAIN_SOON,
            false => AGAIN_LATER,
        };
        self.notes().put_off.insert(task, Instant::now() + pause);
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
    let board = Board::default();
    std::thread::scope(|scope| {
        scope.spawn(|| look::look(deployment, cluster, shared, observers, &board));
        Keeper::new(deployment, shared, observers, &board, follower).keep();
    });
}
