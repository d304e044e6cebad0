//! Removing from the log what need not be kept, beside the work.

use std::time::Duration;

use domain::time::TimeMs;
use eventlog::EmbeddedLog;
use server::RetentionOutcome;

use crate::observe::Observers;
use crate::workers::{Shared, wall_clock};

/// How often the log is looked through.
const INTERVAL: Duration = Duration::from_secs(60);

/// Enforces retention now and then, until `shared` is told to stop.
pub(crate) fn keep(log: &EmbeddedLog, shared: &Shared, observers: &Observers) {
    while !shared.wait_for_stop(INTERVAL) {
        enforce(log, wall_clock(), shared, observers);
    }
}

/// Removes what may be removed at `now`. A failure is no reason to stop the work: the log says so
/// where it cannot be written any more.
pub fn enforce(log: &EmbeddedLog, now: TimeMs, shared: &Shared, observers: &Observers) {
    let stop = || shared.is_stopping();
    let (outcome, records) = match log.enforce_retention_unless(now, &stop) {
        Ok(records) => {
            if records > 0 {
                tracing::info!(records, "removed from the log what need not be kept");
            }
            (RetentionOutcome::Completed, records)
        }
        Err(error) => {
            tracing::error!(%error, "retention failed; it is tried again");
            (RetentionOutcome::Failed, 0)
        }
    };
    if let Some(metrics) = &observers.metrics {
        metrics.retention(outcome, records);
    }
}
