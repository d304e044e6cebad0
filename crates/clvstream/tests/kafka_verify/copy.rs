//! Copies of an application's topics on another broker, offset by offset.
//!
//! Offsets are part of what is checked. Where the original has none to show, because a transaction's marker
//! stands there or a record was aborted, the copy gets as many of its own: one is the marker of a
//! transaction that ends there, several are aborted records and their marker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafkatest::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);

/// A record with everything that counts.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Records of one topic, by partition, and where each partition ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partitions(BTreeMap<i32, (Vec<Kept>, i64)>);

/// What happens to one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// It is gone, and its offset is a gap.
    Removed,
    /// It stands there twice, the second time in place of a marker.
    Doubled,
    /// The last byte of its value differs.
    Altered,
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in broker.client_properties() {
        config.set(name, value);
    }
    config
}

fn reader(mut client: ClientConfig, group: &str) -> BaseConsumer {
    client
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

fn producer(broker: &Broker) -> BaseProducer {
    let mut config = client(broker);
    config.set("enable.idempotence", "true").create().unwrap()
}

/// Records that are no events, and events in the partitions of other tasks: dead letters, and records
/// that are routed. Answers how many.
pub(crate) fn add_trouble(broker: &Broker, application: &str) -> u64 {
    let topic = format!("{application}.orders");
    let Partitions(orders) = read(&reader(client(broker), "trouble"), &topic);
    let producer = producer(broker);
    let mut added = 0;
    for (partition, (records, _)) in &orders {
        let elsewhere = (partition + 1) % i32::try_from(orders.len()).unwrap();
        for record in records.iter().take(12) {
            send(&producer, &topic, elsewhere, record);
            added += 1;
        }
        for bad in [&b"?"[..], b"{}", b"\0", b"[]"] {
            let record = Kept {
                value: Some(bad.to_vec()),
                ..records[0].clone()
            };
            send(&producer, &topic, *partition, &record);
            added += 1;
        }
    }
    producer.flush(PATIENCE).unwrap();
    added
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, record: &Kept) {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &record.headers {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    let mut out = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(partition)
        .timestamp(record.timestamp)
        .headers(headers);
    if let Some(key) = &record.key {
        out = out.key(key);
    }
    if let Some(value) = &record.value {
        out = out.payload(value);
    }
    producer.send(out).map_err(|(error, _)| error).unwrap();
}

/// Everything committed in `topic`.
fn read(consumer: &BaseConsumer, topic: &str) -> Partitions {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut all = TopicPartitionList::new();
    let mut partitions = Partitions::default();
    for partition in metadata.topics()[0].partitions() {
        let end = consumer
            .fetch_watermarks(topic, partition.id(), PATIENCE)
            .unwrap()
            .1;
        partitions.0.insert(partition.id(), (Vec::new(), end));
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut ended = 0;
    while ended < partitions.0.len() {
        assert!(Instant::now() < deadline, "{topic} is not read to its end");
        match consumer.poll(Duration::from_millis(200)) {
            // The client does not know of a new topic yet, and asks again.
            None | Some(Err(KafkaError::MessageConsumption(_))) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(message) => {
                let message = message.unwrap();
                let headers = message.headers().into_iter().flat_map(Headers::iter);
                let headers = headers.map(|h| (h.key.to_owned(), h.value.unwrap().to_vec()));
                let kept = Kept {
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: headers.collect(),
                };
                partitions
                    .0
                    .get_mut(&message.partition())
                    .unwrap()
                    .0
                    .push(kept);
            }
        }
    }
    partitions
}

/// What the topics of an application hold, and what its group has committed.
pub(crate) struct Contents {
    topics: BTreeMap<String, Partitions>,
    pub(crate) committed: TopicPartitionList,
}

impl Contents {
    pub(crate) fn of(broker: &Broker, application: &str) -> Contents {
        let consumer = reader(client(broker), application);
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let names = metadata.topics().iter().map(|t| t.name().to_owned());
        let names = names.filter(|name| name.starts_with(&format!("{application}.")));
        let topics: BTreeMap<String, Partitions> = names
            .map(|name| (name.clone(), read(&consumer, &name)))
            .collect();
        let mut inputs = TopicPartitionList::new();
        for (name, partitions) in &topics {
            for partition in partitions.0.keys() {
                inputs.add_partition(name, *partition);
            }
        }
        let committed = consumer.committed_offsets(inputs, PATIENCE).unwrap();
        let mut known = TopicPartitionList::new();
        for element in committed.elements() {
            if let Offset::Offset(_) = element.offset() {
                let (topic, partition) = (element.topic(), element.partition());
                known
                    .add_partition_offset(topic, partition, element.offset())
                    .unwrap();
            }
        }
        Contents {
            topics,
            committed: known,
        }
    }

    /// Whether no partition begins with a single offset without a record.
    pub(crate) fn is_copyable(&self) -> bool {
        let mut all = self
            .topics
            .values()
            .flat_map(|partitions| partitions.0.values());
        all.all(|(records, end)| records.first().map_or(*end, |first| first.offset) != 1)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &String> {
        self.topics.keys()
    }

    pub(crate) fn records(&self, topic: &str) -> Partitions {
        self.topics[topic].clone()
    }
}

/// Damages a record in the middle of partition 0, the last one of its commit; answers where it is.
pub(crate) fn damage(partitions: &mut Partitions, topic: &str, damage: Damage) -> String {
    let (records, end) = partitions.0.get_mut(&0).unwrap();
    let follows = |nth: usize| records.get(nth + 1).map_or(*end, |next| next.offset);
    let middle = records.len() / 2;
    let has_gap = |nth: &usize| *nth > 0 && follows(*nth) > records[*nth].offset + 1;
    // Where nothing is a transaction, as in inputs that were written otherwise, there are no markers.
    let nth = (middle..records.len()).find(has_gap).unwrap_or(middle);
    match damage {
        Damage::Removed => {
            records.remove(nth);
        }
        Damage::Altered => {
            let value = records[nth].value.as_mut().unwrap();
            *value.last_mut().unwrap() ^= 1;
        }
        Damage::Doubled => {
            let mut again = records[nth].clone();
            again.offset += 1;
            let moved = records
                .get(nth + 1)
                .is_some_and(|next| next.offset == again.offset);
            if moved {
                records[nth + 1..]
                    .iter_mut()
                    .for_each(|record| record.offset += 1);
                *end += 1;
            }
            records.insert(nth + 1, again);
            *end = (*end).max(records.last().unwrap().offset + 1);
        }
    }
    format!("{topic} partition 0")
}

/// Where copies are written.
pub(crate) struct Target {
    client: ClientConfig,
    application: String,
    admin: AdminClient<DefaultClientContext>,
    plain: BaseProducer,
    transactional: BaseProducer,
}

/// A part of a partition: records, and how many offsets without a record follow.
struct Part<'a> {
    records: &'a [Kept],
    gap: i64,
    /// Where the next part begins.
    end: i64,
}

impl Target {
    pub(crate) fn new(broker: &Broker, application: &str) -> Target {
        let mut transactional = client(broker);
        transactional.set("transactional.id", kafkatest::unique("copy"));
        let transactional: BaseProducer = transactional.create().unwrap();
        transactional.init_transactions(PATIENCE).unwrap();
        Target {
            client: client(broker),
            application: application.to_owned(),
            admin: client(broker).create().unwrap(),
            plain: producer(broker),
            transactional,
        }
    }

    /// A new one each time: one that has read a topic keeps what it knows of it, and the next topic of
    /// that name is another.
    fn reader(&self) -> BaseConsumer {
        reader(self.client.clone(), &self.application)
    }

    /// Makes `topic` anew, with these records at these offsets.
    pub(crate) fn write(&self, topic: &str, partitions: &Partitions) {
        self.make(topic, i32::try_from(partitions.0.len()).unwrap());
        let parts: Vec<(i32, Vec<Part<'_>>)> = partitions
            .0
            .iter()
            .map(|(partition, (records, end))| (*partition, parts_of(records, *end)))
            .collect();
        let watching = self.reader();
        let rounds = parts
            .iter()
            .map(|(_, parts)| parts.len())
            .max()
            .unwrap_or(0);
        for round in 0..rounds {
            let of_round = || {
                let part =
                    |(at, parts): &'_ (i32, Vec<Part<'_>>)| Some((*at, parts.get(round)?.gap));
                parts.iter().filter_map(part).collect::<Vec<_>>()
            };
            let send_those = |producer: &BaseProducer, is_chosen: fn(i64) -> bool| {
                for (at, parts) in &parts {
                    for part in parts
                        .get(round)
                        .into_iter()
                        .filter(|part| is_chosen(part.gap))
                    {
                        part.records
                            .iter()
                            .for_each(|record| send(producer, topic, *at, record));
                    }
                }
                producer.flush(PATIENCE).unwrap();
            };
            send_those(&self.plain, |gap| gap != 1);
            if of_round().iter().any(|(_, gap)| *gap == 1) {
                self.transactional.begin_transaction().unwrap();
                send_those(&self.transactional, |gap| gap == 1);
                self.transactional.commit_transaction(PATIENCE).unwrap();
            }
            let gaps: Vec<_> = of_round().into_iter().filter(|(_, gap)| *gap > 1).collect();
            if !gaps.is_empty() {
                self.transactional.begin_transaction().unwrap();
                for (at, gap) in gaps {
                    let filler = Kept {
                        offset: 0,
                        timestamp: 1_700_000_000_000,
                        key: Some(b"filler".to_vec()),
                        value: Some(b"filler".to_vec()),
                        headers: Vec::new(),
                    };
                    (1..gap).for_each(|_| send(&self.transactional, topic, at, &filler));
                }
                self.transactional.flush(PATIENCE).unwrap();
                self.transactional.abort_transaction(PATIENCE).unwrap();
            }
            // A transaction has ended before its markers are written.
            for (at, parts) in &parts {
                let Some(part) = parts.get(round) else {
                    continue;
                };
                fleet::until("markers are written", || {
                    let bounds = watching.fetch_watermarks(topic, *at, PATIENCE).ok()?;
                    (bounds.1 >= part.end).then_some(())
                });
            }
        }
        let Partitions(found) = read(&self.reader(), topic);
        for (partition, (records, _)) in &partitions.0 {
            let offsets = |records: &[Kept]| records.iter().map(|r| r.offset).collect::<Vec<_>>();
            let (found, _) = &found[partition];
            assert_eq!(
                offsets(found),
                offsets(records),
                "{topic} partition {partition}"
            );
        }
    }

    fn make(&self, topic: &str, partitions: i32) {
        let options = AdminOptions::new();
        let consumer = self.reader();
        let exists = |topic: &str| {
            let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
            metadata.topics().iter().any(|known| known.name() == topic)
        };
        if exists(topic) {
            let deleted = block_on(self.admin.delete_topics(&[topic], &options)).unwrap();
            assert!(deleted[0].is_ok(), "{deleted:?}");
            fleet::until("a topic is deleted", || (!exists(topic)).then_some(()));
        }
        // A name that was just deleted may be taken for a moment.
        fleet::until("a topic is made", || {
            let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            let made = block_on(self.admin.create_topics(&[new], &options)).unwrap();
            made[0].is_ok().then_some(())
        });
        fleet::until("a topic can be written to", || {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
            let known = metadata.topics()[0].partitions();
            let has_leader = known.iter().all(|partition| partition.leader() >= 0);
            (known.len() == partitions as usize && has_leader).then_some(())
        });
    }

    /// The group's offsets are those.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList) {
        fleet::until("offsets are committed", || {
            self.reader().commit(offsets, CommitMode::Sync).ok()
        });
    }
}

/// Cuts a partition at its gaps.
fn parts_of(records: &[Kept], end: i64) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let first = records.first().map_or(end, |first| first.offset);
    if first > 0 {
        assert!(
            first > 1,
            "offset 0 is a gap, {} records, end {end}",
            records.len()
        );
        parts.push(Part {
            records: &[],
            gap: first,
            end: first,
        });
    }
    let mut begin = 0;
    for nth in 0..records.len() {
        let next = records.get(nth + 1).map_or(end, |next| next.offset);
        let gap = next - records[nth].offset - 1;
        if gap > 0 || nth + 1 == records.len() {
            parts.push(Part {
                records: &records[begin..=nth],
                gap,
                end: next,
            });
            begin = nth + 1;
        }
    }
    parts
}

fn block_on<F: std::future::Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
