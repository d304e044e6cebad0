//! `bench`: the program on Apache Kafka, and in the same run a plain consume-transform-produce loop.
//!
//! `bench kafka` runs everything and is what `scripts/bench` calls; `bench floor` is the loop, a
//! process of its own so that its CPU time is its own; `bench compare` sets two results side by side; `bench models`
//! needs no Kafka: it measures the models of customer value.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what this tool says is for the person or the script that called it"
)]

mod error;
mod floor;
mod kafka;
mod latency;
mod load;
mod models;
mod process;
mod program;
mod quantiles;
mod recovery;
mod report;
mod sending;
mod setup;
mod takeover;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::BenchError;
use crate::setup::Setup;

/// Measures clvstream on Apache Kafka.
#[derive(Parser, Debug)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Throughput, CPU, memory and latency on Kafka, of the program and of the floor
    Kafka(kafka::KafkaArgs),
    /// Restarts on Kafka, after kill -9 and with the state lost; and takeovers with a warm standby
    Recovery(recovery::RecoveryArgs),
    /// Scores and fits of the models of customer value
    Models(models::ModelsArgs),
    /// Consume, write each record out again, commit both in one transaction; print what it took as JSON
    Floor(FloorArgs),
    /// Every figure of two results, and the second over the first
    Compare(CompareArgs),
}

#[derive(Args, Debug)]
struct CompareArgs {
    /// Results of `bench kafka`
    before: PathBuf,
    /// Others
    after: PathBuf,
}

#[derive(Args, Debug)]
struct FloorArgs {
    /// The program's configuration file, from which everything is taken
    #[arg(long)]
    config: PathBuf,
    /// Override one key of it
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Consumer group, and prefix of transactional ids
    #[arg(long)]
    group: String,
    /// End when so many records are committed; without it, when standard input is closed
    #[arg(long)]
    records: Option<u64>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Kafka(args) => kafka::run(&args),
        Command::Recovery(args) => recovery::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Floor(args) => floor(&args),
        Command::Compare(args) => {
            report::compare(&args.before, &args.after).map(|text| print!("{text}"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the floor says when its clock starts.
const READY: &str = "ready";

fn floor(args: &FloorArgs) -> Result<(), BenchError> {
    let setup = Setup::load(&args.config, &args.overrides)?;
    let until = args
        .records
        .map_or(floor::Until::StdinCloses, floor::Until::Records);
    let report = floor::run(&setup, &args.group, until, || println!("{READY}"))?;
    let text = serde_json::to_string(&report).map_err(|source| BenchError::Json {
        what: "the floor's report".into(),
        source,
    })?;
    println!("{text}");
    Ok(())
}
