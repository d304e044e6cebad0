//! One record removed, doubled or altered, anywhere: the checker fails, and names it.

use checker::{Check, Finding, Report};
use engine::commit_record::CommitRecord;
use engine::port::TopicPartition;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use wire::routed::Routed;

use crate::histories::{Plan, at, made, names, plan, reports, subject};
use crate::support::rig::INPUTS;
use crate::topics::{Damage, Topics};

/// What topic is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Outputs,
    Letters,
    Changelog,
    Commits,
    Routed,
}

/// The topic partitions of one kind that hold anything.
fn partitions(topics: &Topics, tasks: u32, kind: Where) -> Vec<TopicPartition> {
    let names = names();
    let all = match kind {
        Where::Outputs => names.outputs().map(|name| name.to_string()).to_vec(),
        Where::Letters => vec![names.dead_letters.to_string()],
        Where::Changelog => vec![names.changelog.to_string()],
        Where::Commits => vec![names.commits.to_string()],
        Where::Routed => vec![names.routed.to_string()],
    };
    let all = all
        .iter()
        .flat_map(|name| (0..tasks).map(|partition| at(name, partition)));
    all.filter(|at| !topics.records(at).is_empty()).collect()
}

/// The inputs that hold anything.
fn inputs(topics: &Topics, tasks: u32) -> Vec<TopicPartition> {
    let all = INPUTS
        .into_iter()
        .flat_map(|name| (0..tasks).map(move |p| at(name, p)));
    all.filter(|at| !topics.records(at).is_empty()).collect()
}

fn failures(reports: &[Report]) -> Vec<(Check, Finding)> {
    let all = reports.iter().flat_map(Report::failures);
    all.map(|(check, finding)| (check, finding.clone()))
        .collect()
}

/// Whether somebody names the record at `offset` of `at`, or that it is missing there: the offset of
/// the record after it is named then, or that of the end.
fn is_named(found: &[(Check, Finding)], at: &TopicPartition, offset: u64, topics: &Topics) -> bool {
    let next = topics
        .records(at)
        .iter()
        .find(|record| record.offset > offset);
    let next = next.map_or(offset + 1, |next| next.offset);
    found.iter().any(|(_, finding)| {
        let from = finding.offset.unwrap_or_default();
        let until = finding.until.unwrap_or(from + 1);
        finding.at == *at && from <= next && until > offset
    })
}

/// Whether somebody names `at` as what may have been altered.
fn is_told(found: &[(Check, Finding)], at: &TopicPartition) -> bool {
    let told = format!("{} partition {}", at.topic, at.partition);
    found
        .iter()
        .any(|(_, finding)| finding.to_string().contains(&told))
}

/// One line a finding.
fn told(found: &[(Check, Finding)]) -> String {
    let line = |(check, finding): &(Check, Finding)| format!("\n  {check}: {finding}");
    found.iter().map(line).collect()
}

/// Whether a routed record comes from the shell, and not from a task.
fn is_control(bytes: &[u8]) -> bool {
    let routed = Routed::decode(bytes).expect("a routed record");
    !matches!(routed, Routed::Event { .. } | Routed::Clock { .. })
}

fn pick(plan: &Plan, count: usize) -> usize {
    (plan.seed >> 7) as usize % count.max(1)
}

fn damage_kinds() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Removed),
        Just(Damage::Doubled),
        Just(Damage::Value),
        Just(Damage::Key),
        Just(Damage::Header),
    ]
}

fn wheres() -> impl Strategy<Value = Where> {
    prop_oneof![
        Just(Where::Outputs),
        Just(Where::Letters),
        Just(Where::Changelog),
        Just(Where::Commits),
        Just(Where::Routed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn a_damaged_record_of_what_tasks_write_is_named(
        plan in plan(50), kind in wheres(), damage in damage_kinds(), nth in any::<usize>(),
        place in any::<usize>(),
    ) {
        let mut topics = made(&plan);
        let places = partitions(&topics, plan.tasks, kind);
        prop_assume!(!places.is_empty());
        let at = &places[pick(&plan, places.len())];
        let nth = nth % topics.records(at).len();
        let offset = topics.records(at)[nth].offset;
        // What the shell writes to `internal.routed` is nobody's output: see below.
        let bytes = topics.records(at)[nth].value.as_deref().unwrap_or_default();
        let control = kind == Where::Routed && is_control(bytes);
        prop_assume!(!control);
        prop_assert!(failures(&reports(&subject(plan.tasks, false), &topics)).is_empty());
        prop_assume!(topics.damage(at, nth, damage, place));
        let found = failures(&reports(&subject(plan.tasks, false), &topics));
        prop_assert!(!found.is_empty(), "{:?} of {:?} {} passed", damage, at, offset);
        let named = is_named(&found, at, offset, &topics)
            || matches!(kind, Where::Routed | Where::Commits) && is_told(&found, at);
        prop_assert!(named, "{damage:?} of {at:?} {offset}: {}", told(&found));
    }

    #[test]
    fn a_damaged_record_that_was_consumed_is_named(
        plan in plan(50), removed in any::<bool>(), nth in any::<usize>(),
    ) {
        let mut topics = made(&plan);
        let inputs = INPUTS.into_iter().flat_map(|name| (0..plan.tasks).map(|p| at(name, p)));
        let inputs: Vec<_> = inputs.filter(|at| !topics.records(at).is_empty()).collect();
        prop_assume!(!inputs.is_empty());
        let at = &inputs[pick(&plan, inputs.len())];
        let nth = nth % topics.records(at).len();
        let offset = topics.records(at)[nth].offset;
        if removed {
            prop_assert!(topics.damage(at, nth, Damage::Removed, 0));
        } else {
            // What nothing comes of cannot be told from what came: here it is no event any more.
            let value = &mut topics.partitions.get_mut(at).expect("records")[nth].value;
            *value = Some(b"?".to_vec());
        }
        let found = failures(&reports(&subject(plan.tasks, false), &topics));
        prop_assert!(!found.is_empty(), "{:?} {} passed", at, offset);
        prop_assert!(is_told(&found, at), "{at:?} {offset}: {}", told(&found));
    }

    #[test]
    fn a_damaged_control_record_is_found(plan in plan(40), nth in any::<usize>()) {
        let mut topics = made(&plan);
        let routed = names().routed;
        let mut controls = Vec::new();
        for partition in 0..plan.tasks {
            let at = at(&routed, partition);
            for (nth, record) in topics.records(&at).iter().enumerate() {
                let bytes = record.value.as_deref().expect("a value");
                // Of these it may be that nothing comes.
                let is_slight = matches!(
                    Routed::decode(bytes),
                    Ok(Routed::Idle
                        | Routed::Alone
                        | Routed::Silent { .. }
                        | Routed::Model(_)
                        | Routed::Rescore { .. })
                );
                if is_control(bytes) && !is_slight {
                    controls.push((at.clone(), nth));
                }
            }
        }
        let (at, nth) = &controls[nth % controls.len()];
        let record = &mut topics.partitions.get_mut(at).expect("records")[*nth];
        record.value = Some(Routed::Idle.encode());
        let found = failures(&reports(&subject(plan.tasks, false), &topics));
        prop_assert!(!found.is_empty(), "{:?} {} passed", at, nth);
    }
}

/// The commit records of a task, decoded.
fn commit_records(topics: &Topics, task: u32) -> Vec<CommitRecord> {
    let records = topics.records(&at(&names().commits, task)).iter();
    let decoded = records.map(|r| CommitRecord::decode(r.value.as_deref().expect("a value")));
    decoded
        .map(|record| record.expect("a commit record"))
        .collect()
}

#[test]
fn a_commit_record_that_says_another_order_is_found() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut tried = 0;
    for _ in 0..200 {
        let plan = plan(50).new_tree(&mut runner).expect("a plan").current();
        let mut topics = made(&plan);
        for task in 0..plan.tasks {
            let records = commit_records(&topics, task);
            let Some(nth) = records.iter().position(|r| r.consumed.order.len() > 1) else {
                continue;
            };
            let mut record = records[nth].clone();
            record.consumed.order.swap(0, 1);
            let commits = at(&names().commits, task);
            topics.partitions.get_mut(&commits).expect("records")[nth].value =
                Some(record.encode());
            let found = failures(&reports(&subject(plan.tasks, false), &topics));
            assert!(!found.is_empty(), "another order passed");
            tried += 1;
            break;
        }
    }
    assert!(tried > 20, "{tried}");
}

/// A record that stands twice moves those behind it on: the last one takes the place of one that was
/// never consumed. Where it and the double are both known already, that is no difference.
#[test]
fn a_doubled_record_that_was_consumed_is_named() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut found, mut nothing_came_of) = (0, 0);
    for nth in 0..150 {
        let plan = plan(50).new_tree(&mut runner).expect("a plan").current();
        let mut topics = made(&plan);
        let inputs = inputs(&topics, plan.tasks);
        let at = &inputs[pick(&plan, inputs.len())];
        let behind = topics.records(at).len() - 1;
        if behind == 0 {
            continue;
        }
        assert!(topics.damage(at, nth % behind, Damage::Doubled, 0));
        let failures = failures(&reports(&subject(plan.tasks, false), &topics));
        match failures.is_empty() {
            true => nothing_came_of += 1,
            false => {
                assert!(is_told(&failures, at), "{at:?}: {}", told(&failures));
                found += 1;
            }
        }
    }
    assert!(
        found > 100 && nothing_came_of * 10 < found,
        "{found}, {nothing_came_of}"
    );
}
