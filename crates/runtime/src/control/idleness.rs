//! Tells tasks that their own inputs have been idle for a while though others wait for them.

use std::collections::BTreeMap;
use std::time::Instant;

use engine::task::Awaited;
use engine::worker::Owned;
use store::TaskStore;

use super::{Looks, Voice};
use crate::deployment::Deployment;
use crate::error::RuntimeError;

/// What a worker's tasks have been awaited for, by the wall clock.
#[derive(Debug, Default)]
pub(crate) struct Idleness {
    /// By task: what is waited for, and since when it was that.
    seen: BTreeMap<u32, (Awaited, Instant)>,
    looks: Looks,
}

impl Idleness {
    /// Looks which tasks have been idle for long enough, and lets them know. To be called when there is
    /// nothing to consume.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
    ) -> Result<(), RuntimeError> {
        let Some(now) = self.looks.due() else {
            return Ok(());
        };
        let before = std::mem::take(&mut self.seen);
        let idle_after = deployment.config.time.idle_after;
        let mut told = Vec::new();
        for Owned { task, .. } in owned {
            let Some(given) = task.awaited() else {
                continue;
            };
            let since = match before.get(&task.id()) {
                Some((known, since)) if *known == given => *since,
                _ => now,
            };
            match now.duration_since(since) >= idle_after {
                true => told.push((task.id(), given.ended_by())),
                false => {
                    self.seen.insert(task.id(), (given, since));
                }
            }
        }
        Voice::default().tell(deployment, "idle", &told)
    }
}
