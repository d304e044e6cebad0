//! The floor: the least that a consumer of these topics has to do under exactly-once. Each worker
//! thread takes records in, writes each of them out again, and commits both in one transaction. No
//! state, no decoding, no changelog.
//!
//! Invariants:
//! - The clock runs from the moment at which every worker has its partitions and begins to fetch,
//!   to the end of the last commit.
//! - A record is counted once its transaction is committed; a run that was told how many there are
//!   ends when so many are, and fails if there turn out to be more.

mod worker;

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::quantiles::{Milliseconds, Samples};
use crate::setup::Setup;
use worker::{Tally, Worker};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::{Offset, TopicPartitionList};

    use super::*;
    use crate::{latency, load, topics};

    const LOOK: Duration = Duration::from_millis(5);
    const PATIENCE: Duration = Duration::from_secs(60);

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
