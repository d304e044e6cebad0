//! Tells tasks which of their inputs are silent while others go on.

use std::time::Instant;

use engine::silence::Silence;
use engine::worker::Owned;
use store::TaskStore;

use super::{Looks, Voice};
use crate::deployment::Deployment;
use crate::error::RuntimeError;

/// What a worker has seen of its tasks' inputs, by the wall clock.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    silence: Silence<Instant>,
    looks: Looks,
}

impl Silences {
    /// Looks whether a task waits for an input in vain, and lets it know. To be called when there is nothing to
    /// consume: an input of which something waits is not silent.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
    ) -> Result<(), RuntimeError> {
        let Some(now) = self.looks.due() else {
            return Ok(());
        };
        let idle_after = deployment.config.time.idle_after;
        let tasks = owned.iter().map(|owned| &owned.task);
        let is_long_ago = |since| now.duration_since(since) >= idle_after;
        let told = self.silence.look(tasks, now, is_long_ago);
        Voice::default().tell(deployment, "silent", &told)
    }
}
