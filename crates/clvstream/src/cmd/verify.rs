//! `clvstream verify`.

mod embedded;
mod history;
mod kafka;
mod render;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use checker::{Naming, Outcome, Progress, Report, StoreContents, Subject, check};
use clap::Args;
use config::Loaded;
use kafkalog::Cluster;
use runtime::{Outline, RuntimeError};
use store::{Shared, StoreView};

use self::history::{Held, Source};
use crate::cli::Color;
use crate::error::{CliError, Exit};
use crate::logging;
use crate::schemas::Schemas;
use crate::session::progress;
use crate::shutdown::Shutdown;
use crate::topic::open_log;

/// Memory that looking into a store may take.
const MEMORY: usize = 64 << 20;

/// `clvstream verify`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Reads what the topics hold, committed records only, and changes nothing; works beside a service that is
running. What each task consumed is replayed, record by record, by a second implementation that shares
no code with the service's tasks, and compared with what is there. Per partition:

  I1  outputs, dead letters, routed records and changelog are those of the replay, byte for byte; the
      last output of each customer is what his state says
  I2  outputs of each customer are numbered without gap or repetition
  I3  commits are chained by hashes; what each of them wrote, and its offsets, are all there
  I4  the local store, with the changelog from its position on, gives the folded changelog
  I7  every record is counted once: applied, late, dead-lettered, ...
  I8  positions never go back

\"failed\" comes with the first record that is missing, doubled or altered. \"in part\" and \"-\" come with
what could not be checked and why: retention has removed the beginning, say, so that there is no replay.
Customers are named by a hash, unless --show-customers is given.

Exit code 0: nothing is wrong. 4: something is. 1: it could not be checked.

Examples:
  clvstream verify --config shop.toml
  clvstream verify --config shop.toml --task 3 --task 7
  clvstream verify --config shop.toml --json | jq '.tasks[].checks[] | select(.outcome == \"failed\")'")]
pub struct VerifyArgs {
    /// Only this task (partition of the internal topics); may be given several times
    #[arg(long, short, value_name = "NUMBER")]
    pub task: Vec<u32>,

    /// Name customers by their ids, and not by a hash
    #[arg(long)]
    pub show_customers: bool,

    /// Print the outcome of each check as JSON
    #[arg(long)]
    pub json: bool,
}

/// Verifies what the topics of the deployment hold.
///
/// # Errors
/// It cannot be read; or something is wrong with it, which is printed.
pub fn run(
    args: &VerifyArgs,
    loaded: &Loaded,
    color: Color,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (source, outline) = look(loaded)?;
    let schemas = Schemas::of(&outline.config)?;
    let subject = Subject {
        setup: Arc::clone(&outline.setup),
        inputs: outline.inputs(schemas.decoder(outline.rules.clone()))?,
        compacted: true,
        naming: match args.show_customers {
            true => Naming::Clear,
            false => Naming::Hashed,
        },
    };
    let mut held = Held::new(source, &schemas, &outline, shutdown);
    let mut reports = Vec::new();
    for task in tasks(args, outline.setup.tasks)? {
        held.renew();
        reports.push(one(&subject, &mut held, &outline, task)?);
    }
    match args.json {
        true => render::json(&outline.config.application_id, &reports, out)?,
        false => {
            let colour = logging::use_colour(color, std::io::stdout().is_terminal());
            render::table(&reports, colour, out)?;
        }
    }
    let failed: usize = reports.iter().map(|report| report.failures().count()).sum();
    match failed {
        0 => Ok(()),
        1 => Err(CliError::new(Exit::Violations, "one check failed")),
        _ => Err(CliError::new(
            Exit::Violations,
            format!("{failed} checks failed"),
        )),
    }
}

/// The deployment, from outside.
fn look(loaded: &Loaded) -> Result<(Source, Outline), CliError> {
    let config = &loaded.config;
    let (source, outline) = match &config.kafka {
        Some(settings) => {
            let settings = runtime::kafka::settings(config, settings)?;
            let cluster = Cluster::connect(settings).map_err(RuntimeError::from)?;
            let outline = Outline::on(loaded, &cluster)?;
            (Source::Kafka(Box::new(kafka::Cut::new(cluster)?)), outline)
        }
        None => {
            let log = open_log(config)?;
            let outline = Outline::in_log(loaded, &log)?;
            (Source::Embedded(Box::new(embedded::Cut::new(log))), outline)
        }
    };
    let outline = outline.ok_or_else(|| {
        let id = &config.application_id;
        CliError::failure(format!("there is no application {id:?} here"))
            .hint("`application_id` names another one; `clvstream run` starts one")
    })?;
    Ok((source, outline))
}

fn tasks(args: &VerifyArgs, count: u32) -> Result<BTreeSet<u32>, CliError> {
    if let Some(unknown) = args.task.iter().find(|task| **task >= count) {
        let last = count.saturating_sub(1);
        return Err(CliError::usage(format!(
            "there is no task {unknown}: this application has tasks 0 to {last}"
        )));
    }
    Ok(match args.task.is_empty() {
        true => (0..count).collect(),
        false => args.task.iter().copied().collect(),
    })
}

fn one(
    subject: &Subject,
    held: &mut Held<'_>,
    outline: &Outline,
    task: u32,
) -> Result<Report, CliError> {
    let bar = progress("verifying", None);
    let mut tell = |done| match done {
        Progress::Replayed(done, total) => {
            if done.is_multiple_of(64) || done == total {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(format!("task {task}: commits replayed"));
            }
        }
        Progress::Commits => bar.set_message(format!("task {task}: commit records")),
        Progress::Outputs => bar.set_message(format!("task {task}: outputs")),
        Progress::Changelog => bar.set_message(format!("task {task}: changelog")),
    };
    let shared = Shared::new(MEMORY);
    let dir = outline.state_dir(task);
    let state = dir.parent().unwrap_or(&dir);
    let view = StoreView::open(&dir, task, &outline.incarnation, &shared);
    let (store, why) = match &view {
        Ok(Some(view)) => {
            let entries = view.entries().map(|entry| entry.map_err(|e| e.to_string()));
            let contents = StoreContents {
                position: view.position(),
                entries: Box::new(entries),
            };
            (Some(contents), String::new())
        }
        Ok(None) => (
            None,
            format!("there is no store of it in {}", state.display()),
        ),
        Err(error) => (None, error.to_string()),
    };
    let has_store = store.is_some();
    let report = check(subject, held, task, store, &mut tell);
    bar.finish_and_clear();
    let mut report = report?;
    if !has_store {
        for (check, outcome) in &mut report.outcomes {
            if *check == checker::Check::State {
                *outcome = Outcome::NotCheckable(why.clone());
            }
        }
    }
    Ok(report)
}
