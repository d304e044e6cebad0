//! Tells tasks which of their inputs are silent while others go on: through the log, as a control record, so that a
//! replay of it does the same.

use std::time::Instant;

use engine::silence::Silence;
use engine::worker::Owned;
use store::TaskStore;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::workers::{IDLE_LOOK, control, say};

/// What a worker has seen of its tasks' inputs, by the wall clock.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    silence: Silence<Instant>,
    looked: Option<Instant>,
}

impl Silences {
    /// Looks whether a task waits for an input in vain, and lets it know. To be called when there is nothing to
    /// consume: an input of which something waits is not silent.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
    ) -> Result<(), RuntimeError> {
        if self.looked.is_some_and(|at| at.elapsed() < IDLE_LOOK) {
            return Ok(());
        }
        let now = Instant::now();
        self.looked = Some(now);
        let idle_after = deployment.config.time.idle_after;
        let tasks = owned.iter().map(|owned| &owned.task);
        let is_long_ago = |since| now.duration_since(since) >= idle_after;
        let said = self.silence.look(tasks, now, is_long_ago);
        let Some((first, _)) = said.first() else {
            return Ok(());
        };
        let records = said.iter();
        let records = records.map(|(task, silent)| control(deployment, *task, silent));
        let name = format!("silent-{first}");
        say(deployment, &name, &records.collect::<Vec<_>>())
    }
}
