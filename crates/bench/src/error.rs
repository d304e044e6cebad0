//! What can go wrong while measuring.

use std::path::PathBuf;

/// A failure of a measurement. None is recovered from: a number of half a run is no number.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A Kafka client failed.
    #[error("{what}: {source}")]
    Kafka {
        /// What was being done.
        what: &'static str,
        /// What librdkafka says.
        source: rdkafka::error::KafkaError,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A program cannot be run.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// Which.
        program: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// What was read is not JSON of the expected shape.
    #[error("{what} is not the JSON that was expected: {source}")]
    Json {
        /// What was read.
        what: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// Anything else that makes the measurement worthless.
    #[error("{0}")]
    Failed(String),
}

impl BenchError {
    pub(crate) fn failed(message: impl Into<String>) -> BenchError {
        BenchError::Failed(message.into())
    }

    /// For `map_err`: a Kafka client's failure while doing `what`.
    pub(crate) fn kafka(
        what: &'static str,
    ) -> impl Fn(rdkafka::error::KafkaError) -> BenchError + Copy {
        move |source| BenchError::Kafka { what, source }
    }
}
