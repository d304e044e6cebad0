//! The one tree of metrics. The registry is injected; labels are bound once, when the tree is
//! built or a task is taken over, never per record.

mod standby;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};
use wire::RejectionClass;

use crate::family::{self, Family, SECONDS};

pub use standby::StandbyMetrics;

macro_rules! label_values {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// Every value.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The value of the label.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }
    };
}

label_values! {
    /// What became of a record that was read, or of a part of one.
    Outcome {
        /// Changed a profile or the shop's totals.
        Applied = "applied",
        /// Came after the grace: counted in totals, not in closed windows.
        Late = "late",
        /// Refused, and sent to the dead-letter topic.
        DeadLettered = "dead_lettered",
        /// Had been taken in before.
        Deduplicated = "deduplicated",
        /// Went to the task that owns its profile, and counts there again.
        Forwarded = "forwarded",
        /// Was a control record.
        Control = "control",
        /// Came in a mapped topic, and no rule of the mapping is for it.
        Ignored = "ignored",
    }
}

label_values! {
    /// How a commit ended.
    CommitOutcome {
        /// Durable.
        Committed = "committed",
        /// Nothing was written.
        Aborted = "aborted",
        /// Another owner had taken over.
        Fenced = "fenced",
        /// Nobody knows: taken over again.
        Indeterminate = "indeterminate",
        /// The process stopped.
        Halted = "halted",
    }
}

label_values! {
    /// Why this process's transactions were ended by others.
    Fencing {
        /// By the broker, because one was open too long.
        Timeout = "timeout",
        /// This process stood still, and another took its place.
        Zombie = "zombie",
        /// Another process has the same instance name.
        DuplicateId = "duplicate_id",
    }
}

label_values! {
    /// How the tasks of a worker changed.
    Rebalance {
        /// It has more.
        Assigned = "assigned",
        /// It was asked to give some up.
        Revoked = "revoked",
        /// Others have some already.
        Lost = "lost",
    }
}

label_values! {
    /// How a round of retention ended.
    RetentionOutcome {
        /// Everything that may go is gone.
        Completed = "completed",
        /// Something could not be removed; the next round tries again.
        Failed = "failed",
    }
}

label_values! {
    /// What became of a fit by the schedule.
    RefitOutcome {
        /// The model is saved and in force.
        Promoted = "promoted",
        /// It is saved, and the one before is still in force.
        Kept = "kept",
        /// No model can be fitted to these customers.
        Refused = "refused",
        /// Something could not be read or written; it is tried again.
        Failed = "failed",
    }
}

label_values! {
    /// Why a task's local state was removed, to be rebuilt from the changelog.
    Rebuild {
        /// It was damaged.
        Corrupt = "corrupt",
        /// The changelog may have forgotten deletions since.
        Stale = "stale",
    }
}

/// A counter for each value of a closed set.
#[derive(Clone, Debug)]
struct CounterSet(Vec<IntCounter>);

impl CounterSet {
    fn new(counters: &IntCounterVec, labels: impl IntoIterator<Item = &'static str>) -> CounterSet {
        CounterSet(
            labels
                .into_iter()
                .map(|label| counters.with_label_values(&[label]))
                .collect(),
        )
    }

    fn add(&self, index: usize, n: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.inc_by(n);
        }
    }
}

/// Every metric of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Records read.
    pub records_read: IntCounter,
    /// Parts of records beyond the first of each.
    pub records_split_off: IntCounter,
    records: CounterSet,
    dead_letters: CounterSet,
    outputs: IntCounterVec,
    /// Changelog records written.
    pub changelog_records: IntCounter,
    /// Timers fired.
    pub timers_fired: IntCounter,
    commits: CounterSet,
    commit_seconds: Histogram,
    /// Produce, offsets, commit.
    transaction_seconds: [Histogram; 3],
    fenced: CounterSet,
    rebalances: CounterSet,
    /// Schemas that the registry is asked for.
    pub registry_pending: IntGauge,
    /// Requests to the schema registry without a clear answer.
    pub registry_failures: IntCounter,
    event_to_commit_seconds: Histogram,
    checkpoints: IntCounter,
    checkpoint_seconds: Histogram,
    retention_rounds: CounterSet,
    log_records_removed: IntCounter,
    model_refits: CounterSet,
    model_refit_seconds: Histogram,
    tasks_owned: IntGauge,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    stream_time: GaugeVec,
    model_version: IntGaugeVec,
    rescoring: IntGaugeVec,
    restore_remaining: IntGaugeVec,
    restore_seconds_left: Gauge,
    restored_records: IntCounter,
    restored_bytes: IntCounter,
    rebuilds: CounterSet,
    changelog_tail: IntGaugeVec,
    changelog_tail_bytes: IntGaugeVec,
    standby_copies: IntGauge,
    standby_tasks: IntGauge,
    standby_lag: IntGaugeVec,
    standby_records: IntCounter,
    /// Bytes in the write-back cache.
    pub state_cache_bytes: IntGauge,
    /// Bytes in the write-back cache that are not yet in RocksDB.
    pub state_dirty_bytes: IntGauge,
    /// Bytes that caches and write buffers may take.
    pub state_budget_bytes: IntGauge,
}

/// A metric could not be registered: the registry already has one of that name.
#[derive(Debug, thiserror::Error)]
#[error("cannot register metric {name}: {source}")]
pub struct RegisterError {
    name: &'static str,
    source: prometheus::Error,
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// The registry already holds one of them.
    pub fn new(registry: &Registry) -> Result<Metrics, RegisterError> {
        let counter = |f: Family| add(registry, f, IntCounter::new(f.name, f.help));
        let counters = |f: Family| add(registry, f, IntCounterVec::new(opts(f), &labels(f)));
        let gauge = |f: Family| add(registry, f, IntGauge::new(f.name, f.help));
        let gauges = |f: Family| add(registry, f, IntGaugeVec::new(opts(f), &labels(f)));
        let float_gauge = |f: Family| add(registry, f, Gauge::new(f.name, f.help));
        let float_gauges = |f: Family| add(registry, f, GaugeVec::new(opts(f), &labels(f)));
        let histogram = |f: Family| {
            let opts = HistogramOpts::new(f.name, f.help).buckets(SECONDS.to_vec());
            add(registry, f, Histogram::with_opts(opts))
        };
        gauges(family::BUILD_INFO)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(Metrics {
            records_read: counter(family::RECORDS_READ)?,
            records_split_off: counter(family::RECORDS_SPLIT_OFF)?,
            records: CounterSet::new(
                &counters(family::RECORDS)?,
                Outcome::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            dead_letters: CounterSet::new(
                &counters(family::DEAD_LETTERS)?,
                RejectionClass::ALL.iter().map(|class| class.as_str()),
            ),
            outputs: counters(family::OUTPUTS)?,
            changelog_records: counter(family::CHANGELOG_RECORDS)?,
            timers_fired: counter(family::TIMERS_FIRED)?,
            commits: CounterSet::new(
                &counters(family::COMMITS)?,
                CommitOutcome::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            commit_seconds: histogram(family::COMMIT_SECONDS)?,
            transaction_seconds: [
                histogram(family::TRANSACTION_PRODUCE_SECONDS)?,
                histogram(family::TRANSACTION_OFFSETS_SECONDS)?,
                histogram(family::TRANSACTION_COMMIT_SECONDS)?,
            ],
            fenced: CounterSet::new(
                &counters(family::FENCED)?,
                Fencing::ALL.iter().map(|kind| kind.as_str()),
            ),
            rebalances: CounterSet::new(
                &counters(family::REBALANCES)?,
                Rebalance::ALL.iter().map(|kind| kind.as_str()),
            ),
            registry_pending: gauge(family::REGISTRY_PENDING)?,
            registry_failures: counter(family::REGISTRY_FAILURES)?,
            event_to_commit_seconds: histogram(family::EVENT_TO_COMMIT_SECONDS)?,
            checkpoints: counter(family::CHECKPOINTS)?,
            checkpoint_seconds: histogram(family::CHECKPOINT_SECONDS)?,
            retention_rounds: CounterSet::new(
                &counters(family::RETENTION_ROUNDS)?,
                RetentionOutcome::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            log_records_removed: counter(family::LOG_RECORDS_REMOVED)?,
            model_refits: CounterSet::new(
                &counters(family::MODEL_REFITS)?,
                RefitOutcome::ALL.iter().map(|outcome| outcome.as_str()),
            ),
            model_refit_seconds: histogram(family::MODEL_REFIT_SECONDS)?,
            tasks_owned: gauge(family::TASKS_OWNED)?,
            lag_records: gauges(family::LAG_RECORDS)?,
            lag_seconds: float_gauges(family::LAG_SECONDS)?,
            stream_time: float_gauges(family::STREAM_TIME)?,
            model_version: gauges(family::MODEL_VERSION)?,
            rescoring: gauges(family::RESCORING)?,
            restore_remaining: gauges(family::RESTORE_REMAINING)?,
            restore_seconds_left: float_gauge(family::RESTORE_SECONDS_LEFT)?,
            restored_records: counter(family::RESTORED_RECORDS)?,
            restored_bytes: counter(family::RESTORED_BYTES)?,
            rebuilds: CounterSet::new(
                &counters(family::STATE_REBUILDS)?,
                Rebuild::ALL.iter().map(|reason| reason.as_str()),
            ),
            changelog_tail: gauges(family::CHANGELOG_TAIL)?,
            changelog_tail_bytes: gauges(family::CHANGELOG_TAIL_BYTES)?,
            standby_copies: gauge(family::STANDBY_COPIES)?,
            standby_tasks: gauge(family::STANDBY_TASKS)?,
            standby_lag: gauges(family::STANDBY_LAG)?,
            standby_records: counter(family::STANDBY_RECORDS)?,
            state_cache_bytes: gauge(family::STATE_CACHE_BYTES)?,
            state_dirty_bytes: gauge(family::STATE_DIRTY_BYTES)?,
            state_budget_bytes: gauge(family::STATE_BUDGET_BYTES)?,
        })
    }

    /// `n` records ended as `outcome`.
    pub fn records(&self, outcome: Outcome, n: u64) {
        self.records.add(outcome as usize, n);
    }

    /// `n` records were refused for `class`.
    pub fn dead_letters(&self, class: RejectionClass, n: u64) {
        self.dead_letters.add(class as usize, n);
    }

    /// A commit ended as `outcome` after `took`.
    pub fn commit(&self, outcome: CommitOutcome, took: Duration) {
        self.commits.add(outcome as usize, 1);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A transaction was committed; its phases took this long: produce, offsets, commit.
    pub fn transaction(&self, phases: [Duration; 3]) {
        for (histogram, took) in self.transaction_seconds.iter().zip(phases) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// This process's transactions were ended by others.
    pub fn fenced(&self, kind: Fencing) {
        self.fenced.add(kind as usize, 1);
    }

    /// The tasks of a worker changed.
    pub fn rebalanced(&self, kind: Rebalance) {
        self.rebalances.add(kind as usize, 1);
    }

    /// The effects of records are durable: how long after each of them arrived in the log.
    pub fn event_to_commit(&self, after: impl Iterator<Item = Duration>) {
        let local = self.event_to_commit_seconds.local();
        after.for_each(|after| local.observe(after.as_secs_f64()));
        local.flush();
    }

    /// A checkpoint was written and `took` this long.
    pub fn checkpoint(&self, took: Duration) {
        self.checkpoints.inc();
        self.checkpoint_seconds.observe(took.as_secs_f64());
    }

    /// A round of retention has removed `records` from the log and ended as `outcome`.
    pub fn retention(&self, outcome: RetentionOutcome, records: u64) {
        self.retention_rounds.add(outcome as usize, 1);
        self.log_records_removed.inc_by(records);
    }

    /// A fit by the schedule `took` this long and ended as `outcome`.
    pub fn refit(&self, outcome: RefitOutcome, took: Duration) {
        self.model_refits.add(outcome as usize, 1);
        self.model_refit_seconds.observe(took.as_secs_f64());
    }

    /// `remaining` changelog records are still to be read before `task` can be taken over.
    pub fn restoring(&self, task: u32, remaining: u64) {
        let task = task.to_string();
        self.restore_remaining
            .with_label_values(&[task.as_str()])
            .set(i64::try_from(remaining).unwrap_or(i64::MAX));
    }

    /// `task` is not restored any more, and did not get to its end; what is left of others will take `left`.
    pub fn not_restoring(&self, task: u32, left: Duration) {
        // There may be nothing to remove: it may never have begun.
        let _ = self
            .restore_remaining
            .remove_label_values(&[task.to_string().as_str()]);
        self.restore_seconds_left.set(left.as_secs_f64());
    }

    /// `records` of `bytes` more were read to restore tasks, and what is left will take `left`.
    pub fn restored(&self, records: u64, bytes: u64, left: Duration) {
        self.restored_records.inc_by(records);
        self.restored_bytes.inc_by(bytes);
        self.restore_seconds_left.set(left.as_secs_f64());
    }

    /// A task's local state was removed, to be rebuilt from the changelog.
    pub fn rebuilding(&self, reason: Rebuild) {
        self.rebuilds.add(reason as usize, 1);
    }

    /// The counter of one output topic; to be bound once.
    #[must_use]
    pub fn output(&self, topic: &str) -> IntCounter {
        self.outputs.with_label_values(&[topic])
    }

    /// The gauges of a task that was taken over; to be bound once per ownership.
    #[must_use]
    pub fn task(&self, task: u32) -> TaskMetrics {
        self.tasks_owned.inc();
        let task = task.to_string();
        let label = [task.as_str()];
        TaskMetrics {
            lag_records: self.lag_records.with_label_values(&label),
            lag_seconds: self.lag_seconds.with_label_values(&label),
            stream_time_seconds: self.stream_time.with_label_values(&label),
            model_version: self.model_version.with_label_values(&label),
            rescoring: self.rescoring.with_label_values(&label),
            changelog_tail: self.changelog_tail.with_label_values(&label),
            changelog_tail_bytes: self.changelog_tail_bytes.with_label_values(&label),
            all: self.clone(),
            task,
        }
    }
}

/// The gauges of one owned task. Dropping them takes the task out of the metrics: what another
/// process owns is reported there.
#[derive(Debug)]
pub struct TaskMetrics {
    /// Records that wait in the inputs.
    pub lag_records: IntGauge,
    /// Age of the oldest one.
    pub lag_seconds: Gauge,
    /// Stream time in seconds since 1970.
    pub stream_time_seconds: Gauge,
    /// Version of the model of value in force.
    pub model_version: IntGauge,
    /// Whether customers are going over to it.
    pub rescoring: IntGauge,
    /// Changelog records behind the last checkpoint.
    pub changelog_tail: IntGauge,
    /// Their bytes.
    pub changelog_tail_bytes: IntGauge,
    all: Metrics,
    task: String,
}

impl Drop for TaskMetrics {
    fn drop(&mut self) {
        let label = [self.task.as_str()];
        // Each was bound in `Metrics::task`, so there is something to remove.
        let _ = self.all.lag_records.remove_label_values(&label);
        let _ = self.all.lag_seconds.remove_label_values(&label);
        let _ = self.all.stream_time.remove_label_values(&label);
        let _ = self.all.model_version.remove_label_values(&label);
        let _ = self.all.rescoring.remove_label_values(&label);
        let _ = self.all.restore_remaining.remove_label_values(&label);
        let _ = self.all.changelog_tail.remove_label_values(&label);
        let _ = self.all.changelog_tail_bytes.remove_label_values(&label);
        self.all.tasks_owned.dec();
    }
}

fn opts(family: Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn labels(family: Family) -> Vec<&'static str> {
    family.label.into_iter().collect()
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: Family,
    built: Result<C, prometheus::Error>,
) -> Result<C, RegisterError> {
    built
        .and_then(|collector| {
            registry.register(Box::new(collector.clone()))?;
            Ok(collector)
        })
        .map_err(|source| RegisterError {
            name: family.name,
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::family::Kind;

    fn registered(registry: &Registry) -> BTreeSet<String> {
        registry
            .gather()
            .iter()
            .map(|family| family.name().to_owned())
            .collect()
    }

    #[test]
    fn the_declared_families_are_the_registered_ones() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let task = metrics.task(0);
        let standby = metrics.standby(1);
        metrics.restoring(0, 0);
        let output = metrics.output("clv.updates");
        output.inc();
        let declared: BTreeSet<String> = family::ALL.iter().map(|f| f.name.to_owned()).collect();
        assert_eq!(registered(&registry), declared);
        drop((task, standby));
    }

    #[test]
    fn a_restore_that_was_broken_off_is_not_told_of_any_more() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.restoring(3, 10);
        metrics.restored(1, 100, Duration::from_secs(20));
        assert!(registered(&registry).contains(family::RESTORE_REMAINING.name));
        metrics.not_restoring(3, Duration::ZERO);
        assert!(!registered(&registry).contains(family::RESTORE_REMAINING.name));
        assert!(metrics.restore_seconds_left.get().abs() < f64::EPSILON);
        // It never began.
        metrics.not_restoring(4, Duration::ZERO);
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in family::ALL {
            assert!(family.name.starts_with("clvstream_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn every_label_value_is_there_from_the_start() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.records(Outcome::Late, 3);
        metrics.dead_letters(RejectionClass::NotJson, 2);
        metrics.commit(CommitOutcome::Fenced, Duration::from_millis(3));
        metrics.event_to_commit([1, 40].map(Duration::from_millis).into_iter());
        metrics.retention(RetentionOutcome::Completed, 5);
        metrics.refit(RefitOutcome::Kept, Duration::from_secs(1));
        let text = crate::text(&registry).unwrap();
        for line in [
            "clvstream_records_total{outcome=\"late\"} 3",
            "clvstream_records_total{outcome=\"control\"} 0",
            "clvstream_dead_letters_total{class=\"not_json\"} 2",
            "clvstream_dead_letters_total{class=\"too_large\"} 0",
            "clvstream_commits_total{outcome=\"fenced\"} 1",
            "clvstream_commit_seconds_bucket{le=\"0.0025\"} 0",
            "clvstream_commit_seconds_bucket{le=\"0.005\"} 1",
            "clvstream_event_to_commit_seconds_bucket{le=\"0.025\"} 1",
            "clvstream_event_to_commit_seconds_count 2",
            "clvstream_log_retention_rounds_total{outcome=\"completed\"} 1",
            "clvstream_log_retention_rounds_total{outcome=\"failed\"} 0",
            "clvstream_log_records_removed_total 5",
            "clvstream_model_refits_total{outcome=\"kept\"} 1",
            "clvstream_model_refits_total{outcome=\"promoted\"} 0",
            "clvstream_model_refit_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_released_task_is_no_longer_reported() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let task = metrics.task(3);
        task.lag_records.set(7);
        assert!(registered(&registry).contains("clvstream_lag_records"));
        drop(task);
        assert!(!registered(&registry).contains("clvstream_lag_records"));
    }

    #[test]
    fn a_second_tree_in_one_registry_is_refused() {
        let registry = Registry::new();
        let first = Metrics::new(&registry);
        let second = Metrics::new(&registry);
        assert!(first.is_ok());
        assert!(
            second
                .unwrap_err()
                .to_string()
                .starts_with("cannot register metric clvstream_")
        );
    }
}
