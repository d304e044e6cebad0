//! The pace at which customers go over to a new model in the background: control records, a few a second, each
//! for the next profiles of a task.
//!
//! Invariants:
//! - What a record makes a task do is a function of what the task has consumed; only when it is written is up to
//!   the wall clock. One that is written twice, or lost, makes no difference in the end.
//! - While something live may wait, no more profiles a second are looked at than the configuration says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::event::Text;
use engine::worker::Owned;
use store::TaskStore;
use wire::routed::Routed;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::Appender;
use crate::workers::{Until, appender, control, unless_superseded};

/// So often a task is told to go on.
const PACE: Duration = Duration::from_millis(250);
/// After this long without progress it is told again: whoever wrote the last record may have been superseded.
const AGAIN: Duration = Duration::from_secs(10);

/// Of one worker's tasks.
#[derive(Default)]
pub(crate) struct Rescoring {
    /// By task: how far it was when it was told last, and when that was.
    told: BTreeMap<u32, (Text, Instant)>,
    appender: Option<Appender>,
}

impl Rescoring {
    /// Lets tasks go on that are to. To be called with nothing uncommitted.
    pub(crate) fn tell(
        &mut self,
        deployment: &Deployment,
        owned: &[Owned<TaskStore>],
        until: Until,
    ) -> Result<(), RuntimeError> {
        if !has_work(owned) {
            if !self.told.is_empty() {
                self.told.clear();
                self.appender = None;
            }
            return Ok(());
        }
        // Where everything is drained and then over, nobody is held up.
        let pace = match until {
            Until::Stopped => PACE,
            Until::Drained => Duration::ZERO,
        };
        let now = Instant::now();
        let mut records = Vec::new();
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
                records.push(control(
                    deployment,
                    task.id(),
                    &Routed::Rescore { profiles },
                ));
            }
        }
        let Some(first) = records.first() else {
            return Ok(());
        };
        let name = format!("rescore-{}", first.target.partition);
        let appender = match &mut self.appender {
            Some(appender) => appender,
            none => none.insert(appender(deployment, &name)?),
        };
        let appended = appender.append(&records, &[]);
        if appended.is_err() {
            self.appender = None;
        }
        unless_superseded(appended)
    }
}

/// Whether customers of one of the tasks are going over.
pub(crate) fn has_work(owned: &[Owned<TaskStore>]) -> bool {
    owned.iter().any(|owned| owned.task.rescoring().is_some())
}
