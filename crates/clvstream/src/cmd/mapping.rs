//! `clvstream mapping check`.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::config::Config;
use clap::{Args, Subcommand};
use domain::time::TimeMs;
use runtime::configured::input_rules;
use source::{MappingCheck, RowReader, TopicRecord, mapping_check, render, topic_check};
use wire::InputRules;
use wire::mapping::{MappedTopic, Mapping, MappingProblem};

use crate::error::{CliError, Exit};
use crate::schemas::Schemas;
use crate::topic::{Cursors, Start, Topics};

/// Records of a topic that are read unless it is said how many.
const RECORDS: u64 = 1_000;

/// `clvstream mapping …`
#[derive(Subcommand, Debug)]
pub enum MappingCommand {
    /// Try a mapping on files or a topic: the first ten events, what was rejected and why. Loads nothing
    Check(CheckArgs),
}

/// `clvstream mapping check`
#[derive(Args, Debug)]
#[command(after_long_help = "\
INPUT is a CSV or JSON lines file, plain or compressed with gzip or zstd; `-` is standard input. 
With --topic, records of a topic are read in place of files: JSON, or Avro in Confluent's wire
format, whose schemas the registry may have. Works beside a service that is running.

Examples:
  clvstream mapping check --mapping mappings/cdnow.toml orders.csv
  clvstream mapping check --mapping shop.toml export.jsonl.zst --limit 1000
  zcat orders.csv.gz | clvstream mapping check --mapping shop.toml - --json
  clvstream mapping check --topic erp.orders --mapping mappings/erp.toml
  clvstream mapping check --topic erp.orders --from beginning --limit 100000

Exit code 0: every row was read, and none rejected. 3: some were not.")]
pub struct CheckArgs {
    /// The mapping file (TOML); with --topic by default the one that `input.mapped` names for it
    #[arg(long, short, value_name = "FILE", required_unless_present = "topic")]
    pub mapping: Option<PathBuf>,
    /// Files to try it on
    #[arg(
        required_unless_present = "topic",
        conflicts_with = "topic",
        value_name = "INPUT"
    )]
    pub inputs: Vec<PathBuf>,
    /// A topic to try it on, by its full name
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Where to begin in each partition of the topic: `beginning`, an offset, or -N for the last N
    /// records
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "-1000",
        allow_hyphen_values = true,
        requires = "topic"
    )]
    pub from: Start,
    /// Read at most this many rows of each file, or records of the topic (1000 unless said)
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// Print the results as JSON, one object a file
    #[arg(long)]
    pub json: bool,
}

/// Tries a mapping on files or a topic.
///
/// # Errors
/// The mapping has problems, a file or topic cannot be opened, or rows were rejected.
pub fn check(args: &CheckArgs, config: &Config, out: &mut dyn Write) -> Result<(), CliError> {
    let mapping = read_mapping(mapping_file(args, config)?)?;
    let rules = mapping.rules_override(&input_rules(config, config.currency));
    match &args.topic {
        Some(topic) => check_topic(args, config, topic, mapping, &rules, out),
        None => check_files(args, &mapping, &rules, out),
    }
}

/// The mapping file that is named, or that the configuration has for the topic.
fn mapping_file<'a>(args: &'a CheckArgs, config: &'a Config) -> Result<&'a Path, CliError> {
    let topic = args.topic.as_deref().unwrap_or_default();
    let named = args.mapping.as_ref();
    let file = named.or_else(|| config.input.mapped.get(topic));
    file.map(PathBuf::as_path).ok_or_else(|| {
        CliError::usage(format!("no mapping is configured for the topic {topic}"))
            .hint("--mapping names the file; `input.mapped` names it for the service")
    })
}

fn check_topic(
    args: &CheckArgs,
    config: &Config,
    topic: &str,
    mapping: Mapping,
    rules: &InputRules,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    mapping.check_topic(rules).map_err(has_problems)?;
    let mapped = MappedTopic::new(Arc::new(mapping), rules);
    let schemas = Schemas::of(config)?;
    let decoder = schemas.decoder(rules.clone());
    let topics = Topics::open(config)?;
    let (topic, partitions) = topics.find(config, topic)?;
    let mut cursors = Cursors::open(&topics, &topic, 0..partitions, args.from, false)?;
    let mut chunk = VecDeque::new();
    let records = std::iter::from_fn(|| {
        if chunk.is_empty() {
            match cursors.next_chunk(&topics) {
                Ok(next) => chunk.extend(next),
                Err(error) => return Some(Err(error.message)),
            }
        }
        let record = chunk.pop_front()?.record;
        if let Err(why) = schemas.fetch(record.value.as_deref()) {
            return Some(Err(why));
        }
        Some(Ok(TopicRecord {
            partition: record.source.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
        }))
    });
    let limit = args.limit.unwrap_or(RECORDS);
    let check = topic_check(&mapped, &topic, records, &decoder, Some(limit));
    render(&check, args.json, out)?;
    if check.is_clean() {
        return Ok(());
    }
    Err(CliError::new(
        Exit::DataProblems,
        format!("{topic}: records were rejected, or could not be read"),
    ))
}

fn check_files(
    args: &CheckArgs,
    mapping: &Mapping,
    rules: &InputRules,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let now = TimeMs(i64::try_from(now).unwrap_or(i64::MAX));
    let mut unclean = 0_usize;
    for input in &args.inputs {
        let reader = open(input, mapping)?;
        let check: MappingCheck = mapping_check(mapping, reader, rules, now, args.limit);
        unclean += usize::from(!check.is_clean());
        render(&check, args.json, out)?;
        if !args.json {
            writeln!(out)?;
        }
    }
    if unclean == 0 {
        return Ok(());
    }
    let files = args.inputs.len();
    Err(CliError::new(
        Exit::DataProblems,
        format!("{unclean} of {files} files: rows were rejected, or could not be read"),
    ))
}

/// Reads a mapping file.
///
/// # Errors
/// It cannot be read, or has problems: all of them.
pub fn read_mapping(path: &Path) -> Result<Mapping, CliError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("cannot read the mapping {name}: {error}")))?;
    Mapping::parse(&name, &text).map_err(has_problems)
}

fn has_problems(problems: Vec<MappingProblem>) -> CliError {
    let listed: String = problems.iter().map(|p| format!("\n  {p}")).collect();
    let count = match problems.len() {
        1 => "a problem".to_owned(),
        n => format!("{n} problems"),
    };
    CliError::usage(format!("the mapping has {count}{listed}"))
        .hint("docs/mappings.md describes mapping files")
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// It cannot be opened, or does not fit the mapping.
pub fn open(input: &Path, mapping: &Mapping) -> Result<RowReader, CliError> {
    let reader = if input == Path::new("-") {
        RowReader::from_input("stdin", std::io::stdin(), mapping)
    } else {
        RowReader::open(input, mapping)
    };
    reader.map_err(CliError::failure)
}
