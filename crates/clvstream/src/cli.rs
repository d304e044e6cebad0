//! What can be typed: options that hold for every command, and the commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::units::{parse_duration, parse_instant};
use domain::time::TimeMs;

use crate::cmd;
use crate::error::CliError;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed while running
  2    wrong usage or configuration
  3    done, and there is something to see to (`mapping check`: rejected rows;
       `topics plan --exit-code`: topics to create or change; `status --exit-code`:
       tasks without an owner, or with too few warm standbys; `model promote`: refused,
       as the model predicts worse)
  4    done, and what the topics hold is wrong (`verify`)
  130  interrupted before it was done; what was committed stays

Examples:
  clvstream demo
  clvstream mapping check --mapping mappings/cdnow.toml orders.csv
  clvstream replay --mapping mappings/cdnow.toml orders.csv
  clvstream run --config shop.toml
  clvstream tail clv.updates --follow
  clvstream status --config shop.toml
  clvstream verify --config shop.toml
  clvstream config check shop.toml

docs/cli.md describes every command, docs/configuration.md every key.";

/// Customer lifetime value, live, from a shop's event streams.
#[derive(Parser, Debug)]
#[command(
    name = "clvstream",
    version,
    after_long_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file (TOML); without one, every key has its default
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Override one key of the configuration, such as partitions=16 or time.grace=3d
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Shape of log lines on standard error (default: `logging.format`)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Log more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log less; twice for failures only
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,

    /// When to use colour; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Shape of a log line.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the service: consume the input topics, keep profiles, write what changes
    Run(cmd::run::RunArgs),
    /// Load history from files and process it
    Replay(cmd::replay::ReplayArgs),
    /// Play real orders with simulated browsing through the whole pipeline, and sum up
    Demo(cmd::demo::DemoArgs),
    /// Show what is known of one customer
    Profile(cmd::profile::ProfileArgs),
    /// Write profiles or the shop's days as a table
    #[command(subcommand)]
    Export(cmd::export::ExportCommand),
    /// Make up shop traffic, into the log or a file
    Simulate(cmd::simulate::SimulateArgs),
    /// Show records of a topic, decoded
    Tail(cmd::tail::TailArgs),
    /// List the application's topics; on Kafka, plan and make them
    Topics(cmd::topics::TopicsArgs),
    /// On Kafka: show who works on which task, and where tasks are kept warm
    Status(cmd::status::StatusArgs),
    /// On Kafka: change the number of tasks, while the service is stopped
    Repartition(cmd::repartition::RepartitionArgs),
    /// Check that the topics hold what they should, by replaying what was consumed
    Verify(cmd::verify::VerifyArgs),
    /// Fit the models of customer value, and evaluate them
    #[command(subcommand)]
    Model(cmd::model::ModelCommand),
    /// Work with mapping files, which let foreign data be read
    #[command(subcommand)]
    Mapping(cmd::mapping::MappingCommand),
    /// Check the configuration, or show what is in force
    #[command(subcommand)]
    Config(cmd::config::ConfigCommand),
}

impl Command {
    /// Whether the command is a service, whose log is its main output, or is run by a person who
    /// wants to see results and warnings.
    #[must_use]
    pub fn is_service(&self) -> bool {
        match self {
            Command::Run(_) => true,
            Command::Replay(_)
            | Command::Demo(_)
            | Command::Profile(_)
            | Command::Export(_)
            | Command::Simulate(_)
            | Command::Tail(_)
            | Command::Topics(_)
            | Command::Status(_)
            | Command::Repartition(_)
            | Command::Verify(_)
            | Command::Model(_)
            | Command::Mapping(_)
            | Command::Config(_) => false,
        }
    }
}

impl Global {
    /// The configuration in force.
    ///
    /// # Errors
    /// The file cannot be read, or anything is wrong with it: all of it.
    pub fn load(&self) -> Result<config::Loaded, CliError> {
        Ok(config::load(self.config.as_deref(), &self.set)?)
    }
}

/// For clap: a duration such as `3d`.
///
/// # Errors
/// It is none.
pub fn duration(text: &str) -> Result<Duration, config::units::UnitError> {
    parse_duration(text)
}

/// For clap: an instant such as `2011-03-01T12:00:00Z`, or a date.
///
/// # Errors
/// It is none.
pub fn instant(text: &str) -> Result<TimeMs, config::units::UnitError> {
    parse_instant(text)
}

/// For clap: a percentage, `5` or `0.5`, with or without its sign, in thousandths of the whole.
///
/// # Errors
/// It is none, or finer than a tenth of a percent.
pub fn per_mille(text: &str) -> Result<u32, String> {
    let wrong =
        || "not a percentage from 0 to 100 with at most one decimal; write 5, 0.5 or 5%".to_owned();
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || tenths.len() != 1 || !all_digits(whole) || !all_digits(tenths) {
        return Err(wrong());
    }
    let parts: u32 = format!("{whole}{tenths}").parse().map_err(|_| wrong())?;
    if parts > 1_000 {
        return Err(wrong());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_nothing_wrong() {
        Cli::command().debug_assert();
    }

    #[test]
    fn percentages() {
        for (text, expected) in [("5", 50), ("0.5", 5), ("7.5%", 75), ("100", 1_000)] {
            assert_eq!(per_mille(text), Ok(expected));
        }
        for text in ["", "%", "-1", "101", "0.05", "5.", "five", "1e1"] {
            assert!(per_mille(text).is_err(), "{text}");
        }
    }
}
