//! The pace at which customers go over to a new model in the background: control records, a few a second, each
//! for the next profiles of a task.
//!
//! Invariants:
//! - A record that is written twice, or lost, makes no difference in the end.
//! - While something live may wait, no more profiles a second are looked at than the configuration says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::event::Text;
use engine::worker::Owned;
use store::TaskStore;
use wire::routed::Routed;

use super::Voice;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::workers::Until;

/// So often a task is told to go on.
const PACE: Duration = Duration::from_millis(250);
/// After this long without progress it is told again: whoever wrote the last record may have been superseded.
const AGAIN: Duration = Duration::from_secs(10);

/// Of one worker's tasks.
#[derive(Default)]
pub(crate) struct Rescoring {
    /// By task: how far it was when it was told last, and when that was.
    told: BTreeMap<u32, (Text, Instant)>,
    voice: Voice,
}

impl Rescoring {
    /// Lets tasks go on that are to. To be called with nothing uncommitted.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
        until: Until,
    ) -> Result<(), RuntimeError> {
        if !is_rescoring(owned) {
            if !self.told.is_empty() {
                *self = Rescoring::default();
            }
            return Ok(());
        }
        // Where everything is drained and then over, nobody is held up.
        let pace = match until {
            Until::Stopped => PACE,
            Until::Drained => Duration::ZERO,
        };
        let now = Instant::now();
        let mut told = Vec::new();
        let a_second = deployment.config.clv.rescore_per_second;
        let profiles = (a_second / 4).max(1);
        for Owned { task, .. } in owned {
            let Some(reached) = task.rescoring() else {
                continue;
            };
            let is_due = match self.told.get(&task.id()) {
                None => true,
                Some((before, at)) => {
                    let patience = if before == reached { AGAIN } else { pace };
                    now.duration_since(*at) >= patience
                }
            };
            if is_due {
                self.told.insert(task.id(), (reached.clone(), now));
                told.push((task.id(), Routed::Rescore { profiles }));
            }
        }
        self.voice.tell(deployment, "rescore", &told)
    }
}

/// Whether customers of one of the tasks are going over.
pub(crate) fn is_rescoring(owned: &[Owned<TaskStore>]) -> bool {
    owned.iter().any(|owned| owned.task.rescoring().is_some())
}
