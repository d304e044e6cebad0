//! The sum of a run: what failed, what was skipped and why, what was slow, and one closing line.

use std::fmt::Write;
use std::time::Duration;

use crate::libtest::{BinaryReport, Outcome, Skip, TestResult};

/// How many of the slowest tests are named.
const SLOWEST: usize = 20;

/// All results of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    reports: Vec<BinaryReport>,
    /// Long tests that were left out, by binary.
    left: Vec<(String, usize)>,
}

/// Why a run does not count as good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At least one test failed.
    Failed,
    /// Nothing ran at all.
    NothingRan,
    /// In continuous integration every test must have its data.
    DataMissing,
}

impl Summary {
    /// Adds what a binary reported.
    pub(crate) fn add(&mut self, report: BinaryReport) {
        self.reports.push(report);
    }

    /// Adds a binary with long tests that was not run.
    pub(crate) fn leave_to_long(&mut self, label: &str, tests: usize) {
        self.left.push((label.to_owned(), tests));
    }

    /// Whether the run is good. `ci` asks for every test's data to be there.
    pub(crate) fn verdict(&self, ci: bool) -> Result<(), Verdict> {
        let failed = self.count(|outcome| *outcome == Outcome::Failed);
        let passed = self.count(|outcome| *outcome == Outcome::Passed);
        let lack = self.count(|o| matches!(o, Outcome::Skipped(Skip::LacksData(_))));
        if failed > 0 {
            Err(Verdict::Failed)
        } else if ci && lack > 0 {
            Err(Verdict::DataMissing)
        } else if passed == 0 {
            Err(Verdict::NothingRan)
        } else {
            Ok(())
        }
    }

    /// The text at the end of a run.
    pub(crate) fn report(&self, total: Duration, ci: bool) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, total, ci);
        out
    }

    fn write(&self, out: &mut String, total: Duration, ci: bool) -> std::fmt::Result {
        self.write_failures(out)?;
        self.write_skipped(out)?;
        self.write_slowest(out)?;
        writeln!(out, "\nTotal time: {:.1} s", total.as_secs_f64())?;
        match self.verdict(ci) {
            Ok(()) | Err(Verdict::Failed) => {}
            Err(Verdict::NothingRan) => writeln!(out, "No test ran: that counts as a failure")?,
            Err(Verdict::DataMissing) => writeln!(
                out,
                "With CI=true a test that lacks its data counts as a failure"
            )?,
        }
        writeln!(
            out,
            "{} passed, {} failed, {} skipped",
            self.count(|outcome| *outcome == Outcome::Passed),
            self.count(|outcome| *outcome == Outcome::Failed),
            self.skipped(),
        )
    }

    fn write_failures(&self, out: &mut String) -> std::fmt::Result {
        let failed = || {
            self.results()
                .filter(|(_, result)| result.outcome == Outcome::Failed)
        };
        for (label, result) in failed() {
            writeln!(out, "\n---- {label}: {} ----", result.name)?;
            writeln!(out, "{}", result.output.trim_end())?;
        }
        if failed().next().is_some() {
            writeln!(out, "\nFailed")?;
        }
        for (label, result) in failed() {
            writeln!(out, "  {label}: {}", result.name)?;
        }
        Ok(())
    }

    fn write_skipped(&self, out: &mut String) -> std::fmt::Result {
        if self.skipped() > 0 {
            writeln!(out, "\nSkipped")?;
        }
        for (label, result) in self.results() {
            match &result.outcome {
                Outcome::Skipped(Skip::LacksData(reason)) => {
                    writeln!(out, "  {label}: {}: {reason}", result.name)?;
                }
                Outcome::Skipped(Skip::Ignored(reason)) if reason.is_empty() => {
                    writeln!(out, "  {label}: {}: ignored", result.name)?;
                }
                Outcome::Skipped(Skip::Ignored(reason)) => {
                    writeln!(out, "  {label}: {}: ignored: {reason}", result.name)?;
                }
                Outcome::Passed | Outcome::Failed => {}
            }
        }
        for report in self.reports.iter().filter(|r| r.filtered_out > 0) {
            writeln!(
                out,
                "  {}: {} filtered out",
                report.label, report.filtered_out
            )?;
        }
        if !self.left.is_empty() {
            writeln!(out, "\nLeft to make test-long")?;
        }
        for (label, tests) in &self.left {
            writeln!(out, "  {label}: {tests} tests")?;
        }
        Ok(())
    }

    fn write_slowest(&self, out: &mut String) -> std::fmt::Result {
        let mut timed: Vec<_> = self
            .results()
            .filter_map(|(label, result)| result.seconds.map(|s| (s, label, &result.name)))
            .collect();
        timed.sort_by(|a, b| b.0.total_cmp(&a.0));
        if !timed.is_empty() {
            writeln!(out, "\nSlowest {}", SLOWEST.min(timed.len()))?;
        }
        for (seconds, label, name) in timed.iter().take(SLOWEST) {
            writeln!(out, "  {seconds:8.3} s  {label}: {name}")?;
        }
        Ok(())
    }

    fn skipped(&self) -> u64 {
        let marked = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let filtered: u64 = self.reports.iter().map(|report| report.filtered_out).sum();
        marked as u64 + filtered
    }

    fn count(&self, like: fn(&Outcome) -> bool) -> usize {
        self.reports.iter().map(|report| report.count(like)).sum()
    }

    fn results(&self) -> impl Iterator<Item = (&str, &TestResult)> {
        self.reports.iter().flat_map(|report| {
            let label = report.label.as_str();
            report.results.iter().map(move |result| (label, result))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, outcome: Outcome, seconds: f64) -> TestResult {
        TestResult {
            name: name.to_owned(),
            outcome,
            seconds: Some(seconds),
            output: format!("output of {name}\n"),
        }
    }

    fn lacks_data() -> Outcome {
        Outcome::Skipped(Skip::LacksData("no folder".to_owned()))
    }

    fn summary(results: Vec<TestResult>, filtered_out: u64) -> Summary {
        let mut summary = Summary::default();
        summary.add(BinaryReport {
            label: "store".to_owned(),
            results,
            filtered_out,
            ..BinaryReport::default()
        });
        summary
    }

    #[test]
    fn the_whole_report() {
        let ignored = |why: &str| Outcome::Skipped(Skip::Ignored(why.to_owned()));
        let mut summary = summary(
            vec![
                result("a", Outcome::Passed, 0.5),
                result("b", Outcome::Failed, 12.25),
                result("c", lacks_data(), 0.0),
                result("d", ignored("slow"), 0.0),
                result("e", ignored(""), 0.0),
            ],
            2,
        );
        summary.leave_to_long("app/long_kill", 3);
        let expected = "
---- store: b ----
output of b

Failed
  store: b

Skipped
  store: c: no folder
  store: d: ignored: slow
  store: e: ignored
  store: 2 filtered out

Left to make test-long
  app/long_kill: 3 tests

Slowest 5
    12.250 s  store: b
     0.500 s  store: a
     0.000 s  store: c
     0.000 s  store: d
     0.000 s  store: e

Total time: 61.5 s
1 passed, 1 failed, 5 skipped
";
        assert_eq!(
            summary.report(Duration::from_millis(61_500), false),
            expected
        );
    }

    #[test]
    fn verdicts() {
        use Outcome::{Failed, Passed};
        for (outcomes, ci, expected) in [
            (vec![Passed], true, Ok(())),
            (vec![Passed, lacks_data()], false, Ok(())),
            (vec![Passed, lacks_data()], true, Err(Verdict::DataMissing)),
            (
                vec![Passed, Failed, lacks_data()],
                true,
                Err(Verdict::Failed),
            ),
            (vec![lacks_data()], false, Err(Verdict::NothingRan)),
            (vec![], false, Err(Verdict::NothingRan)),
        ] {
            let results = outcomes.iter().map(|o| result("t", o.clone(), 0.0));
            let summary = summary(results.collect(), 7);
            assert_eq!(summary.verdict(ci), expected, "{outcomes:?} ci={ci}");
        }
    }

    #[test]
    fn only_the_slowest_are_named() {
        let results = (0..30).map(|n| result(&format!("t{n}"), Outcome::Passed, f64::from(n)));
        let report = summary(results.collect(), 0).report(Duration::ZERO, false);
        assert!(
            report.contains("Slowest 20\n    29.000 s  store: t29\n"),
            "{report}"
        );
        assert!(report.contains("store: t10\n") && !report.contains("store: t9\n"));
        assert!(report.ends_with("\n30 passed, 0 failed, 0 skipped\n"));
    }
}
