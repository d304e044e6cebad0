//! Takeovers with a warm standby: of two instances that keep each other's tasks warm one is killed under
//! load, and the other has its tasks again.
//!
//! Invariants: every task is warm before, as `clvstream status` says; what the killed instance leaves
//! open is waited for, as the group's session is: both belong to what is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::kafka::Deployment;
use crate::load;
use crate::program::{self, Program};
use crate::recovery::{READ, RESTORED_BYTES, RESTORED_RECORDS, step, wait};

const OWNED: &str = "clvstream_tasks_owned";
const FOLLOWED: &str = "clvstream_standby_records_total";

/// From the kill on.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Takeover {
    /// Tasks that were taken over.
    tasks: f64,
    /// Until all of them were.
    seconds: f64,
    /// Changelog records read for it.
    records: f64,
    /// Their bytes, keys and values.
    bytes: f64,
    /// Changelog records that the standby had read before, to be warm.
    followed: f64,
}

/// Measures one. The deployment has state of `customers` customers, beside which the second instance
/// begins with none.
///
/// # Errors
/// Any part fails.
pub(crate) fn measure(
    of: &Deployment,
    work: &Path,
    customers: u64,
) -> Result<Takeover, BenchError> {
    let with = |settings: &[String]| {
        let mut program: Program = of.program.clone();
        program.overrides.push("standby=1".to_owned());
        program.overrides.extend_from_slice(settings);
        program
    };
    let second_http = program::free_address()?;
    let second_data = work.join("recovery-second");
    let second = with(&[
        format!("data_dir={}", second_data.display()),
        format!("http.listen={second_http}"),
    ]);
    let first = with(&[]);
    step("two instances, until each keeps the other's tasks warm");
    let (killed, mut survives) = (first.serve(of.http)?, second.serve(second_http)?);
    wait("every task is warm", || first.is_all_warm())?;
    let tasks = f64::from(of.setup.partitions);
    let metric = |name| program::metric(second_http, name).unwrap_or_default();
    let before = (metric(RESTORED_RECORDS), metric(RESTORED_BYTES));
    let owned = metric(OWNED);

    step("kill -9 of one of them under load");
    let waiting = customers / 5;
    load::orders(&of.setup, customers, waiting, 1)?;
    wait("it is at work on them", || {
        program::metric(of.http, READ).is_some_and(|read| read > 0.0)
    })?;
    let started = Instant::now();
    // Dropped, it is killed and reaped.
    drop(killed);
    wait("its tasks are taken over", || metric(OWNED) >= tasks)?;
    let seconds = started.elapsed().as_secs_f64();
    let found = Takeover {
        tasks: tasks - owned,
        seconds,
        records: metric(RESTORED_RECORDS) - before.0,
        bytes: metric(RESTORED_BYTES) - before.1,
        followed: metric(FOLLOWED),
    };
    survives.terminate()?;
    survives.finish(Duration::from_secs(120))?;
    Ok(found)
}

impl Takeover {
    pub(crate) fn print(&self) {
        println!(
            "taken over with a warm standby: {} tasks {:.2} s after kill -9; {} changelog records read, {:.2} MB, where {} had been followed",
            self.tasks,
            self.seconds,
            self.records,
            self.bytes / 1e6,
            self.followed
        );
    }
}
