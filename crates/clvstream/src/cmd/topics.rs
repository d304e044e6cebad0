//! `clvstream topics`.

use clap::Args;

/// `clvstream topics`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  clvstream topics
  clvstream topics --json | jq '.[] | select(.records > 0) | .topic'")]
pub struct TopicsArgs {
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}
