//! The floor: the least that a consumer of these topics has to do under exactly-once. Each worker
//! thread takes records in, writes each of them out again, and commits both in one transaction. No
//! state, no decoding, no changelog.
//!
//! Invariants:
//! - The clock runs from the moment at which every worker has its partitions and begins to fetch,
//!   to the end of the last commit.
//! - A record is counted once its transaction is committed; a run that was told how many there are
//!   ends when so many are, and fails if there turn out to be more.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use wire::partition_of;

use crate::error::BenchError;
use crate::quantiles::{Milliseconds, Samples};
use crate::setup::Setup;

/// A worker that waits for records looks up this often.
const LOOK: Duration = Duration::from_millis(5);
/// For what must be done by then, on any broker that is alive.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the wrapper's flush would wait for in one go is waited for in steps of this.
const DRAIN_STEP: Duration = Duration::from_millis(1);

/// What the floor did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FloorReport {
    /// Records committed.
    pub(crate) records: u64,
    /// From the first fetch to the last commit.
    pub(crate) seconds: f64,
    /// Transactions committed.
    pub(crate) commits: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// Of one commit: from the offsets to the answer.
    pub(crate) commit_ms: Milliseconds,
}

/// What ends a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// So many records are committed.
    Records(u64),
    /// Standard input is closed.
    StdinCloses,
}

/// Runs the floor as `group`; `ready` is called when the clock starts.
///
/// # Errors
/// A worker failed; what the others did is of no use then.
pub(crate) fn run(
    setup: &Setup,
    group: &str,
    until: Until,
    ready: impl Fn() + Sync,
) -> Result<FloorReport, BenchError> {
    let shared = Shared::new(setup.workers);
    if until == Until::StdinCloses {
        watch_stdin(&shared.stop);
    }
    let tallies = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..setup.workers)
            .map(|number| {
                let (shared, ready) = (&shared, &ready);
                scope.spawn(move || {
                    let done = Worker::start(setup, group, number, until, shared)
                        .and_then(|worker| worker.run(ready));
                    if done.is_err() {
                        shared.stop();
                    }
                    done
                })
            })
            .collect();
        let joined: Result<Vec<Tally>, BenchError> = workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(BenchError::failed("a worker of the floor panicked")))
            })
            .collect();
        joined
    })?;
    let records: u64 = tallies.iter().map(|tally| tally.records).sum();
    if let Until::Records(expected) = until
        && records != expected
    {
        return Err(BenchError::failed(format!(
            "{expected} records were to be there, {records} were read"
        )));
    }
    let started = shared.started();
    let last = tallies.iter().filter_map(|tally| tally.last_commit).max();
    let seconds = match (started, last) {
        (Some(started), Some(last)) => last.duration_since(started).as_secs_f64(),
        _ => 0.0,
    };
    let mut commits = Samples::default();
    for tally in &tallies {
        commits.extend(&tally.commits);
    }
    Ok(FloorReport {
        records,
        seconds,
        commits: commits.len(),
        bytes: tallies.iter().map(|tally| tally.bytes).sum(),
        commit_ms: commits.milliseconds(),
    })
}

/// What workers know of each other.
struct Shared {
    /// Partitions that each worker has.
    assigned: Vec<AtomicU32>,
    /// When the clock started.
    started: Mutex<Option<Instant>>,
    committed: AtomicU64,
    stop: std::sync::Arc<AtomicBool>,
}

impl Shared {
    fn new(workers: u32) -> Shared {
        Shared {
            assigned: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            started: Mutex::new(None),
            committed: AtomicU64::new(0),
            stop: std::sync::Arc::default(),
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn started(&self) -> Option<Instant> {
        *self.started.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Notes what worker `number` has; starts the clock, once, when all have something and all is
    /// had, and answers whether this call did.
    fn note(&self, number: u32, has: u32, of: u32) -> bool {
        let mut started = self.started.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(mine) = self.assigned.get(number as usize) {
            mine.store(has, Ordering::SeqCst);
        }
        let each = || self.assigned.iter().map(|n| n.load(Ordering::SeqCst));
        let is_complete = each().sum::<u32>() == of && each().all(|n| n > 0);
        if started.is_some() || !is_complete {
            return false;
        }
        *started = Some(Instant::now());
        true
    }
}

fn watch_stdin(stop: &std::sync::Arc<AtomicBool>) {
    let stop = std::sync::Arc::clone(stop);
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        stop.store(true, Ordering::SeqCst);
    });
}

/// Pauses what is assigned, so that nothing is fetched before the clock runs.
struct Pausing;

impl ClientContext for Pausing {}

impl ConsumerContext for Pausing {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // Should it fail, records come before the clock runs, which ends the run.
            let _ = consumer.pause(partitions);
        }
    }
}

/// Remembers that a record was not delivered.
#[derive(Default)]
struct Reports(AtomicBool);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// What one worker did.
#[derive(Default)]
struct Tally {
    records: u64,
    bytes: u64,
    commits: Samples,
    last_commit: Option<Instant>,
}

struct Worker<'a> {
    setup: &'a Setup,
    shared: &'a Shared,
    number: u32,
    until: Until,
    consumer: BaseConsumer<Pausing>,
    producer: BaseProducer<Reports>,
    /// Next offset per partition of what is not committed, by the topic's place in the inputs.
    positions: BTreeMap<(usize, i32), i64>,
    uncommitted: u64,
    tally: Tally,
}

impl<'a> Worker<'a> {
    fn start(
        setup: &'a Setup,
        group: &str,
        number: u32,
        until: Until,
        shared: &'a Shared,
    ) -> Result<Worker<'a>, BenchError> {
        let mut config = setup.consumer(group);
        // Nobody comes or goes while it runs, so the protocol makes no difference but for this: by
        // ranges each worker has the same partitions of every topic, as the program's tasks do.
        config.set("partition.assignment.strategy", "range");
        let consumer: BaseConsumer<Pausing> =
            BaseConsumer::from_config_and_context(&config, Pausing)
                .map_err(BenchError::kafka("making the floor's consumer"))?;
        let inputs: Vec<&str> = setup.inputs.iter().map(String::as_str).collect();
        consumer
            .subscribe(&inputs)
            .map_err(BenchError::kafka("subscribing to the input topics"))?;
        let mut config = setup.producer(Some(&format!("{group}-{number}")));
        // Nobody waits for a single record's report.
        config.set("delivery.report.only.error", "true");
        let producer: BaseProducer<Reports> =
            BaseProducer::from_config_and_context(&config, Reports::default())
                .map_err(BenchError::kafka("making the floor's producer"))?;
        producer
            .init_transactions(PATIENCE)
            .map_err(BenchError::kafka("beginning with transactions"))?;
        Ok(Worker {
            setup,
            shared,
            number,
            until,
            consumer,
            producer,
            positions: BTreeMap::new(),
            uncommitted: 0,
            tally: Tally::default(),
        })
    }

    fn run(mut self, ready: impl Fn()) -> Result<Tally, BenchError> {
        self.wait_for_all(ready)?;
        let assigned = self
            .consumer
            .assignment()
            .map_err(BenchError::kafka("asking what is assigned"))?;
        self.consumer
            .resume(&assigned)
            .map_err(BenchError::kafka("beginning to fetch"))?;
        let mut last_commit = Instant::now();
        while !self.is_done() {
            let due = last_commit + self.setup.commit_interval;
            self.take_in(due)?;
            let is_full = self.uncommitted as usize >= self.setup.max_batch;
            if self.uncommitted > 0 && (is_full || Instant::now() >= due) {
                self.commit()?;
                last_commit = Instant::now();
            }
        }
        if self.uncommitted > 0 {
            self.commit()?;
        }
        Ok(self.tally)
    }

    fn is_done(&self) -> bool {
        match self.until {
            Until::Records(all) => {
                let committed = self.shared.committed.load(Ordering::SeqCst);
                committed >= all || self.shared.is_stopped()
            }
            Until::StdinCloses => self.shared.is_stopped(),
        }
    }

    /// Joins the group; returns when every partition of the inputs is some worker's.
    fn wait_for_all(&self, ready: impl Fn()) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        let all = self.setup.partitions * u32::try_from(self.setup.inputs.len()).unwrap_or(1);
        while self.shared.started().is_none() {
            match self.consumer.poll(LOOK) {
                None => {}
                Some(Ok(_)) => {
                    return Err(BenchError::failed("a record came before the clock ran"));
                }
                Some(Err(source)) => {
                    return Err(BenchError::Kafka {
                        what: "joining the group",
                        source,
                    });
                }
            }
            let has = self
                .consumer
                .assignment()
                .map_err(BenchError::kafka("asking what is assigned"))?
                .count();
            if self
                .shared
                .note(self.number, u32::try_from(has).unwrap_or(0), all)
            {
                ready();
            }
            if self.shared.is_stopped() {
                return Err(BenchError::failed(
                    "stopped before the partitions were there",
                ));
            }
            if Instant::now() >= deadline {
                return Err(BenchError::failed(format!(
                    "not all {all} partitions of the inputs were assigned within {} s",
                    PATIENCE.as_secs()
                )));
            }
        }
        Ok(())
    }

    /// Takes records in and writes them out until a commit is due, or there is none for a moment.
    fn take_in(&mut self, due: Instant) -> Result<(), BenchError> {
        let mut wait = due.saturating_duration_since(Instant::now()).min(LOOK);
        if self.uncommitted == 0 && wait.is_zero() {
            wait = LOOK;
        }
        // The clock is looked at once in so many records.
        for _ in 0..1_000 {
            let polled = self.consumer.poll(std::mem::take(&mut wait));
            let record = match polled {
                None => break,
                Some(Ok(record)) => record,
                Some(Err(source)) => {
                    return Err(BenchError::Kafka {
                        what: "reading the inputs",
                        source,
                    });
                }
            };
            if self.uncommitted == 0 {
                self.producer
                    .begin_transaction()
                    .map_err(BenchError::kafka("beginning a transaction"))?;
            }
            let topic = record.topic();
            let index = self.setup.inputs.iter().position(|t| t == topic);
            let index = index.unwrap_or(usize::MAX);
            self.positions
                .insert((index, record.partition()), record.offset() + 1);
            let key = record.key().unwrap_or_default();
            let value = record.payload().unwrap_or_default();
            self.tally.bytes += (key.len() + value.len()) as u64;
            let to = partition_of(key, self.setup.partitions);
            let out = BaseRecord::to(&self.setup.floor_output)
                .key(key)
                .payload(value)
                .partition(i32::try_from(to).unwrap_or(0));
            send(&self.producer, out)?;
            self.uncommitted += 1;
            if self.uncommitted as usize >= self.setup.max_batch {
                break;
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BenchError> {
        let started = Instant::now();
        let mut offsets = TopicPartitionList::with_capacity(self.positions.len());
        for ((topic, partition), next) in std::mem::take(&mut self.positions) {
            let Some(topic) = self.setup.inputs.get(topic) else {
                return Err(BenchError::failed("a record of a topic that is no input"));
            };
            offsets
                .add_partition_offset(topic, partition, Offset::Offset(next))
                .map_err(BenchError::kafka("listing offsets"))?;
        }
        let Some(group) = self.consumer.group_metadata() else {
            return Err(BenchError::failed("the consumer is in no group"));
        };
        self.producer
            .send_offsets_to_transaction(&offsets, &group, PATIENCE)
            .map_err(BenchError::kafka("sending offsets"))?;
        // The wrapper's commit flushes first, 100 ms at a time: what is drained needs no flush.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(DRAIN_STEP);
        }
        if self.producer.context().0.load(Ordering::SeqCst) {
            return Err(BenchError::failed("a record was not delivered"));
        }
        self.producer
            .commit_transaction(Timeout::Never)
            .map_err(BenchError::kafka("committing a transaction"))?;
        let now = Instant::now();
        self.tally.commits.push(now.duration_since(started));
        self.tally.last_commit = Some(now);
        self.tally.records += self.uncommitted;
        self.shared
            .committed
            .fetch_add(self.uncommitted, Ordering::SeqCst);
        self.uncommitted = 0;
        Ok(())
    }
}

/// Hands a record to the producer, waiting for room where there is none.
pub(crate) fn send<C: ProducerContext<DeliveryOpaque = ()>>(
    producer: &BaseProducer<C>,
    record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), BenchError> {
    let mut record = record;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(DRAIN_STEP);
                record = back;
            }
            Err((source, _)) => {
                return Err(BenchError::Kafka {
                    what: "producing a record",
                    source,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{latency, load, topics};

    /// A deployment of its own on the broker that these tests share.
    fn setup(test: &str) -> Option<(Setup, tempfile::TempDir)> {
        let broker = kafkatest::Broker::shared(test)?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bench.toml");
        let text = format!(
            "application_id = \"{}\"\npartitions = 2\nworkers = 2\n[kafka]\nbootstrap = \"{}\"\n",
            kafkatest::unique("floor"),
            broker.bootstrap(),
        );
        std::fs::write(&file, text).unwrap();
        let setup = Setup::load(&file, &[]).unwrap();
        topics::create(&setup).unwrap();
        Some((setup, folder))
    }

    /// What a read_committed reader sees of the floor's output, until it stands still.
    fn outputs(setup: &Setup) -> Vec<Vec<u8>> {
        let consumer: BaseConsumer = setup.consumer("reader").create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..setup.partitions {
            all.add_partition_offset(
                &setup.floor_output,
                i32::try_from(partition).unwrap(),
                Offset::Beginning,
            )
            .unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut values = Vec::new();
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_secs(2) {
            if let Some(record) = consumer.poll(LOOK) {
                values.push(record.unwrap().payload().unwrap().to_vec());
                quiet_since = Instant::now();
            }
        }
        values
    }

    #[test]
    fn every_record_is_written_out_once() {
        let Some((setup, _folder)) = setup("every_record_is_written_out_once") else {
            return;
        };
        let bytes = load::fill(&setup, 20_000).unwrap();
        let ready = AtomicU32::new(0);
        let report = run(&setup, &setup.application, Until::Records(20_000), || {
            ready.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        assert_eq!((report.records, report.bytes), (20_000, bytes));
        assert_eq!(ready.into_inner(), 1);
        assert!(report.commits >= 2 && report.seconds > 0.0, "{report:?}");
        assert!(report.commit_ms.p50 > 0.0, "{report:?}");
        assert_eq!(outputs(&setup).len(), 20_000);
    }

    #[test]
    fn a_paced_event_becomes_visible_soon_after_its_commit() {
        let Some((setup, _folder)) = setup("a_paced_event_becomes_visible_soon_after_its_commit")
        else {
            return;
        };
        let (rate, span) = (200.0, Duration::from_secs(2));
        let warm_up_too = 200 * 7;
        let measured = std::thread::scope(|scope| {
            let (ready, started) = std::sync::mpsc::channel();
            let floor = scope.spawn({
                let setup = &setup;
                move || {
                    run(
                        setup,
                        &setup.application,
                        Until::Records(warm_up_too),
                        || {
                            let _ = ready.send(());
                        },
                    )
                }
            });
            started.recv_timeout(PATIENCE).unwrap();
            let outputs = std::slice::from_ref(&setup.floor_output);
            let measured = latency::measure(&setup, outputs, rate, span, 1).unwrap();
            assert_eq!(floor.join().unwrap().unwrap().records, warm_up_too);
            measured
        });
        // The events of the two seconds that count, each once.
        assert_eq!(measured.samples, 400);
        let ms = measured.visible_ms;
        assert!(
            0.0 < ms.p50 && ms.p50 <= ms.p99 && ms.p99 <= ms.max,
            "{ms:?}"
        );
    }

    #[test]
    fn more_records_than_were_said_to_be_there_are_a_failure() {
        let Some((setup, _folder)) = setup("more_records_than_were_said_to_be_there_are_a_failure")
        else {
            return;
        };
        load::fill(&setup, 100).unwrap();
        let error = run(&setup, &setup.application, Until::Records(50), || {}).unwrap_err();
        // How many depends on how they come: it ends with the batch in which the last one is reached.
        let said = error.to_string();
        assert!(said.contains("50 records were to be there"), "{said}");
    }
}
