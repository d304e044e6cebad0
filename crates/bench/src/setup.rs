//! What every part of a measurement has in common, read from the very file that the program is
//! given: brokers, topics, partitions, workers, commits, client properties.
//!
//! Invariant: nothing here has a value of its own. That the floor's batch size, linger, compression,
//! partitions and commit interval are the program's is so because both read them from one place.

use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use domain::money::Currency;
use rdkafka::ClientConfig;

use crate::error::BenchError;

/// The outputs that carry the event which caused them.
const OUTPUTS: [&str; 3] = ["clv.updates", "lifecycle.transitions", "segment.changes"];

/// A configuration as the benchmark needs it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Prefix of topics.
    pub(crate) application: String,
    /// Input topics, in full.
    pub(crate) inputs: Vec<String>,
    /// The program's output topics, in full.
    pub(crate) outputs: Vec<String>,
    /// The floor's output topic, in full.
    pub(crate) floor_output: String,
    /// Partitions of each topic.
    pub(crate) partitions: u32,
    /// Worker threads.
    pub(crate) workers: u32,
    /// Longest time between commits.
    pub(crate) commit_interval: Duration,
    /// Most input records of one commit of a worker.
    pub(crate) max_batch: usize,
    /// The shop's currency.
    pub(crate) currency: Currency,
    kafka: config::Kafka,
}

impl Setup {
    /// Reads the configuration with `overrides` on top.
    ///
    /// # Errors
    /// It is wrong, or not for Kafka.
    pub(crate) fn load(file: &Path, overrides: &[String]) -> Result<Setup, BenchError> {
        let loaded = config::load(Some(file), overrides)
            .map_err(|error| BenchError::failed(error.to_string()))?;
        let config = loaded.config;
        let Some(kafka) = config.kafka else {
            return Err(BenchError::failed(format!(
                "{} has no [kafka] section",
                file.display()
            )));
        };
        let application = config.application_id;
        let full = |topic: &str| format!("{application}.{topic}");
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers = config
            .workers
            .unwrap_or(u32::try_from(cores).unwrap_or(1))
            .min(config.partitions);
        Ok(Setup {
            inputs: config.input.topics.iter().map(|t| full(t)).collect(),
            outputs: OUTPUTS.iter().map(|t| full(t)).collect(),
            floor_output: full("floor"),
            partitions: config.partitions,
            workers,
            commit_interval: config.commit.interval,
            max_batch: config.commit.max_batch,
            currency: config.currency,
            application,
            kafka,
        })
    }

    /// The full name of an input topic.
    pub(crate) fn input(&self, topic: &str) -> String {
        format!("{}.{topic}", self.application)
    }

    /// A client that neither consumes nor produces.
    pub(crate) fn client(&self) -> ClientConfig {
        client(self.kafka.client_properties())
    }

    /// A read_committed consumer as the program has it.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut made = client(self.kafka.consumer_properties());
        made.set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest");
        made
    }

    /// A producer as the program has it; transactional where given an id.
    pub(crate) fn producer(&self, transactional_id: Option<&str>) -> ClientConfig {
        let mut made = client(self.kafka.producer_properties());
        made.set("enable.idempotence", "true").set("acks", "all");
        match transactional_id {
            Some(id) => made.set("transactional.id", id),
            // A property of transactions is refused without an id.
            None => made.remove("transaction.timeout.ms"),
        };
        made
    }

    /// The producer's properties, for the record.
    pub(crate) fn pinned(&self) -> serde_json::Value {
        let pairs = |properties: Vec<(String, String)>| -> serde_json::Value {
            properties
                .into_iter()
                .filter(|(name, _)| name != "metadata.broker.list")
                .collect::<std::collections::BTreeMap<_, _>>()
                .into_iter()
                .map(|(name, value)| (name, serde_json::Value::from(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        serde_json::json!({
            "partitions": self.partitions,
            "workers": self.workers,
            "commit_interval_ms": self.commit_interval.as_millis() as u64,
            "commit_max_batch": self.max_batch,
            "consumer": pairs(self.kafka.consumer_properties()),
            "producer": pairs(self.kafka.producer_properties()),
        })
    }
}

fn client(properties: Vec<(String, String)>) -> ClientConfig {
    let mut made = ClientConfig::new();
    for (name, value) in properties {
        made.set(name, value);
    }
    made
}
