//! The log of a deployment, embedded or on Kafka: what is asked of it from outside the pipeline.

use std::sync::Arc;

use engine::port::{OutRecord, TopicPartition};
use eventlog::EmbeddedLog;
use kafkalog::{Cluster, Marks, Stopping};

use crate::error::RuntimeError;
use crate::kafka::tasks_are_there;
use crate::workers::wall_clock;

/// A deployment's log.
#[derive(Clone)]
pub enum Log {
    /// In the data directory.
    Embedded(Arc<EmbeddedLog>),
    /// On a cluster.
    Kafka(Arc<Cluster>),
}

impl Log {
    /// The embedded log, if it is that.
    #[must_use]
    pub fn embedded(&self) -> Option<&Arc<EmbeddedLog>> {
        match self {
            Log::Embedded(log) => Some(log),
            Log::Kafka(_) => None,
        }
    }

    /// The cluster, if it is on one.
    #[must_use]
    pub fn kafka(&self) -> Option<&Arc<Cluster>> {
        match self {
            Log::Embedded(_) => None,
            Log::Kafka(cluster) => Some(cluster),
        }
    }

    /// The value of a mark.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, RuntimeError> {
        match self {
            Log::Embedded(log) => Ok(log.mark(name)?),
            Log::Kafka(cluster) => Ok(cluster.marks()?.remove(name)),
        }
    }

    /// The offset after the last record of `at`, committed or not.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn end_offset(&self, at: &TopicPartition) -> Result<u64, RuntimeError> {
        match self {
            Log::Embedded(log) => Ok(log.end_offset(at)?),
            Log::Kafka(cluster) => Ok(cluster.bounds(at)?.1),
        }
    }

    /// Records of `inputs`, each with its task, that are not consumed and committed yet. Positions
    /// are read before ends: a commit in between that consumes or forwards anything makes the two
    /// differ.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn lag(&self, inputs: &[(u32, TopicPartition)]) -> Result<u64, RuntimeError> {
        match self {
            Log::Embedded(log) => {
                let mut positions = Vec::with_capacity(inputs.len());
                for (task, input) in inputs {
                    positions.push(log.position(*task, input)?.unwrap_or(0));
                }
                let mut records = 0;
                for ((_, input), position) in inputs.iter().zip(positions) {
                    records += log.end_offset(input)?.saturating_sub(position);
                }
                Ok(records)
            }
            Log::Kafka(cluster) => {
                let inputs: Vec<_> = inputs.iter().map(|(_, input)| input.clone()).collect();
                Ok(cluster.lag(&inputs)?.values().sum())
            }
        }
    }

    /// Something that appends from outside the pipeline, under a name of its own. On Kafka, a second
    /// one of the same name ends the first one's work; `stopping` ends waiting for the cluster.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn appender(&self, name: &str, stopping: Stopping) -> Result<Appender, RuntimeError> {
        Ok(match self {
            Log::Embedded(log) => Appender::Embedded(Arc::clone(log)),
            Log::Kafka(cluster) => Appender::Kafka(Box::new(cluster.appender(name, stopping)?)),
        })
    }
}

/// Appends records and marks, all or none.
pub enum Appender {
    /// To the embedded log.
    Embedded(Arc<EmbeddedLog>),
    /// To a cluster.
    Kafka(Box<kafkalog::Appender>),
}

impl Appender {
    /// Appends `records` and sets `marks`, as one, at the wall clock.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn append(
        &mut self,
        records: &[OutRecord],
        marks: &[(&str, Vec<u8>)],
    ) -> Result<(), RuntimeError> {
        match self {
            Appender::Embedded(log) => log.append(records, wall_clock(), marks)?,
            Appender::Kafka(appender) => append_on_kafka(appender, records, marks)?,
        };
        Ok(())
    }
}

/// What goes to tasks goes to those that there are: who appends is no member of the group, and does not
/// hear otherwise that they are being handed over to others.
fn append_on_kafka(
    appender: &mut kafkalog::Appender,
    records: &[OutRecord],
    marks: &[(&str, Vec<u8>)],
) -> Result<(), RuntimeError> {
    let topics = appender.topics();
    if records
        .iter()
        .all(|record| record.target.topic != topics.routed)
    {
        return Ok(appender.append(records, marks)?);
    }
    let generation = topics.generation;
    let are_there = |marks: &Marks| tasks_are_there(marks, generation);
    match appender.append_if(records, marks, &are_there)? {
        true => Ok(()),
        false => Err(RuntimeError::TasksMoved),
    }
}
