//! What the engine made passes.

use checker::{Check, Committed, Outcome, check};
use engine::commit_record::CommitRecord;
use proptest::prelude::*;

use wire::partition_of;
use wire::routed::Routed;

use crate::histories::{at, made, names, plan, reports, subject, topics_of};
use crate::support::events::{START, model, view};
use crate::support::rig::Rig;

/// Checks that need something from outside the topics.
const WITHOUT_EVIDENCE: [Check; 2] = [Check::Committed, Check::State];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_the_engine_made_passes_every_check(plan in plan(70)) {
        let topics = made(&plan);
        for compacted in [false, true] {
            let reports = reports(&subject(plan.tasks, compacted), &topics);
            let consumed: u64 = reports.iter().map(|report| report.records).sum();
            prop_assert!(consumed >= plan.events.len() as u64, "{consumed}");
            for report in reports {
                let failures: Vec<String> =
                    report.failures().map(|(check, found)| format!("{check}: {found}")).collect();
                prop_assert!(failures.is_empty(), "{:#?}", failures);
                prop_assert_eq!(report.outcomes.len(), Check::ALL.len());
                for (check, outcome) in &report.outcomes {
                    let passed = matches!(outcome, Outcome::Passed(_));
                    prop_assert!(
                        passed || WITHOUT_EVIDENCE.contains(check), "{} {:?}", check, outcome
                    );
                }
            }
        }
    }

    #[test]
    fn committed_offsets_are_those_of_the_last_commit_records(
        plan in plan(40), which in any::<u64>(),
    ) {
        let mut topics = made(&plan);
        let subject = subject(plan.tasks, false);
        for task in 0..plan.tasks {
            let mut committed = Committed::new();
            for entry in topics.records(&at(&names().commits, task)) {
                let bytes = entry.value.as_deref().expect("a value");
                let record = CommitRecord::decode(bytes).expect("a commit record");
                for (input, position) in record.consumed.positions {
                    committed.insert(input, Some(position));
                }
            }
            let mut outcome = |committed: &Committed| {
                topics.committed = Some(committed.clone());
                let Ok(report) = check(&subject, &mut topics, task, None, &mut |_| {});
                report.outcome(Check::Committed).cloned()
            };
            prop_assert_eq!(outcome(&committed), Some(Outcome::Passed(committed.len() as u64)));
            let Some(input) = committed.keys().nth(which as usize % committed.len().max(1)).cloned()
            else {
                continue;
            };
            // Behind markers after the last record it may stand; before it, or nowhere, it may not.
            let position = committed[&input].unwrap_or_default();
            committed.insert(input.clone(), Some(position + 3));
            prop_assert!(matches!(outcome(&committed), Some(Outcome::Passed(_))));
            for wrong in [Some(position - 1), None] {
                committed.insert(input.clone(), wrong);
                let Some(Outcome::Failed(finding)) = outcome(&committed) else {
                    panic!("{wrong:?} passed");
                };
                prop_assert_eq!(&finding.at, &input);
            }
        }
    }
}

/// Of a customer without orders no model says anything, and his bytes do not say which he stands under.
#[test]
fn whoever_has_no_orders_goes_over_within_a_commit_like_all_others() {
    let names = (0..).map(|nth| format!("visitor-{nth}"));
    let mut of_task_0 = names.filter(|name| partition_of(name.as_bytes(), 2) == 0);
    let visitor = of_task_0.next().expect("a name");
    let mut rig = Rig::new(2);
    rig.control_all(&Routed::Model(model(1)));
    rig.run(100);
    rig.send_to(1, &view("first", &visitor, START));
    rig.once(100).expect("a commit");
    // What is forwarded, the models and what comes last are consumed in one commit.
    rig.control(0, &Routed::Model(model(2)));
    rig.control(0, &Routed::Rescore { profiles: 100 });
    rig.send_to(0, &view("second", &visitor, START.plus(1)));
    rig.run(100);
    assert_eq!(rig.book(0).rescored, None);
    for report in reports(&subject(2, false), &topics_of(&rig, 2)) {
        let failures: Vec<String> = report
            .failures()
            .map(|(c, f)| format!("{c}: {f}"))
            .collect();
        assert_eq!(failures, [""; 0]);
    }
}
