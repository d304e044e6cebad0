//! An application on a real broker: its topics, what goes into them and what came out.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use engine::chain::Head;
use engine::group::{Change, Claimed, MemberLog};
use engine::port::{OutRecord, Read, Record, Staged, Table, TopicName, TopicPartition, WorkerLog};
use engine::topics::Topics;
use kafkalog::{Cluster, KafkaWorker, Settings, Stopping};
use kafkatest::{Broker, unique};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The largest record that the topic of segment changes takes.
pub(crate) const SMALL: usize = 10_000;

/// Waits until `answer` is some.
pub(crate) fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// One application.
pub(crate) struct Shop {
    pub(crate) n: u32,
    pub(crate) topics: Topics,
    /// Input topics with their numbers of partitions.
    pub(crate) inputs: Vec<(TopicName, u32)>,
    application: String,
    properties: Vec<(String, String)>,
}

impl Shop {
    /// Makes the topics of an application of `n` tasks, with an input topic for each number of
    /// partitions.
    pub(crate) fn new(broker: &Broker, name: &str, n: u32, inputs: &[u32]) -> Shop {
        let application = unique(&format!("worker-{name}"));
        let properties = broker.client_properties().into_iter();
        let topics = Topics::of(&application);
        let inputs = inputs.iter().enumerate().map(|(i, partitions)| {
            let name = format!("{application}.input-{i}");
            (TopicName::from(name.as_str()), *partitions)
        });
        let shop = Shop {
            n,
            topics,
            inputs: inputs.collect(),
            properties: properties.map(|(k, v)| (k.to_owned(), v)).collect(),
            application,
        };
        shop.create_topics();
        shop
    }

    fn create_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let small = SMALL.to_string();
        let Topics {
            routed,
            changelog,
            clv_updates,
            segment_changes,
            marks,
            ..
        } = &self.topics;
        let make = |name, partitions: u32| {
            NewTopic::new(name, partitions.cast_signed(), TopicReplication::Fixed(1))
        };
        let mut wanted = vec![
            make(routed, self.n),
            make(changelog, self.n).set("cleanup.policy", "compact"),
            make(clv_updates, self.n),
            make(segment_changes, self.n).set("max.message.bytes", &small),
            make(marks, 1).set("cleanup.policy", "compact"),
        ];
        wanted.extend(self.inputs.iter().map(|(name, count)| make(name, *count)));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for made in block_on(admin.create_topics(&wanted, &options)).unwrap() {
            made.unwrap();
        }
    }

    /// A configuration that reaches the broker.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.extend(self.properties.iter().cloned());
        config
    }

    pub(crate) fn settings(&self, instance: &str) -> Settings {
        Settings {
            application: self.application.clone(),
            instance: instance.to_owned(),
            consumer: self.properties.clone(),
            producer: self.properties.clone(),
            session_timeout: Duration::from_secs(10),
            max_poll_interval: PATIENCE,
            transaction_timeout: Duration::from_secs(10),
            max_task_idle: PATIENCE,
            static_membership: false,
        }
    }

    pub(crate) fn cluster(&self, instance: &str) -> Arc<Cluster> {
        Cluster::connect(self.settings(instance)).unwrap()
    }

    /// What task `p` reads.
    pub(crate) fn inputs_of(&self, task: u32) -> Vec<TopicPartition> {
        let mut inputs: Vec<_> = self
            .all_inputs()
            .into_iter()
            .filter(|at| at.partition % self.n == task)
            .collect();
        inputs.push(at(&self.topics.routed, task));
        inputs
    }

    /// Every partition of every input.
    pub(crate) fn all_inputs(&self) -> Vec<TopicPartition> {
        let inputs = self.inputs.iter();
        inputs
            .flat_map(|(name, count)| (0..*count).map(|q| at(name, q)))
            .collect()
    }

    /// A producer; with a transactional id, transactions are begun.
    pub(crate) fn producer(&self, transactional: Option<&str>, timeout: Duration) -> BaseProducer {
        let mut config = self.client();
        let Some(id) = transactional else {
            // In order, whatever is sent again.
            return config.set("enable.idempotence", "true").create().unwrap();
        };
        let id = format!("{}-{id}", self.application);
        let producer: BaseProducer = config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            .set("message.timeout.ms", timeout.as_millis().to_string())
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer
    }

    /// Appends `count` records, which hold their numbers from `first` on.
    pub(crate) fn append(&self, target: &TopicPartition, first: u64, count: u64) {
        let producer = self.producer(None, PATIENCE);
        for number in first..first + count {
            send(&producer, target, &number.to_string());
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// The values of all committed records of a topic, by partition.
    pub(crate) fn committed(&self, topic: &TopicName, partitions: u32) -> Vec<Vec<String>> {
        let cluster = self.cluster("reader");
        let all: Vec<_> = (0..partitions).map(|p| at(topic, p)).collect();
        let spans = cluster.spans_of(&all).unwrap();
        let mut values = vec![Vec::new(); partitions as usize];
        let mut reader = cluster.reader(spans).unwrap();
        let read = reader.read_all::<kafkalog::KafkaLogError>(&|| true, |seen| {
            let value = String::from_utf8_lossy(seen.value.unwrap_or_default()).into_owned();
            values[seen.at.partition as usize].push(value);
            Ok(())
        });
        read.unwrap();
        values
    }
}

/// Sends a record, outside or inside a transaction.
pub(crate) fn send(producer: &BaseProducer, target: &TopicPartition, value: &str) {
    loop {
        let record = BaseRecord::to(&target.topic)
            .partition(target.partition.cast_signed())
            .key("k")
            .payload(value);
        match producer.send(record) {
            Ok(()) => break,
            Err(_) => {
                producer.poll(Duration::from_millis(10));
            }
        }
    }
}

pub(crate) fn at(topic: &TopicName, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(topic),
        partition,
    }
}

pub(crate) fn out(target: TopicPartition, value: &str) -> OutRecord {
    OutRecord {
        target,
        key: Some(Table::Profiles.full_key(value.as_bytes())),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

pub(crate) fn never() -> Stopping {
    Arc::new(|| false)
}

pub(crate) fn join(cluster: &Arc<Cluster>, nonce: &str) -> KafkaWorker {
    KafkaWorker::join(cluster, 0, nonce, never()).unwrap()
}

/// Waits until `tasks` are assigned to a worker that is alone in its group.
pub(crate) fn await_assigned(worker: &mut KafkaWorker, tasks: usize) -> Vec<u32> {
    let mut assigned = Vec::new();
    until("tasks are assigned", || {
        for change in worker.poll().unwrap() {
            match change {
                Change::Assigned(tasks) => assigned.extend(tasks),
                other => panic!("{other:?}"),
            }
        }
        (assigned.len() == tasks).then_some(())
    });
    assigned.sort_unstable();
    assigned
}

/// A worker that has claimed all tasks of its shop.
pub(crate) fn sole_worker(shop: &Shop, cluster: &Arc<Cluster>, nonce: &str) -> KafkaWorker {
    let mut worker = join(cluster, nonce);
    claim_all(shop, &mut worker);
    worker
}

/// Claims all tasks of a shop for its only worker.
pub(crate) fn claim_all(shop: &Shop, worker: &mut KafkaWorker) -> Vec<Claimed> {
    let tasks = await_assigned(worker, shop.n as usize);
    let tasks: Vec<_> = tasks.iter().map(|t| (*t, shop.inputs_of(*t))).collect();
    until("tasks are claimed", || worker.claim(&tasks).ok())
}

/// Reads `count` records at least, `max` at a time.
pub(crate) fn read(
    worker: &mut KafkaWorker,
    source: &TopicPartition,
    count: usize,
    max: usize,
) -> Vec<Record> {
    let mut records = Vec::new();
    until("records come", || {
        assert_eq!(worker.poll().unwrap(), []);
        if let Read::Records(more) = worker.read(source, max).unwrap() {
            records.extend(more);
        }
        (records.len() >= count).then_some(())
    });
    records
}

/// Numbers of records, as [`Shop::append`] wrote them.
pub(crate) fn numbers(records: &[Record]) -> Vec<u64> {
    let number = |r: &Record| {
        std::str::from_utf8(r.value.as_ref().unwrap())
            .unwrap()
            .parse()
    };
    records.iter().map(|r| number(r).unwrap()).collect()
}

/// Work that consumes `records` of one source and writes `outputs` and one record of the changelog.
pub(crate) fn staged(
    shop: &Shop,
    task: u32,
    records: &[Record],
    outputs: Vec<OutRecord>,
) -> Staged {
    let mut positions = BTreeMap::new();
    for record in records {
        positions.insert(record.source.clone(), record.offset + 1);
    }
    let mut all = outputs;
    all.push(out(at(&shop.topics.changelog, task), "state"));
    Staged {
        task,
        records: all,
        delta: Vec::new(),
        positions: positions.into_iter().collect(),
        head: Head::default(),
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
