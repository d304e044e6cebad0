//! What commands that process records share: opening the deployment, working under a stop token
//! with progress on a terminal, measuring what it took.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use config::Loaded;
use domain::money::Currency;
use engine::bookkeeping::Counts;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use runtime::load::{self, Delivery, Item};
use runtime::workers::{Observers, Shared, Until, wall_clock, work_on};
use runtime::{Deployment, RuntimeError};
use serde::Serialize;

use crate::error::CliError;
use crate::render::grouped;
use crate::shutdown::Shutdown;

/// How often the stop token is looked at and progress is drawn.
const LOOK: Duration = Duration::from_millis(200);
/// After how long without progress it is said that nobody seems to work.
const PATIENCE: Duration = Duration::from_secs(15);

/// Opens the deployment, for data in `currency` where a mapping says so.
///
/// # Errors
/// It cannot be opened, or contradicts what was chosen at its first start.
pub fn open(loaded: &Loaded, currency: Option<Currency>) -> Result<Deployment, CliError> {
    Ok(Deployment::open(loaded, currency, wall_clock())?)
}

/// What a stretch of work took. Records that were consumed before do not count.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Took {
    /// Records consumed.
    pub records: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Records per second.
    pub per_second: f64,
}

impl Took {
    fn new(records: u64, since: Instant) -> Took {
        let seconds = since.elapsed().as_secs_f64();
        Took {
            records,
            seconds,
            per_second: records as f64 / seconds.max(1e-9),
        }
    }
}

/// Loads `items` under `name`, with progress counted in items.
///
/// # Errors
/// The load failed or was interrupted.
pub fn load(
    deployment: &Deployment,
    name: &str,
    delivery: &Delivery,
    items: impl Iterator<Item = Result<Item, RuntimeError>>,
    shutdown: &Shutdown,
) -> Result<load::Loaded, CliError> {
    let shared = Arc::new(Shared::default());
    let bar = progress("loading", None);
    let mut on_progress = |items: u64| {
        if items.is_multiple_of(1_000) {
            bar.set_position(items);
            if shutdown.is_requested() {
                shared.stop();
            }
        }
    };
    let loaded = load::load(deployment, name, delivery, items, &shared, &mut on_progress);
    bar.finish_and_clear();
    Ok(loaded?)
}

/// Processes what is in the inputs, until they are drained or until it is asked to stop.
///
/// # Errors
/// A worker failed; or the inputs were to be drained and it was asked to stop before.
pub fn process(
    deployment: &Deployment,
    until: Until,
    shutdown: &Shutdown,
    observers: &Observers,
) -> Result<(Counts, Took), CliError> {
    let started = Instant::now();
    let shared = Arc::new(Shared::default());
    let finished = AtomicBool::new(false);
    let bar = match until {
        Until::Drained => progress("processing", deployment.lag().ok()),
        Until::Stopped => ProgressBar::hidden(),
    };
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                bar.set_position(shared.consumed());
                if shutdown.wait(LOOK) {
                    if let Some(readiness) = &observers.readiness {
                        readiness.stopping();
                    }
                    shared.stop();
                    if let Some(log) = deployment.log.embedded() {
                        log.wake();
                    }
                    return;
                }
            }
        });
        let worked = work_on(deployment, until, &shared, observers);
        finished.store(true, Ordering::Relaxed);
        worked
    });
    bar.finish_and_clear();
    let (before, counts) = match worked {
        // A service that is told to stop while it restores has nothing to finish.
        Err(RuntimeError::Interrupted) if until == Until::Stopped => Default::default(),
        worked => worked?,
    };
    if until == Until::Drained && shutdown.is_requested() {
        return Err(CliError::from(RuntimeError::Interrupted));
    }
    let records = counts.consumed().saturating_sub(before.consumed());
    Ok((counts, Took::new(records, started)))
}

/// On Kafka, where instances of the service do the processing: waits until they have consumed what
/// was loaded, and lets stream time advance to the end of the load.
///
/// # Errors
/// The cluster does not answer, or it was interrupted.
pub fn wait_for_service(
    deployment: &Deployment,
    name: &str,
    delivery: &Delivery,
    shutdown: &Shutdown,
) -> Result<(), CliError> {
    let shared = Arc::new(Shared::default());
    let total = deployment.lag()?;
    let bar = progress("waiting for the service to consume", Some(total));
    let mut lowest = u64::MAX;
    let mut changed = Instant::now();
    let mut on_progress = |left: u64| {
        bar.set_position(total.saturating_sub(left));
        if left < lowest {
            lowest = left;
            changed = Instant::now();
        } else if changed.elapsed() > PATIENCE {
            changed = Instant::now();
            tracing::warn!(
                left,
                "nothing is being consumed: is `clvstream run` running for this application?"
            );
        }
        if shutdown.is_requested() {
            shared.stop();
        }
    };
    let done = load::finish(deployment, name, delivery, &shared, &mut on_progress);
    bar.finish_and_clear();
    Ok(done?)
}

/// Whole steps a second.
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // Drawing to a terminal that is gone is no failure of the work.
    let _ = out.write_str(&grouped(state.per_sec() as u64));
}

/// A progress bar on a terminal; nothing elsewhere.
pub(crate) fn progress(what: &'static str, length: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let template = match length {
        Some(_) => "{msg} {wide_bar} {human_pos} of {human_len}, {rate} a second, {eta} left",
        None => "{msg} {spinner} {human_pos}, {rate} a second",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_message(what);
    bar
}
