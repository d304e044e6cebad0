//! The closed set of metric families: name, kind, labels, meaning. Registration and the reference
//! page are both made of it.
//!
//! Invariant: a label's values form a small closed set (outcomes, classes, topics, task numbers).
//! A customer is never in a label.

/// What a family measures and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// Upper bounds in seconds are [`SECONDS`].
    Histogram,
}

/// One family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) label: Option<&'static str>,
    pub(crate) help: &'static str,
}

const fn counter(name: &'static str, label: Option<&'static str>, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        label,
        help,
    }
}

const fn gauge(name: &'static str, label: Option<&'static str>, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        label,
        help,
    }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        label: None,
        help,
    }
}

/// Upper bounds of every histogram, in seconds: from half a millisecond to half a minute, each
/// about twice the one before.
pub(crate) const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

macro_rules! families {
    ($($name:ident = $family:expr;)*) => {
        $(pub(crate) const $name: Family = $family;)*
        /// Every family, in the order of the reference page.
        pub(crate) const ALL: &[Family] = &[$($name),*];
    };
}

families! {
    RECORDS_READ = counter(
        "clvstream_records_read_total", None,
        "Records read from input and routed topics, counted when their commit is durable.",
    );
    RECORDS = counter(
        "clvstream_records_total", Some("outcome"),
        "What became of the records read. They add up to clvstream_records_read_total plus \
         clvstream_records_split_off_total.",
    );
    RECORDS_SPLIT_OFF = counter(
        "clvstream_records_split_off_total", None,
        "Parts beyond the first of records that a mapping makes several events of: each part \
         counts in clvstream_records_total.",
    );
    DEAD_LETTERS = counter(
        "clvstream_dead_letters_total", Some("class"),
        "Records sent to the dead-letter topic, by what was wrong with them.",
    );
    OUTPUTS = counter(
        "clvstream_outputs_total", Some("topic"),
        "Records written to output topics, dead letters apart.",
    );
    CHANGELOG_RECORDS = counter(
        "clvstream_changelog_records_total", None,
        "Records written to the changelog: one per changed key and commit.",
    );
    TIMERS_FIRED = counter(
        "clvstream_timers_fired_total", None,
        "Timers of profiles that came due, those that an earlier one had made pointless included.",
    );
    COMMITS = counter(
        "clvstream_commits_total", Some("outcome"),
        "Commits by how they ended.",
    );
    COMMIT_SECONDS = histogram(
        "clvstream_commit_seconds",
        "Time that a commit took, from handing it to the log until it was durable.",
    );
    TRANSACTION_PRODUCE_SECONDS = histogram(
        "clvstream_transaction_produce_seconds",
        "On Kafka: the part of a commit in which its records are handed to the producer.",
    );
    TRANSACTION_OFFSETS_SECONDS = histogram(
        "clvstream_transaction_offsets_seconds",
        "On Kafka: the part of a commit in which positions are added to the transaction.",
    );
    TRANSACTION_COMMIT_SECONDS = histogram(
        "clvstream_transaction_commit_seconds",
        "On Kafka: the part of a commit in which what is left is sent and the transaction ended.",
    );
    FENCED = counter(
        "clvstream_fenced_total", Some("kind"),
        "On Kafka: times that this process's transactions were ended by others: by the broker, \
         because one was open too long (timeout); because this process stood still and another \
         took its place (zombie); because another process has the same instance name \
         (duplicate_id).",
    );
    REBALANCES = counter(
        "clvstream_rebalances_total", Some("kind"),
        "On Kafka: changes of the tasks that a worker has: assigned, revoked, or lost without \
         having been asked.",
    );
    REGISTRY_PENDING = gauge(
        "clvstream_registry_pending_schemas", None,
        "Schemas that the registry is asked for and has not told yet: records that name them wait, \
         and with them all that their tasks have read after them.",
    );
    REGISTRY_FAILURES = counter(
        "clvstream_registry_failures_total", None,
        "Requests to the schema registry that got no clear answer. They are repeated.",
    );
    EVENT_TO_COMMIT_SECONDS = histogram(
        "clvstream_event_to_commit_seconds",
        "Time from each record's arrival in the log, by the log's time, until its effects were durable.",
    );
    CHECKPOINTS = counter(
        "clvstream_checkpoints_total", None,
        "Checkpoints: committed profiles written from the cache to RocksDB.",
    );
    CHECKPOINT_SECONDS = histogram(
        "clvstream_checkpoint_seconds",
        "Time that a checkpoint took.",
    );
    RETENTION_ROUNDS = counter(
        "clvstream_log_retention_rounds_total", Some("outcome"),
        "Rounds of retention and compaction of the embedded log, by how they ended.",
    );
    LOG_RECORDS_REMOVED = counter(
        "clvstream_log_records_removed_total", None,
        "Records that retention and compaction removed from the embedded log.",
    );
    MODEL_REFITS = counter(
        "clvstream_model_refits_total", Some("outcome"),
        "Fits of a model of customer value that this process made by the schedule, by what became of them.",
    );
    MODEL_REFIT_SECONDS = histogram(
        "clvstream_model_refit_seconds",
        "Time that such a fit took, with reading all customers' orders and writing the model down.",
    );
    TASKS_OWNED = gauge(
        "clvstream_tasks_owned", None,
        "Tasks that this process owns.",
    );
    LAG_RECORDS = gauge(
        "clvstream_lag_records", Some("task"),
        "Records in a task's inputs that are not consumed and committed yet.",
    );
    LAG_SECONDS = gauge(
        "clvstream_lag_seconds", Some("task"),
        "How long the oldest of them has been in the log; 0 where there is none.",
    );
    STREAM_TIME = gauge(
        "clvstream_stream_time_seconds", Some("task"),
        "A task's stream time: event time, as seconds since 1970; 0 before its first record.",
    );
    MODEL_VERSION = gauge(
        "clvstream_model_version", Some("task"),
        "Version of the model of customer value in force in a task; 0 for none.",
    );
    RESCORING = gauge(
        "clvstream_rescoring", Some("task"),
        "1 while a task's customers go over to that model in the background, 0 when all have.",
    );
    RESTORE_REMAINING = gauge(
        "clvstream_restore_remaining_records", Some("task"),
        "Changelog records that a restoring task has yet to read; 0 when it is restored.",
    );
    RESTORE_SECONDS_LEFT = gauge(
        "clvstream_restore_remaining_seconds", None,
        "Time that the restores under way will probably take, at the rate so far; 0 when there is none.",
    );
    RESTORED_RECORDS = counter(
        "clvstream_restored_records_total", None,
        "Changelog records read to restore tasks.",
    );
    RESTORED_BYTES = counter(
        "clvstream_restored_bytes_total", None,
        "Bytes of keys and values of those records.",
    );
    STATE_REBUILDS = counter(
        "clvstream_state_rebuilds_total", Some("reason"),
        "Times that a task's local state was removed, to be rebuilt from the changelog: because it was damaged (corrupt), or older than the changelog remembers deletions (stale).",
    );
    CHANGELOG_TAIL = gauge(
        "clvstream_changelog_tail_records", Some("task"),
        "Changelog records behind the last checkpoint: what a restart would have to read.",
    );
    CHANGELOG_TAIL_BYTES = gauge(
        "clvstream_changelog_tail_bytes", Some("task"),
        "Bytes of changelog behind the last checkpoint; over all tasks about state.checkpoint_total_bytes at most.",
    );
    STANDBY_COPIES = gauge(
        "clvstream_standby_copies", None,
        "On Kafka: instances that are to keep each task warm besides its owner, as this one is configured; 0 on the embedded log.",
    );
    STANDBY_TASKS = gauge(
        "clvstream_standby_tasks", None,
        "On Kafka: tasks of other instances whose state this one keeps warm.",
    );
    STANDBY_LAG = gauge(
        "clvstream_standby_lag_records", Some("task"),
        "On Kafka: offsets of the changelog that the standby of a task here has yet to read, those of open transactions included.",
    );
    STANDBY_RECORDS = counter(
        "clvstream_standby_records_total", None,
        "On Kafka: changelog records read by standbys.",
    );
    STATE_CACHE_BYTES = gauge(
        "clvstream_state_cache_bytes", None,
        "Committed profiles held in the write-back cache.",
    );
    STATE_DIRTY_BYTES = gauge(
        "clvstream_state_dirty_bytes", None,
        "The part of the cache that is not yet in RocksDB.",
    );
    STATE_BUDGET_BYTES = gauge(
        "clvstream_state_memory_budget_bytes", None,
        "The budget for caches and write buffers of the process.",
    );
    BUILD_INFO = gauge(
        "clvstream_build_info", Some("version"),
        "1, with the version in the label.",
    );
}
