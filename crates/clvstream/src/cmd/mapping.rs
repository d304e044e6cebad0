//! `clvstream mapping check`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ::config::Config;
use clap::{Args, Subcommand};
use domain::time::TimeMs;
use runtime::deployment::input_rules;
use source::{MappingCheck, RowReader, mapping_check, render};
use wire::mapping::Mapping;

use crate::error::{CliError, Exit};

/// `clvstream mapping …`
#[derive(Subcommand, Debug)]
pub enum MappingCommand {
    /// Try a mapping on files: the first ten events, what was rejected and why. Loads nothing
    Check(CheckArgs),
}

/// `clvstream mapping check`
#[derive(Args, Debug)]
#[command(after_long_help = "\
INPUT is a CSV or JSON lines file, plain or compressed with gzip or zstd; `-` is standard input.

Examples:
  clvstream mapping check --mapping mappings/cdnow.toml orders.csv
  clvstream mapping check --mapping shop.toml export.jsonl.zst --limit 1000
  zcat orders.csv.gz | clvstream mapping check --mapping shop.toml - --json

Exit code 0: every row was read, and none rejected. 3: some were not.")]
pub struct CheckArgs {
    /// The mapping file (TOML)
    #[arg(long, short, value_name = "FILE")]
    pub mapping: PathBuf,
    /// Files to try it on
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Read at most this many rows of each file
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// Print the results as JSON, one object a file
    #[arg(long)]
    pub json: bool,
}

/// Tries a mapping on files.
///
/// # Errors
/// The mapping has problems, a file cannot be opened, or rows were rejected.
pub fn check(args: &CheckArgs, config: &Config, out: &mut dyn Write) -> Result<(), CliError> {
    let mapping = read_mapping(&args.mapping)?;
    let rules = mapping.rules_override(&input_rules(config, config.currency));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let now = TimeMs(i64::try_from(now).unwrap_or(i64::MAX));
    let mut unclean = 0_usize;
    for input in &args.inputs {
        let reader = open(input, &mapping)?;
        let check: MappingCheck = mapping_check(&mapping, reader, &rules, now, args.limit);
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
    Mapping::parse(&name, &text).map_err(|problems| {
        let listed: String = problems.iter().map(|p| format!("\n  {p}")).collect();
        let count = match problems.len() {
            1 => "a problem".to_owned(),
            n => format!("{n} problems"),
        };
        CliError::usage(format!("the mapping has {count}{listed}"))
            .hint("docs/mappings.md describes mapping files")
    })
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
