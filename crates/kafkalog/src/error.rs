//! What can go wrong with the cluster, in words that say what to do.

use engine::group::Passing;
use engine::port::{LogError, TopicPartition};
use rdkafka::error::KafkaError;

/// Kafka cannot be used as it should be.
#[derive(Debug, thiserror::Error)]
pub enum KafkaLogError {
    /// A client refuses its configuration.
    #[error("a Kafka client cannot be made: {0}; look at the [kafka] section of the configuration")]
    Client(KafkaError),
    /// The cluster does not answer.
    #[error("Kafka does not answer while {doing}: {source}; is it running at {bootstrap}?")]
    Unreachable {
        /// What was tried.
        doing: &'static str,
        /// Where.
        bootstrap: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// A topic is missing.
    #[error("topic {0} does not exist; `clvstream topics apply` creates what is missing")]
    UnknownTopic(String),
    /// Records were removed before they were consumed.
    #[error(
        "records that task {task} has not consumed are gone: it stands at offset {position} of \
         {at}, which begins at {start}; raise the topic's retention, and reset the group's offset \
         of this partition to go on without them"
    )]
    Overtaken {
        /// The task.
        task: u32,
        /// The partition, in words.
        at: String,
        /// Where the task stands.
        position: u64,
        /// Where the partition begins.
        start: u64,
    },
    /// A partition ends before what was consumed from it.
    #[error(
        "{at} ends at offset {end}, before offset {position} where task {task} stands: was the \
         topic deleted and created again, or the log lost? Recreated topics need a new \
         application id, or the old log back"
    )]
    Truncated {
        /// The task.
        task: u32,
        /// The partition, in words.
        at: String,
        /// Where the task stands.
        position: u64,
        /// Where the partition ends.
        end: u64,
    },
    /// A changelog has lost its beginning, and nothing that is here has what stood there.
    #[error(
        "the changelog of task {task} has lost records: {at} begins at offset {start}, which \
         compaction never moves, and the local state ends at {position}; they were deleted, by \
         retention or by kafka-delete-records. Put back the state folder of the instance that had \
         this task last, or load the inputs anew under another application_id; `clvstream topics \
         apply` corrects the topic's cleanup.policy"
    )]
    Trimmed {
        /// The task.
        task: u32,
        /// The partition, in words.
        at: String,
        /// Up to where local state has it; 0: there is none.
        position: u64,
        /// Where the partition begins.
        start: u64,
    },
    /// The number of tasks was changed while this process was starting, or stood still.
    #[error(
        "the number of tasks has been changed by `clvstream repartition` (generation {generation} of \
         the topics): this process began before that, and has to be started again"
    )]
    Moved {
        /// The generation that goes on.
        generation: u32,
    },
    /// Another process has the same instance name.
    #[error(
        "another process has taken over transactional id {id}: two processes run as instance \
         {instance:?}; give each its own `kafka.instance` (this one stops, nothing is lost)"
    )]
    Duplicate {
        /// The transactional id.
        id: String,
        /// The instance's name.
        instance: String,
    },
    /// Another writer of the same name has taken over from this one: nothing was written.
    #[error("Kafka: appending was ended by another process that does the same: {0}")]
    Superseded(String),
    /// A record is too large for its topic.
    #[error(
        "a record of {size} bytes for topic {topic} is larger than the producer or the topic \
         allows; raise `message.max.bytes` under [kafka.producer_properties] and \
         max.message.bytes of the topic (`clvstream topics apply`)"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key and value.
        size: usize,
    },
    /// This member has to start again from what the log says.
    #[error("{0}")]
    Restart(String),
    /// Told to stop while waiting for the cluster.
    #[error("stopped while waiting for Kafka")]
    Stopped,
    /// Everything else.
    #[error("Kafka: {doing}: {what}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        what: String,
    },
}

impl KafkaLogError {
    pub(crate) fn failed(doing: &'static str, what: impl ToString) -> KafkaLogError {
        KafkaLogError::Failed {
            doing,
            what: what.to_string(),
        }
    }
}

impl Passing for KafkaLogError {
    fn is_passing(&self) -> bool {
        matches!(
            self,
            KafkaLogError::Unreachable { .. } | KafkaLogError::Restart(_)
        )
    }
}

impl From<KafkaLogError> for LogError {
    fn from(error: KafkaLogError) -> LogError {
        LogError(error.to_string())
    }
}

/// A partition in words.
pub(crate) fn words(at: &TopicPartition) -> String {
    format!("partition {} of topic {}", at.partition, at.topic)
}
