//! A worker's log on Kafka: with a schema registry, records wait in it until their schema is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use engine::group::{Change, ClaimError, Claimed, MemberLog, Span};
use engine::port::{CommitError, Committed, LogError, Read, Staged, TopicPartition, WorkerLog};
use engine::trial::Place;
use kafkalog::{KafkaLogError, KafkaWorker, Reader};
use registry::{Resolving, Waking};
use server::Metrics;

use crate::deployment::Deployment;

/// How often the registry is looked at, and told about in metrics.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is logged that records wait.
const REMIND: Duration = Duration::from_secs(30);
/// Records that wait for less are not worth a line.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// Waiting partitions that are named at a time.
const NAMED: usize = 5;

/// A worker's log.
pub(super) enum Source {
    /// Every schema is known from the start.
    Plain(Box<KafkaWorker>),
    /// Others are asked for.
    Resolving {
        log: Box<Resolving<KafkaWorker>>,
        looked: Instant,
        reminded: Option<Instant>,
        /// Number of tasks of the application.
        tasks: u32,
        /// Wakes the worker when a schema has come, for as long as it lives.
        _waking: Waking,
    },
}

impl Source {
    pub(super) fn new(log: KafkaWorker, deployment: &Deployment) -> Source {
        let Some(registry) = &deployment.registry else {
            return Source::Plain(Box::new(log));
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
            looked: Instant::now(),
            reminded: None,
            tasks: deployment.config.partitions,
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

    /// Says now and then which records wait for a schema, and, to `metrics`, how the registry is doing.
    pub(super) fn tell_waiting(&mut self, deployment: &Deployment, metrics: Option<&Metrics>) {
        let Source::Resolving {
            log,
            looked,
            reminded,
            ..
        } = self
        else {
            return;
        };
        if looked.elapsed() < LOOK {
            return;
        }
        *looked = Instant::now();
        if let (Some(metrics), Some(registry)) = (metrics, &deployment.registry) {
            let health = registry.health();
            metrics.registry_pending.set(health.pending as i64);
            let told = metrics.registry_failures.get();
            let failures = health.failures.saturating_sub(told);
            metrics.registry_failures.inc_by(failures);
        }
        if reminded.is_some_and(|last| last.elapsed() < REMIND) {
            return;
        }
        let waiting = log.held().filter(|held| held.waited >= WORTH_TELLING);
        for held in waiting.take(NAMED) {
            *reminded = Some(Instant::now());
            tracing::warn!(
                topic = &*held.source.topic,
                partition = held.source.partition,
                offset = held.offset,
                schema = held.id,
                seconds = held.waited.as_secs(),
                error = held.last_error.as_deref(),
                "records wait for their schema from the registry"
            );
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

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        match self {
            Source::Plain(log) => log.trying(tasks, place),
            Source::Resolving { log, .. } => log.trying(tasks, place),
        }
    }
}

impl MemberLog for Source {
    type Error = KafkaLogError;
    type Changelog = Reader;

    fn poll(&mut self) -> Result<Vec<Change>, KafkaLogError> {
        let changes = self.kafka().poll()?;
        if let Source::Resolving { log, tasks: n, .. } = self {
            for change in &changes {
                if let Change::Revoked(tasks) | Change::Lost(tasks) = change {
                    log.forget(|at| tasks.contains(&(at.partition % *n)));
                }
            }
        }
        Ok(changes)
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<KafkaLogError>> {
        self.kafka().claim(tasks)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<Reader, KafkaLogError> {
        self.kafka().changelog(spans)
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        let settled = self.kafka().settle();
        if let (Err(_), Source::Resolving { log, .. }) = (&settled, self) {
            // What waits will be read again.
            log.forget(|_| true);
        }
        settled
    }
}
