//! `clvstream profile`.

use clap::Args;

/// `clvstream profile`
#[derive(Args, Debug)]
#[command(after_long_help = "\
ID is a customer id; a visitor who is not identified is `anon:` and his anonymous id.

Examples:
  clvstream profile 17850
  clvstream profile 17850 --json | jq .clv
  clvstream profile anon:3f2a")]
pub struct ProfileArgs {
    /// The customer
    #[arg(value_name = "ID")]
    pub id: String,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}
