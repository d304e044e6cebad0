//! Runs seeds of the simulation: many, one with its trace, or the mutation gate.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

mod tables;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sim::campaign::{self, Fate};
use sim::mutants::Mutation;
use sim::seed::examine;
use sim::shop::Shop;

/// Simulates a shop's instances on a Kafka in memory, with faults from a seed, and checks what comes of
/// it. The same seed gives the same run.
#[derive(Parser)]
#[command(name = "sim")]
struct Options {
    /// How many seeds to run; with --mutants, how many to try for each mutation.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Replays one seed and prints its trace.
    #[arg(long, conflicts_with_all = ["first", "mutants"])]
    seed: Option<u64>,
    /// With --seed: breaks the engine's surroundings in this way.
    #[arg(long, requires = "seed", value_parser = mutation)]
    mutation: Option<Mutation>,
    /// Checks that every mutation is caught.
    #[arg(long)]
    mutants: bool,
    /// Threads; by default as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Prints results as JSON.
    #[arg(long)]
    json: bool,
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let known = Mutation::ALL.into_iter().find(|m| tables::flag(*m) == name);
    known.ok_or_else(|| {
        let names = Mutation::ALL.map(tables::flag);
        format!("one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let shop = match Shop::open() {
        Ok(shop) => Arc::new(shop),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let passed = match options.seed {
        Some(seed) => replay(seed, &options, &shop),
        None if options.mutants => gate(&options, &shop),
        None => many(&options, &shop),
    };
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn replay(seed: u64, options: &Options, shop: &Arc<Shop>) -> bool {
    let report = examine(seed, options.mutation, !options.json, shop);
    println!("{}", tables::one(&report, options.json));
    report.violations.is_empty()
}

fn bar(length: u64, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let style = "{elapsed_precise} {bar:40} {pos}/{len} {msg} (left {eta})";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

fn many(options: &Options, shop: &Arc<Shop>) -> bool {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(processors);
    let bar = bar(options.seeds, options.json);
    let seeds = options.first..options.first.saturating_add(options.seeds);
    let tally = campaign::run(seeds, threads, shop, &|failed| {
        if let Some(failed) = failed {
            bar.suspend(|| eprintln!("{}", tables::failed(failed, None)));
        }
        bar.inc(1);
    });
    let took = bar.elapsed();
    bar.finish_and_clear();
    println!("{}", tables::tally(&tally, took, options.json));
    tally.failed.is_empty() && tally.too_rare().is_empty()
}

fn gate(options: &Options, shop: &Arc<Shop>) -> bool {
    let bar = bar(Mutation::ALL.len() as u64, options.json);
    let mut fates = Vec::new();
    for mutation in Mutation::ALL {
        bar.set_message(mutation.as_str());
        let seeds = options.first..options.first.saturating_add(options.seeds);
        fates.push((mutation, campaign::stop(mutation, seeds, shop)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{}", tables::fates(&fates, options.json));
    fates
        .iter()
        .all(|(_, fate)| matches!(fate, Fate::Caught(_)))
}
