//! The folders of the tasks' state: opening what is there, and doing away with what cannot be used.
//!
//! Invariant: what is removed here is in the changelog as a whole; whoever calls has seen to that.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use server::Rebuild;
use store::{StoreError, TaskStore};
use wire::state::derived_timer;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::observe::Observers;
use crate::outline::state_dir;

/// So often may a task's state be found damaged while a process runs. More than that is not chance:
/// what is written is damaged, not what is kept.
const DAMAGED_AT_MOST: u32 = 3;

/// What was found in a task's folder.
pub(crate) enum Found {
    /// A store that opens; a new one where there was none.
    Store(Box<TaskStore>),
    /// One that is damaged, and how.
    Damaged(String),
    /// One of this deployment from before its number of tasks was changed.
    Former,
}

impl Deployment {
    /// Opens the store of `task` as it is.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn find_store(&self, task: u32) -> Result<Found, RuntimeError> {
        match self.open_store_in(&self.state_dir(task), task) {
            Ok(store) => Ok(Found::Store(Box::new(store))),
            Err(RuntimeError::Store(error @ StoreError::Corrupt { .. })) => {
                Ok(Found::Damaged(error.to_string()))
            }
            Err(RuntimeError::Store(StoreError::Incarnation { found, .. }))
                if self.former.contains(&found) =>
            {
                Ok(Found::Former)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the state of `task`, which is not open, and opens an empty store, to be filled from the
    /// changelog.
    ///
    /// # Errors
    /// The folder cannot be removed or made, or the state has been damaged too often.
    pub(crate) fn rebuild_store(
        &self,
        task: u32,
        why: Rebuild,
        what: &str,
        observers: &Observers,
    ) -> Result<TaskStore, RuntimeError> {
        if why == Rebuild::Corrupt {
            let damaged = &self.damaged_stores;
            let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
            let times = damaged.entry(task).or_default();
            *times += 1;
            if *times > DAMAGED_AT_MOST {
                return Err(RuntimeError::DamagedAgain {
                    task,
                    times: *times,
                    what: what.to_owned(),
                });
            }
        }
        tracing::warn!(
            task,
            reason = why.as_str(),
            what,
            "local state is removed and rebuilt from the changelog"
        );
        if let Some(metrics) = &observers.metrics {
            metrics.rebuilding(why);
        }
        let dir = self.state_dir(task);
        std::fs::remove_dir_all(&dir).map_err(|e| RuntimeError::folder(&dir, e))?;
        self.open_store_in(&dir, task)
    }

    pub(crate) fn open_store_in(&self, dir: &Path, task: u32) -> Result<TaskStore, RuntimeError> {
        std::fs::create_dir_all(dir).map_err(|e| RuntimeError::folder(dir, e))?;
        let incarnation = &self.incarnation;
        let mut store = TaskStore::open(dir, task, incarnation, &self.shared, derived_timer)?;
        let state = &self.config.state;
        let bytes = usize::try_from(state.checkpoint_bytes).unwrap_or(usize::MAX);
        store.checkpoint_every(state.checkpoint_interval, bytes);
        Ok(store)
    }

    fn state_dir(&self, task: u32) -> PathBuf {
        state_dir(&self.config, task)
    }
}
