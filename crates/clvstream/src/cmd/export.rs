//! `clvstream export profiles` and `clvstream export days`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use domain::time::TimeMs;

use crate::cli::instant;

/// `clvstream export …`
#[derive(Subcommand, Debug)]
pub enum ExportCommand {
    /// Write every customer's profile, in the order of their ids
    Profiles(ProfilesArgs),
    /// Write the shop's totals per day
    Days(DaysArgs),
}

/// `clvstream export profiles`
#[derive(Args, Debug)]
#[command(after_long_help = "\
The order is canonical (customer ids byte by byte), so that equal states give equal files.

Examples:
  clvstream export profiles --output profiles.csv
  clvstream export profiles --as-of 2011-03-01 --format jsonl | jq .customer_id")]
pub struct ProfilesArgs {
    /// Windows and values as of this instant of event time; by default the stream's
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub as_of: Option<TimeMs>,

    /// Where to and how.
    #[command(flatten)]
    pub target: Target,
}

/// `clvstream export days`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Orders without a customer are counted: they belong to the shop and to no profile.

Examples:
  clvstream export days
  clvstream export days --format jsonl --output days.jsonl")]
pub struct DaysArgs {
    /// Where to and how.
    #[command(flatten)]
    pub target: Target,
}

/// Where to write, and how.
#[derive(Args, Debug)]
pub struct Target {
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    pub format: ExportFormat,

    /// File to write; it appears when it is complete. By default standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of an export.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportFormat {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}
