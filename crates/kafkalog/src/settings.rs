//! How to reach the cluster, and the librdkafka properties that the guarantee rests on.
//!
//! Invariant: what is set here cannot be set from outside; configured properties come first and
//! are overridden.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Longest time between heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How to reach a cluster, and who this process is there. The properties hold passwords: no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// Prefix of topics and transactional ids, and the group's name.
    pub application: String,
    /// Name of this process, stable over its restarts and its own.
    pub instance: String,
    /// librdkafka properties of consumers.
    pub consumer: Vec<(String, String)>,
    /// librdkafka properties of producers.
    pub producer: Vec<(String, String)>,
    /// A member that is silent for this long has left the group.
    pub session_timeout: Duration,
    /// A worker that does not look after its group for this long has left it.
    pub max_poll_interval: Duration,
    /// An open transaction of this age is aborted by the broker.
    pub transaction_timeout: Duration,
    /// How long a task waits for an input whose next record is not there yet.
    pub max_task_idle: Duration,
    /// Whether members keep their tasks over a restart within the session timeout.
    pub static_membership: bool,
}

const LARGEST: &str = "message.max.bytes";
/// After which time a producer asks again. The broker cannot take the positions of a transaction
/// while it is still writing the markers of the one before, and librdkafka's 100 ms would be most of
/// a commit then.
const BACKOFF: &str = "retry.backoff.ms";

/// What a reader fetches at once and keeps at hand of each partition, at least.
const READ_AHEAD: [(&str, u64); 3] = [
    ("fetch.message.max.bytes", 4 << 20),
    ("queued.min.messages", 50_000),
    ("queued.max.messages.kbytes", 8 << 10),
];

/// What a standby fetches at once and keeps at hand of each partition, at most; how long a broker
/// collects for it; and how long a commit of its positions may hold up the end of the process.
const FOLLOWING: [(&str, &str); 6] = [
    ("fetch.message.max.bytes", "262144"),
    ("queued.min.messages", "2000"),
    ("queued.max.messages.kbytes", "1024"),
    ("fetch.wait.max.ms", "200"),
    ("fetch.min.bytes", "16384"),
    ("socket.timeout.ms", "5000"),
];

/// Which records a consumer sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Isolation {
    /// Committed ones.
    Committed,
    /// All: ends of partitions include what is not committed yet.
    Uncommitted,
}

impl Settings {
    /// The id of the transactions of worker `number`.
    #[must_use]
    pub fn transactional_id(&self, number: u32) -> String {
        format!("{}-{}-{number}", self.application, self.instance)
    }

    /// The group that this instance commits to how far its standbys are. Nobody joins it.
    #[must_use]
    pub(crate) fn standby_group(&self, instance: &str) -> String {
        format!("{}-standby-{instance}", self.application)
    }

    fn base(&self, properties: &[(String, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(name, value);
        }
        config.set(
            "client.id",
            format!("{}-{}", self.application, self.instance),
        );
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A client for administration.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.base(&self.consumer)
    }

    fn reading(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.base(&self.consumer);
        config
            .set("group.id", &self.application)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set(
                "isolation.level",
                match isolation {
                    Isolation::Committed => "read_committed",
                    Isolation::Uncommitted => "read_uncommitted",
                },
            );
        config
    }

    /// A consumer that reads given partitions and never joins the group.
    pub(crate) fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.reading(isolation);
        // Readers are told where a partition ends. They are never paused, and use no position of
        // librdkafka's: this setting moves it one too far (librdkafka 4844).
        config
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10");
        // They read from one end to the other, and as fast as they can: the next fetch is to be under
        // way while one is worked on.
        for (name, least) in READ_AHEAD {
            let set = config.get(name).and_then(|value| value.parse().ok());
            if set.is_none_or(|set: u64| set < least) {
                config.set(name, least.to_string());
            }
        }
        config
    }

    /// A consumer that follows changelogs in the background: it need not be fast, and is not to fill the
    /// memory or keep brokers busy. Its group is nobody's but this instance's.
    pub(crate) fn follower(&self) -> ClientConfig {
        let mut config = self.reading(Isolation::Committed);
        config
            .set("group.id", self.standby_group(&self.instance))
            // As for readers.
            .set("enable.partition.eof", "true");
        for (name, value) in FOLLOWING {
            config.set(name, value);
        }
        config
    }

    /// A client that asks what `instance` has committed of its standbys.
    pub(crate) fn asking_of(&self, instance: &str) -> ClientConfig {
        let mut config = self.reading(Isolation::Uncommitted);
        config.set("group.id", self.standby_group(instance));
        config
    }

    /// A member of the group.
    pub(crate) fn member(&self, number: u32) -> ClientConfig {
        let mut config = self.reading(Isolation::Committed);
        config
            // In a rebalance partitions are paused, and resumed at librdkafka's position, which this
            // setting moves one too far (librdkafka 4844): a record would be left out.
            .set("enable.partition.eof", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set(
                "heartbeat.interval.ms",
                // A heartbeat is how a member hears that the group is changing.
                millis((self.session_timeout / 4).min(HEARTBEAT)),
            )
            .set("max.poll.interval.ms", millis(self.max_poll_interval))
            // By which others tell whose member it is.
            .set("client.id", self.transactional_id(number));
        if self.static_membership {
            config.set("group.instance.id", self.transactional_id(number));
        }
        config
    }

    /// The largest record that producers are told to take, if they are.
    pub(crate) fn producer_limit(&self) -> Option<u64> {
        let mut set = self.producer.iter().rev();
        let (_, bytes) = set.find(|(name, _)| name == LARGEST)?;
        bytes.trim().parse().ok()
    }

    /// A transactional producer of records of at most `largest` bytes.
    pub(crate) fn transactional(&self, id: &str, largest: u64) -> ClientConfig {
        let mut config = self.base(&self.producer);
        config.set(LARGEST, largest.to_string());
        if config.get(BACKOFF).is_none() {
            config.set(BACKOFF, "5");
        }
        config
            .set("transactional.id", id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("delivery.report.only.error", "false")
            .set("transaction.timeout.ms", millis(self.transaction_timeout))
            // Records live as long as their transaction can.
            .set("message.timeout.ms", millis(self.transaction_timeout));
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
