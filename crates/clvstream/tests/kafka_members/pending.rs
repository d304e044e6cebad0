//! Open transactions, seen from outside: before their first record ends what readers of committed
//! records see.

use std::time::Duration;

use kafkatest::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const REQUEST: Duration = Duration::from_secs(10);
/// A transaction of this age is not one of an instance that works.
const STUCK: Duration = Duration::from_millis(250);

/// The open transactions of one topic.
pub(crate) struct Pending {
    topic: String,
    partitions: usize,
    committed: BaseConsumer,
    all: BaseConsumer,
}

impl Pending {
    pub(crate) fn of(broker: &Broker, topic: &str, partitions: usize) -> Pending {
        let reader = |isolation| {
            let mut config = ClientConfig::new();
            for (name, value) in broker.client_properties() {
                config.set(name, value);
            }
            config.set("isolation.level", isolation);
            config.set("group.id", "looks-on").create().unwrap()
        };
        Pending {
            topic: topic.to_owned(),
            partitions,
            committed: reader("read_committed"),
            all: reader("read_uncommitted"),
        }
    }

    /// By partition, where an open transaction begins.
    fn firsts(&self) -> Vec<Option<i64>> {
        let end = |reader: &BaseConsumer, partition: usize| {
            let partition = i32::try_from(partition).unwrap();
            let bounds = reader.fetch_watermarks(&self.topic, partition, REQUEST);
            bounds.unwrap().1
        };
        let partitions = 0..self.partitions;
        partitions
            .map(|partition| {
                let first = end(&self.committed, partition);
                (first < end(&self.all, partition)).then_some(first)
            })
            .collect()
    }

    /// Whether any is open.
    pub(crate) fn is_any(&self) -> bool {
        self.firsts().iter().any(Option::is_some)
    }

    /// Whether one is open that was open a moment ago.
    pub(crate) fn is_stuck(&self) -> bool {
        let before = self.firsts();
        if before.iter().all(Option::is_none) {
            return false;
        }
        std::thread::park_timeout(STUCK);
        let after = self.firsts();
        before
            .iter()
            .zip(&after)
            .any(|(before, after)| before.is_some() && before == after)
    }
}
