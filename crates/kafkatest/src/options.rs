//! How a broker differs from the usual.

use std::path::PathBuf;

use crate::{Broker, Cluster};

/// What every broker of a test is given besides `scripts/kafka.properties`: what a test waits for
/// comes soon.
const FOR_TESTS: &[(&str, &str)] = &[
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    ),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.min.heartbeat.interval.ms", "200"),
    ("offsets.retention.check.interval.ms", "60000"),
];

/// A broker that is set up otherwise than [`Broker::own`]. It is always started for the test.
#[derive(Debug, Clone, Default)]
pub struct Options {
    properties: Vec<(String, String)>,
    pub(crate) secured: bool,
    pub(crate) proxied: bool,
}

impl Options {
    /// The usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property of the broker (`server.properties`); the last word on a name holds. The
    /// listeners, the quorum and the log folder are not to be set.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Clients must come over TLS and authenticate with SASL (SCRAM-SHA-512): see
    /// [`Broker::security`].
    #[must_use]
    pub fn tls_and_sasl(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Gives every broker a second listener, for a proxy: clients that come by the proxy are told to
    /// go on coming by it. See [`Broker::proxied`].
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Starts `size` brokers of one cluster; `None`, and SKIPPED, where Kafka cannot be had.
    ///
    /// # Panics
    /// As [`Options::start`].
    #[must_use]
    pub fn start_cluster(&self, size: u32, test: &str) -> Option<Cluster> {
        Cluster::with(self, size, test)
    }

    /// Starts the broker; `None`, and SKIPPED, where Kafka cannot be had.
    ///
    /// # Panics
    /// When Kafka is there but the broker does not come up; with `CI=true`, also when it is not.
    #[must_use]
    pub fn start(&self, test: &str) -> Option<Broker> {
        Broker::with(self, test)
    }

    /// These, and then `others`, whose words on the same names hold.
    pub(crate) fn then(mut self, others: &Self) -> Self {
        self.properties.extend(others.properties.iter().cloned());
        self.secured |= others.secured;
        self.proxied |= others.proxied;
        self
    }

    /// All properties but those of the place where the broker runs.
    pub(crate) fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.properties.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        FOR_TESTS.iter().copied().chain(own)
    }
}

/// What a client of a broker with TLS and SASL must know.
#[derive(Debug, Clone)]
pub struct Security {
    /// The certificate that the broker's is checked by (PEM).
    pub ca: PathBuf,
    /// SASL mechanism.
    pub mechanism: &'static str,
    /// The user that the broker knows.
    pub user: &'static str,
    /// Their password.
    pub password: &'static str,
}
