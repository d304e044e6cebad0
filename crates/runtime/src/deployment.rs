//! A deployment: its log, embedded or on Kafka, and the tasks' state under a data directory.
//!
//! What is chosen at the first start (application id, number of partitions, currency) is recorded
//! in the log and holds from then on: a configuration that says otherwise is refused, one that
//! says nothing follows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::{Config, Loaded};
use domain::definitions::Definitions;
use domain::money::{Currency, Minor};
use domain::prediction::Horizon;
use domain::time::TimeMs;
use engine::port::{TopicName, TopicPartition};
use engine::task::Setup;
use engine::topics::Topics;
use eventlog::{Cleanup, EmbeddedLog};
use registry::Registry;
use serde::{Deserialize, Serialize};
use store::Shared;
use wire::mapping::Mapping;
use wire::{Decoder, Encoder, Format, InputRules, Inputs, SchemaSet, SharedSchemas};

use crate::error::RuntimeError;
use crate::kafka;
use crate::leases::Leases;
use crate::log::Log;
use crate::outline::{Outline, readers};

/// Name of the log's mark that holds what was chosen at the first start.
pub(crate) const IDENTITY: &str = "deployment";

/// What was chosen at the first start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) application: String,
    pub(crate) partitions: u32,
    pub(crate) currency: String,
    pub(crate) decimals: u8,
    /// On Kafka: tells this deployment from any other that had its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) incarnation: String,
    /// On Kafka: the ids of its topics, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) topics: BTreeMap<String, String>,
    /// On Kafka: how often the number of tasks has been changed since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) generation: u32,
    /// Number of partitions of every output, where that is not the number of tasks any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outputs: Option<u32>,
    /// What `incarnation` was before the number of tasks was changed, each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<String>,
}

impl Identity {
    /// Number of partitions of every output.
    pub(crate) fn outputs(&self) -> u32 {
        self.outputs.unwrap_or(self.partitions)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

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

/// What was chosen at the first start, or is chosen now; answers too whether it is new.
///
/// # Errors
/// What is configured contradicts it.
pub(crate) fn identify(
    known: Option<&[u8]>,
    loaded: &Loaded,
    currency: Option<Currency>,
) -> Result<(Identity, bool), RuntimeError> {
    let config = &loaded.config;
    let Some(known) = known else {
        let wanted = if loaded.is_set("currency", "code") {
            config.currency
        } else {
            currency.unwrap_or(config.currency)
        };
        let identity = Identity {
            application: config.application_id.clone(),
            partitions: config.partitions,
            currency: wanted.as_str().to_owned(),
            decimals: wanted.decimals,
            incarnation: String::new(),
            topics: BTreeMap::new(),
            generation: 0,
            outputs: None,
            former: Vec::new(),
        };
        return Ok((identity, true));
    };
    let identity: Identity = serde_json::from_slice(known).map_err(RuntimeError::Identity)?;
    let fixed = |what, chosen: String, wanted: String| RuntimeError::Fixed {
        what,
        chosen,
        wanted,
        place: match &config.kafka {
            Some(_) => format!("of application {:?}", config.application_id),
            None => format!("in {}", config.data_dir.display()),
        },
    };
    if identity.application != config.application_id {
        let wanted = config.application_id.clone();
        return Err(fixed("application_id", identity.application, wanted));
    }
    if loaded.is_set("", "partitions") && identity.partitions != config.partitions {
        return Err(RuntimeError::OtherPartitions {
            recorded: identity.partitions,
            wanted: config.partitions,
            is_on_kafka: config.kafka.is_some(),
        });
    }
    let describe = |code: &str, decimals: u8| format!("{code} with {decimals} decimals");
    let chosen = describe(&identity.currency, identity.decimals);
    let set = loaded.is_set("currency", "code") || loaded.is_set("currency", "decimals");
    let wanted = [set.then_some(config.currency), currency];
    for wanted in wanted.into_iter().flatten() {
        let wanted = describe(wanted.as_str(), wanted.decimals);
        if wanted != chosen {
            return Err(fixed("currency", chosen, wanted));
        }
    }
    Ok((identity, false))
}

pub(crate) fn three_letters(code: &str) -> [u8; 3] {
    <[u8; 3]>::try_from(code.as_bytes()).unwrap_or(*b"XXX")
}

pub(crate) fn format_of(config: &Config) -> Format {
    match config.format {
        config::Format::Avro => Format::Avro,
        config::Format::Json => Format::Json,
    }
}

/// The project's own schemas and the configured ones.
///
/// # Errors
/// A file cannot be read, is no Avro schema, or has an id that is taken.
pub fn schemas_of(config: &Config) -> Result<SchemaSet, RuntimeError> {
    let mut extra = Vec::new();
    for (id, path) in &config.input.schemas {
        let text = std::fs::read_to_string(path).map_err(|source| RuntimeError::SchemaFile {
            path: path.clone(),
            source,
        })?;
        extra.push((*id, text));
    }
    Ok(SchemaSet::with_extra(extra)?)
}

/// Reads a mapping file.
///
/// # Errors
/// It cannot be read, or is no mapping.
pub fn read_mapping(path: &Path) -> Result<Mapping, RuntimeError> {
    let text = std::fs::read_to_string(path).map_err(|source| RuntimeError::MappingFile {
        path: path.to_owned(),
        source,
    })?;
    let name = path.display().to_string();
    Mapping::parse(&name, &text).map_err(RuntimeError::Mapping)
}

/// The configured schema registry.
fn registry_of(config: &Config) -> Result<Option<Arc<Registry>>, RuntimeError> {
    let Some(configured) = &config.registry else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Registry::new(&registry_settings(
        configured,
    )?)?)))
}

/// How to reach the schema registry, with its password.
///
/// # Errors
/// The password is not where it should be.
pub fn registry_settings(
    configured: &config::Registry,
) -> Result<registry::Settings, RuntimeError> {
    let mut settings = registry::Settings::new(configured.url.clone());
    if let (Some(user), Some(password)) = (&configured.username, &configured.password) {
        settings.credentials = Some((user.clone(), password.read()?.reveal().to_owned()));
    }
    settings.ssl_ca.clone_from(&configured.ssl_ca);
    settings.timeout = configured.timeout;
    settings.refresh_unknown = configured.refresh_unknown;
    Ok(settings)
}

/// What an event must satisfy to be taken in, for a shop that accounts in `currency`.
#[must_use]
pub fn input_rules(config: &Config, currency: Currency) -> InputRules {
    // The limit is configured in the configured currency's decimals.
    let finer = i32::from(currency.decimals) - i32::from(config.currency.decimals);
    let scale = 10_i64.pow(finer.unsigned_abs());
    let max_amount = Minor(match finer {
        0.. => config.limits.max_order_amount.0.saturating_mul(scale),
        _ => config.limits.max_order_amount.0 / scale,
    });
    InputRules {
        earliest: config.limits.earliest_event_time,
        future_bound_ms: millis(config.limits.future_bound),
        max_amount,
        max_value_bytes: config.limits.max_value_bytes,
        ..InputRules::new(currency)
    }
}

pub(crate) fn definitions_of(config: &Config) -> Definitions {
    Definitions {
        session_gap_ms: millis(config.time.session_gap),
        grace_ms: millis(config.time.grace),
        expected_lifetime_years: config.clv.expected_lifetime_years,
        population_orders_per_year: config.clv.population_orders_per_year,
        include_tax: config.clv.include_tax,
        include_shipping: config.clv.include_shipping,
        cost_per_order: config.clv.cost_per_order,
        cost_per_refund: config.clv.cost_per_refund,
        horizon: Horizon {
            days: config.clv.horizon_days,
            yearly_discount: config.clv.yearly_discount,
            margin_rate: config.clv.margin_rate,
        },
        epsilon: config.clv.epsilon,
        ..Definitions::preset(config.currency)
    }
}

/// Milliseconds of a configured duration, whose bounds the configuration checks.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pure crate's defaults are the documented ones.
    #[test]
    fn an_empty_configuration_gives_the_default_rules() {
        for code in ["USD", "JPY", "KWD", "XAU"] {
            let loaded = config::parse("test", "", &[format!("currency.code={code}")]);
            let config = loaded.expect("a currency").config;
            let rules = input_rules(&config, config.currency);
            assert_eq!(rules, InputRules::new(config.currency));
            assert_eq!(wire::currency_by_code(code, None), Some(rules.currency));
        }
    }

    #[test]
    fn the_limit_on_amounts_follows_the_currency_of_the_data() {
        let config = config::parse("test", "", &[]).expect("defaults").config;
        for code in ["JPY", "USD", "KWD"] {
            let currency = wire::currency_by_code(code, None).expect("a currency");
            let rules = input_rules(&config, currency);
            assert_eq!(rules, InputRules::new(currency));
        }
    }
}
