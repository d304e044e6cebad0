//! What can go wrong with the embedded log, and what to do about it.

use std::path::{Path, PathBuf};

use engine::port::{CommitError, LogError};
use store::rocks::Fault;

/// The log cannot be opened, read or written. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// Another process, or another opening of this one, has the folder.
    #[error(
        "the log in {0} is in use by another process: stop that process, or choose another data folder"
    )]
    Locked(PathBuf),
    /// The device is full.
    #[error(
        "no space left for the log in {0}: free some space and start again; what was committed is kept"
    )]
    DiskFull(PathBuf),
    /// There is no room to look into the log from.
    #[error("no temporary folder can be made ({0}): let TMPDIR name a folder that is writable")]
    Scratch(std::io::Error),
    /// The process may not read or write the folder.
    #[error(
        "the log in {0} cannot be accessed: make the folder readable and writable for this user"
    )]
    Denied(PathBuf),
    /// Damaged data.
    #[error("the log in {path} is damaged ({detail}): restore the folder from a backup")]
    Corrupt {
        /// The log's folder.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Anything else that RocksDB reports.
    #[error(
        "the log in {path} cannot be read or written ({detail}): check the device, then start again"
    )]
    Io {
        /// The log's folder.
        path: PathBuf,
        /// What RocksDB said.
        detail: String,
    },
    /// An earlier write failed, so nobody knows what the log holds until it is opened anew.
    #[error(
        "the log takes no more writes since one failed: start again; it then continues from what is durable ({0})"
    )]
    Failed(String),
    /// The log was written in a format that this build does not read.
    #[error(
        "the log in {path} has format {found}, this build reads {expected}: use the build that wrote it"
    )]
    Format {
        /// The log's folder.
        path: PathBuf,
        /// The format found.
        found: u8,
        /// The format that this build reads and writes.
        expected: u8,
    },
    /// No such topic.
    #[error("topic {0} does not exist: create it first; `topics` lists those that do")]
    UnknownTopic(String),
    /// No such partition.
    #[error("topic {topic} has {count} partitions, there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        count: u32,
    },
    /// A topic was to get another number of partitions.
    #[error(
        "topic {topic} has {found} partitions and cannot be given {asked}, since state is divided by them: set the number back to {found}, or start with an empty data folder"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// How many there are.
        found: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// A topic cannot be created as asked.
    #[error("topic {topic} cannot be created: {reason}")]
    BadTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A record without key for a topic that keeps the newest record of each key.
    #[error("a record for the compacted topic {0} has no key: give it one")]
    NoKey(String),
    /// Another worker has the task.
    #[error("task {0} already has a worker: stop that one first")]
    TaskInUse(u32),
    /// Two tasks were to read the same partition.
    #[error(
        "partition {partition} of {topic} was given to a worker twice: each partition has one reader"
    )]
    InputTwice {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The log's beginning is later than what a task has to read next.
    #[error(
        "partition {partition} of {topic} begins at offset {start}, but task {task} has to go on at {position}: records were removed before they were processed; restore the folder from a backup"
    )]
    Overtaken {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The task.
        task: u32,
        /// Where it has to go on.
        position: u64,
        /// The partition's first offset.
        start: u64,
    },
    /// A commit names a task or an input that its worker does not have.
    #[error(
        "a commit of task {task} does not belong to its worker ({detail}): this is a bug, please report it"
    )]
    NotOwned {
        /// The task.
        task: u32,
        /// What does not belong.
        detail: String,
    },
}

impl EventLogError {
    /// Words what RocksDB reports about the log in `path`.
    pub(crate) fn from_rocks(path: &Path, error: rocksdb::Error) -> EventLogError {
        let path = path.to_path_buf();
        match Fault::of(&error) {
            Fault::Locked => EventLogError::Locked(path),
            Fault::DiskFull => EventLogError::DiskFull(path),
            Fault::Denied => EventLogError::Denied(path),
            Fault::Corrupt => EventLogError::Corrupt {
                path,
                detail: error.into_string(),
            },
            Fault::Missing | Fault::Other => EventLogError::Io {
                path,
                detail: error.into_string(),
            },
        }
    }
}

impl From<EventLogError> for LogError {
    fn from(error: EventLogError) -> LogError {
        LogError(error.to_string())
    }
}

impl From<EventLogError> for CommitError {
    /// There is no other owner to lose to and no connection to break: what fails here stays failed
    /// until somebody acts, and the next start reads from the log what is durable.
    fn from(error: EventLogError) -> CommitError {
        CommitError::Halt(error.to_string())
    }
}
