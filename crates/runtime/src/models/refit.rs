//! Fitting by the schedule: a thread of its own, beside the work, in the process that owns task 0.
//!
//! When one is due follows from the newest model's `created_at`, so that neither a restart nor a task that
//! moves makes one. Nothing here stops the service: what fails is told, and tried again later.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clv::fit::FitOptions;
use config::Promote;
use domain::time::TimeMs;
use kafkalog::Stopping;
use server::RefitOutcome;

use super::archive::{Archive, Scribe};
use super::books::each_book;
use super::histories::Histories;
use super::learn::{Recipe, learn};
use super::reading;
use super::tables::Tables;
use super::verdict::Verdict;
use crate::configured::millis;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::observe::Observers;
use crate::workers::{Shared, wall_clock};

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait after one that came to nothing.
const AGAIN: Duration = Duration::from_secs(3_600);
/// How the folders begin in which state is looked into for a fit.
const SCRATCH: &str = "fitting-";
/// What is said about a model of the schedule.
const NOTE: &str = "fitted by the schedule";

/// What a turn came to.
enum Done {
    /// A model was saved, and whether it was promoted.
    Saved { version: u32, promoted: bool },
    /// Another one was saved in the meantime.
    NotDue,
    /// No model can be fitted to these customers.
    Refused(String),
}

/// Fits now and then, until `shared` is told to stop.
pub(crate) fn keep(
    deployment: &Deployment,
    shared: &Shared,
    stopping: &Stopping,
    observers: &Observers,
) {
    let Some(every) = deployment.config.model.refit else {
        return;
    };
    remove_leftovers(deployment.data_dir());
    // The newest model's, as far as is known.
    let mut due = TimeMs::MIN;
    let mut not_before = Instant::now();
    while !shared.wait_for_stop(LOOK) {
        if !shared.owns_first() || wall_clock() < due || Instant::now() < not_before {
            continue;
        }
        match due_at(deployment, every) {
            Ok(at) if at > wall_clock() => {
                tracing::info!(due = %at, "the next model is fitted when it is due");
                due = at;
            }
            Ok(_) => {
                if !turn(deployment, every, stopping, observers) {
                    not_before = Instant::now() + AGAIN;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen whether a model is to be fitted; looking again");
                not_before = Instant::now() + AGAIN.min(every) / 60;
            }
        }
    }
}

/// Removes what a process that was killed while it fitted has left: as much as all state takes.
fn remove_leftovers(data: &Path) {
    for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(folder = %entry.path().display(), %error, "an old folder stays");
        }
    }
}

/// When the next one is due: at once, where there is none.
fn due_at(deployment: &Deployment, every: Duration) -> Result<TimeMs, RuntimeError> {
    let archive = Archive::of(deployment)?;
    let newest = archive.newest().map(|document| document.created_at);
    Ok(next(newest, every))
}

fn next(newest: Option<TimeMs>, every: Duration) -> TimeMs {
    newest.map_or(TimeMs::MIN, |at| at.plus(millis(every)))
}

/// Fits, and says what came of it; answers whether there is a new model, or need be none.
fn turn(
    deployment: &Deployment,
    every: Duration,
    stopping: &Stopping,
    observers: &Observers,
) -> bool {
    let began = Instant::now();
    let done = refit(deployment, every, stopping);
    let milliseconds = began.elapsed().as_millis() as u64;
    let outcome = match &done {
        Ok(Done::NotDue) | Err(RuntimeError::Interrupted) => return true,
        Ok(Done::Saved { version, promoted }) => {
            tracing::info!(
                version,
                promoted,
                milliseconds,
                "fitted a model by the schedule"
            );
            match promoted {
                true => RefitOutcome::Promoted,
                false => RefitOutcome::Kept,
            }
        }
        Ok(Done::Refused(why)) => {
            tracing::info!(
                reason = why,
                milliseconds,
                "no model was fitted by the schedule"
            );
            RefitOutcome::Refused
        }
        Err(error) => {
            tracing::warn!(%error, milliseconds, "fitting by the schedule failed; it is tried again");
            RefitOutcome::Failed
        }
    };
    if let Some(metrics) = &observers.metrics {
        metrics.refit(outcome, began.elapsed());
    }
    matches!(outcome, RefitOutcome::Promoted | RefitOutcome::Kept)
}

fn refit(
    deployment: &Deployment,
    every: Duration,
    stopping: &Stopping,
) -> Result<Done, RuntimeError> {
    let Some(histories) = histories(deployment, &|| !stopping())? else {
        return Ok(Done::Refused("no customer has an order".to_owned()));
    };
    let settings = &deployment.config.model;
    let recipe = Recipe {
        family: settings.family,
        options: FitOptions::default(),
    };
    let mut scribe = Scribe::new(deployment, Arc::clone(stopping))?;
    let newest = scribe.archive.newest().map(|document| document.created_at);
    // Somebody may have saved one while this one read.
    if next(newest, every) > wall_clock() {
        return Ok(Done::NotDue);
    }
    let learned = match learn(&histories, &recipe, scribe.archive.in_force()) {
        Ok(learned) => learned,
        Err(why) => return Ok(Done::Refused(why.to_string())),
    };
    let document = scribe.draft(learned, Some(NOTE.to_owned()));
    let verdict = Verdict::on(&document, scribe.archive.in_force());
    let version = document.version;
    tracing::info!(version, %verdict, "a model is fitted");
    let promoted = settings.promote == Promote::NotWorse && !verdict.forbids();
    match promoted {
        true => drop(scribe.promote(document)?),
        false => scribe.save(&document)?,
    }
    Ok(Done::Saved { version, promoted })
}

/// All customers as the changelog has them; `None` where nobody has an order.
fn histories(
    deployment: &Deployment,
    going_on: &dyn Fn() -> bool,
) -> Result<Option<Histories>, RuntimeError> {
    let data = deployment.data_dir();
    let dir = tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(data)
        .map_err(|e| RuntimeError::folder(data, e))?;
    let tasks = reading::tasks(deployment, dir.path(), going_on)?;
    let Some(window) = Tables::of(&tasks)?.window() else {
        return Ok(None);
    };
    let held_out = deployment.config.model.holdout.map(days);
    let definitions = Arc::clone(&deployment.setup.definitions);
    let mut histories = Histories::new(window, held_out, definitions);
    each_book(&tasks, |_, book| histories.take(&book))?;
    Ok(Some(histories))
}

/// Whole days of a holdout.
#[must_use]
pub fn days(holdout: Duration) -> i32 {
    i32::try_from(holdout.as_secs() / 86_400).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_due_some_time_after_the_newest_and_at_once_where_there_is_none() {
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(next(None, week), TimeMs::MIN);
        assert_eq!(next(Some(TimeMs(1_000)), week), TimeMs(604_801_000));
        assert_eq!(days(week), 7);
    }

    #[test]
    fn what_a_killed_fit_has_left_is_removed_and_nothing_else() {
        let data = tempfile::tempdir().expect("a folder");
        for name in ["fitting-1/0", "state/0", "looking-1/0"] {
            std::fs::create_dir_all(data.path().join(name)).expect("a folder");
        }
        remove_leftovers(data.path());
        remove_leftovers(&data.path().join("nowhere"));
        let left = std::fs::read_dir(data.path()).expect("a folder").flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["looking-1", "state"]);
    }
}
