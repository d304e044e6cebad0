//! A deployment on this machine: the embedded log and the tasks' state under one data directory.
//!
//! What is chosen at the first start (application id, number of partitions, currency) is recorded
//! in the log and holds from then on: a configuration that says otherwise is refused, one that
//! says nothing follows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Loaded};
use domain::definitions::Definitions;
use domain::event::Text;
use domain::money::{Currency, Minor};
use domain::time::TimeMs;
use engine::port::{TopicName, TopicPartition};
use engine::task::Setup;
use engine::topics::Topics;
use eventlog::{Cleanup, EmbeddedLog};
use serde::{Deserialize, Serialize};
use store::Shared;
use wire::{Decoder, Encoder, Format, InputRules, OutputEncoder, SchemaSet};

use crate::error::RuntimeError;

/// Name of the log's mark that holds what was chosen at the first start.
const IDENTITY: &str = "deployment";

/// What was chosen at the first start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Identity {
    application: String,
    partitions: u32,
    currency: String,
    decimals: u8,
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
    pub log: Arc<EmbeddedLog>,
    /// What every task needs to know.
    pub setup: Arc<Setup>,
    /// How input is validated.
    pub rules: InputRules,
    schemas: SchemaSet,
    pub(crate) shared: Shared,
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
        let mut config = loaded.config.clone();
        let options = eventlog::Options {
            sync: config.commit.fsync,
            ..eventlog::Options::default()
        };
        let shared = match config.state.memory_budget {
            Some(bytes) => Shared::new(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => Shared::with_default_budget(),
        };
        let folder = config.data_dir.join("log");
        std::fs::create_dir_all(&folder).map_err(|e| RuntimeError::folder(&folder, e))?;
        let log = EmbeddedLog::open(&folder, options, &shared)?;
        let identity = identify(&log, loaded, &config, currency, now)?;
        config.partitions = identity.partitions;
        let currency = Currency {
            code: three_letters(&identity.currency),
            decimals: identity.decimals,
        };
        let rules = input_rules(&config, currency);
        config.limits.max_order_amount = rules.max_amount;
        config.currency = currency;
        let topics = Topics::of(&config.application_id);
        let schemas = schemas_of(&config)?;
        let setup = Setup {
            application: Text::new(&config.application_id),
            tasks: config.partitions,
            topics,
            definitions: Arc::new(definitions_of(&config)),
            encoder: OutputEncoder::new(format_of(&config), &schemas)?,
        };
        let deployment = Deployment {
            config,
            log,
            setup: Arc::new(setup),
            rules,
            schemas,
            shared,
        };
        deployment.ensure_topics()?;
        Ok(deployment)
    }

    fn ensure_topics(&self) -> Result<(), RuntimeError> {
        let n = self.config.partitions;
        let retention = &self.config.retention;
        let days = |kept: Option<Duration>| Cleanup::Delete {
            retention_ms: kept.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            retention_bytes: None,
        };
        let topics = &self.setup.topics;
        for topic in &self.config.input.topics {
            self.log
                .ensure_topic(&self.input_topic(topic), n, days(retention.inputs))?;
        }
        self.log
            .ensure_topic(&topics.clv_updates, n, days(retention.clv_updates))?;
        self.log.ensure_topic(
            &topics.lifecycle_transitions,
            n,
            days(retention.lifecycle_transitions),
        )?;
        self.log
            .ensure_topic(&topics.segment_changes, n, days(retention.segment_changes))?;
        self.log
            .ensure_topic(&topics.dead_letters, n, days(retention.dead_letters))?;
        self.log
            .ensure_topic(&topics.routed, n, days(retention.inputs))?;
        self.log
            .ensure_topic(&topics.commits, n, days(retention.inputs))?;
        self.log
            .ensure_topic(&topics.changelog, n, Cleanup::Compact)?;
        Ok(())
    }

    /// The full name of an input topic.
    #[must_use]
    pub fn input_topic(&self, topic: &str) -> TopicName {
        Arc::from(format!("{}.{topic}", self.config.application_id))
    }

    /// The partitions that `task` reads, its partition of `internal.routed` last.
    #[must_use]
    pub fn inputs_of(&self, task: u32) -> Vec<TopicPartition> {
        let of = |topic: TopicName| TopicPartition {
            topic,
            partition: task,
        };
        let inputs = self.config.input.topics.iter();
        let mut inputs: Vec<_> = inputs.map(|topic| of(self.input_topic(topic))).collect();
        inputs.push(of(Arc::clone(&self.setup.topics.routed)));
        inputs
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

    /// A decoder for the inputs.
    ///
    /// # Errors
    /// A schema is unusable.
    pub fn decoder(&self) -> Result<Decoder, RuntimeError> {
        Ok(Decoder::new(self.rules.clone(), &self.schemas)?)
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
        let mut records = 0;
        for task in 0..self.config.partitions {
            for input in self.inputs_of(task) {
                let next = self.log.position(task, &input)?.unwrap_or(0);
                records += self.log.end_offset(&input)?.saturating_sub(next);
            }
        }
        Ok(records)
    }

    /// What waits in the inputs of `task`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn lag_of(&self, task: u32, now: TimeMs) -> Result<Lag, RuntimeError> {
        let mut lag = Lag::default();
        for input in self.inputs_of(task) {
            let next = self.log.position(task, &input)?.unwrap_or(0);
            let records = self.log.end_offset(&input)?.saturating_sub(next);
            if records == 0 {
                continue;
            }
            lag.records += records;
            for oldest in self.log.read(&input, next, 1, 1)? {
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

fn identify(
    log: &EmbeddedLog,
    loaded: &Loaded,
    config: &Config,
    currency: Option<Currency>,
    now: TimeMs,
) -> Result<Identity, RuntimeError> {
    let known = log.mark(IDENTITY)?;
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
        };
        let bytes = serde_json::to_vec(&identity).map_err(RuntimeError::Identity)?;
        log.append(&[], now, &[(IDENTITY, bytes)])?;
        return Ok(identity);
    };
    let identity: Identity = serde_json::from_slice(&known).map_err(RuntimeError::Identity)?;
    let fixed = |what, chosen: String, wanted: String| RuntimeError::Fixed {
        what,
        chosen,
        wanted,
        dir: config.data_dir.clone(),
    };
    if identity.application != config.application_id {
        let wanted = config.application_id.clone();
        return Err(fixed("application_id", identity.application, wanted));
    }
    if loaded.is_set("", "partitions") && identity.partitions != config.partitions {
        let chosen = identity.partitions.to_string();
        return Err(fixed("partitions", chosen, config.partitions.to_string()));
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
    Ok(identity)
}

fn three_letters(code: &str) -> [u8; 3] {
    <[u8; 3]>::try_from(code.as_bytes()).unwrap_or(*b"XXX")
}

fn format_of(config: &Config) -> Format {
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

fn definitions_of(config: &Config) -> Definitions {
    Definitions {
        session_gap_ms: millis(config.time.session_gap),
        grace_ms: millis(config.time.grace),
        expected_lifetime_years: config.clv.expected_lifetime_years,
        population_orders_per_year: config.clv.population_orders_per_year,
        include_tax: config.clv.include_tax,
        include_shipping: config.clv.include_shipping,
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
