//! A producer and a consumer that know nothing of the project.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafkalog::topics::{Desired, Purpose, TopicAdmin, TopicRetention};
use kafkatest::Broker;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long the broker may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record to be produced.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: i64,
}

/// A record as a consumer gets it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in broker.client_properties() {
        config.set(name, value);
    }
    config
}

/// Where each record went, by its number.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<BTreeMap<usize, i64>>>);

impl ClientContext for Places {}

impl ProducerContext for Places {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let message = result.as_ref().map_err(|(error, _)| error).unwrap();
        self.0.lock().unwrap().insert(*number, message.offset());
    }
}

/// Produces `records` and answers their offsets.
pub(crate) fn produce(broker: &Broker, records: &[Raw]) -> Vec<u64> {
    let places = Places::default();
    let producer: BaseProducer<Places> = client(broker)
        .set("message.max.bytes", "100000000")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create_with_context(places.clone())
        .unwrap();
    for (number, raw) in records.iter().enumerate() {
        let mut record = BaseRecord::with_opaque_to(&raw.topic, Box::new(number))
            .partition(raw.partition.cast_signed())
            .timestamp(raw.timestamp);
        if let Some(key) = &raw.key {
            record = record.key(key);
        }
        if let Some(value) = &raw.value {
            record = record.payload(value);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let places = places.0.lock().unwrap();
    let offset = |number| u64::try_from(places[&number]).unwrap();
    (0..records.len()).map(offset).collect()
}

/// Everything committed that is in `topic`.
pub(crate) fn read_committed(broker: &Broker, topic: &str) -> Vec<Got> {
    let consumer: BaseConsumer = client(broker)
        .set("group.id", kafkatest::unique("reader"))
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    assert!(partitions > 0, "{topic} is there");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        let partition = i32::try_from(partition).unwrap();
        all.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut got = Vec::new();
    let mut ended = 0;
    let deadline = Instant::now() + PATIENCE;
    while ended < partitions {
        assert!(Instant::now() < deadline, "{topic} is not read to its end");
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(message) => got.push(owned(&message.unwrap().detach())),
        }
    }
    got
}

fn owned(message: &OwnedMessage) -> Got {
    let mut headers = BTreeMap::new();
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let value = String::from_utf8(header.value.unwrap_or_default().to_vec()).unwrap();
        let before = headers.insert(header.key.to_owned(), value);
        assert!(before.is_none(), "{} twice", header.key);
    }
    Got {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Makes topics as others would: `names` are full ones, and take records of `bytes`.
pub(crate) fn create(broker: &Broker, names: &[&str], partitions: u32, bytes: u64) {
    for name in names {
        let (application, input) = name.split_once('.').unwrap();
        let desired = Desired {
            application: application.to_owned(),
            partitions,
            outputs: partitions,
            generation: 0,
            replication: Some(1),
            inputs: vec![input.to_owned()],
            foreign: Vec::new(),
            retention: TopicRetention {
                inputs: None,
                clv_updates: None,
                lifecycle_transitions: None,
                segment_changes: None,
                dead_letters: None,
            },
            max_value_bytes: bytes,
        };
        let properties = broker.client_properties().into_iter();
        let properties: Vec<_> = properties.map(|(n, v)| (n.to_owned(), v)).collect();
        let admin = TopicAdmin::connect(&properties).unwrap();
        let mut plan = admin.plan(&desired, &BTreeMap::new()).unwrap();
        plan.topics
            .retain(|topic| topic.spec.purpose == Purpose::Input);
        admin.apply(&plan).unwrap();
    }
}
