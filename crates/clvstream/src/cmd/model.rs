//! `clvstream model …`: the models of customer value and their report, from files or from a deployment's customers.

mod evaluate;
mod fits;
mod history;
mod kept;
mod promote;
mod report;
mod save;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use ::config::Loaded;
use clap::{Args, Subcommand, ValueEnum};
use clv::fit::FitOptions;
use domain::time::TimeMs;

use crate::cli::{duration, instant};
use crate::error::CliError;

/// `clvstream model …`
#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Fit the models of customer value to the deployment's customers, or to orders in files
    Fit(FitArgs),
    /// Fit them to the orders until a day, and hold what they predict against the orders after it
    Evaluate(EvaluateArgs),
    /// Evaluate them, and put tables and plots on one self-contained HTML page
    Report(ReportArgs),
    /// List the models that were saved, and which one is in force
    List(ListArgs),
    /// Show a model that was saved
    Show(ShowArgs),
    /// Put a model that was saved into force, unless it predicts worse than the one that is
    Promote(PromoteArgs),
}

/// `clvstream model fit`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Without INPUT, the customers are those of the deployment that the configuration names: on Kafka while
the service runs, too; an embedded deployment has to be stopped. INPUT is what `clvstream replay` reads.

BG/NBD, MBG/NBD, Pareto/NBD and Gamma-Gamma are fitted by maximum likelihood; times are in days,
amounts in the currency. docs/models.md has the formulas.

Examples:
  clvstream model fit --config shop.toml
  clvstream model fit --config shop.toml --save --note 'after the sale'
  clvstream model fit --mapping mappings/cdnow.toml data/cdnow/CDNOW_master.txt.zst
  clvstream model fit --mapping shop.toml orders.csv --as-of 2011-06-30 --l2 0.001 --json")]
pub struct FitArgs {
    /// The orders.
    #[command(flatten)]
    pub orders: Orders,

    /// Take in orders until the end of this UTC day, to which age is counted (by default that of stream time, of files
    /// the last with anything about an order)
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub as_of: Option<TimeMs>,

    /// Write too what the models take of each customer, as CSV: days with an order after the first, the first
    /// day and the last, and what those after the first came to
    #[arg(long, value_name = "FILE")]
    pub histories: Option<PathBuf>,

    /// How to save it.
    #[command(flatten)]
    pub save: SaveArgs,
}

/// Saving what was fitted.
#[derive(Args, Debug)]
#[command(next_help_heading = "Saving")]
pub struct SaveArgs {
    /// Write the model down as the next version, with how well one fitted without the last days predicts those
    #[arg(long, conflicts_with_all = ["inputs", "mapping"])]
    pub save: bool,

    /// Which model of orders is saved (by default `model.family`)
    #[arg(long, value_name = "MODEL", requires = "save")]
    pub family: Option<FamilyArg>,

    /// How much of the end is held out, in whole days (by default `model.holdout`)
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "save")]
    pub holdout: Option<Duration>,

    /// What is to be said about the model
    #[arg(long, value_name = "TEXT", requires = "save")]
    pub note: Option<String>,
}

/// A model of orders that can serve the stream.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FamilyArg {
    /// MBG/NBD: a customer may be gone after the first order
    MbgNbd,
    /// BG/NBD: nobody is gone before the second
    BgNbd,
}

/// `clvstream model list`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Models are saved by `clvstream model fit --save`. Scores are mean absolute errors, per customer, on the
holdout. Works beside a service that is running.

Examples:
  clvstream model list
  clvstream model list --json | jq '.[] | select(.in_force)'")]
pub struct ListArgs {
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// `clvstream model show`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Works beside a service that is running.

Examples:
  clvstream model show
  clvstream model show 3 --json | jq .orders.parameters")]
pub struct ShowArgs {
    /// Which one (by default the one in force, or the latest where none is)
    #[arg(value_name = "VERSION")]
    pub version: Option<u32>,

    /// Print it as JSON, as it stands in the topic
    #[arg(long)]
    pub json: bool,
}

/// `clvstream model evaluate`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Customers are those with an order until the day that is named; orders and revenue of the days after it are
predicted by each model and by the formula (what came so far by day, carried forward), and compared
with what came. A model that cannot be fitted says why and is left out.

Examples:
  clvstream model evaluate --config shop.toml --until 2011-06-30
  clvstream model evaluate --mapping mappings/cdnow.toml data/cdnow/CDNOW_master.txt.zst \\
      --until 1997-09-30
  clvstream model evaluate --mapping shop.toml orders.csv --until 2011-06-30 --holdout-until 2011-08-31 --json")]
pub struct EvaluateArgs {
    /// The orders.
    #[command(flatten)]
    pub orders: Orders,

    /// Last UTC day that the models are fitted to
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub until: TimeMs,

    /// Last UTC day that is predicted (by default that of stream time, of files the last with anything about an order)
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub holdout_until: Option<TimeMs>,
}

/// `clvstream model promote`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Every task goes over to the model at a record of its own, without a restart; customers are scored anew
in the background. It is refused where the model predicts worse on its holdout than the one in force: by
the mean absolute error of revenue, or of orders without a model of spend. An embedded deployment has to
be stopped; it goes over at the next start.

Examples:
  clvstream model promote 3
  clvstream model promote 2 --force

Exit code 0: it is in force. 3: it is refused, and nothing has changed.")]
pub struct PromoteArgs {
    /// Which one
    #[arg(value_name = "VERSION")]
    pub version: u32,

    /// Whatever the holdout says; an earlier one than that in force is saved once more, as the next
    #[arg(long)]
    pub force: bool,

    /// Print what is in force then as JSON
    #[arg(long)]
    pub json: bool,
}

/// `clvstream model report`
#[derive(Args, Debug)]
#[command(after_long_help = "\
The page holds the fits, the evaluation, and plots: repeat orders week by week, orders by frequency, the
distribution and concentration of value, and calibration by tenth. It needs no network and no script. With
--json the evaluation is printed besides, as `clvstream model evaluate` does.

Examples:
  clvstream model report --config shop.toml --until 2011-06-30 --out report.html
  clvstream model report --mapping mappings/cdnow.toml data/cdnow/CDNOW_master.txt.zst \\
      --until 1997-09-30 --out report.html")]
pub struct ReportArgs {
    /// What to evaluate.
    #[command(flatten)]
    pub evaluate: EvaluateArgs,

    /// The page to write
    #[arg(long, value_name = "FILE.html")]
    pub out: PathBuf,

    /// Replace the page where there is one
    #[arg(long)]
    pub force: bool,
}

/// Where orders are, and how fits to them are made.
#[derive(Args, Debug)]
pub struct Orders {
    /// With INPUT: the mapping file (TOML)
    #[arg(long, short, value_name = "FILE")]
    pub mapping: Option<PathBuf>,

    /// Files with orders, to be taken instead of the deployment's customers; other events in them are left out
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Weight of the squared logarithms of parameters, which draws them together where data are few
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = penalty)]
    pub l2: f64,

    /// Fit from no fewer customers than this
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub min_customers: u64,

    /// Fit from no fewer customers with a repeat order than this
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub min_repeaters: u64,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

impl Orders {
    /// Whether files are meant, and not the deployment.
    fn names_files(&self) -> bool {
        !self.inputs.is_empty() || self.mapping.is_some()
    }

    fn options(&self) -> FitOptions {
        FitOptions {
            l2: self.l2,
            min_customers: self.min_customers,
            min_repeaters: self.min_repeaters,
        }
    }
}

/// For clap: a number that is not negative.
fn penalty(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("not a number from 0 on; write 0.001".to_owned()),
    }
}

/// Does what is asked.
///
/// # Errors
/// The deployment, the mapping or a file cannot be used, no customer has an order, no model of orders can be
/// fitted, no such model was saved, or its promotion is refused.
pub fn run(command: &ModelCommand, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        ModelCommand::Fit(args) => fits::run(args, loaded, out),
        ModelCommand::Evaluate(args) => evaluate::run(args, loaded, out),
        ModelCommand::Report(args) => report::run(args, loaded, out),
        ModelCommand::List(args) => kept::list(args, loaded, out),
        ModelCommand::Show(args) => kept::show(args, loaded, out),
        ModelCommand::Promote(args) => promote::run(args, loaded, out),
    }
}
