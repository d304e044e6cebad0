//! What subscribers of an application have been told: its output topics, read as read_committed
//! consumers read them, to their true ends. A transaction that is still open there is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::money::Currency;
use engine::port::TopicPartition;
use engine::topics::Topics;
use kafkalog::{Cluster, KafkaLogError, Settings};
use wire::{Decoder, InputRules, SchemaSet, partition_of};

use crate::app::PATIENCE;

/// How many faults a failure tells.
const TOLD: usize = 20;

/// A committed record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
}

/// The committed records of topics, each partition's in the order of their offsets.
#[derive(Debug)]
pub struct Outputs {
    /// Topics that subscribers read, by name without the application's prefix, each with its number
    /// of partitions.
    topics: BTreeMap<String, (u32, Vec<Kept>)>,
    /// What the dead-letter topic holds.
    pub dead_letters: Vec<Kept>,
}

impl Outputs {
    /// Reads everything that is in the output topics and the dead-letter topic of `application`.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn read(bootstrap: &str, application: &str) -> Outputs {
        let cluster = connect(bootstrap, application);
        let names = Topics::of(application);
        let prefix = format!("{application}.");
        let mut topics = BTreeMap::new();
        for topic in names.outputs() {
            let name = topic.strip_prefix(&prefix).unwrap().to_owned();
            topics.insert(name, committed(&cluster, topic));
        }
        let (_, dead_letters) = committed(&cluster, &names.dead_letters);
        Outputs {
            topics,
            dead_letters,
        }
    }

    /// Each customer's sequence runs from 1 without gap or repetition, per topic, and stands in the
    /// partition of the task that owns the customer. Answers how many records there are, by topic
    /// (`clv.updates`, `lifecycle.transitions`, `segment.changes`).
    ///
    /// # Panics
    /// With all that is wrong; `when` is told with it.
    pub fn check_sequences(&self, currency: Currency, when: &str) -> BTreeMap<String, usize> {
        let faults = self.faults(currency);
        let told: Vec<_> = faults.iter().take(TOLD).collect();
        let count = faults.len();
        assert!(faults.is_empty(), "{when}: {count} faults: {told:#?}");
        self.counts()
    }

    /// What is wrong with the sequences of [`Outputs::check_sequences`].
    ///
    /// # Panics
    /// When a record is not one of the program's.
    #[must_use]
    pub fn faults(&self, currency: Currency) -> Vec<String> {
        let rules = InputRules::new(currency);
        let decoder = Decoder::new(rules, &SchemaSet::embedded().unwrap()).unwrap();
        let mut faults = Vec::new();
        for (topic, (partitions, records)) in &self.topics {
            let mut next: BTreeMap<String, u64> = BTreeMap::new();
            for kept in records {
                let value = decoder.to_json(kept.value.as_deref().unwrap()).unwrap();
                let customer = value["customer"].as_str().unwrap();
                let next = next.entry(customer.to_owned()).or_insert(1);
                let mut fault = |what: String| {
                    let Kept {
                        partition, offset, ..
                    } = kept;
                    faults.push(format!("{topic}-{partition}@{offset}, {customer}: {what}"));
                };
                if kept.key.as_deref() != Some(customer.as_bytes()) {
                    fault(format!("has the key {:?}", kept.key));
                }
                let owner = partition_of(customer.as_bytes(), *partitions);
                if kept.partition != owner {
                    fault(format!("belongs to partition {owner}"));
                }
                if value["incarnation"].as_u64() != Some(0) {
                    fault(format!("is incarnation {}", value["incarnation"]));
                }
                let sequence = value["sequence"].as_u64().unwrap();
                if sequence != *next {
                    fault(format!("sequence {sequence}, expected {next}"));
                }
                *next = sequence + 1;
            }
            if next.is_empty() {
                faults.push(format!("{topic} is empty"));
            }
        }
        faults
    }

    /// Customers that a topic speaks of.
    ///
    /// # Panics
    /// When there is no such topic, or a key is no text.
    #[must_use]
    pub fn customers(&self, topic: &str) -> BTreeSet<&str> {
        let keys = self.topics[topic].1.iter().map(|kept| kept.key.as_deref());
        keys.map(|key| std::str::from_utf8(key.unwrap()).unwrap())
            .collect()
    }

    /// How many records there are, by topic.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let topics = self.topics.iter();
        topics
            .map(|(topic, (_, records))| (topic.clone(), records.len()))
            .collect()
    }
}

/// A look at the application that takes no part in it.
///
/// # Panics
/// When the cluster does not answer.
#[must_use]
pub fn connect(bootstrap: &str, application: &str) -> Arc<Cluster> {
    let reach = vec![("bootstrap.servers".to_owned(), bootstrap.to_owned())];
    let settings = Settings {
        application: application.to_owned(),
        instance: "onlooker".to_owned(),
        consumer: reach.clone(),
        producer: reach,
        session_timeout: Duration::from_secs(10),
        max_poll_interval: Duration::from_secs(60),
        transaction_timeout: Duration::from_secs(60),
        max_task_idle: Duration::ZERO,
        static_membership: false,
    };
    Cluster::connect(settings).unwrap()
}

/// The number of partitions of a topic and its committed records.
fn committed(cluster: &Cluster, topic: &Arc<str>) -> (u32, Vec<Kept>) {
    let partitions = cluster.partition_counts().unwrap()[&**topic];
    let places: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition {
            topic: Arc::clone(topic),
            partition,
        })
        .collect();
    let spans = cluster.spans_of(&places).unwrap();
    let mut kept = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut reader = cluster.reader(spans).unwrap();
    let read = reader.read_all::<KafkaLogError>(&|| Instant::now() < deadline, |seen| {
        kept.push(Kept {
            partition: seen.at.partition,
            offset: seen.offset,
            key: seen.key.map(<[u8]>::to_vec),
            value: seen.value.map(<[u8]>::to_vec),
        });
        Ok(())
    });
    read.unwrap_or_else(|error| panic!("reading {topic} to its end: {error}"));
    (partitions, kept)
}
