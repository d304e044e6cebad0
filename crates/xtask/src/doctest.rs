//! What `cargo test --doc` says.
//!
//! Its JSON form would need an unstable switch for the compiler itself, and with it a second build
//! of everything; so the form for people is read. It has no time per test.

use crate::libtest::{BinaryReport, Outcome, Skip, TestResult};

/// Reads the whole output; `ended` says how cargo ended, in words, and whether that was well.
pub(crate) fn parse(output: &str, ended: (&str, bool), seconds: f64) -> BinaryReport {
    let (how, well) = ended;
    let mut report = BinaryReport {
        label: "doc tests".to_owned(),
        seconds,
        ..BinaryReport::default()
    };
    let mut own_count = 0;
    for line in output.lines() {
        if let Some(counts) = line.strip_prefix("test result: ") {
            own_count += ["passed", "failed", "ignored"]
                .map(|what| count_of(counts, what))
                .iter()
                .sum::<u64>();
            report.filtered_out += count_of(counts, "filtered out");
        } else if let Some(result) = result_of(line) {
            report.results.push(result);
        }
    }
    let any_failed = report.count(|outcome| *outcome == Outcome::Failed) > 0;
    let seen = report.results.len() as u64;
    if seen != own_count || (!well && !any_failed) {
        report.results.push(TestResult {
            name: "(doc tests)".to_owned(),
            outcome: Outcome::Failed,
            seconds: None,
            output: format!("{own_count} reported, {seen} seen to end, {how}\n{output}"),
        });
    } else if any_failed {
        // The failures' details stand at the end of the output, not with each test.
        report.other_output = output.lines().map(str::to_owned).collect();
    }
    report
}

/// `test <name> ... <outcome>`, where the name may be followed by ` - compile` and the like.
fn result_of(line: &str) -> Option<TestResult> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match end {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Skipped(Skip::Ignored(String::new())),
        _ => return None,
    };
    let output = match outcome {
        Outcome::Failed => "see the doc tests' output above\n".to_owned(),
        _ => String::new(),
    };
    Some(TestResult {
        name: name.to_owned(),
        outcome,
        seconds: None,
        output,
    })
}

/// The number before a word in `ok. 3 passed; 0 failed; …`.
fn count_of(counts: &str, what: &str) -> u64 {
    counts
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(what))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_CRATES: &str = "\
running 3 tests
test crates/a/src/lib.rs - f (line 4) ... ignored
test crates/a/src/lib.rs - f (line 1) - compile ... ok
test crates/a/src/lib.rs - f (line 7) ... FAILED

failures:

---- crates/a/src/lib.rs - f (line 7) stdout ----
boom

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.09s

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s
";

    #[test]
    fn counts_over_all_crates() {
        let report = parse(TWO_CRATES, ("exit status: 101", false), 1.0);
        let ends: Vec<_> = report.results.iter().map(|r| &r.outcome).collect();
        assert_eq!(
            ends,
            [
                &Outcome::Skipped(Skip::Ignored(String::new())),
                &Outcome::Passed,
                &Outcome::Failed
            ]
        );
        assert_eq!(report.filtered_out, 3);
        assert!(report.other_output.contains(&"boom".to_owned()));
    }

    #[test]
    fn a_doc_test_that_does_not_compile_and_a_lost_result_are_failures() {
        for (output, ended) in [
            (
                "error[E0308]: mismatched types\n",
                ("exit status: 1", false),
            ),
            (
                "test result: ok. 1 passed; 0 failed; 0 ignored; 0 filtered out\n",
                ("exit status: 0", true),
            ),
        ] {
            let report = parse(output, ended, 1.0);
            assert_eq!(report.results.len(), 1, "{output}");
            assert_eq!(report.results[0].outcome, Outcome::Failed, "{output}");
            assert!(report.results[0].output.contains(output), "{output}");
        }
    }

    #[test]
    fn no_doc_tests_at_all_are_no_failure() {
        let report = parse("", ("exit status: 0", true), 1.0);
        assert!(report.results.is_empty());
    }
}
