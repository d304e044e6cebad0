//! What a test binary says about its tests: libtest's JSON events, one a line.
//!
//! A test's own output comes with the event that ends it. What a test's child processes print goes
//! around libtest's capture and may stand on lines of its own or before an event on the same line.

use serde_json::Value;

/// How one test ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It ran and held.
    Passed,
    /// It did not hold, or did not end.
    Failed,
    /// It did not run, or said itself that it could not.
    Skipped(Skip),
}

/// Why a test counts as skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// Marked `#[ignore]`, with the reason given there.
    Ignored(String),
    /// Printed `SKIPPED <name>: <reason>`.
    LacksData(String),
}

/// One test's result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestResult {
    /// Path of the test within its binary.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How long it ran, where that is known.
    pub(crate) seconds: Option<f64>,
    /// What it printed.
    pub(crate) output: String,
}

/// All that one test binary reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BinaryReport {
    /// Package and target, for people.
    pub(crate) label: String,
    /// Results in the order in which the tests ended.
    pub(crate) results: Vec<TestResult>,
    /// Tests that a filter left out.
    pub(crate) filtered_out: u64,
    /// Lines that were no events.
    pub(crate) other_output: Vec<String>,
    /// How long the whole binary ran.
    pub(crate) seconds: f64,
}

impl BinaryReport {
    /// How many of the results ended like that.
    pub(crate) fn count(&self, like: fn(&Outcome) -> bool) -> usize {
        self.results.iter().filter(|r| like(&r.outcome)).count()
    }
}

/// Collects the events of one test binary.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    running: Vec<String>,
    report: BinaryReport,
    /// Passed, failed and ignored by the binary's own count, once it has finished.
    own_count: Option<u64>,
}

impl Collector {
    /// A collector for the binary of that name.
    pub(crate) fn new(label: &str) -> Self {
        Self {
            report: BinaryReport {
                label: label.to_owned(),
                ..BinaryReport::default()
            },
            ..Self::default()
        }
    }

    /// Takes in one line; gives back what a person who waits should see at once.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        let Some((before, event)) = split_event(line) else {
            self.report.other_output.push(line.to_owned());
            return Some(line.to_owned());
        };
        if !before.is_empty() {
            self.report.other_output.push(before.to_owned());
        }
        match event["type"].as_str() {
            Some("suite") => {
                self.suite(&event);
                None
            }
            Some("test") => self.test(&event),
            _ => None,
        }
    }

    fn suite(&mut self, event: &Value) {
        if event["event"] == "started" {
            return;
        }
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        self.report.filtered_out = number("filtered_out");
        self.own_count = Some(number("passed") + number("failed") + number("ignored"));
    }

    fn test(&mut self, event: &Value) -> Option<String> {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        let outcome = match event["event"].as_str() {
            Some("started") => {
                self.running.push(name);
                return None;
            }
            Some("timeout") => return Some(format!("    still running: {name}")),
            Some("ok") => match skip_reason(&text("stdout")) {
                Some(reason) => Outcome::Skipped(Skip::LacksData(reason)),
                None => Outcome::Passed,
            },
            Some("ignored") => Outcome::Skipped(Skip::Ignored(text("message"))),
            // An unknown end is no success.
            _ => Outcome::Failed,
        };
        self.running.retain(|running| *running != name);
        let failed = outcome == Outcome::Failed;
        let output = match text("message") {
            message if failed && !message.is_empty() => format!("{}{message}\n", text("stdout")),
            _ => text("stdout"),
        };
        let shown = failed.then(|| format!("    FAILED {name}"));
        self.report.results.push(TestResult {
            name,
            outcome,
            seconds: event["exec_time"].as_f64(),
            output,
        });
        shown
    }

    /// Closes the books. `ended` says how the process ended, in words, and whether that was well.
    pub(crate) fn finish(mut self, ended: (&str, bool), seconds: f64) -> BinaryReport {
        let (how, well) = ended;
        self.report.seconds = seconds;
        let unfinished = std::mem::take(&mut self.running);
        for name in unfinished {
            self.fail(name, &format!("the test binary ended first ({how})\n"));
        }
        let seen = self.report.results.len() as u64;
        let any_failed = self.report.count(|o| *o == Outcome::Failed) > 0;
        match self.own_count {
            None if !any_failed => self.fail(
                "(test binary)".to_owned(),
                &format!("ended without saying how its tests went ({how})\n"),
            ),
            Some(own) if own != seen => self.fail(
                "(test binary)".to_owned(),
                &format!("reports {own} tests, but {seen} of them were seen to end\n"),
            ),
            Some(_) if !well && !any_failed => self.fail(
                "(test binary)".to_owned(),
                &format!("ended badly after its tests ({how})\n"),
            ),
            _ => {}
        }
        self.report
    }

    fn fail(&mut self, name: String, why: &str) {
        self.report.results.push(TestResult {
            name,
            outcome: Outcome::Failed,
            seconds: None,
            output: why.to_owned(),
        });
    }
}

/// The event that ends a line, and what stands before it.
fn split_event(line: &str) -> Option<(&str, Value)> {
    let start = line.find("{ \"type\": ")?;
    let event = serde_json::from_str(&line[start..]).ok()?;
    Some((&line[..start], event))
}

/// The reason that a test gave for doing nothing: the rest of a line `SKIPPED <name>: <reason>`.
pub(crate) fn skip_reason(output: &str) -> Option<String> {
    let said = output
        .lines()
        .find_map(|line| line.strip_prefix("SKIPPED "))?;
    let reason = said.split_once(": ").map_or(said, |(_, reason)| reason);
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: (&str, bool) = ("exit status: 0", true);
    const BADLY: (&str, bool) = ("exit status: 101", false);
    const KILLED: (&str, bool) = ("signal: 6 (SIGABRT)", false);

    fn collect(lines: &str, ended: (&str, bool)) -> BinaryReport {
        let mut collector = Collector::new("it");
        for line in lines.lines() {
            collector.line(line);
        }
        collector.finish(ended, 1.5)
    }

    fn names(report: &BinaryReport) -> Vec<(&str, &Outcome)> {
        report
            .results
            .iter()
            .map(|r| (r.name.as_str(), &r.outcome))
            .collect()
    }

    #[test]
    fn every_way_to_end() {
        let report = collect(
            r#"{ "type": "suite", "event": "started", "test_count": 4 }
{ "type": "test", "event": "started", "name": "a" }
{ "type": "test", "event": "started", "name": "b" }
{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.25 }
{ "type": "test", "event": "started", "name": "c" }
{ "type": "test", "name": "c", "event": "ignored", "message": "needs a broker" }
{ "type": "test", "event": "started", "name": "d" }
{ "type": "test", "name": "d", "event": "ok", "exec_time": 0.0, "stdout": "hello\nSKIPPED d: no folder: x\n" }
{ "type": "test", "event": "timeout", "name": "b" }
{ "type": "test", "name": "b", "event": "failed", "exec_time": 61.5, "stdout": "left\nright\n" }
{ "type": "suite", "event": "failed", "passed": 2, "failed": 1, "ignored": 1, "measured": 0, "filtered_out": 3, "exec_time": 0.5 }"#,
            BADLY,
        );
        assert_eq!(
            names(&report),
            [
                ("a", &Outcome::Passed),
                (
                    "c",
                    &Outcome::Skipped(Skip::Ignored("needs a broker".into()))
                ),
                (
                    "d",
                    &Outcome::Skipped(Skip::LacksData("no folder: x".into()))
                ),
                ("b", &Outcome::Failed),
            ]
        );
        assert_eq!(report.results[0].seconds, Some(0.25));
        assert_eq!(report.results[3].output, "left\nright\n");
        assert_eq!(report.filtered_out, 3);
        assert!(report.other_output.is_empty());
    }

    #[test]
    fn output_around_the_events_is_kept_and_costs_no_event() {
        let report = collect(
            r#"{ "type": "suite", "event": "started", "test_count": 1 }
a child's line
{ "type": "test", "event": "started", "name": "a" }
half a line{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.1 }
{ "type": "suite", "event": "ok", "passed": 1, "failed": 0, "ignored": 0, "measured": 0, "filtered_out": 0, "exec_time": 0.5 }"#,
            WELL,
        );
        assert_eq!(names(&report), [("a", &Outcome::Passed)]);
        assert_eq!(report.other_output, ["a child's line", "half a line"]);
    }

    #[test]
    fn a_binary_that_dies_fails_the_tests_it_was_running() {
        let report = collect(
            r#"{ "type": "suite", "event": "started", "test_count": 2 }
{ "type": "test", "event": "started", "name": "a" }
{ "type": "test", "event": "started", "name": "b" }
{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.1 }"#,
            KILLED,
        );
        assert_eq!(
            names(&report),
            [("a", &Outcome::Passed), ("b", &Outcome::Failed)]
        );
        assert!(report.results[1].output.contains("signal: 6"));
    }

    #[test]
    fn silence_lost_results_and_a_bad_end_are_failures() {
        let started = r#"{ "type": "suite", "event": "started", "test_count": 2 }"#;
        let over = |passed: u8| {
            format!(
                "{started}\n{{ \"type\": \"suite\", \"event\": \"ok\", \"passed\": {passed}, \
                 \"failed\": 0, \"ignored\": 0, \"filtered_out\": 0 }}"
            )
        };
        for (lines, ended, expected) in [
            (String::new(), WELL, 1),
            (started.to_owned(), WELL, 1),
            (over(2), WELL, 1),
            (over(0), KILLED, 1),
            (over(0), WELL, 0),
        ] {
            let report = collect(&lines, ended);
            let failed = report.count(|outcome| *outcome == Outcome::Failed);
            assert_eq!(failed, expected, "{lines:?} {ended:?}");
        }
    }

    #[test]
    fn reasons_for_skipping() {
        for (output, expected) in [
            ("", None),
            ("was not SKIPPED at all\n", None),
            ("SKIPPED a::b: no data\n", Some("no data")),
            ("x\nSKIPPED no reason given\n", Some("no reason given")),
        ] {
            assert_eq!(skip_reason(output).as_deref(), expected, "{output:?}");
        }
    }
}
