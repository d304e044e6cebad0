//! Taking tasks over from the embedded log: each one's store, what the changelog has beyond it, its
//! clock; and, from either log, to look into them.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::port::{StateError, StateStore};
use engine::task::Task;
use engine::worker::Owned;
use kafkalog::Cluster;
use server::Rebuild;
use store::TaskStore;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::Log;
use crate::observe::Observers;
use crate::progress::Restored;
use crate::state::Found;
use crate::workers::Shared;

/// How many records are restored between two looks at the stop token.
const STRIDE: u64 = 10_000;
/// Why state is dropped that the changelog cannot bring up to date.
pub(crate) const STALE: &str = "it is older than the changelog remembers what was deleted";

impl Deployment {
    /// Opens `task`: its store, what the changelog has beyond it, its clock. State so old that the
    /// changelog may have forgotten deletions since is dropped and restored in full.
    ///
    /// # Errors
    /// The store or the changelog cannot be read.
    pub fn open_task(&self, task: u32) -> Result<Owned<TaskStore>, RuntimeError> {
        self.restore_sound(task, &Shared::default(), &Observers::default())
    }

    /// Opens every task, several at a time.
    ///
    /// # Errors
    /// As [`Deployment::open_task`].
    pub fn open_all(&self) -> Result<Vec<Owned<TaskStore>>, RuntimeError> {
        self.restore_all(&Shared::default(), &Observers::default())
    }

    /// Opens every task, as many at a time as there are workers, and tells `observers` how far it
    /// has come.
    ///
    /// # Errors
    /// As [`Deployment::open_task`]; [`RuntimeError::Interrupted`] if `shared` is told to stop.
    pub fn restore_all(
        &self,
        shared: &Shared,
        observers: &Observers,
    ) -> Result<Vec<Owned<TaskStore>>, RuntimeError> {
        let next = AtomicU32::new(0);
        let restore_some = || {
            let mut opened = Vec::new();
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= self.config.partitions {
                    return Ok(opened);
                }
                match self.restore_sound(task, shared, observers) {
                    Ok(owned) => opened.push(owned),
                    Err(error) => {
                        // Nobody need begin another.
                        next.store(self.config.partitions, Ordering::Relaxed);
                        if !matches!(error, RuntimeError::Interrupted) {
                            tracing::error!(task, %error, "a task cannot be restored");
                            observers.failed(&error);
                        }
                        return Err(error);
                    }
                }
            }
        };
        let mut opened = Vec::new();
        let mut failed = None;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.workers())
                .map(|_| scope.spawn(restore_some))
                .collect();
            for (number, thread) in (0_u32..).zip(threads) {
                match thread.join() {
                    Ok(Ok(some)) => opened.extend(some),
                    Ok(Err(error)) => failed = failed.take().or(Some(error)),
                    Err(_) => failed = failed.take().or(Some(RuntimeError::Panicked(number))),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        opened.sort_by_key(|owned| owned.task.id());
        Ok(opened)
    }

    /// As [`Deployment::restore`]; state that turns out to be damaged on the way is rebuilt.
    fn restore_sound(
        &self,
        task: u32,
        shared: &Shared,
        observers: &Observers,
    ) -> Result<Owned<TaskStore>, RuntimeError> {
        loop {
            let restored = self.restore(task, shared, observers);
            if restored.is_err() {
                shared.restores.gone(task, observers);
            }
            match restored {
                Err(error) if error.is_damage() => {
                    tracing::warn!(task, %error, "state is found damaged");
                }
                restored => return restored,
            }
        }
    }

    fn restore(
        &self,
        task: u32,
        shared: &Shared,
        observers: &Observers,
    ) -> Result<Owned<TaskStore>, RuntimeError> {
        let log = match &self.log {
            Log::Embedded(log) => log,
            Log::Kafka(cluster) => return self.look_into(cluster, task, shared, observers),
        };
        let changelog = self.changelog_of(task);
        let mut store = match self.find_store(task)? {
            Found::Store(store) if log.is_restorable(&changelog, store.position())? => *store,
            Found::Store(store) => {
                drop(store);
                self.rebuild_store(task, Rebuild::Stale, STALE, observers)?
            }
            Found::Damaged(what) => self.rebuild_store(task, Rebuild::Corrupt, &what, observers)?,
            // The number of tasks of an embedded log is never changed.
            Found::Former => self.rebuild_store(task, Rebuild::Stale, STALE, observers)?,
        };
        let from = store.position();
        let total = log.end_offset(&changelog)?.saturating_sub(from);
        let mut restored = Restored {
            total,
            ..Restored::default()
        };
        shared.restores.moved(task, restored, observers);
        let end = log.changelog(&changelog, from, |offset, key, value| {
            if restored.records.is_multiple_of(STRIDE) {
                if shared.is_stopping() {
                    return Err(RuntimeError::Interrupted);
                }
                // Compaction leaves gaps: offsets, not records, say how far it is to the end.
                restored.done = offset - from;
                shared.restores.moved(task, restored, observers);
            }
            let key = key.unwrap_or_default();
            restored.records += 1;
            restored.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            Ok(store.restore(offset, key, value)?)
        })?;
        store.mark_restored(end)?;
        restored.done = total;
        shared.restores.moved(task, restored, observers);
        if restored.records > 0 {
            tracing::info!(task, records = restored.records, "restored");
        }
        let inputs = self.inputs_of(task);
        let opened = Task::open(task, self.setup.clone(), inputs, &store);
        if let Err(StateError::Damaged(what)) = &opened {
            store.condemn(what);
        }
        let task = opened?;
        Ok(Owned { task, store })
    }

    /// The state of `task` as the changelog on Kafka has it now, in a store that is thrown away
    /// with the deployment: whoever works on the task is not disturbed.
    fn look_into(
        &self,
        cluster: &Cluster,
        task: u32,
        shared: &Shared,
        observers: &Observers,
    ) -> Result<Owned<TaskStore>, RuntimeError> {
        let dir = self.scratch()?.join(task.to_string());
        let mut store = self.open_store_in(&dir, task)?;
        let spans = cluster.spans_of(&[self.changelog_of(task)])?;
        let total = spans.iter().map(|s| s.until - s.from).sum();
        let mut end = 0;
        let mut restored = Restored {
            total,
            ..Restored::default()
        };
        let begins = spans.first().map_or(0, |span| span.from);
        shared.restores.moved(task, restored, observers);
        let going_on = || !shared.is_stopping();
        cluster.reader(spans)?.read_all(&going_on, |seen| {
            end = seen.offset + 1;
            let key = seen.key.unwrap_or_default();
            restored.records += 1;
            restored.bytes += (key.len() + seen.value.map_or(0, <[u8]>::len)) as u64;
            if restored.records.is_multiple_of(STRIDE) {
                restored.done = end.saturating_sub(begins);
                shared.restores.moved(task, restored, observers);
            }
            Ok::<(), RuntimeError>(store.restore(seen.offset, key, seen.value)?)
        })?;
        store.mark_restored(end)?;
        restored.done = total;
        shared.restores.moved(task, restored, observers);
        let inputs = self.inputs_of(task);
        let task = Task::open(task, self.setup.clone(), inputs, &store)?;
        Ok(Owned { task, store })
    }

    fn scratch(&self) -> Result<PathBuf, RuntimeError> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &*scratch {
            return Ok(dir.path().to_owned());
        }
        let dir = tempfile::Builder::new()
            .prefix("looking-")
            .tempdir_in(self.data_dir())
            .map_err(|e| RuntimeError::folder(self.data_dir(), e))?;
        Ok(scratch.insert(dir).path().to_owned())
    }
}
