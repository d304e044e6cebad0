//! `clvstream topics`.

use std::io::Write;

use clap::Args;
use config::Config;
use config::units::{format_bytes, format_duration};
use engine::port::TopicPartition;
use eventlog::{Cleanup, LogView, TopicInfo};
use serde_json::json;

use crate::error::CliError;
use crate::render::{grouped, table};
use crate::topic::{log_error, open_log};

/// `clvstream topics`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Works beside a service that is running.

Examples:
  clvstream topics
  clvstream topics --json | jq '.[] | select(.records > 0) | .topic'")]
pub struct TopicsArgs {
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists the topics of the log.
///
/// # Errors
/// There is no log, or it cannot be read.
pub fn run(args: &TopicsArgs, config: &Config, out: &mut dyn Write) -> Result<(), CliError> {
    let log = open_log(config)?;
    let mut listed = Vec::new();
    for topic in log.topics() {
        listed.push((records(&log, &topic)?, topic));
    }
    if args.json {
        let listed: Vec<_> = listed
            .iter()
            .map(|(records, topic)| {
                json!({
                    "topic": &*topic.name,
                    "partitions": topic.partitions,
                    "records": records,
                    "cleanup": cleanup(topic.cleanup),
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &listed)?;
        return Ok(writeln!(out)?);
    }
    let rows = listed
        .iter()
        .map(|(records, topic)| {
            vec![
                topic.name.to_string(),
                topic.partitions.to_string(),
                grouped(*records),
                cleanup(topic.cleanup),
            ]
        })
        .collect();
    let headers = ["topic", "partitions", "records", "cleanup"];
    Ok(writeln!(out, "{}", table(&headers, rows))?)
}

/// Offsets in use: of a compacted topic, no more records than these.
fn records(log: &LogView, topic: &TopicInfo) -> Result<u64, CliError> {
    let mut records = 0;
    for partition in 0..topic.partitions {
        let source = TopicPartition {
            topic: topic.name.clone(),
            partition,
        };
        let end = log.end_offset(&source).map_err(log_error)?;
        let start = log.start_offset(&source).map_err(log_error)?;
        records += end - start;
    }
    Ok(records)
}

fn cleanup(cleanup: Cleanup) -> String {
    match cleanup {
        Cleanup::Keep => "kept".to_owned(),
        Cleanup::Compact => "compacted".to_owned(),
        Cleanup::Delete {
            retention_ms,
            retention_bytes,
        } => {
            let time = retention_ms.map(|ms| {
                let kept = std::time::Duration::from_millis(ms);
                format!("after {}", format_duration(kept))
            });
            let size = retention_bytes.map(|bytes| format!("beyond {}", format_bytes(bytes)));
            let limits: Vec<String> = time.into_iter().chain(size).collect();
            match limits.is_empty() {
                true => "kept".to_owned(),
                false => format!("deleted {}", limits.join(", ")),
            }
        }
    }
}
