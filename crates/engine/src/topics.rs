//! The topics of one application, by name.

use std::sync::Arc;

use crate::port::TopicName;

/// Names of the topics that a task writes to; all begin with the application's id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// `clv.updates`
    pub clv_updates: TopicName,
    /// `lifecycle.transitions`
    pub lifecycle_transitions: TopicName,
    /// `segment.changes`
    pub segment_changes: TopicName,
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
        let name = |suffix: &str| -> TopicName { Arc::from(format!("{application}.{suffix}")) };
        Topics {
            clv_updates: name("clv.updates"),
            lifecycle_transitions: name("lifecycle.transitions"),
            segment_changes: name("segment.changes"),
            dead_letters: name("dlq"),
            routed: name("internal.routed"),
            changelog: name("internal.changelog"),
            commits: name("internal.commits"),
            marks: name("internal.marks"),
        }
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
