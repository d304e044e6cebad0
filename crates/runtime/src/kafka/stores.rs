//! Where a worker's stores come from: the data directory, from which each task's store is open with
//! one worker of this process at a time, or with whoever keeps it warm.
//!
//! Invariant: a store is closed before the right to open it is given back. Where a session breaks, its
//! member goes first, with the stores, and this after it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use engine::group::{Passing, Stores};
use engine::port::TopicPartition;
use kafkalog::{Cluster, KafkaLogError};
use server::Rebuild;
use store::TaskStore;

use crate::configured::millis;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::leases::Lease;
use crate::observe::Observers;
use crate::restore::STALE;
use crate::state::Found;
use crate::workers::wall_clock;

impl Passing for RuntimeError {
    fn is_passing(&self) -> bool {
        RuntimeError::is_passing(self)
    }
}

/// Why state is dropped that is no state of any task there is.
const FORMER: &str = "it is from before the number of tasks was changed";

/// The stores that a worker has open.
pub(super) struct LocalStores<'d> {
    deployment: &'d Deployment,
    cluster: &'d Cluster,
    observers: &'d Observers,
    leases: RefCell<BTreeMap<u32, Lease<'d>>>,
}

impl<'d> LocalStores<'d> {
    pub(super) fn new(
        deployment: &'d Deployment,
        cluster: &'d Cluster,
        observers: &'d Observers,
    ) -> LocalStores<'d> {
        LocalStores {
            deployment,
            cluster,
            observers,
            leases: RefCell::default(),
        }
    }

    /// Opens a task's store; one that the changelog cannot bring up to date, or that is damaged, is
    /// dropped, to be restored in full.
    pub(super) fn open_restorable(&self, task: u32) -> Result<TaskStore, RuntimeError> {
        let changelog = self.deployment.changelog_of(task);
        let at = || format!("partition {task} of topic {}", changelog.topic);
        let (start, end) = self.cluster.bounds(&changelog)?;
        let trimmed = |position| {
            RuntimeError::from(KafkaLogError::Trimmed {
                task,
                at: at(),
                position,
                start,
            })
        };
        let (why, what) = match self.deployment.find_store(task)? {
            Found::Store(store) => {
                let position = store.position();
                if position > end {
                    // Only committed records are ever in the store.
                    return Err(KafkaLogError::Truncated {
                        task,
                        at: at(),
                        position,
                        end,
                    }
                    .into());
                }
                if position < start {
                    return Err(trimmed(position));
                }
                if !self.is_stale(&changelog, position, end)? {
                    return Ok(*store);
                }
                (Rebuild::Stale, STALE.to_owned())
            }
            Found::Damaged(what) => (Rebuild::Corrupt, what),
            Found::Former => (Rebuild::Stale, FORMER.to_owned()),
        };
        if start > 0 {
            // What is here, such as it is, may be all that there is of what was deleted.
            return Err(trimmed(0));
        }
        self.deployment
            .rebuild_store(task, why, &what, self.observers)
    }

    /// Whether the changelog may have forgotten what was deleted since `position`: by the brokers' clock,
    /// which its records carry. This machine's own only says how late it is where nothing was
    /// written lately; one that is behind what was written is put right by that.
    fn is_stale(
        &self,
        changelog: &TopicPartition,
        position: u64,
        end: u64,
    ) -> Result<bool, RuntimeError> {
        if position == 0 || position >= end {
            return Ok(false);
        }
        let kept = self.deployment.tombstones;
        // A restore takes its time too.
        let kept = millis(kept - kept / 7);
        let now = self.cluster.no_later_than(changelog, wall_clock())?;
        let oldest = now.minus(kept);
        let recent = self.cluster.offset_at(changelog, oldest)?;
        Ok(recent.is_none_or(|recent| position < recent))
    }
}

impl Stores for LocalStores<'_> {
    type Store = TaskStore;
    type Error = RuntimeError;

    fn open(&self, task: u32) -> Result<Option<TaskStore>, RuntimeError> {
        let Some(lease) = self.deployment.leases.demand(task) else {
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
