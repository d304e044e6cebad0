//! What a run did and what came of it: as a table for people, as JSON for machines.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use fleet::Counted;
use serde::Serialize;

use crate::fault::Fault;

/// What a run did and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Names the run.
    pub seed: u64,
    /// Rounds that were gone through, by what they were.
    pub rounds: Vec<String>,
    faults: BTreeMap<Fault, Tally>,
    counted: Counted,
    /// Records that subscribers were told, over all rounds.
    pub outputs: usize,
    longest_pause: Duration,
    longest_open: Duration,
    /// Faults that could not be injected here, and why.
    pub unavailable: BTreeMap<String, String>,
    /// What must not be.
    pub violations: Vec<String>,
}

/// How often a fault was injected, and what followed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Tally {
    injected: u64,
    /// Chosen, and its moment did not come.
    missed: u64,
    /// The longest time after it within which every task got on again, in milliseconds.
    longest_recovery_ms: u128,
}

#[derive(Serialize)]
struct Written<'a> {
    seed: u64,
    rounds: &'a [String],
    faults: BTreeMap<String, Tally>,
    injected: u64,
    commits: u64,
    aborts: u64,
    fenced: u64,
    indeterminate: u64,
    rebalances: u64,
    records_consumed: u64,
    outputs: usize,
    longest_pause_ms: u128,
    longest_open_transaction_ms: u128,
    unavailable: &'a BTreeMap<String, String>,
    violations: &'a [String],
}

impl Report {
    /// Of a run under `seed` that has not begun.
    #[must_use]
    pub fn new(seed: u64) -> Report {
        Report {
            seed,
            ..Report::default()
        }
    }

    /// A fault was injected.
    pub(crate) fn injected(&mut self, fault: Fault) {
        self.faults.entry(fault).or_default().injected += 1;
    }

    /// A fault was chosen, and its moment did not come.
    pub(crate) fn missed(&mut self, fault: Fault) {
        self.faults.entry(fault).or_default().missed += 1;
    }

    /// How long it took after a fault until every task had got on.
    pub(crate) fn recovered(&mut self, fault: Fault, within: Duration) {
        let tally = self.faults.entry(fault).or_default();
        tally.longest_recovery_ms = tally.longest_recovery_ms.max(within.as_millis());
    }

    /// A round is over.
    pub(crate) fn round(
        &mut self,
        counted: &Counted,
        outputs: usize,
        pause: Duration,
        open: Duration,
    ) {
        self.counted.add(counted);
        self.outputs += outputs;
        self.longest_pause = self.longest_pause.max(pause);
        self.longest_open = self.longest_open.max(open);
    }

    /// Something is as it must not be.
    pub(crate) fn violation(&mut self, what: String) {
        println!("VIOLATION: {what}");
        self.violations.push(what);
    }

    /// How often a fault was injected.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).map_or(0, |tally| tally.injected)
    }

    /// Commits of instances that were seen.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits_that("committed")
    }

    fn commits_that(&self, outcome: &str) -> u64 {
        let sample = format!("clvstream_commits_total{{outcome=\"{outcome}\"}}");
        self.counted.sum(&sample)
    }

    fn written(&self) -> Written<'_> {
        Written {
            seed: self.seed,
            rounds: &self.rounds,
            faults: self.faults.iter().map(|(f, t)| (f.name(), *t)).collect(),
            injected: self.faults.values().map(|tally| tally.injected).sum(),
            commits: self.commits(),
            aborts: self.commits_that("aborted"),
            fenced: self.counted.sum("clvstream_fenced_total"),
            indeterminate: self.commits_that("indeterminate"),
            rebalances: self.counted.sum("clvstream_rebalances_total"),
            records_consumed: self.counted.sum("clvstream_records_read_total"),
            outputs: self.outputs,
            longest_pause_ms: self.longest_pause.as_millis(),
            longest_open_transaction_ms: self.longest_open.as_millis(),
            unavailable: &self.unavailable,
            violations: &self.violations,
        }
    }

    /// All of it as JSON.
    ///
    /// # Errors
    /// There is no way to write it.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.written())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.written();
        writeln!(
            f,
            "{:<30} {:>8} {:>7} {:>18}",
            "fault", "injected", "missed", "got on within (s)"
        )?;
        for (name, tally) in &written.faults {
            let seconds = tally.longest_recovery_ms as f64 / 1_000.0;
            let Tally {
                injected, missed, ..
            } = tally;
            writeln!(f, "{name:<30} {injected:>8} {missed:>7} {seconds:>18.1}")?;
        }
        for (name, why) in written.unavailable {
            writeln!(f, "{name:<30} not possible here: {why}")?;
        }
        writeln!(f)?;
        let seconds = |ms: u128| format!("{:.1} s", ms as f64 / 1_000.0);
        for (name, value) in [
            ("seed", written.seed.to_string()),
            ("rounds", written.rounds.len().to_string()),
            ("faults injected", written.injected.to_string()),
            ("commits", written.commits.to_string()),
            ("aborts", written.aborts.to_string()),
            ("fencings", written.fenced.to_string()),
            ("unknown outcomes", written.indeterminate.to_string()),
            ("rebalances", written.rebalances.to_string()),
            ("records consumed", written.records_consumed.to_string()),
            ("outputs checked", written.outputs.to_string()),
            ("longest pause of a task", seconds(written.longest_pause_ms)),
            (
                "longest open transaction",
                seconds(written.longest_open_transaction_ms),
            ),
            ("violations", written.violations.len().to_string()),
        ] {
            writeln!(f, "{name:<30} {value:>8}")?;
        }
        for violation in written.violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_faults_by_kind_and_what_is_violated() {
        let mut report = Report::new(7);
        report.injected(Fault::Stop);
        report.injected(Fault::Stop);
        report.missed(Fault::Kill);
        report.recovered(Fault::Stop, Duration::from_millis(1_500));
        report.recovered(Fault::Stop, Duration::from_millis(700));
        report.violation("a sequence has a gap".to_owned());
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["faults"]["stop"]["injected"], 2);
        assert_eq!(json["faults"]["stop"]["longest_recovery_ms"], 1_500);
        assert_eq!(json["faults"]["kill"]["missed"], 1);
        assert_eq!(json["injected"], 2);
        assert_eq!(json["violations"][0], "a sequence has a gap");
        let table = report.to_string();
        assert!(table.contains("VIOLATION: a sequence has a gap"), "{table}");
    }
}
