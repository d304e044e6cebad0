//! What retention and compaction have left is checked as far as it goes, and what cannot be told is said
//! to be so.

use checker::{Check, Outcome};
use proptest::prelude::*;

use crate::histories::{at, made, names, plan, reports, subject};
use crate::support::rig::INPUTS;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_compacted_changelog_passes_every_check(plan in plan(60), until in any::<u64>()) {
        let mut topics = made(&plan);
        for task in 0..plan.tasks {
            let changelog = at(&names().changelog, task);
            let end = topics.records(&changelog).len() as u64 + 1;
            topics.compact(&changelog, until % end);
        }
        for report in reports(&subject(plan.tasks, true), &topics) {
            for (check, outcome) in &report.outcomes {
                let given = matches!(check, Check::Committed | Check::State);
                prop_assert!(given || matches!(outcome, Outcome::Passed(_)), "{check} {outcome:?}");
            }
        }
    }

    #[test]
    fn without_its_beginning_there_is_no_replay_and_the_rest_is_checked(
        plan in plan(60), which in 0..3_usize, cut in any::<u64>(),
    ) {
        let mut topics = made(&plan);
        let names = names();
        for task in 0..plan.tasks {
            let trimmed = match which {
                0 => at(&names.commits, task),
                1 => at(&names.routed, task),
                _ => at(INPUTS[0], task),
            };
            let records = topics.records(&trimmed).len() as u64;
            if records > 1 {
                topics.trim(&trimmed, 1 + cut % (records - 1));
            }
        }
        for report in reports(&subject(plan.tasks, false), &topics) {
            let failures: Vec<_> = report.failures().collect();
            prop_assert!(failures.is_empty(), "{failures:?}");
            for check in [Check::Chain, Check::Positions, Check::Sequences, Check::Head] {
                let outcome = report.outcome(check);
                prop_assert!(matches!(outcome, Some(Outcome::Passed(_))), "{check} {outcome:?}");
            }
            let last = report.outcome(Check::LastOutputs);
            prop_assert!(matches!(last, Some(Outcome::Passed(_))), "{last:?}");
            let outputs = report.outcome(Check::Outputs);
            let is_trimmed = topics.begins.keys().any(|at| at.partition == report.task);
            if is_trimmed {
                prop_assert!(matches!(outputs, Some(Outcome::NotCheckable(_))), "{outputs:?}");
            }
        }
    }

    #[test]
    fn outputs_without_their_beginning_are_checked_from_where_they_begin(
        plan in plan(60), cut in any::<u64>(),
    ) {
        let mut topics = made(&plan);
        for task in 0..plan.tasks {
            for output in names().outputs() {
                let output = at(output, task);
                let records = topics.records(&output).len() as u64;
                if records > 1 {
                    topics.trim(&output, 1 + cut % (records - 1));
                }
            }
        }
        for report in reports(&subject(plan.tasks, false), &topics) {
            for (check, outcome) in &report.outcomes {
                let given = matches!(check, Check::Committed | Check::State);
                prop_assert!(given || matches!(outcome, Outcome::Passed(_)), "{check} {outcome:?}");
            }
        }
    }

    #[test]
    fn while_commits_go_on_what_lies_behind_the_last_one_is_let_be(
        plan in plan(60), back in 1..4_usize,
    ) {
        let mut topics = made(&plan);
        topics.live = true;
        for task in 0..plan.tasks {
            let commits = topics.partitions.get_mut(&at(&names().commits, task)).expect("commits");
            commits.truncate(commits.len().saturating_sub(back).max(1));
        }
        for report in reports(&subject(plan.tasks, false), &topics) {
            let failures: Vec<_> = report.failures().collect();
            prop_assert!(failures.is_empty(), "{failures:?}");
            for check in [Check::Outputs, Check::Changelog, Check::Fold, Check::Commits] {
                let outcome = report.outcome(check);
                prop_assert!(matches!(outcome, Some(Outcome::Passed(_))), "{check} {outcome:?}");
            }
        }
    }
}
