//! `clvstream demo`.

use std::path::PathBuf;

use clap::Args;

/// `clvstream demo`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Replays the 69,659 orders of the CDNOW data set (1997 and 1998), with simulated browsing around them
whose ids, channels and products begin with `sim-`, on an embedded log, and sums up: customers, orders,
revenue, lifecycle stages, segments, top customers, events per second.

Examples:
  clvstream demo
  clvstream demo --data my_orders.csv
  clvstream demo --serve")]
pub struct DemoArgs {
    /// Orders to use instead of the ones that the project ships, in the same form
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// Stay up after the summary, serving metrics and health, until interrupted
    #[arg(long)]
    pub serve: bool,

    /// Decides what browsing is made up
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}
