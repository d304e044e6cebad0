//! From an event to what it caused: a read_committed reader of output topics beside the paced load.
//!
//! Invariant: the reader stands at the ends of its topics before the load begins, and reads on
//! until nothing more has come for a while after the load's end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::load::{due_in, now_micros, pace};
use crate::quantiles::{Milliseconds, Samples};
use crate::setup::Setup;

/// Events due this early in a run are not counted: connections are made, caches are cold.
const WARM_UP: Duration = Duration::from_secs(5);
/// After the load's end, outputs have come to an end when none came for this long.
const QUIET: Duration = Duration::from_secs(3);
/// The longest that the reader goes on after the load's end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Latencies under a paced load.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Events a second that were to be written.
    pub(crate) asked_per_second: f64,
    /// That were.
    pub(crate) events_per_second: f64,
    /// The latest that an event was written, behind its time.
    pub(crate) writer_late_ms: f64,
    /// Output records read that name a counted event.
    pub(crate) samples: u64,
    /// From when an event was due to when the reader had an output of it.
    pub(crate) visible_ms: Milliseconds,
}

/// Writes the paced load and reads `outputs`.
///
/// # Errors
/// Either fails.
pub(crate) fn measure(
    setup: &Setup,
    outputs: &[String],
    rate: f64,
    span: Duration,
    seed: u64,
) -> Result<Latency, BenchError> {
    let consumer = reader(setup, outputs)?;
    let is_over = AtomicBool::new(false);
    let (kept, seen) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&consumer, &is_over));
        let kept = pace(setup, rate, WARM_UP + span, seed);
        is_over.store(true, Ordering::SeqCst);
        let seen = reading
            .join()
            .unwrap_or_else(|_| Err(BenchError::failed("the reader of outputs panicked")));
        (kept, seen)
    });
    let (kept, seen) = (kept?, seen?);
    let counted_from = kept.first_due + WARM_UP.as_micros() as u64;
    let mut samples = Samples::default();
    for one in seen.iter().filter(|one| one.due >= counted_from) {
        samples.push_micros(one.seen.saturating_sub(one.due));
    }
    Ok(Latency {
        asked_per_second: rate,
        events_per_second: kept.per_second,
        writer_late_ms: kept.late.as_secs_f64() * 1e3,
        samples: samples.len(),
        visible_ms: samples.milliseconds(),
    })
}

fn reader(setup: &Setup, outputs: &[String]) -> Result<BaseConsumer, BenchError> {
    let consumer: BaseConsumer = setup
        .consumer("bench-latency-reader")
        .create()
        .map_err(BenchError::kafka("making the reader of outputs"))?;
    let mut all = TopicPartitionList::new();
    for topic in outputs {
        for partition in 0..i32::try_from(setup.partitions).unwrap_or(i32::MAX) {
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, PATIENCE)
                .map_err(BenchError::kafka("finding the ends of the outputs"))?;
            all.add_partition_offset(topic, partition, Offset::Offset(end))
                .map_err(BenchError::kafka("listing the outputs"))?;
        }
    }
    consumer
        .assign(&all)
        .map_err(BenchError::kafka("reading the outputs"))?;
    Ok(consumer)
}

/// An output of a paced event, both in microseconds since 1970.
struct Seen {
    due: u64,
    seen: u64,
}

fn read(consumer: &BaseConsumer, is_over: &AtomicBool) -> Result<Vec<Seen>, BenchError> {
    let mut outputs = Vec::new();
    let mut last = Instant::now();
    let mut over_since = None;
    loop {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(record)) => {
                let now = now_micros();
                last = Instant::now();
                if let Some(due) = record.payload().and_then(due_in) {
                    outputs.push(Seen { due, seen: now });
                }
            }
            Some(Err(source)) => {
                return Err(BenchError::Kafka {
                    what: "reading the outputs",
                    source,
                });
            }
            None => {}
        }
        if is_over.load(Ordering::SeqCst) {
            let since = *over_since.get_or_insert_with(Instant::now);
            let is_quiet = since.max(last).elapsed() >= QUIET;
            if is_quiet || since.elapsed() >= PATIENCE {
                return Ok(outputs);
            }
        }
    }
}
