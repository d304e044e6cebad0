//! `clvstream replay`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::config::Loaded;
use clap::Args;
use domain::time::TimeMs;
use runtime::load::{self, Delivery, Files, KeyBy};
use runtime::retention;
use runtime::workers::{Observers, Shared, Until, wall_clock};
use serde::Serialize;

use crate::cli::{duration, instant, per_mille};
use crate::cmd::mapping::read_mapping;
use crate::error::CliError;
use crate::render::{grouped, table};
use crate::session::{self, Took};
use crate::shutdown::Shutdown;

/// `clvstream replay`
#[derive(Args, Debug)]
#[command(after_long_help = "\
INPUT is a CSV or JSON lines file, plain or compressed with gzip or zstd. Rows that cannot be mapped go
to the dead-letter topic with their bytes and the reason. A replay that was interrupted is taken up
where it stopped when the same command is given again.

With a log on Kafka it loads, and then waits until the running service has consumed everything; with
--until it has stream time advance to that instant after that.

Examples:
  clvstream replay --mapping mappings/cdnow.toml CDNOW_master.csv
  clvstream replay --mapping mappings/online_retail.toml lines.csv.zst --until 2011-03-01
  clvstream replay --mapping shop.toml a.jsonl b.jsonl --shuffle-within 3d --duplicate 5 \\
      --set time.grace=3d")]
pub struct ReplayArgs {
    /// The mapping file (TOML)
    #[arg(long, short, value_name = "FILE")]
    pub mapping: PathBuf,

    /// Files with history, oldest first
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Load only events up to this instant, and advance stream time to it: results are as of then
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub until: Option<TimeMs>,

    /// Deliver events out of order, by up to this much of event time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub shuffle_within: Option<Duration>,

    /// Deliver this share of the events twice
    #[arg(id = "duplicate", long, value_name = "PERCENT", value_parser = per_mille)]
    pub duplicate_per_mille: Option<u32>,

    /// What events are keyed by on their way into the topics: by their order they reach their
    /// customer's task by way of another one
    #[arg(long, value_enum, default_value_t = KeyedBy::Customer)]
    pub key_by: KeyedBy,

    /// Decides which events are moved and doubled
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// What events are keyed by.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyedBy {
    /// Their customer or visitor
    Customer,
    /// Their order, where they are about one
    Order,
}

/// What a replay did.
#[derive(Serialize)]
struct Report {
    loaded: runtime::load::Loaded,
    /// On an embedded log: what was processed, which on Kafka the service does.
    #[serde(flatten)]
    work: Option<Work>,
}

#[derive(Serialize)]
struct Work {
    processed: Took,
    /// What became of all records since the first one, by name.
    records: std::collections::BTreeMap<&'static str, u64>,
}

/// Loads the files into the input topics and processes them.
///
/// # Errors
/// The mapping or a file cannot be used, or it was interrupted.
pub fn run(
    args: &ReplayArgs,
    loaded: &Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mapping = read_mapping(&args.mapping)?;
    let within = args.shuffle_within.unwrap_or_default().as_millis();
    let delivery = Delivery {
        seed: args.seed,
        shuffle_within_ms: i64::try_from(within).unwrap_or(i64::MAX),
        duplicate_per_mille: args.duplicate_per_mille.unwrap_or(0),
        until: args.until,
        key_by: match args.key_by {
            KeyedBy::Customer => KeyBy::Owner,
            KeyedBy::Order => KeyBy::Order,
        },
    };
    let files = Files::open(&args.inputs, &mapping, &delivery).map_err(CliError::failure)?;
    let deployment = session::open(loaded, mapping.currency())?;
    let name = files.name.clone();
    let items = files.items(&mapping, &deployment, &delivery);
    let loaded = session::load(&deployment, &name, &delivery, items, shutdown)?;
    let mut report = Report { loaded, work: None };
    match deployment.log.embedded() {
        Some(log) => {
            let observers = Observers::default();
            let drained = Until::Drained;
            let (mut counts, took) = session::process(&deployment, drained, shutdown, &observers)?;
            if load::end(&deployment, &name, &delivery, &Arc::default())? {
                counts = session::process(&deployment, drained, shutdown, &observers)?.0;
            }
            // Nobody else does it where a deployment is only ever replayed into.
            retention::enforce(log, wall_clock(), &Shared::default(), &observers);
            report.work = Some(Work {
                processed: took,
                records: counts.named().into_iter().collect(),
            });
        }
        None => session::wait_for_service(&deployment, &name, &delivery, shutdown)?,
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        return Ok(writeln!(out)?);
    }
    render(&report, out)
}

fn render(report: &Report, out: &mut dyn Write) -> Result<(), CliError> {
    let Report { loaded, work } = report;
    writeln!(
        out,
        "loaded     {} events, {} rows rejected, {} loaded before, {} after the end",
        grouped(loaded.events),
        grouped(loaded.rejected),
        grouped(loaded.skipped),
        grouped(loaded.after_end),
    )?;
    let Some(Work { processed, records }) = work else {
        return Ok(writeln!(
            out,
            "processed  all of it, by the running service"
        )?);
    };
    writeln!(
        out,
        "processed  {} records in {:.1} s: {} a second\n",
        grouped(processed.records),
        processed.seconds,
        grouped(processed.per_second as u64),
    )?;
    let rows = records
        .iter()
        .map(|(name, n)| vec![(*name).to_owned(), grouped(*n)]);
    writeln!(
        out,
        "{}",
        table(&["records since the first", "number"], rows.collect())
    )?;
    Ok(())
}
