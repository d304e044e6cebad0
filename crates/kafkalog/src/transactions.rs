//! A transactional producer: one transaction after the other, each with a named outcome.
//!
//! Invariants: after an error that asks for it the transaction is aborted, and the producer is used
//! again; after a fatal one it is not. What is committed was delivered, and where is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::port::{OutRecord, TopicName};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rustc_hash::FxHashMap;

use crate::adding::Adding;
use crate::cluster::Cluster;
use crate::context;
use crate::dead_letter;
use crate::error::KafkaLogError;
use crate::native::{ProduceError, TopicHandle, TransactionError, commit_transaction, produce};

/// How long one call waits before the stop token is looked at.
const SLICE: Duration = Duration::from_secs(2);
/// How long a delivery report may lag behind the commit that it belongs to.
const REPORTS: Duration = Duration::from_secs(10);

/// Asks whether to give up waiting.
pub type Stopping = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why a transaction did not come about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was aborted, or must be: nothing of it counts.
    Abort(String),
    /// The producer is fenced: somebody or the broker has ended its transactions.
    Fenced(String),
    /// Nobody knows.
    Unknown(String),
    /// It can never succeed as it is.
    Halt(KafkaLogError),
}

/// How long the phases of the last transaction took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Phases {
    /// Handing the records to the producer.
    pub produce: Duration,
    /// Adding the offsets.
    pub offsets: Duration,
    /// Sending what was left to send, and the commit itself.
    pub commit: Duration,
}

/// Delivery reports of marked records.
#[derive(Default)]
pub(crate) struct Reports {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// Offset by mark.
    offsets: BTreeMap<usize, u64>,
    /// The first record that could not be delivered.
    failed: Option<(RDKafkaErrorCode, String, usize)>,
}

/// Receives delivery reports on the producer's own thread.
pub(crate) struct Delivery(Arc<Reports>);

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::report(&error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, mark: usize) {
        match result {
            Ok(_) if mark == 0 => {}
            Ok(message) => {
                let offset = u64::try_from(message.offset()).unwrap_or(0);
                self.0.note(|seen| {
                    seen.offsets.insert(mark, offset);
                });
            }
            Err((error, message)) => {
                let code = error
                    .rdkafka_error_code()
                    .unwrap_or(RDKafkaErrorCode::Unknown);
                let size = message.key_len() + message.payload_len();
                self.0.note(|seen| {
                    seen.failed
                        .get_or_insert_with(|| (code, message.topic().to_owned(), size));
                });
            }
        }
    }
}

impl Reports {
    fn note(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `marks` have been reported.
    fn take(&self, marks: usize) -> Option<BTreeMap<usize, u64>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |seen: &mut Seen| seen.offsets.len() < marks;
        let (mut seen, _) = self
            .changed
            .wait_timeout_while(seen, REPORTS, missing)
            .unwrap_or_else(PoisonError::into_inner);
        (seen.offsets.len() >= marks).then(|| std::mem::take(&mut seen.offsets))
    }

    fn clear(&self) {
        self.note(|seen| *seen = Seen::default());
    }

    fn failed(&self) -> Option<(RDKafkaErrorCode, String, usize)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.failed.clone()
    }
}

/// A transactional producer.
pub(crate) struct Transactions {
    producer: Arc<ThreadedProducer<Delivery>>,
    adding: Adding,
    /// How long adding positions may take: longer than the broker lets a transaction be open.
    longest: Duration,
    reports: Arc<Reports>,
    topics: FxHashMap<TopicName, TopicHandle<Delivery>>,
    dead_letters: TopicName,
    /// Dead letters of more bytes are cut.
    longest_dead_letter: usize,
    marks: usize,
    stopping: Stopping,
    began: Instant,
    phases: Phases,
}

impl Transactions {
    /// Makes the producer with transactional id `id`, and ends whatever an earlier one with that id
    /// had begun.
    pub(crate) fn new(
        cluster: &Cluster,
        id: &str,
        stopping: Stopping,
    ) -> Result<Transactions, KafkaLogError> {
        let reports = Arc::new(Reports::default());
        let config = cluster
            .settings()
            .transactional(id, cluster.largest_record());
        let context = Delivery(Arc::clone(&reports));
        let producer = ThreadedProducer::from_config_and_context(&config, context)
            .map_err(KafkaLogError::Client)?;
        let producer = Arc::new(producer);
        let (adds, gives_up) = (Arc::clone(&producer), Arc::clone(&stopping));
        let adding = Adding::new(move |(positions, member)| {
            patiently(&adds, &gives_up, "send_offsets_to_transaction", |p| {
                p.send_offsets_to_transaction(positions, member, SLICE)
                    .map_err(translated)
            })
        });
        let transactions = Transactions {
            producer,
            adding,
            longest: cluster.settings().transaction_timeout + SLICE,
            reports,
            topics: FxHashMap::default(),
            dead_letters: Arc::clone(&cluster.topics().dead_letters),
            longest_dead_letter: cluster.longest_dead_letter(),
            marks: 0,
            stopping,
            began: Instant::now(),
            phases: Phases::default(),
        };
        transactions
            .patiently("init_transactions", |p| {
                p.init_transactions(SLICE).map_err(translated)
            })
            .map_err(|error| KafkaLogError::failed("beginning transactions", error))?;
        Ok(transactions)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        self.reports.clear();
        self.marks = 0;
        self.began = Instant::now();
        let begun = self.producer.begin_transaction();
        begun.map_err(|e| self.failure(translated(e)))
    }

    /// Since when the present transaction, or the last one, has been open.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// How long the phases of the last transaction took.
    pub(crate) fn phases(&self) -> Phases {
        self.phases
    }

    /// Adds a record; `mark`, if not 0, asks for the offset that it gets.
    pub(crate) fn send(&mut self, record: &OutRecord, mark: usize) -> Result<(), Failure> {
        if mark != 0 {
            self.marks += 1;
        }
        if !self.topics.contains_key(&record.target.topic) {
            let name = &record.target.topic;
            let handle = TopicHandle::new(&self.producer, name)
                .ok_or_else(|| Failure::Halt(KafkaLogError::UnknownTopic(name.to_string())))?;
            self.topics.insert(Arc::clone(name), handle);
        }
        let cut;
        let is_too_long = dead_letter::size_of(record) > self.longest_dead_letter;
        let record = if is_too_long && record.target.topic == self.dead_letters {
            cut = dead_letter::cut(record);
            &cut
        } else {
            record
        };
        let handle = &self.topics[&record.target.topic];
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        loop {
            let partition = record.target.partition;
            match produce(handle, partition, key, value, &record.headers, mark) {
                Ok(()) => return Ok(()),
                // The queue empties by what was sent; its own thread serves the reports.
                Err(ProduceError::Full) if !(self.stopping)() => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(ProduceError::Full) => return Err(Failure::Abort("stopped".to_owned())),
                Err(ProduceError::Refused(code)) => {
                    let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    return Err(self.refused(code, &record.target.topic, size));
                }
            }
        }
    }

    /// Waits until everything that was added is with the brokers, or could not be delivered.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        while let Err(error) = self.producer.flush(SLICE) {
            if (self.stopping)() || self.began.elapsed() > self.longest {
                return Err(Failure::Abort(format!(
                    "records are not delivered: {error}"
                )));
            }
        }
        Ok(())
    }

    /// Adds the positions of the group's member to the transaction.
    pub(crate) fn offsets(
        &mut self,
        positions: TopicPartitionList,
        member: ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        self.phases.produce = started - self.began;
        let sent = self.adding.add((positions, member), self.longest);
        self.phases.offsets = started.elapsed();
        sent.map_err(|e| self.failure(e))
    }

    /// Commits, and answers the offset of every marked record.
    pub(crate) fn commit(&mut self) -> Result<BTreeMap<usize, u64>, Failure> {
        let started = Instant::now();
        let committed = self.patiently("commit_transaction", |p| commit_transaction(p, SLICE));
        self.phases.commit = started.elapsed();
        if let Err(error) = committed {
            return Err(match self.failure(error) {
                // The end of the transaction may have been asked for already.
                Failure::Unknown(what) => Failure::Unknown(format!("in the commit: {what}")),
                known => known,
            });
        }
        self.reports.take(self.marks).ok_or_else(|| {
            Failure::Unknown("committed, but not told where the records are".to_owned())
        })
    }

    /// Aborts the transaction that is open.
    pub(crate) fn abort(&mut self) -> Result<(), Failure> {
        let aborted = self.patiently("abort_transaction", |p| {
            p.abort_transaction(SLICE).map_err(translated)
        });
        aborted.map_err(|error| match error {
            // Nothing was begun on any partition.
            error if error.code == RDKafkaErrorCode::State && !error.fatal => {
                Failure::Unknown(error.to_string())
            }
            error => self.failure(error),
        })
    }

    fn patiently(
        &self,
        what: &'static str,
        call: impl Fn(&ThreadedProducer<Delivery>) -> Result<(), TransactionError>,
    ) -> Result<(), TransactionError> {
        patiently(&self.producer, &self.stopping, what, call)
    }

    fn refused(&self, code: RDKafkaErrorCode, topic: &str, size: usize) -> Failure {
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => Failure::Halt(KafkaLogError::TooLarge {
                topic: topic.to_owned(),
                size,
            }),
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition => {
                Failure::Halt(KafkaLogError::UnknownTopic(topic.to_owned()))
            }
            code => match self.producer.client().fatal_error() {
                Some((code, text)) => self.failure(TransactionError {
                    code,
                    fatal: true,
                    retriable: false,
                    abortable: false,
                    text,
                }),
                None => Failure::Abort(format!("a record for {topic} was refused: {code}")),
            },
        }
    }

    fn failure(&self, error: TransactionError) -> Failure {
        if let Some((code, topic, size)) = self.reports.failed()
            && code == RDKafkaErrorCode::MessageSizeTooLarge
        {
            return Failure::Halt(KafkaLogError::TooLarge { topic, size });
        }
        let text = error.to_string();
        match error.code {
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::InvalidProducerIdMapping
            | RDKafkaErrorCode::UnknownProducerId => Failure::Fenced(text),
            _ if error.abortable && !error.fatal => Failure::Abort(text),
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => Failure::Halt(KafkaLogError::failed(
                "a transaction is not allowed (`clvstream topics plan --acls` lists what is needed)",
                text,
            )),
            // Not classified: counts as the worst.
            _ => Failure::Unknown(text),
        }
    }
}

/// Repeats a call for as long as librdkafka says that it may be repeated.
fn patiently(
    producer: &ThreadedProducer<Delivery>,
    stopping: &Stopping,
    what: &'static str,
    call: impl Fn(&ThreadedProducer<Delivery>) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    loop {
        match call(producer) {
            Err(error) if error.retriable && !error.fatal && !error.abortable => {
                if stopping() {
                    return Err(error);
                }
                tracing::info!(target: "kafka", call = what, %error, "waiting for the broker");
            }
            done => return done,
        }
    }
}

fn translated(error: KafkaError) -> TransactionError {
    match error {
        KafkaError::Transaction(error) => TransactionError {
            code: error.code(),
            fatal: error.is_fatal(),
            retriable: error.is_retriable(),
            abortable: error.txn_requires_abort(),
            text: error.string(),
        },
        other => TransactionError {
            code: other
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown),
            fatal: false,
            retriable: false,
            abortable: false,
            text: other.to_string(),
        },
    }
}
