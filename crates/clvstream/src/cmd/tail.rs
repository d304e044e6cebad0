//! `clvstream tail`.

use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use config::Config;
use engine::port::TopicPartition;
use eventlog::{LogView, StoredRecord};

use crate::error::CliError;
use crate::render::printable;
use crate::shutdown::Shutdown;
use crate::topic::{Reader, find_topic, log_error, open_log};

/// Records, and bytes, of a partition that are read at a time.
const CHUNK: (usize, usize) = (500, 4 << 20);
/// How long --follow waits before it looks for more.
const PATIENCE: Duration = Duration::from_millis(200);

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
    pub from: From,

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

/// Where to begin in each partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// At this offset, or at the first one that is kept.
    Offset(u64),
    /// That many records before the end.
    Last(u64),
}

/// A partition, and how far it has been read.
struct Cursor {
    source: TopicPartition,
    next: u64,
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
    let mut log = open_log(config)?;
    let reader = Reader::new(config)?;
    let mut cursors = cursors(args, config, &log)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 && !shutdown.is_requested() {
        let chunk = next_chunk(&log, &mut cursors)?;
        if chunk.is_empty() {
            if !args.follow {
                break;
            }
            out.flush()?;
            while !log.catch_up().map_err(log_error)? && !shutdown.wait(PATIENCE) {}
            continue;
        }
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

fn cursors(args: &TailArgs, config: &Config, log: &LogView) -> Result<Vec<Cursor>, CliError> {
    let (topic, partitions) = find_topic(log, config, &args.topic)?;
    let wanted = match args.partition {
        Some(partition) => partition..partition.saturating_add(1),
        None => 0..partitions,
    };
    wanted
        .map(|partition| {
            let source = TopicPartition {
                topic: topic.clone(),
                partition,
            };
            let start = log.start_offset(&source).map_err(log_error)?;
            let end = log.end_offset(&source).map_err(log_error)?;
            let next = match args.from {
                From::Offset(offset) => offset.max(start),
                From::Last(records) => end.saturating_sub(records).max(start),
            };
            Ok(Cursor { source, next })
        })
        .collect()
}

/// The next records of every partition, in the order in which they were written.
fn next_chunk(log: &LogView, cursors: &mut [Cursor]) -> Result<Vec<StoredRecord>, CliError> {
    let mut chunk = Vec::new();
    for cursor in cursors {
        let (records, bytes) = CHUNK;
        let read = log
            .read(&cursor.source, cursor.next, records, bytes)
            .map_err(log_error)?;
        if let Some(last) = read.last() {
            cursor.next = last.record.offset + 1;
        }
        chunk.extend(read);
    }
    chunk.sort_by_key(|stored| {
        let record = &stored.record;
        (record.timestamp, record.source.partition, record.offset)
    });
    Ok(chunk)
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

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let wrong =
            || "write `beginning`, an offset such as 1500, or -10 for the last ten".to_owned();
        if text == "beginning" {
            return Ok(From::Offset(0));
        }
        match text.strip_prefix('-') {
            Some(last) => last.parse().map(From::Last).map_err(|_| wrong()),
            None => text.parse().map(From::Offset).map_err(|_| wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!("beginning".parse(), Ok(From::Offset(0)));
        assert_eq!("1500".parse(), Ok(From::Offset(1500)));
        assert_eq!("-10".parse(), Ok(From::Last(10)));
        for text in ["", "-", "end", "--1", "1.5"] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}
