//! Many seeds on several threads, and the gate that every mutation has to be stopped at.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use crate::faults::{Coverage, Fault, Phase};
use crate::mutants::Mutation;
use crate::seed::{Report, examine};
use crate::shop::Shop;

/// Each pair of fault and phase occurs this often in ten thousand seeds, at least.
const OCCURS: u64 = 50;

/// A seed in which something was seen that must not be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// The invariant; `panic` where the program itself gave up.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds that were run.
    pub seeds: u64,
    /// Those that failed, by seed.
    pub failed: Vec<Failed>,
    /// Faults that happened.
    pub coverage: Coverage,
    /// Transactions committed, and aborted.
    pub transactions: (u64, u64),
    /// How often tasks were dealt out.
    pub rebalances: u64,
    /// Models that were promoted, and those of them that came among the records of the load.
    pub promoted: (u64, u64),
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.coverage.add(&report.coverage);
        self.transactions.0 += report.transactions.0;
        self.transactions.1 += report.transactions.1;
        self.rebalances += report.rebalances;
        self.promoted.0 += report.promoted.0;
        self.promoted.1 += report.promoted.1;
        self.virtual_ms += report.virtual_ms;
    }

    /// Pairs that occurred less often than they should in so many seeds, and how often.
    #[must_use]
    pub fn too_rare(&self) -> Vec<(Fault, Phase, u64)> {
        let least = OCCURS * self.seeds / 10_000;
        let counted = Fault::pairs().map(|(fault, phase)| {
            let count = self.coverage.of(fault, phase);
            (fault, phase, count)
        });
        counted.filter(|(.., count)| *count < least).collect()
    }
}

/// What is wrong with a seed, if anything is. A panic is.
fn outcome(
    seed: u64,
    mutation: Option<Mutation>,
    shop: &Arc<Shop>,
) -> (Option<Report>, Option<Failed>) {
    let examined = catch_unwind(AssertUnwindSafe(|| examine(seed, mutation, false, shop)));
    match examined {
        Ok(report) => {
            let failed = report.violations.first().map(|violation| Failed {
                seed,
                invariant: violation.invariant.to_owned(),
                what: violation.what.clone(),
            });
            (Some(report), failed)
        }
        Err(_) => {
            let failed = Failed {
                seed,
                invariant: "panic".to_owned(),
                what: "the program gave up: see above".to_owned(),
            };
            (None, Some(failed))
        }
    }
}

/// Runs `seeds` on `threads` threads; `done` is told of each.
#[must_use]
pub fn run(
    seeds: Range<u64>,
    threads: usize,
    shop: &Arc<Shop>,
    done: &(dyn Fn(Option<&Failed>) + Sync),
) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (report, failed) = outcome(seed, None, shop);
                    done(failed.as_ref());
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.seeds += 1;
                    if let Some(report) = report {
                        tally.add(&report);
                    }
                    tally.failed.extend(failed);
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.failed.sort();
    tally
}

/// How a mutation fared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// A check stopped it, in that seed; without the mutation the seed passes.
    Caught(Failed),
    /// It was stopped in a seed that fails without it too.
    Unproven(Failed),
    /// Nothing stopped it in so many seeds; a panic is no check.
    Survived(u64),
}

/// Runs seeds with `mutation` until one is caught.
#[must_use]
pub fn stop(mutation: Mutation, seeds: Range<u64>, shop: &Arc<Shop>) -> Fate {
    let tried = seeds.end - seeds.start;
    for seed in seeds {
        let (_, Some(failed)) = outcome(seed, Some(mutation), shop) else {
            continue;
        };
        if failed.invariant == "panic" {
            continue;
        }
        return match outcome(seed, None, shop) {
            (_, None) => Fate::Caught(failed),
            (_, Some(without)) => Fate::Unproven(without),
        };
    }
    Fate::Survived(tried)
}
