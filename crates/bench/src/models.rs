//! The models of customer value: scores a second, and seconds a fit takes.
//!
//! One thread; building of histograms stands beside the fits from them and is not in them. The customers made
//! up come from MBG/NBD with CDNOW's parameters, so that what a fit finds can be held against what they were made of.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clv::beta_geometric::{BetaGeometric, Variant};
use clv::fit::{FitError, FitOptions, Fitted, fit_beta_geometric, fit_gamma_gamma};
use clv::gamma_gamma::GammaGamma;
use clv::histogram::{OrderHistogram, SpendHistogram};
use clv::history::History;
use clv::scorer::{Horizon, Scorer};
use clv::simulate::Draws;
use domain::money::Minor;
use domain::purchases::{Purchases, Statistics};
use domain::time::Day;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::error::BenchError;

/// CDNOW in days (docs/models.md).
const MADE_OF: BetaGeometric = BetaGeometric {
    variant: Variant::Mbg,
    r: 0.52484,
    alpha: 43.28163,
    a: 0.89136,
    b: 1.614,
};
const SPEND: GammaGamma = GammaGamma {
    p: 6.2496,
    q: 3.7442,
    v: 1544.35,
};
/// First orders of those made up are spread over so many days, and then the last of them is so long ago.
const DAYS: u32 = 730;
const SINCE: u32 = 30;
const SCORES: u32 = 5_000_000;
const SEED: u64 = 1;

/// Scores and fits of the models of customer value
#[derive(Args, Debug)]
pub(crate) struct ModelsArgs {
    /// All orders of CDNOW
    #[arg(long, default_value = "data/cdnow/CDNOW_master.txt.zst")]
    cdnow: PathBuf,
    /// Customers to make up
    #[arg(long, default_value_t = 10_000_000)]
    customers: u32,
    /// Where the results go, as JSON
    #[arg(long, default_value = "target/bench-models.json")]
    json: PathBuf,
}

/// One thing that was measured.
#[derive(Serialize, Debug)]
struct Row {
    what: String,
    customers: u64,
    cells: usize,
    seconds: f64,
    /// Of this thread on a processor: what it would have taken on a machine of its own. 0 where the system does
    /// not tell.
    cpu_seconds: f64,
}

pub(crate) fn run(args: &ModelsArgs) -> Result<(), BenchError> {
    let mut rows = scores()?;
    rows.extend(cdnow(args)?);
    rows.extend(made_up(args.customers)?);
    println!(
        "{:<42} {:>10} {:>9} {:>9} {:>9} {:>16}",
        "what", "customers", "cells", "seconds", "CPU s", "a CPU second"
    );
    for row in &rows {
        println!(
            "{:<42} {:>10} {:>9} {:>9.4} {:>9.4} {:>16.0}",
            row.what,
            row.customers,
            row.cells,
            row.seconds,
            row.cpu_seconds,
            row.customers as f64 / row.cpu_seconds
        );
    }
    let text = serde_json::to_string_pretty(&rows).map_err(|source| BenchError::Json {
        what: "the result".into(),
        source,
    })?;
    std::fs::write(&args.json, text + "\n").map_err(|source| BenchError::File {
        path: args.json.clone(),
        source,
    })
}

fn timed<T>(what: &str, rows: &mut Vec<Row>, run: impl FnOnce() -> (T, u64, usize)) -> T {
    let (start, on_cpu) = (Instant::now(), cpu_seconds());
    let (result, customers, cells) = run();
    rows.push(Row {
        what: what.into(),
        customers,
        cells,
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - on_cpu,
    });
    result
}

/// What this thread has spent on a processor so far, as Linux tells it.
fn cpu_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) as f64 / 1e9
}

/// P(alive), orders, value and interval of customers of all sorts.
fn scores() -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    let horizon = Horizon::of(365.0).discounted(0.1, 365.25);
    let scorer = timed("prepare a model for a year, discounted", &mut rows, || {
        let scorer = Scorer::new(MADE_OF, Some(SPEND), horizon);
        scorer.iter().for_each(Scorer::prepare);
        (scorer, 1, 0)
    });
    let scorer = scorer.ok_or_else(|| BenchError::failed("the parameters are out of range"))?;
    let mut times = Vec::new();
    let mut draws = draws();
    let customers: Vec<(History, f64)> = (0..100_000_u32)
        .map(|i| {
            let age = f64::from(SINCE + i % DAYS);
            draws.customer(&MADE_OF, age, &mut times);
            let history = History::new(
                times.len() as u32,
                times.last().copied().unwrap_or(0.0),
                age,
            );
            (history, 3_000.0 * times.len() as f64)
        })
        .collect();
    timed("score with value and interval", &mut rows, || {
        for (history, spent) in customers.iter().cycle().take(SCORES as usize) {
            black_box(scorer.score(black_box(history), *spent));
        }
        ((), u64::from(SCORES), 0)
    });
    Ok(rows)
}

fn fit(cells: &[clv::fit::Cell]) -> Result<Fitted<BetaGeometric>, BenchError> {
    fit_beta_geometric(Variant::Mbg, cells, &FitOptions::default()).map_err(no_fit)
}

fn no_fit(error: FitError) -> BenchError {
    BenchError::failed(error.to_string())
}

fn cdnow(args: &ModelsArgs) -> Result<Vec<Row>, BenchError> {
    let file = |source| BenchError::File {
        path: args.cdnow.clone(),
        source,
    };
    let packed = std::fs::File::open(&args.cdnow).map_err(file)?;
    let bytes = zstd::decode_all(packed).map_err(file)?;
    let customers = statistics(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| BenchError::failed("the file is not CDNOW's as the repository ships it"))?;
    // As of the end of the data, 1998-06-30.
    let now = 10_407.0;
    let mut rows = Vec::new();
    let (orders, spend) = timed("build both histograms of CDNOW", &mut rows, || {
        let built = histograms(customers.iter().copied());
        let cells = built.0.len();
        (built, customers.len() as u64, cells)
    });
    let mut fits = Vec::new();
    timed("fit MBG/NBD to CDNOW, from cells", &mut rows, || {
        let fitted = fit(&orders.cells(now));
        let sizes = (orders.customers() as u64, orders.len());
        fits.push(fitted);
        ((), sizes.0, sizes.1)
    });
    let groups = spend.groups(1.0);
    let of_spend = timed("fit Gamma-Gamma to CDNOW, from groups", &mut rows, || {
        let fitted = fit_gamma_gamma(&groups, &FitOptions::default());
        (fitted, spend.customers() as u64, spend.len())
    });
    of_spend.map_err(no_fit)?;
    for fitted in fits {
        print_fit("CDNOW", &fitted?);
    }
    Ok(rows)
}

/// Customers of the shipped file; `None` where a line is not as it has them.
fn statistics(text: &str) -> Option<Vec<Statistics>> {
    let mut customers = std::collections::BTreeMap::<&str, Purchases>::new();
    for line in text.lines().skip(1) {
        let mut fields = line.split_whitespace();
        let (id, date, _, amount) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let part = |range: std::ops::Range<usize>| date.get(range)?.parse::<i32>().ok();
        // Days by month of 1997 and 1998, which is all that there is.
        let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let of_year = before.get(usize::try_from(month - 1).ok()?)? + day - 1;
        let of = 9_862 + (year - 1997) * 365 + of_year;
        let (whole, cents) = amount.split_once('.')?;
        let net = whole.parse::<i64>().ok()? * 100 + cents.parse::<i64>().ok()?;
        customers
            .entry(id)
            .or_default()
            .add_order(Day(of), Minor(net));
    }
    customers.values().map(Purchases::statistics).collect()
}

fn histograms(customers: impl Iterator<Item = Statistics>) -> (OrderHistogram, SpendHistogram) {
    let mut both = (OrderHistogram::default(), SpendHistogram::default());
    for one in customers {
        both.0.add(&one);
        both.1.add(&one);
    }
    both
}

fn draws() -> Draws<impl FnMut() -> f64> {
    let mut source = Pcg64::seed_from_u64(SEED);
    Draws::new(move || ((source.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64)
}

fn made_up(count: u32) -> Result<Vec<Row>, BenchError> {
    let mut draws = draws();
    let mut times = Vec::new();
    let customers: Vec<Statistics> = (0..count)
        .map(|i| {
            let first = Day((i % DAYS) as i32);
            // As of midnight: what was ordered in whole days.
            let age = f64::from(DAYS - i % DAYS + SINCE);
            draws.customer(&MADE_OF, age, &mut times);
            times.iter_mut().for_each(|t| *t = t.floor());
            times.dedup();
            times.retain(|t| *t > 0.0);
            let last = times.last().map_or(first, |t| Day(first.0 + *t as i32));
            Statistics {
                repeats: times.len() as u32,
                first,
                last,
                spent: Minor(3_000 * times.len() as i64),
            }
        })
        .collect();
    let mut rows = Vec::new();
    let mut orders = OrderHistogram::default();
    timed("build the histogram of those made up", &mut rows, || {
        for one in &customers {
            orders.add(one);
        }
        ((), u64::from(count), orders.len())
    });
    drop(customers);
    let fitted = timed(
        "fit MBG/NBD to those made up, from cells",
        &mut rows,
        || {
            let fitted = fit(&orders.cells(f64::from(DAYS + SINCE)));
            (fitted, u64::from(count), orders.len())
        },
    );
    print_fit("made up", &fitted?);
    Ok(rows)
}

fn print_fit(of: &str, fitted: &Fitted<BetaGeometric>) {
    let parameters: Vec<String> = fitted
        .estimates
        .iter()
        .map(|e| {
            let error = e
                .standard_error()
                .map_or("none".into(), |v| format!("{v:.5}"));
            format!("{} {:.5} (error {error})", e.name, e.value)
        })
        .collect();
    println!(
        "{of}: {}; {} cells, {} of {} starts agree",
        parameters.join(", "),
        fitted.cells,
        fitted.agreeing,
        fitted.starts
    );
}
