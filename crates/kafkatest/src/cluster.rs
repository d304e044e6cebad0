//! Several brokers that are one cluster: each is a process of its own, and may be killed and restarted.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::broker::{Broker, Seat, or_skipped, unique};
use crate::options::Options;
use crate::ports::Port;
use crate::script;

/// Of three or more brokers each record has so many copies, and a commit waits for one fewer of them.
const COPIES: u32 = 3;

/// Brokers of one cluster, each of which is controller too. With three or more, every topic has three
/// copies, of which two are needed for a write, and whoever missed a write never leads.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Broker>,
}

impl Cluster {
    pub(crate) fn with(options: &Options, size: u32, test: &str) -> Option<Self> {
        or_skipped(script::libs().map(|()| Self::launch(options, size)), test)
    }

    fn launch(options: &Options, size: u32) -> Self {
        let controllers: Vec<_> = (1..=size).map(|node| (node, Port::claim())).collect();
        let voters: Vec<_> = controllers
            .iter()
            .map(|(node, port)| format!("{node}@127.0.0.1:{}", port.number))
            .collect();
        let (voters, cluster) = (voters.join(","), cluster_id());
        let options = replicated(options, size);
        let seated = controllers.into_iter().map(|(node, controller)| {
            let seat = Seat {
                node,
                controller,
                voters: voters.clone(),
                cluster: Some(cluster.clone()),
            };
            Broker::seated(&options, seat)
        });
        let brokers: Vec<_> = seated.collect();
        // None answers before most are there.
        brokers.iter().for_each(Broker::begin);
        brokers.iter().for_each(Broker::wait);
        Self { brokers }
    }

    /// Its brokers.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// All of them, for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let all: Vec<_> = self.brokers.iter().map(Broker::bootstrap).collect();
        all.join(",")
    }
}

/// What makes the loss of a broker no loss of data. What `options` has already holds.
fn replicated(options: &Options, size: u32) -> Options {
    let copies = size.min(COPIES);
    let needed = copies.saturating_sub(1).max(1);
    let mut replicated = Options::new();
    for (name, value) in [
        ("default.replication.factor", copies),
        ("min.insync.replicas", needed),
        ("offsets.topic.replication.factor", copies),
        ("offsets.topic.num.partitions", size),
        ("transaction.state.log.replication.factor", copies),
        ("transaction.state.log.min.isr", needed),
        ("transaction.state.log.num.partitions", size),
        ("share.coordinator.state.topic.replication.factor", copies),
        ("share.coordinator.state.topic.min.isr", needed),
    ] {
        replicated = replicated.property(name, &value.to_string());
    }
    replicated
        .property("unclean.leader.election.enable", "false")
        .then(options)
}

/// An id that Kafka takes: 22 characters of its base64.
fn cluster_id() -> String {
    let mut hash = DefaultHasher::new();
    unique("cluster").hash(&mut hash);
    format!("clvstr{:016x}", hash.finish())
}
