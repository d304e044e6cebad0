//! Customers' orders out of the changelog, beside whoever works on the tasks.
//!
//! Into stores that are thrown away, which take as much of the disk as the state does. Of tasks that are being worked
//! on each is as it was at an instant of its own, which a fit to all customers does not mind.

use std::path::Path;

use engine::task::Task;
use engine::worker::Owned;
use store::TaskStore;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::Log;

/// How many records are read between two looks at whether to go on.
const STRIDE: u64 = 10_000;

/// Every task as the changelog has it, its store in the folder `dir`.
///
/// # Errors
/// The changelog cannot be read; [`RuntimeError::Interrupted`] when `going_on` says no.
pub(super) fn tasks(
    deployment: &Deployment,
    dir: &Path,
    going_on: &dyn Fn() -> bool,
) -> Result<Vec<Owned<TaskStore>>, RuntimeError> {
    let mut tasks = Vec::new();
    for task in 0..deployment.config.partitions {
        let mut store = deployment.open_store_in(&dir.join(task.to_string()), task)?;
        fill(deployment, task, &mut store, going_on)?;
        let inputs = deployment.inputs_of(task);
        let task = Task::open(task, deployment.setup.clone(), inputs, &store)?;
        tasks.push(Owned { task, store });
    }
    Ok(tasks)
}

fn fill(
    deployment: &Deployment,
    task: u32,
    store: &mut TaskStore,
    going_on: &dyn Fn() -> bool,
) -> Result<(), RuntimeError> {
    let changelog = deployment.changelog_of(task);
    let mut records = 0_u64;
    let mut put = |store: &mut TaskStore, offset, key: Option<&[u8]>, value: Option<&[u8]>| {
        records += 1;
        if records.is_multiple_of(STRIDE) && !going_on() {
            return Err(RuntimeError::Interrupted);
        }
        Ok(store.restore(offset, key.unwrap_or_default(), value)?)
    };
    let end = match &deployment.log {
        Log::Embedded(log) => log.changelog(&changelog, 0, |offset, key, value| {
            put(store, offset, key, value)
        })?,
        Log::Kafka(cluster) => {
            let spans = cluster.spans_of(&[changelog])?;
            let mut end = 0;
            let mut reader = cluster.reader(spans)?;
            reader.read_all(going_on, |seen| {
                end = seen.offset + 1;
                put(store, seen.offset, seen.key, seen.value)
            })?;
            end
        }
    };
    Ok(store.mark_restored(end)?)
}
