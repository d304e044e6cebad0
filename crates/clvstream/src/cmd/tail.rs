//! `clvstream tail`.

use std::io::Write;

use clap::Args;
use config::Config;
use eventlog::StoredRecord;

use crate::error::CliError;
use crate::render::printable;
use crate::shutdown::Shutdown;
use crate::topic::{Cursors, Reader, Start, Topics};

/// `clvstream tail`
#[derive(Args, Debug)]
#[command(after_long_help = "\
TOPIC is an output topic (clv.updates, lifecycle.transitions, segment.changes, dlq), an input topic, or an
internal one; the application's prefix may be left out. `clvstream topics` lists them. Works beside a
service that is running.

Examples:
  clvstream tail clv.updates
  clvstream tail lifecycle.transitions --follow
  clvstream tail segment.changes --from beginning --limit 5 --json
  clvstream tail dlq --from beginning --json | jq -r '.headers.clv_error_class' | sort | uniq -c
  clvstream tail orders --partition 2 --from 1500")]
pub struct TailArgs {
    /// The topic
    #[arg(value_name = "TOPIC")]
    pub topic: String,

    /// Where to begin in each partition: `beginning`, an offset, or -N for the last N records
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "-10",
        allow_hyphen_values = true
    )]
    pub from: Start,

    /// Only this partition
    #[arg(long, short, value_name = "NUMBER")]
    pub partition: Option<u32>,

    /// Stop after this many records
    #[arg(long, short = 'n', value_name = "RECORDS")]
    pub limit: Option<u64>,

    /// Wait for more records, until interrupted
    #[arg(long, short)]
    pub follow: bool,

    /// Print one JSON object a record
    #[arg(long)]
    pub json: bool,
}

/// Shows records of a topic.
///
/// # Errors
/// There is no such log, topic or partition, or it cannot be read.
pub fn run(
    args: &TailArgs,
    config: &Config,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut topics = Topics::open(config)?;
    let mut reader = Reader::new(config)?;
    let mut cursors = cursors(args, config, &topics)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 && !shutdown.is_requested() {
        let chunk = cursors.next_chunk(&topics)?;
        if chunk.is_empty() {
            if !args.follow {
                break;
            }
            out.flush()?;
            topics.wait(shutdown)?;
            continue;
        }
        reader.fetch_schemas(&chunk);
        for stored in &chunk {
            if left == 0 {
                break;
            }
            left -= 1;
            show(stored, &reader, args.json, out)?;
        }
    }
    Ok(())
}

fn cursors(args: &TailArgs, config: &Config, topics: &Topics) -> Result<Cursors, CliError> {
    let (topic, partitions) = topics.find(config, &args.topic)?;
    let wanted = match args.partition {
        Some(partition) => partition..partition.saturating_add(1),
        None => 0..partitions,
    };
    Cursors::open(topics, &topic, wanted, args.from, args.follow)
}

fn show(
    stored: &StoredRecord,
    reader: &Reader,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if json {
        return Ok(writeln!(out, "{}", reader.record(stored))?);
    }
    let record = &stored.record;
    let key = record.key.as_deref().map(String::from_utf8_lossy);
    let key = printable(key.as_deref().unwrap_or("-"));
    let value = printable(&reader.value(record.value.as_deref()).to_string());
    let (partition, offset, time) = (record.source.partition, record.offset, record.timestamp);
    Ok(writeln!(
        out,
        "{partition}:{offset}  {time}  {key}  {value}"
    )?)
}
