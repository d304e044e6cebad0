//! The topics of one application, by name.

use std::sync::Arc;

use crate::port::TopicName;

/// Names of the topics that a task writes to; all begin with the application's id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// How often the number of tasks has been changed. Topics of which each task has a partition are
    /// others in every generation; those that subscribers read stay.
    pub generation: u32,
    /// `clv.updates`
    pub clv_updates: TopicName,
    /// `lifecycle.transitions`
    pub lifecycle_transitions: TopicName,
    /// `segment.changes`
    pub segment_changes: TopicName,
    /// Models that were fitted, compacted: by version, in one partition.
    pub models: TopicName,
    /// Dead letters.
    pub dead_letters: TopicName,
    /// Events on their way to their owner, and control records.
    pub routed: TopicName,
    /// State changes, compacted.
    pub changelog: TopicName,
    /// What each commit consumed.
    pub commits: TopicName,
    /// On Kafka: what was chosen at the first start, and how far loads have come.
    pub marks: TopicName,
}

impl Topics {
    /// The names for `application`, which prefixes every one of them.
    #[must_use]
    pub fn of(application: &str) -> Topics {
        Topics::of_generation(application, 0)
    }

    /// The names for `application` after its number of tasks has been changed `generation` times.
    #[must_use]
    pub fn of_generation(application: &str, generation: u32) -> Topics {
        let name = |suffix: &str| -> TopicName { Arc::from(format!("{application}.{suffix}")) };
        let of_tasks = |suffix: &str| match generation {
            0 => name(suffix),
            _ => name(&format!("{suffix}.{generation}")),
        };
        Topics {
            generation,
            clv_updates: name("clv.updates"),
            lifecycle_transitions: name("lifecycle.transitions"),
            segment_changes: name("segment.changes"),
            models: name("clv.models"),
            dead_letters: name("dlq"),
            routed: of_tasks("internal.routed"),
            changelog: of_tasks("internal.changelog"),
            commits: of_tasks("internal.commits"),
            marks: name("internal.marks"),
        }
    }

    /// Topics of which each task has its partition, and nobody else reads.
    #[must_use]
    pub fn of_tasks(&self) -> [&TopicName; 3] {
        [&self.routed, &self.changelog, &self.commits]
    }

    /// Topics that subscribers read.
    #[must_use]
    pub fn outputs(&self) -> [&TopicName; 3] {
        [
            &self.clv_updates,
            &self.lifecycle_transitions,
            &self.segment_changes,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_has_topics_of_its_own_for_what_each_task_has_a_partition_of() {
        let (first, second) = (Topics::of("shop"), Topics::of_generation("shop", 2));
        assert_eq!(first, Topics::of_generation("shop", 0));
        let names = second.of_tasks().map(|name| name.to_string());
        assert_eq!(
            names,
            [
                "shop.internal.routed.2",
                "shop.internal.changelog.2",
                "shop.internal.commits.2"
            ]
        );
        assert_eq!(first.outputs(), second.outputs());
        assert_eq!(
            (first.models, first.dead_letters, first.marks),
            (second.models, second.dead_letters, second.marks)
        );
    }
}
