//! A crash after any commit, a store at any earlier checkpoint, commits that fail in every way:
//! nothing is lost, nothing is said twice.

use std::collections::BTreeMap;

use domain::event::Event;
use domain::time::DAY_MS;
use engine::chain::Head;
use engine::port::CommitError;
use proptest::prelude::*;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::memory_log::Fault;
use crate::support::rig::Rig;

/// What happens at one commit.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fine,
    Checkpoint,
    Crash,
    Fault(Fault),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Fine),
        1 => Just(Fate::Checkpoint),
        2 => Just(Fate::Crash),
        1 => Just(Fate::Fault(Fault::Abort)),
        1 => Just(Fate::Fault(Fault::UnknownLost)),
        1 => Just(Fate::Fault(Fault::UnknownDone)),
    ];
    proptest::collection::vec(fate, 0..60)
}

/// Runs to the end of what is there, through `fates`.
fn run(rig: &mut Rig, budget: usize, fates: &mut impl Iterator<Item = Fate>) {
    loop {
        let fate = fates.next().unwrap_or(Fate::Fine);
        if let Fate::Fault(fault) = fate {
            rig.log.next_commit(Some(fault));
        }
        let tried = rig.log.commits;
        match rig.once(budget) {
            Ok(false) => {
                if tried == rig.log.commits && matches!(fate, Fate::Fault(_)) {
                    rig.log.forget_faults();
                }
                return;
            }
            Ok(true) => {}
            Err(CommitError::Abort(_)) => continue,
            Err(_) => rig.crash(),
        }
        match fate {
            Fate::Checkpoint => rig.checkpoint(),
            Fate::Crash => rig.crash(),
            Fate::Fine | Fate::Fault(_) => {}
        }
    }
}

/// Outputs of one customer are numbered from 1 without gaps, topic by topic.
fn assert_gapless(rig: &Rig) {
    let mut last: BTreeMap<(String, String), i64> = BTreeMap::new();
    for ((topic, _), records) in rig.outputs() {
        if topic == rig.topics().dead_letters {
            continue;
        }
        for record in &records {
            let json = rig.json(record);
            let who = json["customer"].as_str().expect("a customer").to_owned();
            let last = last.entry((topic.to_string(), who.clone())).or_default();
            assert_eq!(json["sequence"], *last + 1, "{topic} {who}");
            *last += 1;
        }
    }
}

/// Each commit follows the one before, and consumes what its positions say; the last one is where
/// the task stands.
fn assert_chained(rig: &mut Rig, tasks: u32) {
    for task in 0..tasks {
        let mut head = Head::default();
        let mut positions = BTreeMap::new();
        for commit in rig.commits(task) {
            assert_eq!(commit.previous, head);
            assert_eq!(commit.head.number, head.number + 1);
            head = commit.head;
            let mut consumed = vec![0; commit.consumed.positions.len()];
            for (input, count) in &commit.consumed.order {
                consumed[*input as usize] += count;
            }
            for ((input, next), consumed) in commit.consumed.positions.into_iter().zip(consumed) {
                let before = positions.insert(input, next).unwrap_or(0);
                assert_eq!(before + consumed, next, "the log in memory has no gaps");
            }
        }
        assert_eq!(rig.book(task as usize).chain, head);
    }
}

fn end(events: &[Event]) -> Routed {
    let last = events.iter().map(|e| e.time).max();
    Routed::EndOfReplay {
        until: last.unwrap_or_default().plus(400 * DAY_MS),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_crash_anywhere_leaves_no_trace(
        events in shop(4, 80), seed in any::<u64>(), fates in fates(),
        budget in 1..12_usize, tasks in 1..3_u32,
    ) {
        let arrivals = delivered(&events, seed);
        let mut calm = Rig::new(tasks);
        let mut rough = Rig::new(tasks);
        for rig in [&mut calm, &mut rough] {
            arrivals.iter().for_each(|event| rig.send(event));
            rig.control_all(&end(&events));
        }
        calm.run(100_000);
        run(&mut rough, budget, &mut fates.into_iter());
        prop_assert_eq!(&rough.outputs(), &calm.outputs());
        prop_assert_eq!(rough.state(), calm.state());
        assert_gapless(&rough);
        assert_chained(&mut rough, tasks);
    }

    #[test]
    fn a_crash_among_forwarded_events_loses_and_doubles_nothing(
        events in shop(5, 80), fates in fates(), budget in 1..12_usize,
    ) {
        let tasks = 3;
        let mut calm = Rig::new(tasks);
        let mut rough = Rig::new(tasks);
        let mut fates = fates.into_iter();
        for rig in [&mut calm, &mut rough] {
            for event in &events {
                rig.send_to((rig.owner_of(event) + 1) % tasks, event);
            }
        }
        calm.run(100_000);
        run(&mut rough, budget, &mut fates);
        for rig in [&mut calm, &mut rough] {
            rig.control_all(&end(&events));
        }
        calm.run(100_000);
        run(&mut rough, budget, &mut fates);
        prop_assert_eq!(rough.views(), calm.views());
        prop_assert_eq!(rough.days(), calm.days());
        prop_assert_eq!(rough.counts().forwarded, events.len() as u64);
        assert_gapless(&rough);
        assert_chained(&mut rough, tasks);
    }
}
