//! `clvstream simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use domain::time::TimeMs;

use crate::cli::{duration, instant, per_mille};

/// `clvstream simulate`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Makes up a whole shop: visits, funnels, orders with seasonality, discounts, refunds. The same seed
gives the same events. They go to the input topics, or to a file as JSON lines.

Examples:
  clvstream simulate --events 1000000
  clvstream simulate --customers 5000 --days 90 --rate 200
  clvstream simulate --events 10000 --seed 7 --output shop.jsonl
  clvstream simulate --events 10000 --shuffle-within 1h --duplicate 5 --output - | head")]
pub struct SimulateArgs {
    /// Stop after this many events; the shop gets as many customers as that takes
    #[arg(long, value_name = "NUMBER")]
    pub events: Option<u64>,

    /// Customers of the shop, 10,000 unless --events says otherwise
    #[arg(long, value_name = "NUMBER", conflicts_with = "events")]
    pub customers: Option<u32>,

    /// Day on which it opens
    #[arg(long, value_name = "INSTANT", default_value = "2024-01-01", value_parser = instant)]
    pub start: TimeMs,

    /// Days that are simulated
    #[arg(long, value_name = "NUMBER", default_value_t = 366)]
    pub days: u32,

    /// Products in its catalogue
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub products: u32,

    /// Decides everything that is made up
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Events per second; by default as fast as possible
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// Deliver events out of order, by up to this much of event time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub shuffle_within: Option<Duration>,

    /// Deliver this share of the events twice
    #[arg(id = "duplicate", long, value_name = "PERCENT", value_parser = per_mille)]
    pub duplicate_per_mille: Option<u32>,

    /// Write JSON lines to this file (`-`: standard output) instead of the log
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
