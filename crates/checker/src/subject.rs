//! What is checked: an application, as its tasks know it.

use std::sync::Arc;

use engine::bookkeeping;
use engine::port::{Table, TopicName, TopicPartition};
use engine::repartition::may_share;
use engine::task::Setup;
use wire::{Inputs, partition_of};
use xxhash_rust::xxh3::xxh3_64;

/// An application.
#[derive(Debug)]
pub struct Subject {
    /// What its tasks were set up with.
    pub setup: Arc<Setup>,
    /// Decodes its inputs, and its outputs.
    pub inputs: Inputs,
    /// Whether records of the changelog that later ones supersede may be gone.
    pub compacted: bool,
    /// How the customers of counter-examples are named.
    pub naming: Naming,
}

/// How a customer is named. No personal data unless somebody asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// By a hash of the key.
    #[default]
    Hashed,
    /// By the key itself.
    Clear,
}

impl Naming {
    /// The name of what `key` belongs to.
    #[must_use]
    pub fn name(self, key: &[u8]) -> String {
        match self {
            Naming::Hashed => format!("{:016x}", xxh3_64(key)),
            Naming::Clear => String::from_utf8_lossy(key).into_owned(),
        }
    }
}

impl Subject {
    pub(crate) fn partition(topic: &TopicName, partition: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(topic),
            partition,
        }
    }

    pub(crate) fn commits(&self, task: u32) -> TopicPartition {
        Subject::partition(&self.setup.topics.commits, task)
    }

    pub(crate) fn changelog(&self, task: u32) -> TopicPartition {
        Subject::partition(&self.setup.topics.changelog, task)
    }

    /// The partitions of the outputs that a task writes to, of each topic.
    pub(crate) fn outputs(&self, task: u32) -> [Vec<TopicPartition>; 3] {
        let Setup { tasks, outputs, .. } = *self.setup;
        // Any that a customer of the task may be in: one, unless the number of tasks has been changed.
        let all = 0..outputs;
        let outputs: Vec<u32> = all
            .filter(|partition| may_share(*partition, outputs, task, tasks))
            .collect();
        let topics = self.setup.topics.outputs();
        topics.map(|topic| {
            let partitions = outputs.iter();
            partitions.map(|p| Subject::partition(topic, *p)).collect()
        })
    }

    /// Whether the customer with this key is the task's: its outputs are, whichever task wrote them.
    pub(crate) fn is_of(&self, task: u32, key: &[u8]) -> bool {
        let Setup { tasks, outputs, .. } = *self.setup;
        tasks == outputs || partition_of(key, tasks) == task
    }

    /// Whether the tasks have been there from the first record on. Otherwise they began with the state
    /// of other ones, and what came before is in no topic of theirs.
    pub(crate) fn began_with_nothing(&self) -> bool {
        self.setup.topics.generation == 0
    }

    pub(crate) fn is_routed(&self, at: &TopicPartition) -> bool {
        at.topic == self.setup.topics.routed
    }
}

/// The key of a task's bookkeeping in the changelog: the last record of each commit there.
pub(crate) fn book_key() -> Vec<u8> {
    Table::Meta.full_key(bookkeeping::KEY)
}

/// Whether a changelog record with this key is state that a task wrote. Owner records are not: each
/// takeover writes one, in a transaction of its own.
pub(crate) fn is_state(full_key: &[u8]) -> bool {
    match Table::split(full_key) {
        Some((Table::Meta, key)) => key == bookkeeping::KEY,
        _ => true,
    }
}
