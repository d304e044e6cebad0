//! Membership in the consumer group: which tasks this worker has.
//!
//! The group is about partitions of `internal.routed` alone: partition p is task p. What else a
//! task reads is assigned beside it once the task has been taken over ([`crate::worker`]), and goes
//! together with it. So partition p of everything is always with one worker, which no assignor of
//! librdkafka's does for several topics.
//!
//! Invariants: a callback only runs inside `poll`, which the worker calls between commits, when
//! nothing is uncommitted; a task's partitions are unassigned in the callback that revokes it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::group::Change;
use engine::port::{TopicName, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::context;

/// The consumer's context: keeps the books of the group.
pub(crate) struct Group {
    routed: TopicName,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// What is assigned beside `internal.routed` and with it, by task.
    assigned: BTreeMap<u32, Vec<TopicPartition>>,
    changes: Vec<Change>,
    failed: Option<KafkaError>,
}

impl Group {
    pub(crate) fn new(routed: TopicName) -> Group {
        Group {
            routed,
            books: Mutex::default(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has changed since the last call.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, KafkaError> {
        let mut books = self.books();
        match books.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut books.changes)),
        }
    }

    /// `partitions` have been assigned for `task`.
    pub(crate) fn assigned(&self, task: u32, partitions: Vec<TopicPartition>) {
        self.books().assigned.insert(task, partitions);
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::report(&error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let mut books = self.books();
        let elements = partitions.elements();
        let of_ours = elements.iter().filter(|e| e.topic() == &*self.routed);
        let tasks: Vec<u32> = of_ours
            .filter_map(|e| u32::try_from(e.partition()).ok())
            .collect();
        let mut list = TopicPartitionList::new();
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // What a task reads is assigned when it has been taken over; the group wants an answer
            // now.
            books.changes.push(Change::Assigned(tasks));
            consumer.incremental_assign(&list)
        } else {
            for task in &tasks {
                for at in books.assigned.remove(task).into_iter().flatten() {
                    list.add_partition(&at.topic, at.partition.cast_signed());
                }
            }
            let lost = consumer.assignment_lost();
            books.changes.push(match lost {
                true => Change::Lost(tasks),
                false => Change::Revoked(tasks),
            });
            consumer.incremental_unassign(&list)
        };
        if let Err(error) = done {
            books.failed.get_or_insert(error);
        }
    }
}
