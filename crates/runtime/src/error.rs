//! Why the runtime cannot do what it was asked to; each message says what to do.

use std::path::{Path, PathBuf};

use domain::time::TimeMs;
use engine::member::Failure;
use engine::port::StateError;
use engine::worker::WorkerError;
use kafkalog::KafkaLogError;
use store::StoreError;
use wire::mapping::MappingProblem;

/// The runtime's errors.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The embedded log.
    #[error(transparent)]
    EventLog(#[from] eventlog::EventLogError),
    /// A task's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A schema.
    #[error(transparent)]
    Schema(#[from] wire::SchemaError),
    /// A configured schema file cannot be read.
    #[error("cannot read the schema {path}: {source}; `input.schemas` names it", path = path.display())]
    SchemaFile {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A source file.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// A mapping file is wrong.
    #[error("the mapping cannot be used:{}", .0.iter().map(|p| format!("\n  {p}")).collect::<String>())]
    Mapping(Vec<MappingProblem>),
    /// A mapping file cannot be read.
    #[error("cannot read the mapping {path}: {source}; `input.mapped` names it", path = path.display())]
    MappingFile {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A mapping does not fit its topic.
    #[error(transparent)]
    UnfitMapping(#[from] wire::UnfitMapping),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// A record of the log cannot be read.
    #[error(transparent)]
    Corrupt(#[from] wire::bin::Corrupt),
    /// A folder cannot be made or removed.
    #[error("cannot use {path}: {source}; choose another data_dir or make it writable", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The record of what was chosen at the first start is damaged.
    #[error("what was chosen at the first start cannot be read or written: {0}")]
    Identity(serde_json::Error),
    /// What is configured contradicts what was chosen at the first start.
    #[error(
        "{what} is {wanted} now, and was {chosen} at the first start {place}, where it is fixed; \
         set it back, or choose another data_dir (on Kafka another application_id)"
    )]
    Fixed {
        /// The key.
        what: &'static str,
        /// What it was.
        chosen: String,
        /// What it is to be.
        wanted: String,
        /// Where the deployment is, in words.
        place: String,
    },
    /// Another number of tasks is configured than there is.
    #[error(
        "partitions is {wanted} now, and this deployment has {recorded}: set it back, or leave it out; {}",
        change_partitions(*.is_on_kafka, *.wanted)
    )]
    OtherPartitions {
        /// The number that there is.
        recorded: u32,
        /// The number that is configured.
        wanted: u32,
        /// Whether the log is on Kafka.
        is_on_kafka: bool,
    },
    /// The number of tasks is being changed.
    #[error(
        "the number of tasks is being changed from {from} to {to}, and that is not finished: run \
         `clvstream repartition --to {to}` again, which goes on where it stopped, or `clvstream \
         repartition --abandon` to stay with {from}"
    )]
    Repartitioning {
        /// The number that there is.
        from: u32,
        /// The number that there will be.
        to: u32,
    },
    /// The number of tasks is being changed, or has been, since this process began.
    #[error(
        "the number of tasks is being changed, or has been since this began: run it again when \
         `clvstream repartition` is done; what was committed is kept"
    )]
    TasksMoved,
    /// A record of the topic of models is no model.
    #[error("the topic of models holds what is no model, at offset {offset}: {source}")]
    Model {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Parameters that no model has.
    #[error("version {version} has parameters that no model has: nothing was promoted")]
    NoModel {
        /// Which version.
        version: u32,
    },
    /// Another process writes models.
    #[error("another process has begun to write models since: nothing was written, run it again")]
    ModelsWritten,
    /// The number of tasks cannot be changed as things are.
    #[error("{0}")]
    Repartition(String),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaLogError),
    /// The application's topics.
    #[error(transparent)]
    Topics(#[from] kafkalog::topics::TopicsError),
    /// A password cannot be read.
    #[error(transparent)]
    Secret(#[from] config::SecretError),
    /// Something that only the embedded log can do.
    #[error("{0} is not possible with a log on Kafka")]
    EmbeddedOnly(&'static str),
    /// A mapping writes to a topic that is not read.
    #[error(
        "the mapping writes to topic {topic:?}, which is not among input.topics; add it there or \
         change the mapping"
    )]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// A task's state has been rebuilt, and is damaged again, and again.
    #[error(
        "state of task {task} is damaged for the {times}th time since the start ({what}): check this \
         machine's disk and memory, and that no newer version has written this changelog; then start \
         again, the changelog has everything"
    )]
    DamagedAgain {
        /// The task.
        task: u32,
        /// How often.
        times: u32,
        /// What was found.
        what: String,
    },
    /// A worker's thread panicked; the panic is in the log.
    #[error("worker {0} panicked; what it had not committed is done again at the next start")]
    Panicked(u32),
    /// Writing to the output failed.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// An earlier run of the same load, with another end, was not completed.
    #[error(
        "an earlier run of this load, up to {end}, is not complete; run that one again first, \
         then this one"
    )]
    LoadUnderWay {
        /// Its end.
        end: TimeMs,
    },
    /// Stopped by a signal before the work was done.
    #[error("interrupted; what was committed is kept, run the same command again to go on")]
    Interrupted,
}

impl From<Failure<KafkaLogError, RuntimeError>> for RuntimeError {
    fn from(failure: Failure<KafkaLogError, RuntimeError>) -> RuntimeError {
        match failure {
            Failure::Log(error) => error.into(),
            Failure::Stores(error) => error,
        }
    }
}

impl RuntimeError {
    /// Whether the same may succeed in a while: the brokers do not answer just now, or state is to be
    /// rebuilt.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        use engine::group::Passing;
        use kafkalog::topics::TopicsError;
        match self {
            RuntimeError::Kafka(error) => error.is_passing(),
            RuntimeError::Topics(error) => matches!(
                error,
                TopicsError::Unreachable { .. } | TopicsError::Refused { .. }
            ),
            error => error.is_damage(),
        }
    }

    /// Whether a task's state was found damaged: whoever opens it next rebuilds it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            RuntimeError::Store(StoreError::Corrupt { .. })
                | RuntimeError::State(StateError::Damaged(_))
                | RuntimeError::Worker(WorkerError::State(StateError::Damaged(_)))
        )
    }

    pub(crate) fn folder(path: &Path, source: std::io::Error) -> RuntimeError {
        RuntimeError::Folder {
            path: path.to_owned(),
            source,
        }
    }
}

/// How to come by another number of tasks.
fn change_partitions(is_on_kafka: bool, wanted: u32) -> String {
    match is_on_kafka {
        true => format!(
            "`clvstream repartition --to {wanted}` changes it, while the service is stopped"
        ),
        false => {
            "with the embedded log it is fixed at the first start: another `data_dir` may have \
                  another one"
                .to_owned()
        }
    }
}
