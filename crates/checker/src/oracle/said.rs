//! What a task says: outputs, dead letters, records for other tasks.

use domain::change::Change;
use domain::event::Text;
use domain::profile::Profile;
use engine::port::{OutRecord, TopicPartition};
use wire::routed::Routed;
use wire::{Envelope, OutputTopic, Rejection, dead_letter_headers};

use super::Oracle;
use crate::history::Entry;
use crate::subject::Subject;

impl Oracle {
    pub(super) fn say(&mut self, key: &Text, profile: &mut Profile, mut change: Change) {
        let envelope = Envelope {
            customer: key,
            sequence: profile.number(&mut change),
            incarnation: 0,
            application: &self.setup.application,
            currency: self.setup.definitions.currency,
        };
        let (topic, value, headers) = self.setup.encoder.encode(&envelope, &change);
        let topics = &self.setup.topics;
        let topic = match topic {
            OutputTopic::ClvUpdates => &topics.clv_updates,
            OutputTopic::LifecycleTransitions => &topics.lifecycle_transitions,
            OutputTopic::SegmentChanges => &topics.segment_changes,
        };
        let record = OutRecord {
            target: Subject::partition(topic, self.task),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            headers,
        };
        self.book.counts.outputs += 1;
        self.said.push(record);
    }

    pub(super) fn dead_letter(&mut self, at: &TopicPartition, entry: Entry, rejection: &Rejection) {
        self.book.counts.dead_lettered += 1;
        let headers = dead_letter_headers(&at.topic, at.partition, entry.offset, rejection);
        self.said.push(OutRecord {
            target: Subject::partition(&self.setup.topics.dead_letters, self.task),
            key: entry.key,
            value: entry.value,
            headers,
        });
    }

    pub(super) fn to_task(&self, partition: u32, key: Option<&[u8]>, routed: &Routed) -> OutRecord {
        OutRecord {
            target: Subject::partition(&self.setup.topics.routed, partition),
            key: key.map(<[u8]>::to_vec),
            value: Some(routed.encode()),
            headers: Vec::new(),
        }
    }
}
