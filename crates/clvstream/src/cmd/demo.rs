//! `clvstream demo`.

use std::io::Write;
use std::path::{Path, PathBuf};

use ::config::Loaded;
use clap::Args;
use domain::money::Minor;
use eventlog::{EmbeddedLog, EventLogError, Options};
use runtime::demo::Demo;
use runtime::load::Delivery;
use runtime::summary::{Members, Stages, Summary, summarise};
use runtime::workers::{Observers, Until};
use serde::Serialize;
use store::Shared;

use crate::cmd::run::serve;
use crate::error::CliError;
use crate::render::{grouped, grouped_decimal, table};
use crate::session::{self, Took};
use crate::shutdown::Shutdown;

/// `clvstream demo`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Replays the 69,659 orders of the CDNOW data set (1997 and 1998), with simulated browsing around them
whose ids, channels and products begin with `sim-`, on an embedded log, and sums up: customers, orders,
revenue, lifecycle stages, segments, top customers, events per second.

Examples:
  clvstream demo
  clvstream demo --data my_orders.csv
  clvstream demo --serve")]
pub struct DemoArgs {
    /// Orders to use instead of the ones that the project ships, in the same form
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// Stay up after the summary, serving metrics and health, until interrupted
    #[arg(long)]
    pub serve: bool,

    /// Decides what browsing is made up
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    summary: Summary,
    rejected_rows: u64,
    outputs: u64,
    processed: Took,
}

/// Plays the demo.
///
/// # Errors
/// The data cannot be read, or it was interrupted.
pub fn run(
    args: &DemoArgs,
    mut loaded: Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    // A folder of its own, made anew each time: the demo shows a first start.
    let folder = loaded.config.data_dir.join("demo");
    make_anew(&folder)?;
    loaded.config.data_dir.clone_from(&folder);
    let deployment = session::open(&loaded, None)?;
    let demo = Demo::read(args.data.as_deref(), &folder, &deployment.rules)?;
    let delivery = Delivery {
        until: Some(demo.end()),
        ..Delivery::PLAIN
    };
    let as_of = demo.end();
    let items = demo.items(args.seed);
    let loaded = session::load(&deployment, "demo", &delivery, items, shutdown)?;
    let observers = Observers::default();
    let (counts, took) = session::process(&deployment, Until::Drained, shutdown, &observers)?;
    let report = Report {
        summary: summarise(
            &deployment.open_all()?,
            &deployment.setup.definitions,
            as_of,
        )?,
        rejected_rows: loaded.rejected,
        outputs: counts.outputs,
        processed: took,
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        render(&report, deployment.setup.definitions.currency, out)?;
        look_closer(&report.summary, &folder, out)?;
    }
    out.flush()?;
    if !args.serve {
        return Ok(());
    }
    serve(&deployment, shutdown, |address| {
        writeln!(
            out,
            "\nserving http://{address}/metrics, /livez and /readyz; Ctrl-C ends it"
        )?;
        Ok(out.flush()?)
    })
}

/// What to look at next, ready to be pasted.
fn look_closer(summary: &Summary, folder: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let there = format!("--set data_dir={}", folder.display());
    writeln!(out, "\nlook closer:")?;
    if let Some(best) = summary.top.first() {
        writeln!(out, "  clvstream profile {} {there}", best.customer_id)?;
    }
    writeln!(
        out,
        "  clvstream tail lifecycle.transitions --limit 5 {there}"
    )?;
    Ok(())
}

/// Makes `folder` anew, unless another process works in it.
fn make_anew(folder: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::failure(format!("cannot use {}: {error}", folder.display()))
    };
    if folder.exists() {
        let log = EmbeddedLog::open(&folder.join("log"), Options::default(), &Shared::new(0));
        if let Err(error @ EventLogError::Locked(_)) = log {
            return Err(CliError::failure(error));
        }
        drop(log);
        std::fs::remove_dir_all(folder).map_err(failed)?;
    }
    std::fs::create_dir_all(folder).map_err(failed)
}

fn render(
    report: &Report,
    currency: domain::money::Currency,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let Report {
        summary, processed, ..
    } = report;
    let money = |minor: i64| grouped_decimal(&currency.format(Minor(minor)));
    writeln!(
        out,
        "CDNOW as of {}; browsing around its orders is simulated\n",
        &summary.as_of[..10]
    )?;
    writeln!(
        out,
        "  customers  {:>14}\n  visitors   {:>14}\n  orders     {:>14}\n  gross      {:>14} {currency}\n",
        grouped(summary.customers),
        grouped(summary.visitors),
        grouped(summary.orders),
        money(summary.gross),
    )?;
    let rows = |members: &[Members]| -> Vec<Vec<String>> {
        let row = |m: &Members| vec![m.name.clone(), grouped(m.customers), grouped(m.visitors)];
        members.iter().map(row).collect()
    };
    for Stages { model, stages } in &summary.lifecycles {
        writeln!(
            out,
            "{}\n",
            table(&[model, "customers", "visitors"], rows(stages))
        )?;
    }
    writeln!(
        out,
        "{}\n",
        table(
            &["segment", "customers", "visitors"],
            rows(&summary.segments)
        )
    )?;
    let top = summary.top.iter().map(|c| {
        vec![
            c.customer_id.clone(),
            c.orders.to_string(),
            money(c.historic),
            money(c.formula),
            c.activity.clone(),
        ]
    });
    let headers = [
        "top customer",
        "orders",
        "historic CLV",
        "formula CLV, 3 years",
        "activity",
    ];
    writeln!(out, "{}\n", table(&headers, top.collect()))?;
    if report.rejected_rows > 0 {
        writeln!(
            out,
            "{} rows were rejected; `clvstream tail dlq` shows them",
            grouped(report.rejected_rows)
        )?;
    }
    writeln!(
        out,
        "{} records in {:.1} s, {} a second; {} changes written, each exactly once",
        grouped(processed.records),
        processed.seconds,
        grouped(processed.per_second as u64),
        grouped(report.outputs),
    )?;
    Ok(())
}
