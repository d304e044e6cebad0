//! `clvstream topics`.

mod kafka;

use std::io::Write;

use clap::{Args, Subcommand};
use config::units::{format_bytes, format_duration};
use config::{Config, Loaded};
use engine::port::TopicPartition;
use eventlog::{Cleanup, LogView, TopicInfo};
use runtime::kafka::Administration;
use serde_json::json;

use crate::error::CliError;
use crate::render::{grouped, table};
use crate::topic::{log_error, open_log};

/// `clvstream topics`
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Without a command, the same as `clvstream topics list`. Works beside a service that is running.

Examples:
  clvstream topics
  clvstream topics --json | jq '.[] | select(.records > 0) | .topic'
  clvstream topics plan"
)]
pub struct TopicsArgs {
    /// What to do with them
    #[command(subcommand)]
    pub command: Option<TopicsCommand>,
    /// How to list them
    #[command(flatten)]
    pub list: ListArgs,
}

/// `clvstream topics …`
#[derive(Subcommand, Debug)]
pub enum TopicsCommand {
    /// List the application's topics
    List(ListArgs),
    /// On Kafka: show how the topics differ from what they should be. Changes nothing
    Plan(PlanArgs),
    /// On Kafka: create the topics that are missing, and change settings that differ
    Apply(ApplyArgs),
}

/// `clvstream topics list`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Records are the offsets between the ends of a topic's partitions: what compaction has removed counts,
and on Kafka a marker for each transaction.")]
pub struct ListArgs {
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// `clvstream topics plan`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  clvstream topics plan --config shop.toml
  clvstream topics plan --acls --principal User:clvstream
  clvstream topics plan --exit-code || clvstream topics apply

Exit code 0: the topics can be used, or will be after `apply`. 1: some cannot, and `apply` cannot help.
3, with --exit-code only: there is something to do.")]
pub struct PlanArgs {
    /// Access rules
    #[command(flatten)]
    pub acls: AclArgs,
    /// End with 3 if there is anything to do
    #[arg(long)]
    pub exit_code: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// `clvstream topics apply`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Creates and changes; never deletes, and never adds partitions. The configured user needs the right to
it: Create and AlterConfigs on the topics, and Alter on the cluster for --acls.

Examples:
  clvstream topics apply --config shop.toml
  clvstream topics apply --acls --principal User:clvstream --set kafka.security.username=admin")]
pub struct ApplyArgs {
    /// Access rules
    #[command(flatten)]
    pub acls: AclArgs,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// Access rules.
#[derive(Args, Debug)]
pub struct AclArgs {
    /// Also the access rules that the service's principal needs
    #[arg(long, requires = "principal")]
    pub acls: bool,
    /// The service's principal, such as User:clvstream
    #[arg(long, requires = "acls", value_name = "TYPE:NAME", value_parser = principal)]
    pub principal: Option<String>,
}

/// Lists topics, or sees to them.
///
/// # Errors
/// The log or the cluster cannot be read, or topics cannot be used as they are.
pub fn run(args: &TopicsArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let config = &loaded.config;
    let listed = match &args.command {
        None => Some(args.list.json),
        Some(TopicsCommand::List(list)) => Some(list.json),
        Some(TopicsCommand::Plan(_) | TopicsCommand::Apply(_)) => None,
    };
    let Some(settings) = &config.kafka else {
        return match listed {
            Some(json) => list_embedded(config, json, out),
            None => Err(CliError::usage(
                "the embedded log makes its topics by itself: there is nothing to plan",
            )
            .hint("`kafka.bootstrap` names a Kafka cluster")),
        };
    };
    let found = Administration::of(loaded, settings)?;
    let target = kafka::Target {
        admin: &found.admin,
        desired: &found.desired,
        recorded: &found.recorded,
    };
    match &args.command {
        None => kafka::list(&target, args.list.json, out),
        Some(TopicsCommand::List(list)) => kafka::list(&target, list.json, out),
        Some(TopicsCommand::Plan(plan)) => kafka::plan(&target, plan, out),
        Some(TopicsCommand::Apply(apply)) => kafka::apply(&target, apply, out),
    }
}

fn principal(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("a principal is a type and a name, such as User:clvstream".to_owned()),
    }
}

fn list_embedded(config: &Config, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let log = open_log(config)?;
    let mut listed = Vec::new();
    for topic in log.topics() {
        listed.push((records(&log, &topic)?, topic));
    }
    if json {
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
