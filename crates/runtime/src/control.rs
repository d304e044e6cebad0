//! Control records: what tasks are told by the wall clock. Always through the log, so that a replay of it does
//! the same.
//!
//! Invariant: what a record makes a task do is a function of what the task has consumed; only when it is written
//! is up to a clock.

mod idleness;
mod rescoring;
mod silence;
mod ticks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::port::{OutRecord, TopicPartition};
use kafkalog::KafkaLogError;
use wire::routed::Routed;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::Appender;

pub(crate) use idleness::Idleness;
pub(crate) use rescoring::{Rescoring, is_rescoring};
pub(crate) use silence::Silences;
pub(crate) use ticks::tick_if_quiet;

/// How often it is looked for inputs that are idle or silent.
const LOOK: Duration = Duration::from_secs(1);

/// When it was looked last, of what is looked at now and then.
#[derive(Debug, Default)]
struct Looks(Option<Instant>);

impl Looks {
    /// Now, if it is time to look again.
    fn due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= LOOK);
        is_due.then(|| *self.0.insert(now))
    }
}

/// Appends control records, under a name that it has taken over for as long as it is held. On Kafka several
/// processes may have the same to say at once: it is enough that the last one says it.
#[derive(Default)]
struct Voice(Option<Appender>);

impl Voice {
    /// Tells each of these tasks its own, under a name of the first one's; all or none.
    fn tell(
        &mut self,
        deployment: &Deployment,
        what: &str,
        told: &[(u32, Routed)],
    ) -> Result<(), RuntimeError> {
        let Some((first, _)) = told.first() else {
            return Ok(());
        };
        let records = told.iter();
        let records = records.map(|(task, control)| self::control(deployment, *task, control));
        let records: Vec<_> = records.collect();
        self.say(deployment, &format!("{what}-{first}"), &records)
    }

    /// Appends under `name`, where nothing has been appended before.
    fn say(
        &mut self,
        deployment: &Deployment,
        name: &str,
        records: &[OutRecord],
    ) -> Result<(), RuntimeError> {
        let appender = match &mut self.0 {
            Some(appender) => appender,
            // Nothing stops it half way.
            none => none.insert(deployment.log.appender(name, Arc::new(|| false))?),
        };
        let said = appender.append(records, &[]);
        if said.is_err() {
            self.0 = None;
        }
        match said {
            Err(RuntimeError::Kafka(KafkaLogError::Superseded(_))) => Ok(()),
            said => said,
        }
    }
}

/// One control record for every task.
pub(crate) fn controls(deployment: &Deployment, control: &Routed) -> Vec<OutRecord> {
    (0..deployment.config.partitions)
        .map(|task| self::control(deployment, task, control))
        .collect()
}

/// A control record for one task.
fn control(deployment: &Deployment, task: u32, control: &Routed) -> OutRecord {
    OutRecord {
        target: TopicPartition {
            topic: Arc::clone(&deployment.setup.topics.routed),
            partition: task,
        },
        key: None,
        value: Some(control.encode()),
        headers: Vec::new(),
    }
}
