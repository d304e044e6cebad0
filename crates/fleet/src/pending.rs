//! Open transactions, seen from outside: before their first record ends what readers of committed
//! records see.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const REQUEST: Duration = Duration::from_secs(10);
/// A transaction of this age is not one of an instance that works.
const STUCK: Duration = Duration::from_millis(250);

/// The open transactions of one topic.
pub struct Pending {
    topic: String,
    partitions: usize,
    committed: BaseConsumer,
    all: BaseConsumer,
}

impl Pending {
    /// # Panics
    /// When there can be no client.
    #[must_use]
    pub fn of(bootstrap: &str, topic: &str, partitions: usize) -> Pending {
        let reader = |isolation| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", bootstrap);
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

    /// By partition, where an open transaction begins; nothing while the cluster does not answer.
    ///
    /// # Panics
    /// With more partitions than Kafka has.
    #[must_use]
    pub fn firsts(&self) -> Option<Vec<Option<i64>>> {
        let end = |reader: &BaseConsumer, partition: usize| {
            let partition = i32::try_from(partition).unwrap();
            let bounds = reader.fetch_watermarks(&self.topic, partition, REQUEST);
            Some(bounds.ok()?.1)
        };
        let partitions = 0..self.partitions;
        partitions
            .map(|partition| {
                let first = end(&self.committed, partition)?;
                Some((first < end(&self.all, partition)?).then_some(first))
            })
            .collect()
    }

    fn known(&self) -> Vec<Option<i64>> {
        self.firsts().expect("the cluster answers")
    }

    /// Whether any is open.
    ///
    /// # Panics
    /// When the cluster does not answer.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.known().iter().any(Option::is_some)
    }

    /// Whether one is open that was open a moment ago.
    ///
    /// # Panics
    /// As [`Pending::is_any`].
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let before = self.known();
        if before.iter().all(Option::is_none) {
            return false;
        }
        std::thread::park_timeout(STUCK);
        let after = self.known();
        before
            .iter()
            .zip(&after)
            .any(|(before, after)| before.is_some() && before == after)
    }
}
