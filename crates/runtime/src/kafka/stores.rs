//! Where a worker's stores come from: the data directory, from which each task's store is open with
//! one worker of this process at a time.
//!
//! Invariant: a store is closed before the right to open it is given back. Where a session breaks, its
//! member goes first, with the stores, and this after it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use domain::time::{DAY_MS, TimeMs};
use engine::group::{Passing, Stores};
use kafkalog::{Cluster, KafkaLogError};
use store::TaskStore;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::restore::Lease;
use crate::workers::wall_clock;

/// A changelog keeps tombstones for a week. State that is older may hold what was deleted since.
const TOMBSTONES_MS: i64 = 6 * DAY_MS;

impl Passing for RuntimeError {
    fn is_passing(&self) -> bool {
        RuntimeError::is_passing(self)
    }
}

/// The stores that a worker has open.
pub(super) struct LocalStores<'d> {
    deployment: &'d Deployment,
    cluster: &'d Cluster,
    leases: RefCell<BTreeMap<u32, Lease<'d>>>,
}

impl<'d> LocalStores<'d> {
    pub(super) fn new(deployment: &'d Deployment, cluster: &'d Cluster) -> LocalStores<'d> {
        LocalStores {
            deployment,
            cluster,
            leases: RefCell::default(),
        }
    }

    /// Opens a task's store; one that the changelog cannot bring up to date is dropped, to be restored
    /// in full.
    fn open_restorable(&self, task: u32) -> Result<TaskStore, RuntimeError> {
        let store = self.deployment.open_store(task)?;
        let changelog = self.deployment.changelog_of(task);
        let (start, end) = self.cluster.bounds(&changelog)?;
        let position = store.position();
        if position > end {
            // Only committed records are ever in the store.
            return Err(KafkaLogError::Truncated {
                task,
                at: format!("partition {task} of topic {}", changelog.topic),
                position,
                end,
            }
            .into());
        }
        let oldest = TimeMs(wall_clock().0.saturating_sub(TOMBSTONES_MS));
        let is_stale = position > 0
            && position < end
            && (position < start
                || self
                    .cluster
                    .offset_at(&changelog, oldest)?
                    .is_none_or(|recent| position < recent));
        if !is_stale {
            return Ok(store);
        }
        tracing::warn!(
            task,
            "state is older than the changelog remembers; restoring in full"
        );
        drop(store);
        self.deployment.remove_store(task)?;
        self.deployment.open_store(task)
    }
}

impl Stores for LocalStores<'_> {
    type Store = TaskStore;
    type Error = RuntimeError;

    fn open(&self, task: u32) -> Result<Option<TaskStore>, RuntimeError> {
        let Some(lease) = self.deployment.lease(task) else {
            return Ok(None);
        };
        let store = self.open_restorable(task)?;
        self.leases.borrow_mut().insert(task, lease);
        Ok(Some(store))
    }

    fn close(&self, task: u32, store: TaskStore) -> Result<(), RuntimeError> {
        drop(store);
        self.leases.borrow_mut().remove(&task);
        Ok(())
    }
}
