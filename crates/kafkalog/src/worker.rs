//! One worker on Kafka: a member of the group, a transactional producer, and the inputs of the
//! tasks that it has.
//!
//! Invariants:
//! - One transaction holds a commit's outputs, changelog, routed records, commit records and
//!   positions. After any failure of it, reading stands at the committed positions again.
//! - The group is looked after only when it is polled ([`MemberLog::poll`]): between commits, so that a
//!   task that goes has nothing uncommitted.
//! - A task is read only after it was claimed ([`MemberLog::claim`]): its owner record is committed,
//!   under the present membership, together with the positions that reading starts from.
//!
//! The steps of the protocol, and what happens if the process dies between any two of them, are in
//! docs/commit-protocol.md.

mod claiming;
mod fencing;
mod handing_over;
mod transacting;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use domain::time::TimeMs;
use engine::group::{Change, ClaimError, Claimed, MemberLog, Span};
use engine::port::{CommitError, Committed, LogError, Read, Staged, TopicPartition, WorkerLog};
use engine::trial::{Beside, Place};
use failpoint::Point;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use crate::cluster::Cluster;
use crate::error::{KafkaLogError, words};
use crate::group::Group;
use crate::input::Input;
use crate::reader::Reader;
use crate::transactions::{Phases, Stopping, Transactions};

use fencing::register;
use transacting::mark_of;

pub use fencing::Fencing;
pub use handing_over::HandOver;

/// Key, in the table of bookkeeping, of the record that says who owns a task.
pub const OWNER_KEY: &[u8] = b"owner";

/// How long an idle worker leaves positions behind the markers of transactions.
const SETTLE_AFTER: Duration = Duration::from_millis(200);

/// A worker's side of the cluster.
pub struct KafkaWorker {
    cluster: Arc<Cluster>,
    number: u32,
    /// Told apart from every other process that ever had this transactional id.
    nonce: String,
    transactions: Transactions,
    inputs: BTreeMap<TopicPartition, Input>,
    /// What stands beside each task's position in `internal.routed`.
    beside: BTreeMap<u32, Beside>,
    consumer: Arc<BaseConsumer<Group>>,
    last_poll: Instant,
    /// When positions were last committed.
    last_commit: Instant,
    fenced: Option<Fencing>,
}

impl KafkaWorker {
    /// Joins the group as worker `number` of this instance. `nonce` tells this start of it from
    /// every other. To be called by the thread that will do the work.
    ///
    /// # Errors
    /// The cluster does not answer, or a client refuses its properties.
    pub fn join(
        cluster: &Arc<Cluster>,
        number: u32,
        nonce: &str,
        stopping: Stopping,
    ) -> Result<KafkaWorker, KafkaLogError> {
        let settings = cluster.settings();
        let id = settings.transactional_id(number);
        let mut transactions = Transactions::new(cluster, &id, stopping)?;
        register(cluster, &mut transactions, &id, nonce)?;
        let routed = Arc::clone(&cluster.topics().routed);
        let mut consumer = BaseConsumer::from_config_and_context(
            &settings.member(number),
            Group::new(Arc::clone(&routed)),
        )
        .map_err(KafkaLogError::Client)?;
        let waker = thread::current();
        consumer.set_nonempty_callback(move || waker.unpark());
        consumer
            .subscribe(&[&routed])
            .map_err(|e| KafkaLogError::failed("joining the group", e))?;
        let now = Instant::now();
        Ok(KafkaWorker {
            cluster: Arc::clone(cluster),
            number,
            nonce: nonce.to_owned(),
            transactions,
            inputs: BTreeMap::new(),
            beside: BTreeMap::new(),
            consumer: Arc::new(consumer),
            last_poll: now,
            last_commit: now,
            fenced: None,
        })
    }

    /// Waits until there may be something to do, at most `timeout`.
    pub fn wait(&self, timeout: Duration) {
        thread::park_timeout(timeout);
    }

    fn committed(&mut self, positions: &[(TopicPartition, u64)]) {
        self.last_commit = Instant::now();
        for (at, next) in positions {
            if let Some(input) = self.inputs.get_mut(at) {
                input.committed = *next;
                input.committed_at = self.last_commit;
            }
        }
    }

    /// How long the phases of the last transaction took.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.transactions.phases()
    }

    /// Records of a task's inputs that are not consumed, as of the broker's last answers, and when
    /// the last one that was read had been written, if any are left.
    #[must_use]
    pub fn lag(&self, task: u32) -> (u64, Option<TimeMs>) {
        let mut records = 0;
        let mut oldest = None;
        for input in self.inputs.values().filter(|input| input.task == task) {
            let end = input.queue.end().unwrap_or(input.committed);
            // Markers of transactions are no records.
            let behind = end.saturating_sub(input.behind_markers(input.committed));
            if behind > 0 {
                records += behind;
                oldest = oldest.into_iter().chain(input.last_read).min();
            }
        }
        (records, oldest)
    }

    /// The partition whose position has something beside it.
    fn routed_of(&self, task: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.cluster.topics().routed),
            partition: task,
        }
    }

    /// Every partition that it reads, with its task.
    pub fn assignment(&self) -> impl Iterator<Item = (u32, &TopicPartition)> {
        self.inputs.iter().map(|(at, input)| (input.task, at))
    }
}

impl WorkerLog for KafkaWorker {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let Some(input) = self.inputs.get_mut(source) else {
            return Err(LogError(format!(
                "{} is not one of this worker's inputs: this is a bug, please report it",
                words(source)
            )));
        };
        let records = input.take(source, max);
        if let Some(what) = input.failed.take() {
            return Err(
                KafkaLogError::failed("reading", format!("{}: {what}", words(source))).into(),
            );
        }
        if !records.is_empty() {
            input.waiting_since = None;
            // Who reads one at a time says which one he tries, and meets it then.
            if max > 1 {
                for record in &records {
                    self.meet(source, record.offset);
                }
            }
            return Ok(Read::Records(records));
        }
        if input.has_caught_up() {
            input.waiting_since = None;
            return Ok(Read::CaughtUp);
        }
        let since = *input.waiting_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.cluster.settings().max_task_idle {
            return Ok(Read::CaughtUp);
        }
        Ok(Read::NotYet)
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        let mut positions: Vec<(TopicPartition, u64)> = Vec::new();
        for (at, next) in staged.iter().flat_map(|work| &work.positions) {
            let Some(input) = self.inputs.get_mut(at) else {
                return Err(CommitError::Halt(format!(
                    "{} is not one of this worker's inputs: this is a bug, please report it",
                    words(at)
                )));
            };
            positions.push((at.clone(), input.behind_markers(*next)));
        }
        let mut beside = self.beside.clone();
        for work in &staged {
            let stands = beside.entry(work.task).or_default();
            *stands = stands.committed(work.head, &positions);
        }
        // Positions of inputs where little happens go along now and then; and those that heads stand
        // beside, with every commit of their tasks: also so that no commit is without positions.
        // librdkafka sends none of those, and nobody would check the membership of a worker whose
        // timers alone have something to say.
        let consumed: BTreeSet<_> = positions.iter().map(|(at, _)| at.clone()).collect();
        for (at, input) in &self.inputs {
            let has_head = at.topic == self.cluster.topics().routed
                && staged.iter().any(|work| work.task == input.task);
            if (has_head || input.is_old()) && !consumed.contains(at) {
                positions.push((at.clone(), input.committed));
            }
        }
        let offsets = self.transact(&staged, &positions, &beside)?;
        self.beside = beside;
        self.committed(&positions);
        let committed = |work: Staged| {
            let end = offsets.get(&mark_of(work.task)).map_or(0, |at| at + 1);
            work.into_committed(end)
        };
        Ok(staged.into_iter().map(committed).collect())
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        self.try_record(tasks, place)
    }
}

impl MemberLog for KafkaWorker {
    type Error = KafkaLogError;
    type Changelog = Reader;

    fn poll(&mut self) -> Result<Vec<Change>, KafkaLogError> {
        // Events are served one at a time; a rebalance is one or two of them.
        for _ in 0..4 {
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                let code = error.rdkafka_error_code();
                if code == Some(RDKafkaErrorCode::InvalidSessionTimeout) {
                    return Err(KafkaLogError::failed(
                        "joining the group",
                        "`kafka.session_timeout` is not within what the brokers allow: 6 s to 30 \
                         min, or their group.min.session.timeout.ms and \
                         group.max.session.timeout.ms",
                    ));
                }
                if matches!(
                    code,
                    Some(
                        RDKafkaErrorCode::UnknownTopicOrPartition
                            | RDKafkaErrorCode::TopicAuthorizationFailed
                            | RDKafkaErrorCode::GroupAuthorizationFailed
                            | RDKafkaErrorCode::FencedInstanceId
                            | RDKafkaErrorCode::Fatal
                    )
                ) {
                    return Err(KafkaLogError::failed("the group", error));
                }
                tracing::info!(target: "kafka", worker = self.number, %error, "while polling");
            }
        }
        self.last_poll = Instant::now();
        let changes = self.consumer.context().changes();
        let changes = changes.map_err(|e| KafkaLogError::Restart(format!("rebalancing: {e}")))?;
        for change in &changes {
            if let Change::Revoked(tasks) | Change::Lost(tasks) = change {
                failpoint::reach(Point::MidRevoke);
                self.inputs.retain(|_, input| !tasks.contains(&input.task));
                self.beside.retain(|task, _| !tasks.contains(task));
            }
        }
        Ok(changes)
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<KafkaLogError>> {
        self.claim_all(tasks)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<Reader, KafkaLogError> {
        self.cluster.reader(spans)
    }

    /// Where it has been quiet for a moment; and all positions now and then, before brokers forget
    /// them.
    fn settle(&mut self) -> Result<(), CommitError> {
        if self.last_commit.elapsed() < SETTLE_AFTER {
            return Ok(());
        }
        let behind = self.inputs.iter().filter_map(|(at, input)| {
            let next = input.behind_markers(input.committed);
            let has_claim = || {
                self.beside
                    .get(&input.task)
                    .is_some_and(|b| b.trial.is_open())
            };
            let is_due = next > input.committed
                || input.is_old()
                || at.topic == self.cluster.topics().routed && has_claim();
            is_due.then(|| (at.clone(), next))
        });
        let positions: Vec<_> = behind.collect();
        if positions.is_empty() {
            return Ok(());
        }
        let mut beside = self.beside.clone();
        for (task, stands) in &mut beside {
            if positions.iter().any(|(at, _)| *at == self.routed_of(*task)) {
                *stands = stands.moved(&positions);
            }
        }
        self.transact(&[], &positions, &beside)?;
        self.beside = beside;
        self.committed(&positions);
        Ok(())
    }
}
