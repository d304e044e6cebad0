//! `make chaos`: rounds of faults against one broker and against three, in turn, for as many minutes as it is
//! told; then a table. Ends with 1 if anything was as it must not be.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it finds is for whoever called it"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chaos::{Deck, Fault, Inputs, KeyedBy, Limits, Report, Site, Wanted, run_round};
use clap::Parser;
use fleet::Random;

/// Disturbs the program on a real Kafka, and checks what comes out.
#[derive(Parser, Debug)]
struct Args {
    /// For how long rounds are begun
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Decides which faults come when, and whom they hit
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program, built with the feature `failpoints`
    #[arg(long)]
    program: PathBuf,
    /// Numbers of brokers, a cluster of each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    brokers: Vec<u32>,
    /// Faults that are injected, by name; all of them unless told
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// Faults of a round
    #[arg(long, default_value_t = 12)]
    round: usize,
    /// A further setting of the instances: KEY=VALUE
    #[arg(long = "set")]
    settings: Vec<String>,
    /// Keeps the logs of instances in this folder
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Writes the report as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the takeover of a task may take: the longer of session timeout and of transaction timeout with the
/// brokers' scan interval, and two seconds.
const PROMISED: Duration = Duration::from_secs(6);
/// For processes to start and tests to share a machine.
const SLACK: Duration = Duration::from_secs(24);

fn fault(name: &str) -> Result<Fault, String> {
    let names = || {
        Fault::all()
            .into_iter()
            .map(Fault::name)
            .collect::<Vec<_>>()
    };
    Fault::named(name).ok_or_else(|| format!("the faults are {}", names().join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let started = Instant::now();
    let mut report = Report::new(args.seed);
    let mut sites = Vec::new();
    for size in &args.brokers {
        match Site::open(*size, "chaos") {
            Some(site) => sites.push(site),
            // Why has been said.
            None => return ExitCode::FAILURE,
        }
    }
    let faults = match args.faults.is_empty() {
        true => Fault::all(),
        false => args.faults.clone(),
    };
    let mut deck = Deck::of(faults);
    let mut random = Random::new(args.seed, 0);
    let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
    let limits = Limits {
        faults: args.round,
        resumes_within: Some(PROMISED + SLACK),
        settings: args.settings.clone(),
        logs: args.logs.clone(),
    };
    let keys = [KeyedBy::Order, KeyedBy::Customer];
    for number in 0.. {
        if started.elapsed() >= Duration::from_secs(60 * args.minutes) {
            break;
        }
        // Each cluster has both keyings in turn.
        let site = &sites[number % sites.len()];
        let key = number / sites.len() % keys.len();
        let wanted = wanted.entry(key).or_insert_with(|| {
            let inputs = Inputs {
                keyed_by: keys[key],
                rows: 15_000,
                batches: args.round * 2,
                events: 3_500,
            };
            let wanted = inputs.undisturbed(&args.program, site);
            println!("undisturbed, keyed by {:?}: {:.0?}", keys[key], wanted.took);
            wanted
        });
        run_round(
            site,
            &args.program,
            wanted,
            &mut deck,
            &mut random,
            &limits,
            &mut report,
        );
    }
    println!("\n{report}\nafter {:.0?}", started.elapsed());
    if let Some(file) = &args.json {
        let json = report.json().map_err(|error| error.to_string());
        let written = json.and_then(|json| std::fs::write(file, json).map_err(|e| e.to_string()));
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    match report.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
