//! Kafka and the schema registry as the program uses them, and the librdkafka properties that
//! follow from `[kafka]`.
//!
//! Invariant: the properties that exactly-once rests on are not among those yielded here: the
//! Kafka log sets them itself, and `properties.rs` refuses them in the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::properties::{Side, canonical, side_of};
use crate::secret::{Secret, SecretError, SecretSource};
use crate::setting::Choice;

/// `[kafka]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kafka {
    /// Brokers to begin with, `host:port` each; never empty.
    pub bootstrap: Vec<String>,
    /// Name of this process among those of the application: part of the transactional ids
    /// `<application>-<instance>-<worker>`. `None`: found at the start.
    pub instance: Option<String>,
    /// Whether a restarted process takes up its membership of the group again.
    pub static_membership: bool,
    /// What the clients are tuned for.
    pub profile: Profile,
    /// A process that is not heard of for this long loses its tasks.
    pub session_timeout: Duration,
    /// A worker that does not poll for this long loses its tasks.
    pub max_poll_interval: Duration,
    /// The broker aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
    /// How long a task waits for an input whose next record is not fetched yet.
    pub max_task_idle: Duration,
    /// How often the growth of input topics is looked for.
    pub input_check: Duration,
    /// Whether missing topics of the application are created.
    pub create_topics: bool,
    /// Replicas of the topics that are created; `None`: three, or as many as there are brokers.
    pub replication: Option<u16>,
    /// librdkafka properties of every client that has them.
    pub properties: BTreeMap<String, String>,
    /// librdkafka properties of consumers alone.
    pub consumer_properties: BTreeMap<String, String>,
    /// librdkafka properties of producers alone.
    pub producer_properties: BTreeMap<String, String>,
    /// Encryption and authentication.
    pub security: Security,
}

/// What the Kafka clients are tuned for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Records are on their way at once.
    LowLatency,
    /// A few milliseconds for fuller batches.
    Balanced,
    /// Full batches; a commit sends what is left.
    Throughput,
}

/// `[kafka.security]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Security {
    /// How brokers are talked to.
    pub protocol: Protocol,
    /// How the user is authenticated; set with the `Sasl…` protocols.
    pub sasl_mechanism: Option<Mechanism>,
    /// The user; set with the `Sasl…` protocols.
    pub username: Option<String>,
    /// Where the user's password stands; set with the `Sasl…` protocols.
    pub password: Option<SecretSource>,
    /// Certificates that the brokers' are checked by; `None`: the system's.
    pub ssl_ca: Option<PathBuf>,
    /// This client's certificate.
    pub ssl_certificate: Option<PathBuf>,
    /// The certificate's private key.
    pub ssl_key: Option<PathBuf>,
    /// Where the private key's password stands.
    pub ssl_key_password: Option<SecretSource>,
}

/// How brokers are talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// Authenticated, and not encrypted.
    SaslPlaintext,
    /// TLS, and authenticated.
    SaslSsl,
}

impl Protocol {
    /// Whether the user is authenticated by SASL.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn has_ssl(self) -> bool {
        matches!(self, Protocol::Ssl | Protocol::SaslSsl)
    }
}

/// How a user is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// The password is sent.
    Plain,
    /// Challenge and response, SHA-256.
    ScramSha256,
    /// Challenge and response, SHA-512.
    ScramSha512,
}

/// `[registry]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registry {
    /// `http://` or `https://`, without a slash at the end.
    pub url: String,
    /// The user, where the registry asks for one.
    pub username: Option<String>,
    /// Where the user's password stands.
    pub password: Option<SecretSource>,
    /// Certificates that the registry's is checked by; `None`: the system's.
    pub ssl_ca: Option<PathBuf>,
    /// Longest time for a request.
    pub timeout: Duration,
    /// Records of schemas that are not known are dead-lettered when the registry has been down for
    /// this long; `None`: they wait as long as it takes.
    pub give_up_after: Option<Duration>,
    /// A schema id that the registry did not know is asked for again after this.
    pub refresh_unknown: Duration,
}

impl Choice for Profile {
    const ALL: &'static [(&'static str, Self)] = &[
        ("low_latency", Profile::LowLatency),
        ("balanced", Profile::Balanced),
        ("throughput", Profile::Throughput),
    ];
}

impl Choice for Protocol {
    const ALL: &'static [(&'static str, Self)] = &[
        ("plaintext", Protocol::Plaintext),
        ("ssl", Protocol::Ssl),
        ("sasl_plaintext", Protocol::SaslPlaintext),
        ("sasl_ssl", Protocol::SaslSsl),
    ];
}

impl Choice for Mechanism {
    const ALL: &'static [(&'static str, Self)] = &[
        ("PLAIN", Mechanism::Plain),
        ("SCRAM-SHA-256", Mechanism::ScramSha256),
        ("SCRAM-SHA-512", Mechanism::ScramSha512),
    ];
}

/// Properties by canonical name, so that what is configured replaces the profile's value under
/// whichever of its names it was written.
#[derive(Default)]
struct Chosen(BTreeMap<String, String>);

impl Chosen {
    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(canonical(name).to_owned(), value.to_string());
    }

    fn set_default(&mut self, name: &str, value: impl ToString) {
        let entry = self.0.entry(canonical(name).to_owned());
        entry.or_insert_with(|| value.to_string());
    }

    fn set_all(&mut self, configured: &BTreeMap<String, String>, of: impl Fn(Side) -> bool) {
        for (name, value) in configured {
            if side_of(name).is_some_and(&of) {
                self.set(name, value);
            }
        }
    }

    fn finish(self) -> Vec<(String, String)> {
        self.0.into_iter().collect()
    }
}

impl Kafka {
    /// librdkafka properties of a client that neither consumes nor produces, such as one for
    /// administration. Without passwords: [`Kafka::secret_properties`].
    #[must_use]
    pub fn client_properties(&self) -> Vec<(String, String)> {
        self.client().finish()
    }

    /// All librdkafka properties of a consumer but those that the guarantee rests on, and
    /// passwords: [`Kafka::secret_properties`].
    #[must_use]
    pub fn consumer_properties(&self) -> Vec<(String, String)> {
        let mut chosen = self.client();
        let session = self.session_timeout.as_millis();
        chosen.set("session.timeout.ms", session);
        // Three may be missed, as librdkafka's own default has it.
        chosen.set("heartbeat.interval.ms", (session / 3).clamp(1, 3_000));
        chosen.set("max.poll.interval.ms", self.max_poll_interval.as_millis());
        // Every partition has a queue of its own, so these are bounds per partition.
        chosen.set("queued.min.messages", 20_000);
        chosen.set("queued.max.messages.kbytes", 4_096);
        // Its default is a second, for which a partition stalls whenever its queue is full.
        chosen.set("fetch.queue.backoff.ms", 10);
        let (wait, fetch) = match self.profile {
            Profile::LowLatency => (20, 1_048_576),
            Profile::Balanced => (100, 1_048_576),
            Profile::Throughput => (100, 4_194_304),
        };
        chosen.set("fetch.wait.max.ms", wait);
        chosen.set("fetch.message.max.bytes", fetch);
        chosen.set_all(&self.properties, |side| side != Side::Producer);
        chosen.set_all(&self.consumer_properties, |_| true);
        // librdkafka would lower it to the size of one queue, and a fetch serves them all; below the
        // longest message it would refuse it.
        let longest = chosen.0.get("message.max.bytes");
        let longest = longest
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0);
        chosen.set_default("fetch.max.bytes", 52_428_800_u32.max(longest));
        chosen.finish()
    }

    /// All librdkafka properties of a producer but those that the guarantee rests on, and
    /// passwords: [`Kafka::secret_properties`].
    #[must_use]
    pub fn producer_properties(&self) -> Vec<(String, String)> {
        let mut chosen = self.client();
        let timeout = self.transaction_timeout.as_millis();
        chosen.set("transaction.timeout.ms", timeout);
        chosen.set("queue.buffering.max.messages", 1_000_000);
        chosen.set("queue.buffering.max.kbytes", 1_048_576);
        chosen.set("batch.size", 1_048_576);
        chosen.set("compression.codec", "lz4");
        let linger = match self.profile {
            Profile::LowLatency => 0,
            Profile::Balanced => 5,
            Profile::Throughput => 50,
        };
        chosen.set("queue.buffering.max.ms", linger);
        chosen.set_all(&self.properties, |side| side != Side::Consumer);
        chosen.set_all(&self.producer_properties, |_| true);
        chosen.finish()
    }

    /// The passwords, read from their places, for every kind of client.
    ///
    /// # Errors
    /// A file or an environment variable that should hold one does not.
    pub fn secret_properties(&self) -> Result<Vec<(&'static str, Secret)>, SecretError> {
        let security = &self.security;
        let mut found = Vec::new();
        for (name, source) in [
            ("sasl.password", &security.password),
            ("ssl.key.password", &security.ssl_key_password),
        ] {
            if let Some(source) = source {
                found.push((name, source.read()?));
            }
        }
        Ok(found)
    }

    fn client(&self) -> Chosen {
        let mut chosen = Chosen::default();
        chosen.set("metadata.broker.list", self.bootstrap.join(","));
        chosen.set("socket.keepalive.enable", true);
        chosen.set("reconnect.backoff.max.ms", 2_000);
        // True for producers by default; a topic made in passing has the wrong partitions.
        chosen.set("allow.auto.create.topics", false);
        chosen.set_all(&self.properties, |side| side == Side::Both);
        let security = &self.security;
        chosen.set("security.protocol", word(security.protocol));
        if let Some(mechanism) = security.sasl_mechanism {
            chosen.set("sasl.mechanisms", word(mechanism));
        }
        if let Some(username) = &security.username {
            chosen.set("sasl.username", username);
        }
        for (name, path) in [
            ("ssl.ca.location", &security.ssl_ca),
            ("ssl.certificate.location", &security.ssl_certificate),
            ("ssl.key.location", &security.ssl_key),
        ] {
            if let Some(path) = path {
                chosen.set(name, path.display());
            }
        }
        chosen
    }
}

fn word<T: Choice>(value: T) -> &'static str {
    let found = T::ALL.iter().find(|(_, one)| *one == value);
    found.map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use crate::parse;

    fn properties(kafka: &str) -> [Vec<(String, String)>; 3] {
        let source = format!("[kafka]\nbootstrap = [\"a:1\", \"b:2\"]\n{kafka}");
        let kafka = parse("test", &source, &[]).unwrap().config.kafka.unwrap();
        [
            kafka.client_properties(),
            kafka.consumer_properties(),
            kafka.producer_properties(),
        ]
    }

    fn value<'p>(properties: &'p [(String, String)], name: &str) -> Option<&'p str> {
        let mut all = properties.iter().filter(|(known, _)| known == name);
        let found = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} stands there twice");
        found
    }

    #[test]
    fn defaults() {
        let text = properties("").map(|properties| {
            let lines = properties
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            lines.collect::<Vec<_>>().join("\n")
        });
        insta::assert_snapshot!(text.join("\n\n"), @r#"
        allow.auto.create.topics=false
        metadata.broker.list=a:1,b:2
        reconnect.backoff.max.ms=2000
        security.protocol=plaintext
        socket.keepalive.enable=true

        allow.auto.create.topics=false
        fetch.max.bytes=52428800
        fetch.message.max.bytes=1048576
        fetch.queue.backoff.ms=10
        fetch.wait.max.ms=100
        heartbeat.interval.ms=3000
        max.poll.interval.ms=300000
        metadata.broker.list=a:1,b:2
        queued.max.messages.kbytes=4096
        queued.min.messages=20000
        reconnect.backoff.max.ms=2000
        security.protocol=plaintext
        session.timeout.ms=10000
        socket.keepalive.enable=true

        allow.auto.create.topics=false
        batch.size=1048576
        compression.codec=lz4
        metadata.broker.list=a:1,b:2
        queue.buffering.max.kbytes=1048576
        queue.buffering.max.messages=1000000
        queue.buffering.max.ms=5
        reconnect.backoff.max.ms=2000
        security.protocol=plaintext
        socket.keepalive.enable=true
        transaction.timeout.ms=10000
        "#);
    }

    /// Tables of properties; the client (0: neither, 1: consumer, 2: producer), name and value.
    #[test]
    fn what_is_configured_replaces_what_the_profile_says() {
        for (kafka, client, name, expected) in [
            (
                "profile = 'low_latency'",
                2,
                "queue.buffering.max.ms",
                Some("0"),
            ),
            (
                "profile = 'low_latency'",
                1,
                "fetch.wait.max.ms",
                Some("20"),
            ),
            (
                "profile = 'throughput'",
                2,
                "queue.buffering.max.ms",
                Some("50"),
            ),
            (
                "profile = 'throughput'",
                1,
                "fetch.message.max.bytes",
                Some("4194304"),
            ),
            (
                "session_timeout = '6s'",
                1,
                "session.timeout.ms",
                Some("6000"),
            ),
            (
                "session_timeout = '6s'",
                1,
                "heartbeat.interval.ms",
                Some("2000"),
            ),
            (
                "session_timeout = '45s'",
                1,
                "heartbeat.interval.ms",
                Some("3000"),
            ),
            (
                "transaction_timeout = '1m'",
                2,
                "transaction.timeout.ms",
                Some("60000"),
            ),
            (
                "transaction_timeout = '1m'",
                1,
                "transaction.timeout.ms",
                None,
            ),
            (
                "properties.linger.ms = 7",
                2,
                "queue.buffering.max.ms",
                Some("7"),
            ),
            ("properties.linger.ms = 7", 2, "linger.ms", None),
            (
                "properties.linger.ms = 7",
                1,
                "queue.buffering.max.ms",
                None,
            ),
            (
                "producer_properties = { 'linger.ms' = 0.5 }",
                2,
                "queue.buffering.max.ms",
                Some("0.5"),
            ),
            (
                "properties.compression.type = 'zstd'",
                2,
                "compression.codec",
                Some("zstd"),
            ),
            (
                "properties.client.rack = 'eu-1a'",
                0,
                "client.rack",
                Some("eu-1a"),
            ),
            (
                "properties.client.rack = 'eu-1a'",
                1,
                "client.rack",
                Some("eu-1a"),
            ),
            (
                "properties.client.rack = 'eu-1a'",
                2,
                "client.rack",
                Some("eu-1a"),
            ),
            (
                "properties.check.crcs = true",
                1,
                "check.crcs",
                Some("true"),
            ),
            ("properties.check.crcs = true", 0, "check.crcs", None),
            (
                "properties.max.in.flight = 1",
                2,
                "max.in.flight.requests.per.connection",
                Some("1"),
            ),
            (
                "properties.message.max.bytes = 67108864",
                1,
                "fetch.max.bytes",
                Some("67108864"),
            ),
            (
                "properties.client.id = 'both'\nconsumer_properties.client.id = 'one'",
                1,
                "client.id",
                Some("one"),
            ),
        ] {
            let found = properties(kafka);
            assert_eq!(value(&found[client], name), expected, "{kafka}: {name}");
        }
    }

    #[test]
    fn security_reaches_every_client_and_its_passwords_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let source = format!(
            "[kafka]\nbootstrap = 'a:1'\n[kafka.security]\nprotocol = 'sasl_ssl'\n\
             sasl_mechanism = 'SCRAM-SHA-512'\nusername = 'shop'\npassword_file = '{}'\n\
             ssl_ca = 'ca.pem'\n",
            path.display()
        );
        let loaded = parse("test", &source, &[]).unwrap();
        assert!(loaded.to_toml().contains("password_file = "));
        let kafka = loaded.config.kafka.unwrap();
        for properties in [
            kafka.client_properties(),
            kafka.consumer_properties(),
            kafka.producer_properties(),
        ] {
            assert_eq!(value(&properties, "security.protocol"), Some("sasl_ssl"));
            assert_eq!(value(&properties, "sasl.mechanisms"), Some("SCRAM-SHA-512"));
            assert_eq!(value(&properties, "sasl.username"), Some("shop"));
            assert_eq!(value(&properties, "ssl.ca.location"), Some("ca.pem"));
            assert_eq!(value(&properties, "sasl.password"), None);
        }
        let secrets = kafka.secret_properties().unwrap();
        assert_eq!(format!("{secrets:?}"), "[(\"sasl.password\", Secret(…))]");
        assert_eq!(secrets[0].1.reveal(), "hunter2");
        std::fs::remove_file(&path).unwrap();
        assert!(kafka.secret_properties().is_err());
    }
}
