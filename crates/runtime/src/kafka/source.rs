//! A worker's log on Kafka: with a schema registry, records wait in it until their schema is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use engine::port::{CommitError, Committed, LogError, Read, Staged, TopicPartition, WorkerLog};
use kafkalog::KafkaWorker;
use registry::{Resolving, Waking};

use crate::deployment::Deployment;

/// A worker's log.
pub(super) enum Source {
    /// Every schema is known from the start.
    Plain(KafkaWorker),
    /// Others are asked for.
    Resolving {
        log: Box<Resolving<KafkaWorker>>,
        /// Wakes the worker when a schema has come, for as long as it lives.
        _waking: Waking,
    },
}

impl Source {
    pub(super) fn new(log: KafkaWorker, deployment: &Deployment) -> Source {
        let Some(registry) = &deployment.registry else {
            return Source::Plain(log);
        };
        let routed = &deployment.setup.topics.routed;
        let inputs = deployment.all_inputs().into_iter().map(|(_, at)| at.topic);
        let topics: BTreeSet<_> = inputs.filter(|topic| topic != routed).collect();
        let configured = deployment.config.registry.as_ref();
        let give_up_after = configured.and_then(|configured| configured.give_up_after);
        let worker = thread::current();
        let waking = registry.on_change(move || worker.unpark());
        let schemas = deployment.known_schemas.clone();
        let registry = Arc::clone(registry);
        let log = Resolving::new(log, registry, schemas, topics, give_up_after);
        Source::Resolving {
            log: Box::new(log),
            _waking: waking,
        }
    }

    /// The worker's side of the cluster.
    pub(super) fn kafka(&mut self) -> &mut KafkaWorker {
        match self {
            Source::Plain(log) => log,
            Source::Resolving { log, .. } => log.log(),
        }
    }

    /// What waits of the partitions for which `is_moved` answers true is dropped: they are given up, or
    /// will be read again.
    pub(super) fn forget(&mut self, is_moved: impl Fn(&TopicPartition) -> bool) {
        if let Source::Resolving { log, .. } = self {
            log.forget(is_moved);
        }
    }
}

impl WorkerLog for Source {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        match self {
            Source::Plain(log) => log.read(source, max),
            Source::Resolving { log, .. } => log.read(source, max),
        }
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        match self {
            Source::Plain(log) => log.commit(staged),
            Source::Resolving { log, .. } => log.commit(staged),
        }
    }
}
