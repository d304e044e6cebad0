//! One worker of the floor: a consumer in the group and a transactional producer, on one thread.
//!
//! Invariants:
//! - Nothing is fetched before the clock runs.
//! - Positions are committed in the transaction that has the records which they are behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use wire::partition_of;

use super::{Shared, Until};
use crate::error::BenchError;
use crate::quantiles::Samples;
use crate::sending::{DRAIN_STEP, send};
use crate::setup::Setup;

/// A worker that waits for records looks up this often.
const LOOK: Duration = Duration::from_millis(5);
/// For what must be done by then, on any broker that is alive.
const PATIENCE: Duration = Duration::from_secs(60);

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
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) commits: Samples,
    pub(super) last_commit: Option<Instant>,
}

pub(super) struct Worker<'a> {
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
    pub(super) fn start(
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

    pub(super) fn run(mut self, ready: impl Fn()) -> Result<Tally, BenchError> {
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
