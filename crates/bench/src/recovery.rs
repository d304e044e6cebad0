//! Restarts: of a process that was killed with its state beside it, and of one that has lost its state; and
//! takeovers by an instance that has kept the tasks warm.
//!
//! Invariants: the killed process's session is over before the next one starts, so that what is measured
//! is the program and not the group's timeout; how fast the broker serves the very same changelog to a
//! plain consumer is measured beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::error::BenchError;
use crate::kafka::{Deployment, Making, since_1970};
use crate::takeover::Takeover;
use crate::{load, program, takeover};

/// Customers from whom it is learnt how much state one makes.
const PILOT: u64 = 20_000;
/// Orders that wait when the killed process starts again.
const WAITING: u64 = 2_000;
/// How often a service is looked at: what is measured is no finer.
const LOOK: Duration = Duration::from_millis(10);
/// For a service to do what it is waited for.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// The group's timeouts here, and how long it takes until a killed process's session is certainly over:
/// its transaction's timeout too, and the broker's next look for such.
const SESSION: &str = "6s";
const SESSION_OVER: Duration = Duration::from_secs(25);

pub(crate) const RESTORED_RECORDS: &str = "clvstream_restored_records_total";
pub(crate) const RESTORED_BYTES: &str = "clvstream_restored_bytes_total";
pub(crate) const READ: &str = "clvstream_records_read_total";

/// Restarts on Kafka, after kill -9 and with the state lost; and takeovers with a warm standby
#[derive(Args, Debug)]
pub(crate) struct RecoveryArgs {
    /// The broker; topics are made there
    #[arg(long)]
    bootstrap: String,
    /// Local state, in megabytes as it lies on the disk
    #[arg(long, default_value_t = 1_000)]
    state_mb: u64,
    /// Orders of each of its customers, a day apart
    #[arg(long, default_value_t = 6)]
    orders: u32,
    /// Partitions of every topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Override one key of the configuration
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The program; by default the one beside this
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Folder for configurations and state, emptied by whoever made it
    #[arg(long)]
    work: PathBuf,
    /// Where the results go, as JSON
    #[arg(long, default_value = "target/bench-recovery.json")]
    output: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
struct Found {
    customers: u64,
    /// Orders of each.
    orders: u32,
    /// Bytes of the state folders.
    state_bytes: u64,
    after_kill: Restart,
    state_lost: Restart,
    /// The changelog, read to its end by a plain consumer.
    broker: Served,
    with_standby: Takeover,
}

/// From the start of the process.
#[derive(Clone, Copy, Debug, Serialize)]
struct Restart {
    /// Until the service said that it is ready.
    ready_s: f64,
    /// The part of it from the first changelog record on.
    restore_s: f64,
    /// Until the first commit with records in it; `None`: there were none to commit.
    first_commit_s: Option<f64>,
    /// Changelog records read.
    records: f64,
    /// Their bytes, keys and values.
    bytes: f64,
    /// CPU seconds of the process until it was ready.
    cpu_s: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Served {
    seconds: f64,
    bytes: u64,
}

/// Measures everything.
///
/// # Errors
/// Any part fails.
pub(crate) fn run(args: &RecoveryArgs) -> Result<(), BenchError> {
    let mut overrides = vec![
        format!("kafka.session_timeout={SESSION}"),
        format!("kafka.transaction_timeout={SESSION}"),
    ];
    overrides.extend(args.overrides.iter().cloned());
    let making = Making {
        bootstrap: &args.bootstrap,
        partitions: args.partitions,
        work: &args.work,
        overrides: &overrides,
        binary: program::binary(args.bin.as_deref())?,
    };
    let name = "recovery";
    let of = making.deployment(&format!("{name}-{}", since_1970().as_secs()), name)?;
    let state = args.work.join(name).join("state");
    of.program.apply_topics()?;

    let customers = build(&of, &state, args.state_mb * 1_000_000, args.orders)?;
    let after_kill = kill_and_restart(&of, customers)?;
    let state_bytes = size_of(&state)?;
    step("reading the changelog with a plain consumer");
    let broker = read_changelog(&of)?;
    step("starting without state");
    let removed = std::fs::remove_dir_all(&state);
    removed.map_err(|source| BenchError::File {
        path: state,
        source,
    })?;
    let state_lost = restart(&of, false)?;
    // More than were ever loaded: new customers, so that there is something to do.
    let with_standby = takeover::measure(&of, args.work.as_path(), 2 * customers)?;
    let found = Found {
        customers,
        orders: args.orders,
        state_bytes,
        after_kill,
        state_lost,
        broker,
        with_standby,
    };
    print(&found);
    let text = serde_json::to_string_pretty(&found).map_err(|source| BenchError::Json {
        what: "the result".into(),
        source,
    })?;
    std::fs::write(&args.output, text).map_err(|source| BenchError::File {
        path: args.output.clone(),
        source,
    })
}

pub(crate) fn step(what: &str) {
    eprintln!("==> {what}");
}

/// Makes state of about `bytes`, of customers with so many orders each; answers their number.
fn build(of: &Deployment, state: &Path, bytes: u64, orders: u32) -> Result<u64, BenchError> {
    step(&format!("state of {PILOT} customers with {orders} orders"));
    load::orders(&of.setup, 0, PILOT, orders)?;
    of.program.drain(PATIENCE)?;
    let each = size_of(state)? as f64 / PILOT as f64;
    let customers = ((bytes as f64 / each) as u64).max(2 * PILOT);
    step(&format!(
        "{each:.0} bytes each; state of {customers} customers"
    ));
    load::orders(&of.setup, PILOT, customers - PILOT, orders)?;
    of.program.drain(PATIENCE)?;
    Ok(customers)
}

/// kill -9 in the middle of work, and a start once the session of the killed process is over.
fn kill_and_restart(of: &Deployment, customers: u64) -> Result<Restart, BenchError> {
    step("kill -9 under load");
    let killed = of.program.serve(of.http)?;
    let load = customers / 10;
    load::orders(&of.setup, customers, load, 1)?;
    wait("the load is nearly worked off", || {
        program::metric(of.http, READ).is_some_and(|read| read >= load as f64 * 0.9)
    })?;
    // Dropped, it is killed and reaped.
    drop(killed);
    load::orders(&of.setup, customers + load, WAITING, 1)?;
    std::thread::sleep(SESSION_OVER);
    step("starting again");
    restart(of, true)
}

/// Starts the service and waits until it is ready and, where records wait, until it has committed.
fn restart(of: &Deployment, records_wait: bool) -> Result<Restart, BenchError> {
    let started = Instant::now();
    let mut service = of.program.begin()?;
    let (mut begun, mut ready, mut committed) = (None, None, None);
    wait("the service is ready and has committed", || {
        let is_restoring =
            || program::metric(of.http, RESTORED_RECORDS).is_some_and(|records| records > 0.0);
        if begun.is_none() && is_restoring() {
            begun = Some(started.elapsed());
        }
        if ready.is_none() && program::is_ready(of.http) {
            ready = Some((started.elapsed(), service.usage()));
        }
        let has_read = || program::metric(of.http, READ).is_some_and(|read| read > 0.0);
        if records_wait && committed.is_none() && has_read() {
            committed = Some(started.elapsed().as_secs_f64());
        }
        ready.is_some() && (!records_wait || committed.is_some())
    })?;
    let (ready, usage) = ready.unwrap_or_default();
    let metric = |name| program::metric(of.http, name).unwrap_or_default();
    let found = Restart {
        ready_s: ready.as_secs_f64(),
        restore_s: (ready - begun.unwrap_or(ready)).as_secs_f64(),
        first_commit_s: committed,
        records: metric(RESTORED_RECORDS),
        bytes: metric(RESTORED_BYTES),
        cpu_s: usage.cpu_s(),
    };
    service.terminate()?;
    service.finish(PATIENCE)?;
    Ok(found)
}

pub(crate) fn wait(what: &str, mut until: impl FnMut() -> bool) -> Result<(), BenchError> {
    let deadline = Instant::now() + PATIENCE;
    while !until() {
        if Instant::now() >= deadline {
            return Err(BenchError::failed(format!("waited in vain until {what}")));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Committed records of the changelog, read as the program reads them, and not looked at.
fn read_changelog(of: &Deployment) -> Result<Served, BenchError> {
    let failed = BenchError::kafka("reading the changelog");
    let mut config = of.setup.consumer("recovery-reader");
    config.set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().map_err(failed)?;
    let topic = format!("{}.internal.changelog", of.setup.application);
    let mut left: BTreeSet<i32> = (0..).take(of.setup.partitions as usize).collect();
    let mut list = TopicPartitionList::new();
    for partition in &left {
        let added = list.add_partition_offset(&topic, *partition, Offset::Beginning);
        added.map_err(failed)?;
    }
    let started = Instant::now();
    consumer.assign(&list).map_err(failed)?;
    let mut bytes = 0;
    while !left.is_empty() {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => bytes += (message.key_len() + message.payload_len()) as u64,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            Some(Err(source)) => return Err(failed(source)),
            None => {
                return Err(BenchError::failed(
                    "the broker does not serve the changelog",
                ));
            }
        }
    }
    Ok(Served {
        seconds: started.elapsed().as_secs_f64(),
        bytes,
    })
}

/// Bytes of all files in a folder.
fn size_of(folder: &Path) -> Result<u64, BenchError> {
    let failed = |source| BenchError::File {
        path: folder.to_owned(),
        source,
    };
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let about = entry.metadata().map_err(failed)?;
        bytes += match about.is_dir() {
            true => size_of(&entry.path())?,
            false => about.len(),
        };
    }
    Ok(bytes)
}

fn print(found: &Found) {
    let Found {
        after_kill: killed,
        state_lost: lost,
        ..
    } = found;
    let megabytes = |bytes: f64| bytes / 1e6;
    println!(
        "\n{:.0} MB of state, {} customers with {} orders each",
        megabytes(found.state_bytes as f64),
        found.customers,
        found.orders
    );
    println!(
        "after kill -9: ready after {:.2} s, first commit after {:.2} s; {} changelog records read, {:.1} MB",
        killed.ready_s,
        killed.first_commit_s.unwrap_or_default(),
        killed.records,
        megabytes(killed.bytes)
    );
    println!(
        "state lost: ready after {:.2} s, of which {:.2} s restoring; {} changelog records read, {:.1} MB, {:.1} MB/s, {:.1} CPU s",
        lost.ready_s,
        lost.restore_s,
        lost.records,
        megabytes(lost.bytes),
        megabytes(lost.bytes) / lost.restore_s,
        lost.cpu_s
    );
    println!(
        "the broker serves it to a plain consumer at {:.1} MB/s",
        megabytes(found.broker.bytes as f64) / found.broker.seconds
    );
    found.with_standby.print();
}
