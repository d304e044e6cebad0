//! `clvstream simulate`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use config::Loaded;
use domain::event::{Body, Event};
use domain::money::Currency;
use domain::time::TimeMs;
use runtime::load::{Delivery, Item, load};
use runtime::workers::wall_clock;
use runtime::{Deployment, RuntimeError};
use traffic::{ConfigError, Disorder, ShopConfig, ShopTraffic};
use wire::{Encoder, Format, SchemaSet};

use crate::cli::{duration, instant, per_mille};
use crate::error::CliError;
use crate::render::grouped;
use crate::shutdown::Shutdown;

/// `clvstream simulate`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Makes up a whole shop: visits, funnels, orders with seasonality, discounts, refunds. The same seed
gives the same events. They go to the input topics, or to a file as JSON lines. What an interrupted
simulation left undone is done when the same command is given again.

Examples:
  clvstream simulate --events 1000000
  clvstream simulate --customers 5000 --days 90 --rate 200
  clvstream simulate --events 10000 --seed 7 --output shop.jsonl
  clvstream simulate --events 10000 --shuffle-within 1h --duplicate 5 --output - | head")]
pub struct SimulateArgs {
    /// Stop after this many events; the shop gets as many customers as that takes
    #[arg(long, value_name = "NUMBER")]
    pub events: Option<u64>,

    /// Customers of the shop, 10,000 unless --events says otherwise
    #[arg(long, value_name = "NUMBER", conflicts_with = "events")]
    pub customers: Option<u32>,

    /// Day on which it opens
    #[arg(long, value_name = "INSTANT", default_value = "2024-01-01", value_parser = instant)]
    pub start: TimeMs,

    /// Days that are simulated
    #[arg(long, value_name = "NUMBER", default_value_t = 366)]
    pub days: u32,

    /// Products in its catalogue
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub products: u32,

    /// Decides everything that is made up
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Events per second; by default as fast as possible
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// Deliver events out of order, by up to this much of event time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub shuffle_within: Option<Duration>,

    /// Deliver this share of the events twice
    #[arg(id = "duplicate", long, value_name = "PERCENT", value_parser = per_mille)]
    pub duplicate_per_mille: Option<u32>,

    /// Write JSON lines to this file (`-`: standard output) instead of the log
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Makes up traffic.
///
/// # Errors
/// No such shop can be made up, or its events cannot be written.
pub fn run(
    args: &SimulateArgs,
    loaded: &Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match &args.output {
        Some(file) => {
            let written = to_file(args, loaded.config.currency, file, shutdown, out)?;
            tracing::info!(events = written, "written");
            Ok(())
        }
        None => to_log(args, loaded, shutdown, out),
    }
}

fn to_log(
    args: &SimulateArgs,
    loaded: &Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let deployment = Deployment::open(loaded, None, wall_clock())?;
    let mut pace = Pace::new(args.rate);
    let items = events(args, deployment.config.currency)?.map(|event| {
        if pace.next(shutdown) {
            return Err(RuntimeError::Interrupted);
        }
        Ok(Item::Event(
            Arc::from(input_topic(&event.body)),
            Box::new(event),
        ))
    });
    let done = load(
        &deployment,
        &load_name(args),
        &Delivery::PLAIN,
        items,
        &Arc::default(),
        &mut |_| {},
    )?;
    let events = grouped(done.events);
    match done.skipped {
        0 => writeln!(out, "{events} events")?,
        before => writeln!(
            out,
            "{events} events; {} were there before",
            grouped(before)
        )?,
    }
    Ok(())
}

/// Names what is made up: everything that decides what the events are, and in what order.
fn load_name(args: &SimulateArgs) -> String {
    let SimulateArgs {
        events,
        customers,
        start,
        days,
        products,
        seed,
        rate: _,
        shuffle_within,
        duplicate_per_mille,
        output: _,
    } = args;
    format!(
        "simulate/{seed}/{}/{days}/{products}/{events:?}/{customers:?}/{shuffle_within:?}/{duplicate_per_mille:?}",
        start.0
    )
}

/// The events that were asked for, in the order of their delivery.
///
/// # Errors
/// No such shop can be made up: everything that is wrong.
fn events(
    args: &SimulateArgs,
    currency: Currency,
) -> Result<impl Iterator<Item = Event> + use<>, CliError> {
    let default = ShopConfig::default();
    let shop = ShopConfig {
        seed: args.seed,
        customers: args.customers.unwrap_or(default.customers),
        start: args.start,
        days: args.days,
        products: args.products,
        decimals: currency.decimals,
        ..default
    };
    let shop = match args.events {
        Some(events) => shop.sized_for(events).map_err(wrong_shop)?,
        None => shop,
    };
    let limit = args
        .events
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let in_order = ShopTraffic::new(&shop).map_err(wrong_shop)?.take(limit);
    let within = args.shuffle_within.unwrap_or_default().as_millis();
    Ok(Disorder::new(
        in_order,
        args.seed,
        i64::try_from(within).unwrap_or(i64::MAX),
        args.duplicate_per_mille.unwrap_or(0),
    ))
}

fn wrong_shop(problems: Vec<ConfigError>) -> CliError {
    let listed: String = problems.iter().map(|p| format!("\n  {p}")).collect();
    CliError::usage(format!("no such shop can be made up{listed}"))
}

/// The input topic, of the default ones, that an event of this kind belongs to.
fn input_topic(body: &Body) -> &'static str {
    match body {
        Body::OrderCompleted(_)
        | Body::OrderCancelled { .. }
        | Body::OrderRefunded(_)
        | Body::OrderDelivered { .. } => "orders",
        Body::NpsAnswered { .. } => "care",
        Body::ProductReviewed { .. }
        | Body::ProductShared { .. }
        | Body::ReferralConverted { .. } => "loyalty",
        Body::MessageOpened | Body::MessageClicked => "marketing",
        _ => "clickstream",
    }
}

/// Lets pass so many a second, evenly, or everything at once.
struct Pace {
    start: Instant,
    rate: Option<u32>,
    passed: u64,
}

impl Pace {
    /// From now on.
    fn new(rate: Option<u32>) -> Pace {
        Pace {
            start: Instant::now(),
            rate,
            passed: 0,
        }
    }

    /// How long to wait, `elapsed` after the start, before the next one.
    fn wait(&mut self, elapsed: Duration) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let due = Duration::from_secs_f64(self.passed as f64 / f64::from(rate));
        self.passed += 1;
        due.saturating_sub(elapsed)
    }

    /// Waits for the next one's turn; answers whether to stop instead.
    fn next(&mut self, shutdown: &Shutdown) -> bool {
        let wait = self.wait(self.start.elapsed());
        if wait.is_zero() {
            return shutdown.is_requested();
        }
        shutdown.wait(wait)
    }
}

/// Writes the events as JSON lines to a file, or to `out` for `-`; answers how many.
///
/// # Errors
/// No such shop can be made up, or the file cannot be written.
fn to_file(
    args: &SimulateArgs,
    currency: Currency,
    file: &Path,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<u64, CliError> {
    let events = events(args, currency)?;
    if file == Path::new("-") {
        return write_lines(events, currency, Pace::new(args.rate), shutdown, out);
    }
    let cannot = |error| CliError::failure(format!("cannot write {}: {error}", file.display()));
    let mut lines = BufWriter::new(std::fs::File::create(file).map_err(cannot)?);
    let written = write_lines(events, currency, Pace::new(args.rate), shutdown, &mut lines)?;
    lines.flush().map_err(cannot)?;
    Ok(written)
}

fn write_lines(
    events: impl Iterator<Item = Event>,
    currency: Currency,
    mut pace: Pace,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<u64, CliError> {
    let schemas = SchemaSet::embedded().map_err(CliError::failure)?;
    let encoder = Encoder::new(currency, &schemas).map_err(CliError::failure)?;
    let mut written = 0;
    for event in events {
        if pace.next(shutdown) {
            break;
        }
        let line = encoder
            .encode(&event, Format::Json)
            .map_err(CliError::failure)?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        written += 1;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: SimulateArgs,
    }

    const USD: Currency = Currency {
        code: *b"USD",
        decimals: 2,
    };

    fn lines(args: &[&str]) -> Vec<String> {
        let typed = Typed::parse_from(["simulate"].iter().chain(args));
        let mut out = Vec::new();
        let shutdown = Shutdown::default();
        let written = to_file(&typed.args, USD, Path::new("-"), &shutdown, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len() as u64, written);
        lines
    }

    #[test]
    fn the_seed_decides() {
        let first = lines(&["--events", "500", "--days", "30"]);
        assert_eq!(first.len(), 500);
        assert_eq!(first, lines(&["--events", "500", "--days", "30"]));
        assert_ne!(
            first,
            lines(&["--events", "500", "--days", "30", "--seed", "2"])
        );
    }

    #[test]
    fn what_is_written_can_be_taken_in() {
        let rules = wire::InputRules::new(USD);
        for line in lines(&["--events", "500", "--days", "30"]) {
            let value = serde_json::from_str(&line).unwrap();
            wire::event_from_json(&value, &rules, TimeMs::MAX).unwrap();
        }
    }

    #[test]
    fn duplicates_are_the_same_events_again() {
        let doubled = lines(&["--events", "500", "--days", "30", "--duplicate", "100"]);
        assert_eq!(doubled.len(), 1000);
        let mut sorted = doubled;
        sorted.sort();
        assert!(sorted.chunks(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_pace_is_even_and_makes_up_for_delays() {
        let mut pace = Pace::new(Some(100));
        let ms = Duration::from_millis;
        assert_eq!(pace.wait(ms(0)), ms(0));
        assert_eq!(pace.wait(ms(0)), ms(10));
        assert_eq!(pace.wait(ms(35)), ms(0));
        assert_eq!(pace.wait(ms(35)), ms(0));
        assert_eq!(pace.wait(ms(35)), ms(5));
        assert_eq!(Pace::new(None).wait(ms(0)), ms(0));
    }

    #[test]
    fn everything_wrong_with_a_shop_is_named() {
        let typed = Typed::parse_from(["simulate", "--days", "0", "--products", "1"]);
        let error = events(&typed.args, USD)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("days") && error.contains("products"),
            "{error}"
        );
    }
}
