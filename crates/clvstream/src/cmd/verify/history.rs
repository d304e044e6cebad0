//! The topics of a deployment as the checker reads them, whichever log they are in.

use std::collections::BTreeSet;

use checker::{Bounds, Committed, Entry, History};
use engine::port::TopicPartition;
use runtime::{Outline, RuntimeError};

use super::{embedded, kafka};
use crate::error::CliError;
use crate::schemas::Schemas;
use crate::shutdown::Shutdown;

/// Where the topics are.
pub(super) enum Source {
    /// In the embedded log.
    Embedded(Box<embedded::Cut>),
    /// On a cluster.
    Kafka(Box<kafka::Cut>),
}

/// What the topics hold.
pub(super) struct Held<'a> {
    source: Source,
    schemas: &'a Schemas,
    inputs: BTreeSet<String>,
    shutdown: &'a Shutdown,
}

impl<'a> Held<'a> {
    pub(super) fn new(
        source: Source,
        schemas: &'a Schemas,
        outline: &Outline,
        shutdown: &'a Shutdown,
    ) -> Held<'a> {
        Held {
            source,
            schemas,
            inputs: outline.input_topics().into_iter().collect(),
            shutdown,
        }
    }

    /// Another task is checked.
    pub(super) fn renew(&mut self) {
        if let Source::Kafka(cut) = &mut self.source {
            cut.renew();
        }
    }
}

impl History for Held<'_> {
    type Error = CliError;

    fn bounds(&mut self, at: &TopicPartition) -> Result<Bounds, CliError> {
        match &mut self.source {
            Source::Embedded(cut) => cut.bounds(at),
            Source::Kafka(cut) => cut.bounds(at),
        }
    }

    fn read(&mut self, at: &TopicPartition, from: u64, max: usize) -> Result<Vec<Entry>, CliError> {
        if self.shutdown.is_requested() {
            return Err(RuntimeError::Interrupted.into());
        }
        let entries = match &mut self.source {
            Source::Embedded(cut) => cut.read(at, from, max)?,
            Source::Kafka(cut) => cut.read(at, from, max, self.shutdown)?,
        };
        // What an input's record is depends on its schema, which has to be there before it is asked.
        if self.inputs.contains(&*at.topic) {
            for entry in &entries {
                let fetched = self.schemas.fetch(entry.value.as_deref());
                fetched.map_err(CliError::failure)?;
            }
        }
        Ok(entries)
    }

    fn committed(
        &mut self,
        task: u32,
        inputs: &[TopicPartition],
    ) -> Result<Option<Committed>, CliError> {
        match &mut self.source {
            Source::Embedded(cut) => cut.committed(task, inputs).map(Some),
            Source::Kafka(cut) => cut.committed(inputs).map(Some),
        }
    }

    fn has_grown(&mut self, at: &TopicPartition) -> Result<bool, CliError> {
        match &mut self.source {
            // A view shows one moment, between two commits.
            Source::Embedded(_) => Ok(false),
            Source::Kafka(cut) => cut.has_grown(at),
        }
    }
}
