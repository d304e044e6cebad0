//! Chores of this repository that are more than a line of shell; so far the test runner.
//!
//! `test` checks the formatting and the lints, builds every test once and runs them, one binary
//! after the other. What it reports is what ran: a test that is ignored, filtered out or prints
//! `SKIPPED <name>: <reason>` counts as skipped and never as passed, a binary that dies takes its
//! unfinished tests down as failed, and a run without a single test fails.
//!
//! Integration tests whose file is named `long_*` are long: `test` builds and names them but leaves
//! them to `test --long`, which runs nothing else.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what this tool says is for the person who called it"
)]

mod cargo;
mod doctest;
mod libtest;
mod options;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use crate::cargo::{Cargo, Failure, TestBinary};
use crate::options::{Command, TestOptions};
use crate::summary::Summary;

fn main() -> ExitCode {
    let command = match options::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("{message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => {
            println!("{}", options::USAGE);
            Ok(true)
        }
        Command::Test(options) => test(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Checks, builds, runs and reports; true when everything that ran passed.
fn test(options: &TestOptions) -> Result<bool, Failure> {
    let started = Instant::now();
    let cargo = Cargo::new(options.packages.clone())?;
    if options.checks() {
        step("formatting");
        cargo.check_formatting()?;
        step("lints");
        cargo.check_lints()?;
    }

    step("building the tests");
    let binaries = cargo.build_tests()?;
    cargo.build_failpoints()?;
    let (long, short): (Vec<_>, Vec<_>) = binaries.into_iter().partition(TestBinary::is_long);
    let (chosen, left) = if options.long {
        (long, Vec::new())
    } else {
        (short, long)
    };

    step("running the tests");
    let mut summary = Summary::default();
    for binary in &chosen {
        summary.add(binary.run(&options.filters)?);
    }
    if options.doc_tests() {
        summary.add(cargo.run_doc_tests(&options.filters)?);
    }
    for binary in &left {
        summary.leave_to_long(&binary.label, binary.count_tests()?);
    }

    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    print!("{}", summary.report(started.elapsed(), ci));
    Ok(summary.verdict(ci).is_ok())
}

/// Announces what comes next.
fn step(name: &str) {
    println!("==> {name}");
}
