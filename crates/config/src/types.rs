//! The configuration as the program uses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::money::{Currency, Minor};
use domain::prediction::Family;
use domain::time::TimeMs;

use crate::kafka::{Kafka, Registry};
use crate::setting::Choice;

/// Everything that can be configured, typed and checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Prefix of topics, and the unit of tenancy.
    pub application_id: String,
    /// Folder of the embedded log and of state.
    pub data_dir: PathBuf,
    /// N: partitions of every internal topic, and so the number of tasks. Fixed at the first start.
    pub partitions: u32,
    /// Worker threads; `None`: one per core, at most one per partition.
    pub workers: Option<u32>,
    /// How many other instances keep each task's state warm; more than none on Kafka alone.
    pub standby: u32,
    /// How output records are written.
    pub format: Format,
    /// The shop's currency and its accounting unit.
    pub currency: Currency,
    /// The Kafka cluster; `None`: the embedded log.
    pub kafka: Option<Kafka>,
    /// The schema registry.
    pub registry: Option<Registry>,
    /// What is read.
    pub input: Input,
    /// What is refused.
    pub limits: Limits,
    /// Event time.
    pub time: Time,
    /// When work is committed.
    pub commit: Commit,
    /// The state store.
    pub state: State,
    /// How long records are kept.
    pub retention: Retention,
    /// Customer lifetime value.
    pub clv: Clv,
    /// The HTTP server.
    pub http: Http,
    /// Fitting models of customer value.
    pub model: Model,
    /// Logs.
    pub logging: Logging,
}

/// How records are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Avro in Confluent wire format.
    Avro,
    /// JSON.
    Json,
}

/// `[input]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    /// Topics that events are read from, without the application's prefix.
    pub topics: Vec<String>,
    /// Mapping files of foreign topics on Kafka, by the topics' full names.
    pub mapped: BTreeMap<String, PathBuf>,
    /// Files of Avro schemas beyond the project's own, by id.
    pub schemas: BTreeMap<u32, PathBuf>,
}

/// `[limits]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Events before this instant are dead-lettered.
    pub earliest_event_time: TimeMs,
    /// Events later than their arrival by more than this are dead-lettered.
    pub future_bound: Duration,
    /// Orders and refunds above this amount are dead-lettered.
    pub max_order_amount: Minor,
    /// Records with a longer value are dead-lettered, in bytes.
    pub max_value_bytes: usize,
}

/// `[time]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Time {
    /// How long a profile waits for events that come out of order.
    pub grace: Duration,
    /// Inactivity that ends a session.
    pub session_gap: Duration,
    /// An input without records for this long stops holding back stream time.
    pub idle_after: Duration,
}

/// `[commit]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Longest time between commits while there is work.
    pub interval: Duration,
    /// Most input records in one commit of a task.
    pub max_batch: usize,
    /// Whether a commit of the embedded log waits for the disk.
    pub fsync: bool,
}

/// `[state]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Longest time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Unwritten changelog at which a checkpoint falls due, in bytes.
    pub checkpoint_bytes: u64,
    /// Unwritten changelog of all tasks together at which the one that has most writes a checkpoint,
    /// in bytes.
    pub checkpoint_total_bytes: u64,
    /// Memory for caches and write buffers of the whole process, in bytes; `None`: from the
    /// machine's or the container's limit.
    pub memory_budget: Option<u64>,
}

/// `[retention]`: `None` keeps for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Input topics, behind what has been consumed.
    pub inputs: Option<Duration>,
    /// `clv.updates`
    pub clv_updates: Option<Duration>,
    /// `lifecycle.transitions`
    pub lifecycle_transitions: Option<Duration>,
    /// `segment.changes`
    pub segment_changes: Option<Duration>,
    /// The dead-letter topic.
    pub dead_letters: Option<Duration>,
}

/// `[clv]`
#[derive(Clone, PartialEq, Debug)]
pub struct Clv {
    /// Lifetime that the formula assumes, in years of 365.25 days.
    pub expected_lifetime_years: f64,
    /// Orders per year assumed of a customer with a single order.
    pub population_orders_per_year: f64,
    /// Whether tax counts as revenue.
    pub include_tax: bool,
    /// Whether shipping counts as revenue.
    pub include_shipping: bool,
    /// What it costs to serve an order, in the currency's smallest unit.
    pub cost_per_order: Minor,
    /// What it costs to handle a refund, in the currency's smallest unit.
    pub cost_per_refund: Minor,
    /// How far ahead a predicted value looks, in days.
    pub horizon_days: u32,
    /// Discount of predicted revenue a year.
    pub yearly_discount: f64,
    /// Share of predicted revenue that is margin.
    pub margin_rate: f64,
    /// Share of a predicted value that a change must exceed to be told.
    pub epsilon: f64,
    /// Customers a second and task that go over to a new model in the background.
    pub rescore_per_second: u32,
}

/// `[model]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    /// Which model of orders is saved.
    pub family: Family,
    /// How often one is fitted; `None`: when asked to.
    pub refit: Option<Duration>,
    /// How much of the end is held out, whole days; `None`: 91 days, or a quarter of the data if that is less.
    pub holdout: Option<Duration>,
    /// Whether what was fitted by the schedule is put into force.
    pub promote: Promote,
}

/// Which models the schedule puts into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promote {
    /// Those that predict no worse than the one in force.
    NotWorse,
    /// None.
    Never,
}

/// `[http]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// Where metrics and health checks are served.
    pub listen: SocketAddr,
}

/// `[logging]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    /// Least severe level that is written.
    pub level: Level,
    /// How log lines are written.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Failures.
    Error,
    /// What should be looked at.
    Warn,
    /// Milestones.
    Info,
    /// Decisions.
    Debug,
    /// Everything.
    Trace,
}

/// Shape of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for Format {
    const ALL: &'static [(&'static str, Self)] = &[("avro", Format::Avro), ("json", Format::Json)];
}

impl Choice for Family {
    const ALL: &'static [(&'static str, Self)] =
        &[("mbg_nbd", Family::MbgNbd), ("bg_nbd", Family::BgNbd)];
}

impl Choice for Promote {
    const ALL: &'static [(&'static str, Self)] =
        &[("not_worse", Promote::NotWorse), ("never", Promote::Never)];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] =
        &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Choice for Level {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
}
