//! `clvstream replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use domain::time::TimeMs;

use crate::cli::{duration, instant, per_mille};

/// `clvstream replay`
#[derive(Args, Debug)]
#[command(after_long_help = "\
INPUT is a CSV or JSON lines file, plain or compressed with gzip or zstd. Rows that cannot be mapped go
to the dead-letter topic with their bytes and the reason. A replay that was interrupted is taken up
where it stopped when the same command is given again.

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

    /// Decides which events are moved and doubled
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}
