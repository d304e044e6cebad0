//! `clvstream repartition`.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use config::Loaded;
use engine::topics::Topics;
use indicatif::ProgressBar;
use runtime::RuntimeError;
use runtime::kafka::repartition::{Done, LARGEST, Outlook, Progress, Repartition};
use runtime::workers::Shared;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::render::{grouped, table};
use crate::session::progress;
use crate::shutdown::Shutdown;

/// How often the stop token is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// `clvstream repartition`
#[derive(Args, Debug)]
#[command(after_long_help = "\
For a deployment on Kafka whose service is stopped. The new tasks get internal topics of their own;
what the old ones know is copied there, and one transaction makes the new ones begin where the old
ones stood. Until then nothing has happened; after it `partitions` is the new number, which the
configuration has to say too, or say nothing.

Killed at any point, the same command goes on where it stopped. Until it has ended no instance of
the service starts; --abandon gives it up, and everything stays as it was.

Inputs keep their partitions, and so do outputs: each customer's stay in one partition, in order.
The internal topics of the old tasks are left there until --delete-old deletes them.
docs/repartition.md tells more.

Exit code 0: done, or nothing to do. 1: it could not be done; what to do is said. 130: interrupted,
to be gone on with.

Examples:
  clvstream repartition --to 16 --dry-run
  clvstream repartition --config shop.toml --to 16
  clvstream repartition --config shop.toml --delete-old
  clvstream repartition --config shop.toml --abandon")]
pub struct RepartitionArgs {
    /// The number of tasks that there is to be
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST)),
        required_unless_present_any = ["abandon", "delete_old"]
    )]
    pub to: Option<u32>,

    /// Show what would be done. Changes nothing, and works beside a service that is running
    #[arg(long, requires = "to", conflicts_with = "delete_old")]
    pub dry_run: bool,

    /// Give up a change that is not finished: the tasks stay as they are
    #[arg(long, conflicts_with_all = ["to", "delete_old"])]
    pub abandon: bool,

    /// Delete the internal topics that nobody uses any more; with --to, once the new tasks have begun
    #[arg(long)]
    pub delete_old: bool,

    /// Print the plan, or what was done, as JSON
    #[arg(long)]
    pub json: bool,
}

/// Changes the number of tasks, or says what that would be.
///
/// # Errors
/// It cannot be done, or not to its end.
pub fn run(
    args: &RepartitionArgs,
    loaded: &Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let Some(kafka) = &loaded.config.kafka else {
        return Err(CliError::usage(
            "the number of tasks of an embedded log is fixed at its first start",
        )
        .hint(
            "another `data_dir` may have another number: load the inputs there anew; `kafka.bootstrap` \
             names a Kafka cluster, where it can be changed",
        ));
    };
    let found = Repartition::of(loaded, kafka)?;
    if args.abandon {
        found.abandon()?;
        return said(
            args,
            out,
            &json!({ "abandoned": true }),
            "Given up. The tasks are as they were.",
        );
    }
    let mut done = None;
    if let Some(to) = args.to {
        let outlook = found.outlook()?;
        let is_there = outlook.from == to && outlook.unfinished.is_none();
        if args.dry_run || !args.json {
            match args.json {
                true => write_json(&plan_json(&outlook, to), out)?,
                false => write_plan(&outlook, to, out)?,
            }
            out.flush()?;
        }
        if args.dry_run {
            return Ok(());
        }
        if !is_there {
            done = Some(work(found, to, shutdown)?);
        }
    }
    let deleted = match args.delete_old {
        true => Repartition::of(&at(loaded, args.to), kafka)?.delete_unused()?,
        false => Vec::new(),
    };
    tell(args, done, &deleted, out)
}

/// What there is now has the number of tasks that was asked for.
fn at(loaded: &Loaded, to: Option<u32>) -> Loaded {
    let mut loaded = loaded.clone();
    if let Some(to) = to {
        loaded.config.partitions = to;
    }
    loaded
}

/// Changes the number of tasks under the stop token, with progress on a terminal.
fn work(found: Repartition, to: u32, shutdown: &Shutdown) -> Result<(Done, Duration), CliError> {
    let started = Instant::now();
    let shared = Arc::new(Shared::default());
    let finished = AtomicBool::new(false);
    let bar = progress("looking", Some(0));
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                if shutdown.wait(LOOK) {
                    shared.stop();
                    return;
                }
            }
        });
        let worked = found.run(to, &shared, &mut |progress| show(&bar, progress));
        finished.store(true, Ordering::Relaxed);
        worked
    });
    bar.finish_and_clear();
    match worked {
        Ok(done) => Ok((done, started.elapsed())),
        Err(_) if shutdown.is_requested() => Err(RuntimeError::Interrupted.into()),
        Err(error) => Err(error.into()),
    }
}

fn show(bar: &ProgressBar, progress: Progress) {
    let (message, done, total) = match progress {
        Progress::Waiting(members) => {
            let message = format!("waiting for {members} members of the group to be gone");
            (message, 0, 0)
        }
        Progress::Restoring(done, total) => ("restoring".to_owned(), done, total),
        Progress::Draining(left) => ("consuming what was routed".to_owned(), 0, left),
        Progress::Copying(done, total, profiles) => {
            let message = format!("copying tasks: {} profiles", grouped(profiles));
            (message, u64::from(done), u64::from(total))
        }
        Progress::Switching => ("the new tasks begin".to_owned(), 0, 0),
    };
    bar.set_message(message);
    bar.set_length(total);
    bar.set_position(done);
}

/// Each topic, and what becomes of it.
fn becomes(outlook: &Outlook, to: u32) -> Vec<(String, u32, String)> {
    let mut rows = Vec::new();
    for topic in &outlook.topics {
        let then = format!("left there; a new one with {to} partitions");
        rows.push((topic.clone(), outlook.from, then));
    }
    let names = Topics::of(&outlook.application);
    let outputs = names.outputs().into_iter().chain([&names.dead_letters]);
    for topic in outputs {
        rows.push((topic.to_string(), outlook.outputs, "stays".to_owned()));
    }
    for (topic, partitions) in &outlook.inputs {
        let then = match partitions % to {
            0 => "stays".to_owned(),
            _ => "stays; its events reach their tasks by way of internal.routed".to_owned(),
        };
        rows.push((topic.clone(), *partitions, then));
    }
    rows
}

fn write_plan(outlook: &Outlook, to: u32, out: &mut dyn Write) -> Result<(), CliError> {
    let from = outlook.from;
    if from == to && outlook.unfinished.is_none() {
        return Ok(writeln!(
            out,
            "There are {from} tasks already: nothing to do."
        )?);
    }
    let rows = becomes(outlook, to).into_iter();
    let rows = rows.map(|(topic, partitions, then)| vec![topic, partitions.to_string(), then]);
    let headers = ["topic", "partitions", "then"];
    writeln!(out, "From {from} tasks to {to}.\n")?;
    writeln!(out, "{}\n", table(&headers, rows.collect()))?;
    if let Some(unfinished) = outlook.unfinished {
        writeln!(
            out,
            "A change to {unfinished} tasks was begun and is not finished."
        )?;
    }
    if outlook.routed > 0 {
        let routed = grouped(outlook.routed);
        writeln!(
            out,
            "{routed} routed records are consumed by the old tasks first."
        )?;
    }
    for member in &outlook.members {
        writeln!(out, "Still in the group, to be stopped first: {member}.")?;
    }
    Ok(())
}

fn plan_json(outlook: &Outlook, to: u32) -> Value {
    let topics = becomes(outlook, to).into_iter();
    let topics: Vec<Value> = topics
        .map(|(topic, partitions, then)| {
            json!({ "topic": topic, "partitions": partitions, "then": then })
        })
        .collect();
    json!({
        "application": outlook.application,
        "from": outlook.from,
        "to": to,
        "nothing_to_do": outlook.from == to && outlook.unfinished.is_none(),
        "unfinished": outlook.unfinished,
        "members": outlook.members,
        "routed_records": outlook.routed,
        "topics": topics,
        "unused_topics": outlook.unused,
    })
}

/// What was done.
fn tell(
    args: &RepartitionArgs,
    done: Option<(Done, Duration)>,
    deleted: &[String],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut text = String::new();
    let mut value = json!({ "changed": done.is_some(), "deleted_topics": deleted });
    if let Some((done, took)) = &done {
        text = format!(
            "{} profiles and {} days of {} tasks are those of {} tasks now, in {:.1} s. `partitions` is {} from \
             here on; on each instance what is on disk is rebuilt at its next start.",
            grouped(done.profiles),
            grouped(done.days),
            done.from,
            done.to,
            took.as_secs_f64(),
            done.to,
        );
        if !args.delete_old {
            let unused = done.unused.join(", ");
            text += &format!("\nNobody uses these any more: {unused}; --delete-old deletes them.");
        }
        value["from"] = json!(done.from);
        value["to"] = json!(done.to);
        value["profiles"] = json!(done.profiles);
        value["days"] = json!(done.days);
        value["topics"] = json!(done.topics);
        value["unused_topics"] = json!(match args.delete_old {
            true => &[],
            false => done.unused.as_slice(),
        });
        value["seconds"] = json!(took.as_secs_f64());
    }
    if args.delete_old {
        let deleted = match deleted {
            [] => "There were no topics to delete.".to_owned(),
            deleted => format!("Deleted: {}.", deleted.join(", ")),
        };
        text = [text, deleted].join("\n").trim_start().to_owned();
    }
    match text.is_empty() && !args.json {
        true => Ok(()),
        false => said(args, out, &value, &text),
    }
}

fn said(
    args: &RepartitionArgs,
    out: &mut dyn Write,
    value: &Value,
    text: &str,
) -> Result<(), CliError> {
    match args.json {
        true => write_json(value, out),
        false => Ok(writeln!(out, "{text}")?),
    }
}

fn write_json(value: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}
