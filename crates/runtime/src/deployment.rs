//! A deployment: its log, embedded or on Kafka, and the tasks' state under a data directory.
//!
//! What was chosen at its first start holds, whatever the configuration says by now (see `identity`).

mod identity;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::{Config, Loaded};
use domain::money::Currency;
use domain::time::TimeMs;
use engine::port::{TopicName, TopicPartition};
use engine::task::Setup;
use engine::topics::Topics;
use eventlog::{Cleanup, EmbeddedLog};
use registry::Registry;
use store::Shared;
use wire::{Decoder, Encoder, Format, InputRules, Inputs, SchemaSet, SharedSchemas};

use crate::configured::{format_of, registry_of, schemas_of};
use crate::error::RuntimeError;
use crate::kafka;
use crate::leases::Leases;
use crate::log::Log;
use crate::outline::{Outline, readers};

pub(crate) use identity::{IDENTITY, Identity, identify};

/// What waits in a task's inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lag {
    /// Records that are not consumed and committed yet.
    pub records: u64,
    /// How long the oldest of them has been in the log.
    pub oldest: Duration,
}

/// A deployment that is open in this process.
pub struct Deployment {
    /// The checked configuration.
    pub config: Config,
    /// The log.
    pub log: Log,
    /// What every task needs to know.
    pub setup: Arc<Setup>,
    /// How input is validated.
    pub rules: InputRules,
    schemas: SchemaSet,
    /// What decoders read with: `schemas`, and what the registry adds.
    pub(crate) known_schemas: SharedSchemas,
    /// The schema registry, if there is one.
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) shared: Shared,
    /// Tells this deployment's log from any other.
    pub(crate) incarnation: Vec<u8>,
    /// The logs that it had before its number of tasks was changed: state of theirs is of no use.
    pub(crate) former: Vec<Vec<u8>>,
    /// Number of partitions of every input, by full name.
    inputs: Mutex<BTreeMap<TopicName, u32>>,
    /// On Kafka: for how long the changelog keeps tombstones.
    pub(crate) tombstones: Duration,
    /// How often each task's state was found damaged in this process.
    pub(crate) damaged_stores: Mutex<BTreeMap<u32, u32>>,
    /// The stores that are open in this process.
    pub(crate) leases: Leases,
    /// Holds stores that are made to be read and thrown away.
    pub(crate) scratch: Mutex<Option<tempfile::TempDir>>,
}

impl Deployment {
    /// Opens the deployment under the configured data directory, and makes it at the first start.
    /// `currency` is what a mapping states about the data to come.
    ///
    /// # Errors
    /// The directory cannot be used, or what is configured contradicts what was chosen at the
    /// first start.
    pub fn open(
        loaded: &Loaded,
        currency: Option<Currency>,
        now: TimeMs,
    ) -> Result<Deployment, RuntimeError> {
        let config = loaded.config.clone();
        let shared = memory_of(&config);
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|e| RuntimeError::folder(&config.data_dir, e))?;
        match &config.kafka {
            Some(settings) => {
                let kafka::Opened {
                    cluster,
                    identity,
                    inputs,
                    tombstones,
                } = kafka::open(loaded, settings, currency)?;
                let log = Log::Kafka(cluster);
                let incarnation = identity.incarnation.clone().into_bytes();
                let opened = Deployment::with(config, log, &identity, incarnation, inputs, shared)?;
                Ok(Deployment {
                    tombstones: tombstones.unwrap_or(opened.tombstones),
                    ..opened
                })
            }
            None => Deployment::open_embedded(config, loaded, currency, now, shared),
        }
    }

    fn open_embedded(
        config: Config,
        loaded: &Loaded,
        currency: Option<Currency>,
        now: TimeMs,
        shared: Shared,
    ) -> Result<Deployment, RuntimeError> {
        let options = eventlog::Options {
            sync: config.commit.fsync,
            ..eventlog::Options::default()
        };
        let folder = config.data_dir.join("log");
        std::fs::create_dir_all(&folder).map_err(|e| RuntimeError::folder(&folder, e))?;
        let log = EmbeddedLog::open(&folder, options, &shared)?;
        let known = log.mark(IDENTITY)?;
        let (identity, is_new) = identify(known.as_deref(), loaded, currency)?;
        if is_new {
            let bytes = serde_json::to_vec(&identity).map_err(RuntimeError::Identity)?;
            log.append(&[], now, &[(IDENTITY, bytes)])?;
        }
        let incarnation = log.incarnation().to_vec();
        let topics = Topics::of(&config.application_id);
        ensure_topics(&log, &config, &topics, identity.partitions)?;
        let inputs = config.input.topics.iter();
        let inputs = inputs.map(|topic| {
            let name = input_name(&config.application_id, topic);
            (name, identity.partitions)
        });
        let inputs = inputs.collect();
        let log = Log::Embedded(log);
        Deployment::with(config, log, &identity, incarnation, inputs, shared)
    }

    pub(crate) fn with(
        config: Config,
        log: Log,
        identity: &Identity,
        incarnation: Vec<u8>,
        inputs: BTreeMap<TopicName, u32>,
        shared: Shared,
    ) -> Result<Deployment, RuntimeError> {
        let schemas = schemas_of(&config)?;
        let Outline {
            config,
            setup,
            rules,
            ..
        } = Outline::of(config, identity, &schemas)?;
        let registry = registry_of(&config)?;
        let known_schemas = match &registry {
            Some(_) => SharedSchemas::open(&schemas)?,
            None => SharedSchemas::closed(&schemas)?,
        };
        Ok(Deployment {
            config,
            log,
            setup,
            rules,
            schemas,
            known_schemas,
            registry,
            shared,
            incarnation,
            former: identity
                .former
                .iter()
                .map(|former| former.clone().into_bytes())
                .collect(),
            inputs: Mutex::new(inputs),
            tombstones: kafka::TOMBSTONES,
            damaged_stores: Mutex::default(),
            leases: Leases::default(),
            scratch: Mutex::default(),
        })
    }

    /// The full name of an input topic.
    #[must_use]
    pub fn input_topic(&self, topic: &str) -> TopicName {
        input_name(&self.config.application_id, topic)
    }

    /// Number of partitions of the input with this full name.
    #[must_use]
    pub fn partitions_of(&self, input: &str) -> Option<u32> {
        self.inputs().get(input).copied()
    }

    fn inputs(&self) -> std::sync::MutexGuard<'_, BTreeMap<TopicName, u32>> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the inputs' partitions as they are now; answers whether any has more.
    pub(crate) fn inputs_are(&self, now: BTreeMap<TopicName, u32>) -> bool {
        let mut inputs = self.inputs();
        let grown = *inputs != now;
        *inputs = now;
        grown
    }

    /// The partitions that `task` reads: those of every input whose number is the task's modulo the
    /// number of tasks, in the order of the configuration, and last its partition of
    /// `internal.routed`.
    #[must_use]
    pub fn inputs_of(&self, task: u32) -> Vec<TopicPartition> {
        let counts = self.inputs();
        let own = self.config.input.topics.iter();
        let own = own.map(|topic| self.input_topic(topic));
        let mapped = self.config.input.mapped.keys();
        let mapped = mapped.map(|topic| TopicName::from(topic.as_str()));
        let mut inputs = Vec::new();
        for topic in own.chain(mapped) {
            let count = counts.get(&topic).copied().unwrap_or(0);
            let step = self.config.partitions.max(1) as usize;
            for partition in (task..count).step_by(step) {
                inputs.push(TopicPartition {
                    topic: Arc::clone(&topic),
                    partition,
                });
            }
        }
        inputs.push(TopicPartition {
            topic: Arc::clone(&self.setup.topics.routed),
            partition: task,
        });
        inputs
    }

    /// Every partition that is read, with its task.
    #[must_use]
    pub fn all_inputs(&self) -> Vec<(u32, TopicPartition)> {
        let tasks = 0..self.config.partitions;
        tasks
            .flat_map(|task| self.inputs_of(task).into_iter().map(move |at| (task, at)))
            .collect()
    }

    /// How many workers to run.
    #[must_use]
    pub fn workers(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = self
            .config
            .workers
            .unwrap_or(u32::try_from(cores).unwrap_or(1));
        wanted.clamp(1, self.config.partitions)
    }

    /// How records are written.
    #[must_use]
    pub fn format(&self) -> Format {
        format_of(&self.config)
    }

    /// A decoder of the project's own formats.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder::with_schemas(self.rules.clone(), self.known_schemas.clone())
    }

    /// What reads the inputs: mapped topics by their mappings, the others in the project's own
    /// formats.
    ///
    /// # Errors
    /// A mapping cannot be read or does not fit.
    pub fn readers(&self) -> Result<Inputs, RuntimeError> {
        readers(&self.config, self.decoder())
    }

    /// An encoder for the inputs.
    ///
    /// # Errors
    /// A schema is missing.
    pub fn encoder(&self) -> Result<Encoder, RuntimeError> {
        Ok(Encoder::new(self.rules.currency, &self.schemas)?)
    }

    /// The changelog of `task`.
    #[must_use]
    pub fn changelog_of(&self, task: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.setup.topics.changelog),
            partition: task,
        }
    }

    /// Records of the inputs that are not consumed yet.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn lag(&self) -> Result<u64, RuntimeError> {
        self.log.lag(&self.all_inputs())
    }

    /// What waits in the inputs of `task`, in the embedded log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn lag_of(
        &self,
        log: &EmbeddedLog,
        task: u32,
        now: TimeMs,
    ) -> Result<Lag, RuntimeError> {
        let mut lag = Lag::default();
        for input in self.inputs_of(task) {
            let next = log.position(task, &input)?.unwrap_or(0);
            let records = log.end_offset(&input)?.saturating_sub(next);
            if records == 0 {
                continue;
            }
            lag.records += records;
            for oldest in log.read(&input, next, 1, 1)? {
                let waited = now.since(oldest.record.timestamp);
                let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
                lag.oldest = lag.oldest.max(waited);
            }
        }
        Ok(lag)
    }

    /// The bytes that caches and write buffers may take.
    #[must_use]
    pub fn memory_budget(&self) -> usize {
        self.shared.budget()
    }

    /// Where the deployment is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }
}

/// What all stores of the process share.
pub(crate) fn memory_of(config: &Config) -> Shared {
    let shared = match config.state.memory_budget {
        Some(bytes) => Shared::new(usize::try_from(bytes).unwrap_or(usize::MAX)),
        None => Shared::with_default_budget(),
    };
    let tails = config.state.checkpoint_total_bytes;
    shared.limit_changelog_tails(usize::try_from(tails).unwrap_or(usize::MAX));
    shared
}

/// The full name of an input topic.
pub(crate) fn input_name(application: &str, topic: &str) -> TopicName {
    Arc::from(format!("{application}.{topic}"))
}

fn ensure_topics(
    log: &EmbeddedLog,
    config: &Config,
    topics: &Topics,
    n: u32,
) -> Result<(), RuntimeError> {
    let retention = &config.retention;
    let days = |kept: Option<Duration>| Cleanup::Delete {
        retention_ms: kept.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        retention_bytes: None,
    };
    for topic in &config.input.topics {
        let name = input_name(&config.application_id, topic);
        log.ensure_topic(&name, n, days(retention.inputs))?;
    }
    for (topic, kept) in [
        (&topics.clv_updates, retention.clv_updates),
        (
            &topics.lifecycle_transitions,
            retention.lifecycle_transitions,
        ),
        (&topics.segment_changes, retention.segment_changes),
        (&topics.dead_letters, retention.dead_letters),
        (&topics.routed, retention.inputs),
        (&topics.commits, retention.inputs),
    ] {
        log.ensure_topic(topic, n, days(kept))?;
    }
    log.ensure_topic(&topics.changelog, n, Cleanup::Compact)?;
    log.ensure_topic(&topics.models, 1, Cleanup::Compact)?;
    Ok(())
}
