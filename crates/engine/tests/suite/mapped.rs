//! Records that a mapping makes several events of, or none: as if each event had come in a record of
//! its own, and every record accounted for.

use std::collections::BTreeSet;

use domain::event::Event;
use domain::time::{DAY_MS, MINUTE_MS};
use engine::bookkeeping::Counts;
use engine::port::Table;
use proptest::prelude::*;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::{START, order, view};
use crate::support::rig::{FOREIGN, Rig, foreign_rule};

/// `arrivals` in records of up to `most` events, none twice, in the order in which they are taken:
/// oldest first, and by the mapping's rules where times are equal.
fn records(arrivals: &[Event], most: usize) -> Vec<Vec<Event>> {
    let mut records = Vec::new();
    for (at, chunk) in arrivals.chunks(most).enumerate() {
        let (short, rest) = chunk.split_at(at % chunk.len());
        for part in [short, rest] {
            let mut ids = BTreeSet::new();
            let mut part = part.to_vec();
            part.retain(|event| ids.insert(event.id.clone()));
            part.sort_by_key(|event| (event.time, foreign_rule(event)));
            records.push(part);
        }
    }
    records
}

fn loaded(tasks: u32, records: &[Vec<Event>], end: &Routed) -> Rig {
    let mut rig = Rig::new(tasks);
    for (partition, events) in (0..tasks).cycle().zip(records) {
        rig.send_foreign(partition, events);
    }
    rig.control_all(end);
    rig
}

fn end_of(events: &[Event]) -> Routed {
    let last = events.iter().map(|event| event.time).max();
    Routed::EndOfReplay {
        until: last.unwrap_or(START).plus(200 * DAY_MS),
    }
}

fn taken(counts: &Counts) -> u64 {
    counts.applied + counts.late + counts.deduplicated
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_of_one_record_are_as_records_of_their_own(
        events in shop(4, 60), seed in any::<u64>(), most in 1..7_usize,
    ) {
        let records = records(&delivered(&events, seed), most);
        let alone: Vec<Vec<Event>> = records.iter().flatten().map(|e| vec![e.clone()]).collect();
        let end = end_of(&events);
        let mut together = loaded(1, &records, &end);
        together.run(100_000);
        let mut apart = loaded(1, &alone, &end);
        apart.run(100_000);
        prop_assert_eq!(&together.outputs(), &apart.outputs());
        prop_assert_eq!(together.days(), apart.days());
        let profiles = |rig: &mut Rig| -> Vec<_> {
            rig.state().into_iter().filter(|entry| entry.1 == Table::Profiles).collect()
        };
        prop_assert_eq!(profiles(&mut together), profiles(&mut apart));
        let counts = together.counts();
        prop_assert_eq!(counts.consumed(), records.len() as u64 + 1, "{:?}", counts);
        prop_assert_eq!(taken(&counts), alone.len() as u64);
        prop_assert_eq!(Counts { split_off: 0, ignored: 0, ..counts }, apart.counts());
    }

    #[test]
    fn where_batches_end_and_processes_die_makes_no_difference(
        events in shop(4, 50), seed in any::<u64>(), most in 1..5_usize, tasks in 1..3_u32,
    ) {
        // To each task what it owns: what is forwarded would come in another order.
        let arrivals = delivered(&events, seed);
        let end = end_of(&events);
        let load = || {
            let mut rig = Rig::new(tasks);
            for task in 0..tasks {
                let own: Vec<Event> =
                    arrivals.iter().filter(|e| rig.owner_of(e) == task).cloned().collect();
                for record in records(&own, most) {
                    rig.send_foreign(task, &record);
                }
            }
            rig.control_all(&end);
            rig
        };
        let mut whole = load();
        whole.run(100_000);
        for budget in [1, 2, 7] {
            let mut parts = load();
            parts.run(budget);
            prop_assert_eq!(&parts.outputs(), &whole.outputs(), "{} a batch", budget);
            prop_assert_eq!(parts.state(), whole.state(), "{} a batch", budget);
        }
        let mut dying = load();
        while dying.once(3).expect("a commit") {
            dying.crash();
        }
        prop_assert_eq!(&dying.outputs(), &whole.outputs());
        prop_assert_eq!(dying.state(), whole.state());
    }

    #[test]
    fn what_belongs_elsewhere_gets_there(
        events in shop(6, 60), most in 1..7_usize, tasks in 2..5_u32,
    ) {
        let records = records(&events, most);
        let end = end_of(&events);
        let mut one = loaded(1, &records, &end);
        one.run(100_000);
        let mut many = loaded(tasks, &records, &end);
        many.run(50);
        prop_assert_eq!(many.days(), one.days());
        let counts = many.counts();
        let routed: usize =
            many.log.topic(&many.topics().routed).map(|(_, records)| records.len()).sum();
        prop_assert_eq!(counts.consumed(), (records.len() + routed) as u64, "{:?}", counts);
        prop_assert_eq!(taken(&counts), events.len() as u64);
    }
}

#[test]
fn each_record_is_accounted_for_once() {
    let late = START.plus(MINUTE_MS);
    let good = || vec![view("e1", "ann", late), order("ann", "o1", START, 100)];
    let lost = |event: &Event| Event {
        customer_id: None,
        ..event.clone()
    };
    let with = |more: &[Event]| [good(), more.to_vec()].concat();
    let bad = lost(&view("e2", "", late));
    let repeated = view("e1", "ann", late);
    // Events of the record; then applied, dead-lettered, ignored and split off.
    let cases: [(Vec<Event>, [u64; 4]); 6] = [
        (vec![], [0, 0, 1, 0]),
        (good(), [2, 0, 0, 1]),
        (with(std::slice::from_ref(&bad)), [2, 1, 0, 2]),
        (with(&[bad.clone(), bad.clone()]), [2, 1, 0, 2]),
        (with(&[repeated]), [2, 1, 0, 2]),
        (vec![bad.clone(), bad], [0, 1, 0, 0]),
    ];
    for (events, expected) in cases {
        let mut rig = Rig::new(1);
        rig.send_foreign(0, &events);
        rig.run(1);
        let counts = rig.counts();
        let found = [
            counts.applied,
            counts.dead_lettered,
            counts.ignored,
            counts.split_off,
        ];
        assert_eq!(found, expected, "{events:?}");
        assert_eq!(counts.consumed(), 1, "{events:?}");
        let dead_letters = rig.log.topic(&rig.topics().dead_letters);
        let dead_letters: usize = dead_letters.map(|(_, records)| records.len()).sum();
        assert_eq!(dead_letters as u64, counts.dead_lettered);
    }
}

#[test]
fn a_record_goes_when_its_oldest_event_is_due() {
    let mut rig = Rig::new(1);
    let at = |minutes| START.plus(minutes * MINUTE_MS);
    rig.send(&order("ann", "o1", at(2), 1));
    rig.send(&order("ann", "o3", at(4), 100));
    rig.send_foreign(
        0,
        &[
            order("ann", "o4", at(5), 1_000),
            order("ann", "o2", at(3), 10),
        ],
    );
    rig.send_bytes(FOREIGN, 0, at(3), b"k", b"{}");
    rig.run(100);
    let clv: Vec<String> = rig
        .said()
        .lines()
        .filter(|line| line.contains(" clv "))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_eq!(
        clv,
        [
            "ann #1 2024-01-01T00:02:00.000Z event clv 1 by 1 orders, interim (1)",
            "ann #2 2024-01-01T00:03:00.000Z event clv 11 by 2 orders, interim (10)",
            "ann #3 2024-01-01T00:05:00.000Z event clv 1011 by 3 orders, interim (1000)",
            "ann #4 2024-01-01T00:05:00.000Z correction clv 1111 by 4 orders, interim (100)",
        ]
    );
    assert_eq!((rig.counts().applied, rig.counts().ignored), (4, 1));
}
