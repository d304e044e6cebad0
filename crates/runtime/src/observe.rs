//! What a service tells about its work: metrics, liveness, readiness.
//!
//! Invariant: counters tell what is committed. A batch that is done again after an abort counts
//! once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::time::TimeMs;
use engine::bookkeeping::Counts;
use engine::group::{Change, ClaimError, Claimed, MemberLog, Span};
use engine::port::{
    CommitError, Committed, LogError, OutRecord, Read, Record, Staged, Table, TopicName,
    TopicPartition, WorkerLog,
};
use engine::topics::Topics;
use engine::trial::Place;
use engine::worker::Owned;
use server::{
    CommitOutcome, IntCounter, Liveness, Metrics, Outcome, Readiness, Restoring, TaskMetrics,
};
use store::{Checkpoint, TaskStore};
use wire::RejectionClass;
use wire::output::ERROR_CLASS_HEADER;

use crate::error::RuntimeError;
use crate::workers::wall_clock;

/// How often gauges are refreshed.
const REFRESH: Duration = Duration::from_secs(1);

/// What the work reports to.
#[derive(Clone, Default)]
pub struct Observers {
    /// Metrics, if they are served.
    pub metrics: Option<Metrics>,
    /// Liveness, likewise.
    pub liveness: Option<Liveness>,
    /// Readiness, likewise.
    pub readiness: Option<Readiness>,
}

impl Observers {
    /// `restored` of `total` changelog records of `task` are read.
    pub(crate) fn restoring(&self, task: u32, restored: u64, total: u64) {
        if let Some(metrics) = &self.metrics {
            metrics.restoring(task, total.saturating_sub(restored));
        }
        if let Some(readiness) = &self.readiness {
            readiness.restoring(Restoring {
                task,
                restored_records: restored,
                total_records: total,
            });
        }
    }

    /// Caches and write buffers may take so many bytes.
    pub(crate) fn budget(&self, bytes: usize) {
        if let Some(metrics) = &self.metrics {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics.state_budget_bytes.set(bytes);
        }
    }

    pub(crate) fn ready(&self) {
        if let Some(readiness) = &self.readiness {
            readiness.ready();
        }
    }

    pub(crate) fn failed(&self, error: &RuntimeError) {
        if let Some(readiness) = &self.readiness {
            readiness.failed(error.to_string());
        }
    }
}

/// A worker's log that counts what is committed through it.
pub(crate) struct Metered<L> {
    log: L,
    meters: Option<Meters>,
}

impl<L: WorkerLog> Metered<L> {
    pub(crate) fn new(log: L, topics: &Topics, metrics: Option<&Metrics>) -> Metered<L> {
        let meters = metrics.map(|metrics| Meters::new(topics, metrics.clone()));
        Metered { log, meters }
    }

    /// The log itself.
    pub(crate) fn inner(&mut self) -> &mut L {
        &mut self.log
    }
}

impl<L: WorkerLog> WorkerLog for Metered<L> {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let read = self.log.read(source, max)?;
        if let (Some(meters), Read::Records(records)) = (&mut self.meters, &read) {
            meters.read(source, records);
        }
        Ok(read)
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        let Some(meters) = &mut self.meters else {
            return self.log.commit(staged);
        };
        let tally = meters.tally(&staged);
        let started = Instant::now();
        let result = self.log.commit(staged);
        meters.ended(&tally, started.elapsed(), result.as_ref().err());
        result
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        self.log.trying(tasks, place)
    }
}

impl<L: MemberLog> MemberLog for Metered<L> {
    type Error = L::Error;
    type Changelog = L::Changelog;

    fn poll(&mut self) -> Result<Vec<Change>, L::Error> {
        self.log.poll()
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<L::Error>> {
        self.log.claim(tasks)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<L::Changelog, L::Error> {
        self.log.changelog(spans)
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        self.log.settle()
    }
}

struct Meters {
    metrics: Metrics,
    outputs: [(TopicName, IntCounter); 3],
    dead_letters: TopicName,
    changelog: TopicName,
    /// Of every input: offset and time of what was read and is not committed.
    uncommitted: BTreeMap<TopicPartition, VecDeque<(u64, TimeMs)>>,
}

/// What a commit is about to write.
#[derive(Default)]
struct Tally {
    outputs: [u64; 3],
    changelog: u64,
    timers: u64,
    dead_letters: Vec<RejectionClass>,
    positions: Vec<(TopicPartition, u64)>,
}

impl Meters {
    fn new(topics: &Topics, metrics: Metrics) -> Meters {
        let counter = |topic: &TopicName| (Arc::clone(topic), metrics.output(topic));
        Meters {
            outputs: topics.outputs().map(counter),
            dead_letters: Arc::clone(&topics.dead_letters),
            changelog: Arc::clone(&topics.changelog),
            uncommitted: BTreeMap::new(),
            metrics,
        }
    }

    fn read(&mut self, source: &TopicPartition, records: &[Record]) {
        let times = records.iter().map(|r| (r.offset, r.timestamp));
        if let Some(known) = self.uncommitted.get_mut(source) {
            known.extend(times);
        } else if !records.is_empty() {
            self.uncommitted.insert(source.clone(), times.collect());
        }
    }

    fn tally(&self, staged: &[Staged]) -> Tally {
        let mut tally = Tally::default();
        for work in staged {
            for record in &work.records {
                let topic = &record.target.topic;
                if *topic == self.changelog {
                    tally.changelog += 1;
                } else if *topic == self.dead_letters {
                    tally.dead_letters.extend(class_of(record));
                } else if let Some(at) = self.outputs.iter().position(|(name, _)| name == topic) {
                    tally.outputs[at] += 1;
                }
            }
            let came_due = |w: &&engine::port::Write| w.table == Table::Timers && w.value.is_none();
            tally.timers += work.delta.iter().filter(came_due).count() as u64;
            tally.positions.extend(work.positions.iter().cloned());
        }
        tally
    }

    fn ended(&mut self, tally: &Tally, took: Duration, error: Option<&CommitError>) {
        let outcome = match error {
            None => CommitOutcome::Committed,
            Some(CommitError::Abort(_)) => CommitOutcome::Aborted,
            Some(CommitError::Fenced(_)) => CommitOutcome::Fenced,
            Some(CommitError::Indeterminate(_)) => CommitOutcome::Indeterminate,
            Some(CommitError::Halt(_)) => CommitOutcome::Halted,
        };
        self.metrics.commit(outcome, took);
        if error.is_some() {
            // Reading starts again from the committed positions.
            self.uncommitted.clear();
            return;
        }
        for ((_, counter), written) in self.outputs.iter().zip(tally.outputs) {
            counter.inc_by(written);
        }
        self.metrics.changelog_records.inc_by(tally.changelog);
        self.metrics.timers_fired.inc_by(tally.timers);
        for class in &tally.dead_letters {
            self.metrics.dead_letters(*class, 1);
        }
        let now = wall_clock();
        for (source, next) in &tally.positions {
            if let Some(waiting) = self.uncommitted.get_mut(source) {
                let done = waiting.partition_point(|(offset, _)| offset < next);
                let ages = waiting.drain(..done).map(|(_, time)| age(now, time));
                self.metrics.event_to_commit(ages);
            }
        }
    }
}

fn class_of(record: &OutRecord) -> Option<RejectionClass> {
    let (_, value) = record
        .headers
        .iter()
        .find(|(name, _)| *name == ERROR_CLASS_HEADER)?;
    let mut classes = RejectionClass::ALL.iter();
    classes.find(|c| c.as_str().as_bytes() == value).copied()
}

pub(crate) fn age(now: TimeMs, then: TimeMs) -> Duration {
    Duration::from_millis(u64::try_from(now.since(then)).unwrap_or(0))
}

/// What waits for a task, and what a restart would have to read for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Backlog {
    /// Records of its inputs that are not consumed and committed.
    pub(crate) records: u64,
    /// How long the oldest of them has been in the log.
    pub(crate) oldest: Duration,
    /// Changelog records behind the last checkpoint.
    pub(crate) changelog_tail: u64,
}

/// What one worker tells of its tasks.
pub(crate) struct Gauges {
    metrics: Metrics,
    tasks: Vec<TaskMetrics>,
    told: Counts,
    /// Bytes of cache, and dirty ones, as they are contained in the process's sums.
    bytes: (i64, i64),
    refreshed: Option<Instant>,
}

impl Gauges {
    /// For a worker over `owned`, whose records so far are `counts`.
    pub(crate) fn new(metrics: &Metrics, owned: &[Owned<TaskStore>], counts: Counts) -> Gauges {
        let tasks = owned.iter().map(|owned| metrics.task(owned.task.id()));
        Gauges {
            tasks: tasks.collect(),
            metrics: metrics.clone(),
            told: counts,
            bytes: (0, 0),
            refreshed: None,
        }
    }

    /// A commit has brought the counts to `now`.
    pub(crate) fn committed(&mut self, now: Counts) {
        let told = std::mem::replace(&mut self.told, now);
        for (outcome, was, is) in [
            (Outcome::Applied, told.applied, now.applied),
            (Outcome::Late, told.late, now.late),
            (Outcome::Deduplicated, told.deduplicated, now.deduplicated),
            (Outcome::DeadLettered, told.dead_lettered, now.dead_lettered),
            (Outcome::Forwarded, told.forwarded, now.forwarded),
            (Outcome::Control, told.control, now.control),
            (Outcome::Ignored, told.ignored, now.ignored),
        ] {
            self.metrics.records(outcome, is.saturating_sub(was));
        }
        let split_off = now.split_off.saturating_sub(told.split_off);
        self.metrics.records_split_off.inc_by(split_off);
        let consumed = now.consumed().saturating_sub(told.consumed());
        self.metrics.records_read.inc_by(consumed);
    }

    /// A checkpoint was asked for, and came to this.
    pub(crate) fn checkpoint(&self, checkpoint: Checkpoint, took: Duration) {
        if checkpoint == Checkpoint::Started {
            self.metrics.checkpoint(took);
        }
    }

    /// Refreshes the gauges where that is due; `backlog` knows what waits for each task.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn refresh(
        &mut self,
        owned: &[Owned<TaskStore>],
        backlog: impl Fn(&Owned<TaskStore>) -> Result<Backlog, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        if self.refreshed.is_some_and(|last| last.elapsed() < REFRESH) {
            return Ok(());
        }
        self.refreshed = Some(Instant::now());
        let (mut cached, mut dirty) = (0, 0);
        for (owned, gauges) in owned.iter().zip(&self.tasks) {
            let backlog = backlog(owned)?;
            gauges.lag_records.set(signed(backlog.records));
            gauges.lag_seconds.set(backlog.oldest.as_secs_f64());
            gauges.changelog_tail.set(signed(backlog.changelog_tail));
            let Owned { task, store } = owned;
            gauges.model_version.set(i64::from(task.model_version()));
            gauges.rescoring.set(i64::from(task.rescoring().is_some()));
            let stream_time = task.bookkeeping().clock.stream_time;
            if stream_time > TimeMs::MIN {
                gauges
                    .stream_time_seconds
                    .set(stream_time.0 as f64 / 1_000.0);
            }
            gauges
                .changelog_tail_bytes
                .set(signed(store.tail_bytes() as u64));
            cached += signed(store.cached_bytes() as u64);
            dirty += signed(store.dirty_bytes() as u64);
        }
        self.tell_bytes(cached, dirty);
        Ok(())
    }

    fn tell_bytes(&mut self, cached: i64, dirty: i64) {
        // Other workers add theirs.
        let (was_cached, was_dirty) = std::mem::replace(&mut self.bytes, (cached, dirty));
        self.metrics.state_cache_bytes.add(cached - was_cached);
        self.metrics.state_dirty_bytes.add(dirty - was_dirty);
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.tell_bytes(0, 0);
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use engine::chain::Head;
    use engine::port::Write;

    use super::*;

    /// Yields one record, and commits all but the first time.
    struct Reluctant {
        attempts: u32,
    }

    impl WorkerLog for Reluctant {
        fn read(&mut self, source: &TopicPartition, _: usize) -> Result<Read, LogError> {
            Ok(Read::Records(vec![Record {
                source: source.clone(),
                offset: 7,
                timestamp: wall_clock(),
                key: None,
                value: None,
            }]))
        }

        fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
            self.attempts += 1;
            if self.attempts == 1 {
                return Err(CommitError::Abort("once".to_owned()));
            }
            let committed = staged.into_iter().map(|work| work.into_committed(0));
            Ok(committed.collect())
        }

        fn trying(&mut self, _: &[u32], _: Option<&Place>) -> Result<(), CommitError> {
            Ok(())
        }
    }

    fn staged(topics: &Topics, input: &TopicPartition) -> Staged {
        let record = |topic: &TopicName, headers| OutRecord {
            target: TopicPartition {
                topic: Arc::clone(topic),
                partition: 0,
            },
            key: None,
            value: None,
            headers,
        };
        Staged {
            task: 0,
            records: vec![
                record(&topics.segment_changes, Vec::new()),
                record(&topics.changelog, Vec::new()),
                record(
                    &topics.dead_letters,
                    vec![(ERROR_CLASS_HEADER, b"not_json".to_vec())],
                ),
            ],
            delta: vec![Write {
                table: Table::Timers,
                key: b"due".to_vec(),
                value: None,
            }],
            positions: vec![(input.clone(), 8)],
            head: Head::default(),
        }
    }

    #[test]
    fn a_batch_that_is_done_again_counts_once() {
        let registry = server::registry().expect("a registry");
        let metrics = Metrics::new(&registry).expect("metrics");
        let topics = Topics::of("shop");
        let input = TopicPartition {
            topic: "shop.orders".into(),
            partition: 0,
        };
        let log = Reluctant { attempts: 0 };
        let mut log = Metered::new(log, &topics, Some(&metrics));
        for succeeds in [false, true] {
            log.read(&input, 1).expect("a record");
            let result = log.commit(vec![staged(&topics, &input)]);
            assert_eq!(result.is_ok(), succeeds);
        }
        let text = server::text(&registry).expect("text");
        for line in [
            "clvstream_commits_total{outcome=\"aborted\"} 1",
            "clvstream_commits_total{outcome=\"committed\"} 1",
            "clvstream_outputs_total{topic=\"shop.segment.changes\"} 1",
            "clvstream_outputs_total{topic=\"shop.clv.updates\"} 0",
            "clvstream_changelog_records_total 1",
            "clvstream_timers_fired_total 1",
            "clvstream_dead_letters_total{class=\"not_json\"} 1",
            "clvstream_event_to_commit_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
