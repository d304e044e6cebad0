//! Taking tasks over: their stores are opened, their owner records written, and what the changelog
//! has beyond the stores is read, up to those records; a little at a time, so that the group is
//! looked after and the tasks that are there already go on.
//!
//! Invariant: a task is opened only when the changelog has been read to the owner record that this
//! worker wrote: nobody else writes behind it, and everything before it is in the store.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::time::{DAY_MS, TimeMs};
use engine::task::Task;
use engine::worker::Owned;
use kafkalog::{ClaimError, Claimed, Cluster, KafkaLogError, KafkaWorker, Reader, Span};
use store::TaskStore;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::observe::Observers;
use crate::restore::Lease;
use crate::workers::wall_clock;

/// A changelog keeps tombstones for a week. State that is older may hold what was deleted since.
const TOMBSTONES_MS: i64 = 6 * DAY_MS;

/// A store that is being brought up to date.
struct Restoring<'d> {
    store: TaskStore,
    lease: Lease<'d>,
    from: u64,
    until: u64,
    records: u64,
    since: Instant,
}

/// Tasks that are being taken over together.
pub(super) struct Takeover<'d> {
    tasks: BTreeMap<u32, Restoring<'d>>,
    reader: Reader,
}

/// A task that was taken over, and the right to have its store open.
pub(super) type Taken<'d> = (Owned<TaskStore>, Lease<'d>);

/// Why a takeover did not begin or go on.
pub(super) enum Refused {
    /// Not now; it is tried again.
    NotNow(String),
    /// Not as it is.
    Failed(RuntimeError),
}

impl<E: Into<RuntimeError>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Failed(error.into())
    }
}

impl<'d> Takeover<'d> {
    /// Opens the stores of `tasks` and claims them.
    pub(super) fn begin(
        deployment: &'d Deployment,
        cluster: &Cluster,
        log: &mut KafkaWorker,
        tasks: &[u32],
    ) -> Result<Takeover<'d>, Refused> {
        let mut stores = BTreeMap::new();
        for task in tasks {
            // Another worker of this process may be about to close it.
            let Some(lease) = deployment.lease(*task) else {
                return Err(Refused::NotNow(format!("task {task} is still open")));
            };
            stores.insert(*task, (open_store(deployment, cluster, *task)?, lease));
        }
        let inputs = tasks.iter().map(|t| (*t, deployment.inputs_of(*t)));
        let claimed = log.claim(&inputs.collect::<Vec<_>>());
        let claimed = claimed.map_err(|error| match error {
            ClaimError::NotNow(what) => Refused::NotNow(what),
            ClaimError::Failed(error) => Refused::Failed(error.into()),
        })?;
        let mut restoring = BTreeMap::new();
        let mut spans = Vec::new();
        for Claimed {
            task,
            changelog_end,
        } in claimed
        {
            let Some((store, lease)) = stores.remove(&task) else {
                continue;
            };
            let from = store.position();
            spans.push(Span {
                at: deployment.changelog_of(task),
                from,
                until: changelog_end,
            });
            let one = Restoring {
                store,
                lease,
                from,
                until: changelog_end,
                records: 0,
                since: Instant::now(),
            };
            restoring.insert(task, one);
        }
        Ok(Takeover {
            reader: cluster.reader(spans)?,
            tasks: restoring,
        })
    }

    /// Reads on for up to `budget`; answers the tasks once all of them are up to date.
    pub(super) fn go_on(
        &mut self,
        deployment: &Deployment,
        observers: &Observers,
        budget: Duration,
    ) -> Result<Option<Vec<Taken<'d>>>, RuntimeError> {
        let tasks = &mut self.tasks;
        let done = self.reader.read(budget, |seen| {
            // Of a task that has gone again in the meantime.
            let Some(one) = tasks.get_mut(&seen.at.partition) else {
                return Ok(());
            };
            one.records += 1;
            let key = seen.key.unwrap_or_default();
            one.store.restore(seen.offset, key, seen.value)?;
            if one.records.is_multiple_of(10_000) {
                let (at, until) = (seen.offset - one.from, one.until - one.from);
                observers.restoring(seen.at.partition, at, until);
            }
            Ok::<(), RuntimeError>(())
        })?;
        if !done {
            if self.reader.quiet_for() > Duration::from_secs(5) {
                tracing::debug!("waiting for an open transaction on the changelog to end");
            }
            return Ok(None);
        }
        let mut opened = Vec::new();
        for (task, mut one) in std::mem::take(tasks) {
            one.store
                .mark_restored(one.until.max(one.store.position()))?;
            let span = one.until.saturating_sub(one.from);
            observers.restoring(task, span, span);
            tracing::info!(
                task,
                records = one.records,
                milliseconds = one.since.elapsed().as_millis() as u64,
                "taken over"
            );
            let inputs = deployment.inputs_of(task);
            let opened_task = Task::open(task, deployment.setup.clone(), inputs, &one.store)?;
            let owned = Owned {
                task: opened_task,
                store: one.store,
            };
            opened.push((owned, one.lease));
        }
        Ok(Some(opened))
    }

    /// Drops those of `tasks` that are among them.
    pub(super) fn release(&mut self, tasks: &[u32]) {
        self.tasks.retain(|task, _| !tasks.contains(task));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// Opens a task's store; one that the changelog cannot bring up to date is dropped, to be restored
/// in full.
fn open_store(
    deployment: &Deployment,
    cluster: &Cluster,
    task: u32,
) -> Result<TaskStore, RuntimeError> {
    let store = deployment.open_store(task)?;
    let changelog = deployment.changelog_of(task);
    let (start, end) = cluster.bounds(&changelog)?;
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
            || cluster
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
    deployment.remove_store(task)?;
    deployment.open_store(task)
}
